"""The avatar: a volume that a code makes; the code is what an encoder sees in the face."""

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.methods.latent_avatar.config import PRESETS, LatentAvatarConfig
from headstudio.methods.latent_avatar.frame import HeadFrame, Window
from headstudio.methods.latent_avatar.head import LatentHead, Picture, Seen
from headstudio.methods.latent_avatar.runtime import LatentAvatarRuntime
from headstudio.methods.latent_avatar.schedule import schedule
from headstudio.methods.latent_avatar.signals import signals_of, tracked_signals
from headstudio.methods.latent_avatar.start import first_volume
from headstudio.methods.latent_avatar.terms import Terms
from headstudio.motion.articulation import camera_pose, mesh_channels
from headstudio.nn.face_autoencoder import CodeMapping, FaceEncoder
from headstudio.nn.perceptual import perceptual_loss
from headstudio.nn.picture_loss import PictureLoss
from headstudio.nn.signal_range import SignalRange
from headstudio.records.capture import Annotation
from headstudio.records.channels import FACE_CROP, HEAD_POSE, Channel, Channels, Rendering, Scene, View, latent_of
from headstudio.records.track import HeadIdentity
from headstudio.render.occupancy import OccupancyGrid, matte_cells
from headstudio.training.batches import FrameStore, spread_out, usable_training_frames
from headstudio.training.contract import AvatarModel, Batch, Capability, Runtime, Source, Sources
from headstudio.training.latent_space import latent_space
from headstudio.training.stages import Player, Stage

_MEAN_RATE = 0.02
_INSIDE = ("mouth_cavity", "teeth", "tongue")
"""Regions that are no part of the head's outer surface."""


