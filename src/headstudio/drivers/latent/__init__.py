"""Paper 5's Y-shaped driver: "LatentAvatar" (Xu et al. 2023), section 4.

One encoder sees the faces of actor and avatar, each of whom has a decoder; what both share is an expression, which a
small network says in the avatar's own code.
"""

from headstudio.drivers.latent.config import LatentDriverConfig
from headstudio.drivers.latent.driver import LatentDriver

__all__ = ["LatentDriver", "LatentDriverConfig"]
