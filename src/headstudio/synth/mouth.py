"""The inside of the mouth: mucosa, teeth with gaps and gums, tongue."""

from collections.abc import Iterator

import torch
from torch import Tensor

from headstudio.synth.eyes import Layer
from headstudio.synth.fields import Canvas, blend_between
from headstudio.synth.noise import fractal_noise, smooth_noise

TOOTH_M = 0.0078
"""Mean width of the front teeth along the arch."""


def paint_mouth(canvas: Canvas) -> Iterator[Layer]:
    """Cavity, tongue and teeth."""
    points, regions = canvas.points_m, canvas.regions
    cavity = (
        torch.tensor([0.42, 0.16, 0.15]) * (1.0 + 0.08 * fractal_noise(points, 0.008, canvas.seed + 29, 3))[:, None]
    )
    yield cavity, _gloss(points, 0.35, 0.6), blend_between(regions["mouth_cavity"], 0.3, 0.7)
    tongue = torch.tensor([0.72, 0.38, 0.38]) * (1.0 + 0.07 * smooth_noise(points, 0.0014, canvas.seed + 30))[:, None]
    yield tongue, _gloss(points, 0.3, 0.5), blend_between(regions["tongue"], 0.4, 0.6)
    yield _teeth(canvas), _gloss(points, 0.6, 0.75), blend_between(regions["teeth"], 0.4, 0.6)


def _teeth(canvas: Canvas) -> Tensor:
    a, points = canvas.anatomy, canvas.points_m
    # The arch is about a half circle, so the angle at its middle, from a centre behind the lips, counts the teeth.
    radius = 0.44 * a.mouth_width_m
    behind = a.mouth_centre_m - torch.tensor([0.0, 0.0, radius + 0.008])
    arc = torch.atan2(points[:, 0] - behind[0], points[:, 2] - behind[2]) * radius
    gap = ((arc / TOOTH_M).remainder(1.0) - 0.5).abs() * 2.0
    seam = blend_between(gap, 0.86, 1.0)
    enamel = torch.tensor([0.9, 0.86, 0.77]) * (1.0 + 0.015 * smooth_noise(points, 0.006, canvas.seed + 31))[:, None]
    teeth = enamel * (1.0 - 0.45 * seam[:, None])
    scallop = 0.0015 * gap.square()
    root = (points[:, 1] - a.mouth_centre_m[1]).abs() + scallop
    gum = blend_between(root, 0.0115, 0.013)
    return torch.lerp(teeth, torch.tensor([0.72, 0.4, 0.4]), gum[:, None])


def _gloss(like: Tensor, strength: float, sharpness: float) -> Tensor:
    return torch.tensor([strength, sharpness]).expand(len(like), 2)
