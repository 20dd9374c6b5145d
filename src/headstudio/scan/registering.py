"""A scan with its head model registered: the parts of registration put together on the record."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import relative_orientation
from headstudio.heads import load_head
from headstudio.progress import Progress, Silent
from headstudio.records.scan import FaceFit, RawMesh, Scan
from headstudio.render.closest import SurfaceIndex
from headstudio.scan.blend_mask import blend_mask
from headstudio.scan.face_part import Sight, face_crop, face_frame, landmarks_on_mesh, looks_like_hair, vertex_colours
from headstudio.scan.fitting import Target
from headstudio.scan.register import Registration, register
from headstudio.scan.registration_config import CropConfig, RegistrationConfig

_POOR_M = 0.003
"""Median distance above which the registered head is not the person's."""
_SMALL_FACE = 0.6
_CLOSED = 0.5


@dataclass(frozen=True)
class FacePart:
    """What of a scan's mesh is registered."""

    target: Target
    hair: Bool[Tensor, " points"]
    """Vertices inside the crop that were left out as hair."""


def face_part(scan: Scan, mesh: RawMesh, config: CropConfig) -> FacePart:
    """Landmarks projected back onto the mesh, the crop about them, and hair left out.

    Raises:
        HeadstudioError: where the landmarks do not meet the mesh.
    """
    sight = Sight(scan.K_px, scan.T_camera_world, scan.landmarks_px, scan.images.float() / 255)
    surface = SurfaceIndex(mesh.vertices_m, mesh.triangles)
    yaw_deg = relative_orientation(scan.T_camera_head)[:, 1].rad2deg().abs()
    seen = torch.isfinite(scan.landmarks_px).flatten(1).all(1)
    views = torch.nonzero(seen & (yaw_deg <= config.views_deg))[:, 0]
    if scan.frontal not in views.tolist():
        views = torch.cat([views, torch.tensor([scan.frontal])])
    landmarks = landmarks_on_mesh(surface, sight, views, config.agreement_m)
    frame = face_frame(landmarks)
    crop = face_crop(mesh.vertices_m, landmarks, frame, config)
    colours = vertex_colours(mesh.vertices_m, mesh.triangles.int(), sight)
    hair = crop & looks_like_hair(mesh.vertices_m, colours, landmarks, frame, config)
    return FacePart(Target(mesh.vertices_m, mesh.triangles.int(), (crop & ~hair).float(), landmarks), hair)


def with_registration(scan: Scan, config: RegistrationConfig | None = None, progress: Progress | None = None) -> Scan:
    """The scan with the head model laid over its mesh, and with the blend mask of eyes and mouth.

    Raises:
        HeadstudioError: where there is no mesh, or head and mesh do not meet.
    """
    config = config or RegistrationConfig()
    if scan.mesh is None:
        raise HeadstudioError("the scan has no mesh", next_step="scan the clip with --mesh draft")
    head = load_head(scan.head)
    with (progress or Silent()).stage("Registration", 3) as advance:
        part = face_part(scan, scan.mesh, config.crop)
        advance(1)
        found = register(head, part.target, config, scan.scale.deviation)
        advance(1)
        scan = replace(_scaled(scan, found.scale), T_head_scan=found.T_head_scan)
        mask = blend_mask(
            head, found.posed_m, scan.landmarks_px[scan.frontal], scan.camera[torch.tensor([scan.frontal])],
            scan.T_camera_head[scan.frontal], config.mask_px, config.mask_margin_m,
        )  # fmt: skip
        advance(1)
    told = scan.told + _told(found, part, head.data.expression_names)
    fit = FaceFit(found.expression, found.residual_m, found.scan_residual_m, (mask * 255).round().byte())
    return replace(scan, identity=found.identity, fit=fit, told=told)


def _scaled(scan: Scan, factor: float) -> Scan:
    if factor == 1.0 or scan.mesh is None:
        return scan
    T = scan.T_camera_world.clone()
    T[:, :3, 3] *= factor
    points = None if scan.points is None else replace(scan.points, points_m=scan.points.points_m * factor)
    mesh = replace(scan.mesh, vertices_m=scan.mesh.vertices_m * factor)
    return replace(scan, T_camera_world=T, points=points, mesh=mesh)


def _told(found: Registration, part: FacePart, units: tuple[str, ...]) -> tuple[str, ...]:
    told = []
    known = found.residual_m[~found.residual_m.isnan()]
    if not len(known) or float(known.median()) > _POOR_M:
        told.append("the registered head lies millimetres beside the mesh; look at the residual map")
    crop = int((part.target.weight > 0).sum() + part.hair.sum())
    if int(part.hair.sum()) > (1 - _SMALL_FACE) * crop:
        told.append("much of the face was taken for hair; forehead and temples are the head model's")
    closed = [name for name in ("eyeBlinkLeft", "eyeBlinkRight") if name in units]
    if closed and min(float(found.expression[units.index(name)]) for name in closed) > _CLOSED:
        told.append("the eyes are closed in the scan; how they look when open is the head model's")
    if "jawOpen" in units and float(found.expression[units.index("jawOpen")]) > _CLOSED:
        told.append("the mouth is open in the scan, though a neutral face was asked for")
    return tuple(told)
