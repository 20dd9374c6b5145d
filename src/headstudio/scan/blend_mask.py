"""Where a dynamic texture goes over the static one: eyes and mouth in the head's atlas (paper 1, section 3.1)."""

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headstudio.geometry.camera import Camera
from headstudio.geometry.easing import ease
from headstudio.geometry.rigid import transform
from headstudio.heads.base import HeadModel
from headstudio.render.normals import vertex_normals
from headstudio.scan.offsets import eyes
from headstudio.texture.regions import soft_mask
from headstudio.texture.texels import TexelMap
from headstudio.tracking.observations import LEFT_LIDS, LIPS, RIGHT_LIDS
from headstudio.tracking.surface import sample

_INSIDE = ("eyeballs", "lips", "mouth_cavity", "teeth", "tongue", "eyelashes")
_FACING = 0.1
"""Cosine to the viewing direction below which the pictures do not say where lids and lips are."""
_ON_EYE_M, _AT_LASH_M = 0.001, 0.002
"""How near to the eyeball and to the lashes the lids' rims are."""


def blend_mask(
    head: HeadModel,
    posed_m: Float[Tensor, "vertices 3"],
    landmarks_px: Float[Tensor, "478 3"],
    camera: Camera,
    T_camera_head: Float[Tensor, "4 4"],
    size_px: int,
    margin_m: float,
) -> Float[Tensor, "size size"]:
    """1 on eyes and mouth, falling smoothly to 0 over a margin of skin around them.

    The regions of the head model say what they are for every texel; where the outlines of lids and lips, as the
    detector drew them in the frontal picture and as they are projected back onto the registered head, reach further,
    they count as well.

    Args:
        posed_m: the registered head as it is in the pictures.
        landmarks_px: of the frontal key frame, whose camera is given; NaN leaves the regions alone.
    """
    texels = TexelMap.build(head.triangles, head.uv, head.uv_triangles, size_px)
    inside = head.region(*_INSIDE) | _lid_rims(head)
    region = soft_mask(texels, inside, posed_m, head.triangles, margin_m)[0].clamp(0, 1)
    if not bool(torch.isfinite(landmarks_px[:, :2]).all()):
        return region
    local = transform(T_camera_head, posed_m)
    facing = -(vertex_normals(local[None], head.triangles)[0] * torch.nn.functional.normalize(local, dim=1)).sum(1)
    skin = ~head.region("scalp", "neck", "ears")
    outline = _outlines(landmarks_px[:, :2], camera, float(local[:, 2].median()), margin_m)
    pixels = camera.project(local[None])[0]
    seen = sample(outline[None, None], pixels)[0, :, 0] * (facing > _FACING) * skin
    return torch.maximum(region, texels.spread(seen[:, None].contiguous())[0]).clamp(0, 1)


def _lid_rims(head: HeadModel) -> Bool[Tensor, " vertices"]:
    """The lids' rims and inner sides: on the eyeball, behind its front, or at the lashes."""
    rims = torch.zeros(head.vertices, dtype=torch.bool)
    lids, lashes = head.region("eyelids"), head.region("eyelashes")
    for ball, _ in eyes(head):
        distance = (head.template_m - head.template_m[ball].mean(0)).norm(dim=1)
        rims |= lids & (distance < distance[ball].max() + _ON_EYE_M)
    if bool(lashes.any()):
        rims[lids] |= torch.cdist(head.template_m[lids], head.template_m[lashes]).amin(1) < _AT_LASH_M
    return rims


def _outlines(landmarks_px: Tensor, camera: Camera, depth_m: float, margin_m: float) -> Float[Tensor, "height width"]:
    """The hulls of both eyes' lids and of the lips, soft over the margin outside."""
    drawn = np.zeros((camera.height_px, camera.width_px), np.uint8)
    for ring in (LEFT_LIDS, RIGHT_LIDS, LIPS):
        hull = cv2.convexHull(landmarks_px[list(ring)].float().numpy())
        cv2.fillConvexPoly(drawn, hull.round().astype(np.int32), 1)
    away_px = cv2.distanceTransform(1 - drawn, cv2.DIST_L2, 5)
    margin_px = max(margin_m * float(camera.K_px.flatten(0, -3)[0, 0, 0]) / depth_m, 1.0)
    return ease(1 - torch.from_numpy(away_px) / margin_px)
