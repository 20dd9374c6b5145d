"""Which part of a scan's mesh is face: landmarks projected back onto it, its frame, a crop, hair left out
(paper 1, section 3.1)."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import invert, transform
from headstudio.render.closest import SurfaceIndex
from headstudio.render.normals import vertex_normals
from headstudio.render.rasterise import rasterise
from headstudio.scan.registration_config import CropConfig
from headstudio.tracking.observations import OUTER_EYE_CORNERS, OVAL
from headstudio.tracking.surface import sample

_LOWER = (152, 17, 0, 164, 2)
"""Chin, lips and the root of the nose, which lie below the eyes."""
_SKIN = (50, 101, 118, 205, 280, 330, 347, 425, 4, 5, 195, 197)
"""Landmarks on cheeks and the ridge of the nose."""
_SKIN_REACH = 0.12
"""Distance from one of them, over the face's height, within which everything is skin."""
_LEAST_LANDMARKS = 100
_VISIBLE = 0.01
"""Depth over the surface's size within which a vertex is the one that is seen."""
_DEPTH_PX = 384
_DARK = 0.02
_CHROMA, _BRIGHTNESS = 0.02, 0.25
"""Least deviation of skin's chroma and of its brightness, in logarithms: shading is no hair."""


@dataclass(frozen=True)
class Sight:
    """Calibrated pictures of the surface."""

    K_px: Float[Tensor, "views 3 3"]
    T_camera_scan: Float[Tensor, "views 4 4"]
    landmarks_px: Float[Tensor, "views 478 3"]
    """NaN where no face was found."""
    images: Float[Tensor, "views 3 height width"] | None = None
    """sRGB in [0, 1]; without them hair is not told from skin."""


def landmarks_on_mesh(
    surface: SurfaceIndex, sight: Sight, views: Int[Tensor, " chosen"], agreement: float
) -> Float[Tensor, "478 3"]:
    """Where the rays through the landmarks of some views meet the mesh: the median over the views.

    Args:
        agreement: median distance of a landmark's places from their median, beyond which it is NaN.
    """
    places = torch.stack([_back_projected(surface, sight, int(view)) for view in views])
    middle = places.nanmedian(dim=0).values
    spread = (places - middle).norm(dim=-1).nanmedian(dim=0).values
    return torch.where((spread <= agreement)[:, None], middle, torch.nan)


def _back_projected(surface: SurfaceIndex, sight: Sight, view: int) -> Float[Tensor, "478 3"]:
    K, T = sight.K_px[view].double(), invert(sight.T_camera_scan[view].double())
    pixels = sight.landmarks_px[view, :, :2].double()
    rays = torch.cat([pixels, torch.ones_like(pixels[:, :1])], dim=1) @ torch.linalg.inv(K).T @ T[:3, :3].T
    origins = T[:3, 3].expand(len(rays), 3)
    return surface.first_hit(origins.float(), rays.float()).positions


@dataclass(frozen=True)
class FaceFrame:
    """The face's own axes: x to the person's left, y up, z where the nose points."""

    T_face_scan: Float[Tensor, "4 4"]
    height: float
    """Between the upper and the lower end of the oval."""


def face_frame(landmarks: Float[Tensor, "478 3"]) -> FaceFrame:
    """The plane of the face through its landmarks (least squares), its normal being the nose's direction.

    Raises:
        HeadstudioError: where too few landmarks are known.
    """
    known = torch.isfinite(landmarks).all(1)
    # The two corners of the eyes tell left from right, and with them front from back.
    told = bool(known[list(OUTER_EYE_CORNERS)].all() & known[list(_LOWER)].any())
    if int(known.sum()) < _LEAST_LANDMARKS or not told:
        raise HeadstudioError(
            f"{int(known.sum())} of the face's landmarks lie on the mesh",
            next_step="begin or pass where the face looks into the camera, and look at the mesh",
        )
    points = landmarks[known].double()
    middle = points.mean(0)
    normal = torch.linalg.svd(points - middle).Vh[2]
    left = landmarks[OUTER_EYE_CORNERS[1]].double() - landmarks[OUTER_EYE_CORNERS[0]].double()
    upward = landmarks[list(OUTER_EYE_CORNERS)].double().mean(0) - landmarks[list(_LOWER)].double().nanmean(0)
    x = normalize(left - normal * (left @ normal), dim=0)
    normal = normal * torch.sign(torch.linalg.cross(x, upward) @ normal)
    rotation = torch.stack([x, torch.linalg.cross(normal, x), normal])
    T = torch.eye(4, dtype=torch.float64)
    T[:3, :3], T[:3, 3] = rotation, -rotation @ middle
    local = points @ rotation.T
    return FaceFrame(T, float(local[:, 1].max() - local[:, 1].min()))


