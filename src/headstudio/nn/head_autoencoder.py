"""A variational autoencoder of heads: one code for what moves a mesh and for the texture that lies on it (paper 3).

Two branches see the mesh's weights and the texture and meet in one Gaussian; two branches make both from a sample of
it. The paper gives no sizes. The shape of the branches follows what its published relatives have in common (Lombardi et
al. 2018, section 4): convolutions of kernel 4 that halve the texture down to 4 x 4, their mirror image back, and a few
layers for the geometry.
"""

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headstudio.errors import HeadstudioError

_SMALLEST_SIDE = 4
_MEAN_START, _SPREAD_START = 0.1, 0.01
"""The last layers' weights are made smaller by these, so that codes begin near the prior's middle and sure of
themselves neither way."""
_SURE = -2.0
"""Logarithm of the deviation that codes begin with where tones pass straight: noise must not drown them."""


@dataclass(frozen=True)
class HeadAutoencoderConfig:
    """Size of the network; none of it is in the paper."""

    side: int = 256
    """Side of the textures: 4 times a power of two."""
    code: int = 64
    """Length of the code z."""
    narrowest: int = 8
    """Channels at half the texture's side; doubled with each further halving."""
    widest: int = 128
    """Most channels."""
    hidden: int = 128
    """Width of the geometry's layers and of the vector in which both branches meet."""
    tones: int = 0
    """Coefficients of a linear model of textures that are seen and said beside the texture itself, so that a short
    training need not find by convolution what a sum says already; 0 leaves them out, as the papers do. They and the
    weights then also pass straight into the code and out of it, by linear layers that begin as the tones' identity."""


class Gaussian(NamedTuple):
    """What an encoder knows of codes."""

    mean: Float[Tensor, "batch code"]
    log_deviation: Float[Tensor, "batch code"]

    def sampled(self) -> Float[Tensor, "batch code"]:
        """One code each."""
        return self.mean + self.log_deviation.exp() * torch.randn_like(self.mean)

    def divergence(self) -> Float[Tensor, ""]:
        """Kullback-Leibler divergence from the standard normal, the mean over batch and numbers (Kingma and Welling
        2013, appendix B)."""
        variance = (2 * self.log_deviation).exp()
        return 0.5 * (self.mean.square() + variance - 1 - 2 * self.log_deviation).mean()


class Decoded(NamedTuple):
    """What codes stand for."""

    weights: Float[Tensor, "batch weights"]
    tones: Float[Tensor, "batch tones"]
    texture: Float[Tensor, "batch 3 side side"]
    """What the sum of tones lacks, or the whole where there are none."""


class HeadEncoder(nn.Module):
    """Standardised weights, tones and textures in, codes out."""

    def __init__(self, weights: int, config: HeadAutoencoderConfig) -> None:
        super().__init__()
        widths = _widths(config)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise((3, *widths)):
            layers += [nn.Conv2d(before, after, 4, 2, 1), nn.LeakyReLU(0.2)]
        self.texture = nn.Sequential(*layers, nn.Flatten(), *_dense(widths[-1] * _SMALLEST_SIDE**2, config.hidden))
        numbers = weights + config.tones
        self.geometry = nn.Sequential(*_dense(numbers, config.hidden), *_dense(config.hidden, config.hidden))
        self.mean = nn.Linear(2 * config.hidden, config.code)
        self.log_deviation = nn.Linear(2 * config.hidden, config.code)
        with torch.no_grad():
            self.mean.weight *= _MEAN_START
            self.log_deviation.weight *= _SPREAD_START
            self.log_deviation.bias.fill_(_SURE if config.tones else 0.0)
        self.straight = _straight(numbers, config) if config.tones else None

    def forward(
        self,
        weights: Float[Tensor, "batch weights"],
        tones: Float[Tensor, "batch tones"],
        texture: Float[Tensor, "batch 3 side side"],
    ) -> Gaussian:
        """What is known of the code of each."""
        numbers = torch.cat([weights, tones], dim=1)
        met = torch.cat([self.texture(texture), self.geometry(numbers)], dim=1)
        mean = self.mean(met)
        return Gaussian(mean if self.straight is None else mean + self.straight(numbers), self.log_deviation(met))


