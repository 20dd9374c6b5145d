"""Whose heads they are: identity, texture and filmed range of every person, and the renderings made of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.nn import functional as F

from headstudio.geometry.camera import Camera
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.methods.style_avatar.renderings import FixedLightConfig, Renderings, render_inputs
from headstudio.motion.articulation import camera_pose, vertices_in_camera
from headstudio.nn.phase_code import phase_code
from headstudio.records.channels import Channels, View
from headstudio.render.mesh import MeshTopology
from headstudio.render.texture import MipPyramid, build_pyramid
from headstudio.training.batches import usable_training_frames
from headstudio.training.contract import Source

_GREY = 150
_GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, keep persons apart however many there are."""


class People(nn.Module):
    """The persons that an avatar learned from; the first is the one it is of."""

    coefficients: Tensor
    offsets_m: Tensor
    textures: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(self, head: HeadModel, clocks: Mapping[str, Sequence[float]]) -> None:
        """`clocks`: of each person's capture, by its key: first and last time in seconds, and the number of frames."""
        super().__init__()
        self.head, self.clocks = head, {key: tuple(clock) for key, clock in clocks.items()}
        for name in ("coefficients", "offsets_m", "lowest", "highest"):
            self.register_buffer(name, torch.zeros(0))
        self.register_buffer("textures", torch.zeros(0, dtype=torch.uint8))
        self._mesh = MeshTopology(head.data.triangles, head.data.uv, head.data.uv_triangles)
        self._neutral_m: dict[int, Tensor] = {}
        self._layers: dict[int, MipPyramid] = {}

    @classmethod
    def of(cls, sources: Sequence[Source]) -> "People":
        """Those that were filmed in these captures, which must be of one head model."""
        head = load_head(sources[0].track.identity.head)
        people = cls(head, {source.key: _clock(source) for source in sources})
        identities = [source.track.identity for source in sources]
        none = torch.zeros(head.vertices, 3)
        people.coefficients = torch.stack([i.coefficients for i in identities])
        people.offsets_m = torch.stack([none if i.offsets_m is None else i.offsets_m for i in identities])
        people.textures = _textures(sources)
        ranges = [_filmed(source) for source in sources]
        people.lowest, people.highest = (torch.stack(ends) for ends in zip(*ranges, strict=True))
        return people

    def state(self) -> dict[str, Any]:
        """Plain data from which `restored` rebuilds it; tensors follow."""
        return {"head": self.head.name, "clocks": {key: list(clock) for key, clock in self.clocks.items()}}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> "People":
        """From what `state` gave."""
        return cls(load_head(state["head"]), state["clocks"])

    def number(self, source_key: str) -> int:
        """Which person a capture shows; the first for captures that are not known."""
        return next((number for number, key in enumerate(self.clocks) if key == source_key), 0)

    def person_code(self, person: int, octaves: int) -> Float[Tensor, "1 2*{octaves}"]:
        """z_id."""
        return phase_code(torch.tensor([(person * _GOLDEN) % 1.0], dtype=torch.float64), octaves)

    def moments_of_frames(self, source_key: str, frames: Tensor) -> Float64[Tensor, " batch"]:
        """When frames were, as shares of their clip."""
        _, _, count = list(self.clocks.values())[self.number(source_key)]
        return frames.double() / max(count - 1.0, 1.0)

    def moments_of_times(self, times_s: Float[Tensor, " batch"]) -> Float64[Tensor, " batch"]:
        """Times on the first capture's clock as shares of its clip."""
        first, last, _ = next(iter(self.clocks.values()))
        return ((times_s.double() - first) / max(last - first, 1e-6)).clamp(0.0, 1.0)

    def places(self, channels: Channels, view: View) -> Float[Tensor, "batch 2"]:
        """Where heads stand in the picture, in shares of its sides."""
        return _places(camera_pose(channels, view).float(), view.camera)

    def renderings(
        self, person: int, channels: Channels, view: View, light: FixedLightConfig, shift_px: Float[Tensor, "batch 2"]
    ) -> Renderings:
        """The conditioning pictures in a window of the view's size that lies `shift_px` to the right and below."""
        vertices_m = vertices_in_camera(self.head, self._neutral(person), channels, view)
        camera = view.camera
        K_px = camera.K_px.clone()
        K_px[:, :2, 2] -= shift_px
        moved = Camera(K_px, camera.width_px, camera.height_px)
        return render_inputs(vertices_m, self.mesh, moved, self._texture(person), light)

    @property
    def mesh(self) -> MeshTopology:
        """The head's mesh, where the buffers are."""
        if self._mesh.uv.device != self.textures.device:
            self._mesh = self._mesh.to(self.textures.device)
        return self._mesh

    def _neutral(self, person: int) -> Tensor:
        known = self._neutral_m.get(person)
        if known is None or known.device != self.offsets_m.device:
            one = slice(person, person + 1)
            known = self._neutral_m[person] = self.head.neutral(self.coefficients[one], self.offsets_m[one])
        return known

    def _texture(self, person: int) -> MipPyramid:
        known = self._layers.get(person)
        if known is None or known.texels.device != self.textures.device:
            known = self._layers[person] = build_pyramid(self.textures[person][None].float() / 255)
        return known


def _clock(source: Source) -> tuple[float, float, float]:
    times_s = source.track.times_s
    return float(times_s[0]), float(times_s[-1]), float(len(times_s))


def _textures(sources: Sequence[Source]) -> Tensor:
    """The trackers' textures at one size, grey where there is none: the paper finds their quality not critical."""
    found = [source.track.texture for source in sources]
    side = max((texture.shape[-1] for texture in found if texture is not None), default=8)
    grey = torch.full((3, side, side), _GREY, dtype=torch.uint8)
    return torch.stack([grey if texture is None else _resized(texture, side) for texture in found])


def _resized(texture: Tensor, side: int) -> Tensor:
    if texture.shape[-1] == side:
        return texture
    wide = F.interpolate(texture[None].float(), (side, side), mode="bilinear", align_corners=False)
    return wide[0].round().to(torch.uint8)


def _filmed(source: Source) -> tuple[Tensor, Tensor]:
    """The least and the greatest place of the head in training frames, in shares of the picture's sides."""
    frames = torch.tensor(usable_training_frames(source))
    view = source.track.view(frames)
    places = _places(camera_pose(source.motion.at(frames), view).float(), view.camera)
    return places.amin(0), places.amax(0)


def _places(T_camera_head: Tensor, camera: Camera) -> Tensor:
    found_px, _ = camera.project(T_camera_head[:, None, :3, 3])
    return found_px[:, 0] / found_px.new_tensor([camera.width_px, camera.height_px])
