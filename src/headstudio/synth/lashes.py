"""Eyelashes as single hairs that hang on the head model's lash strips, so that they follow the lids."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from headstudio.heads.base import HeadModel
from headstudio.synth.fields import Anatomy, edges

_SPACING_RAD, _WIDTH_RAD, _FAN = 0.045, 0.013, 1.18
"""Angle between neighbouring hairs, half angle of a root (both from the eyeball's centre), spread of the tips."""


@dataclass(frozen=True)
class Lashes:
    """Points that are fixed mixtures of two vertices of the posed head."""

    vertices: Int[Tensor, "points 2"]
    weights: Float[Tensor, "points 2"]
    triangles: Int[Tensor, "triangles 3"]

    def points(self, posed_m: Float[Tensor, "vertices 3"]) -> Float[Tensor, "points 3"]:
        """Where the lashes are on a posed head."""
        return (posed_m[self.vertices] * self.weights[..., None]).sum(1)


def grow_lashes(head: HeadModel, neutral_m: Float[Tensor, "vertices 3"], anatomy: Anatomy, seed: int) -> Lashes | None:
    """One hair every few degrees along every lash strip; None for a head without strips."""
    strips = _strips(head)
    if not strips:
        return None
    generator = np.random.default_rng([seed, 6])
    parts = [_strip_hairs(strip, neutral_m, anatomy, generator) for strip in strips]
    vertices, weights = (torch.cat(columns) for columns in zip(*parts, strict=True))
    return Lashes(vertices, weights, torch.arange(len(vertices)).reshape(-1, 3).int())


def _strips(head: HeadModel) -> list[Tensor]:
    """Vertex indices of each connected piece of the lash region."""
    inside = head.region("eyelashes")
    if not bool(inside.any()):
        return []
    links = edges(head.triangles)
    links = links[inside[links].all(-1)].numpy()
    graph = coo_matrix((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(head.vertices, head.vertices))
    pieces = torch.from_numpy(connected_components(graph, directed=False)[1])
    return [(pieces == piece).nonzero()[:, 0] for piece in torch.unique(pieces[inside])]


def _strip_hairs(
    strip: Tensor, neutral_m: Tensor, anatomy: Anatomy, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    points = neutral_m[strip]
    centre = anatomy.eye_centre_m[(anatomy.eye_centre_m - points.mean(0)).norm(dim=-1).argmin()]
    ray = points - centre
    azimuth, height = torch.atan2(ray[:, 0], ray[:, 2]), ray.norm(dim=-1)
    # The strip is two or more rows of vertices: the lowest fifth over the eyeball are roots, the highest fifth tips.
    roots, tips = _row(azimuth, height, -1.0), _row(azimuth, height, 1.0)
    low, high = float(azimuth[roots].amin()), float(azimuth[roots].amax())
    middle = (low + high) / 2
    places = torch.arange(low + _WIDTH_RAD, high - _WIDTH_RAD, _SPACING_RAD)
    places = places + torch.from_numpy(generator.normal(0.0, 0.25 * _SPACING_RAD, len(places))).float()
    fanned = middle + (places - middle) * _FAN
    corners = [
        _between(azimuth, roots, places - _WIDTH_RAD),
        _between(azimuth, roots, places + _WIDTH_RAD),
        _between(azimuth, tips, fanned),
    ]
    vertices = torch.stack([strip[chosen] for chosen, _ in corners], dim=1).reshape(-1, 2)
    return vertices, torch.stack([weights for _, weights in corners], dim=1).reshape(-1, 2)


def _row(azimuth: Tensor, height: Tensor, sign: float) -> Tensor:
    """Indices of the lowest (-1) or highest (1) vertices of each stretch of the strip, in order along it."""
    bins = ((azimuth - azimuth.amin()) / (azimuth.amax() - azimuth.amin() + 1e-6) * 9).long()
    chosen = [(torch.where(bins == place, sign * height, -torch.inf)).argmax() for place in torch.unique(bins)]
    row = torch.stack(chosen)
    return row[azimuth[row].argsort()]


def _between(azimuth: Tensor, row: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """The two vertices of a row around each place, and their weights."""
    along = azimuth[row].contiguous()
    right = torch.searchsorted(along, places).clamp(1, len(row) - 1)
    share = ((places - along[right - 1]) / (along[right] - along[right - 1])).clamp(0.0, 1.0)
    return torch.stack([row[right - 1], row[right]], dim=-1), torch.stack([1.0 - share, share], dim=-1)
