"""The avatar: a mesh and its texture from one code, re-rendered by a network that tells the person from the room."""

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from headstudio.errors import HeadstudioError
from headstudio.heads import load_head
from headstudio.methods.hybrid_head import drawing
from headstudio.methods.hybrid_head.blendshapes import (
    articulated,
    signals_in,
    tracked_signals,
    weights_in,
    weights_of,
)
from headstudio.methods.hybrid_head.config import PRESETS, HybridHeadConfig
from headstudio.methods.hybrid_head.frames import KnownCodes
from headstudio.methods.hybrid_head.person import Person
from headstudio.methods.hybrid_head.plates import clean_plate, portrait
from headstudio.methods.hybrid_head.rendering import Layers, Refiner, mesh_alone
from headstudio.methods.hybrid_head.runtime import HybridHeadRuntime, TextureBaker
from headstudio.methods.hybrid_head.schedule import ENCODE, HEAD, PICTURE, schedule
from headstudio.methods.hybrid_head.terms import HeadTerms, PictureTerms, TransferTerms
from headstudio.motion.articulation import mesh_channels
from headstudio.nn.face_autoencoder import CodeMapping
from headstudio.nn.head_autoencoder import Decoded, Gaussian, HeadDecoder, HeadEncoder
from headstudio.nn.patch_discriminator import PatchDiscriminator
from headstudio.nn.perceptual import perceptual_loss
from headstudio.nn.picture_loss import PictureLoss
from headstudio.nn.signal_range import SignalRange
from headstudio.records.capture import Annotation
from headstudio.records.channels import ARKIT, HEAD_POSE, Channel, Channels, Rendering, Scene, View, latent_of
from headstudio.records.mesh import MeshAsset
from headstudio.records.track import HeadIdentity
from headstudio.texture.eigen import EigenTextures
from headstudio.texture.mesh_asset import mesh_asset
from headstudio.texture.unwrapping import FrameTextures
from headstudio.training.batches import spread_out, usable_training_frames
from headstudio.training.contract import AvatarModel, Batch, Capability, Runtime, Source, Sources
from headstudio.training.latent_space import latent_space
from headstudio.training.stages import Player, Stage

_MEASURED = 64
"""Textures from which their standard deviation is measured."""
_SUMMED = 256
"""Textures from which eigen-textures are found."""
_AT_ONCE = 16


class Seen(NamedTuple):
    """What the encoder sees of frames, in standard deviations from the mean."""

    weights: Float[Tensor, "batch weights"]
    tones: Float[Tensor, "batch tones"]
    """Coefficients of eigen-textures."""
    texture: Float[Tensor, "batch 3 side side"]
    own: Float[Tensor, "batch 1 side side"]
    """1 where the texture is the frame's own."""


