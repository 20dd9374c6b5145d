"""The camera of the recording: a pinhole, with radial distortion where wanted."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample

from headstudio.geometry.camera import Camera
from headstudio.synth.config import SynthConfig

_FILM_MM = 36.0


@dataclass(frozen=True)
class Lens:
    """A pinhole camera and its radial distortion k1 (Brown 1966): normalised radius r becomes r (1 + k1 r^2)."""

    camera: Camera
    distortion: float = 0.0

    @classmethod
    def of(cls, config: SynthConfig) -> "Lens":
        """The lens that a configuration asks for."""
        focal_px = config.focal_mm / _FILM_MM * max(config.width_px, config.height_px)
        return cls(Camera.from_focal(focal_px, config.width_px, config.height_px), config.distortion)

    def project(self, points_camera: Float[Tensor, "*batch points 3"]) -> Float[Tensor, "*batch points 2"]:
        """Pixels where points in the camera frame appear."""
        flat = points_camera[..., :2] / points_camera[..., 2:]
        bent = flat * (1.0 + self.distortion * flat.square().sum(-1, keepdim=True))
        return self.camera.project(torch.cat([bent, torch.ones_like(bent[..., :1])], dim=-1))[0]

    def bend(self, picture: Float[Tensor, "1 channels height width"]) -> Float[Tensor, "1 channels height width"]:
        """What the lens makes of the pinhole's picture (of any resolution)."""
        if self.distortion == 0.0:
            return picture
        height, width = picture.shape[2:]
        camera = self.camera.resized(width, height)
        focal, middle = camera.K_px[[0, 1], [0, 1]], camera.K_px[:2, 2]
        x, y = torch.meshgrid(torch.arange(width) + 0.5, torch.arange(height) + 0.5, indexing="xy")
        bent = (torch.stack([x, y], dim=-1) - middle) / focal
        straight = bent
        # The inverse of the polynomial has no closed form; with the weak distortion of a lens this converges fast.
        for _ in range(8):
            straight = bent / (1.0 + self.distortion * straight.square().sum(-1, keepdim=True))
        place = (straight * focal + middle) / torch.tensor([width, height]) * 2.0 - 1.0
        return grid_sample(picture, place[None], align_corners=False, padding_mode="zeros")
