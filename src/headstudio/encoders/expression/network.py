"""The network: convolutions see the crop, a perceptron the landmarks, and what both say together is the feature."""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn

_SIDE_PX = 128
_GROUPS = 8
_SQUEEZED = 32
_HIDDEN = 256
_SLOPE = 0.01
_LEAST = 1e-4
"""Directions that vary so much less than the first are none."""
_WAYS = 64
"""Directions in which landmarks vary most; what is beyond them is the detector's noise."""


class ExpressionNetwork(nn.Module):
    """(batch, 3, 128, 128) crops and (batch, 478, 3) landmarks of the crop to features and ARKit weights."""

    usual_landmarks: Tensor
    landmark_ways: Tensor
    """(ways, 478, 3): how they vary, of unit variance each, so that how the head is turned does not drown lips."""

    def __init__(self, width: int, features: int, units: int = 52) -> None:
        super().__init__()
        widths = [3, *(min(2**level, 8) * width for level in range(5))]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1),
                # Not of the batch: a face must mean the same whoever is seen along with it.
                nn.GroupNorm(_GROUPS, after),
                nn.LeakyReLU(_SLOPE),
            ]
        cells = (_SIDE_PX // 2**5) ** 2
        self.picture = nn.Sequential(
            *layers, nn.Conv2d(widths[-1], _SQUEEZED, 1), nn.Flatten(), nn.Linear(_SQUEEZED * cells, _HIDDEN)
        )
        self.landmarks = nn.Sequential(nn.Linear(_WAYS, _HIDDEN), nn.LeakyReLU(_SLOPE), nn.Linear(_HIDDEN, _HIDDEN))
        self.together = nn.Sequential(
            nn.LeakyReLU(_SLOPE), nn.Linear(2 * _HIDDEN, _HIDDEN), nn.LeakyReLU(_SLOPE), nn.Linear(_HIDDEN, features)
        )
        self.weights = nn.Sequential(nn.LeakyReLU(_SLOPE), nn.Linear(features, units))
        self.register_buffer("usual_landmarks", torch.zeros(478, 3))
        self.register_buffer("landmark_ways", torch.zeros(_WAYS, 478, 3))

    @torch.no_grad()
    def get_used_to(self, landmarks: Float[Tensor, "faces 478 3"]) -> None:
        """Learn where landmarks lie and how they vary; as many ways as there are faces to tell, at most."""
        self.usual_landmarks.copy_(landmarks.mean(0))
        away = (landmarks - self.usual_landmarks).flatten(1).double()
        _, sizes, ways = torch.linalg.svd(away, full_matrices=False)
        known = min(_WAYS, int((sizes > _LEAST * sizes[0]).sum()))
        deviation = sizes[:known] / len(landmarks) ** 0.5
        self.landmark_ways[:known] = (ways[:known] / deviation[:, None]).reshape(known, 478, 3).float()

    def forward(
        self,
        crops: Float[Tensor, "batch 3 128 128"],
        landmarks: Float[Tensor, "batch 478 3"],
        shown: Float[Tensor, "batch 2"] | None = None,
    ) -> Float[Tensor, "batch features"]:
        """The features x.

        Args:
            crops: sRGB in [0, 1].
            landmarks: in pixels of the crop.
            shown: 0 hides the picture (first column) or the landmarks (second) of a face.
        """
        picture = self.picture(crops - 0.5)
        away = (landmarks - self.usual_landmarks).flatten(1)
        places = self.landmarks(away @ self.landmark_ways.flatten(1).T)
        if shown is not None:
            picture, places = picture * shown[:, :1], places * shown[:, 1:]
        return self.together(torch.cat([picture, places], dim=1))
