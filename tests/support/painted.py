"""A capture rendered from a head whose texture is known and changes with the expression."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from headstudio import storage
from headstudio.heads.base import HeadModel
from headstudio.motion.articulation import vertices_in_camera
from headstudio.records.capture import Capture
from headstudio.records.channels import ARKIT
from headstudio.records.track import Track
from headstudio.render.mesh import MeshTopology, render_surface
from headstudio.training.contract import Source
from support.tiny import tiny_capture, tiny_track

JAW_OPEN = 24
"""Place of jawOpen in ARKit-52."""


def true_texture(open_share: float, size_px: int = 128) -> torch.Tensor:
    """Smooth waves of colour that turn red with the open jaw."""
    row, column = torch.meshgrid(torch.linspace(0, 1, size_px), torch.linspace(0, 1, size_px), indexing="ij")
    base = torch.stack([0.5 + 0.2 * torch.sin(9 * column), 0.5 + 0.2 * torch.cos(7 * row), 0.4 + 0.2 * row])
    return (base + torch.tensor([0.35, -0.2, -0.2])[:, None, None] * open_share).clamp(0, 1)


def skin_texture(open_share: float, size_px: int = 128) -> torch.Tensor:
    """Near one colour, as skin is, and the same for every expression."""
    del open_share
    grain = 0.04 * torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    fine = torch.nn.functional.interpolate(grain, size_px, mode="bilinear")[0]
    return torch.tensor([0.72, 0.55, 0.48])[:, None, None] + fine


def painted_source(
    path: Path,
    head: HeadModel,
    frames: int = 16,
    size_px: int = 64,
    light_sh: torch.Tensor | None = None,
    texture: Callable[[float], torch.Tensor] = true_texture,
) -> Source:
    """The rendered capture and its true track, under the neutral or a given light (9, 3)."""
    capture = tiny_capture(path, frames, size_px)
    track = _track(capture, head)
    if light_sh is not None:
        track = replace(track, light_sh=light_sh.expand(frames, 9, 3).clone())
    _render_over(capture, track, head, texture)
    return Source(Capture.load(path), track)


def _track(capture: Capture, head: HeadModel) -> Track:
    track = tiny_track(capture, head.name, head.identities, head.expressions)
    arkit = torch.zeros(capture.frames, 52)
    arkit[:, JAW_OPEN] = torch.rand(capture.frames, generator=torch.Generator().manual_seed(5))
    # The held-out frames lie at both ends of the range, so that a texture which never changes is wrong in all of them.
    held_out = list(capture.held_out_frames)
    inward = torch.linspace(0.05, 0.25, len(held_out))
    arkit[held_out, JAW_OPEN] = torch.where(torch.arange(len(held_out)) % 2 == 0, inward, 1 - inward)
    state = head.from_arkit(arkit)
    identity = torch.zeros(head.identities)
    return Track(
        **{
            **vars(track),
            "identity": type(track.identity)(head.name, identity),
            "arkit": arkit,
            "expression": state.expression,
            "jaw_rad": state.jaw_rad,
        }
    )


@torch.no_grad()
def _render_over(capture: Capture, track: Track, head: HeadModel, texture_of: Callable[[float], torch.Tensor]) -> None:
    mesh = MeshTopology(head.data.triangles, head.data.uv, head.data.uv_triangles)
    neutral_m = head.neutral(track.identity.coefficients[None])
    for frame in range(capture.frames):
        view, channels = track.view(torch.tensor([frame])), track.motion().at([frame])
        vertices = vertices_in_camera(head, neutral_m, channels, view)
        texture = texture_of(float(channels[ARKIT][0, JAW_OPEN]))
        surface = render_surface(vertices, mesh, view.camera, texture[None], track.light_sh[frame][None])
        picture = (surface.image * surface.mask)[0].permute(1, 2, 0).clamp(0, 1)
        with storage.replacing_file(capture.frame_path(frame)) as building:
            Image.fromarray((picture.numpy() * 255).round().astype(np.uint8)).save(
                building, "JPEG", quality=98, subsampling=0
            )
        with storage.replacing_file(capture.matte_path(frame)) as building:
            Image.fromarray((surface.mask[0, 0].numpy() * 255).round().astype(np.uint8)).save(building, "PNG")
