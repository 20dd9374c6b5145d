"""Distances from points to a surface, and the one similarity that lays the tracked head over the true one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import roma
import torch
from scipy.spatial import KDTree
from torch import Tensor

_CANDIDATES = 24
"""Triangles with the nearest centres that are measured exactly; the heads' triangles are alike in size."""
_ROUNDS = 25
_ICP_POINTS = 4000


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation @ x + translation."""

    scale: float
    rotation: Tensor
    translation: Tensor

    def __call__(self, points: Tensor) -> Tensor:
        """Points, (..., 3)."""
        return self.scale * points @ self.rotation.T + self.translation


class Surface:
    """Triangles, with the nearest point on them to any point."""

    def __init__(self, vertices: Tensor, triangles: Tensor) -> None:
        self.corners = vertices.double()[triangles.long()]
        a, b, c = self.corners.unbind(1)
        self.normals = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)
        self._tree = KDTree(self.corners.mean(1).numpy())

    def nearest(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Nearest surface points (points, 3) and the normals there."""
        _, candidates = self._tree.query(points.double().numpy(), k=min(_CANDIDATES, len(self.corners)))
        chosen = torch.from_numpy(np.atleast_2d(candidates))
        near = nearest_on_triangles(points.double()[:, None].expand(*chosen.shape, 3), self.corners[chosen])
        best = (near - points[:, None]).norm(dim=-1).argmin(1)
        row = torch.arange(len(points))
        return near[row, best], self.normals[chosen[row, best]]

    def distance(self, points: Tensor) -> Tensor:
        """Distance of each point to the surface."""
        return (self.nearest(points)[0] - points).norm(dim=-1)


def nearest_on_triangles(points: Tensor, corners: Tensor) -> Tensor:
    """The nearest point on a triangle to each point: its foot where that lies inside, else the nearest on an edge.

    Args:
        points: (..., 3).
        corners: (..., 3, 3), one triangle a point.
    """
    a, b, c = corners.unbind(-2)
    edges = [_nearest_on_segment(points, *ends) for ends in ((a, b), (b, c), (c, a))]
    normal = torch.linalg.cross(b - a, c - a)
    area = normal.square().sum(-1, keepdim=True).clamp_min(1e-30)
    foot = points - ((points - a) * normal).sum(-1, keepdim=True) / area * normal
    sides = [(torch.linalg.cross(q - p, foot - p) * normal).sum(-1) for p, q in ((a, b), (b, c), (c, a))]
    inside = torch.stack(sides).ge(0).all(0)
    near = torch.stack(edges)
    best = (near - points).square().sum(-1).argmin(0)
    on_edge = near.gather(0, best[None, ..., None].expand(1, *points.shape))[0]
    return torch.where(inside[..., None], foot, on_edge)


def _nearest_on_segment(points: Tensor, start: Tensor, end: Tensor) -> Tensor:
    along = end - start
    share = ((points - start) * along).sum(-1, keepdim=True) / along.square().sum(-1, keepdim=True).clamp_min(1e-30)
    return start + share.clamp(0, 1) * along


def similarity_between(source: Tensor, target: Tensor, weight: Tensor | None = None) -> Similarity:
    """The least-squares similarity that carries points to their partners (Umeyama 1991)."""
    share = torch.ones(len(source), dtype=torch.float64) if weight is None else weight.double()
    share = (share / share.sum())[:, None]
    source, target = source.double(), target.double()
    from_, to = (share * source).sum(0), (share * target).sum(0)
    spread = (share * (target - to)).T @ (source - from_)
    rotation = roma.special_procrustes(spread)
    assert isinstance(rotation, Tensor)
    scale = float((rotation * spread).sum() / (share * (source - from_) ** 2).sum())
    return Similarity(scale, rotation, to - scale * rotation @ from_)


def lay_over(clouds: Sequence[Tensor], surfaces: Sequence[Surface], start: Similarity) -> Similarity:
    """One similarity for all frames that brings each frame's points onto its surface: point-to-plane ICP.

    Args:
        clouds: (points, 3) a frame.
        surfaces: the other head's, one a frame.
        start: a first guess.
    """
    each = max(1, _ICP_POINTS // len(clouds))
    thinned = [cloud[torch.linspace(0, len(cloud) - 1, min(each, len(cloud))).long()].double() for cloud in clouds]
    found = start
    for _ in range(_ROUNDS):
        moved = [found(cloud) for cloud in thinned]
        near = [surface.nearest(points) for surface, points in zip(surfaces, moved, strict=True)]
        points, foot, normal = torch.cat(moved), torch.cat([n[0] for n in near]), torch.cat([n[1] for n in near])
        step = _point_to_plane(points, foot, normal)
        found = Similarity(step.scale * found.scale, step.rotation @ found.rotation, step(found.translation[None])[0])
        if abs(step.scale - 1) < 1e-5 and float((step.rotation.diagonal() - 1).abs().max()) < 1e-10:
            break
    return found


def _point_to_plane(points: Tensor, foot: Tensor, normal: Tensor) -> Similarity:
    """One Gauss-Newton step over turn, shift and growth, about the points' centre."""
    centre = points.mean(0)
    arms = points - centre
    columns = torch.cat([torch.linalg.cross(arms, normal), normal, (arms * normal).sum(1, keepdim=True)], dim=1)
    solved = torch.linalg.lstsq(columns, ((foot - points) * normal).sum(1)).solution
    rotation, scale = roma.rotvec_to_rotmat(solved[:3]), 1 + float(solved[6])
    return Similarity(scale, rotation, centre + solved[3:6] - scale * rotation @ centre)
