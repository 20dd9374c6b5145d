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
    centre = stage.T_camera_head[frame][:3, 3]
    rotation = roma.rotvec_to_rotmat(torch.tensor([0.0, math.radians(yaw_deg), 0.0]))
    T_camera_world = from_rotation(rotation, centre - rotation @ centre)
    light = stage.light
    moved = replace(
        light,
        environment_sh=turned(light.environment_sh[None], rotation[None])[0],
        towards_key=rotation @ light.towards_key,
        towards_fill=rotation @ light.towards_fill,
    )
    return replace(stage, light=moved, T_camera_head=T_camera_world @ stage.T_camera_head), T_camera_world
