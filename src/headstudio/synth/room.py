"""The room behind the actor, out of focus."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.synth.fields import blend_between
from headstudio.synth.noise import fractal_noise

_WALLS = ((0.62, 0.6, 0.56), (0.5, 0.56, 0.6), (0.55, 0.6, 0.54), (0.66, 0.58, 0.5), (0.42, 0.44, 0.48))


def paint_room(seed: int, width_px: int, height_px: int) -> Float[Tensor, "3 height width"]:
    """A wall with the light falling off, a few blurred things, faint texture; sRGB in [0, 1]."""
    generator = np.random.default_rng([seed, 3])
    x, y = torch.meshgrid(torch.linspace(-1, 1, width_px), torch.linspace(-1, 1, height_px), indexing="xy")
    wall = torch.tensor(_WALLS[generator.integers(len(_WALLS))])
    side = float(generator.choice([-1.0, 1.0]))
    falling = 0.92 + 0.16 * side * x - 0.12 * y
    places = torch.stack([x, y, torch.zeros_like(x)], dim=-1).reshape(-1, 3)
    grain = fractal_noise(places, 0.5, seed + 61, 6, 0.6).reshape(x.shape)
    room = wall[:, None, None] * (falling * (1.0 + 0.03 * grain))
    for _ in range(4):
        room = _thing(room, x, y, generator)
    return room.clamp(0.02, 0.98)


def _thing(room: Tensor, x: Tensor, y: Tensor, generator: np.random.Generator) -> Tensor:
    """A blurred upright box: a frame, a shelf, a curtain."""
    centre_x = float(generator.choice([-1.0, 1.0]) * generator.uniform(0.5, 1.05))
    centre_y = float(generator.uniform(-0.9, 0.6))
    half_x, half_y = float(generator.uniform(0.08, 0.3)), float(generator.uniform(0.1, 0.45))
    blur = 0.06
    inside = blend_between((x - centre_x).abs(), half_x + blur, half_x - blur)
    inside = inside * blend_between((y - centre_y).abs(), half_y + blur, half_y - blur)
    colour = torch.from_numpy(generator.uniform(0.25, 0.8, 3)).float()
    tint = (room.mean((1, 2)) * 0.6 + colour * 0.4)[:, None, None]
    return torch.lerp(room, tint.expand_as(room), 0.75 * inside)
