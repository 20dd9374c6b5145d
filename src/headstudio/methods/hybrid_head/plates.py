"""The empty background of a clip: given as a picture, or what the training frames show beside the person."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

from headstudio.errors import HeadstudioError
from headstudio.records.capture import Capture
from headstudio.texture.fill import pull_push
from headstudio.training.batches import FrameStore, spread_out, usable_training_frames
from headstudio.training.contract import Source

FILE = "clean_plate.png"
"""A picture of the room without the person, in the folder of the capture: as large as the video, or as its frames."""
_PERSON = 0.05
"""Matte above which a pixel may show the person."""
_TRUSTED = 3
"""Frames that must have seen a pixel."""
_AT_ONCE = 64
"""Rows whose median is taken at a time."""


@dataclass(frozen=True)
class Plate:
    """The background behind one clip."""

    rgb: Float[Tensor, "3 size size"]
    """sRGB in [0, 1], smoothly continued where nothing was seen."""
    seen: Bool[Tensor, "1 size size"]
    """Where it was seen."""
    given: bool
    """Whether it is a picture that somebody took."""


@torch.no_grad()
def clean_plate(source: Source, size_px: int, frames: int) -> Plate:
    """The background behind a clip: the given one, else the median over time outside the matte.

    Args:
        source: the clip.
        size_px: side of the plate.
        frames: training frames looked at, spread over the clip.

    Raises:
        HeadstudioError: the given picture cannot be read or fits neither the video nor its frames.
    """
    where = source.capture.path / FILE
    if where.exists():
        rgb = F.interpolate(_given(source.capture, where)[None], (size_px, size_px), mode="area")[0]
        return Plate(rgb, torch.ones(1, size_px, size_px, dtype=torch.bool), True)
    return _estimated(source, size_px, frames)


@torch.no_grad()
def portrait(source: Source, size_px: int, frames: int) -> Float[Tensor, "3 size size"]:
    """The mean of training frames spread over the clip, sRGB in [0, 1]."""
    store, chosen = FrameStore(source, size_px), spread_out(usable_training_frames(source), frames)
    return torch.stack([store[frame][:3].float() for frame in chosen]).mean(0) / 255


def _given(capture: Capture, where: Path) -> Float[Tensor, "3 side side"]:
    """The given picture, cut like the capture's frames."""
    again = "give a picture of the empty room as large as the video, taken by the camera where it stood"
    try:
        with Image.open(where) as picture:
            pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).float() / 255
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise HeadstudioError(f"the clean plate cannot be read: {error}", where=where, next_step=again) from None
    found, view = tuple(pixels.shape[1:]), capture.views[0]
    if found == (capture.size_px, capture.size_px):
        return pixels
    if found != (view.source.height_px, view.source.width_px):
        raise HeadstudioError(
            f"the clean plate has {found[1]} x {found[0]} px, the video {view.source.width_px} x "
            f"{view.source.height_px} px",
            where=where,
            next_step=again,
        )
    crop, size = view.crop, capture.size_px
    axis = (torch.arange(size) + 0.5) * (crop.side_px / size)
    columns, rows = (axis + crop.left_px) / found[1] * 2 - 1, (axis + crop.top_px) / found[0] * 2 - 1
    grid = torch.stack([columns.expand(size, size), rows[:, None].expand(size, size)], dim=-1)
    return F.grid_sample(pixels[None], grid[None], mode="bilinear", padding_mode="border", align_corners=False)[0]


def _estimated(source: Source, size_px: int, frames: int) -> Plate:
    store = FrameStore(source, size_px)
    stored = torch.stack([store[frame] for frame in spread_out(usable_training_frames(source), frames)])
    reach = max(size_px // 64, 1)
    near = F.max_pool2d(stored[:, 3:].float() / 255, 2 * reach + 1, stride=1, padding=reach)
    free = (near < _PERSON) & store.valid
    medians = [_median(stored[:, :3, rows], free[:, :, rows]) for rows in torch.arange(size_px).split(_AT_ONCE)]
    seen = free.sum(0) >= _TRUSTED
    known = torch.where(seen, torch.cat(medians, dim=1).nan_to_num(0.0), 0.0)
    return Plate(pull_push(known, seen.float()).clamp(0, 1), seen, False)


def _median(pictures: Tensor, free: Tensor) -> Float[Tensor, "3 rows columns"]:
    """Over the frames in which a pixel is free."""
    return torch.where(free, pictures.float() / 255, torch.nan).nanmedian(0).values
