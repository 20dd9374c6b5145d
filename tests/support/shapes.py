"""Small meshes with a known surface and atlas."""

import math

import torch

from headstudio.geometry.camera import Camera
from headstudio.render.mesh import MeshTopology


def sphere(rows: int = 24, columns: int = 48, radius_m: float = 0.1) -> tuple[torch.Tensor, MeshTopology]:
    """A sphere about the origin (camera axes: y down) with a latitude-longitude atlas, seen front in the middle."""
    v, u = torch.meshgrid(torch.linspace(0, 1, rows + 1), torch.linspace(0, 1, columns + 1), indexing="ij")
    polar, azimuth = v * math.pi, (u - 0.5) * 2 * math.pi
    points = torch.stack([polar.sin() * azimuth.sin(), -polar.cos(), -polar.sin() * azimuth.cos()], -1)
    index = torch.arange((rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = torch.cat([torch.stack([a, d, c], -1).reshape(-1, 3), torch.stack([a, c, b], -1).reshape(-1, 3)])
    uv = torch.stack([u, v], -1).reshape(-1, 2)
    return radius_m * points.reshape(-1, 3), MeshTopology(triangles, uv, triangles)


def turned(points: torch.Tensor, yaw_rad: float, distance_m: float = 0.6) -> torch.Tensor:
    """The points turned about y and moved before the camera."""
    cosine, sine = math.cos(yaw_rad), math.sin(yaw_rad)
    rotation = torch.tensor([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]])
    return points @ rotation.T + torch.tensor([0.0, 0.0, distance_m])


def camera(size_px: int = 128, focal: float = 2.2) -> Camera:
    """A square camera, batch of one."""
    found = Camera.from_focal(focal * size_px, size_px, size_px)
    return Camera(found.K_px[None], size_px, size_px)
