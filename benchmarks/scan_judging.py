"""How near a surface comes to a true face: points of the truth, one similarity, distances, and pictures."""

from dataclasses import dataclass

import numpy as np
import roma
import torch
from scipy.spatial import KDTree
from torch import Tensor
from torch.nn.functional import normalize

from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import from_rotation, transform
from headstudio.heads.base import HeadModel
from headstudio.render.closest import SurfaceIndex
from headstudio.render.rasterise import rasterise
from headstudio.scan.fitting import fitted_skin
from headstudio.synth.rigid import RigidMesh
from scan_films import SIZE_PX, Filmed
from tracking_surface import Similarity, Surface, lay_over, similarity_between

SAMPLES = 20000
_EVERY = 3
"""Every third frame of a film says what it sees."""
_ABOUT = 0.03
"""Of the head's height: what is farther from the true face's points belongs to something else."""
_HIDDEN_M = 0.001
"""A point this far behind what a camera sees is hidden from it."""


@dataclass(frozen=True)
class TrueFace:
    """A true head and the part of it that is judged, in the head frame of its film."""

    vertices_m: Tensor
    triangles: Tensor
    points_m: Tensor
    """Spread evenly over the face, where two cameras of the film see it at least."""
    height_m: float
    """From the chin to the crown."""


class ExactSurface(Surface):
    """The same questions for triangles of any size, as meshers leave them."""

    def __init__(self, vertices: Tensor, triangles: Tensor) -> None:
        self._index = SurfaceIndex(vertices.float(), triangles)

    def nearest(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Nearest surface points (points, 3) and the normals there."""
        found = self._index.nearest(points.float())
        return found.positions.double(), self._index.normals[found.triangle].double()


def true_face(
    vertices_m: Tensor, triangles: Tensor, face: Tensor, height_m: float, film: Filmed, hair: RigidMesh | None = None
) -> TrueFace:
    """The face's points that the film sees from two sides at least.

    Args:
        face: (triangles,) whether it belongs to the face.
        hair: what else may hide it.
    """
    whole = vertices_m, triangles.long()
    if hair is not None:
        whole = torch.cat([vertices_m, hair.points_m]), torch.cat([whole[1], hair.triangles.long() + len(vertices_m)])
    points = spread(vertices_m, triangles[face], 4 * SAMPLES)
    camera = Camera(film.K_px, SIZE_PX, SIZE_PX)
    seen = times_seen(points, *whole, film.T_camera_head[::_EVERY], camera) >= 2
    return TrueFace(vertices_m, triangles, points[seen][:SAMPLES], height_m)


def skin_triangles(head: HeadModel) -> Tensor:
    """Triangles of a head model's outside."""
    skin = fitted_skin(head) | head.region("ears", "neck", "scalp")
    skin &= ~head.region("eyelashes", "eyeballs", "teeth", "tongue", "mouth_cavity")
    return head.triangles[skin[head.triangles].all(1)]


def spread(vertices_m: Tensor, triangles: Tensor, count: int) -> Tensor:
    """Points drawn evenly over a surface, (count, 3); always the same."""
    corners = vertices_m[triangles.long()]
    areas = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1)
    generator = torch.Generator().manual_seed(0)
    chosen = torch.multinomial(areas, count, replacement=True, generator=generator)
    share = torch.rand(len(chosen), 2, generator=generator)
    share = torch.where(share.sum(1, keepdim=True) > 1, 1 - share, share)
    a, b, c = corners[chosen].unbind(1)
    return a + share[:, :1] * (b - a) + share[:, 1:] * (c - a)


def times_seen(points_m: Tensor, vertices_m: Tensor, triangles: Tensor, poses: Tensor, camera: Camera) -> Tensor:
    """In how many of the views each point of a surface is not hidden."""
    times, size = torch.zeros(len(points_m)), torch.tensor([camera.width_px, camera.height_px])
    for T in poses:
        depth = rasterise(transform(T, vertices_m)[None], triangles, camera).depth_m[0]
        places, own = camera.project(transform(T, points_m))
        column, row = places.long().clamp_min(0).minimum(size - 1).unbind(1)
        within = ((places >= 0) & (places < size)).all(1)
        times += within & (own < depth[row, column] + _HIDDEN_M)
    return times


def from_cameras(true: Tensor, found: Tensor) -> Similarity:
    """From the true frame to the found one by where the cameras stand in both (`T_camera_head`, (views, 4, 4))."""
    a, b = (-(T[:, :3, :3].transpose(1, 2) @ T[:, :3, 3:])[..., 0] for T in (true.double(), found.double()))
    return similarity_between(a, b)


