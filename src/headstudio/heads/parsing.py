"""Semantic labels of pixels, and which label every part of a head model has."""

import enum
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from headstudio.heads.base import HeadModel


class Label(enum.IntEnum):
    """What a pixel shows; one byte a pixel on disk."""

    BACKGROUND = 0
    SKIN = 1
    """Face with brows, lids, nose and lips; a bald scalp too."""
    NECK = 2
    """Bare skin below the face and its jaw."""
    EARS = 3
    EYES = 4
    """The eyeball between the lids."""
    MOUTH = 5
    """Inside the lips: teeth, tongue, cavity."""
    HAIR = 6
    CLOTH = 7
    UNKNOWN = 255
    """Padding, or nobody can tell: no loss and no score may count it."""


NAMED = tuple(label for label in Label if label is not Label.UNKNOWN)
"""The labels that say something, in the order of their numbers, which count up from 0."""

SEMANTIC_REGIONS: Mapping[str, tuple[Label, ...]] = MappingProxyType(
    {
        "skin": (Label.SKIN, Label.NECK),
        "eyes": (Label.EYES,),
        "ears": (Label.EARS,),
        "hair": (Label.HAIR,),
    }
)
"""The regions that Neural Head Avatars matches (Grassal et al. 2022, section 3.2): "facial skin and neck, eyes, ears,
and hair"."""

_PARTS = (
    (Label.NECK, ("neck",)),
    (Label.SKIN, ("face", "nose", "lips", "eyelids", "eyelashes")),
    (Label.EARS, ("ears",)),
    (Label.MOUTH, ("mouth_cavity", "teeth", "tongue")),
    (Label.EYES, ("eyeballs",)),
)
"""Where regions overlap the later one has it, but the lips' rim belongs to the skin."""


def vertex_labels(head: HeadModel, scalp: Label = Label.HAIR) -> Int[Tensor, " vertices"]:
    """The label of every vertex of a head model.

    Args:
        scalp: what the scalp is: hair, or skin of a bald head.
    """
    labels = torch.full((head.vertices,), int(Label.SKIN), device=head.template_m.device)
    labels[head.region("scalp")] = int(scalp)
    for label, regions in _PARTS:
        labels[head.region(*regions)] = int(label)
    labels[head.region("lips") & ~head.region("teeth", "tongue")] = int(Label.SKIN)
    return labels


def region_masks(
    parsing: UInt8[Tensor, "batch 1 height width"], regions: Sequence[str] = tuple(SEMANTIC_REGIONS)
) -> Float[Tensor, "batch regions height width"]:
    """1 where a pixel belongs to the region (`SEMANTIC_REGIONS`), else 0; also 0 where the label is unknown."""
    return torch.stack(
        [sum((parsing[:, 0] == label).float() for label in SEMANTIC_REGIONS[name]) for name in regions],  # type: ignore[misc]
        dim=1,
    )


def is_known(parsing: UInt8[Tensor, "batch 1 height width"]) -> Bool[Tensor, "batch 1 height width"]:
    """False where nobody can tell what a pixel shows."""
    return parsing != int(Label.UNKNOWN)
