"""Motions of the skin that no rig here has: air in a cheek, half a lip turned out, a crease between the brows.

What a template cannot express is the reason that Xu et al. 2023 (LatentAvatar, section 1) give for learned codes; an
actor who does it, and whose truth is known, tells whether they are right.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.geometry.easing import ease
from headstudio.heads.base import HeadModel
from headstudio.synth.fields import Anatomy

NAMES = ("cheek", "upper lip", "lower lip", "crease")
_PERIODS_S = (2.9, 3.7, 4.7, 2.3)
"""Incommensurable, so that no expression of the script goes along with one of them."""


@dataclass(frozen=True)
class _Push:
    """A soft ellipsoid of skin that moves."""

    centre_m: tuple[float, float, float]
    reach_m: tuple[float, float, float]
    by_m: tuple[float, float, float]


@dataclass(frozen=True)
class Unrigged:
    """Displacements of the neutral face by frame, before it is posed."""

    directions_m: Float[Tensor, "motions vertices 3"]
    """At their full amount."""
    amounts: Float[Tensor, "frames motions"]
    """In [0, 1]."""

    @classmethod
    def of(
        cls,
        head: HeadModel,
        neutral_m: Float[Tensor, "vertices 3"],
        anatomy: Anatomy,
        times_s: Float[Tensor, " frames"],
    ) -> "Unrigged":
        """The four motions of `NAMES` on one face, each at a pace of its own."""
        skin = torch.zeros(len(neutral_m))
        skin[head.region("face")] = 1.0
        directions = torch.stack([_displaced(push, neutral_m) * skin[:, None] for push in _pushes(neutral_m, anatomy)])
        phases = 2 * torch.pi * times_s.double()[:, None] / torch.tensor(_PERIODS_S, dtype=torch.float64)
        # Up for two fifths of each period, at rest for as long.
        amounts = ease(0.5 + 2.0 * torch.sin(phases)).float()
        return cls(directions, amounts)

    def at(self, frame: int) -> Float[Tensor, "vertices 3"]:
        """The displacement of one frame."""
        return torch.einsum("m,mvc->vc", self.amounts[frame], self.directions_m)


def _pushes(neutral_m: Tensor, anatomy: Anatomy) -> tuple[_Push, ...]:
    """In the order of `NAMES`; the person's left is +x."""
    x, y, z = anatomy.mouth_centre_m.tolist()
    half = anatomy.mouth_width_m / 2
    cheek = _on_skin(neutral_m, x + 1.35 * half, y + 0.012)
    brow = _on_skin(neutral_m, 0.0, float(anatomy.eye_centre_m[:, 1].mean()) + 0.02)
    return (
        _Push(cheek, (0.018, 0.018, 0.02), (0.01, 0.0, 0.01)),
        _Push((x + 0.5 * half, y + 0.006, z), (0.011, 0.006, 0.015), (0.0, 0.006, 0.003)),
        _Push((x - 0.5 * half, y - 0.007, z), (0.011, 0.006, 0.015), (-0.002, -0.008, 0.001)),
        _Push(brow, (0.005, 0.012, 0.015), (0.0, 0.0, -0.004)),
    )


def _on_skin(neutral_m: Tensor, x_m: float, y_m: float) -> tuple[float, float, float]:
    """The foremost point near a place of the face as seen from before it."""
    near = (neutral_m[:, :2] - torch.tensor([x_m, y_m])).norm(dim=1) < 0.006
    return x_m, y_m, float(neutral_m[near, 2].max())


def _displaced(push: _Push, points_m: Tensor) -> Float[Tensor, "vertices 3"]:
    centre_m, reach_m, by_m = (torch.tensor(values) for values in (push.centre_m, push.reach_m, push.by_m))
    weight = torch.exp(-((points_m - centre_m) / reach_m).square().sum(-1, keepdim=True))
    return weight * by_m
