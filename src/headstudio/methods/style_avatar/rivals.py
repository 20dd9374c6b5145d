"""The simpler designs of the paper's table 3, in the portrait's place: no windows, no background of their own."""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from headstudio.methods.style_avatar.config import StyleAvatarConfig
from headstudio.methods.style_avatar.portrait import Inputs, Made, Planes, Portrait, look_up
from headstudio.methods.style_avatar.windows import Windows
from headstudio.nn.equalised import EqualisedConv, leaky
from headstudio.nn.feature_generator import FeatureGenerator, StyleConfig, level_sides
from headstudio.nn.style_unet import StyleUNet
from headstudio.nn.wavelets import synthesise

_COARSEST = 8


class SingleNet(nn.Module):
    """One network from the texture rendering, or from the face's plane looked up, to picture and matte."""

    def __init__(self, config: StyleAvatarConfig) -> None:
        super().__init__()
        sizes = config.sizes
        self.face = FeatureGenerator(sizes.plane()) if config.design == "neural-texture-unet" else None
        self.styled = config.design == "single-unet"
        if self.styled:
            self.image = StyleUNet(sizes.single(StyleConfig(2 * config.codes.octaves)))
        else:
            side = sizes.window_cells * sizes.rendering_px
            inputs = 3 if self.face is None else sizes.feature_channels
            sides = level_sides(_COARSEST, side)[::-1]
            widths = tuple(sizes.image_widths.at(s) for s in sides)
            self.image = PlainUNet(inputs, widths, (sizes.picture_side_px // side).bit_length() - 1)

    def planes(self, code: Float[Tensor, "1 code_width"], person: int) -> Planes:
        """The face's plane, where the design has one; `person` is told by the code alone."""
        del person
        return Planes(None if self.face is None else self.face(code).features, None)

    def forward(self, inputs: Inputs, planes: Planes, codes: Tensor, windows: Windows | None = None) -> Made:
        """The picture; `codes` count in a StyleUNet alone."""
        if self.styled:
            painted = synthesise(self.image(inputs.texture, codes).picture.to(inputs.texture))
        else:
            plane = planes.face
            shown = inputs.texture if plane is None else look_up(plane, inputs.uv, inputs.mask, 1)
            painted = self.image(shown).to(inputs.texture)
        return Made(painted[:, :3], (painted[:, 3:] + 1.0) / 2.0, None)


class PlainUNet(nn.Module):
    """Convolutions down and up with skips, then up alone."""

    def __init__(self, inputs: int, widths: tuple[int, ...], doublings: int) -> None:
        """`widths` of the levels, the finest first; the picture is 2^`doublings` times as wide as the input."""
        super().__init__()
        self.entry = EqualisedConv(inputs, widths[0])
        self.down = nn.ModuleList(EqualisedConv(a, b, down=True) for a, b in itertools.pairwise(widths))
        self.here = nn.ModuleList(EqualisedConv(w, w) for w in widths[1:])
        back = tuple(itertools.pairwise(widths[::-1]))
        self.up = nn.ModuleList(EqualisedConv(a + b, b) for a, b in back)
        self.beyond = nn.ModuleList(EqualisedConv(widths[0], widths[0]) for _ in range(doublings))
        self.ending = EqualisedConv(widths[0], 4, 1)

    def forward(self, maps: Float[Tensor, "batch inputs rows columns"]) -> Float[Tensor, "batch 4 _ _"]:
        """Colours and matte in [-1, 1]."""
        skips = [leaky(self.entry(maps))]
        for down, here in zip(self.down, self.here, strict=True):
            skips.append(leaky(here(leaky(down(skips[-1])))))
        found = skips.pop()
        for up in self.up:
            found = leaky(up(torch.cat([_doubled(found), skips.pop()], dim=1)))
        for beyond in self.beyond:
            found = leaky(beyond(_doubled(found)))
        return self.ending(found)


def build(config: StyleAvatarConfig) -> Portrait | SingleNet:
    """The networks of a design."""
    return Portrait(config) if config.design in ("full", "no-neural-texture") else SingleNet(config)


def _doubled(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)