def face_crop(
    vertices: Float[Tensor, "points 3"], landmarks: Float[Tensor, "478 3"], frame: FaceFrame, config: CropConfig
) -> Bool[Tensor, " points"]:
    """What lies in the box of the landmarks, in front of the plane that cuts the head behind the face."""
    local = transform(frame.T_face_scan, vertices.double())
    known = transform(frame.T_face_scan, landmarks[torch.isfinite(landmarks).all(1)].double())
    low, high = known.amin(0), known.amax(0)
    beside, above, behind = (share * frame.height for share in (config.beside, config.above, config.behind))
    sides = (local[:, 0] > low[0] - beside) & (local[:, 0] < high[0] + beside)
    upright = (local[:, 1] > low[1] - beside) & (local[:, 1] < high[1] + above)
    return sides & upright & (local[:, 2] > -behind)


def vertex_colours(
    vertices: Float[Tensor, "points 3"], triangles: Int[Tensor, "faces 3"], sight: Sight
) -> Float[Tensor, "points 3"]:
    """Mean sRGB of every vertex over the views that see it, by how straight they look at it; NaN where none does."""
    assert sight.images is not None
    normals = vertex_normals(vertices[None].float(), triangles)[0]
    sums, weights = torch.zeros(len(vertices), 3), torch.zeros(len(vertices), 1)
    size = float((vertices.amax(0) - vertices.amin(0)).max())
    height, width = sight.images.shape[-2:]
    for K, T, image in zip(sight.K_px, sight.T_camera_scan, sight.images, strict=True):
        camera = Camera(K[None], width, height)
        local = transform(T, vertices).float()
        pixels = camera.project(local[None])[0][0]
        small = camera.resized(_DEPTH_PX, round(_DEPTH_PX * height / width))
        depth = rasterise(local[None], triangles, small).depth_m[:, None]
        nearest = sample(depth, small.project(local[None])[0])[0, :, 0]
        facing = -(normals @ T[:3, :3].T * normalize(local, dim=1)).sum(1)
        within = (pixels > 0).all(1) & (pixels[:, 0] < width) & (pixels[:, 1] < height)
        seen = within & (local[:, 2] < nearest + _VISIBLE * size) & (facing > 0.2)
        weight = (facing.clamp_min(0).square() * seen)[:, None]
        sums += weight * sample(image[None], pixels[None])[0]
        weights += weight
    return torch.where(weights > 0, sums / weights.clamp_min(1e-9), torch.nan)


def looks_like_hair(
    vertices: Float[Tensor, "points 3"],
    colours: Float[Tensor, "points 3"],
    landmarks: Float[Tensor, "478 3"],
    frame: FaceFrame,
    config: CropConfig,
) -> Bool[Tensor, " points"]:
    """Vertices outside the inner face whose colour is not that of cheeks and nose; what nobody saw is none of them."""
    anchors = landmarks[list(_SKIN)]
    anchors = anchors[torch.isfinite(anchors).all(1)]
    known = torch.isfinite(colours).all(1)
    if not len(anchors):
        return torch.zeros_like(known)
    near = torch.cdist(vertices.float(), anchors.float()).amin(1) < _SKIN_REACH * frame.height
    skin = _logarithms(colours[near & known])
    if len(skin) < 10:
        return torch.zeros_like(known)
    middle = skin.median(dim=0).values
    least = torch.tensor([_CHROMA, _CHROMA, _BRIGHTNESS])
    spread = (1.4826 * (skin - middle).abs().median(dim=0).values).maximum(least)
    strange = ((_logarithms(colours) - middle) / spread).norm(dim=1) > config.hair
    return strange & known & ~_inner_face(vertices, landmarks, frame, config.inner)


def _logarithms(colours: Tensor) -> Tensor:
    red, green, blue = (colours.nan_to_num(0.0) + _DARK).log().unbind(1)
    return torch.stack([red - green, green - blue, (red + green + blue) / 3], dim=1)


def _inner_face(vertices: Tensor, landmarks: Tensor, frame: FaceFrame, share: float) -> Tensor:
    """Inside the oval of the face as the nose sees it, drawn in to a share of its size."""
    oval = landmarks[list(OVAL)]
    oval = transform(frame.T_face_scan, oval[torch.isfinite(oval).all(1)].double())[:, :2]
    if len(oval) < 3:
        return torch.zeros(len(vertices), dtype=torch.bool)
    middle = oval.mean(0)
    outline = cv2.convexHull(((oval - middle) * share + middle).numpy().astype(np.float32))[:, 0]
    sides = torch.from_numpy(outline).double()
    edges = sides.roll(-1, 0) - sides
    offset = transform(frame.T_face_scan, vertices.double())[:, None, :2] - sides
    turns = edges[:, 0] * offset[..., 1] - edges[:, 1] * offset[..., 0]
    return (turns >= 0).all(1) | (turns <= 0).all(1)