class HybridHead(AvatarModel):
    """Paper 3's head: autoencoder of blendshape weights and textures, and re-rendering."""

    plates: Tensor
    """Clean plates of the captures, sRGB bytes."""
    plates_seen: Tensor
    texture_deviation: Tensor

    Config = HybridHeadConfig
    presets: ClassVar[Mapping[str, Any]] = PRESETS
    needs = frozenset({Annotation.LANDMARKS, Annotation.MATTE})
    capabilities = frozenset(
        {
            Capability.SURFACE,
            Capability.TEXTURE,
            Capability.ALPHA,
            Capability.BACKGROUND,
            Capability.NOVEL_VIEW,
            Capability.REALTIME,
        }
    )

    def __init__(self, config: HybridHeadConfig) -> None:
        super().__init__(config)
        _check(config)
        self.refines, self.moves = True, True
        self._space = ""
        self._given_plates: list[bool] = []
        self.refiner = Refiner(config)
        self.judge = PatchDiscriminator(config.judge)
        self.known = KnownCodes(config.autoencoder.code)
        self.register_buffer("plates", torch.zeros(0, dtype=torch.uint8))
        self.register_buffer("plates_seen", torch.zeros(0, dtype=torch.bool))
        self.register_buffer("texture_deviation", torch.ones(()))
        self.eigen = EigenTextures(config.autoencoder.tones, config.autoencoder.side)
        self.perceptual_loss = PictureLoss(partial(perceptual_loss, low_precision=config.low_precision))
        self._textures: dict[str, FrameTextures] = {}
        self._last: HeadTerms | None = None

    def setup(self, sources: Sources) -> None:
        target = sources["target"]
        self._build(target[0].track.identity.head)
        self.person.take(target)
        self.known.expect({source.key: usable_training_frames(source) for source in target})
        signals = [self._training_signals(source) for source in target]
        self.weight_range.measure(torch.cat([weights for weights, _ in signals]))
        self.signal_range.measure(torch.cat([tracked for _, tracked in signals]))
        self._take_backgrounds(target)
        self.attach(sources)
        for source in target:
            self._textures[source.key].make(usable_training_frames(source))
        self._measure_textures()
        self._space = latent_space("hybrid-head", self.config, target)
        self.perceptual_loss.choose()

    def attach(self, sources: Sources) -> None:
        for source in sources["target"]:
            if source.key not in self._textures:
                self._textures[source.key] = self.person.textures(source)

    def stages(self) -> tuple[Stage, ...]:
        return schedule(self.config)

    def losses(self, batch: Batch, stage: Stage, player: Player) -> dict[str, Tensor]:
        if stage.name != HEAD:
            terms = PictureTerms(self, batch) if stage.name == PICTURE else TransferTerms(self, batch)
            return {name: getattr(terms, name)() for name in player.losses}
        # The judge plays after the autoencoder and on the textures that this one has just made.
        learns = player.name == "autoencoder"
        if self._last is None or learns or not self._last.is_of(batch):
            self._last = HeadTerms(self, batch)
        found = {name: getattr(self._last, name)() for name in player.losses}
        self._last = self._last.made() if learns and self.training else None
        return found

    @torch.no_grad()
    def on_event(self, name: str) -> None:
        if name != ENCODE:
            super().on_event(name)
        for key, frames in self.known.frames.items():
            self.known.store(key, self._encoded_frames(self._textures[key], frames))

    def state(self) -> dict[str, Any]:
        return {
            "head": self.person.head.name,
            "space": self._space,
            "train_frames": {key: list(frames) for key, frames in self.known.frames.items()},
            "given_plates": self._given_plates,
            **self.perceptual_loss.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._build(state["head"])
        self._space = state["space"]
        self._given_plates = list(state["given_plates"])
        self.known.expect(state["train_frames"])
        self.perceptual_loss.restore(state)

    def notes(self) -> tuple[str, ...]:
        said = list(self.perceptual_loss.notes())
        for given, seen in zip(self._given_plates, self.plates_seen, strict=True):
            if given:
                said.append("The clean plate is a picture that was given.")
            else:
                said.append(
                    "The clean plate is the temporal median outside the matte; "
                    f"{float(seen.float().mean()):.0%} of it was ever seen and the rest is continued."
                )
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
        own = frozenset({self.latent, HEAD_POSE})
        return (own, *mesh_channels(self.person.head.name)) if self.config.transfer_steps else (own,)

    @property
    def identity(self) -> HeadIdentity:
        return self.person.identity

    def seen(self, source_key: str, frames: Tensor, channels: Channels) -> Seen:
        """What the encoder sees of frames of a capture that it was told of."""
        textures = self._textures.get(source_key)
        if textures is None:
            raise HeadstudioError("the textures of this capture are not known", next_step="attach its source first")
        return self._standard(textures, frames, channels)

    def encoded(self, seen: Seen) -> Gaussian:
        """What is known of their codes."""
        with self.precision():
            found = self.encoder(seen.weights, seen.tones, seen.texture)
        return Gaussian(*(value.float() for value in found))

    def decoded(self, codes: Float[Tensor, "batch code"]) -> Decoded:
        """Standardised weights, tones and whole textures of codes."""
        with self.precision():
            found = self.decoder(codes)
        weights, tones, texture = (value.float() for value in found)
        return Decoded(weights, tones, self.eigen(tones) + texture)

    def codes(self, source: Source) -> dict[Channel, Tensor]:
        usable = [frame for frame in range(source.track.frames) if bool(source.track.usable[frame])]
        textures = self._textures.get(source.key) or self.person.textures(source)
        found = self._encoded_frames(textures, usable).cpu()
        # A frame without a face has the code of the one before it.
        last = torch.searchsorted(torch.tensor(usable), torch.arange(source.track.frames), right=True) - 1
        return {self.latent: found[last.clamp_min(0)]}

    def code(self, channels: Channels, view: View) -> Float[Tensor, "batch code"]:
        """The code that channels ask for: given as such, or told by tracked signals."""
        if not self.moves:
            return self.known.mean.expand(view.batch, -1)
        if self.latent in channels:
            return channels[self.latent]
        return self.transferred(channels, view)

    def transferred(self, channels: Channels, view: View) -> Float[Tensor, "batch code"]:
        """The code that tracked signals stand for."""
        noise = _SIGNAL_NOISE if self.training else 0.0
        return self.from_tracked(self.signal_range(tracked_signals(self.person.head, channels, view), noise))

    def known_codes(self, source_key: str, frames: Tensor) -> Float[Tensor, "batch code"]:
        """The codes of training frames."""
        return self.known(source_key, frames)

    @property
    def code_deviation(self) -> Float[Tensor, " code"]:
        """How far each number of the codes of training frames is from its mean."""
        return self.known.deviation

    def texture(self, codes: Float[Tensor, "batch code"]) -> Float[Tensor, "batch 3 side side"]:
        """sRGB in [0, 1]."""
        mean = self.person.mean[None].float() / 255
        away = self.eigen(self.decoder.said(codes)) + self.decoder.textures(codes)
        return (mean + self.texture_deviation * away).clamp(0, 1)

    def places(self, codes: Float[Tensor, "batch code"], channels: Channels, view: View) -> drawing.Places:
        """Where in the atlas a picture of the mesh looks, at the size of the re-rendering."""
        person, side = self.person, self.config.size_px
        weights = self._own_units(self.decoder.moved(codes))
        seen = view.resized(side, side)
        vertices_m = person.vertices_m(articulated(person.head, weights, channels), channels, seen)
        return drawing.places(vertices_m, person.mesh, seen.camera)

    def drawn(self, codes: Float[Tensor, "batch code"], channels: Channels, view: View) -> drawing.Drawn:
        """The mesh-based rendering."""
        found = self.places(codes, channels, view)
        return drawing.paint(self.texture(codes), found.uv, found.mask)

    def apart_m(self, weights: Float[Tensor, "batch weights"], wanted: Float[Tensor, "batch weights"]) -> Tensor:
        """Mean distance of the vertices that two sets of standardised weights move."""
        person = self.person
        meshes = [person.posed_m(articulated(person.head, self._own_units(values), {})) for values in (weights, wanted)]
        return (meshes[0] - meshes[1])[:, person.moving].square().sum(-1).add(_SMOOTH_M2).sqrt().mean()

    def plate(self, source_key: str) -> Float[Tensor, "1 3 side side"]:
        """The background that was behind the person in a capture."""
        numbers = list(self.known.frames)
        number = numbers.index(source_key) if source_key in numbers else 0
        return self.plates[number : number + 1].float() / 255

    @property
    def counts(self) -> Float[Tensor, "1 1 side side"]:
        """How much a texel counts."""
        return self.person.counts(self.config.head_weights.features)

    def precision(self) -> torch.autocast:
        """The arithmetic of the networks."""
        low = self.training and self.config.low_precision
        return torch.autocast(self.texture_deviation.device.type, torch.bfloat16, enabled=low)

    def render(self, channels: Channels, view: View, scene: Scene) -> Rendering:
        codes = self.code(channels, view)
        found = self.places(codes, channels, view)
        layers = self.layers(drawing.paint(self.texture(codes), found.uv, found.mask))
        rendering = self.composite(layers.foreground, layers.weights, view, scene)
        size = (view.camera.height_px, view.camera.width_px)
        maps = {"mesh": layers.mesh, "corrective": layers.corrective}
        wide = {name: _resized(values, size) for name, values in maps.items()}
        depth = F.interpolate(found.depth_m, size, mode="nearest-exact")
        return Rendering(rendering.rgb, rendering.alpha, {**rendering.maps, **wide, "depth": depth})

    def layers(self, drawn: drawing.Drawn) -> Layers:
        """The layers of eq. 1."""
        return self.refiner(drawn) if self.refines else mesh_alone(drawn)

    def composite(
        self,
        foreground: Float[Tensor, "batch 3 rows columns"],
        weights: Float[Tensor, "batch 3 rows columns"],
        view: View,
        scene: Scene,
    ) -> Rendering:
        """The person before the scene's background; `weights` are those of mesh, corrective image and background."""
        size = (view.camera.height_px, view.camera.width_px)
        wide = _resized(torch.cat([foreground, weights], dim=1), size).clamp(0, 1)
        foreground, weights = wide[:, :3], wide[:, 3:]
        alpha = (weights[:, :1] + weights[:, 1:2]).clamp(0, 1)
        background = torch.zeros_like(foreground) if scene.background is None else scene.background
        straight = torch.where(alpha > _LEAST_ALPHA, foreground / alpha.clamp_min(_LEAST_ALPHA), 0.0).clamp(0, 1)
        rgb = (foreground + (1 - alpha) * background).clamp(0, 1)
        return Rendering(rgb, alpha, {"weights": weights, "straight_rgb": straight})

    def runtime(self) -> Runtime:
        return HybridHeadRuntime(self)

    def baselines(self) -> dict[str, AvatarModel]:
        mesh, still = copy.copy(self), copy.copy(self)
        mesh.refines, still.moves = False, False
        return {"mesh only": mesh, "mean code": still}

    @torch.no_grad()
    def surface(self) -> MeshAsset:
        rest = {ARKIT: torch.zeros(1, 52)}
        return mesh_asset(self.person.head, self.person.neutral_m[0], TextureBaker(self).bake(rest))

    def _build(self, head_name: str) -> None:
        config = self.config
        self.person = Person(load_head(head_name), config.unwrapping)
        weights, signals = weights_in(self.person.head), signals_in(self.person.head)
        self.encoder = HeadEncoder(weights, config.autoencoder)
        self.decoder = HeadDecoder(weights, config.autoencoder)
        self.weight_range, self.signal_range = SignalRange(weights), SignalRange(signals)
        self.from_tracked = CodeMapping(signals, config.autoencoder.code)

    def _training_signals(self, source: Source) -> tuple[Tensor, Tensor]:
        frames, head = torch.tensor(usable_training_frames(source)), self.person.head
        channels = source.motion.at(frames)
        return weights_of(head, channels), tracked_signals(head, channels, source.track.view(frames))

    def _take_backgrounds(self, target: tuple[Source, ...]) -> None:
        side, count = self.config.size_px, self.config.plate_frames
        plates = [clean_plate(source, side, count) for source in target]
        self.plates = torch.stack([(plate.rgb * 255).round().to(torch.uint8) for plate in plates])
        self.plates_seen = torch.stack([plate.seen for plate in plates])
        self._given_plates = [plate.given for plate in plates]
        if self.config.starts_from_portrait:
            self.refiner.portrait = portrait(target[0], side, count)

    def _measure_textures(self) -> None:
        key, frames = next(iter(self.known.frames.items()))
        chosen = spread_out(frames, _MEASURED)
        found = self._textures[key][chosen]
        away = (found.rgb.float() - self.person.mean.cpu()) / 255
        own = found.own.float() / 255
        variance = (away.square() * own).sum() / (3 * own.sum()).clamp_min(1.0)
        self.texture_deviation = variance.sqrt().clamp_min(_LEAST_DEVIATION).to(self.texture_deviation)
        if self.eigen.components:
            some = spread_out(frames, _SUMMED)
            away = (self._textures[key][some].rgb.float() - self.person.mean.float()) / (255 * self.texture_deviation)
            self.eigen.measure(away, self.counts)

    def _standard(self, textures: FrameTextures, frames: Tensor, channels: Channels) -> Seen:
        found, device = textures[frames], self.person.mean.device
        mean = self.person.mean[None].float()
        away = (found.rgb.to(device).float() - mean) / (255 * self.texture_deviation)
        weights = self.weight_range(weights_of(self.person.head, channels))
        return Seen(weights, self.eigen.coefficients(away), away, found.own.to(device).float() / 255)

    def _encoded_frames(
        self, textures: FrameTextures, frames: tuple[int, ...] | list[int]
    ) -> Float[Tensor, "frames code"]:
        """The means of the codes, in full precision."""
        motion, device, found = textures.track.motion(), self.person.mean.device, []
        for some in torch.tensor(frames).split(_AT_ONCE):
            channels = {channel: values.to(device) for channel, values in motion.at(some).items()}
            seen = self._standard(textures, some, channels)
            found.append(self.encoder(seen.weights, seen.tones, seen.texture).mean)
        return torch.cat(found)

    def _own_units(self, standard: Float[Tensor, "batch weights"]) -> Float[Tensor, "batch weights"]:
        return self.weight_range.mean + self.weight_range.deviation * standard


_LEAST_ALPHA, _LEAST_DEVIATION, _SMOOTH_M2, _SIGNAL_NOISE = 1e-3, 1e-3, 1e-12, 0.05


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[2:]) == size:
        return maps
    return F.interpolate(maps, size, mode="bilinear", align_corners=False, antialias=True)


def _check(config: HybridHeadConfig) -> None:
    if config.unwrapping.size_px != config.autoencoder.side:
        raise HeadstudioError(
            f"textures of {config.unwrapping.size_px} px do not fit an autoencoder of {config.autoencoder.side} px",
            next_step="set unwrapping.size_px and autoencoder.side alike",
        )
    coarsest = 2 ** (len(config.renderer.widths) - 1)
    if config.size_px % coarsest:
        raise HeadstudioError(
            f"a picture of {config.size_px} px cannot be halved {len(config.renderer.widths) - 1} times",
            next_step=f"choose a multiple of {coarsest}, or fewer renderer.widths",
        )
    if (config.renderer.inputs, config.renderer.outputs) != (3, 6):
        raise HeadstudioError(
            "the re-rendering takes 3 channels and gives 6", next_step="leave renderer.inputs and renderer.outputs"
        )
