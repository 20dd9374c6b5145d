"""Where things are on a face: soft region weights and measures that need no head model but its regions."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headstudio.geometry.easing import ease
from headstudio.heads.base import HeadModel


@dataclass(frozen=True)
class Anatomy:
    """Measures of one neutral face, in the head frame."""

    eye_centre_m: Float[Tensor, "2 3"]
    """Eyeball centres, the person's left first."""
    eye_radius_m: float
    eye_distance_m: float
    nose_tip_m: Float[Tensor, "3"]
    mouth_centre_m: Float[Tensor, "3"]
    mouth_width_m: float
    chin_y_m: float
    crown_y_m: float


@dataclass(frozen=True)
class Canvas:
    """What the painters look at: a texel's place and its regions."""

    anatomy: Anatomy
    points_m: Float[Tensor, "texels 3"]
    regions: Mapping[str, Float[Tensor, " texels"]]
    """Membership in [0, 1]."""
    seed: int

    def part(self, chosen: Bool[Tensor, " texels"]) -> "Canvas":
        """The canvas of some of the texels."""
        regions = {name: values[chosen] for name, values in self.regions.items()}
        return Canvas(self.anatomy, self.points_m[chosen], regions, self.seed)


def measure(head: HeadModel, neutral_m: Float[Tensor, "vertices 3"]) -> Anatomy:
    """Measure a neutral face."""
    balls = neutral_m[head.region("eyeballs")]
    sides = [balls[balls[:, 0] > 0], balls[balls[:, 0] <= 0]]
    centres = torch.stack([(side.amax(0) + side.amin(0)) / 2 for side in sides])
    radius = float(
        torch.stack([(side - centre).norm(dim=-1).median() for side, centre in zip(sides, centres, strict=True)]).mean()
    )
    nose, lips = neutral_m[head.region("nose")], neutral_m[head.region("lips")]
    face = neutral_m[head.region("face")]
    middle = face[face[:, 0].abs() < 0.01]
    return Anatomy(
        eye_centre_m=centres,
        eye_radius_m=radius,
        eye_distance_m=float((centres[0] - centres[1]).norm()),
        nose_tip_m=nose[nose[:, 2].argmax()],
        mouth_centre_m=(lips.amax(0) + lips.amin(0)) / 2,
        mouth_width_m=float(lips[:, 0].amax() - lips[:, 0].amin()),
        chin_y_m=float(middle[:, 1].amin()),
        crown_y_m=float(neutral_m[:, 1].amax()),
    )


def edges(triangles: Int[Tensor, "triangles 3"]) -> Int[Tensor, "edges 2"]:
    """All directed edges."""
    return torch.cat([triangles[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2))]).long()


def diffuse(
    values: Float[Tensor, "vertices channels"], triangles: Int[Tensor, "triangles 3"], rounds: int
) -> Float[Tensor, "vertices channels"]:
    """Average every vertex with its neighbours, `rounds` times."""
    links = edges(triangles)
    count = torch.zeros(len(values)).index_add_(0, links[:, 0], torch.ones(len(links))).clamp_min(1.0)[:, None]
    for _ in range(rounds):
        gathered = torch.zeros_like(values).index_add_(0, links[:, 0], values[links[:, 1]])
        values = 0.5 * values + 0.5 * torch.where(count > 0.5, gathered / count, values)
    return values


def falloff(
    points_m: Float[Tensor, "points 3"], centre_m: Float[Tensor, "3"], radius_m: float
) -> Float[Tensor, " points"]:
    """A soft ball: 1 at its centre, e^-1 at its radius."""
    return torch.exp(-((points_m - centre_m) / radius_m).square().sum(-1))


def blend_between(value: Float[Tensor, "*shape"], low: float, high: float) -> Float[Tensor, "*shape"]:
    """0 below `low`, 1 above `high`, smooth between; falls where low > high."""
    return ease((value - low) / (high - low))
