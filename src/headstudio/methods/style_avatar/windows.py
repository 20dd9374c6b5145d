"""The boxes that slide over a clip's crop, and what of pictures, renderings and features lies in them (section 3.2).

Three frames, all counted in cells with the origin at the upper left: the *crop*, fixed for the clip; the *box* within
it, a window's size, that one training step sees; and the *canvas*, larger than the crop, on which the rendering of the
box is laid where the box was. The foreground network sees the canvas, so its features keep their places however the
box moves, and the box's own features are found under the same window.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.methods.style_avatar.sizes import StyleAvatarSizes
from headstudio.nn.feature_planes import Window, slide_window


@dataclass(frozen=True)
class BoxConfig:
    """How boxes are drawn."""

    deviation: float = 1 / 24
    """Standard deviation of a box's place, in window sides (authors' code: 128 / 24 cells)."""
    reach: float = 22 / 32
    """Farthest from the middle, in shares of the way to the crop's border (authors' code: 22 of 32 cells)."""


@dataclass(frozen=True)
class Windows:
    """The sizes of one avatar, and the windows over its crop and its canvas."""

    sizes: StyleAvatarSizes

    @property
    def middle_cells(self) -> float:
        """Place of the middle box on the crop, on both axes."""
        return (self.sizes.crop_cells - self.sizes.window_cells) / 2

    @property
    def crop_on_canvas_cells(self) -> float:
        """Place of the crop on the canvas, on both axes."""
        return (self.sizes.padded_cells - self.sizes.crop_cells) / 2

    def draw(self, count: int, config: BoxConfig, generator: torch.Generator | None = None) -> Float[Tensor, "count 2"]:
        """Places of random boxes on the crop, x and y in whole cells."""
        wandering = torch.randn(count, 2, generator=generator) * config.deviation * self.sizes.window_cells
        reach_cells = config.reach * self.middle_cells
        return (self.middle_cells + wandering.clamp(-reach_cells, reach_cells)).round()

    def cut(
        self,
        picture: Float[Tensor, "#batch channels rows columns"],
        box_cells: Float[Tensor, "batch 2"],
        covered_cells: int | None = None,
    ) -> Window:
        """What of a picture lies in a box; 0 and invalid beyond the picture.

        Args:
            picture: in the middle of the crop, at any resolution.
            box_cells: places of boxes on the crop.
            covered_cells: side of the picture; None: that of the crop.
        """
        covered_cells = covered_cells or self.sizes.crop_cells
        scale = int(picture.shape[-1]) / covered_cells  # a number also while a graph is traced
        side = round(self.sizes.window_cells * scale)
        beyond_cells = (self.sizes.crop_cells - covered_cells) / 2
        return slide_window(picture, (box_cells - beyond_cells) * scale, side, side)

    def slid(
        self, heads_cells: Float[Tensor, "batch 2"], lowest_cells: Tensor, highest_cells: Tensor
    ) -> Float[Tensor, "batch 2"]:
        """Whole cells by which the foreground's window has to slide, so that the foreground network sees heads where
        it learned them; as far as the canvas reaches.

        Args:
            heads_cells: where heads stand on the crop.
            lowest_cells: least place, on each axis, that was learned.
            highest_cells: greatest place.
        """
        wanted = (heads_cells - heads_cells.clamp(lowest_cells, highest_cells)).round()
        reach = (self.sizes.padded_cells - self.sizes.window_cells) / 2
        return wanted.clamp(-reach, reach)

    def lay_on_canvas(
        self,
        boxed: Float[Tensor, "batch channels rows columns"],
        box_cells: Float[Tensor, "batch 2"],
        fill: float = -1.0,
    ) -> Float[Tensor, "batch channels canvas_rows canvas_columns"]:
        """A rendering of the box on the canvas, at the box's place; `fill` around it (-1 is black in [-1, 1])."""
        scale = int(boxed.shape[-1]) / self.sizes.window_cells
        side = round(self.sizes.padded_cells * scale)
        laid = slide_window(boxed, -(box_cells + self.crop_on_canvas_cells) * scale, side, side)
        return laid.features + fill * (1.0 - laid.valid)

    def of_canvas(
        self, features: Float[Tensor, "#batch channels rows columns"], box_cells: Float[Tensor, "batch 2"]
    ) -> Window:
        """Features of the box, out of those of the canvas, one a cell."""
        side = self.sizes.window_cells
        return slide_window(features, box_cells + self.crop_on_canvas_cells, side, side)

    def of_crop_plane(
        self, plane: Float[Tensor, "#batch channels rows columns"], box_cells: Float[Tensor, "batch 2"]
    ) -> Window:
        """Features of the box, out of a plane of cells that lies centred under the crop and may reach beyond it."""
        beyond_cells = (int(plane.shape[-1]) - self.sizes.crop_cells) / 2
        side = self.sizes.window_cells
        return slide_window(plane, box_cells + beyond_cells, side, side)
