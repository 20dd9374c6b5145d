"""From detected pixels to places on the surface: back-projection, robust averaging, symmetry, trust."""

from dataclasses import dataclass

import torch
from torch import Tensor

from embedding_pictures import Picture
from headstudio.heads.base import HeadModel

IRISES = slice(468, 478)
INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
SILHOUETTE = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""MediaPipe's face oval: the detector puts these on the visible outline, wherever that lies on the head."""
_SILHOUETTE_WEIGHT = 0.1
_SEARCH_PX = 6
"""How far from a landmark the right part of the head is looked for: detections at lids and lips fall over the edge."""
_LEAST_FACING = 0.35
_TRUSTED_SPREAD_M = 0.003
_LEAST_SIGHTINGS = 12


@dataclass(frozen=True)
class Sightings:
    """Where each landmark was seen on the surface, one row a picture."""

    triangle: Tensor
    """(pictures, 478) index among the head's triangles, -1 where it was not on the surface"""
    barycentric: Tensor
    """(pictures, 478, 3)"""
    to_camera: Tensor
    """(pictures, 3) direction from the head to the camera, in the head's frame"""
    mouth_open: Tensor
    """(pictures,)"""

    @classmethod
    def joined(cls, parts: "list[Sightings]") -> "Sightings":
        """Several pictures' sightings as one."""
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


def back_project(picture: Picture, points_px: Tensor, regions: dict[str, Tensor]) -> Sightings:
    """The nearest surface points of the right part (eyeball for irises, skin for the rest) around every landmark.

    Args:
        picture: what was shown to the detector.
        points_px: (478, 2).
        regions: vertex masks of the head.
    """
    triangle, barycentric = picture.fragments.triangle[0], picture.fragments.barycentric[0]
    seen = (triangle >= 0) & (picture.facing > _LEAST_FACING)
    is_ball = regions["eyeballs"][picture.triangles].all(1)[triangle.clamp_min(0)]
    inner = regions["teeth"] | regions["tongue"] | regions["eyeballs"] | (regions["mouth_cavity"] & ~regions["lips"])
    is_skin = ~inner[picture.triangles].any(1)[triangle.clamp_min(0)]
    rows = torch.full((1, len(points_px)), -1), torch.zeros(1, len(points_px), 3)
    for landmark, point in enumerate(points_px):
        right_part = seen & (is_ball if landmark >= IRISES.start else is_skin)
        place = _nearest_pixel(right_part, point)
        if place is not None:
            rows[0][0, landmark] = picture.drawn[triangle[place]]
            rows[1][0, landmark] = barycentric[place]
    return Sightings(*rows, picture.to_camera[None], torch.tensor([picture.mouth_open]))


def embed(head: HeadModel, sightings: Sightings, mirror: Tensor) -> dict[str, Tensor]:
    """Triangle, barycentric coordinates and trust of every landmark.

    Args:
        head: the head.
        sightings: where its landmarks were seen.
        mirror: (478,) mirror image of every landmark.
    """
    points, usable, to_camera = _symmetric_sightings(head, sightings, mirror)
    centre, spread = _average(points, usable)
    places = _places(head, centre)
    # Now that it is roughly known where a landmark lies, only the views count that see its place well.
    normals = _normals(head)[places[0]]
    usable &= (to_camera[:, None] * normals).sum(-1) > _LEAST_FACING
    centre, spread = _average(points, usable)
    triangle, barycentric = _places(head, centre)
    weight = 1 / (1 + (spread / _TRUSTED_SPREAD_M) ** 2)
    weight[list(SILHOUETTE)] *= _SILHOUETTE_WEIGHT
    return {"triangle": triangle, "barycentric": barycentric, "weight": weight / weight.max(), "spread_m": spread}


