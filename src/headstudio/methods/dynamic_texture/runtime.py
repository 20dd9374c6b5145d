"""What runs without PyTorch: the painter as one graph; the mesh and the blending around it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headstudio.records.channels import Channels, Rendering, Scene, View
from headstudio.training.contract import Repainting, Runtime, TensorSpec

if TYPE_CHECKING:
    from headstudio.methods.dynamic_texture.model import DynamicTexture


class Painter(nn.Module):
    """The decoder behind its normaliser: inputs are standardised and kept within the range it was trained on."""

    def __init__(self, decoder: nn.Module, inputs: int) -> None:
        super().__init__()
        self.decoder = decoder
        self.mean: Tensor
        self.deviation: Tensor
        self.lowest: Tensor
        self.highest: Tensor
        for name in ("mean", "lowest", "highest"):
            self.register_buffer(name, torch.zeros(inputs))
        self.register_buffer("deviation", torch.ones(inputs))

    @torch.no_grad()
    def measure(self, inputs: Float[Tensor, "frames inputs"]) -> None:
        """Take mean, deviation and range from the training frames."""
        # A signal that hardly moves is noise of the tracker: the floor keeps it from being blown up.
        self.mean, self.deviation = inputs.mean(0), inputs.std(0).nan_to_num(0).clamp_min(0.02)
        self.lowest, self.highest = inputs.amin(0), inputs.amax(0)

    def forward(
        self, inputs: Float[Tensor, "batch inputs"], noise: float = 0.0
    ) -> Float[Tensor, "batch 3 rows columns"]:
        """The painted texture; `noise` in standard deviations is added in training."""
        kept = torch.minimum(torch.maximum(inputs, self.lowest), self.highest)
        standard = (kept - self.mean) / self.deviation
        if noise:
            standard = standard + noise * torch.randn_like(standard)
        return self.decoder(standard)


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
