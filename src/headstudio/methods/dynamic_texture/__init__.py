"""Paper 1: "3D Engine-ready Photorealistic Avatars via Dynamic Textures" (Wang et al.).

A mesh with a static texture; a small network paints eyes and mouth anew for every expression and head orientation.
"""

from headstudio.methods.dynamic_texture.config import DynamicTextureConfig
from headstudio.methods.dynamic_texture.model import DynamicTexture

__all__ = ["DynamicTexture", "DynamicTextureConfig"]
