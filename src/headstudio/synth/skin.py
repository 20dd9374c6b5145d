"""Skin: pigment, blood, pores, freckles, stubble, lips, lids and eyebrows."""

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.synth.fields import Canvas, blend_between, falloff
from headstudio.synth.noise import fractal_noise, smooth_noise
from headstudio.synth.person import Looks

PALE, DARK = torch.tensor([0.93, 0.775, 0.69]), torch.tensor([0.36, 0.23, 0.165])
BLOOD = torch.tensor([0.0, 0.22, 0.21])
"""Part that blood takes of the skin's colour channels."""


def paint_skin(canvas: Canvas, looks: Looks) -> tuple[Float[Tensor, "texels 3"], Float[Tensor, "texels 2"]]:
    """Colour (sRGB) and gloss of the skin, lips and brows at every texel."""
    points, seed = canvas.points_m, canvas.seed
    broad = fractal_noise(points, 0.05, seed + 1, 3)
    fine = fractal_noise(points, 0.004, seed + 2, 3, 0.7)
    pigment = looks.melanin + 0.018 * broad + 0.5 * looks.freckles * _freckles(canvas)
    colour = _pigmented(pigment) * (1.0 + 0.018 * fine[:, None])
    blood = looks.blood * _blood(canvas) + 0.035 * fractal_noise(points, 0.014, seed + 3, 3)
    colour = colour * (1.0 - BLOOD * blood[:, None])
    colour = _shadowed(colour, 0.16 * _under_eyes(canvas), torch.tensor([0.55, 0.38, 0.4]))
    colour = _stubbled(colour, canvas, looks)
    colour, lips = _lips(colour, canvas, looks)
    colour = _lash_line(colour, canvas)
    colour = _brows(colour, canvas, looks)
    colour = _scalp(colour, canvas, looks)
    strength = 0.42 + 0.16 * fine + 0.2 * _oily(canvas) + 0.3 * lips
    sharpness = 0.34 + 0.12 * _oily(canvas) + 0.22 * lips
    return colour, torch.stack([strength, sharpness], dim=-1)


def _pigmented(pigment: Tensor) -> Tensor:
    share = pigment.clamp(0.0, 1.0)[:, None]
    # Absorption adds up in depth, so colours mix as products.
    return PALE ** (1.0 - share) * DARK**share


def _blood(canvas: Canvas) -> Tensor:
    a, points = canvas.anatomy, canvas.points_m
    width = a.eye_distance_m
    cheeks = torch.zeros(len(points))
    for side, eye in zip((1.0, -1.0), a.eye_centre_m, strict=True):
        centre = eye + torch.tensor([side * 0.22 * width, -0.62 * width, 0.1 * width])
        cheeks = cheeks + falloff(points, centre, 0.36 * width)
    nose = falloff(points, a.nose_tip_m, 0.3 * width)
    chin = falloff(points, torch.stack([a.mouth_centre_m[0], torch.tensor(a.chin_y_m), a.nose_tip_m[2]]), 0.3 * width)
    return 0.42 * cheeks + 0.36 * nose + 0.2 * chin + 0.45 * canvas.regions["ears"] + 0.2 * canvas.regions["eyelids"]


def _oily(canvas: Canvas) -> Tensor:
    a = canvas.anatomy
    forehead = a.eye_centre_m.mean(0) + torch.tensor([0.0, 0.75, 0.35]) * a.eye_distance_m
    return falloff(canvas.points_m, a.nose_tip_m, 0.5 * a.eye_distance_m) + 0.7 * falloff(
        canvas.points_m, forehead, 0.55 * a.eye_distance_m
    )


def _freckles(canvas: Canvas) -> Tensor:
    a = canvas.anatomy
    spots = blend_between(smooth_noise(canvas.points_m, 0.0028, canvas.seed + 5), 1.1, 1.7)
    bridge = (a.eye_centre_m.mean(0) + a.nose_tip_m) / 2
    place = falloff(canvas.points_m, bridge + torch.tensor([0.0, -0.008, -0.01]), 0.85 * a.eye_distance_m)
    return spots * place * canvas.regions["skin"]


def _under_eyes(canvas: Canvas) -> Tensor:
    a = canvas.anatomy
    total = torch.zeros(len(canvas.points_m))
    for eye in a.eye_centre_m:
        ring = (canvas.points_m - eye)[:, :2].norm(dim=-1) / a.eye_radius_m
        front = canvas.points_m[:, 2] > eye[2] - 0.5 * a.eye_radius_m
        total = total + torch.exp(-((ring - 1.0) / 0.45).square()) * front
    return total


def _shadowed(colour: Tensor, amount: Tensor, tint: Tensor) -> Tensor:
    return colour * (1.0 - amount.clamp(0.0, 1.0)[:, None] * (1.0 - tint) * 0.6)


