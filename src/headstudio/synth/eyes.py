"""Eyeballs and lashes: sclera with veins, iris with fibres and limbal ring, pupil."""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.synth.fields import Canvas, blend_between
from headstudio.synth.noise import fractal_noise, smooth_noise
from headstudio.synth.person import Looks

Layer = tuple[Float[Tensor, "texels 3"], Float[Tensor, "texels 2"], Float[Tensor, " texels"]]
"""Colour, gloss and weight of something painted over what is there."""

IRIS_SHARE, PUPIL_SHARE = 0.19, 0.38
"""Diameter of the iris against the distance of the eyes (11.7 of 62 mm), and of the pupil against the iris."""


def paint_eyes(canvas: Canvas, looks: Looks) -> Iterator[Layer]:
    """Both eyeballs, then the lashes."""
    for eye in canvas.anatomy.eye_centre_m:
        yield _eyeball(canvas, looks, eye)
    lashes = canvas.regions["eyelashes"]
    black = torch.tensor([0.06, 0.045, 0.04]).expand(len(lashes), 3)
    yield black, _gloss(lashes, 0.1, 0.2), blend_between(lashes, 0.4, 0.6)


def _eyeball(canvas: Canvas, looks: Looks, eye: Tensor) -> Layer:
    ray = canvas.points_m - eye
    angle = torch.atan2(ray[:, :2].norm(dim=-1), ray[:, 2])
    near = canvas.regions["eyeballs"] * (ray.norm(dim=-1) < 2.0 * canvas.anatomy.eye_radius_m)
    iris_rad = math.asin(0.5 * IRIS_SHARE * canvas.anatomy.eye_distance_m / canvas.anatomy.eye_radius_m)
    colour = _sclera(ray, angle, canvas.seed)
    iris = blend_between(angle, iris_rad + 0.03, iris_rad - 0.03)
    colour = torch.lerp(colour, _iris(ray, angle / iris_rad, looks, canvas.seed), iris[:, None])
    pupil = blend_between(angle / iris_rad, PUPIL_SHARE + 0.04, PUPIL_SHARE - 0.04)
    colour = torch.lerp(colour, torch.tensor([0.015, 0.012, 0.012]), pupil[:, None])
    return colour, _gloss(angle, 1.0, 0.95), blend_between(near, 0.4, 0.6)


def _sclera(ray: Tensor, angle: Tensor, seed: int) -> Tensor:
    white = torch.tensor([0.82, 0.8, 0.785]) * (1.0 + 0.02 * smooth_noise(ray, 0.004, seed + 19))[:, None]
    ridge = 1.0 - fractal_noise(ray, 0.0035, seed + 20, 2).abs()
    veins = blend_between(ridge, 0.88, 1.0) * blend_between(angle, 0.65, 1.3)
    pink = blend_between(angle, 0.8, 1.5)
    red = torch.tensor([0.8, 0.5, 0.46])
    return torch.lerp(torch.lerp(white, red, 0.35 * pink[:, None]), red, 0.35 * veins[:, None])


def _iris(ray: Tensor, reach: Tensor, looks: Looks, seed: int) -> Tensor:
    around = torch.atan2(ray[:, 1], ray[:, 0])
    fibre = torch.stack([8.0 * torch.cos(around), 8.0 * torch.sin(around), 2.4 * reach], dim=-1)
    pattern = fractal_noise(fibre, 1.0, seed + 23, 3, 0.7)
    depth = ((reach - PUPIL_SHARE) / (1.0 - PUPIL_SHARE)).clamp(0.0, 1.0)
    base = torch.tensor(looks.iris_rgb)
    warm = base * torch.tensor([1.2, 1.0, 0.75])
    colour = torch.lerp(warm.expand(len(ray), 3), base.expand(len(ray), 3), blend_between(depth, 0.1, 0.5)[:, None])
    limbal = 1.0 - 0.7 * blend_between(depth, 0.72, 1.0)
    return (colour * (1.0 + 0.22 * pattern[:, None]) * limbal[:, None]).clamp(0.0, 1.0)


def _gloss(like: Tensor, strength: float, sharpness: float) -> Tensor:
    return torch.tensor([strength, sharpness]).expand(len(like), 2)
