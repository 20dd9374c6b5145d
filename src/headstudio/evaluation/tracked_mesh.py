"""The head model as the tracker posed it: where regions, landmarks and the barest baseline come from."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from headstudio.heads.base import HeadModel
from headstudio.motion.articulation import vertices_in_camera
from headstudio.records.channels import View
from headstudio.records.track import Track

_CHUNK_FRAMES = 64
"""Meshes posed at once: bounds the memory of a long track."""


class TrackedMesh:
    """One tracked person."""

    def __init__(self, head: HeadModel, track: Track) -> None:
        self.head, self.track = head, track
        identity = track.identity
        offsets_m = None if identity.offsets_m is None else identity.offsets_m[None]
        with torch.no_grad():
            self._neutral_m = head.neutral(identity.coefficients[None], offsets_m)
        self._motion = track.motion()

    def view(self, frames: Int[Tensor, " batch"], size_px: int) -> View:
        """The cameras of the frames at a resolution."""
        return self.track.view(frames, size_px=size_px)

    @torch.no_grad()
    def vertices_in_camera(
        self, frames: Int[Tensor, " batch"], size_px: int
    ) -> tuple[Float[Tensor, "batch vertices 3"], View]:
        """The mesh in camera axes, metres, and the cameras."""
        view = self.view(frames, size_px)
        return vertices_in_camera(self.head, self._neutral_m, self._motion.at(frames), view), view

    @torch.no_grad()
    def landmarks_px(self, size_px: int) -> Float[Tensor, "frames landmarks 2"]:
        """The landmarks of all frames in the picture, of those that have a place on this head."""
        trusted = self.head.data.landmarks.weight > 0
        parts = []
        for frames in torch.arange(self.track.frames).split(_CHUNK_FRAMES):
            vertices_m, view = self.vertices_in_camera(frames, size_px)
            parts.append(view.camera.project(self.head.landmark_points(vertices_m)[:, trusted])[0])
        return torch.cat(parts)
