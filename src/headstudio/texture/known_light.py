"""The light in pictures of a head whose colours are known: a linear problem for each channel.

Paper 1, section 3.2 tracks clip B with "auxiliary lighting"; here its nine harmonics follow from the albedo of clip A,
so that eq. 2 compares pictures in the same light and what the network paints is albedo too.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.render.light import Y00
from headstudio.texture.delight import TexelTable

_ROUNDS = 12
_LEAST_RESIDUAL = 0.01
"""Residuals (linear light) below this count as squares, larger ones as themselves: shadows and gloss are outliers."""
_PRIOR = torch.tensor([0.0] + [1e-4] * 3 + [1e-3] * 5)
"""Weight of the squared coefficients against all texels together: what a still head does not tell stays near 0."""


def light_over(
    table: TexelTable, albedo: Float[Tensor, "texels 3"], turns: Float[Tensor, "views 9 9"]
) -> Float[Tensor, "9 3"]:
    """Irradiance coefficients with the least absolute error, by reweighted least squares.

    Args:
        table: colours, weights and harmonics of the texels.
        albedo: of the same texels, linear; gains between two clips' white balances become part of the light.
        turns: from `delight.light_turns`, whose source axes the light is in.
    """
    basis = torch.einsum("th,vhk->vtk", table.harmonics, turns).double()
    share = (table.weights / table.weights.sum().clamp_min(1e-8)).double()
    return torch.stack(
        [_channel(basis, table.colours[..., c].double(), albedo[:, c].double(), share) for c in range(3)], dim=1
    ).to(table.colours)


def _channel(basis: Tensor, colours: Tensor, albedo: Tensor, share: Tensor) -> Tensor:
    rows = basis * albedo[None, :, None]
    light = torch.zeros(9).to(rows)
    light[0] = 1.0 / Y00
    prior = torch.diag(_PRIOR.to(rows)) * (share * (albedo * albedo)).sum()
    for _ in range(_ROUNDS):
        residual = (rows @ light - colours).abs()
        weight = share / residual.clamp_min(_LEAST_RESIDUAL) * _LEAST_RESIDUAL
        system = torch.einsum("vt,vta,vtb->ab", weight, rows, rows) + prior
        light = torch.linalg.lstsq(system, torch.einsum("vt,vta,vt->a", weight, rows, colours)).solution
    return light
