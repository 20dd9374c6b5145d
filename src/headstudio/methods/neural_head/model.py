"""The avatar: a refined mesh whose points a network colours."""

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.heads.parsing import Label
from headstudio.methods.neural_head.baking import baked_texture, first_texture, texture_size_px
from headstudio.methods.neural_head.buffers import Buffers, draw_buffers, enlarged, smoothed_edges
from headstudio.methods.neural_head.colour import Colour
from headstudio.methods.neural_head.config import PRESETS, NeuralHeadConfig
from headstudio.methods.neural_head.runtime import NeuralHeadRuntime
from headstudio.methods.neural_head.schedule import schedule
from headstudio.methods.neural_head.shape import Shape
from headstudio.methods.neural_head.signals import colour_signal, colour_signals, joint_signal
from headstudio.methods.neural_head.terms import Terms
from headstudio.motion.articulation import articulation, mesh_channels, vertices_in_camera
from headstudio.nn.face_features import FaceFeatureLoss, load_face_features
from headstudio.nn.perceptual import perceptual_loss
from headstudio.nn.picture_loss import PictureLoss
from headstudio.records.capture import Annotation
from headstudio.records.channels import Channel, Channels, Rendering, Scene, View
from headstudio.records.mesh import MeshAsset
from headstudio.records.track import HeadIdentity
from headstudio.render.composite import over
from headstudio.render.mesh import MeshTopology
from headstudio.texture.mesh_asset import mesh_asset
from headstudio.training.batches import spread_out, usable_training_frames
from headstudio.training.contract import AvatarModel, Batch, Capability, Runtime, Source, Sources
from headstudio.training.stages import Player, Stage

_OPTIONAL = (Annotation.MATTE, Annotation.PARSING, Annotation.NORMALS)
_BALD_SHARE = 0.02
_LOOKED_AT = 12


