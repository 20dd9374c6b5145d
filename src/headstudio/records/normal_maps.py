"""Normal maps as pictures: unit vectors in camera axes (x right, y down, z forward), pointing out of the surface.

A surface that faces the camera has (0, 0, -1). On disk 0 is -1 and 255 is +1 in each channel, which resolves a quarter
of a degree; the middle grey, whose vector has no length, says that nothing is known.
"""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import normalize

_LEAST_LENGTH = 0.5
"""A stored vector shorter than this says nothing; eight bits shorten a unit vector by less than 0.01."""


def encode_normals(normals: Float[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 3"]:
    """Vectors of any length as colours; those shorter than half become the grey of the unknown."""
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    unit = np.where(length > _LEAST_LENGTH, normals / np.maximum(length, 1e-6), 0.0)
    return np.round((unit * 0.5 + 0.5) * 255).astype(np.uint8)


def decode_normals(colours: UInt8[Tensor, "3 height width"]) -> Float[Tensor, "3 height width"]:
    """Unit vectors, 0 where nothing is known."""
    return unit_or_unknown(colours.float() * (2 / 255) - 1)


def unit_or_unknown(vectors: Float[Tensor, "3 height width"]) -> Float[Tensor, "3 height width"]:
    """Vectors of unit length; 0 where they are too short to say anything."""
    known = vectors.norm(dim=0, keepdim=True) > _LEAST_LENGTH
    return torch.where(known, normalize(vectors, dim=0), 0.0)
