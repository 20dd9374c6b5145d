"""A performance before a camera: rendered with a blotchy skin under light from one side, in a grey room."""

from pathlib import Path

import torch
from tracking_actor import SIZE_PX, Performance, write_capture

from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import from_rotation, transform
from headstudio.heads.base import HeadModel
from headstudio.records.capture import Capture
from headstudio.render.mesh import MeshTopology, render_surface
from headstudio.tracking.appearance import uniform_light
from headstudio.tracking.points import articulation

BLOTCHES = 24
"""Blotches along the texture, a few pixels each in the stored frame."""
ROOM = 0.45
"""sRGB of the room, about as bright as the skin: the local contrast beside an outline is not the skin's own."""


def side_light() -> torch.Tensor:
    """Irradiance (9, 3) that falls along x."""
    light = uniform_light() * 0.8
    light[3] = 0.3  # Y11
    return light


def blotchy_skin(size_px: int = 256, seed: int = 0) -> torch.Tensor:
    """(3, size, size) sRGB in [0.25, 0.75]."""
    coarse = torch.rand(1, 3, BLOTCHES, BLOTCHES, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (size_px, size_px), mode="bicubic").clamp(0, 1)[0] * 0.5 + 0.25


def film(
    folder: Path, head: HeadModel, truth: Performance, landmarks_px: torch.Tensor | None = None, held_out: float = 0.2
) -> Capture:
    """The capture; its landmarks are the true ones, or those that are given."""
    frames = len(truth.landmarks_px)
    posed = head.pose(head.neutral(truth.identity[None]), articulation(truth.states))
    camera_m = transform(from_rotation(truth.states.rotation, truth.states.translation_m), posed)
    mesh = MeshTopology(head.data.triangles, head.data.uv, head.data.uv_triangles)
    camera = Camera(truth.K_px.expand(frames, 3, 3), SIZE_PX, SIZE_PX)
    surface = render_surface(camera_m, mesh, camera, blotchy_skin()[None], side_light().expand(frames, 9, 3))
    assert surface.image is not None
    image = surface.image * surface.mask + ROOM * (1 - surface.mask)
    pictures = (image.clamp(0, 1) * 255).round().byte()
    return write_capture(
        folder, truth.landmarks_px if landmarks_px is None else landmarks_px, pictures, held_out=held_out
    )
