"""ARKit-52 as signals: the names, and what becomes of them in a mirror."""

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.heads.arkit import ARKIT_INDEX, ARKIT_NAMES

NAMES = ARKIT_NAMES
"""The 52 names in the order of every ARKit channel; left and right are the person's."""

INDEX = ARKIT_INDEX
"""Column of each name."""

LOOK = tuple(index for index, name in enumerate(NAMES) if name.startswith("eyeLook"))
"""Columns that say where the eyes look and nothing about the expression."""


def mirror_name(name: str) -> str:
    """The unit that `name` becomes in a mirror."""
    swapped = {"Left": "Right", "Right": "Left"}
    return next((name.removesuffix(side) + other for side, other in swapped.items() if name.endswith(side)), name)


MIRROR = tuple(INDEX[mirror_name(name)] for name in NAMES)
"""Column that each column takes its value from when left and right are exchanged."""


def mirrored(weights: Float[Tensor, "*batch 52"]) -> Float[Tensor, "*batch 52"]:
    """The weights of the mirrored face."""
    return weights[..., torch.tensor(MIRROR, device=weights.device)]
