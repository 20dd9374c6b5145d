"""Dynamic textures: one texture a frame, from all views that show it, complete (paper 3, section 4).

What no view of a frame shows is taken from the clip's mean, so every texture is whole and tells nothing of its holes.
Textures are kept as pictures in the capture's folder `cache`, which may be deleted at any time.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.geometry.easing import ease
from headstudio.heads.base import HeadModel
from headstudio.progress import Progress, Silent
from headstudio.records.capture import Capture
from headstudio.records.track import Track
from headstudio.render.mesh import MeshTopology
from headstudio.texture.alignment import AlignmentConfig, aligned
from headstudio.texture.fill import pull_push
from headstudio.texture.frames import observe, observe_all, spread_over_turns
from headstudio.texture.texels import TexelMap
from headstudio.texture.unproject import Observation, Unprojected, UnprojectionConfig, average, sample, unproject

MEMORY_LIMIT_BYTES = 2**30
"""Textures are kept in memory up to this size and read again beyond it."""
_CACHE_VERSION = 1
"""To be counted up when the texture of the same frame changes."""


@dataclass(frozen=True)
class UnwrappingConfig:
    """How frames become textures."""

    size_px: int = 256
    """Side of the textures."""
    mean_frames: int = 32
    """Frames, spread over the turns of the head, whose robust mean fills the holes."""
    unprojection: UnprojectionConfig = field(default_factory=lambda: UnprojectionConfig(angle_power=2.0))
    """How a texel counts in a view; within one frame nothing is averaged robustly."""
    good_weight: float = 0.12
    """Weight from which on a texel keeps the colour of its own frame wholly; below, the mean shines through."""
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    """How views are laid on each other, and a single view on the mean of the clip."""
    aligns: bool = True
    """Correct by optical flow; False takes the tracked head as it stands."""


@dataclass(frozen=True)
class FrameTexture:
    """The texture of one frame, or of several with a leading dimension."""

    rgb: UInt8[Tensor, "*batch 3 size size"]
    """sRGB, complete."""
    own: UInt8[Tensor, "*batch 1 size size"]
    """255 where the colour is the frame's own, 0 where it is the clip's mean."""


class Unwrapper:
    """Turns pictures of one person into textures."""

    def __init__(self, mesh: MeshTopology, mean: Float[Tensor, "3 size size"], config: UnwrappingConfig) -> None:
        """`mean`: the clip's, sRGB in [0, 1], complete."""
        self.mesh, self.mean, self.config = mesh, mean, config
        self._texels = TexelMap.build(mesh.triangles, mesh.uv, mesh.uv_triangles, config.size_px)

    @torch.no_grad()
    def unwrap(self, observations: Sequence[Observation]) -> FrameTexture:
        """The texture that all views of one moment make, the best first view's place of things taken as right."""
        if not observations:
            raise HeadstudioError("there is no picture to take a texture from", next_step="pass at least one view")
        views = self._aligned(list(observations)) if self.config.aligns else observations
        return self._filled(self._seen(views))

    def _aligned(self, views: list[Observation]) -> list[Observation]:
        alignment = self.config.alignment
        if len(views) == 1:
            return [aligned(views[0], self.mean, self.mesh, alignment)]
        first = aligned(views[0], self.mean, self.mesh, alignment)
        reference = self._mixed(self._seen([first]))[0]
        return [first, *(aligned(view, reference, self.mesh, alignment) for view in views[1:])]

    def _seen(self, views: Sequence[Observation]) -> Unprojected:
        once = replace(self.config.unprojection, robust_passes=0)
        return average(sample(views, self.mesh, self._texels, once), once)

    def _mixed(self, seen: Unprojected) -> tuple[Tensor, Tensor]:
        own = ease(seen.weight / self.config.good_weight) * self._texels.mask
        return self.mean + own * (seen.texture.clamp(0, 1) - self.mean), own

    def _filled(self, seen: Unprojected) -> FrameTexture:
        rgb, own = ((values * 255).round().to(torch.uint8) for values in self._mixed(seen))
        return FrameTexture(rgb, own)


