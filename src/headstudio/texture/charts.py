"""Texels and their neighbours on the surface: across the borders of charts as well."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from torch import Tensor

from headstudio.render.mesh import MeshTopology
from headstudio.texture.texels import TexelMap

_STEP_PX = 0.4


@dataclass(frozen=True)
class ChartLinks:
    """The atlas as if its charts went on beyond their borders."""

    target: Int[Tensor, "size size"]
    """Texel (row * size + column) that lies on the surface where this one is: itself on a chart, beyond a seam the one
    on the neighbouring chart; -1 where the surface ends or is too far."""
    chart: Int[Tensor, "size size"]
    """Chart that the texel lies on or continues, -1 where there is none."""

    @classmethod
    def build(cls, mesh: MeshTopology, texels: TexelMap, reach_px: float) -> "ChartLinks":
        """Link the texels up to `reach_px` beyond the charts' borders."""
        size = texels.mask.shape[0]
        mask = texels.mask.cpu().numpy()
        corners = mesh.uv_triangles.cpu().numpy().astype(np.int64)
        of_uv = _charts(corners, len(mesh.uv))
        own = texels.fragments.triangle[0].cpu().numpy().clip(0)
        chart = np.where(mask, of_uv[corners[own, 0]], -1)
        target = np.where(mask, np.arange(size * size).reshape(size, size), -1)
        seams = _seams(mesh, size)
        if len(seams.start):
            _cross(target, chart, mask, seams, of_uv, reach_px)
        device = texels.mask.device
        return cls(torch.from_numpy(target).to(device), torch.from_numpy(chart).to(device))

    def neighbours(
        self, texels: Int[Tensor, " texels"], offsets: Int[Tensor, "offsets 2"]
    ) -> Int[Tensor, "texels offsets"]:
        """Texels at offsets (rows, columns) on the surface, -1 where there is none."""
        size = self.target.shape[0]
        rows, columns = texels[:, None] // size + offsets[:, 0], texels[:, None] % size + offsets[:, 1]
        inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
        place = rows.clamp(0, size - 1) * size + columns.clamp(0, size - 1)
        same = self.chart.flatten()[place] == self.chart.flatten()[texels][:, None]
        return torch.where(inside & same, self.target.flatten()[place], -1)


@dataclass(frozen=True)
class _Seams:
    """Borders of charts with what lies across; places in texels, `away` points out of the own chart."""

    start: np.ndarray
    along: np.ndarray
    away: np.ndarray
    twin_start: np.ndarray
    twin_along: np.ndarray
    twin_in: np.ndarray
    corner: np.ndarray
    """An atlas point of the own chart."""


def _charts(corners: np.ndarray, count: int) -> np.ndarray:
    edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def _seams(mesh: MeshTopology, size: int) -> _Seams:
    """Pairs of triangle sides that are one edge of the mesh and two of the atlas, each both ways."""
    vertices, points = mesh.triangles.cpu().numpy().astype(np.int64), mesh.uv_triangles.cpu().numpy().astype(np.int64)
    sides = [(0, 1, 2), (1, 2, 0), (2, 0, 1)]
    ends = np.concatenate([vertices[:, [a, b]] for a, b, _ in sides])
    atlas = np.concatenate([points[:, [a, b, c]] for a, b, c in sides])
    flipped = ends[:, 0] > ends[:, 1]
    ends = np.where(flipped[:, None], ends[:, ::-1], ends)
    atlas = np.where(flipped[:, None], atlas[:, [1, 0, 2]], atlas)
    key = ends[:, 0] * (int(vertices.max()) + 1) + ends[:, 1]
    order = np.argsort(key, kind="stable")
    pair = (key[order][1:] == key[order][:-1]).nonzero()[0]
    first, second = atlas[order[pair]], atlas[order[pair + 1]]
    torn = (first[:, :2] != second[:, :2]).any(1)
    own = np.concatenate([first[torn], second[torn]])
    twin = np.concatenate([second[torn], first[torn]])
    uv = mesh.uv.detach().cpu().numpy().astype(np.float64) * size
    along, twin_along = uv[own[:, 1]] - uv[own[:, 0]], uv[twin[:, 1]] - uv[twin[:, 0]]
    away = -_towards(uv[own[:, 2]] - uv[own[:, 0]], along)
    inwards = _towards(uv[twin[:, 2]] - uv[twin[:, 0]], twin_along)
    return _Seams(uv[own[:, 0]], along, away, uv[twin[:, 0]], twin_along, inwards, own[:, 0])


def _towards(side: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Unit normal of an edge on the side where `side` points."""
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
    normal *= np.sign((normal * side).sum(1, keepdims=True))
    return normal / np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-9)


def _cross(
    target: np.ndarray, chart: np.ndarray, mask: np.ndarray, seams: _Seams, of_uv: np.ndarray, reach_px: float
) -> None:
    """Fill in what lies beyond the seams."""
    length = np.linalg.norm(seams.along, axis=1)
    count = np.ceil(length / _STEP_PX).astype(int) + 1
    edge = np.repeat(np.arange(len(count)), count)
    share = (np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)) / np.repeat(count, count)
    tree = KDTree(seams.start[edge] + share[:, None] * seams.along[edge])
    row, column = (~mask).nonzero()
    places = np.stack([column, row], axis=1) + 0.5
    distance, nearest = tree.query(places, distance_upper_bound=reach_px)
    found = np.isfinite(np.asarray(distance))
    row, column, places, edge = row[found], column[found], places[found], edge[np.asarray(nearest)[found]]
    offset = places - seams.start[edge]
    square = (length[edge] ** 2).clip(1e-9)
    along = ((offset * seams.along[edge]).sum(1) / square)[:, None]
    beyond = (offset * seams.away[edge]).sum(1, keepdims=True)
    scale = np.linalg.norm(seams.twin_along[edge], axis=1, keepdims=True) / np.sqrt(square)[:, None]
    there = seams.twin_start[edge] + along * seams.twin_along[edge] + beyond * scale * seams.twin_in[edge]
    size = len(mask)
    cell = np.floor(there).astype(int)
    good = ((cell >= 0) & (cell < size)).all(1) & (beyond[:, 0] >= 0)
    cell = cell.clip(0, size - 1)
    good &= mask[cell[:, 1], cell[:, 0]]
    target[row[good], column[good]] = cell[good, 1] * size + cell[good, 0]
    chart[row[good], column[good]] = of_uv[seams.corner[edge[good]]]
