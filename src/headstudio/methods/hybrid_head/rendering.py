"""The re-rendering of eq. 1: mesh, corrective image and background, mixed by weights that a U-Net tells."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headstudio.methods.hybrid_head.config import HybridHeadConfig
from headstudio.methods.hybrid_head.drawing import Drawn
from headstudio.nn.refining_unet import RefiningUNet

_START = 2.0
"""Lead of the layer that a pixel begins with, before the softmax over the three."""
_NEAR_BLACK_AND_WHITE = 0.02


class Layers(NamedTuple):
    """What eq. 1 mixes, but for the background, which is the caller's."""

    weights: Float[Tensor, "batch 3 height width"]
    """Alpha of the mesh, beta of the corrective image, gamma of the background; their sum is 1."""
    corrective: Float[Tensor, "batch 3 height width"]
    mesh: Float[Tensor, "batch 3 height width"]

    @property
    def foreground(self) -> Float[Tensor, "batch 3 height width"]:
        """The person, multiplied by the mask."""
        return self.weights[:, :1] * self.mesh + self.weights[:, 1:2] * self.corrective

    @property
    def mask(self) -> Float[Tensor, "batch 1 height width"]:
        """The person's coverage, which nobody showed the network."""
        return self.weights[:, :2].sum(1, keepdim=True)

    def over(self, background: Float[Tensor, "#batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Eq. 1."""
        return self.foreground + self.weights[:, 2:] * background


class Refiner(nn.Module):
    """The U-Net and what it starts from."""

    portrait: Tensor

    def __init__(self, config: HybridHeadConfig) -> None:
        super().__init__()
        self.unet = RefiningUNet(config.renderer)
        self._corrective, self._from_mesh = config.corrective, config.starts_from_mesh
        # In the middle between black and white a sigmoid of 0 changes nothing.
        self.register_buffer("portrait", torch.full((3, 1, 1), 0.5))

    def forward(self, drawn: Drawn) -> Layers:
        """The layers of a rendered mesh."""
        raw = self.unet(2.0 * drawn.rgb - 1.0).to(drawn.rgb)
        lead = raw[:, 3:]
        if self._from_mesh:
            lead = lead + _START * torch.cat([drawn.covered, torch.zeros_like(drawn.covered), 1 - drawn.covered], dim=1)
        if self._corrective:
            weights = lead.softmax(1)
        else:
            mesh, background = lead[:, [0, 2]].softmax(1).split(1, dim=1)
            weights = torch.cat([mesh, torch.zeros_like(mesh), background], dim=1)
        start = self.portrait.clamp(_NEAR_BLACK_AND_WHITE, 1 - _NEAR_BLACK_AND_WHITE).logit()
        return Layers(weights, (raw[:, :3] + start).sigmoid(), drawn.rgb)


def mesh_alone(drawn: Drawn) -> Layers:
    """The layers of the mesh without a network."""
    nothing = torch.zeros_like(drawn.covered)
    return Layers(torch.cat([drawn.covered, nothing, 1 - drawn.covered], dim=1), torch.zeros_like(drawn.rgb), drawn.rgb)