@torch.no_grad()
def mean_texture(
    capture: Capture,
    track: Track,
    head: HeadModel,
    neutral_m: Float[Tensor, "1 vertices 3"],
    frames: Sequence[int],
    config: UnwrappingConfig,
) -> Float[Tensor, "3 size size"]:
    """What frames spread over the head's turns agree on, sRGB in [0, 1], continued where none shows anything."""
    mesh = topology(head)
    texels = TexelMap.build(mesh.triangles, mesh.uv, mesh.uv_triangles, config.size_px)
    chosen = spread_over_turns(track, frames, track.confidence, config.mean_frames)
    looked = (observe(capture, track, head, neutral_m, frame) for frame in chosen)
    found = unproject(looked, mesh, texels, config.unprojection)
    return pull_push(found.texture, ease(found.weight / config.good_weight) * texels.mask).clamp(0, 1)


def topology(head: HeadModel) -> MeshTopology:
    """The head's mesh for renderer and atlas."""
    return MeshTopology(head.data.triangles, head.data.uv, head.data.uv_triangles)


class FrameTextures:
    """The textures of one capture's frames, each made when it is first asked for."""

    def __init__(
        self,
        capture: Capture,
        track: Track,
        head: HeadModel,
        neutral_m: Float[Tensor, "1 vertices 3"],
        unwrapper: Unwrapper,
    ) -> None:
        self._capture, self.track, self._head, self._neutral_m = capture, track, head, neutral_m
        self._unwrapper = unwrapper
        self._kept: dict[int, Tensor] = {}
        self._room = MEMORY_LIMIT_BYTES // (4 * unwrapper.config.size_px**2)
        self.folder = capture.path / "cache" / f"frame-textures-{self._key()}"

    def __getitem__(self, frames: Sequence[int] | Tensor) -> FrameTexture:
        """The textures of some frames."""
        found = torch.stack([self._one(int(frame)) for frame in frames])
        return FrameTexture(found[:, :3], found[:, 3:])

    def make(self, frames: Iterable[int], progress: Progress | None = None) -> None:
        """Make those that are not there yet; what is made stays when this is stopped."""
        missing = [frame for frame in frames if frame not in self._kept and not self._path(frame).is_file()]
        with (progress or Silent()).stage("unwrap frames", len(missing)) as advance:
            for frame in missing:
                self._one(frame)
                advance(1)

    def _one(self, frame: int) -> UInt8[Tensor, "4 size size"]:
        known = self._kept.get(frame)
        if known is not None:
            return known
        found = _read(self._path(frame), self._unwrapper.config.size_px)
        if found is None:
            views = observe_all(self._capture, self.track, self._head, self._neutral_m, frame)
            texture = self._unwrapper.unwrap(views)
            found = torch.cat([texture.rgb, texture.own])
            _write(self._path(frame), found)
        if len(self._kept) < self._room:
            self._kept[frame] = found
        return found

    def _path(self, frame: int) -> Path:
        return self.folder / f"{frame:06d}.png"

    def _key(self) -> str:
        """Follows from everything a texture is made of."""
        track, unwrapper = self.track, self._unwrapper
        told = (_CACHE_VERSION, self._capture.identifier, track.identity.head, unwrapper.config, sorted(track.views))
        digest = hashlib.sha256(repr(told).encode())
        tensors = [track.expression, track.jaw_rad, track.gaze_rad, track.neck_rad, track.T_world_head]
        tensors += [values for view in track.views.values() for values in (view.K_px, view.T_camera_world)]
        for values in (*tensors, self._neutral_m, (unwrapper.mean * 255).round()):
            digest.update(values.detach().cpu().float().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def _read(path: Path, size_px: int) -> UInt8[Tensor, "4 size size"] | None:
    """A stored texture; None where there is none that can be read."""
    try:
        with Image.open(path) as picture:
            pixels = np.array(picture)
    except (OSError, UnidentifiedImageError, SyntaxError):
        return None
    if pixels.shape != (size_px, size_px, 4):
        return None
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _write(path: Path, texture: UInt8[Tensor, "4 size size"]) -> None:
    """A cache that cannot be written is no error: the texture is only not kept."""
    try:
        with storage.replacing_file(path) as building:
            Image.fromarray(texture.permute(1, 2, 0).contiguous().numpy(), "RGBA").save(building, compress_level=1)
    except HeadstudioError:
        return
