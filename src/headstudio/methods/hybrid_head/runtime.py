"""What runs without PyTorch: code and places in the atlas in, the layers of eq. 1 out, as one graph.

The rasteriser and the few layers that turn a code into a mesh stand before it, the background behind it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from headstudio.geometry.camera import Camera
from headstudio.methods.hybrid_head.drawing import FINER, paint
from headstudio.records.channels import HEAD_POSE, Channels, Rendering, Scene, View, to_device
from headstudio.training.contract import Baker, Runtime, TensorSpec

if TYPE_CHECKING:
    from headstudio.methods.hybrid_head.model import HybridHead


class HybridHeadRuntime(Runtime):
    """Texture, mesh rendering and re-rendering as one graph."""

    def __init__(self, avatar: "HybridHead") -> None:
        self._avatar = avatar
        side = avatar.config.size_px
        finer = side * FINER
        self.inputs = (
            TensorSpec("code", (avatar.config.autoencoder.code,)),
            TensorSpec("uv", (2, finer, finer)),
            TensorSpec("mask", (1, finer, finer)),
        )
        self.outputs = (TensorSpec("foreground", (3, side, side)), TensorSpec("weights", (3, side, side)))

    def prepare(self, channels: Channels, view: View) -> dict[str, Tensor]:
        code = self._avatar.code(channels, view)
        found = self._avatar.places(code, channels, view)
        return {"code": code, "uv": found.uv, "mask": found.mask}

    def graph(self) -> nn.Module:
        # An exporter puts a graph, and all in it, back into the mode that the graph was in.
        return _Graph(self._avatar).train(self._avatar.training)

    def composite(self, outputs: Mapping[str, Tensor], channels: Channels, view: View, scene: Scene) -> Rendering:
        return self._avatar.composite(outputs["foreground"], outputs["weights"], view, scene)

    def baker(self) -> Baker:
        return TextureBaker(self._avatar)


class TextureBaker(Baker):
    """The texture of each frame, as the decoder makes it."""

    def __init__(self, avatar: "HybridHead") -> None:
        self._avatar = avatar

    @torch.no_grad()
    def bake(self, channels: Channels) -> UInt8[Tensor, "3 height width"]:
        device = self._avatar.texture_deviation.device
        code = self._avatar.code(to_device(facing(channels), device), frontal_view().to(device))
        texture = self._avatar.texture(code)
        return (texture[0] * 255).round().to(torch.uint8).cpu()


def facing(channels: Channels) -> Channels:
    """The channels with a head that looks straight into the camera, where they do not say where it is."""
    if HEAD_POSE in channels:
        return channels
    pose = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    pose[2, 3] = 1.0
    count = len(next(iter(channels.values())))
    return {**channels, HEAD_POSE: pose.expand(count, 4, 4)}


def frontal_view() -> View:
    """A camera at the world's origin."""
    camera = Camera.from_focal(1.0, 1, 1)
    return View(Camera(camera.K_px[None], 1, 1), torch.eye(4)[None])


class _Graph(nn.Module):
    def __init__(self, avatar: "HybridHead") -> None:
        super().__init__()
        self.decoder, self.refiner, self.eigen = avatar.decoder, avatar.refiner, avatar.eigen
        mean, deviation = avatar.person.mean[None].float() / 255, avatar.texture_deviation
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    mean: Tensor
    deviation: Tensor

    def forward(self, code: Tensor, uv: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The person multiplied by the mask, and the weights of mesh, corrective image and background."""
        away = self.eigen(self.decoder.said(code)) + self.decoder.textures(code)
        texture = (self.mean + self.deviation * away).clamp(0.0, 1.0)
        layers = self.refiner(paint(texture, uv, mask))
        return layers.foreground, layers.weights
