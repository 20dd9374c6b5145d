"""From renderings to a picture: the composed portrait of section 3.2."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from headstudio.methods.style_avatar.config import StyleAvatarConfig
from headstudio.methods.style_avatar.plates import Plate, Plates, underpainting
from headstudio.methods.style_avatar.sizes import StyleAvatarSizes
from headstudio.methods.style_avatar.windows import Windows
from headstudio.nn.equalised import EqualisedConv
from headstudio.nn.feature_generator import FeatureGenerator, StyleConfig
from headstudio.nn.feature_planes import compose
from headstudio.nn.noise_maps import noise_pyramid
from headstudio.nn.style_unet import StyleUNet
from headstudio.nn.wavelets import synthesise

STROKE = 0.3
"""Factor on what is painted over the plates: the first pictures are nearly the plates alone."""
FACE_NOISE_SCALE = 2
"""Texels of the face's noise along a cell of the window, so that neighbouring cells get noise of their own."""


class Inputs(NamedTuple):
    """What a portrait is painted from: the renderings of a window, and where its windows lie."""

    texture: Float[Tensor, "batch 3 side side"]
    """The lit texture in [-1, 1]."""
    uv: Float[Tensor, "batch 2 fine fine"]
    """Places in the atlas, at the picture's resolution where there are plates."""
    mask: Float[Tensor, "batch 1 fine fine"]
    """1 where the head is."""
    front_cells: Float[Tensor, "batch 2"]
    """Place of the foreground's window on the crop."""
    back_cells: Float[Tensor, "batch 2"]
    """Place of the background's window on the crop."""


class Planes(NamedTuple):
    """The static features of one person; they may be computed once."""

    face: Float[Tensor, "1 channels side side"] | None
    """In the atlas."""
    background: Float[Tensor, "1 channels side side"] | None
    """Under the crop, one a cell."""
    plate: Plate | None = None
    """What is painted over."""


class Made(NamedTuple):
    """What a portrait gives."""

    picture: Float[Tensor, "batch 3 rows columns"]
    """Colours about in [-1, 1], the background included."""
    alpha: Float[Tensor, "batch 1 rows columns"]
    """The matte, about in [0, 1]."""
    share: Float[Tensor, "batch 1 cells cells"] | None
    """The matte of cells by which features were composed, in [0, 1]."""


class Composed(NamedTuple):
    """Features of a window before the image is made of them."""

    features: Float[Tensor, "batch channels cells cells"]
    share: Float[Tensor, "batch 1 cells cells"]
    noise: Float[Tensor, "batch noises cells cells"] | None


