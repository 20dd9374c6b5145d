"""What runs without PyTorch: T over the buffers that a rasteriser fills, as one graph."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from headstudio.methods.neural_head.baking import ExpressionBaker
from headstudio.methods.neural_head.colour import Colour
from headstudio.records.channels import Channels, Rendering, Scene, View
from headstudio.training.contract import Baker, Runtime, TensorSpec

if TYPE_CHECKING:
    from headstudio.methods.neural_head.model import NeuralHead

_NORMALS = 3


class NeuralHeadRuntime(Runtime):
    """Buffers and signals in, colours of the buffers' pixels out; the rasteriser stands before and behind."""

    def __init__(self, avatar: "NeuralHead") -> None:
        self._avatar = avatar
        side, colour = avatar.config.size_px, avatar.colour
        # Normals; canonical place; explicit features and the base colour, looked up; mouth weight.
        channels = _NORMALS + 3 + colour.config.features + 3 + 1
        self.inputs = (
            TensorSpec("buffers", (channels, side, side)),
            TensorSpec("signal", tuple(colour.signals.mean.shape)),
        )
        self.outputs = (TensorSpec("painted", (3, side, side)),)

    def prepare(self, channels: Channels, view: View) -> dict[str, Tensor]:
        avatar = self._avatar
        buffers = avatar.seen(channels, view)
        maps = [buffers.normals, buffers.canonical, avatar.colour.lookups(buffers), buffers.mouth]
        return {"buffers": torch.cat(maps, 1), "signal": avatar.signal(channels, view)}

    def graph(self) -> nn.Module:
        return _Graph(self._avatar.colour)

    def composite(self, outputs: Mapping[str, Tensor], channels: Channels, view: View, scene: Scene) -> Rendering:
        return self._avatar.composite(outputs["painted"], channels, view, scene)

    def baker(self) -> Baker:
        return ExpressionBaker(self._avatar)


class _Graph(nn.Module):
    def __init__(self, colour: Colour) -> None:
        super().__init__()
        self.colour = colour

    def forward(self, buffers: Tensor, signal: Tensor) -> tuple[Tensor]:
        """Colours of all pixels, also of those that show nothing."""
        normals, rest = buffers[:, :_NORMALS], buffers[:, _NORMALS:]
        mouth = rest[:, -1:]
        maps = torch.cat([rest[:, :-1], self.colour.encoded(normals), mouth], 1)
        rows = maps.flatten(2).transpose(1, 2)
        painted = self.colour.painted(rows, self.colour.standard(signal))
        return (painted.transpose(1, 2).unflatten(2, buffers.shape[2:]),)
