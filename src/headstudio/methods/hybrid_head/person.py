"""Whose head it is: identity, the mean texture, and the mesh before a camera."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from headstudio.geometry.rigid import transform
from headstudio.heads.base import Articulation, HeadModel
from headstudio.motion.articulation import camera_pose
from headstudio.records.channels import Channels, View
from headstudio.records.track import HeadIdentity
from headstudio.render.mesh import MeshTopology
from headstudio.texture.regions import soft_mask
from headstudio.texture.texels import TexelMap
from headstudio.texture.unwrapping import FrameTextures, Unwrapper, UnwrappingConfig, mean_texture, topology
from headstudio.training.batches import usable_training_frames
from headstudio.training.contract import Source

FEATURES = ("eyelids", "eyeballs", "eyelashes", "lips", "mouth_cavity", "teeth", "tongue")
"""Regions that change most when a face moves."""
_SOFT_M = 0.006


class Person(nn.Module):
    """One tracked person."""

    coefficients: Tensor
    offsets_m: Tensor
    mean: UInt8[Tensor, "3 side side"]
    """The clip's mean texture, sRGB."""

    def __init__(self, head: HeadModel, unwrapping: UnwrappingConfig) -> None:
        super().__init__()
        self.head, self.unwrapping = head, unwrapping
        self.register_buffer("coefficients", torch.zeros(0))
        self.register_buffer("offsets_m", torch.zeros(0))
        self.register_buffer("mean", torch.zeros(0, dtype=torch.uint8))
        self._mesh = topology(head)
        self._neutral: Tensor | None = None
        self._counts: Tensor | None = None

    def take(self, sources: Sequence[Source]) -> None:
        """The identity of the first capture, and its mean texture."""
        first = sources[0]
        found = first.track.identity
        self.coefficients = found.coefficients.clone()
        self.offsets_m = torch.zeros(self.head.vertices, 3) if found.offsets_m is None else found.offsets_m.clone()
        frames = usable_training_frames(first)
        mean = mean_texture(first.capture, first.track, self.head, self.neutral_m, frames, self.unwrapping)
        self.mean = (mean * 255).round().to(torch.uint8)

    @property
    def identity(self) -> HeadIdentity:
        """As records know it."""
        return HeadIdentity(self.head.name, self.coefficients, self.offsets_m)

    @property
    def neutral_m(self) -> Float[Tensor, "1 vertices 3"]:
        """The face at rest."""
        if self._neutral is None or self._neutral.device != self.offsets_m.device:
            self._neutral = self.head.neutral(self.coefficients[None], self.offsets_m[None])
        return self._neutral

    @property
    def mesh(self) -> MeshTopology:
        """The mesh, where the buffers are."""
        if self._mesh.uv.device != self.mean.device:
            self._mesh = self._mesh.to(self.mean.device)
        return self._mesh

    def textures(self, source: Source) -> FrameTextures:
        """Those of the frames of a capture of this person."""
        unwrapper = Unwrapper(topology(self.head), self.mean.cpu().float() / 255, self.unwrapping)
        return FrameTextures(source.capture, source.track, self.head, self.neutral_m.cpu(), unwrapper)

    @property
    def moving(self) -> Bool[Tensor, " vertices"]:
        """Vertices that expressions move: all but those of the neck."""
        return ~self.head.region("neck")

    def posed_m(self, state: Articulation) -> Float[Tensor, "batch vertices 3"]:
        """The mesh in head axes."""
        return self.head.pose(self.neutral_m, state)

    def vertices_m(self, state: Articulation, channels: Channels, view: View) -> Float[Tensor, "batch vertices 3"]:
        """The mesh in camera axes."""
        return transform(camera_pose(channels, view).float(), self.posed_m(state))

    def counts(self, features: float) -> Float[Tensor, "1 1 side side"]:
        """How much a texel counts: 0 off the charts, 1 on skin, `features` on eyes and mouth."""
        if self._counts is None or self._counts.device != self.mean.device:
            data = self.head.data
            texels = TexelMap.build(data.triangles, data.uv, data.uv_triangles, self.unwrapping.size_px)
            soft = soft_mask(texels, self.head.region(*FEATURES).cpu(), data.template_m, data.triangles, _SOFT_M)
            self._counts = (texels.mask * (1 + (features - 1) * soft))[None].to(self.mean.device)
        return self._counts
