"""What the tracker saw, laid over what it was given: pictures for the eye and a video of the whole clip."""

from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from headstudio.geometry.rigid import transform
from headstudio.heads import load_head
from headstudio.heads.base import Articulation, HeadModel
from headstudio.records.capture import Capture
from headstudio.records.track import Track
from headstudio.render.mesh import vertex_normals
from headstudio.render.rasterise import interpolate, rasterise
from headstudio.tracking.observations import IRISES, LEFT_LIDS, LIPS, OVAL, RIGHT_LIDS
from headstudio.video import write_video

_OPACITY = 0.5
_LAMP = (-0.62, -0.46, -0.63)
"""Direction to a lamp beside the camera: light from the front would hide the relief."""
_SKIN = (0.55, 0.75, 1.0)
_DETECTED, _FITTED, _SKIPPED = (255, 60, 60), (60, 255, 60), (255, 170, 0)
_BORDER = 0.015
"""Over the side of the picture."""
_DRAWN = LIPS + RIGHT_LIDS + LEFT_LIDS + IRISES + OVAL


def overlay_image(
    capture: Capture, track: Track, frame: int, head: HeadModel | None = None, view: int = 0
) -> UInt8[Tensor, "3 height width"]:
    """One frame under the shaded mesh, with detected (red) and fitted (green) lips, lids, irises and face oval; a frame
    that is skipped has an orange border.

    Args:
        head: the track's head model, where several frames are drawn.
        view: of the capture.
    """
    head = load_head(track.identity.head) if head is None else head
    image, filmed = capture.image(frame, view).float() / 255, capture.views[view]
    vertices_m = _posed(head, track, frame)
    looking = track.view(torch.tensor([frame]), filmed.name if view else None)
    camera_m = transform(looking.T_camera_world @ track.T_world_head[[frame]], vertices_m)
    shading, mask = _shaded(head, camera_m, looking.camera)
    picture = image + _OPACITY * mask * (shading * torch.tensor(_SKIN)[:, None, None] - image)
    fitted, _ = looking.camera.project(head.landmark_points(camera_m))
    drawn = _dots((picture.clamp(0, 1) * 255).byte(), filmed.landmarks_px[frame, :, :2], fitted[0])
    return drawn if bool(track.usable[frame]) else _bordered(drawn)


def tracked_views(capture: Capture, track: Track) -> list[int]:
    """Views of the capture whose cameras the track knows."""
    return [0, *(index for index, view in enumerate(capture.views) if index and view.name in track.views)]


def overlay_of_all(
    capture: Capture, track: Track, frame: int, head: HeadModel | None = None
) -> UInt8[Tensor, "3 height width"]:
    """`overlay_image` of every view, side by side."""
    views = tracked_views(capture, track)
    return torch.cat([overlay_image(capture, track, frame, head, view) for view in views], dim=2)


def write_overlay(capture: Capture, track: Track, path: Path) -> None:
    """An mp4 of `overlay_of_all` over the whole clip, each frame at its own time."""
    head = load_head(track.identity.head)
    overlays = (overlay_of_all(capture, track, frame, head) for frame in range(capture.frames))
    pictures = (overlay.permute(1, 2, 0).contiguous().numpy() for overlay in overlays)
    write_video(path, pictures, track.times_s.tolist(), crf=20)


def contact_sheet(
    capture: Capture, track: Track, frames: list[int], columns: int = 4
) -> UInt8[Tensor, "3 height width"]:
    """Overlays of some frames side by side, row by row."""
    head = load_head(track.identity.head)
    pictures = [overlay_of_all(capture, track, frame, head) for frame in frames]
    blank = torch.zeros_like(pictures[0])
    pictures += [blank] * (-len(pictures) % columns)
    rows = [torch.cat(pictures[i : i + columns], dim=2) for i in range(0, len(pictures), columns)]
    return torch.cat(rows, dim=1)


def _posed(head: HeadModel, track: Track, frame: int) -> Tensor:
    parts = (track.expression, track.neck_rad, track.jaw_rad, track.gaze_rad)
    state = Articulation(*(part[[frame]] for part in parts))
    offsets_m = None if track.identity.offsets_m is None else track.identity.offsets_m[None]
    return head(track.identity.coefficients[None], state, offsets_m)


def _shaded(head: HeadModel, camera_m: Tensor, camera) -> tuple[Tensor, Tensor]:
    triangles = head.data.triangles
    fragments = rasterise(camera_m, triangles, camera)
    normals = interpolate(fragments, vertex_normals(camera_m, triangles), triangles)
    lit = torch.einsum("chw,c->hw", normals[0], torch.tensor(_LAMP))[None]
    return 0.1 + 0.9 * lit.clamp(0, 1), fragments.mask[0]


def _bordered(picture: Tensor) -> Tensor:
    height, width = picture.shape[1:]
    edge = max(round(_BORDER * max(height, width)), 1)
    framed = torch.tensor(_SKIPPED, dtype=torch.uint8)[:, None, None].repeat(1, height, width)
    framed[:, edge : height - edge, edge : width - edge] = picture[:, edge : height - edge, edge : width - edge]
    return framed


def _dots(picture: Tensor, detected_px: Tensor, fitted_px: Tensor) -> Tensor:
    height, width = picture.shape[1:]
    for points, colour in ((detected_px, _DETECTED), (fitted_px, _FITTED)):
        chosen = points[list(_DRAWN)]
        chosen = chosen[torch.isfinite(chosen).all(1)].floor().long()
        inside = (chosen >= 0).all(1) & (chosen[:, 0] < width) & (chosen[:, 1] < height)
        x, y = chosen[inside].unbind(1)
        picture[:, y, x] = torch.tensor(colour, dtype=torch.uint8)[:, None]
    return picture
