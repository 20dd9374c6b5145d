"""Calibrated pictures of one still subject, checked and brought into a box of half-length 1."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera

_LEAST_VIEWS = 3
_LEAST_PARALLAX = 3e-4
"""Least mean squared sine between the views and any one direction: all cameras within about one degree are one view."""
_MARGIN = 1.15


@dataclass(frozen=True)
class MultiView:
    """Pictures, masks and cameras. The box has the frame `box`: x_world = `scale` x_box + `centre`."""

    images: Float[Tensor, "views height width 3"]
    """sRGB in [0, 1]."""
    masks: Float[Tensor, "views height width"]
    """1 on the subject, 0 beside it, between at its border."""
    valid: Bool[Tensor, "views height width"]
    """Where a pixel says anything: not beyond the border of the video, nor where the mask is not to be believed."""
    K_px: Float[Tensor, "views 3 3"]
    rotation_camera_box: Float[Tensor, "views 3 3"]
    translation_camera_box: Float[Tensor, "views 3"]
    scale: float = 1.0
    """World units in half the box."""
    centre: Float[Tensor, "3"] | None = None
    """Of the box, in the world; None is its origin."""

    def __len__(self) -> int:
        return len(self.images)

    def camera(self, view: int) -> Camera:
        """Intrinsics of one view."""
        return Camera(self.K_px[view : view + 1], self.images.shape[2], self.images.shape[1])

    def to_camera(self, points: Float[Tensor, "points 3"], view: int) -> Float[Tensor, "points 3"]:
        """Points of the box in a camera's axes, in units of half the box."""
        return points @ self.rotation_camera_box[view].T + self.translation_camera_box[view]

    @property
    def eyes(self) -> Float[Tensor, "views 3"]:
        """The cameras' centres, in the box."""
        return -(self.rotation_camera_box.transpose(1, 2) @ self.translation_camera_box[:, :, None])[:, :, 0]

    def to_world(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """Points of the box in the world."""
        moved = points * self.scale
        return moved if self.centre is None else moved + self.centre

    def boxed(self, centre: Float[Tensor, "3"], scale: float) -> "MultiView":
        """The same views in another box, given in this one."""
        translation = (self.translation_camera_box + self.rotation_camera_box @ centre) / scale
        return MultiView(
            self.images, self.masks, self.valid, self.K_px, self.rotation_camera_box, translation,
            self.scale * scale, self.to_world(centre[None])[0],
        )  # fmt: skip


def multiview(
    images: Float[Tensor, "views height width 3"],
    masks: Float[Tensor, "views height width"],
    valid: Tensor,
    K_px: Float[Tensor, "views 3 3"],
    T_camera_world: Float[Tensor, "views 4 4"],
) -> MultiView:
    """Checked pictures in a box that surely holds the subject.

    Raises:
        HeadstudioError: for sizes that differ, values not finite, fewer than three views, a view without subject, or
            cameras that all look from one place.
    """
    images, masks, K_px, T_camera_world = (x.float() for x in (images, masks, K_px, T_camera_world))
    _check_sizes(images, masks, valid, K_px, T_camera_world)
    valid = valid.to(images.device) > 0.5
    for name, value in (("images", images), ("masks", masks), ("K_px", K_px), ("T_camera_world", T_camera_world)):
        shown = value[valid] if name in ("images", "masks") else value
        if not bool(shown.isfinite().all()):
            raise HeadstudioError(f"{name} hold values that are not finite", next_step="leave such frames out")
    images = torch.where(valid[..., None], images, 0.0)
    masks = torch.where(valid, masks, 0.0)
    empty = torch.nonzero((masks > 0.5).sum((1, 2)) == 0)[:, 0].tolist()
    if empty:
        raise HeadstudioError(
            "no pixel shows the subject", where=f"view {empty[0]}", next_step="leave this view out, or mask it anew"
        )
    rotation, translation = T_camera_world[:, :3, :3], T_camera_world[:, :3, 3]
    views = MultiView(images, masks, valid, K_px, rotation, translation)
    return views.boxed(*_loose_box(views))


def _check_sizes(images: Tensor, masks: Tensor, valid: Tensor, K_px: Tensor, T_camera_world: Tensor) -> None:
    count, size = len(images), tuple(images.shape[1:3])
    if count < _LEAST_VIEWS:
        raise HeadstudioError(f"{count} views are too few for a mesh", next_step=f"pass at least {_LEAST_VIEWS}")
    expected = {
        "images": (images, (count, *size, 3)),
        "masks": (masks, (count, *size)),
        "valid": (valid, (count, *size)),
        "K_px": (K_px, (count, 3, 3)),
        "T_camera_world": (T_camera_world, (count, 4, 4)),
    }
    for name, (value, shape) in expected.items():
        if tuple(value.shape) != shape:
            raise HeadstudioError(
                f"{name} has the shape {tuple(value.shape)} instead of {shape}", next_step="pass one entry a view"
            )


def _loose_box(views: MultiView) -> tuple[Tensor, float]:
    """A ball round the point that the masks' middles look at, as wide as the widest mask there."""
    middles, reach_px = zip(*(_middle_and_reach(mask) for mask in views.masks), strict=True)
    rays = torch.stack(
        [torch.linalg.solve(K, m.new_tensor([*m, 1.0])) for K, m in zip(views.K_px, middles, strict=True)]
    )
    directions = (views.rotation_camera_box.transpose(1, 2) @ rays[:, :, None])[:, :, 0]
    directions = torch.nn.functional.normalize(directions, dim=1).double()
    across = torch.eye(3).to(directions) - directions[:, :, None] * directions[:, None]
    if float(torch.linalg.eigvalsh(across.mean(0))[0]) < _LEAST_PARALLAX:
        raise HeadstudioError("all views look from the same side", next_step="film the head from more sides")
    centre = torch.linalg.solve(across.sum(0), (across @ views.eyes.double()[:, :, None]).sum(0))[:, 0].float()
    depth = torch.stack([views.to_camera(centre[None], view)[0, 2] for view in range(len(views))])
    if float(depth.min()) <= 0:
        raise HeadstudioError(
            "the subject lies behind a camera",
            where=f"view {int(depth.argmin())}",
            next_step="check that T_camera_world maps world to camera, z forward",
        )
    return centre, _MARGIN * float((torch.stack(reach_px) / views.K_px[:, 0, 0] * depth).max())


def _middle_and_reach(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Middle of the mask's bounding box and half its diagonal, pixels."""
    rows, columns = torch.nonzero(mask > 0.5).float().unbind(1)
    corner, other = torch.stack([columns.min(), rows.min()]), torch.stack([columns.max() + 1, rows.max() + 1])
    return (corner + other) / 2, (other - corner).norm() / 2