def _symmetric_sightings(head: HeadModel, sightings: Sightings, mirror: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Points on the mean head, whether they count, and the view of each row; every sighting again mirrored."""
    corners = head.template_m[head.triangles[sightings.triangle.clamp_min(0)]]
    points = (corners * sightings.barycentric[..., None]).sum(2)
    usable = sightings.triangle >= 0
    # A closed mouth hides on which lip an inner landmark lies.
    usable[:, list(INNER_LIPS)] &= sightings.mouth_open[:, None]
    flip = torch.tensor([-1.0, 1.0, 1.0])
    view = sightings.to_camera
    both = torch.cat([points, points[:, mirror] * flip]), torch.cat([usable, usable[:, mirror]])
    return *both, torch.cat([view, view * flip])


def _average(points: Tensor, usable: Tensor) -> tuple[Tensor, Tensor]:
    """(478, 3) robust centre and (478,) median distance to it; infinite where there are too few sightings."""
    landmarks = points.shape[1]
    centre, spread = torch.zeros(landmarks, 3), torch.full((landmarks,), torch.inf)
    for landmark in range(landmarks):
        chosen = points[usable[:, landmark], landmark]
        if len(chosen) >= _LEAST_SIGHTINGS:
            centre[landmark] = _geometric_median(chosen)
            spread[landmark] = (chosen - centre[landmark]).norm(dim=1).median()
    return centre, spread


def _places(head: HeadModel, centre: Tensor) -> tuple[Tensor, Tensor]:
    """(478,) triangle and (478, 3) barycentric coordinates of the nearest point of the right part."""
    allowed = _parts(head)
    triangle, barycentric = torch.zeros(len(centre), dtype=torch.long), torch.zeros(len(centre), 3)
    for landmark in range(len(centre)):
        faces = allowed["iris" if landmark >= IRISES.start else "skin"]
        nearest, barycentric[landmark] = _closest(centre[landmark], head.template_m[head.triangles[faces]])
        triangle[landmark] = faces[nearest]
    return triangle, barycentric


def _normals(head: HeadModel) -> Tensor:
    corners = head.template_m[head.triangles]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return torch.nn.functional.normalize(normals, dim=1)


def _nearest_pixel(mask: Tensor, point: Tensor) -> tuple[int, int] | None:
    height, width = mask.shape
    column, row = int(point[0]), int(point[1])
    top, left = max(row - _SEARCH_PX, 0), max(column - _SEARCH_PX, 0)
    window = mask[top : min(row + _SEARCH_PX + 1, height), left : min(column + _SEARCH_PX + 1, width)]
    candidates = torch.nonzero(window)
    if not len(candidates):
        return None
    centres = candidates.flip(1) + torch.tensor([left + 0.5, top + 0.5])
    best = candidates[(centres - point).norm(dim=1).argmin()]
    return int(best[0]) + top, int(best[1]) + left


def _parts(head: HeadModel) -> dict[str, Tensor]:
    regions = head.data.regions
    inner = regions["teeth"] | regions["tongue"] | regions["eyelashes"] | regions["eyeballs"]
    inner = inner | (regions["mouth_cavity"] & ~regions["lips"])
    corners = head.triangles
    return {
        "skin": torch.nonzero(~inner[corners].any(1))[:, 0],
        "iris": torch.nonzero(regions["eyeballs"][corners].all(1))[:, 0],
    }


def _geometric_median(points: Tensor) -> Tensor:
    """Weiszfeld's iteration."""
    centre = points.median(0).values
    for _ in range(30):
        weight = 1 / (points - centre).norm(dim=1).clamp_min(1e-5)
        centre = (points * weight[:, None]).sum(0) / weight.sum()
    return centre


def _closest(point: Tensor, corners: Tensor) -> tuple[int, Tensor]:
    """The triangle with the point nearest to a place, and that point's barycentric coordinates.

    Minimises over each triangle's plane and its three edges, and takes the best that lies inside.
    """
    a, b, c = corners.double().unbind(1)
    p = point.double()
    candidates = [_on_plane(p, a, b, c)]
    for first, second, order in ((a, b, (0, 1, 2)), (b, c, (2, 0, 1)), (c, a, (1, 2, 0))):
        along = ((p - first) * (second - first)).sum(1) / ((second - first) ** 2).sum(1).clamp_min(1e-18)
        along = along.clamp(0, 1)
        edge = torch.stack([1 - along, along, torch.zeros_like(along)], 1)
        candidates.append(edge[:, list(order)])
    best = (torch.inf, 0, torch.zeros(3))
    for barycentric in candidates:
        place = (corners.double() * barycentric[..., None]).sum(1)
        distance = (place - p).norm(dim=1).masked_fill((barycentric < -1e-9).any(1), torch.inf)
        triangle = int(distance.argmin())
        if distance[triangle] < best[0]:
            best = (float(distance[triangle]), triangle, barycentric[triangle].float())
    return best[1], best[2]


def _on_plane(p: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    normal = torch.linalg.cross(b - a, c - a)
    squared = (normal**2).sum(1).clamp_min(1e-24)
    gamma = (torch.linalg.cross(b - a, p - a) * normal).sum(1) / squared
    beta = (torch.linalg.cross(p - a, c - a) * normal).sum(1) / squared
    return torch.stack([1 - beta - gamma, beta, gamma], 1)
