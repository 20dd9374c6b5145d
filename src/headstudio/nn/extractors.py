"""Feature pyramids of image classifiers: VGG16, VGG19, AlexNet, SqueezeNet 1.1, built from layer tables.

Parameters carry torchvision's state-dict names (`features.N.weight`), so its published files load as they are.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

ExtractorKind = Literal["vgg19", "vgg16", "alexnet", "squeezenet1.1"]
KINDS: tuple[ExtractorKind, ...] = get_args(ExtractorKind)

_POOL = "pool"
# Simonyan & Zisserman 2015, table 1, configurations D and E: widths of the 3x3 convolutions.
_VGG16 = (64, 64, _POOL, 128, 128, _POOL, 256, 256, 256, _POOL, 512, 512, 512, _POOL, 512, 512, 512)
_VGG19 = (
    *(64, 64, _POOL, 128, 128, _POOL, 256, 256, 256, 256, _POOL),
    *(512, 512, 512, 512, _POOL, 512, 512, 512, 512),
)
# Iandola et al. 2016, SqueezeNet 1.1: squeeze width, width of each of the two expansions.
_FIRES = ((16, 64), (16, 64), _POOL, (32, 128), (32, 128), _POOL, (48, 192), (48, 192), (64, 256), (64, 256))


@dataclass(frozen=True)
class InputConvention:
    """How a network wants pictures: (picture * peak - mean) / deviation, channels in the order it was trained with."""

    mean: tuple[float, float, float]
    """In the network's channel order and scale."""
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)
    peak: float = 1.0
    """Value of white."""
    blue_first: bool = False


TORCHVISION = InputConvention((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""torchvision's ImageNet models."""
CAFFE = InputConvention((104.006, 116.669, 122.679), peak=255.0, blue_first=True)
"""The original SqueezeNet and its Keras port, whose readme subtracts these means from BGR in 0..255.

Checked on photographs: of BGR/RGB and mirrored or transposed kernels this one excites the deepest layer most, and
pictures in [0, 1] leave a fifth of its channels dead.
"""


class Extractor(nn.Module):
    """A frozen feature network. Gradients flow to the picture only.

    Attributes:
        name: which network with which weights; every score or loss that uses it carries this name.
        kind: the architecture.
        taps: names of the layers that can be asked for, shallow to deep.
        original: whether these are torchvision's published weights, checked by their hash.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, kind: ExtractorKind, name: str, convention: InputConvention, original: bool = False) -> None:
        super().__init__()
        layers, self._tap_index = _BUILDERS[kind]()
        self.features = nn.Sequential(*layers)
        self.kind: ExtractorKind = kind
        self.name, self.original = name, original
        self._peak, self._blue_first = convention.peak, convention.blue_first
        self.register_buffer("mean", torch.tensor(convention.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(convention.deviation).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    @property
    def taps(self) -> tuple[str, ...]:
        """Names of all layers that can be asked for."""
        return tuple(self._tap_index)

    def train(self, mode: bool = True) -> "Extractor":
        """Stay in evaluation mode: a frozen judge does not train along with the module that holds it."""
        return super().train(False)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"], taps: Iterable[str]
    ) -> dict[str, Float[Tensor, "batch features rows columns"]]:
        """Features of sRGB pictures in [0, 1] at the named layers; nothing deeper than the last of them is computed."""
        wanted = {self._tap_index[tap]: tap for tap in taps}
        values = images.flip(1) if self._blue_first else images
        values = (values * self._peak - self.mean) / self.deviation
        found: dict[str, Tensor] = {}
        for index in range(max(wanted) + 1):
            values = self.features[index](values)
            if index in wanted:
                found[wanted[index]] = values
        return found


class Fire(nn.Module):
    """SqueezeNet's block: 1x1 squeeze, then 1x1 and 3x3 expansions side by side (Iandola et al. 2016, section 3.2)."""

    def __init__(self, channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, values: Tensor) -> Tensor:
        """(batch, channels, h, w) to (batch, 2 * expand, h, w)."""
        squeezed = self.squeeze(values).relu()
        return torch.cat([self.expand1x1(squeezed), self.expand3x3(squeezed)], dim=1).relu()


def _vgg(table: tuple[int | str, ...]) -> tuple[list[nn.Module], dict[str, int]]:
    layers: list[nn.Module] = []
    taps: dict[str, int] = {}
    channels, block, position = 3, 1, 0
    for entry in table:
        if isinstance(entry, str):
            layers.append(nn.MaxPool2d(2))
            block, position = block + 1, 0
            continue
        layers += [nn.Conv2d(channels, entry, 3, padding=1), nn.ReLU()]
        channels, position = entry, position + 1
        taps[f"relu{block}_{position}"] = len(layers) - 1
    return layers, taps


def _alexnet() -> tuple[list[nn.Module], dict[str, int]]:
    # Krizhevsky 2014 ("one weird trick"): out, kernel, stride, padding; pooling before the second and third.
    table = ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))
    layers: list[nn.Module] = []
    taps: dict[str, int] = {}
    channels = 3
    for number, (width, kernel, stride, padding) in enumerate(table, start=1):
        if number in (2, 3):
            layers.append(nn.MaxPool2d(3, 2))
        layers += [nn.Conv2d(channels, width, kernel, stride, padding), nn.ReLU()]
        channels, taps[f"relu{number}"] = width, len(layers) - 1
    return layers, taps


def _squeezenet() -> tuple[list[nn.Module], dict[str, int]]:
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)]
    taps = {"relu1": 1}
    channels = 64
    for entry in _FIRES:
        if isinstance(entry, str):
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            continue
        layers.append(Fire(channels, *entry))
        channels = 2 * entry[1]
        taps[f"fire{len(taps) + 1}"] = len(layers) - 1
    return layers, taps


_BUILDERS: Mapping[ExtractorKind, Callable[[], tuple[list[nn.Module], dict[str, int]]]] = {
    "vgg19": lambda: _vgg(_VGG19),
    "vgg16": lambda: _vgg(_VGG16),
    "alexnet": _alexnet,
    "squeezenet1.1": _squeezenet,
}

LOSS_TAPS: Mapping[ExtractorKind, tuple[str, ...]] = {
    "vgg19": ("relu1_2", "relu2_2", "relu3_2", "relu4_2"),
    "vgg16": ("relu1_2", "relu2_2", "relu3_3", "relu4_3"),
    "alexnet": ("relu1", "relu2", "relu3", "relu4"),
    "squeezenet1.1": ("relu1", "fire3", "fire5", "fire7"),
}
"""Layers a loss compares unless told otherwise: from colour and edges to parts (VGG16's are Johnson et al. 2016)."""
