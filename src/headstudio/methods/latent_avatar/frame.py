"""Where the volume is, in the size of this person's head, and the square window of a view that it is seen in."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from headstudio.geometry.rigid import transform
from headstudio.heads.base import HeadModel
from headstudio.records.channels import View
from headstudio.render.rays import Box


@dataclass(frozen=True)
class HeadFrame:
    """The head's middle and half extents along x, y, z, in head axes."""

    middle_m: tuple[float, float, float]
    half_m: tuple[float, float, float]

    @classmethod
    def of(cls, head: HeadModel, neutral_m: Float[Tensor, "vertices 3"]) -> "HeadFrame":
        """Of a tracked person: what their mesh without its neck extends to. Nothing else is taken from the mesh."""
        points = neutral_m[~head.region("neck")]
        low, high = points.amin(0), points.amax(0)
        return cls(tuple(((low + high) / 2).tolist()), tuple(((high - low) / 2).tolist()))

    def box(self, lowest: tuple[float, float, float], highest: tuple[float, float, float]) -> Box:
        """A box whose corners are given in half extents from the middle."""
        corners = (
            tuple(m + c * h for m, c, h in zip(self.middle_m, corner, self.half_m, strict=True))
            for corner in (lowest, highest)
        )
        return Box(*corners)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Window:
    """Squares of pictures, one a frame, in which the volume is seen."""

    middle_px: Float[Tensor, "batch 2"]
    side_px: Float[Tensor, " batch"]

    @classmethod
    def around(cls, box: Box, view: View, T_camera_head: Float[Tensor, "batch 4 4"]) -> "Window":
        """Squares around the box as the views see it, whichever way it is turned."""
        low, high = box.corners(T_camera_head)
        centre = transform(T_camera_head, ((low + high) / 2).expand(len(T_camera_head), 1, 3))
        middle_px, depth_m = view.camera.project(centre)
        K_px = view.camera.K_px.expand(len(T_camera_head), 3, 3)
        size_m = (high - low).max()
        return cls(middle_px[:, 0], size_m * K_px[:, [0, 1], [0, 1]].mean(1) / depth_m[:, 0].clamp_min(size_m / 2))

    def view(self, view: View, side: int) -> View:
        """The view of the windows, `side` pixels a side."""
        scale = side / self.side_px
        K_px = view.camera.K_px.expand(len(scale), 3, 3) * scale[:, None, None]
        shift = (self.middle_px - self.side_px[:, None] / 2) * scale[:, None]
        K_px = torch.stack([K_px[:, 0], K_px[:, 1], view.camera.K_px.new_tensor([0, 0, 1]).expand(len(scale), 3)], 1)
        K_px[:, :2, 2] -= shift
        return View(replace(view.camera, K_px=K_px, width_px=side, height_px=side), view.T_camera_world)

    def cut(self, pictures: Float[Tensor, "batch channels height width"], side: int) -> Tensor:
        """What is in the windows; 0 beyond the pictures."""
        centres = (torch.arange(side, device=pictures.device) + 0.5) / side - 0.5
        grid = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1)
        places_px = self.middle_px[:, None, None] + self.side_px[:, None, None, None] * grid
        return _looked_up(pictures, places_px)

    def paste(self, pictures: Float[Tensor, "batch channels side side"], height: int, width: int) -> Tensor:
        """The windows' pictures where they belong; 0 beyond the windows."""
        # First to the size they are shown at, so that nothing aliases; windows of one batch are about as large.
        shown = max(round(float(self.side_px.mean())), 2)
        if shown < pictures.shape[-1]:
            pictures = F.interpolate(pictures, (shown, shown), mode="bilinear", antialias=True, align_corners=False)
        rows = torch.arange(height, device=pictures.device) + 0.5
        columns = torch.arange(width, device=pictures.device) + 0.5
        pixels = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)
        within = (pixels - self.middle_px[:, None, None]) / self.side_px[:, None, None, None] + 0.5
        return _looked_up(pictures, within * pictures.shape[-1])


def _looked_up(pictures: Tensor, places_px: Float[Tensor, "batch rows columns 2"]) -> Tensor:
    size = places_px.new_tensor([pictures.shape[-1], pictures.shape[-2]])
    return F.grid_sample(pictures, 2 * places_px / size - 1, mode="bilinear", align_corners=False)
