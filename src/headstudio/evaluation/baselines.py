"""What an avatar has to beat: the nearest training frame, plain and aligned, and the tracked head alone."""

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from headstudio.evaluation.alignment import similarity, warped
from headstudio.evaluation.tracked_mesh import TrackedMesh
from headstudio.evaluation.truth import Truth
from headstudio.geometry.rigid import relative_orientation
from headstudio.records.track import Track
from headstudio.render.composite import over
from headstudio.render.mesh import MeshTopology, render_surface
from headstudio.render.texture import build_pyramid
from headstudio.training.batches import usable_training_frames
from headstudio.training.contract import Source


class NearestFrame:
    """The training frame whose tracked state is nearest.

    Distance: translation, rotation and expression, each divided by its standard deviation over the training frames
    (of the whole group, so that fifty small expression units do not outvote three of translation). With alignment,
    a similarity in the picture undoes translation, scale and roll, so rotation and expression alone decide.
    """

    def __init__(self, source: Source, truth: Truth, mesh: TrackedMesh, aligned: bool) -> None:
        self._truth = truth
        self._training = torch.tensor(usable_training_frames(source))
        groups = _state(source.track)
        if aligned:
            groups = groups[1:]
        scaled = [group / _deviation(group[self._training]) for group in groups]
        self._features = torch.cat(scaled, dim=1)
        self._points_px = mesh.landmarks_px(truth.size_px) if aligned else None

    def show(self, frames: Int[Tensor, " batch"]) -> Float[Tensor, "batch 3 height width"]:
        """The chosen training frames, cut out like the truth."""
        chosen = self.nearest(frames)
        pictures = self._truth.pictures(chosen)
        if self._points_px is None:
            return pictures
        alpha = self._truth.alpha(chosen)
        A = similarity(self._points_px[frames], self._points_px[chosen])
        moved = warped(torch.cat([pictures, alpha], dim=1), A)
        # What is warped in from beyond the border is background, not black.
        return moved[:, :3] + (1 - warped(torch.ones_like(alpha), A)) * self._truth.background

    def nearest(self, frames: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Index of the training frame nearest to each frame."""
        distance = torch.cdist(self._features[frames], self._features[self._training])
        return self._training[distance.argmin(1)]


class TrackedHead:
    """The tracker's own mesh with its by-product texture and light."""

    def __init__(self, truth: Truth, mesh: TrackedMesh, texture: UInt8[Tensor, "3 rows columns"]) -> None:
        self._truth, self._mesh, data = truth, mesh, mesh.head.data
        self._topology = MeshTopology(data.triangles, data.uv, data.uv_triangles)
        self._texture = build_pyramid(texture[None].float() / 255)

    @torch.no_grad()
    def show(self, frames: Int[Tensor, " batch"]) -> Float[Tensor, "batch 3 height width"]:
        """The lit, textured mesh over the background."""
        vertices_m, view = self._mesh.vertices_in_camera(frames, self._truth.size_px)
        light_sh = self._mesh.track.light_sh[frames]
        surface = render_surface(vertices_m, self._topology, view.camera, self._texture, light_sh)
        assert surface.image is not None  # there is a texture
        return over(surface.image.clamp(0, 1), surface.mask, self._truth.background)


def _state(track: Track) -> list[Float[Tensor, "frames values"]]:
    """Translation, rotation, expression of every frame, in the axes of the first view's camera."""
    expression = torch.cat([track.expression, track.jaw_rad, track.gaze_rad.flatten(1)], dim=1)
    return [track.T_world_head[:, :3, 3], relative_orientation(track.T_world_head), expression]


def _deviation(group: Float[Tensor, "frames values"]) -> Tensor:
    return (group - group.mean(0)).square().sum(1).mean().sqrt().clamp_min(1e-9)
