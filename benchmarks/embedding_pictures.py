"""Pictures of a parametric head that a face detector takes for a person: painted skin, lips, brows and eyes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import roma
import torch
from torch import Tensor

from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import rigid, transform
from headstudio.heads.arkit import ARKIT_INDEX
from headstudio.heads.base import HeadModel
from headstudio.render.mesh import vertex_normals
from headstudio.render.rasterise import Fragments, interpolate, rasterise

SIZE_PX = 512
VIEWS_DEG = tuple(product((-35.0, -18.0, 0.0, 18.0, 35.0), (-20.0, 0.0, 20.0)))
"""Yaw and pitch."""
_DISTANCE_M = 0.7
_MOUTH_OPEN = 0.35
_IRIS_M, _PUPIL_M = 0.0060, 0.0022

_SKIN, _LIPS, _BROWS = (0.78, 0.58, 0.48), (0.68, 0.36, 0.34), (0.22, 0.15, 0.11)
_SCLERA, _IRIS, _PUPIL, _TEETH, _TONGUE = (
    (0.9, 0.88, 0.86),
    (0.3, 0.22, 0.15),
    (0.03,) * 3,
    (0.88, 0.85, 0.78),
    (0.6, 0.3, 0.3),
)


@dataclass(frozen=True)
class Picture:
    """A rendered head and the surface behind its pixels."""

    rgb: np.ndarray
    """(height, width, 3) of 8 bits"""
    fragments: Fragments
    triangles: Tensor
    """(drawn, 3) vertices of the triangles that `fragments` counts"""
    drawn: Tensor
    """(drawn,) index of each of them among the head's triangles"""
    facing: Tensor
    """(height, width) cosine between normal and view"""
    to_camera: Tensor
    """(3,) direction from the head to the camera, in the head's frame"""
    mouth_open: bool


def pictures(
    head: HeadModel,
    persons: int,
    seed: int,
    views_deg: Sequence[tuple[float, float]] = VIEWS_DEG,
    mouth_open: bool | None = None,
) -> Iterator[Picture]:
    """Pictures of random persons, the first of them the mean, from all sides.

    Args:
        head: the head.
        persons: how many.
        seed: of their identities and their light.
        views_deg: yaw and pitch of the views.
        mouth_open: whether the mouth is somewhat open; None takes turns.
    """
    random = torch.Generator().manual_seed(seed)
    painted = paint(head)
    for person in range(persons):
        identity = 0.7 * torch.randn(1, head.identities, generator=random) * (person > 0)
        neutral = head.neutral(identity)
        light = 0.5 + torch.rand(1, generator=random), torch.randn(3, generator=random)
        for number, view_deg in enumerate(views_deg):
            opened = (number + person) % 2 == 1 if mouth_open is None else mouth_open
            arkit = torch.zeros(1, 52)
            arkit[:, ARKIT_INDEX["jawOpen"]] = _MOUTH_OPEN * opened
            vertices = head.pose(neutral, head.from_arkit(arkit))
            yield render(head, vertices, view_deg, painted, light, opened)


def render(
    head: HeadModel,
    vertices_m: Tensor,
    view_deg: tuple[float, float],
    painted: Tensor,
    light: tuple[Tensor, Tensor],
    mouth_open: bool = False,
) -> Picture:
    """One picture from a given side, without lashes: they are only a strip around the eyes here."""
    lashes = head.data.regions["eyelashes"]
    drawn = torch.nonzero(~lashes[head.triangles].all(1))[:, 0]
    triangles = head.triangles[drawn]
    camera = Camera.from_focal(2.7 * SIZE_PX, SIZE_PX, SIZE_PX)
    pose = camera_pose(*view_deg)
    camera_points = transform(pose, vertices_m)
    fragments = rasterise(camera_points, triangles, camera)
    normals = vertex_normals(camera_points, triangles)
    maps = interpolate(fragments, torch.cat([normals, painted.expand(len(normals), -1, -1)], -1), triangles)[0]
    normal, colour = torch.nn.functional.normalize(maps[:3], dim=0), maps[3:6]
    strength, direction = light
    sun = torch.nn.functional.normalize(torch.tensor([0.0, -0.4, -1.0]) + 0.25 * direction, dim=0)
    lit = 0.45 + 0.75 * strength * (normal * sun[:, None, None]).sum(0).clamp_min(0)
    background = torch.tensor([0.45, 0.5, 0.55])[:, None, None] * (1 - fragments.mask[0])
    shown = _with_irises(head, fragments, triangles, colour) * lit * fragments.mask[0] + background
    rgb = (shown.clamp(0, 1) * 255).byte().permute(1, 2, 0).contiguous().numpy()
    return Picture(rgb, fragments, triangles, drawn, -normal[2], -pose[0, 2, :3], mouth_open)


def paint(head: HeadModel) -> Tensor:
    """(1, vertices, 3) colours."""
    colour = torch.tensor(_SKIN).expand(head.vertices, 3).clone()
    for names, value in (
        (("lips",), _LIPS), (("mouth_cavity",), (0.35, 0.12, 0.12)), (("teeth",), _TEETH), (("tongue",), _TONGUE),
        (("eyeballs",), _SCLERA),
    ):  # fmt: skip
        colour[head.region(*names)] = torch.tensor(value)
    brow = _brow_amount(head)[:, None]
    return (colour * (1 - brow) + torch.tensor(_BROWS) * brow)[None]


def _brow_amount(head: HeadModel) -> Tensor:
    """(vertices,) how much each vertex is eyebrow: an arc over each eye, in shares of the distance of the eyes."""
    joints = head.joints(head.template_m[None])[0]
    eyes, apart = joints[3:], (joints[3] - joints[4]).norm()
    across = (head.template_m[:, 0].abs() - eyes[0, 0].abs()) / apart
    up = (head.template_m[:, 1] - eyes[:, 1].mean()) / apart
    arc = 0.345 - 0.35 * (across - 0.12) ** 2
    inside = (across > -0.30) & (across < 0.42) & (head.template_m[:, 2] > 0) & head.data.regions["face"]
    return (1 - ((up - arc) / 0.055) ** 2).clamp(0, 1) * inside


def _with_irises(head: HeadModel, fragments: Fragments, triangles: Tensor, colour: Tensor) -> Tensor:
    # Painted in the mean head's space, so that irises turn with the eyeballs.
    balls = head.data.regions["eyeballs"]
    points = interpolate(fragments, torch.cat([head.template_m, balls[:, None].float()], -1)[None], triangles)[0]
    is_ball = (points[3] > 0.999) & (points[2] > 0)
    for eye in head.joints(head.template_m[None])[0, 3:]:
        off_axis = (points[:2] - eye[:2, None, None]).norm(dim=0)
        for radius, value in ((_IRIS_M, _IRIS), (_PUPIL_M, _PUPIL)):
            colour = torch.where(is_ball & (off_axis < radius), torch.tensor(value)[:, None, None], colour)
    return colour


def camera_pose(yaw_deg: float, pitch_deg: float) -> Tensor:
    """(1, 4, 4) T_camera_head of a head in the middle of the picture."""
    facing = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    turn = roma.euler_to_rotmat("YX", torch.tensor([yaw_deg, pitch_deg]), degrees=True)
    pose = rigid(torch.zeros(1, 3), torch.tensor([[0.0, -0.02, _DISTANCE_M]]))
    pose[:, :3, :3] = facing @ turn
    return pose
