"""Networks of sines: SIREN (Sitzmann et al. 2020) and its conditioned form, FiLM-SIREN (pi-GAN, Chan et al. 2021).

A layer is sin(frequency * (W x + b) + phase). Plain layers have the one frequency; conditioned layers get frequency and
phase of every unit from a mapping network.
"""

import itertools
import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

FREQUENCY = 30.0
"""omega_0 of Sitzmann et al., section 3.2, and the frequency at which pi-GAN's mapping is centred."""
FREQUENCY_SPAN = 15.0
"""pi-GAN's code: frequency = 15 f + 30 for the mapping's output f."""
HIDDEN_DIVISOR = 25.0
"""pi-GAN's code: hidden weights are uniform within sqrt(6 / inputs) / 25; SIREN itself divides by its frequency."""
_SLOPE = 0.2


class Film(NamedTuple):
    """Frequency and phase of every unit, layer after layer; `points` is 1 where all points share them."""

    frequency: Float[Tensor, "batch points units"]
    phase: Float[Tensor, "batch points units"]

    def mixed(self, other: "Film", share: Float[Tensor, "batch points 1"]) -> "Film":
        """This one where the share is 1, the other where it is 0."""
        return Film(*(b + share * (a - b) for a, b in zip(self, other, strict=True)))


class SirenBody(nn.Module):
    """The layers, without an output layer: points in, the last layer's sines out."""

    def __init__(self, inputs: int, width: int, layers: int) -> None:
        super().__init__()
        self.width = width
        self.linears = nn.ModuleList(nn.Linear(inputs if i == 0 else width, width) for i in range(layers))
        for position, linear in enumerate(self.linears):
            assert isinstance(linear, nn.Linear)
            start_sine_layer(linear, first=position == 0)

    @property
    def units(self) -> int:
        """Units of all layers together, which a `Film` has to have."""
        return self.width * len(self.linears)

    def forward(
        self, points: Float[Tensor, "batch points inputs"], film: Film | None = None
    ) -> Float[Tensor, "batch points width"]:
        """The last layer's values in [-1, 1]; without a film every unit has `FREQUENCY` and no phase."""
        values = points
        films = [None] * len(self.linears) if film is None else _split(film, self.width)
        for position, (linear, own) in enumerate(zip(self.linears, films, strict=True)):
            # The first layer multiplies coordinates by 30: in bfloat16 neighbouring points would become one.
            with torch.autocast(
                values.device.type, enabled=position > 0 and torch.is_autocast_enabled(values.device.type)
            ):
                sums = linear(values.float() if position == 0 else values)
            values = torch.sin(FREQUENCY * sums if own is None else torch.addcmul(own.phase, own.frequency, sums))
        return values


class FilmMapping(nn.Module):
    """From a condition to the film of a body: three hidden layers with leaky rectifiers, as in pi-GAN's code."""

    def __init__(self, condition: int, units: int, width: int = 256, layers: int = 3) -> None:
        super().__init__()
        self.units = units
        sizes = [condition, *[width] * layers]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.output = nn.Linear(width, 2 * units)
        for linear in (*self.hidden, self.output):
            assert isinstance(linear, nn.Linear)
            nn.init.kaiming_normal_(linear.weight, a=_SLOPE, mode="fan_in", nonlinearity="leaky_relu")
        with torch.no_grad():
            self.output.weight *= 0.25

    def forward(self, condition: Float[Tensor, "batch condition"]) -> Film:
        """One film for each entry of the batch."""
        values = condition
        for linear in self.hidden:
            values = F.leaky_relu(linear(values), _SLOPE)
        frequency, phase = self.output(values).float()[:, None].chunk(2, dim=-1)
        # Near 0 as pi-GAN's code; beyond, bounded, or rounding grows from layer to layer until engines disagree.
        return Film(FREQUENCY * (1 + torch.tanh(frequency * (FREQUENCY_SPAN / FREQUENCY))), phase)


def start_sine_layer(linear: nn.Linear | nn.Conv2d, first: bool) -> None:
    """Weights from which sines of sines keep their distribution through all layers (Sitzmann et al., theorem 1.8)."""
    inputs = linear.weight[0].numel()
    bound = 1 / inputs if first else math.sqrt(6 / inputs) / HIDDEN_DIVISOR
    nn.init.uniform_(linear.weight, -bound, bound)


def _split(film: Film, width: int) -> list[Film]:
    return [Film(*pair) for pair in zip(film.frequency.split(width, -1), film.phase.split(width, -1), strict=True)]
