"""A bumpy, painted ball, and its pictures from a ring of cameras."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import KDTree

from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import from_rotation, transform
from headstudio.geometry.topology import face_normals
from headstudio.render.antialias import antialias
from headstudio.render.normals import vertex_normals
from headstudio.render.rasterise import interpolate, rasterise
from support.closed_meshes import sphere

DISTANCE_M, RADIUS_M, FIELD = 0.6, 0.1, 3.0


@dataclass(frozen=True)
class Ringed:
    """What `reconstruct` is given, and the width of a pixel at the subject."""

    images: torch.Tensor
    masks: torch.Tensor
    K_px: torch.Tensor
    T_camera_world: torch.Tensor
    pixel_m: float
    lowest_m: float
    """Height that the middle of the lower border of all pictures shows at the axis."""


def bumpy(rings: int = 40, stretch: float = 1.0, depth: float = 0.12):
    """An ellipsoid with bumps and dents, in metres, y up: vertices, triangles."""
    vertices, triangles = sphere(rings)
    x, y, z = vertices.unbind(1)
    bumps = 1 + depth * (torch.sin(4 * x + 1) * torch.cos(5 * y) * torch.sin(4 * z + 2))
    return RADIUS_M * vertices * bumps[:, None] * torch.tensor([0.85, stretch, 1.0]), triangles


def paint(vertices):
    """A colour that varies over the surface, but tells nothing of its normal."""
    x, y, z = (vertices / RADIUS_M).unbind(1)
    waves = [torch.sin(9 * x + 4 * y), torch.sin(8 * y - 5 * z + 1), torch.sin(9 * z + 5 * x + 2)]
    return 0.5 + 0.35 * torch.stack(waves, 1)


def cameras(views, look_at_y=0.0, arc_deg=360.0):
    """World to camera, in turn above and below the subject, which is looked at `look_at_y` above its middle."""
    yaw = ((torch.arange(views) + 0.5) / views * arc_deg - arc_deg / 2).deg2rad()
    pitch = torch.where(torch.arange(views) % 2 == 0, 25.0, -15.0).deg2rad()
    eyes = torch.stack([yaw.sin() * pitch.cos(), pitch.sin(), yaw.cos() * pitch.cos()], 1)
    up = torch.tensor([0.0, 1.0, 0.0]).expand(views, 3)
    right = torch.nn.functional.normalize(torch.linalg.cross(-eyes, up), dim=1)
    rotation = torch.stack([right, torch.linalg.cross(-eyes, right), -eyes], 1)
    target = torch.tensor([0.0, look_at_y, 0.0])
    return from_rotation(rotation, torch.tensor([0.0, 0.0, DISTANCE_M]) - rotation @ target)


def ringed(vertices, triangles, views=12, size_px=64, look_at_y=0.0, arc_deg=360.0):
    """Pictures, rendered at twice the size and averaged."""
    large = Camera.from_focal(2 * size_px * DISTANCE_M / (FIELD * RADIUS_M), 2 * size_px, 2 * size_px)
    T_camera_world = cameras(views, look_at_y, arc_deg)
    light = torch.nn.functional.normalize(torch.tensor([0.3, 0.8, 0.5]), dim=0)
    shade = 0.6 + 0.4 * (vertex_normals(vertices[None], triangles)[0] @ light)[:, None]
    colours = torch.cat([paint(vertices) * shade, torch.ones(len(vertices), 1)], 1)
    rendered = []
    for T in T_camera_world:
        fragments = rasterise(transform(T, vertices)[None], triangles, large)
        picture = antialias(interpolate(fragments, colours[None], triangles), fragments)
        rendered.append(torch.nn.functional.avg_pool2d(picture, 2)[0])
    pictures = torch.stack(rendered)
    masks = pictures[:, 3].clamp(0, 1)
    images = (pictures[:, :3] / masks[:, None].clamp_min(1e-3)).clamp(0, 1).permute(0, 2, 3, 1).contiguous()
    camera = large.resized(size_px, size_px)
    half = FIELD * RADIUS_M / 2
    return Ringed(
        images, masks, camera.K_px.expand(views, 3, 3), T_camera_world, FIELD * RADIUS_M / size_px, look_at_y - half
    )


def subject_is_inside(points, vertices, triangles, slack_m):
    """Whether no point lies farther than the slack outside a closed mesh."""
    return bool(outside(points, vertices, triangles).max() <= slack_m)


def outside(points, vertices, triangles):
    """How far points lie outside a closed mesh, in the direction of the normal at the nearest surface point."""
    samples, normals = _surface_samples(vertices, triangles)
    _, index = KDTree(samples.numpy()).query(points.numpy())
    return ((points - samples[index]) * normals[index]).sum(1)


def distance(points, vertices, triangles):
    """Distance of points to a surface, to within the spacing of dense samples."""
    samples, normals = _surface_samples(vertices, triangles)
    _, index = KDTree(samples.numpy()).query(points.numpy(), k=4)
    off = points[:, None] - samples[np.asarray(index)]
    along = (off * normals[np.asarray(index)]).sum(2).abs()
    return along.amin(1)


def _surface_samples(vertices, triangles, each=6):
    generator = torch.Generator().manual_seed(0)
    share = torch.rand(each, 3, generator=generator)
    share = share / share.sum(1, keepdim=True)
    samples = torch.einsum("sc,tcd->tsd", share, vertices[triangles]).reshape(-1, 3)
    normals = torch.nn.functional.normalize(face_normals(vertices, triangles), dim=1, eps=1e-20)
    return samples, normals.repeat_interleave(each, 0)
