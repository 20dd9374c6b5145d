"""Points in space from where calibrated cameras saw them."""

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.geometry.rigid import transform

_ROUNDS = 12
_BEND_PX = 1.5
"""Residuals beyond this count linearly (Huber)."""


def triangulate(
    pixels: Float[Tensor, "views points 2"],
    K_px: Float[Tensor, "views 3 3"],
    T_camera_world: Float[Tensor, "views 4 4"],
    weight: Float[Tensor, "views points"],
) -> tuple[Float[Tensor, "points 3"], Float[Tensor, "views points"]]:
    """The points that project nearest to where they were seen, few far misses counting less.

    Args:
        pixels: may be anything where the weight is 0.
        weight: trust in each sighting; a point needs two that are above 0.

    Returns:
        Points in the world, NaN where they are unknown, and the distance in pixels from every sighting (NaN where it
        does not count).
    """
    pixels, K_px, T, weight = (value.double() for value in (pixels, K_px, T_camera_world, weight))
    counts = weight > 0
    pixels = torch.where(counts[..., None], pixels, 0.0)
    points = _nearest_to_rays(pixels, K_px, T, weight)
    for _ in range(_ROUNDS):
        residual, jacobian = _seen(points, pixels, K_px, T)
        distance = residual.norm(dim=-1)
        bent = weight * (_BEND_PX / distance.clamp_min(_BEND_PX))
        weighted = jacobian * bent[..., None, None]
        hessian = torch.einsum("vpca,vpcb->pab", weighted, jacobian)
        descent = torch.einsum("vpca,vpc->pa", weighted, residual)
        points = points + _solved(hessian, descent)
    residual, _ = _seen(points, pixels, K_px, T)
    known = counts.sum(0) >= 2
    points = torch.where(known[:, None], points, torch.nan)
    return points, torch.where(counts & known, residual.norm(dim=-1), torch.nan)


def _nearest_to_rays(pixels: Tensor, K_px: Tensor, T: Tensor, weight: Tensor) -> Float[Tensor, "points 3"]:
    rotation = T[:, :3, :3]
    centres = -(rotation.transpose(1, 2) @ T[:, :3, 3:])[..., 0]
    homogeneous = torch.cat([pixels, torch.ones_like(pixels[..., :1])], dim=-1)
    rays = torch.nn.functional.normalize(homogeneous @ torch.linalg.inv(K_px).transpose(1, 2) @ rotation, dim=-1)
    across = torch.eye(3).to(rays) - rays[..., :, None] * rays[..., None, :]
    across = across * weight[..., None, None]
    return _solved(across.sum(0), torch.einsum("vpab,vb->pa", across, centres))


def _seen(points: Tensor, pixels: Tensor, K_px: Tensor, T: Tensor) -> tuple[Tensor, Tensor]:
    """Residuals (views, points, 2) and derivatives of the projections by the points (views, points, 2, 3)."""
    local = transform(T, points.expand(len(T), -1, 3))
    depth = local[..., 2:].clamp_min(1e-9)
    flat = local[..., :2] / depth
    focal = K_px[:, :2, :2]
    projected = flat @ focal.transpose(1, 2) + K_px[:, None, :2, 2]
    inner = torch.cat([torch.eye(2).to(flat).expand(*flat.shape[:2], 2, 2), -flat[..., None]], dim=-1)
    jacobian = focal[:, None] @ (inner / depth[..., None]) @ T[:, None, :3, :3]
    return pixels - projected, jacobian


def _solved(matrices: Float[Tensor, "points 3 3"], vectors: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
    # A trace of damping keeps points that are seen once or never from stopping all others.
    trace = matrices.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    damped = matrices + torch.eye(3).to(matrices) * (1e-9 * trace + 1e-12)
    return torch.linalg.solve(damped, vectors[..., None])[..., 0]