class NeuralHead(AvatarModel):
    """Paper 4, from one clip: offsets over the tracked head and a texture network, learned in three stages."""

    Config = NeuralHeadConfig
    presets: ClassVar[Mapping[str, Any]] = PRESETS
    needs = frozenset({Annotation.LANDMARKS})
    uses = frozenset(_OPTIONAL)
    capabilities = frozenset(
        {Capability.SURFACE, Capability.TEXTURE, Capability.ALPHA, Capability.NOVEL_VIEW, Capability.REALTIME}
    )

    def __init__(self, config: NeuralHeadConfig) -> None:
        super().__init__(config)
        self.refines, self.moves = True, True
        self._known: frozenset[Annotation] = frozenset()
        self._scalp = Label.HAIR
        self.perceptual_loss = PictureLoss(partial(_picture_loss, config))

    def setup(self, sources: Sources) -> None:
        target = sources["target"]
        found = target[0].track.identity
        self._known = frozenset(a for a in _OPTIONAL if all(a in s.capture.annotations for s in target))
        self._scalp = Label.SKIN if _is_bald(target[0], self._known) else Label.HAIR
        self._build(load_head(found.head), {source.key: usable_training_frames(source) for source in target})
        self.shape.take(found.coefficients, found.offsets_m)
        self._measure(target)
        config = self.config.texture
        if config.base_px:
            neutral_m = self.shape.tracked_m().detach()
            args = (target[0], self.shape.head, neutral_m, config.base_px, config.base_frames)
            self.colour.start_from(first_texture(*args))
        self.perceptual_loss.choose()

    def stages(self) -> tuple[Stage, ...]:
        return schedule(self.config, self._known)

    def losses(self, batch: Batch, stage: Stage, player: Player) -> dict[str, Tensor]:
        terms = Terms(self, batch)
        return {name: getattr(terms, name)() for name in player.losses}

    def state(self) -> dict[str, Any]:
        frames = self.shape.residuals.expression.train_frames
        return {
            "head": self.shape.coarse.name,
            "train_frames": {key: list(listed) for key, listed in frames.items()},
            "known": sorted(a.value for a in self._known),
            "scalp": int(self._scalp),
            **self.perceptual_loss.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._known = frozenset(Annotation(name) for name in state["known"])
        self._scalp = Label(state["scalp"])
        self._build(load_head(state["head"]), state["train_frames"])
        self.perceptual_loss.restore(state)

    def notes(self) -> tuple[str, ...]:
        said = list(self.perceptual_loss.notes("E_perc"))
        if Annotation.NORMALS not in self._known:
            said.append("No normals were given: the energy of the normals' Laplacian was off.")
        if Annotation.PARSING not in self._known:
            below = (
                "the outline of the matte counted above the chin" if Annotation.MATTE in self._known else "no outline"
            )
            said.append(f"No semantic labels were given: their energies were off; {below}.")
        return tuple(said)

    @property
    def loss_extractors(self) -> frozenset[str]:
        return self.perceptual_loss.extractors

    @property
    def driven_by(self) -> tuple[frozenset[Channel], ...]:
        return mesh_channels(self.shape.head.name)

    @property
    def identity(self) -> HeadIdentity:
        coarse = self.shape.coarse
        return HeadIdentity(coarse.name, self.shape.coefficients, self.shape.person_offsets_m[: coarse.vertices])

    def precision(self) -> torch.autocast:
        """The arithmetic of the networks."""
        low = self.training and self.config.low_precision
        return torch.autocast(self.shape.coefficients.device.type, torch.bfloat16, enabled=low)

    def signal(self, channels: Channels, view: View) -> Float[Tensor, "batch signals"]:
        """What T is told."""
        signal = colour_signal(articulation(self.shape.head, channels), channels, view)
        return signal if self.moves else self.colour.signals.mean.expand_as(signal)

    def neutral_m(self, channels: Channels) -> Float[Tensor, "some vertices 3"]:
        """The refined neutral face in some frames; one for all where nothing depends on the pose."""
        tracked_m = self.shape.tracked_m()
        if not self.refines:
            return tracked_m
        return tracked_m + self.shape.offsets_m(joint_signal(articulation(self.shape.head, channels), channels))

    def seen(self, channels: Channels, view: View) -> Buffers:
        """What T sees: the view at the resolution that T was trained at, on which its normal patches depend."""
        return self._small(self.vertices_m(channels, view), view)

    def render(self, channels: Channels, view: View, scene: Scene) -> Rendering:
        vertices_m = self.vertices_m(channels, view)
        buffers = self._small(vertices_m, view)
        painted = self.colour(buffers, self.colour.standard(self.signal(channels, view)))
        return self._finished(painted, buffers, vertices_m, view, scene)

    def composite(
        self, painted: Float[Tensor, "batch 3 rows columns"], channels: Channels, view: View, scene: Scene
    ) -> Rendering:
        """The picture of colours that were painted over what was `seen`."""
        vertices_m = self.vertices_m(channels, view)
        return self._finished(painted, self._small(vertices_m, view), vertices_m, view, scene)

    def drawn(self, channels: Channels, view: View) -> Rendering:
        """The avatar alone, straight colours."""
        rendering = self.render(channels, view, Scene())
        return Rendering(rendering.maps["straight_rgb"], rendering.alpha)

    def runtime(self) -> Runtime:
        return NeuralHeadRuntime(self)

    def baselines(self) -> dict[str, AvatarModel]:
        tracked, still = copy.copy(self), copy.copy(self)
        tracked.refines, still.moves = False, False
        return {"tracked": tracked, "constant colour": still}

    @torch.no_grad()
    def surface(self) -> MeshAsset:
        head = self.shape.head
        neutral_m = self.shape.tracked_m() + self.shape.offsets_m(self.shape.signals.mean[None])
        texture = (baked_texture(self, texture_size_px(self.config)) * 255).round().to(torch.uint8)
        return mesh_asset(head, neutral_m[0], texture)

    @property
    def mesh(self) -> MeshTopology:
        """The refined mesh, where the parameters are."""
        device = self.shape.coefficients.device
        if self._mesh.uv.device != device:
            self._mesh = self._mesh.to(device)
        return self._mesh

    @property
    def edge_m(self) -> float:
        """Mean length of an edge of the refined mesh, the unit of energies of offsets."""
        return self._edge_m

    def _small(self, vertices_m: Float[Tensor, "batch vertices 3"], view: View) -> Buffers:
        small = view.resized(self.config.size_px, self.config.size_px)
        return draw_buffers(vertices_m, self.mesh, self.shape.tables, small.camera)

    def _finished(self, painted: Tensor, buffers: Buffers, vertices_m: Tensor, view: View, scene: Scene) -> Rendering:
        height, width = view.camera.height_px, view.camera.width_px
        fine = buffers
        if (height, width) != tuple(buffers.mask.shape[2:]):
            fine = draw_buffers(vertices_m, self.mesh, self.shape.tables, view.camera)
        colour = enlarged(painted, buffers.mask, height, width)
        rgb, alpha = smoothed_edges(colour, fine.fragments)
        rgb = rgb.clamp(0, 1)
        background = torch.zeros_like(rgb) if scene.background is None else scene.background
        maps = {
            "depth": fine.fragments.depth_m[:, None],
            "normals": fine.normals,
            "uv": fine.uv,
            "straight_rgb": rgb,
        }
        return Rendering(over(rgb, alpha, background), alpha, maps)

    def vertices_m(self, channels: Channels, view: View) -> Float[Tensor, "batch vertices 3"]:
        """The refined mesh in camera axes; `mesh` has its triangles."""
        return vertices_in_camera(self.shape.head, self.neutral_m(channels), channels, view)

    def _build(self, head: HeadModel, train_frames: Mapping[str, Sequence[int]]) -> None:
        self.shape = Shape(head, self.config, train_frames)
        self.colour = Colour(colour_signals(head.expressions), self.config.texture)
        self._mesh = self.shape.topology(self._scalp)
        ends = self.shape.head.template_m[self.shape.tables.edges]
        self._edge_m = float((ends[:, 0] - ends[:, 1]).norm(dim=1).mean())

    @torch.no_grad()
    def _measure(self, sources: tuple[Source, ...]) -> None:
        joints, colours = [], []
        for source in sources:
            frames = torch.tensor(usable_training_frames(source))
            channels = source.motion.at(frames)
            state = articulation(self.shape.head, channels)
            joints.append(joint_signal(state, channels))
            colours.append(colour_signal(state, channels, source.track.view(frames)))
        self.shape.signals.measure(torch.cat(joints))
        self.colour.signals.measure(torch.cat(colours))


def _picture_loss(config: NeuralHeadConfig) -> tuple[nn.Module, str]:
    """E_perc and a phrase that says what it is."""
    if config.embedder is None:
        return perceptual_loss(low_precision=config.low_precision)
    loss = FaceFeatureLoss(load_face_features(config.embedder))
    return loss, f"L1 of {loss.extractor.name} features and of their Gram matrices"


def _is_bald(source: Source, known: frozenset[Annotation]) -> bool:
    """Whether hardly any of the labelled head is hair."""
    if Annotation.PARSING not in known:
        return False
    frames = usable_training_frames(source)
    chosen = spread_out(frames, _LOOKED_AT)
    labels = torch.stack([source.capture.parsing(frame) for frame in chosen])
    hair, skin = ((labels == int(label)).sum() for label in (Label.HAIR, Label.SKIN))
    return bool(hair < _BALD_SHARE * (hair + skin))
