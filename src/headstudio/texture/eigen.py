"""Eigen-textures: the few textures of which a clip's dynamic textures are mostly sums (Turk and Pentland 1991)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headstudio.errors import HeadstudioError

_ITERATIONS = 4


class EigenTextures(nn.Module):
    """A linear model of what textures differ from a mean by; nothing in it learns by descent."""

    basis: Tensor
    counts: Tensor
    power: Tensor

    def __init__(self, components: int, side: int) -> None:
        """`components`: 0 makes a model of nothing."""
        super().__init__()
        if components < 0 or side < 1:
            raise HeadstudioError(
                f"{components} eigen-textures of side {side} cannot be", next_step="choose numbers above 0"
            )
        self.register_buffer("basis", torch.zeros(components, 3, side, side))
        self.register_buffer("counts", torch.ones(1, 1, side, side))
        self.register_buffer("power", torch.ones(components))

    @property
    def components(self) -> int:
        """Number of coefficients."""
        return len(self.power)

    @torch.no_grad()
    def measure(self, textures: Float[Tensor, "frames 3 side side"], counts: Float[Tensor, "1 1 side side"]) -> None:
        """Find the textures that leave the least squared error.

        Args:
            textures: differences from the mean, 0 where a frame shows nothing of its own.
            counts: how much the square of each texel's error counts, 0 off the charts.
        """
        if not self.components:
            return
        root = counts.sqrt()
        rows = (textures * root).flatten(1)
        # Randomised (Halko et al. 2011): exact as far as the leading components go, and fast.
        wanted = min(self.components, len(rows))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            _, scale, directions = torch.svd_lowrank(rows, min(wanted + 8, *rows.shape), niter=_ITERATIONS)
        spread = (scale[:wanted] / len(rows) ** 0.5).clamp_min(1e-6)
        basis = torch.zeros_like(self.basis)
        found = (directions[:, :wanted] * spread).T.reshape(wanted, *textures.shape[1:])
        basis[:wanted] = torch.where(root > 0, found / root.clamp_min(1e-6), 0.0)
        power = torch.ones_like(self.power)
        power[:wanted] = spread.square()
        self.basis, self.power, self.counts = basis, power, counts.clone()

    def coefficients(self, textures: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch components"]:
        """Of differences from the mean, in root mean squares over the measured frames."""
        if not self.components:
            return textures.new_zeros(len(textures), 0)
        return (textures * self.counts).flatten(1) @ self.basis.flatten(1).T / self.power

    def forward(self, coefficients: Float[Tensor, "batch components"]) -> Float[Tensor, "batch 3 side side"]:
        """Differences from the mean."""
        return (coefficients @ self.basis.flatten(1)).reshape(-1, *self.basis.shape[1:])
