"""The colours that an avatar's network paints during a performance, as pictures in the head's atlas."""

from collections.abc import Iterator

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from headstudio.export.network import Network, poses_before_camera
from headstudio.records.channels import ARKIT, HEAD_POSE, HEAD_ROTATION
from headstudio.records.motion import Motion
from headstudio.training.contract import AvatarModel, Repainting, Runtime

LARGEST_PX = 1024
"""Of a side of the pictures: a second of film holds thirty of them."""
_AROUND_MASK = 9  # texels, so that filtering never reaches the empty part


def steerable_repainting(avatar: AvatarModel) -> tuple[Runtime, Repainting | None]:
    """How its network repaints the surface; None where it does not, or where ARKit and head pose cannot steer it."""
    runtime = avatar.runtime()
    steerable = any(accepted <= {ARKIT, HEAD_POSE} for accepted in avatar.driven_by)
    return runtime, runtime.repainting() if steerable else None


@torch.no_grad()
def painted_frames(
    runtime: Runtime, repainting: Repainting, motion: Motion
) -> Iterator[UInt8[Tensor, "3 height width"]]:
    """sRGB pictures that show through the mask, one a frame of the motion, seen by the camera that filmed it.

    What the mask hides is black, because it would only fill files.
    """
    network = Network(runtime, repainting.output).eval()
    static = repainting.static[None].float() / 255
    blend = repainting.blend[None].float() / 255
    poses = _poses(motion)
    for frame in range(len(motion)):
        painted = network(motion.channels[ARKIT][frame : frame + 1].float(), poses[frame : frame + 1])
        size = [
            max(min(LARGEST_PX, side), small) for side, small in zip(static.shape[2:], painted.shape[2:], strict=True)
        ]
        below, shown = (interpolate(layer, size, mode="bilinear", antialias=True) for layer in (static, blend))
        painted = interpolate(painted.float(), size, mode="bilinear", antialias=True)
        colour = below + painted if repainting.residual else painted.sigmoid()
        near = max_pool2d((shown > 0).float(), _AROUND_MASK, 1, _AROUND_MASK // 2)
        yield (colour * near * 255).round().clamp(0, 255).to(torch.uint8)[0]


def _poses(motion: Motion) -> Tensor:
    """T_camera_head of every frame; a motion without one looks into the camera, or turns before it."""
    if HEAD_POSE in motion.channels:
        return motion.channels[HEAD_POSE].float().cpu()
    return poses_before_camera(motion.channels.get(HEAD_ROTATION, torch.zeros(len(motion), 3)).float().cpu())
