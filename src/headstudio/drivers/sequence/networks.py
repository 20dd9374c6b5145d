"""From windows of features to windows of codes; no output ever sees a later input."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from headstudio.drivers.sequence.config import NetworkKind

SLOPE = 0.01
"""Of every LeakyReLU; paper 3: 1e-2."""
_KERNEL = 5
_RESIDUAL_WIDTH, _RESIDUAL_LAYERS = 64, 4


class AnimationNetwork(nn.Module):
    """A layer, something that may look back in time, and two layers: (batch, window, inputs) to (.., outputs)."""

    def __init__(self, kind: NetworkKind, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Linear(inputs, width), nn.LeakyReLU(SLOPE))
        self.past = {"lstm": _Memory, "cnn": _LookingBack, "mlp": _NoMemory}[kind](width)
        self.leave = nn.Sequential(nn.Linear(width, width), nn.LeakyReLU(SLOPE), nn.Linear(width, outputs))

    def forward(self, features: Float[Tensor, "batch window inputs"]) -> Float[Tensor, "batch window outputs"]:
        """A code for each frame, from that frame and those before it in the window."""
        return self.leave(self.past(self.enter(features)))


class ResidualNetwork(nn.Module):
    """What the codes of a window have that features do not tell: its mean over the window (section 5, fig. 4).

    Four convolutions over time, of kernel 5 and padding 2, each with LeakyReLU and BatchNorm, whose mean is thereby
    zero: the residual that is left out later is that of a usual window.
    """

    def __init__(self, codes: int, residual: int) -> None:
        super().__init__()
        widths = [codes, *[_RESIDUAL_WIDTH] * (_RESIDUAL_LAYERS - 1), residual]
        self.layers = nn.Sequential(*map(_residual_layer, widths, widths[1:]))

    def forward(self, codes: Float[Tensor, "batch window codes"]) -> Float[Tensor, "batch residual"]:
        """One residual a window."""
        return self.layers(codes.mT).mean(-1)


def _residual_layer(before: int, after: int) -> nn.Sequential:
    convolution = nn.Conv1d(before, after, _KERNEL, padding=_KERNEL // 2)
    return nn.Sequential(convolution, nn.LeakyReLU(SLOPE), nn.BatchNorm1d(after))


class _Memory(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, batch_first=True)

    def forward(self, values: Tensor) -> Tensor:
        return cast(Tensor, self.lstm(values)[0])


class _LookingBack(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(width, width, _KERNEL) for _ in range(2))

    def forward(self, values: Tensor) -> Tensor:
        values = values.mT
        for layer in self.layers:
            values = F.leaky_relu(layer(F.pad(values, (_KERNEL - 1, 0))), SLOPE)
        return values.mT


class _NoMemory(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        layers = [layer for _ in range(2) for layer in (nn.Linear(width, 2 * width), nn.Linear(2 * width, width))]
        self.layers = nn.Sequential(*(part for layer in layers for part in (layer, nn.LeakyReLU(SLOPE))))

    def forward(self, values: Tensor) -> Tensor:
        return self.layers(values)


def with_residual(
    features: Float[Tensor, "batch window features"], residual: Float[Tensor, "batch residual"]
) -> Float[Tensor, "batch window inputs"]:
    """The same residual beside the features of each frame of a window."""
    return torch.cat([features, residual[:, None].expand(-1, features.shape[1], -1)], dim=-1)
