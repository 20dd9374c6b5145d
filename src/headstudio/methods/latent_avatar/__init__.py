"""Paper 5: "LatentAvatar: Learning Latent Expression Code for Expressive Neural Head Avatar" (Xu et al. 2023).

A volume of density and colour, generated from a code; the code is learned from pictures of the face, not tracked.
"""

from headstudio.methods.latent_avatar.config import LatentAvatarConfig
from headstudio.methods.latent_avatar.model import LatentAvatar

__all__ = ["LatentAvatar", "LatentAvatarConfig"]
