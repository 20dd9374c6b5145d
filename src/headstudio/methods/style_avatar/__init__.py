"""Paper 2: "StyleAvatar: Real-time Photo-realistic Portrait Avatar from a Single Video" (Wang et al. 2023).

Two static planes of features, of the face and of the background, and what a U-Net makes of the rendered head between
them; a second U-Net paints the portrait from their composition.
"""

from headstudio.methods.style_avatar.config import StyleAvatarConfig
from headstudio.methods.style_avatar.model import StyleAvatar

__all__ = ["StyleAvatar", "StyleAvatarConfig"]
