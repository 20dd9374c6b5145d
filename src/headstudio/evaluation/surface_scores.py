"""How far a reconstructed surface is from the true one: distances after one similarity a sequence, and normals.

The distance is one-sided, from the prediction to the truth, as in table 1 of Grassal et al. 2022 ("single-sided
Hausdorff distance"): what was not reconstructed at all is not held against it. Their figure is the mean over the
surface and the frames; the largest distance, which the word means elsewhere, is told beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import roma
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera
from headstudio.render.closest import SurfaceIndex
from headstudio.render.normals import vertex_normals
from headstudio.render.rasterise import interpolate, rasterise

_ROUNDS = 30
_STILL = 1e-7
"""A step of the alignment that turns, grows and (in metres) shifts by less is the last."""
_FARTHEST = 1.5
"""Growth at which a prediction is no reconstruction."""
_TRIED = 20
"""Scales that are tried on each side of 1."""
_ALIGNED_FRAMES = 12
"""Frames, spread over the sequence, from which its similarity is found."""


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation @ x + translation."""

    scale: float
    rotation: Float[Tensor, "3 3"]
    translation_m: Float[Tensor, "3"]

    @classmethod
    def identity(cls) -> "Similarity":
        """What leaves points where they are."""
        return cls(1.0, torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))

    def __call__(self, points_m: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """The points elsewhere, float64."""
        return self.scale * points_m.double() @ self.rotation.T + self.translation_m


@dataclass(frozen=True)
class SurfaceSample:
    """Places spread evenly over a part of a mesh, the same in all frames."""

    corners: Int[Tensor, "places 3"]
    barycentric: Float[Tensor, "places 3"]

    @classmethod
    def spread(
        cls,
        vertices_m: Float[Tensor, "vertices 3"],
        triangles: Int[Tensor, "triangles 3"],
        region: Bool[Tensor, " triangles"],
        count: int,
        seed: int = 0,
    ) -> "SurfaceSample":
        """Random places on a region, evenly by area.

        Args:
            vertices_m: of one pose, whose areas count.
            region: triangles that are measured.
        """
        inside = triangles[region].long()
        a, b, c = vertices_m[inside].double().unbind(1)
        area = torch.linalg.cross(b - a, c - a).norm(dim=1)
        if not bool((area > 0).any()):
            raise HeadstudioError("the region that is measured has no surface", next_step="name another region")
        draw = torch.Generator().manual_seed(seed)
        chosen = torch.multinomial(area, count, replacement=True, generator=draw)
        # Folding the unit square's diagonal gives even barycentric coordinates.
        first, second = torch.rand(2, count, generator=draw, dtype=torch.float64).unbind(0)
        beyond = first + second > 1
        first, second = torch.where(beyond, 1 - first, first), torch.where(beyond, 1 - second, second)
        return cls(inside[chosen], torch.stack([1 - first - second, first, second], dim=1))

    def places(self, vertices_m: Float[Tensor, "vertices 3"]) -> Float[Tensor, "places 3"]:
        """Where they are on the mesh of a frame."""
        return (vertices_m.double()[self.corners] * self.barycentric[..., None]).sum(1)


@dataclass(frozen=True)
class RegionDistances:
    """One-sided distances of one region, a number a frame."""

    mean_mm: Float[Tensor, " frames"]
    median_mm: Float[Tensor, " frames"]
    percentile_95_mm: Float[Tensor, " frames"]
    largest_mm: Float[Tensor, " frames"]


@dataclass(frozen=True)
class SequenceDistances:
    """What `sequence_distances` found."""

    similarity: Similarity
    """That laid the prediction of all frames over the truth."""
    regions: Mapping[str, RegionDistances]


def sequence_distances(
    predicted: Callable[[int], Float[Tensor, "vertices 3"]],
    true_surface: Callable[[int], SurfaceIndex],
    frames: Sequence[int],
    regions: Mapping[str, SurfaceSample],
    aligned_by: str | None,
    rigid: bool = False,
) -> SequenceDistances:
    """Distances from the prediction to the truth in every frame, after one similarity for all frames.

    Args:
        predicted: the predicted vertices of a frame, in the truth's frame and unit up to that similarity.
        true_surface: the true surface of a frame.
        regions: places of the prediction that are measured, by name.
        aligned_by: the region whose places find the similarity; None measures without any.
        rigid: leave the scale alone, where it is claimed.
    """
    similarity = Similarity.identity()
    if aligned_by is not None:
        spread = torch.linspace(0, len(frames) - 1, min(_ALIGNED_FRAMES, len(frames))).long().tolist()
        chosen = [frames[index] for index in spread]
        clouds = [regions[aligned_by].places(predicted(frame)) for frame in chosen]
        similarity = align_sequence(clouds, [true_surface(frame) for frame in chosen], rigid)
    rows: dict[str, list[Tensor]] = {name: [] for name in regions}
    for frame in frames:
        vertices, surface = predicted(frame), true_surface(frame)
        for name, sample in regions.items():
            rows[name].append(_summary(distances_m(similarity(sample.places(vertices)), surface)))
    return SequenceDistances(
        similarity, {name: RegionDistances(*torch.stack(values).T) for name, values in rows.items()}
    )


def align_sequence(
    clouds: Sequence[Float[Tensor, "points 3"]], surfaces: Sequence[SurfaceIndex], rigid: bool = False
) -> Similarity:
    """One similarity for all frames that lays each frame's points over its surface, by point-to-plane steps.

    The prediction must lie within a few degrees of the truth, and within centimetres after it grew about the origin, as
    that of one camera does in the camera's axes.

    Raises:
        HeadstudioError: nothing of about the same size was found.
    """
    found = Similarity.identity() if rigid else _grown(clouds, surfaces)
    for _ in range(_ROUNDS):
        moved = [found(cloud) for cloud in clouds]
        near = [surface.nearest(points.float()) for surface, points in zip(surfaces, moved, strict=True)]
        normals = [surface.normals[places.triangle] for surface, places in zip(surfaces, near, strict=True)]
        foot = torch.cat([places.positions for places in near]).double()
        step = _step(torch.cat(moved), foot, torch.cat(normals).double(), rigid)
        found = Similarity(step.scale * found.scale, step.rotation @ found.rotation, step(found.translation_m[None])[0])
        shift = (step(torch.cat(moved)) - torch.cat(moved)).norm(dim=1).amax()
        if float(shift) < _STILL:
            break
    if not 1 / _FARTHEST < found.scale < _FARTHEST:
        raise HeadstudioError(
            f"the surfaces cannot be laid over each other: one would have to grow {found.scale:.2g} times",
            next_step="check that both are told in metres and in the axes of the same camera",
        )
    return found


def _grown(clouds: Sequence[Float[Tensor, "points 3"]], surfaces: Sequence[SurfaceIndex]) -> Similarity:
    """Where to begin: one camera does not tell how large and far a head is, so scales about it are tried."""

    def apart(scale: float) -> float:
        near = [distances_m(scale * cloud.double(), there) for cloud, there in zip(clouds, surfaces, strict=True)]
        return float(torch.cat(near).mean()) / scale  # or else a point on the surface would be best

    growths = [_FARTHEST ** (step / _TRIED) for step in range(-_TRIED + 1, _TRIED)]
    return replace(Similarity.identity(), scale=min(growths, key=apart))


def distances_m(points_m: Float[Tensor, "points 3"], surface: SurfaceIndex) -> Float[Tensor, " points"]:
    """Distance of every point from the surface."""
    return (surface.nearest(points_m.float()).positions - points_m.float()).norm(dim=1)


def normal_angle_deg(
    predicted: Float[Tensor, "batch 3 height width"],
    truth: Float[Tensor, "batch 3 height width"],
    mask: Bool[Tensor, "batch 1 height width"],
) -> Float[Tensor, " batch"]:
    """Mean angle between normals in each frame, over the pixels of the mask where both have one; NaN without any.

    Args:
        predicted: normals in the truth's axes, of any length; 0 where there is no surface.
        truth: likewise.
        mask: the head.
    """
    # The angle by its tangent: acos has no digits left where normals agree.
    sine = torch.linalg.cross(predicted.double(), truth.double(), dim=1).norm(dim=1, keepdim=True)
    cosine = (predicted.double() * truth.double()).sum(1, keepdim=True)
    compared = mask & (predicted.norm(dim=1, keepdim=True) > 0) & (truth.norm(dim=1, keepdim=True) > 0)
    angle = torch.where(compared, torch.rad2deg(torch.atan2(sine, cosine)), 0.0)
    return (angle.sum((1, 2, 3)) / compared.sum((1, 2, 3))).to(predicted.dtype)


def camera_normals(
    vertices_camera_m: Float[Tensor, "batch vertices 3"], triangles: Int[Tensor, "triangles 3"], camera: Camera
) -> Float[Tensor, "batch 3 height width"]:
    """Smooth unit normals at the middle of every pixel, in camera axes; 0 where there is no surface.

    Args:
        triangles: those that are drawn, as the part of a mesh that is judged.
    """
    fragments = rasterise(vertices_camera_m, triangles, camera)
    return normalize(interpolate(fragments, vertex_normals(vertices_camera_m, triangles), triangles), dim=1)


def _summary(distance_m: Float[Tensor, " points"]) -> Float[Tensor, "4"]:
    values = distance_m.double()
    middle, late = torch.quantile(values, torch.tensor([0.5, 0.95], dtype=torch.float64))
    return 1000 * torch.stack([values.mean(), middle, late, values.amax()])


def _step(points: Tensor, foot: Tensor, normal: Tensor, rigid: bool) -> Similarity:
    """One Gauss-Newton step over turn, shift and growth, about the points' centre."""
    centre = points.mean(0)
    arms = points - centre
    columns = [torch.linalg.cross(arms, normal), normal]
    if not rigid:
        columns.append((arms * normal).sum(1, keepdim=True))
    rows, wanted = torch.cat(columns, dim=1), ((foot - points) * normal).sum(1)
    # A little damping leaves alone what the points do not tell, as the turn of a sphere.
    size = arms.square().sum(1).mean().sqrt()
    weight = torch.cat([size.expand(3), torch.ones(3).to(size), size.expand(0 if rigid else 1)])
    balance = torch.diag(weight.square() * (1e-6 * len(points)))
    solved = torch.linalg.solve(rows.T @ rows + balance, rows.T @ wanted)
    rotation, scale = roma.rotvec_to_rotmat(solved[:3]), 1.0 if rigid else 1 + float(solved[6])
    return Similarity(scale, rotation, centre + solved[3:6] - scale * rotation @ centre)
