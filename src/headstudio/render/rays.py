"""Rays of a camera in the frame of the head, and where they cross a box that is fixed to the head."""

from dataclasses import dataclass, replace
from math import isfinite

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import invert
from headstudio.render.checks import check_batch, check_shape

_LEAST_SLOPE = 1e-9


@dataclass(frozen=True)
class Box:
    """A box in head axes, in which alone there is density."""

    lowest_m: tuple[float, float, float]
    """Its corner with the least x, y and z."""
    highest_m: tuple[float, float, float]
    """Its corner with the greatest x, y and z."""

    def __post_init__(self) -> None:
        """Refuse a box without room."""
        sides = zip(self.lowest_m, self.highest_m, strict=True)
        if not all(isfinite(low) and isfinite(high) and low < high for low, high in sides):
            raise HeadstudioError(
                f"a box from {self.lowest_m} to {self.highest_m} has no room",
                where="box",
                next_step="pass finite corners, the lowest first",
            )

    def corners(self, like: Tensor) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
        """Both corners as tensors of another's type and device."""
        return like.new_tensor(self.lowest_m), like.new_tensor(self.highest_m)

    def scaled(self, points_m: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """Places in the box from -1 to 1 along each axis."""
        low, high = self.corners(points_m)
        return (points_m - low) * (2 / (high - low)) - 1


@dataclass(frozen=True)
class Rays:
    """One ray a pixel, entry after entry of the batch, row by row."""

    origins_m: Float[Tensor, "rays 3"]
    """Centre of projection in head axes."""
    directions: Float[Tensor, "rays 3"]
    """Unit vectors away from the camera, in head axes."""
    entry: Int[Tensor, " rays"]
    """Which entry of the batch the ray belongs to."""
    near_m: Float[Tensor, " rays"]
    """Distance along the ray at which it enters the box, or the camera's own if that stands inside; no gradient."""
    far_m: Float[Tensor, " rays"]
    """Distance at which it leaves the box; equal to `near_m` where there is nothing to sample."""
    depth_per_m: Float[Tensor, " rays"]
    """Camera z gained with every metre along the ray."""

    def __len__(self) -> int:
        return len(self.entry)

    def only(self, wanted: Bool[Tensor, " rays"]) -> "Rays":
        """The same rays; those not wanted have nothing to sample, as outside the matte of a frame."""
        check_shape(wanted, (len(self),), "wanted")
        return replace(self, far_m=torch.where(wanted, self.far_m, self.near_m))

    def part(self, start: int, end: int) -> "Rays":
        """Some consecutive rays."""
        return Rays(*(getattr(self, name)[start:end] for name in self.__dataclass_fields__))


def camera_rays(camera: Camera, T_camera_head: Float[Tensor, "batch 4 4"], box: Box) -> Rays:
    """Rays through all pixel centres of a camera, differentiable in the pose.

    Args:
        camera: intrinsics (one for all, or one per batch entry) and image size.
        T_camera_head: where the head is.
        box: what the rays are cut to.

    Raises:
        HeadstudioError: where shapes do not fit, or pose or lens is not finite.
    """
    check_shape(T_camera_head, (None, 4, 4), "T_camera_head")
    K_px = camera.K_px if camera.K_px.ndim == 3 else camera.K_px[None]
    check_batch(K_px, len(T_camera_head), "camera")
    if not bool(T_camera_head.isfinite().all() & K_px.isfinite().all()):
        raise HeadstudioError("pose or lens is not finite", where="camera rays", next_step="leave the frame out")
    batch, pixels = len(T_camera_head), camera.height_px * camera.width_px
    T_head_camera = invert(T_camera_head)
    through = _pixel_rays(camera, K_px)
    lengths = through.norm(dim=-1, keepdim=True)
    directions = ((through / lengths) @ T_head_camera[:, :3, :3].transpose(1, 2)).reshape(-1, 3)
    origins = T_head_camera[:, None, :3, 3].expand(-1, pixels, -1).reshape(-1, 3)
    near, far = _crossing(origins.detach(), directions.detach(), box)
    entry = torch.arange(batch, device=near.device, dtype=torch.int32).repeat_interleave(pixels)
    depth_per_m = (1 / lengths[..., 0]).expand(batch, -1).reshape(-1)
    return Rays(origins, directions, entry, near, far, depth_per_m)


def to_picture(of_rays: Float[Tensor, "rays channels"], camera: Camera) -> Float[Tensor, "batch channels height width"]:
    """What belongs to the rays of `camera_rays` as pictures."""
    pixels = of_rays.reshape(-1, camera.height_px, camera.width_px, of_rays.shape[1])
    return pixels.permute(0, 3, 1, 2)


def _pixel_rays(camera: Camera, K_px: Tensor) -> Float[Tensor, "batch pixels 3"]:
    """Vectors with z = 1 through the pixel centres, in camera axes."""
    rows = torch.arange(camera.height_px).to(K_px) + 0.5
    columns = torch.arange(camera.width_px).to(K_px) + 0.5
    centres = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], dim=-1).reshape(1, -1, 2)
    batched = Camera(K_px, camera.width_px, camera.height_px)
    return batched.unproject(centres.expand(len(K_px), -1, -1), centres.new_ones(len(K_px), centres.shape[1]))


def _crossing(origins: Tensor, directions: Tensor, box: Box) -> tuple[Tensor, Tensor]:
    """Distances at which rays enter and leave the box (the slab method); both 0 where they miss it."""
    low, high = box.corners(origins)
    # A ray along a wall would give 0 / 0.
    slopes = torch.where(directions.abs() < _LEAST_SLOPE, _LEAST_SLOPE, directions)
    first, second = (low - origins) / slopes, (high - origins) / slopes
    near = torch.minimum(first, second).amax(1).clamp_min(0)
    far = torch.maximum(first, second).amin(1)
    hits = far > near
    return torch.where(hits, near, 0), torch.where(hits, far, 0)
