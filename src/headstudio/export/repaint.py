"""The colours that an avatar's network paints during a performance, as pictures in the head's atlas."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from headstudio.export.network import Network, poses_before_camera
from headstudio.records.channels import ARKIT, HEAD_POSE, HEAD_ROTATION
from headstudio.records.mesh import MeshAsset, MeshPart
from headstudio.records.motion import Motion
from headstudio.training.contract import AvatarModel, Baker, Repainting, Runtime

LARGEST_PX = 1024
"""Of a side of the pictures: a second of film holds thirty of them."""
_AROUND_MASK = 9  # texels, so that filtering never reaches the empty part


def steerable_repainting(avatar: AvatarModel) -> tuple[Runtime, Repainting | None]:
    """How its network repaints the surface; None where it does not, or where ARKit and head pose cannot steer it."""
    runtime = avatar.runtime()
    return runtime, runtime.repainting() if _steerable(avatar) else None


def steerable_baker(avatar: AvatarModel) -> Baker | None:
    """What bakes its textures frame by frame; None where nothing does, or where ARKit cannot steer it."""
    return avatar.runtime().baker() if _steerable(avatar) else None


def _steerable(avatar: AvatarModel) -> bool:
    return any(accepted <= {ARKIT, HEAD_POSE} for accepted in avatar.driven_by)


def baked_frames(baker: Baker, motion: Motion, size_px: Sequence[int]) -> Iterator[UInt8[Tensor, "3 height width"]]:
    """sRGB pictures of a size (rows, columns), one a frame of the motion, as `painted_frames` gives mixed ones.

    They follow the weights that move the mesh, so that both show one expression.
    """
    for frame in range(len(motion)):
        texture = baker.bake({ARKIT: motion.channels[ARKIT][frame : frame + 1].float()})
        yield (resized(texture, size_px) * 255).round().to(torch.uint8)


@torch.no_grad()
def painted_frames(
    runtime: Runtime, repainting: Repainting, motion: Motion, largest_px: int = LARGEST_PX, mixed: bool = False
) -> Iterator[UInt8[Tensor, "3 height width"]]:
    """sRGB pictures of at most `largest_px` a side, one a frame of the motion, seen by the camera that filmed it.

    Either mixed with the static texture as the mask says, ready to be shown; or what shows through the mask, for
    whoever mixes; what the mask hides is black then, because it would only fill files.
    """
    network = Network(runtime, repainting.output).eval()
    poses, layers = _poses(motion), _Layers(repainting, picture_size(repainting, largest_px), mixed)
    for frame in range(len(motion)):
        painted = network(motion.channels[ARKIT][frame : frame + 1].float(), poses[frame : frame + 1])
        colour = layers.mixed(painted) if mixed else layers.alone(painted)
        yield (colour * 255).round().clamp(0, 255).to(torch.uint8)[0]


def picture_size(repainting: Repainting, largest_px: int) -> tuple[int, int]:
    """Rows and columns: the static texture's, but at most so many."""
    rows, columns = repainting.static.shape[1:]
    return min(rows, largest_px), min(columns, largest_px)


def resized(
    picture: UInt8[Tensor, "channels height width"], size_px: Sequence[int]
) -> Float[Tensor, "channels rows columns"]:
    """The picture in [0, 1] at another size (rows, columns), without aliasing."""
    return _interpolated(picture[None].float().cpu() / 255, size_px)[0]


def repainted_surface(asset: MeshAsset, texture: UInt8[Tensor, "channels height width"]) -> MeshAsset:
    """All triangles under one texture: the method's own renderer draws, and has painted, every one."""
    everything = MeshPart("head", torch.ones(len(asset.triangles), dtype=torch.bool))
    return replace(asset, texture=texture.cpu(), parts=(everything,))


class _Layers:
    """Static texture and mask, at their own size for mixing, and the pictures' size."""

    def __init__(self, repainting: Repainting, size_px: tuple[int, int], mixed: bool) -> None:
        self.residual, self.size = repainting.residual, size_px
        full = repainting.static.shape[1:] if mixed else size_px
        self.below, self.shown = resized(repainting.static, full), resized(repainting.blend, full)
        self.near = max_pool2d((self.shown[None] > 0).float(), _AROUND_MASK, 1, _AROUND_MASK // 2)

    def mixed(self, painted: Tensor) -> Tensor:
        """Mixed where the renderer mixes, and then made smaller."""
        picture = self.below + self.shown * (self._colour(painted) - self.below)
        return _interpolated(picture.clamp(0, 1), self.size)

    def alone(self, painted: Tensor) -> Tensor:
        return self._colour(painted) * self.near

    def _colour(self, painted: Tensor) -> Tensor:
        painted = _interpolated(painted.float(), self.below.shape[1:])
        return self.below + painted if self.residual else painted.sigmoid()


def _interpolated(picture: Tensor, size_px: Sequence[int]) -> Tensor:
    if picture.shape[2:] == tuple(size_px):
        return picture
    return interpolate(picture, list(size_px), mode="bilinear", antialias=True)


def _poses(motion: Motion) -> Tensor:
    """T_camera_head of every frame; a motion without one looks into the camera, or turns before it."""
    if HEAD_POSE in motion.channels:
        return motion.channels[HEAD_POSE].float().cpu()
    return poses_before_camera(motion.channels.get(HEAD_ROTATION, torch.zeros(len(motion), 3)).float().cpu())