def _stubbled(colour: Tensor, canvas: Canvas, looks: Looks) -> Tensor:
    a, points = canvas.anatomy, canvas.points_m
    low, high = a.nose_tip_m[1] - 0.02, a.nose_tip_m[1] + 0.004
    below = blend_between(points[:, 1], float(high), float(low)) * blend_between(
        points[:, 1], a.chin_y_m - 0.045, a.chin_y_m
    )
    cheek = a.mouth_centre_m[1] + 0.35 * points[:, 0].abs()
    below = below * blend_between(points[:, 1] - cheek, 0.02, -0.004) + 0.9 * _moustache(canvas)
    hairs = 0.65 + 0.35 * blend_between(smooth_noise(points, 0.0011, canvas.seed + 7), -0.3, 0.9)
    edge = blend_between(canvas.regions["lips"], 0.35, 0.1) * canvas.regions["skin"]
    amount = (0.5 * looks.stubble * below.clamp(0.0, 1.0) * hairs * edge)[:, None]
    tint = 0.55 * colour + 0.45 * torch.tensor(looks.hair_rgb)
    return torch.lerp(colour, tint * torch.tensor([0.82, 0.86, 0.9]), amount)


def _moustache(canvas: Canvas) -> Tensor:
    a = canvas.anatomy
    middle = torch.stack([a.mouth_centre_m[0], (a.mouth_centre_m[1] + a.nose_tip_m[1]) / 2, a.mouth_centre_m[2]])
    return falloff(canvas.points_m, middle, 0.34 * a.mouth_width_m)


def _lips(colour: Tensor, canvas: Canvas, looks: Looks) -> tuple[Tensor, Tensor]:
    points = canvas.points_m
    # Lips are finely creased from the inside out, so the noise is squeezed across.
    creases = smooth_noise(points * torch.tensor([1.0, 0.22, 0.22]), 0.0011, canvas.seed + 11)
    amount = blend_between(canvas.regions["lips"] + 0.05 * smooth_noise(points, 0.003, canvas.seed + 12), 0.3, 0.7)
    red = torch.tensor(looks.lip_rgb) * (0.75 + 0.25 * _pigmented(torch.tensor([looks.melanin])) / PALE)
    painted = red * (1.0 + 0.045 * creases[:, None])
    return torch.lerp(colour, painted, 0.7 * amount[:, None]), amount


def _lash_line(colour: Tensor, canvas: Canvas) -> Tensor:
    a, points = canvas.anatomy, canvas.points_m
    for eye in a.eye_centre_m:
        height = (points - eye).norm(dim=-1) - a.eye_radius_m
        upper = 0.3 + 0.7 * blend_between(points[:, 1] - eye[1], -0.002, 0.003)
        # At the corners the lids meet and the line would run out over the skin.
        front = (
            blend_between(points[:, 2] - eye[2], 0.45 * a.eye_radius_m, 0.7 * a.eye_radius_m) * canvas.regions["skin"]
        )
        line = blend_between(height, 0.0026, 0.0014) * front * upper * canvas.regions["lash_line"]
        colour = torch.lerp(colour, torch.tensor([0.13, 0.08, 0.07]), 0.85 * line[:, None])
    return colour


def _brows(colour: Tensor, canvas: Canvas, looks: Looks) -> Tensor:
    a, points = canvas.anatomy, canvas.points_m
    hair = torch.tensor(looks.hair_rgb) * 0.75
    for side, eye in zip((1.0, -1.0), a.eye_centre_m, strict=True):
        along = (side * (points[:, 0] - eye[0]) / a.eye_distance_m + 0.33) / 0.68
        arch = 0.31 + looks.brow_arch * (1.0 - ((along - 0.62) / 0.62).square()) + 0.02 * along
        across = (points[:, 1] - eye[1]) / a.eye_distance_m - arch
        thickness = 0.075 * looks.brow_thickness * (1.12 - 0.75 * along.clamp(0.0, 1.0))
        body = (
            torch.exp(-(across / thickness).pow(4))
            * blend_between(along, -0.06, 0.14)
            * blend_between(along, 1.06, 0.8)
        )
        # Hairs lean outwards: noise stretched along that lean reads as strokes.
        lean = 0.75 - 0.6 * along
        stroke = torch.stack(
            [(along * 0.68 - lean * across) / 0.0065, across / 0.05, torch.full_like(along, side)], dim=-1
        )
        hairs = blend_between(smooth_noise(stroke, 1.0, canvas.seed + 13), -1.6, 1.0)
        front = (points[:, 2] > eye[2]) * canvas.regions["skin"]
        colour = torch.lerp(colour, hair, (0.85 * body * (0.45 + 0.55 * hairs) * front)[:, None])
    return colour


def _scalp(colour: Tensor, canvas: Canvas, looks: Looks) -> Tensor:
    if looks.hair_style == "bald":
        shade = 0.25 * looks.stubble
    else:
        shade = 0.85
    rough = 0.18 * smooth_noise(canvas.points_m * torch.tensor([1.0, 0.3, 0.6]), 0.0013, canvas.seed + 17)
    scalp = canvas.regions["scalp"]
    # Roughness moves the hairline and vanishes away from it.
    amount = shade * blend_between(scalp + 3.0 * rough * scalp * (1.0 - scalp), 0.1, 0.6) * canvas.regions["skin"]
    return torch.lerp(colour, torch.tensor(looks.hair_rgb), amount[:, None])
