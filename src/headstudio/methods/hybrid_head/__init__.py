"""Paper 3: the head of "Video-Driven Animation of Neural Head Avatars" (Paier et al. 2024, section 4).

A mesh and its texture from one code, and a network that corrects what both cannot show. The paper's animation network
is a driver of its own.
"""

from headstudio.methods.hybrid_head.config import HybridHeadConfig
from headstudio.methods.hybrid_head.model import HybridHead

__all__ = ["HybridHead", "HybridHeadConfig"]
