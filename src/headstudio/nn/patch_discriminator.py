"""A judge of patches (Isola et al. 2017, appendix 6.1.2): one score for each overlapping patch of a picture."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class PatchDiscriminatorConfig:
    """Size of the judge; the defaults are those of Isola et al., whose patches are 70 pixels wide."""

    width: int = 64
    """Channels after the first halving, doubled with each further one up to 8 times as many."""
    halvings: int = 3
    """How often the picture is halved: patches of 16, 34, 70 and 142 pixels for 1, 2, 3 and 4."""
    normalised: bool = True
    """Normalise each map of each picture (instance norm, in the place of Isola's batch norm, which ties the score of a
    picture to the others of its batch)."""


class PatchDiscriminator(nn.Module):
    """Scores of all patches: high means real."""

    def __init__(self, config: PatchDiscriminatorConfig | None = None, inputs: int = 3) -> None:
        super().__init__()
        config = config or PatchDiscriminatorConfig()
        layers: list[nn.Module] = []
        before = inputs
        for step in range(config.halvings + 1):
            after = config.width * min(1 << step, 8)
            stride = 2 if step < config.halvings else 1
            layers.append(nn.Conv2d(before, after, 4, stride, 1))
            if config.normalised and step > 0:
                layers.append(nn.InstanceNorm2d(after))
            layers.append(nn.LeakyReLU(0.2))
            before = after
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, 1, 4, 1, 1))

    def forward(self, pictures: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, " patches"]:
        """The scores of all patches of all pictures, one picture after the other."""
        return self.layers(pictures).flatten()

    def per_picture(self, pictures: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, " batch"]:
        """Each picture's sum over its patches, divided by the root of their number: what R1 takes the gradient of.

        With the sum R1 would grow with the picture, with the mean it would vanish.
        """
        scores = self.layers(pictures).flatten(1)
        return scores.sum(1) / torch.tensor(float(scores.shape[1])).sqrt().to(scores)
