"""Where ears and hairline are on any head, told from its shape: heads mark their ears and scalps differently."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headstudio.heads.base import HeadModel
from headstudio.heads.parsing import Label, vertex_labels
from headstudio.synth.fields import blend_between
from headstudio.synth.noise import smooth_noise

_SKIN = ("face", "eyelids", "nose", "lips", "ears", "scalp", "neck")
_STANDING_OUT = 0.7
"""Share of the ears' vertices that lie nearer to the skull than the rim, which tells how far ears reach."""
_EAR_MARGIN_M, _EAR_DEPTH_M = 0.004, 0.016
_BORDER_M = 0.008
"""Half width of the hairline's border."""
_FOREHEAD = 0.62
"""Height of the hairline over the forehead, from the eyes to the crown."""


@dataclass(frozen=True)
class Ears:
    """The box of the person's left ear; the right one's is its mirror image, near enough."""

    low_m: Float[Tensor, "3"]
    high_m: Float[Tensor, "3"]

    @classmethod
    def of(cls, head: HeadModel, neutral_m: Float[Tensor, "vertices 3"]) -> "Ears":
        """Found by what stands out of the sides of the head."""
        marked = neutral_m[head.region("ears")]
        left = marked[marked[:, 0] > 0]
        rim = left[left[:, 0] > torch.quantile(left[:, 0], _STANDING_OUT)]
        low, high = rim.amin(0) - _EAR_MARGIN_M, rim.amax(0) + _EAR_MARGIN_M
        low[0] = high[0] - _EAR_DEPTH_M - _EAR_MARGIN_M
        high[2] = high[2] + _EAR_MARGIN_M
        return cls(low, high)

    def holds(self, points_m: Float[Tensor, "points 3"]) -> Bool[Tensor, " points"]:
        """Which points lie in one of the boxes."""
        mirrored = points_m * torch.tensor([1.0, 1.0, 1.0])
        mirrored[:, 0] = mirrored[:, 0].abs()
        return ((mirrored > self.low_m) & (mirrored < self.high_m)).all(1)


def outer_skin(head: HeadModel) -> Bool[Tensor, " triangles"]:
    """Triangles of the skin, without what lies inside the mouth."""
    return head.region(*_SKIN)[head.triangles].all(1) & ~head.region("mouth_cavity")[head.triangles].all(1)


def hairline(
    head: HeadModel, neutral_m: Float[Tensor, "vertices 3"], ears: Ears, seed: int
) -> Float[Tensor, " vertices"]:
    """How much of a scalp every vertex is, in [0, 1]: above a line over the forehead, down the temples, round the
    ears and along the nape."""
    crown_y, back_z, front_z = float(neutral_m[:, 1].amax()), float(ears.low_m[2]), float(ears.high_m[2])
    below, above = float(ears.low_m[1]), float(ears.high_m[1])
    knots = [
        (back_z - 0.03, below - 0.02),
        (back_z - 0.004, below + 0.004),
        (back_z + 0.004, above),
        (front_z, above),
        (front_z + 0.002, above - 0.016),
        (front_z + 0.010, above - 0.014),
        (front_z + 0.024, 0.42 * crown_y),
        (front_z + 0.045, 0.58 * crown_y),
        (front_z + 0.075, _FOREHEAD * crown_y),
    ]
    line = np.interp(neutral_m[:, 2].double().numpy(), *np.array(knots).T)
    uneven = 0.2 * _BORDER_M * smooth_noise(neutral_m, 0.012, seed + 41)
    over = blend_between(neutral_m[:, 1] + uneven - torch.from_numpy(line).float(), -_BORDER_M, _BORDER_M)
    return over * ~head.region("eyeballs", "eyelashes", "mouth_cavity", "teeth", "tongue")


def true_labels(head: HeadModel, neutral_m: Float[Tensor, "vertices 3"], ears: Ears) -> Int[Tensor, " vertices"]:
    """The label of every vertex of a bald head; the ears are where they are seen."""
    labels = vertex_labels(head, scalp=Label.SKIN)
    labels[head.region("ears")] = int(Label.SKIN)
    labels[ears.holds(neutral_m) & head.region(*_SKIN)] = int(Label.EARS)
    return labels
