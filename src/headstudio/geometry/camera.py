"""The one camera type: a pinhole in OpenCV axes (x right, y down, z forward), pixel centres at +0.5."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Camera:
    """Pinhole intrinsics of stored frames, batched over the leading dimensions of `K_px`."""

    K_px: Float[Tensor, "*batch 3 3"]
    """Intrinsic matrix in pixels of the image."""
    width_px: int
    """Image width."""
    height_px: int
    """Image height."""

    @classmethod
    def from_focal(cls, focal_px: float, width_px: int, height_px: int) -> "Camera":
        """A camera with square pixels and its principal point in the middle of the image."""
        K = torch.tensor([[focal_px, 0.0, width_px / 2], [0.0, focal_px, height_px / 2], [0.0, 0.0, 1.0]])
        return cls(K, width_px, height_px)

    def project(
        self, points_camera: Float[Tensor, "*batch points 3"]
    ) -> tuple[Float[Tensor, "*batch points 2"], Float[Tensor, "*batch points"]]:
        """Pixel positions and depths (metres along z) of points in the camera frame."""
        homogeneous = points_camera @ self.K_px.transpose(-1, -2)
        return homogeneous[..., :2] / homogeneous[..., 2:], points_camera[..., 2]

    def unproject(
        self, points_px: Float[Tensor, "*batch points 2"], depth_m: Float[Tensor, "*batch points"]
    ) -> Float[Tensor, "*batch points 3"]:
        """Points in the camera frame that lie at the given depth behind the given pixels."""
        ones = torch.ones_like(points_px[..., :1])
        rays = torch.cat([points_px, ones], dim=-1) @ torch.linalg.inv(self.K_px).transpose(-1, -2)
        return rays * depth_m[..., None]

    def resized(self, width_px: int, height_px: int) -> "Camera":
        """The camera of the same picture at another resolution."""
        scale = torch.diag(self.K_px.new_tensor([width_px / self.width_px, height_px / self.height_px, 1.0]))
        return Camera(scale @ self.K_px, width_px, height_px)

    def window(self, left_px: float, top_px: float, width_px: int, height_px: int) -> "Camera":
        """The camera of a window cut out of the picture (it may reach beyond the border)."""
        shift = torch.eye(3).to(self.K_px)
        shift[0, 2], shift[1, 2] = -left_px, -top_px
        return Camera(shift @ self.K_px, width_px, height_px)

    def __getitem__(self, index: int | slice | Tensor) -> "Camera":
        """The camera of some entries of the batch."""
        return replace(self, K_px=self.K_px[index])

    def to(self, device: torch.device | str) -> "Camera":
        """The camera on another device."""
        return replace(self, K_px=self.K_px.to(device))


def common_lens(K_px: Float[Tensor, "frames 3 3"]) -> tuple[float, tuple[float, float]]:
    """Focal length and principal point of one lens, of which single frames and the two axes hardly differ."""
    K = K_px.double().median(dim=0).values
    return float((K[0, 0] * K[1, 1]).sqrt()), (float(K[0, 2]), float(K[1, 2]))
