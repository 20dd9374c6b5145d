"""Points of the surface in the pictures: where they are chosen, whether they are seen, what colour lies there."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import conv2d, grid_sample, interpolate, normalize, pad

from headstudio.geometry.camera import Camera
from headstudio.heads.base import HeadModel
from headstudio.records.capture import Capture
from headstudio.render.colour import srgb_to_linear
from headstudio.render.normals import vertex_normals
from headstudio.render.rasterise import rasterise
from headstudio.tracking.points import FrameState, articulation

_COMPARED = ("face", "lips", "eyelids", "nose")
_IGNORED = ("mouth_cavity", "teeth", "tongue", "eyelashes", "eyeballs", "neck", "scalp")
_DETAILED = ("lips", "eyelids")
_DETAIL = 3.0
"""How much denser lips and lids are sampled: small, and what one looks at."""
_HIDDEN_M = 0.008
"""A point this far behind the nearest surface is hidden."""
_GRAZING = 0.25
"""Cosine to the viewing direction below which a point is not looked at."""
_DEPTH_SIZE_PX = 96
_DARK = 0.02
"""Linear light that is added before the logarithm, so that noise in the dark stays noise."""
_SURROUNDINGS = 0.02
"""Standard deviation of the neighbourhood that counts as surroundings, over the side of the picture."""


@dataclass(frozen=True)
class SurfacePoints:
    """Barycentric places on the triangles of a mesh."""

    corners: Int[Tensor, "points 3"]
    barycentric: Float[Tensor, "points 3"]

    def gather(self, table: Float[Tensor, "batch vertices channels"]) -> Float[Tensor, "batch points channels"]:
        """Vertex values at the points."""
        parts = (table[:, self.corners[:, c]] * self.barycentric[:, c, None] for c in range(3))
        first, second, third = parts
        return first + second + third


def skin_points(head: HeadModel, count: int, seed: int) -> SurfacePoints:
    """Random points on the skin of the face, evenly by area, denser on lips and lids."""
    compared = head.region(*_COMPARED) & ~head.region(*_IGNORED)
    return points_on(head, compared, count, seed, denser=head.region(*_DETAILED))


def points_on(
    head: HeadModel,
    region: Bool[Tensor, " vertices"],
    count: int,
    seed: int,
    denser: Bool[Tensor, " vertices"] | None = None,
) -> SurfacePoints:
    """Random points on the triangles of a region, evenly by area.

    Args:
        denser: vertices between which points lie closer.
    """
    triangles = head.data.triangles
    corners = head.template_m[triangles]
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1)
    chance = area * region[triangles].all(1)
    if denser is not None:
        chance = chance * torch.where(denser[triangles].all(1), _DETAIL, 1.0)
    draw = torch.Generator().manual_seed(seed)
    chosen = torch.multinomial(chance, count, replacement=True, generator=draw)
    # Folding the unit square's diagonal gives even barycentric coordinates.
    a, b = torch.rand(2, count, generator=draw).unbind(0)
    a, b = torch.where(a + b > 1, 1 - a, a), torch.where(a + b > 1, 1 - b, b)
    return SurfacePoints(triangles[chosen], torch.stack([1 - a - b, a, b], dim=1))


@dataclass(frozen=True)
class SeenSurface:
    """The points of some frames."""

    camera_m: Float[Tensor, "frames points 3"]
    normals: Float[Tensor, "frames points 3"]
    """Unit, in camera axes."""
    weight: Float[Tensor, "frames points"]
    """0 where hidden or seen at a grazing angle, up to 1 where it faces the camera."""


def look(
    head: HeadModel, neutral_m: Float[Tensor, "1 vertices 3"], points: SurfacePoints, states: FrameState, camera: Camera
) -> SeenSurface:
    """Pose the whole head and see which of the points are visible.

    Args:
        camera: of the frames, at any resolution.
    """
    posed = head.pose(neutral_m, articulation(states))
    camera_m = posed @ states.rotation.transpose(1, 2) + states.translation_m[:, None]
    triangles = head.data.triangles
    small = camera.resized(_DEPTH_SIZE_PX, _DEPTH_SIZE_PX)
    depth_m = rasterise(camera_m, triangles, small).depth_m
    there = points.gather(camera_m)
    normals = normalize(points.gather(vertex_normals(camera_m, triangles)), dim=-1)
    facing = -(normals * normalize(there, dim=-1)).sum(-1)
    nearest = sample(depth_m[:, None], small.project(there)[0])[..., 0]
    shown = (facing > _GRAZING) & (nearest > 0) & (there[..., 2] < nearest + _HIDDEN_M)
    return SeenSurface(there, normals, facing.clamp(0, 1) * shown)


def sample(
    images: Float[Tensor, "frames channels height width"], pixels: Float[Tensor, "frames points 2"]
) -> Float[Tensor, "frames points channels"]:
    """Bilinear look-up with pixel centres at +0.5; border colours continue."""
    height, width = images.shape[-2:]
    grid = 2 * pixels / pixels.new_tensor([width, height]) - 1
    found = grid_sample(images, grid[:, :, None], mode="bilinear", padding_mode="border", align_corners=False)
    return found[..., 0].transpose(1, 2)


def load_frames(capture: Capture, frames: Tensor, size_px: int, view: int = 0) -> Float[Tensor, "frames 3 size size"]:
    """Stored frames reduced by averaging, sRGB in [0, 1]."""
    pictures = [
        interpolate(capture.image(int(frame), view)[None].float(), (size_px, size_px), mode="area") for frame in frames
    ]
    return torch.cat(pictures) / 255


def local_contrast(images: Float[Tensor, "frames 3 height width"]) -> Float[Tensor, "frames 3 height width"]:
    """What is brighter and what is darker than its surroundings, as logarithms of linear light.

    Light changes slowly over a face and drops out: shading, soft shadows and exposure stay where the lamp is while
    the head turns, and would hold the head back.
    """
    logarithm = (srgb_to_linear(images) + _DARK).log()
    return logarithm - _blurred(logarithm, _SURROUNDINGS * images.shape[-1])


def _blurred(images: Tensor, deviation_px: float) -> Tensor:
    reach = math.ceil(2.5 * deviation_px)
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / deviation_px) ** 2)
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, 1, -1)
    groups = images.shape[1]
    across = conv2d(pad(images, (reach, reach, 0, 0), mode="replicate"), kernel, groups=groups)
    return conv2d(pad(across, (0, 0, reach, reach), mode="replicate"), kernel.transpose(2, 3), groups=groups)


def slopes(
    images: Float[Tensor, "frames channels height width"],
) -> Float[Tensor, "frames channels*2 height width"]:
    """Central differences along x for every channel, then along y."""
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
    x = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    y = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    return torch.cat([x, y], dim=1)
