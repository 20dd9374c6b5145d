"""What runs without PyTorch: the two U-Nets on baked planes, as one graph; the rasteriser stands before it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from headstudio.methods.style_avatar.plates import Plate
from headstudio.methods.style_avatar.portrait import Inputs, Planes
from headstudio.records.channels import Channels, Rendering, Scene, View
from headstudio.training.contract import Runtime, TensorSpec

if TYPE_CHECKING:
    from headstudio.methods.style_avatar.model import StyleAvatar


class StyleAvatarRuntime(Runtime):
    """Renderings and places of windows in, picture and matte out, at the moment of use."""

    def __init__(self, avatar: "StyleAvatar") -> None:
        self._avatar = avatar
        sizes, cells = avatar.config.sizes, avatar.covered_cells
        small, drawn, wide = (cells * px for px in (sizes.rendering_px, avatar.drawn_px, sizes.picture_px))
        self.inputs = (
            TensorSpec("texture", (3, small, small)),
            TensorSpec("uv", (2, drawn, drawn)),
            TensorSpec("mask", (1, drawn, drawn)),
            TensorSpec("front_cells", (2,)),
            TensorSpec("back_cells", (2,)),
        )
        self.outputs = (TensorSpec("picture", (3, wide, wide)), TensorSpec("alpha", (1, wide, wide)))

    def prepare(self, channels: Channels, view: View) -> dict[str, Tensor]:
        return self._avatar.inputs(channels, view)._asdict()

    def graph(self) -> nn.Module:
        return BakedPortrait(self._avatar)

    def composite(self, outputs: Mapping[str, Tensor], channels: Channels, view: View, scene: Scene) -> Rendering:
        return self._avatar.composite(outputs["picture"], outputs["alpha"], view, scene)


class BakedPortrait(nn.Module):
    """The portrait of one person at one moment: planes and code are constants."""

    code: Tensor
    face: Tensor | None
    background: Tensor | None

    def __init__(self, avatar: "StyleAvatar") -> None:
        super().__init__()
        self.portrait, self._windows = avatar.portrait, avatar.shown
        planes = avatar.planes(0)
        self.register_buffer("face", planes.face)
        self.register_buffer("background", planes.background)
        self._has_plate = planes.plate is not None
        for name, known in () if planes.plate is None else planes.plate._asdict().items():
            self.register_buffer(f"plate_{name}", known)
        self.register_buffer("code", avatar.moment_codes(None, 1))

    def forward(
        self, texture: Tensor, uv: Tensor, mask: Tensor, front_cells: Tensor, back_cells: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Picture in about [-1, 1] and matte in about [0, 1]."""
        plate = Plate(*(getattr(self, f"plate_{name}") for name in Plate._fields)) if self._has_plate else None
        planes = Planes(self.face, self.background, plate)
        inputs = Inputs(texture, uv, mask, front_cells, back_cells)
        made = self.portrait(inputs, planes, self.code.expand(texture.shape[0], -1), self._windows)
        return made.picture, made.alpha
