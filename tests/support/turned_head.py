"""A head with a mottled skin, seen from known cameras on a semicircle: truth for everything about calibration."""

import math

import numpy as np
import torch
from torch import Tensor

from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import from_rotation, rigid
from headstudio.heads.base import HeadModel
from headstudio.render.mesh import MeshTopology, render_surface
from headstudio.synth.noise import fractal_noise


def orbit(views: int, reach_deg: float = 60.0, distance_m: float = 0.6, seed: int = 0) -> Tensor:
    """`T_camera_head` of a hand-held semicircle."""
    draw = torch.Generator().manual_seed(seed)
    yaw = torch.linspace(-math.radians(reach_deg), math.radians(reach_deg), views)
    sway = 0.04 * torch.randn(views, 3, generator=draw)
    turned = rigid(torch.stack([sway[:, 0], yaw, sway[:, 1]], dim=1), torch.zeros(views, 3))
    facing = torch.diag(torch.tensor([1.0, -1.0, -1.0])).expand(views, 3, 3)
    away = torch.tensor([0.0, 0.0, distance_m]) + 0.02 * torch.randn(views, 3, generator=draw)
    return from_rotation(facing, away) @ turned


def camera_of(size_px: int) -> Camera:
    """The lens of all views."""
    return Camera.from_focal(1.5 * size_px, size_px, size_px)


def photographs(head: HeadModel, T_camera_head: Tensor, size_px: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pictures and masks."""
    neutral = head.neutral(torch.zeros(1, head.identities))
    mesh = MeshTopology(head.triangles, head.uv, head.uv_triangles)
    side = torch.linspace(0, 40, 1024)
    places = torch.stack([*torch.meshgrid(side, side, indexing="ij"), torch.zeros(1024, 1024)], -1).reshape(-1, 3)
    grain = torch.stack([fractal_noise(places, 1.0, seed, 4, 0.7).reshape(1024, 1024) for seed in (1, 2, 3)])
    texture = (0.5 + 0.2 * grain).clamp(0, 1)[None]
    camera = Camera(camera_of(size_px).K_px[None], size_px, size_px)
    images, masks = [], []
    for T in T_camera_head:
        points = neutral @ T[:3, :3].T + T[:3, 3]
        with torch.inference_mode():
            seen = render_surface(points, mesh, camera, texture)
        picture = (seen.image * seen.mask + 0.3 * (1 - seen.mask))[0].permute(1, 2, 0)
        images.append((picture.numpy() * 255).round().astype(np.uint8))
        masks.append(seen.mask[0, 0].numpy() > 0.99)
    return images, masks


def camera_errors(found: Tensor, true: Tensor) -> tuple[Tensor, Tensor, float]:
    """Rotation errors in degrees and position errors in percent of the distance after one similarity, and its scale.

    Args:
        found, true: camera poses, each against a world of its own.
    """
    found, true = found.double(), true.double()
    a = -(found[:, :3, :3].transpose(1, 2) @ found[:, :3, 3:])[..., 0]
    b = -(true[:, :3, :3].transpose(1, 2) @ true[:, :3, 3:])[..., 0]
    u, singular, vh = torch.linalg.svd((b - b.mean(0)).T @ (a - a.mean(0)))
    flip = torch.diag(torch.tensor([1.0, 1.0, float(torch.linalg.det(u @ vh).sign())], dtype=torch.float64))
    rotation = u @ flip @ vh
    scale = float((singular * flip.diagonal()).sum() / (a - a.mean(0)).square().sum())
    moved = scale * (a - a.mean(0)) @ rotation.T + b.mean(0)
    position_pct = (moved - b).norm(dim=1) / b.norm(dim=1) * 100
    between = found[:, :3, :3] @ rotation.T @ true[:, :3, :3].transpose(1, 2)
    cosine = ((between.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1)
    return torch.rad2deg(torch.arccos(cosine)), position_pct, scale