def judged(face: TrueFace, vertices: Tensor, triangles: Tensor, start: Similarity) -> tuple[dict, Similarity]:
    """Distances from the true face's points to a surface in percent of the head's height, after the similarity that
    brings them nearest to it, and from there back; the angle between both normals; and that similarity. As `unmoved`,
    before it."""
    surface, scores = ExactSurface(vertices, triangles), {}
    nearest = lay_over([face.points_m], [surface], start)
    for name, onto in (("", nearest), ("unmoved_", start)):
        distance = surface.distance(onto(face.points_m.double())) / onto.scale
        percent = 100 * distance / face.height_m
        scores |= {
            f"{name}median": round(float(percent.median()), 3),
            f"{name}p95": round(float(percent.quantile(0.95)), 3),
            f"{name}max": round(float(percent.max()), 3),
        }
    true = ExactSurface(face.vertices_m, face.triangles).nearest(face.points_m)[1] @ nearest.rotation.T
    cosine = (surface.nearest(nearest(face.points_m.double()))[1] * true).sum(1).clamp(-1, 1)
    back = 100 * _back(face, inverse(nearest, vertices), triangles) / face.height_m
    return scores | {
        "back_median": round(float(back.median()), 3),
        "back_p95": round(float(back.quantile(0.95)), 3),
        "normals_deg": round(float(torch.rad2deg(cosine.arccos()).median()), 1),
    }, nearest


def _back(face: TrueFace, vertices_m: Tensor, triangles: Tensor) -> Tensor:
    """Distances to the truth from points spread over the part of a surface that lies about the true face: a rough
    surface passes near every true point, but not all of it is near the truth."""
    reach = _ABOUT * face.height_m
    tree = KDTree(face.points_m.numpy())
    corners = vertices_m[triangles.long()]
    near = tree.query(corners.reshape(-1, 3).numpy(), distance_upper_bound=2 * reach)[0].reshape(-1, 3) < np.inf
    points = spread(vertices_m, triangles[torch.from_numpy(near.any(1))], 2 * SAMPLES)
    about = torch.from_numpy(tree.query(points.numpy(), distance_upper_bound=reach)[0] < np.inf)
    return ExactSurface(face.vertices_m, face.triangles).distance(points[about])


def inverse(onto: Similarity, points: Tensor) -> Tensor:
    """Points of the found frame in the true one."""
    return ((points.double() - onto.translation) @ onto.rotation / onto.scale).float()


def sheet(face: TrueFace, found: list[tuple[Tensor, Tensor, Similarity]], size_px: int) -> Tensor:
    """A picture (height, width, 3): truth and surfaces side by side, from before and from aside; below, tinted by their
    distance to the truth, red from 1 % of the head's height on."""
    eye, near, wide = face.points_m.mean(0), 3.0 * face.height_m, 1.35 * face.height_m
    camera = Camera.from_focal(size_px * near / wide, size_px, size_px)
    truth = ExactSurface(face.vertices_m, face.triangles)
    meshes = [(face.vertices_m, face.triangles), *((inverse(onto, v), t) for v, t, onto in found)]
    columns = []
    for vertices, triangles in meshes:
        percent = (100 * truth.distance(vertices) / face.height_m).float().clamp(0, 1)
        tints = torch.stack([torch.ones_like(percent), 1 - percent, 1 - percent], 1)
        grey = torch.full_like(tints, 0.8)
        views = [(grey, 0.0), (grey, 0.9), (tints, 0.0)]
        columns.append(torch.cat([clay(vertices, triangles, c, _before(eye, yaw, near), camera) for c, yaw in views]))
    return torch.cat(columns, 1)


def _before(point: Tensor, yaw_rad: float, distance_m: float) -> Tensor:
    """A camera that looks at a point of the head frame from its front, turned to its side."""
    turn = roma.euler_to_rotmat("Y", torch.tensor([yaw_rad], dtype=torch.float32))
    rotation = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ turn
    return from_rotation(rotation, torch.tensor([0.0, 0.0, distance_m]) - rotation @ point)


def clay(vertices_m: Tensor, triangles: Tensor, colours: Tensor, T: Tensor, camera: Camera) -> Tensor:
    """A picture (height, width, 3) of a mesh under one light, flat; one colour a vertex."""
    points, triangles = transform(T, vertices_m), triangles.long()
    fragments = rasterise(points[None], triangles, camera)
    corners = points[triangles]
    normals = normalize(torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    light = normalize(torch.tensor([-0.5, -0.6, -0.7]), dim=0)
    shade = 0.15 + 0.85 * (normals @ light).clamp_min(0)
    painted = colours[triangles].mean(1) * shade[:, None]
    index = fragments.triangle[0].long()
    return torch.where(index[..., None] >= 0, painted[index.clamp_min(0)], 1.0)
