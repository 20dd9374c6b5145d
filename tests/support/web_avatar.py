"""Avatars for the web page: one whose network paints something, and one that has none."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import config

from headstudio.heads import load_head
from headstudio.methods.dynamic_texture import DynamicTexture, DynamicTextureConfig
from headstudio.nn.texture_decoder import TextureDecoderConfig
from headstudio.records.channels import ARKIT, HEAD_POSE
from headstudio.records.track import neutral_light
from headstudio.texture.delight import DelightConfig
from headstudio.texture.mesh_asset import mesh_asset
from headstudio.texture.static import StaticTextureConfig
from headstudio.texture.synthesis import SynthesisConfig
from headstudio.training.contract import Capability, Runtime
from support.painted import painted_source
from support.small_head import small_head

TINY = DynamicTextureConfig(
    size_px=64,
    # No shadow of the head on itself: engines draw their own or none.
    static=StaticTextureConfig(
        size_px=256,
        light_px=64,
        delight=DelightConfig(shadow_directions=0),
        synthesis=SynthesisConfig(work_px=64, levels=2),
    ),
    decoder=TextureDecoderConfig(hidden=32, width=16, side=64),
    texture_frames=8,
)


@contextlib.contextmanager
def untyped() -> Iterator[None]:
    """No checks of types: to ONNX's tracer, sizes are tensors."""
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", False)


def painting_avatar(folder: Path, residual: bool = True) -> DynamicTexture:
    """A dynamic texture under a light from aside whose untrained network paints clearly visible patterns."""
    light = neutral_light(1)[0]
    light[1], light[3], light[6] = -0.5, 0.7, 0.2
    source = painted_source(folder / "capture", load_head("makehuman"), light_sh=light)
    torch.manual_seed(3)
    avatar = DynamicTexture(replace(TINY, residual=residual))
    avatar.setup({"target": (source,)})
    avatar.light_sh[:, 0] *= 1.1  # a coloured light
    torch.nn.init.normal_(avatar.painter.decoder.output.weight, std=1.0)
    avatar.painter.lowest.fill_(-2.0)
    avatar.painter.highest.fill_(2.0)
    return avatar.eval()


class _Nothing(Runtime):
    inputs = outputs = ()

    def prepare(self, channels, view):
        return {}

    def graph(self):
        raise AssertionError("nobody may ask for it")

    def composite(self, outputs, channels, view, scene):
        raise AssertionError("nobody may ask for it")


class StillAvatar:
    """Not an AvatarModel: it declares a surface and a run-time form that repaints nothing."""

    capabilities = frozenset({Capability.SURFACE})
    driven_by = (frozenset({ARKIT, HEAD_POSE}),)

    def __init__(self, channels: int = 3) -> None:
        self.channels = channels

    def surface(self):
        head = small_head()
        return mesh_asset(head, head.template_m, torch.full((self.channels, 4, 4), 99, dtype=torch.uint8))

    def runtime(self):
        return _Nothing()
