"""What runs without PyTorch: the painter as one graph; the mesh and the blending around it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor, nn

from headstudio.nn.signal_range import SignalRange
from headstudio.records.channels import Channels, Rendering, Scene, View
from headstudio.training.contract import Repainting, Runtime, TensorSpec

if TYPE_CHECKING:
    from headstudio.methods.dynamic_texture.model import DynamicTexture


class Painter(SignalRange):
    """The decoder behind its range of signals: inputs are standardised and kept within what it was trained on."""

    def __init__(self, decoder: nn.Module, inputs: int) -> None:
        super().__init__(inputs)
        self.decoder = decoder

    def forward(
        self, signals: Float[Tensor, "batch inputs"], noise: float = 0.0
    ) -> Float[Tensor, "batch 3 rows columns"]:
        """The painted texture; `noise` in standard deviations is added in training."""
        return self.decoder(super().forward(signals, noise))


class DynamicTextureRuntime(Runtime):
    """Signals in, painted texture out of the graph, picture out of the rasteriser."""

    def __init__(self, avatar: "DynamicTexture") -> None:
        self._avatar = avatar
        side = avatar.config.decoder.side * avatar.config.decoder.upsampling
        self.inputs = (TensorSpec("inputs", tuple(avatar.painter.mean.shape)),)
        self.outputs = (TensorSpec("painted", (3, side, side)),)

    def prepare(self, channels: Channels, view: View) -> dict[str, Tensor]:
        return {"inputs": self._avatar.inputs(channels, view)}

    def graph(self) -> nn.Module:
        return _Graph(self._avatar.painter)

    def composite(self, outputs: Mapping[str, Tensor], channels: Channels, view: View, scene: Scene) -> Rendering:
        return self._avatar.composite(outputs["painted"], channels, view, scene)

    def repainting(self) -> Repainting:
        avatar = self._avatar
        light_sh = avatar.light_sh if avatar.config.relight else None
        return Repainting("painted", avatar.static, avatar.blend, avatar.config.residual, light_sh)


class _Graph(nn.Module):
    def __init__(self, painter: Painter) -> None:
        super().__init__()
        self.painter = painter

    def forward(self, inputs: Tensor) -> tuple[Tensor]:
        return (self.painter(inputs),)
