"""Seeded smooth noise in space, so that nothing painted with it shows a texture's seams."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample, pad

_CELLS = 32


def smooth_noise(points: Float[Tensor, "points 3"], scale: float, seed: int) -> Float[Tensor, " points"]:
    """Value noise of about unit variance whose features are `scale` large (in the unit of the points)."""
    lattice = torch.randn(1, 1, _CELLS, _CELLS, _CELLS, generator=torch.Generator().manual_seed(seed))
    wrapped = pad(lattice, (0, 1, 0, 1, 0, 1), mode="circular")
    cell = points / scale
    corner = cell.floor()
    fraction = cell - corner
    # Perlin 2002, "Improving Noise": a quintic blend has no visible creases at the lattice.
    eased = fraction * fraction * fraction * (fraction * (fraction * 6.0 - 15.0) + 10.0)
    place = (corner - _CELLS * (corner / _CELLS).floor() + eased) * (2.0 / _CELLS) - 1.0
    values = grid_sample(wrapped, place[None, None, None], mode="bilinear", align_corners=True)
    # Trilinear averaging of eight unit normals leaves a variance of about 0.37.
    return values.flatten() / 0.61


def fractal_noise(
    points: Float[Tensor, "points 3"], scale: float, seed: int, octaves: int = 4, gain: float = 0.5
) -> Float[Tensor, " points"]:
    """Sum of octaves of `smooth_noise`, each half as large; about unit variance."""
    total, power = torch.zeros(len(points)), 0.0
    for octave in range(octaves):
        weight = gain**octave
        # The shift keeps the lattices of the octaves from lining up at the origin.
        total += weight * smooth_noise(points + 0.37 * scale * octave, scale / 2**octave, seed * 31 + octave)
        power += weight**2
    return total / power**0.5
