"""From rendered to filmed: what cameras, codecs, light and the room do to a face crop and to its landmarks.

Every draw comes from torch's global generator, which the training loop seeds for each step.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from headstudio.encoders.expression.config import AugmentationConfig

_BLOCK = 8
_COARSEST = 0.35
"""Step of the strongest quantisation at the finest detail, in units of white."""
_LUMA = (0.299, 0.587, 0.114)
_DEPTH_ERROR = 4.0
"""A detector guesses depth so many times worse than size."""
_PX_PER_TURN = 20.0
"""So many pixels of jitter stand for a turn by a radian and for a change of size by e."""


def augmented_crops(
    crops: Float[Tensor, "batch 3 side side"], config: AugmentationConfig
) -> Float[Tensor, "batch 3 side side"]:
    """Crops as a poor camera would have taken them; what was black beyond the face stays so."""
    crops = _moved(crops, config.jitter)
    face = (crops.amax(1, keepdim=True) > 0).to(crops)
    crops = _beside(crops, config.background)
    crops = _before(crops, config.occlusion)
    crops = _coloured(crops, config.colour)
    crops = _blurred(crops, config.blur)
    crops = crops + config.noise * _each(crops) * torch.randn_like(crops)
    return _poorly_kept(crops, config.compression).clamp(0, 1) * face


def augmented_landmarks(
    landmarks: Float[Tensor, "batch 478 3"], config: AugmentationConfig
) -> Float[Tensor, "batch 478 3"]:
    """Landmarks with a detector's errors: all of them moved a little, and each by itself."""
    size = torch.exp(config.jitter / _PX_PER_TURN * _spread(landmarks, 1, 1))
    middle = landmarks.mean(1, keepdim=True)
    moved = middle + (landmarks - middle) * size + config.jitter / 2 * _spread(landmarks, 1, 3)
    depth = 1 + _DEPTH_ERROR * config.jitter / _PX_PER_TURN * _spread(landmarks, 1, 1)
    moved = torch.cat([moved[..., :2], moved[..., 2:] * depth], dim=-1)
    return moved + config.landmark_noise * torch.randn_like(landmarks)


def hidden_branches(batch: int, share: float, like: Tensor) -> Float[Tensor, "batch 2"]:
    """1 for what the network is shown of each face: its picture and its landmarks, never neither."""
    drawn = torch.rand(batch).to(like)
    return torch.stack([(drawn >= share).to(like), (drawn < 1 - share).to(like)], dim=1)


def compressed(
    pictures: Float[Tensor, "batch 3 side side"], coarseness: Float[Tensor, "batch 1 1 1"]
) -> Float[Tensor, "batch 3 side side"]:
    """What is left after the cosine transform of each 8x8 block was rounded, more coarsely where it is finer (JPEG).

    Args:
        coarseness: the rounding step of the finest detail in units of white; 0 rounds nothing.
    """
    side = pictures.shape[-1]
    blocks = torch.block_diag(*[_cosines(pictures)] * (side // _BLOCK))
    order = torch.arange(side).to(pictures) % _BLOCK
    step = (coarseness * (1 + order[:, None] + order) / (2 * _BLOCK - 1)).clamp_min(1e-6)
    return blocks.T @ ((blocks @ pictures @ blocks.T / step).round() * step) @ blocks


def _cosines(like: Tensor) -> Float[Tensor, "8 8"]:
    """The orthonormal DCT-II of eight numbers."""
    order, place = torch.arange(_BLOCK).to(like), torch.arange(_BLOCK).to(like) + 0.5
    rows = torch.cos(math.pi / _BLOCK * order[:, None] * place) * math.sqrt(2 / _BLOCK)
    return torch.cat([rows[:1] / math.sqrt(2), rows[1:]])


def _moved(crops: Tensor, jitter: float) -> Tensor:
    batch, side = len(crops), crops.shape[-1]
    turn, size = (jitter / _PX_PER_TURN * _spread(crops, 1)[:, 0] for _ in range(2))
    shift = 2 * jitter / side * _spread(crops, 2)
    cosine, sine = torch.cos(turn) * torch.exp(size), torch.sin(turn) * torch.exp(size)
    rows = torch.stack([cosine, -sine, shift[:, 0], sine, cosine, shift[:, 1]], dim=1).reshape(batch, 2, 3)
    return F.grid_sample(crops, F.affine_grid(rows, list(crops.shape), align_corners=False), align_corners=False)


def _coloured(crops: Tensor, amount: float) -> Tensor:
    gain = torch.exp(amount * _spread(crops, 1, 1, 1) + amount / 3 * _spread(crops, 3, 1, 1))
    crops = (crops * gain).clamp(1e-4, 1) ** torch.exp(amount * _spread(crops, 1, 1, 1))
    grey = (crops * torch.tensor(_LUMA).to(crops)[:, None, None]).sum(1, keepdim=True)
    return grey + (crops - grey) * (1 + 2 * amount * _spread(crops, 1, 1, 1))


def _blurred(crops: Tensor, most: float) -> Tensor:
    """One size for the whole batch: half of the steps are sharp."""
    factor = 1 + max(most - 1, 0.0) * max(2 * float(torch.rand(())) - 1, 0.0)
    side = crops.shape[-1]
    small = max(round(side / factor), 1)
    if small == side:
        return crops
    return F.interpolate(
        F.interpolate(crops, (small, small), mode="area"), (side, side), mode="bilinear", align_corners=False
    )


def _poorly_kept(crops: Tensor, share: float) -> Tensor:
    chosen = (_each(crops) < share).flatten()
    kept = compressed(crops[chosen], _COARSEST * _each(crops[chosen]) ** 2)
    return crops.masked_scatter(chosen[:, None, None, None], kept)


def _before(crops: Tensor, share: float) -> Tensor:
    """An ellipse of one colour somewhere: a hand, a microphone, hair."""
    x, y = _axes(crops)
    centre, reach = 0.7 * _spread(crops, 2, 1, 1), 0.1 + 0.3 * torch.rand(len(crops), 2, 1, 1).to(crops)
    inside = ((x - centre[:, :1]) / reach[:, :1]) ** 2 + ((y - centre[:, 1:]) / reach[:, 1:]) ** 2 < 1
    return _chosen(share, torch.where(inside, torch.rand(len(crops), 3, 1, 1).to(crops), crops), crops)


def _beside(crops: Tensor, share: float) -> Tensor:
    """Everything beyond a line near the rim is something else."""
    x, y = _axes(crops)
    angle = math.pi * _spread(crops, 1, 1, 1)
    beyond = x * torch.cos(angle) + y * torch.sin(angle) > 0.35 + 0.3 * torch.rand(len(crops), 1, 1, 1).to(crops)
    return _chosen(share, torch.where(beyond, torch.rand(len(crops), 3, 1, 1).to(crops), crops), crops)


def _axes(crops: Tensor) -> tuple[Tensor, Tensor]:
    axis = torch.linspace(-1, 1, crops.shape[-1]).to(crops)
    return axis[None, None, None, :], axis[None, None, :, None]


def _chosen(share: float, changed: Tensor, kept: Tensor) -> Tensor:
    return torch.where((_each(kept) < share), changed, kept)


def _each(like: Tensor) -> Float[Tensor, "batch 1 1 1"]:
    return torch.rand(len(like), 1, 1, 1).to(like)


def _spread(like: Tensor, *shape: int) -> Tensor:
    """Uniform in [-1, 1] for each of the batch."""
    return (2 * torch.rand(len(like), *shape) - 1).to(like)
