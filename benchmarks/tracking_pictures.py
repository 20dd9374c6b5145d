"""How well a track explains pictures that it has not learned from: a static texture, lit by the track, on the head."""

import torch
from torch import Tensor

from headstudio.evaluation.metrics import psnr
from headstudio.evaluation.tracked_mesh import TrackedMesh
from headstudio.heads.base import HeadModel
from headstudio.records.capture import Annotation, Capture
from headstudio.records.track import Track
from headstudio.render.composite import over
from headstudio.render.mesh import MeshTopology, render_surface
from headstudio.render.texture import build_pyramid
from headstudio.texture.fill import pull_push
from headstudio.texture.texels import TexelMap
from headstudio.texture.unproject import Observation, UnprojectionConfig, unproject
from headstudio.tracking.observations import OVAL

TEXTURE_PX, TEXTURE_FRAMES = 512, 48
"""Every track's texture is made anew in the same way, from as many training frames."""


@torch.no_grad()
def held_out_psnr(track: Track, capture: Capture, head: HeadModel, every: int = 2) -> Tensor:
    """PSNR in dB inside the face of every n-th held-out frame that has landmarks.

    The face is the hull of the detector's face oval inside the matte, the same for every track of a capture; what the
    mesh leaves uncovered there is black.
    """
    mesh = TrackedMesh(head, track)
    data = head.data
    topology = MeshTopology(data.triangles, data.uv, data.uv_triangles)
    texture = build_pyramid(_texture(mesh, topology, capture)[None])
    scores = []
    for frame in list(capture.held_out_frames)[::every]:
        oval = capture.views[0].landmarks_px[frame, list(OVAL), :2]
        if not torch.isfinite(oval).all():
            continue
        chosen = torch.tensor([frame])
        vertices_m, view = mesh.vertices_in_camera(chosen, capture.size_px)
        surface = render_surface(vertices_m, topology, view.camera, texture, track.light_sh[chosen])
        assert surface.image is not None  # there is a texture
        shown = over(surface.image.clamp(0, 1), surface.mask, torch.zeros(3, 1, 1))
        mask = inside_hull(oval, capture.size_px) & (_trust(capture, frame) > 0.5)
        scores.append(psnr(shown, capture.image(frame)[None].float() / 255, mask[None])[0])
    return torch.cat(scores) if scores else torch.zeros(0)


def inside_hull(points_px: Tensor, size_px: int) -> Tensor:
    """Pixels (1, size, size) inside the convex hull of points."""
    from scipy.spatial import ConvexHull

    hull = torch.from_numpy(ConvexHull(points_px.double().numpy()).equations)
    rows, columns = torch.meshgrid(torch.arange(size_px) + 0.5, torch.arange(size_px) + 0.5, indexing="ij")
    places = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1).double()
    return (places @ hull.T <= 0).all(-1)[None]


def _texture(mesh: TrackedMesh, topology: MeshTopology, capture: Capture) -> Tensor:
    usable = torch.tensor([f for f in capture.train_frames if bool(mesh.track.usable[f])] or list(capture.train_frames))
    chosen = usable[torch.linspace(0, len(usable) - 1, min(TEXTURE_FRAMES, len(usable))).long()]
    texels = TexelMap.build(topology.triangles, topology.uv, topology.uv_triangles, TEXTURE_PX)
    seen = (_observed(mesh, capture, int(frame)) for frame in chosen)
    result = unproject(seen, topology, texels, UnprojectionConfig())
    return pull_push(result.texture, (result.weight * 20).clamp(0, 1))


def _observed(mesh: TrackedMesh, capture: Capture, frame: int) -> Observation:
    vertices_m, view = mesh.vertices_in_camera(torch.tensor([frame]), capture.size_px)
    image, light_sh = capture.image(frame).float() / 255, mesh.track.light_sh[frame]
    return Observation(image, _trust(capture, frame), vertices_m[0], view.camera, light_sh=light_sh)


def _trust(capture: Capture, frame: int) -> Tensor:
    trust = capture.views[0].valid[None].float()
    return trust * capture.matte(frame).float() / 255 if Annotation.MATTE in capture.annotations else trust
