"""Where in the head's box there may be anything: a grid that learns it from the density, and one cut from mattes."""

from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, max_pool3d

from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import transform
from headstudio.render.checks import check_batch, check_shape
from headstudio.render.rays import Box

DensityAt: TypeAlias = Callable[[Tensor], Tensor]
"""Density (points), 1/m, at points (points, 3) in head axes, metres."""

_NEAREST_M = 1e-3


class OccupancyGrid(nn.Module):
    """A cell is occupied where density was found in it lately, or in one beside it.

    Densities found fade with every look at the cell and are capped, so that `patience` looks after the last dense one
    the cell is empty (after Mueller et al. 2022, "Instant Neural Graphics Primitives", appendix E). At first all is
    occupied. State is two buffers, which go with the model that owns the grid.
    """

    density_per_m: Float[Tensor, "columns rows layers"]
    allowed: Bool[Tensor, "columns rows layers"]

    def __init__(self, box: Box, cells: int = 64, least_density_per_m: float = 1.0, patience: int = 16) -> None:
        """A grid of `cells` along each axis of the box.

        Args:
            box: what it divides.
            cells: along each axis.
            least_density_per_m: density from which a cell counts as dense. 1/m hides 1 % of what is behind 1 cm.
            patience: looks without density after which a cell is empty; more keeps what only rare expressions fill.

        Raises:
            HeadstudioError: for numbers that are not positive.
        """
        super().__init__()
        if min(cells, patience) < 1 or not least_density_per_m > 0:
            raise HeadstudioError(
                f"{cells} cells, density {least_density_per_m} and patience {patience}",
                where="occupancy grid",
                next_step="pass positive numbers",
            )
        self.box, self.cells, self.patience = box, cells, patience
        self.least_density_per_m = least_density_per_m
        # Half a look of room: rounding must not decide which look is the last one.
        self._fading = 0.5 ** (1 / patience)
        self._highest = least_density_per_m / self._fading ** (patience - 0.5)
        self.register_buffer("density_per_m", torch.full((cells,) * 3, self._highest))
        self.register_buffer("allowed", torch.ones((cells,) * 3, dtype=torch.bool))

    @torch.no_grad()
    def update(self, density_at: DensityAt, generator: torch.Generator, count: int | None = None) -> None:
        """Look at one random place in each of some cells.

        Args:
            density_at: the field, as it is for some expression of this step.
            generator: draws cells and places.
            count: cells looked at, drawn anew each time; all if None.
        """
        cells = torch.arange(self.cells**3)
        if count is not None:
            cells = torch.randperm(self.cells**3, generator=generator, device=generator.device)[:count]
        within = torch.rand(len(cells), 3, generator=generator, device=generator.device).to(self.density_per_m)
        cells = cells.to(within.device)
        found = density_at(self._places(cells, within))
        check_shape(found, (len(cells),), "density")
        kept = self.density_per_m.view(-1)
        kept[cells] = torch.maximum(kept[cells] * self._fading, found.to(kept)).clamp(0, self._highest)

    def restrict(self, allowed: Bool[Tensor, "columns rows layers"]) -> None:
        """Let nothing be outside some cells from now on, as those of `matte_cells`."""
        check_shape(allowed, tuple(self.allowed.shape), "allowed cells")
        self.allowed &= allowed.to(self.allowed.device)

    @property
    def occupied(self) -> Bool[Tensor, "columns rows layers"]:
        """The cells in which anything may be."""
        dense = (self.density_per_m >= self.least_density_per_m).float()[None]
        return (max_pool3d(dense, 3, 1, 1)[0] > 0) & self.allowed

    def forward(self, points_m: Float[Tensor, "points 3"]) -> Bool[Tensor, " points"]:
        """Whether anything may be at points in head axes; never outside the box."""
        index = ((self.box.scaled(points_m) + 1) * (self.cells / 2)).floor()
        inside = ((index >= 0) & (index < self.cells)).all(1)
        columns, rows, layers = index.nan_to_num().clamp(0, self.cells - 1).long().unbind(1)
        return self.occupied.view(-1)[(columns * self.cells + rows) * self.cells + layers] & inside

    def centres_m(self) -> Float[Tensor, "columns rows layers 3"]:
        """Centres of all cells in head axes."""
        cells = torch.arange(self.cells**3, device=self.density_per_m.device)
        middle = self.density_per_m.new_full((1, 3), 0.5)
        return self._places(cells, middle).reshape(*self.allowed.shape, 3)

    def _places(self, cells: Tensor, within: Tensor) -> Float[Tensor, "points 3"]:
        """Points in head axes at a place in [0, 1] of each cell."""
        index = torch.stack([cells // self.cells**2, cells // self.cells % self.cells, cells % self.cells], dim=1)
        low, high = self.box.corners(within)
        return low + (index + within) * ((high - low) / self.cells)


def matte_cells(
    grid: OccupancyGrid,
    camera: Camera,
    T_camera_head: Float[Tensor, "frames 4 4"],
    mattes: Float[Tensor, "frames 1 height width"],
    least_share: float = 0.05,
) -> Bool[Tensor, "columns rows layers"]:
    """Cells that lie in the matte of enough of the frames that show them: a visual hull in the frame of the head.

    A strict hull (a share of 1) would cut off what moves against the skull, as jaw, hair and shoulders. A cell counts
    for a frame wherever it may touch the matte. Cells that no frame shows are left out: nothing could teach them.

    Args:
        grid: whose cells are judged.
        camera: intrinsics, one for all frames or one each.
        T_camera_head: pose in each frame.
        mattes: 1 on the person.
        least_share: least share of the frames showing a cell that have it in their matte.

    Raises:
        HeadstudioError: where shapes do not fit, or no cell is left.
    """
    check_shape(T_camera_head, (len(mattes), 4, 4), "T_camera_head")
    check_shape(mattes, (None, 1, camera.height_px, camera.width_px), "mattes")
    K_px = camera.K_px if camera.K_px.ndim == 3 else camera.K_px[None]
    check_batch(K_px, len(mattes), "camera")
    K_px = K_px.expand(len(mattes), -1, -1)
    centres = grid.centres_m().to(mattes).reshape(-1, 3)
    low, high = grid.box.corners(mattes)
    radius_m = float((high - low).norm()) / grid.cells / 2
    shown, held = torch.zeros_like(centres[:, 0]), torch.zeros_like(centres[:, 0])
    for K, pose, matte in zip(K_px, T_camera_head, mattes, strict=True):
        seen, within = _in_matte(replace(camera, K_px=K), transform(pose, centres), matte, radius_m)
        shown += seen
        held += within
    allowed = ((shown > 0) & (held >= least_share * shown)).reshape(grid.allowed.shape)
    if not bool(allowed.any()):
        raise HeadstudioError("no cell lies in the mattes", where="box", next_step="check poses, mattes and the box")
    return allowed


def _in_matte(camera: Camera, points: Tensor, matte: Tensor, radius_m: float) -> tuple[Tensor, Tensor]:
    """Whether each point, in camera axes, is in the picture, and whether a ball around it may touch the matte too."""
    before = points[:, 2] > _NEAREST_M
    pixels, depth_m = camera.project(torch.where(before[:, None], points, 1.0))
    index = pixels.floor()
    size = index.new_tensor([camera.width_px, camera.height_px])
    seen = before & ((index >= 0) & (index < size)).all(1)
    if not bool(seen.any()):
        return seen, seen
    longest_px = float(camera.K_px[[0, 1], [0, 1]].max()) * radius_m / float(depth_m[seen].min())
    # Wider than the picture reaches no further.
    reach_px = min(ceil(longest_px), max(camera.width_px, camera.height_px))
    widened = max_pool2d(matte[None], 2 * reach_px + 1, 1, reach_px)[0, 0]
    columns, rows = index.clamp(min=index.new_zeros(2), max=size - 1).long().unbind(1)
    return seen, seen & (widened[rows, columns] > 0.5)
