"""Windows that slide over a plane of features, and the composition of what they show (StyleAvatar, section 3.2).

A cell of a window shows the cell of the plane that lies under it: a window that moves by one cell shows every feature
one cell further. This keeps features and pixels together however the face moves.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


class Window(NamedTuple):
    """What a window shows."""

    features: Float[Tensor, "batch channels rows columns"]
    """Features, 0 beyond the plane."""
    valid: Float[Tensor, "batch 1 rows columns"]
    """1 on the plane, 0 beyond it, between where a cell lies across the border."""


def slide_window(
    plane: Float[Tensor, "#batch channels plane_rows plane_columns"],
    offset_cells: Float[Tensor, "batch 2"],
    rows: int,
    columns: int,
) -> Window:
    """The part of a plane under a window of the given size.

    At whole offsets, the plane's own numbers; between them, bilinear. The plane gets a gradient, and where it is not
    constant the offset too.

    Args:
        plane: the features; one plane may serve the whole batch.
        offset_cells: place of the window's upper left corner on the plane, x and y, of any size and sign.
        rows: rows of the window.
        columns: columns of the window.
    """
    held = plane.expand(len(offset_cells), -1, -1, -1)
    if _may_be_cut(held, offset_cells, rows, columns):
        return _cut(held, offset_cells, rows, columns)
    across, valid_columns = _along(held.transpose(2, 3), offset_cells[:, 0], columns)
    down, valid_rows = _along(across.transpose(2, 3), offset_cells[:, 1], rows)
    return Window(down, valid_rows[:, None, :, None] * valid_columns[:, None, None, :])


def compose(
    face: Float[Tensor, "batch channels rows columns"],
    foreground: Float[Tensor, "batch channels rows columns"],
    background: Float[Tensor, "batch channels rows columns"],
    foreground_share: Float[Tensor, "batch 1 rows columns"],
) -> Float[Tensor, "batch channels rows columns"]:
    """The face's features added to those of the foreground before the background (section 3.2).

    Args:
        face: features looked up on the face's plane, 0 where the face is not.
        foreground: features of hair, neck and clothes.
        background: features under the background's window.
        foreground_share: the predicted matte, in [0, 1].
    """
    return face + foreground * foreground_share + background * (1.0 - foreground_share)


def _may_be_cut(plane: Tensor, offset_cells: Tensor, rows: int, columns: int) -> bool:
    """Whether windows lie on the plane and on whole cells, where slices give the same numbers for less.

    A graph that is traced must hold for all offsets.
    """
    tracing = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    if tracing or (offset_cells.requires_grad and torch.is_grad_enabled()):
        return False
    across, down = offset_cells.unbind(1)
    on_plane = (across > -columns) & (across < plane.shape[3]) & (down > -rows) & (down < plane.shape[2])
    return bool((on_plane & (offset_cells == offset_cells.round()).all(1)).all())


def _cut(plane: Tensor, offset_cells: Tensor, rows: int, columns: int) -> Window:
    height, width = plane.shape[2:]
    shown, valid = [], []
    for one, (x, y) in zip(plane.split(1), offset_cells.long().tolist(), strict=True):
        beside = (-x, x + columns - width, -y, y + rows - height)  # negative: cells to leave out
        shown.append(F.pad(one, beside))
        valid.append(F.pad(plane.new_ones(1, 1, height, width), beside))
    return Window(torch.cat(shown), torch.cat(valid))


def _along(plane: Tensor, offset_cells: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Slide along the rows of a plane, (batch, channels, rows, columns); features and (batch, count) validity."""
    batch, channels, length, breadth = plane.shape
    whole = offset_cells.floor()
    share = (offset_cells - whole).to(plane)[:, None]
    places = whole.long()[:, None] + torch.arange(count, device=plane.device)

    def cells(at: Tensor) -> tuple[Tensor, Tensor]:
        inside = ((at >= 0) & (at < length)).to(plane)
        index = at.clamp(0, length - 1)[:, None, :, None].expand(batch, channels, count, breadth)
        return plane.gather(2, index) * inside[:, None, :, None], inside

    here, here_valid = cells(places)
    following, following_valid = cells(places + 1)
    wide = share[:, :, None, None]
    return here * (1.0 - wide) + following * wide, here_valid * (1.0 - share) + following_valid * share