class LatentAvatar(AvatarModel):
    """Paper 5's latent head: encoder, tri-plane volume and super-resolution, learned end to end from one clip."""

    mean_code: Tensor
    identity_coefficients: Tensor
    offsets_m: Tensor

    Config = LatentAvatarConfig
    presets: ClassVar[Mapping[str, Any]] = PRESETS
    needs = frozenset({Annotation.LANDMARKS, Annotation.MATTE})
    capabilities = frozenset({Capability.ALPHA, Capability.NOVEL_VIEW})

    def __init__(self, config: LatentAvatarConfig) -> None:
        super().__init__(config)
        self.moves = True
        self._space = ""
        self.encodes = config.code == "encoded"
        if self.encodes:
            self.encoder = FaceEncoder(config.encoder)
        for name in ("identity_coefficients", "offsets_m"):
            self.register_buffer(name, torch.zeros(0))
        self.register_buffer("mean_code", torch.zeros(config.encoder.code))
        self.perceptual_loss = PictureLoss(partial(perceptual_loss, low_precision=config.low_precision))

    def setup(self, sources: Sources) -> None:
        target = sources["target"]
        found = target[0].track.identity
        tracked = load_head(found.head)
        self.identity_coefficients = found.coefficients.clone()
        self.offsets_m = torch.zeros(tracked.vertices, 3) if found.offsets_m is None else found.offsets_m.clone()
        neutral_m = tracked.neutral(self.identity_coefficients[None], self.offsets_m[None])[0]
        self._build(tracked, HeadFrame.of(tracked, neutral_m))
        if self.config.start_side:
            outside = tracked.triangles[~tracked.region(*_INSIDE)[tracked.triangles].any(1)].long()
            self.head.take(first_volume(target, neutral_m, outside, self.head.box, self.config.start_side))
            self.head.settle(self.head.planes(torch.randn(1, self.config.encoder.code)).detach())
        self.signal_range.measure(torch.cat([self._training_signals(source) for source in target]))
        if self.encodes and self.config.spread_frames:
            self.encoder.spread(_crops(target, self.config.spread_frames))
        if self.head.grid is not None and self.config.matte_frames:
            self.head.grid.restrict(_cut(self.head.grid, target, self.config))
        self._space = latent_space("latent-avatar", self.config, target)
        self.perceptual_loss.choose()

    def stages(self) -> tuple[Stage, ...]:
        return schedule(self.config)

    def losses(self, batch: Batch, stage: Stage, player: Player) -> dict[str, Tensor]:
        terms = Terms(self, batch)
        return {name: getattr(terms, name)() for name in player.losses}

    def state(self) -> dict[str, Any]:
        frame = {"middle_m": list(self.head.frame.middle_m), "half_m": list(self.head.frame.half_m)}
        return {"head": self.tracked_head.name, "space": self._space, "frame": frame, **self.perceptual_loss.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        frame = HeadFrame(tuple(state["frame"]["middle_m"]), tuple(state["frame"]["half_m"]))
        self._build(load_head(state["head"]), frame)
        self._space = state["space"]
        self.perceptual_loss.restore(state)

    def notes(self) -> tuple[str, ...]:
        said = list(self.perceptual_loss.notes())
        if not self.encodes:
            said.append("The code is made of all that the tracker estimates: the baseline Coeff+Tri-plane.")
        return tuple(said)

    @property
    def loss_extractors(self) -> frozenset[str]:
        return self.perceptual_loss.extractors

    @property
    def latent(self) -> Channel:
        """The channel of its own codes."""
        return latent_of(self._space)

    @property
    def driven_by(self) -> tuple[frozenset[Channel], ...]:
        tracked = mesh_channels(self.tracked_head.name)
        own = frozenset({self.latent, HEAD_POSE})
        if not self.encodes:
            return (*tracked, own)
        pictured = frozenset({FACE_CROP, HEAD_POSE})
        return (own, pictured, *tracked) if self.config.transfer_steps else (own, pictured)

    @property
    def identity(self) -> HeadIdentity:
        return HeadIdentity(self.tracked_head.name, self.identity_coefficients, self.offsets_m)

    def code(self, channels: Channels, view: View) -> Float[Tensor, "batch code"]:
        """The code that channels ask for: given as such, seen in a picture, or told by tracked signals."""
        if not self.moves:
            return self.mean_code.expand(view.batch, -1)
        if self.latent in channels:
            return channels[self.latent]
        if self.encodes and FACE_CROP in channels:
            return self.encoded(channels)
        return self.transferred(channels, view)

    def remember(self, codes: Float[Tensor, "batch code"]) -> None:
        """Let the mean code follow those of a training step."""
        self.mean_code = self.mean_code.lerp(codes.mean(0), _MEAN_RATE)

    def encoded(self, channels: Channels) -> Float[Tensor, "batch code"]:
        """What the encoder sees (eq. 2)."""
        crops = channels[FACE_CROP]
        if self.training and self.config.input_noise:
            crops = (crops + self.config.input_noise * torch.randn_like(crops)).clamp(0, 1)
        with self.precision():
            return self.encoder(crops).float()

    def encode(self, channels: Channels) -> dict[Channel, Tensor]:
        return {self.latent: self.encoded(channels)} if self.encodes else {}

    def transferred(self, channels: Channels, view: View) -> Float[Tensor, "batch code"]:
        """The code that tracked signals stand for."""
        noise = self.config.input_noise if self.training else 0.0
        return self.from_tracked(self.signal_range(tracked_signals(self.tracked_head, channels, view), noise))

    def planes(self, codes: Float[Tensor, "batch code"]) -> Float[Tensor, "batch planes _ _"]:
        """The tri-plane of each code."""
        with self.precision():
            return self.head.planes(codes)

    def seen(self, planes: Float[Tensor, "batch planes _ _"], channels: Channels, view: View) -> Seen:
        """The volume of planes in the window of a view."""
        small = self.window(channels, view).view(view, self.config.rays_side)
        return self.head.seen(planes, camera_pose(channels, view).float(), small.camera)

    def window(self, channels: Channels, view: View) -> Window:
        """Where in the views the volume is seen."""
        return Window.around(self.head.box, view, camera_pose(channels, view).float())

    def enlarged(self, seen: Seen) -> Picture:
        """The large picture."""
        with self.precision():
            return self.head.enlarged(seen)

    def precision(self) -> torch.autocast:
        """The arithmetic of the networks."""
        low = self.training and self.config.low_precision
        return torch.autocast(self.mean_code.device.type, torch.bfloat16, enabled=low)

    def render(self, channels: Channels, view: View, scene: Scene) -> Rendering:
        seen = self.seen(self.planes(self.code(channels, view)), channels, view)
        picture = self.enlarged(seen)
        rendering = self.composite(picture.rgb, picture.mask, channels, view, scene)
        window, size = self.window(channels, view), (view.camera.height_px, view.camera.width_px)
        return Rendering(rendering.rgb, rendering.alpha, {"depth": window.paste(seen.depth_m, *size)})

    def composite(
        self,
        picture: Float[Tensor, "batch 3 rows columns"],
        mask: Float[Tensor, "batch 1 rows columns"],
        channels: Channels,
        view: View,
        scene: Scene,
    ) -> Rendering:
        """A large picture in its place in the view, over the scene's background.

        The picture was learned over one background: what is left without it is colour times coverage.
        """
        mask = mask.clamp(0, 1)
        covered = (picture.clamp(0, 1) - (1 - mask) * self.config.background).clamp(0, 1)
        size = view.camera.height_px, view.camera.width_px
        found = self.window(channels, view).paste(torch.cat([covered, mask], 1), *size)
        rgb, alpha = found[:, :3], found[:, 3:]
        background = torch.zeros_like(rgb) if scene.background is None else scene.background
        return Rendering((rgb + (1 - alpha) * background).clamp(0, 1), alpha.clamp(0, 1))

    def runtime(self) -> Runtime:
        return LatentAvatarRuntime(self)

    def baselines(self) -> dict[str, AvatarModel]:
        still = copy.copy(self)
        still.moves = False
        return {"mean code": still}

    def _build(self, tracked: HeadModel, frame: HeadFrame) -> None:
        self.tracked_head = tracked
        self.head = LatentHead(self.config, frame)
        signals, code = signals_of(tracked), self.config.encoder.code
        self.signal_range = SignalRange(signals)
        # The baseline's network is the same from the code on; its signals only have to become one.
        self.from_tracked = CodeMapping(signals, code) if self.encodes else nn.Linear(signals, code)

    def _training_signals(self, source: Source) -> Float[Tensor, "frames signals"]:
        frames = torch.tensor(usable_training_frames(source))
        return tracked_signals(self.tracked_head, source.motion.at(frames), source.track.view(frames))


def _crops(sources: Sequence[Source], frames: int) -> Float[Tensor, "crops 3 side side"]:
    """Face crops of some training frames of each source."""
    found = []
    for source in sources:
        usable = usable_training_frames(source)
        found.append(source.motion_with({FACE_CROP}).at(spread_out(usable, frames))[FACE_CROP])
    return torch.cat(found)


@torch.no_grad()
def _cut(grid: OccupancyGrid, sources: tuple[Source, ...], config: LatentAvatarConfig) -> Tensor:
    """The cells that mattes of the training frames leave, in any of the clips."""
    allowed = torch.zeros_like(grid.allowed)
    for source in sources:
        frames = usable_training_frames(source)
        chosen = torch.tensor(spread_out(frames, config.matte_frames))
        store = FrameStore(source, config.rays_side)
        mattes = torch.stack([store[int(frame)][3:] for frame in chosen]).float() / 255
        view = source.track.view(chosen, size_px=config.rays_side)
        pose = camera_pose(source.motion.at(chosen), view).float()
        allowed |= matte_cells(grid, view.camera, pose, mattes, config.matte_share)
    return allowed
