"""CPBD: how much of a picture's edges is too narrow for anybody to notice that it is blurred (no truth is needed).

Narvekar & Karam, A No-Reference Image Blur Metric Based on the Cumulative Probability of Blur Detection, 2011. Edges
are those of a Sobel operator across columns; their widths are those of Marziliano et al. 2002, from one end of the
rise or fall along the row to the other. An edge of width w is seen as blurred with the probability
1 - exp(-(w / w_JNB)^3.6), and the score is the share of edges for which that is at most 63 %: what it is at w = w_JNB.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from torch import Tensor

JUST_NOTICEABLE_PX, OF_HIGH_CONTRAST_PX, HIGH_CONTRAST = 5, 3, 50
"""Width of a just noticeable blur (w_JNB) up to, and above, a contrast of 50 grey levels in the block (section II)."""
BLOCK_PX, EDGE_BLOCK = 64, 0.002
"""Side of a block, and the share of edge pixels above which it is looked at (section III)."""
_LUMA = (0.299, 0.587, 0.114)
_STEEPEST = float(np.tan(np.pi / 8))
"""Vertical against horizontal slope up to which an edge runs upright."""
_STRONG = 2.0
"""Of an edge's slope, against the root of the mean square of slopes."""


def cpbd(
    pictures: Float[Tensor, "batch 3 height width"], masks: Bool[Tensor, "batch regions height width"]
) -> Float[Tensor, "batch regions"]:
    """Share of edges that nobody sees as blurred, in [0, 1]; NaN in regions without edges.

    Args:
        pictures: sRGB in [0, 1].
        masks: True where edges count.
    """
    luma = (255 * pictures.double().clamp(0, 1) * torch.tensor(_LUMA).view(3, 1, 1)).sum(1).round()
    scores = [
        [_score(grey, mask) for mask in regions]
        for grey, regions in zip(luma.cpu().numpy(), masks.cpu().numpy(), strict=True)
    ]
    return torch.tensor(scores, dtype=torch.float32)


def _score(grey: Float[np.ndarray, "height width"], mask: Bool[np.ndarray, "height width"]) -> float:
    edges, widths = _edges(grey, mask), edge_widths_px(grey)
    sharp, counted = 0, 0
    for block in _blocks(*grey.shape):
        found, inside = edges[block], mask[block]
        if found.sum() <= EDGE_BLOCK * found.size:
            continue
        contrast = np.ptp(grey[block][inside])
        noticeable_px = OF_HIGH_CONTRAST_PX if contrast > HIGH_CONTRAST else JUST_NOTICEABLE_PX
        sharp += int((widths[block][found] <= noticeable_px).sum())
        counted += int(found.sum())
    return sharp / counted if counted else float("nan")


def _blocks(height: int, width: int) -> list[tuple[slice, slice]]:
    return [
        (slice(row, row + BLOCK_PX), slice(column, column + BLOCK_PX))
        for row in range(0, height, BLOCK_PX)
        for column in range(0, width, BLOCK_PX)
    ]


def _edges(
    grey: Float[np.ndarray, "height width"], mask: Bool[np.ndarray, "height width"]
) -> Bool[np.ndarray, "height width"]:
    """Pixels where an upright edge is steepest along its row."""
    across, along = (ndimage.sobel(grey, axis=axis, mode="nearest") for axis in (1, 0))
    strength = np.abs(across)
    if not mask.any():
        return mask
    steepest = strength >= ndimage.maximum_filter1d(strength, 3, axis=1, mode="nearest")
    # Of two neighbours as steep as each other, as at a step between two pixels, the left one is the edge.
    steepest[:, 1:] &= strength[:, 1:] > strength[:, :-1]
    upright = np.abs(along) <= _STEEPEST * strength
    return steepest & upright & mask & (strength > _STRONG * np.sqrt(np.square(strength[mask]).mean()))


def edge_widths_px(grey: Float[np.ndarray, "height width"]) -> Int[np.ndarray, "height width"]:
    """Length along its row of the rise or fall about each pixel, which begins and ends beside the pixel at the
    nearest: 2 at a step between two pixels."""
    falling = ndimage.sobel(grey, axis=1, mode="nearest") < 0
    rise, fall = _run_lengths(grey), _run_lengths(-grey)
    return np.where(falling, fall, rise)


def _run_lengths(grey: Float[np.ndarray, "height width"]) -> Int[np.ndarray, "height width"]:
    """From where the values begin to grow, left of each pixel's left neighbour, to where they stop on the right."""
    width = grey.shape[1]
    grows = np.diff(grey, axis=1) > 0  # from each pixel to the next
    columns = np.arange(width)
    stops = np.pad(~grows, ((0, 0), (1, 0)), constant_values=True)
    begin = np.maximum.accumulate(np.where(stops, columns, 0), axis=1)
    stops = np.pad(~grows, ((0, 0), (0, 1)), constant_values=True)
    end = np.minimum.accumulate(np.where(stops, columns, width - 1)[:, ::-1], axis=1)[:, ::-1]
    left, right = np.maximum(columns - 1, 0), np.minimum(columns + 1, width - 1)
    return end[:, right] - begin[:, left]