class HeadDecoder(nn.Module):
    """Codes in, standardised weights, tones and textures out; the texture of an untrained network is 0 everywhere."""

    def __init__(self, weights: int, config: HeadAutoencoderConfig) -> None:
        super().__init__()
        widths = _widths(config)[::-1]
        self.geometry = nn.Sequential(
            *_dense(config.code, config.hidden),
            *_dense(config.hidden, config.hidden),
            nn.Linear(config.hidden, weights),
        )
        tones = [*_dense(config.code, config.hidden), nn.Linear(config.hidden, config.tones)] if config.tones else []
        self.tones = nn.Sequential(*tones)
        self.straight = _back(weights + config.tones, config) if config.tones else None
        self._weights = weights
        self.entry = nn.Sequential(*_dense(config.code, widths[0] * _SMALLEST_SIDE**2))
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise((*widths, max(config.narrowest // 2, 4))):
            # Kernel 4 at stride 2 covers every output pixel equally often, which avoids checkerboards.
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1), nn.LeakyReLU(0.2)]
        output = nn.Conv2d(max(config.narrowest // 2, 4), 3, 3, padding=1)
        nn.init.zeros_(output.weight)
        nn.init.zeros_(output.bias)  # type: ignore[arg-type]
        self.texture = nn.Sequential(*layers, output)
        self._first = widths[0]

    def forward(self, codes: Float[Tensor, "batch code"]) -> Decoded:
        """What each code stands for."""
        return Decoded(self.moved(codes), self.said(codes), self.textures(codes))

    def moved(self, codes: Float[Tensor, "batch code"]) -> Float[Tensor, "batch weights"]:
        """The weights alone."""
        found = self.geometry(codes)
        return found if self.straight is None else found + self.straight(codes)[:, : self._weights]

    def said(self, codes: Float[Tensor, "batch code"]) -> Float[Tensor, "batch tones"]:
        """The tones alone."""
        if self.straight is None:
            return codes.new_zeros(len(codes), 0)
        return self.tones(codes) + self.straight(codes)[:, self._weights :]

    def textures(self, codes: Float[Tensor, "batch code"]) -> Float[Tensor, "batch 3 side side"]:
        """The texture alone."""
        return self.texture(self.entry(codes).reshape(-1, self._first, _SMALLEST_SIDE, _SMALLEST_SIDE))


@torch.no_grad()
def _straight(numbers: int, config: HeadAutoencoderConfig) -> nn.Linear:
    """Tones into the code as they are, and as much of the weights as there is room for."""
    layer = nn.Linear(numbers, config.code, bias=False)
    weights, tones = numbers - config.tones, min(config.tones, config.code)
    layer.weight.zero_()
    layer.weight[:tones, weights : weights + tones] = torch.eye(tones)
    if config.code > tones:
        nn.init.orthogonal_(layer.weight[tones:, :weights])
    return layer


@torch.no_grad()
def _back(numbers: int, config: HeadAutoencoderConfig) -> nn.Linear:
    """The way back of a layer like the encoder's; what weights the encoder mixes is found out while learning."""
    layer = nn.Linear(config.code, numbers, bias=False)
    weights, tones = numbers - config.tones, min(config.tones, config.code)
    layer.weight.zero_()
    layer.weight[weights : weights + tones, :tones] = torch.eye(tones)
    return layer


def _dense(inputs: int, outputs: int) -> tuple[nn.Module, nn.Module]:
    return nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)


def _widths(config: HeadAutoencoderConfig) -> tuple[int, ...]:
    """Channels after each halving, the finest first."""
    halvings = round(math.log2(config.side / _SMALLEST_SIDE)) if config.side >= _SMALLEST_SIDE else 0
    if halvings < 1 or _SMALLEST_SIDE << halvings != config.side:
        raise HeadstudioError(
            f"a texture of side {config.side} cannot be halved down to {_SMALLEST_SIDE}",
            where="head autoencoder",
            next_step=f"choose {_SMALLEST_SIDE} times a power of two",
        )
    if min(config.code, config.narrowest, config.widest, config.hidden) < 1:
        raise HeadstudioError(
            "an autoencoder with an empty layer learns nothing", where="head autoencoder", next_step="choose widths > 0"
        )
    return tuple(min(config.narrowest << step, config.widest) for step in range(halvings))
