"""The same moment of a stage seen from another side: the camera moves round the head, light and room stay."""

import math
from dataclasses import replace

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.geometry.rigid import from_rotation
from headstudio.render.light import turned
from headstudio.synth.stage import Stage


def orbited(stage: Stage, frame: int, yaw_deg: float) -> tuple[Stage, Float[Tensor, "4 4"]]:
    """The stage before a camera that went round the head of one frame, and `T_camera_world` of that camera.

    World is the axes of the first camera. The camera keeps its distance, goes to its own right for a positive angle
    and goes on looking as it looked, so that the head stays where it is in the picture.
    """
    T_camera_world = around(stage.T_camera_head[frame][:3, 3], yaw_deg)
    return seen_from(stage, T_camera_world), T_camera_world


def around(centre_m: Float[Tensor, "3"], yaw_deg: float) -> Float[Tensor, "4 4"]:
    """`T_camera_world` of a camera that went round a point of the world, as `orbited` says."""
    rotation = roma.rotvec_to_rotmat(torch.tensor([0.0, math.radians(yaw_deg), 0.0]))
    return from_rotation(rotation, centre_m - rotation @ centre_m)


def seen_from(stage: Stage, T_camera_world: Float[Tensor, "4 4"]) -> Stage:
    """The stage before another camera; world is the axes of the stage's own."""
    rotation, light = T_camera_world[:3, :3], stage.light
    moved = replace(
        light,
        environment_sh=turned(light.environment_sh[None], rotation[None])[0],
        towards_key=rotation @ light.towards_key,
        towards_fill=rotation @ light.towards_fill,
    )
    return replace(stage, light=moved, T_camera_head=T_camera_world @ stage.T_camera_head)