class Portrait(nn.Module):
    """The paper's design, with or without the face's plane."""

    background_noise: Tensor
    foreground_noise: Tensor
    face_noise: Tensor

    def __init__(self, config: StyleAvatarConfig) -> None:
        super().__init__()
        sizes, style = config.sizes, StyleConfig(2 * config.codes.octaves)
        self.windows, self.fine_matte, self.noisy = Windows(sizes), config.fine_matte, config.noise
        self.face = FeatureGenerator(sizes.plane()) if config.design == "full" else None
        self.background = FeatureGenerator(sizes.plane())
        self.foreground = StyleUNet(sizes.foreground(style))
        self.matte = EqualisedConv(2 * sizes.feature_channels, 1)
        self.image = StyleUNet(sizes.image(style, 4 if config.fine_matte else 3))
        self.plates = Plates() if config.plates else None
        for name, side in _noise_sides(sizes).items():
            noise = torch.randn(1, sizes.noise_channels, side, side) if config.noise else torch.zeros(0)
            self.register_buffer(name, noise)

    def planes(self, code: Float[Tensor, "1 code_width"], person: int) -> Planes:
        """The static features of a person, whose code is given."""
        face = None if self.face is None else self.face(code).features
        background = self.background(code).features
        if background.shape[-1] < self.windows.sizes.crop_cells:
            background = F.interpolate(background, scale_factor=2.0, mode="bilinear", align_corners=False)
        return Planes(face, background, None if self.plates is None else self.plates.of(person))

    def forward(
        self, inputs: Inputs, planes: Planes, codes: Float[Tensor, "batch moment_width"], windows: Windows | None = None
    ) -> Made:
        """The picture.

        Args:
            inputs: renderings and places of the windows.
            planes: of the person.
            codes: of the moments.
            windows: with another size of the window than that of training.
        """
        windows = windows or self.windows
        composed = self.composed(inputs, planes, codes, windows)
        noise = () if composed.noise is None else noise_pyramid(composed.noise, windows.sizes.noise_levels)
        bands = self.image(composed.features, codes, noise).picture
        picture, matte = synthesise(bands.to(inputs.texture)).split([3, 1 if self.fine_matte else 0], dim=1)
        if planes.plate is not None:
            under = underpainting(planes.plate, inputs.uv, inputs.mask, inputs.back_cells, windows)
            picture, matte = under[:, :3] + STROKE * picture, under[:, 3:] + STROKE * matte
        if self.fine_matte:
            return Made(picture, (matte + 1.0) / 2.0, composed.share)
        scale = float(windows.sizes.picture_px)
        alpha = F.interpolate(composed.share, scale_factor=scale, mode="bilinear", align_corners=False)
        return Made(picture, alpha, composed.share)

    def composed(self, inputs: Inputs, planes: Planes, codes: Tensor, windows: Windows) -> Composed:
        """Features and noise of the window: face and foreground before the background."""
        assert planes.background is not None
        canvas = windows.lay_on_canvas(inputs.texture, inputs.front_cells)
        front = windows.of_canvas(self.foreground(canvas, codes).features, inputs.front_cells).features
        behind = windows.of_crop_plane(planes.background, inputs.back_cells).features
        # The background learns from pictures alone, and pictures do not move the matte (authors' code).
        share = self.matte(torch.cat([front, behind.detach()], dim=1)).sigmoid().to(inputs.texture)
        face = torch.zeros_like(front)
        if planes.face is not None:
            face = look_up(planes.face, *_places_of_renderings(inputs), windows.sizes.rendering_px)
        features = compose(face, front, behind, share.detach())
        noise = self._noise(inputs, share.detach(), windows) if self.noisy else None
        return Composed(features, share, noise)

    def _noise(self, inputs: Inputs, share: Tensor, windows: Windows) -> Tensor:
        every = int(inputs.uv.shape[-1]) // windows.sizes.window_cells
        uv, mask = inputs.uv[..., ::every, ::every], inputs.mask[..., ::every, ::every]
        behind = windows.of_crop_plane(self.background_noise, inputs.back_cells.round()).features
        front = windows.of_canvas(self.foreground_noise, inputs.front_cells).features
        standing = torch.where(share > 0.5, front, behind)
        return torch.where(mask > 0.5, _at(self.face_noise, uv, "nearest"), standing)


def look_up(
    plane: Float[Tensor, "1 channels rows columns"],
    uv: Float[Tensor, "batch 2 side side"],
    mask: Float[Tensor, "batch 1 side side"],
    every: int,
) -> Float[Tensor, "batch channels cells cells"]:
    """Neural texture: the atlas's features where the head is, averaged over the `every` x `every` pixels of a cell."""
    return F.avg_pool2d(_at(plane, uv, "bilinear") * mask, every)


def _places_of_renderings(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Atlas places and mask at the rendering's resolution, of every n-th pixel: places must not be mixed."""
    every = int(inputs.uv.shape[-1]) // int(inputs.texture.shape[-1])
    return inputs.uv[..., ::every, ::every], inputs.mask[..., ::every, ::every]


def _at(plane: Tensor, uv: Tensor, mode: str) -> Tensor:
    grid = (2.0 * uv - 1.0).permute(0, 2, 3, 1).to(plane)
    wide = plane.expand(uv.shape[0], -1, -1, -1)
    return F.grid_sample(wide, grid, mode=mode, padding_mode="border", align_corners=False)


def _noise_sides(sizes: StyleAvatarSizes) -> dict[str, int]:
    return {
        "background_noise": sizes.crop_cells,
        "foreground_noise": sizes.padded_cells,
        "face_noise": FACE_NOISE_SCALE * sizes.window_cells,
    }
