"""The visual hull: all points that every mask holds. It contains the subject, and is where the optimisation starts."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.ndimage import binary_dilation, distance_transform_edt, label
from torch import Tensor
from torch.nn.functional import grid_sample

from headstudio.errors import HeadstudioError
from headstudio.geometry.marching import marching_tetrahedra
from headstudio.geometry.topology import largest_part
from headstudio.render.rasterise import rasterise
from headstudio.scan.multiview import MultiView

_LOOSE_CELLS = 48
_MARGIN = 1.05
_SLACK_PX = 2
"""Pixels by which a mask may be wider than the hull without being another thing."""


def visual_hull(
    views: MultiView, cells: int, least_share: float = 0.5
) -> tuple[MultiView, Float[Tensor, "vertices 3"], Int[Tensor, "triangles 3"]]:
    """The hull's closed surface, and the views in the box of half-length 1 round it.

    A point that a view does not show, beyond the border of its picture or its valid region, is judged by the others.
    So where the frame cuts the neck, the hull goes on as far as enough views show it. What it leaves out there, as
    shoulders that few views show, is taken out of those views' valid pixels: the mesh must not grow towards it.

    Args:
        views: checked pictures.
        cells: cells along each side of the box.
        least_share: least share of the views that must show a point for it to belong.

    Raises:
        HeadstudioError: where no point lies within all masks.
    """
    distances = torch.stack(
        [_signed_distance_px(mask, valid) for mask, valid in zip(views.masks, views.valid, strict=True)]
    )
    loose, shown, points = _carve(views, distances, _LOOSE_CELLS)
    inside = points[_largest_part((loose > 0) & (shown >= least_share))]
    if len(inside) == 0:
        raise HeadstudioError("no point lies within all masks", next_step="check cameras and masks")
    # One cell more on either side, because what lies between the points of the loose grid may be inside too.
    low, high = inside.amin(0) - 2 / _LOOSE_CELLS, inside.amax(0) + 2 / _LOOSE_CELLS
    boxed = views.boxed((low + high) / 2, _MARGIN * float((high - low).max()) / 2)
    field, shown, _ = _carve(boxed, distances, cells)
    vertices, triangles = marching_tetrahedra(torch.where(shown >= least_share, field, -2 / cells))
    if len(triangles) == 0:
        raise HeadstudioError("no point lies within all masks", next_step="check cameras and masks, or use more cells")
    vertices, triangles = largest_part(vertices * (2 / cells) - 1, triangles)
    left_out = torch.stack([_left_out(boxed, view, vertices, triangles) for view in range(len(views))])
    return replace(boxed, valid=boxed.valid & ~left_out), vertices, triangles


def _left_out(views: MultiView, view: int, vertices: Tensor, triangles: Tensor) -> Tensor:
    """Where the mask goes on beyond the hull up to the border of what the view shows.

    Elsewhere, a mask that goes on beyond the hull is one that another mask contradicts, and may pull.
    """
    fragments = rasterise(views.to_camera(vertices, view)[None], triangles, views.camera(view))
    covered = _widened((fragments.triangle[0] >= 0).cpu().numpy(), _SLACK_PX)
    mask, valid = views.masks[view].cpu().numpy() > 0.5, views.valid[view].cpu().numpy()
    parts = np.zeros(mask.shape, dtype=np.int32)
    label(mask & ~covered, output=parts)
    border = _widened(np.pad(~valid, 1, constant_values=True), 2)[1:-1, 1:-1]
    reaching = np.unique(parts[border])
    return torch.from_numpy(np.isin(parts, reaching[reaching > 0])).to(views.valid.device)


def _widened(mask: np.ndarray, steps_px: int) -> np.ndarray:
    return np.asarray(binary_dilation(mask, iterations=steps_px), dtype=bool)


def _carve(views: MultiView, distances: Tensor, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """On the points of a grid over the box: signed distance to the hull, positive inside; the share of the views that
    show the point; the points. The border is outside, and so is what no view shows."""
    steps = torch.linspace(-1.0, 1.0, cells + 1, device=views.images.device)
    points = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), dim=-1)
    flat = points.reshape(-1, 3)
    least, shown = torch.full_like(flat[:, 0], torch.inf), torch.zeros_like(flat[:, 0])
    for view in range(len(views)):
        distance, seen = _distance(views, distances[view], flat, view)
        least = torch.where(seen, torch.minimum(least, distance), least)
        shown += seen
    cell = 2 / cells
    field = torch.where(shown > 0, least.clamp(-cell, cell), -cell).reshape(points.shape[:3])
    closed = torch.full_like(field, -cell)
    closed[1:-1, 1:-1, 1:-1] = field[1:-1, 1:-1, 1:-1]
    return closed, shown.reshape(field.shape) / len(views), points


def _distance(views: MultiView, distance_px: Tensor, points: Tensor, view: int) -> tuple[Tensor, Tensor]:
    """Signed distance across the ray to a mask's border, in units of half the box, and whether the view shows it."""
    camera = views.camera(view)
    in_camera = views.to_camera(points, view)
    depth = in_camera[:, 2]
    pixels, _ = camera.project(torch.cat([in_camera[:, :2], depth.clamp_min(1e-6)[:, None]], 1)[None])
    size = pixels.new_tensor([camera.width_px, camera.height_px])
    places = (pixels[0] / size * 2 - 1)[None, None]
    sampled, known = (
        grid_sample(image[None, None], places, mode=mode, padding_mode="border", align_corners=False)[0, 0, 0]
        for image, mode in ((distance_px, "bilinear"), (views.valid[view].float(), "nearest"))
    )
    within = (places[0, 0].abs() <= 1).all(1)
    return sampled * depth / camera.K_px[0, 0, 0], within & (known > 0.5) & (depth > 1e-6)


def _largest_part(inside: Tensor) -> Tensor:
    """Without the crumbs that hang where few views look."""
    parts = np.zeros(inside.shape, dtype=np.int32)
    label(inside.cpu().numpy(), output=parts)
    sizes = np.bincount(parts.reshape(-1))
    sizes[0] = 0
    return inside & torch.from_numpy(parts == sizes.argmax()).to(inside.device)


def _signed_distance_px(mask: Tensor, valid: Tensor) -> Tensor:
    """Distance of every pixel centre to the border between subject and known background, positive on the subject."""
    background = (valid & (mask < 0.5)).cpu().numpy()
    if not background.any():
        return torch.full_like(mask, float(sum(mask.shape)))
    inside, outside = (np.asarray(distance_transform_edt(part)) - 0.5 for part in (~background, background))
    signed = torch.from_numpy(inside * ~background - outside * background)
    return signed.to(mask)
