"""The avatar: a posed mesh whose eyes and mouth are painted by a small network."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headstudio.geometry.rigid import relative_orientation
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.methods.dynamic_texture.baking import bake, topology
from headstudio.methods.dynamic_texture.config import PRESETS, DynamicTextureConfig
from headstudio.methods.dynamic_texture.runtime import DynamicTextureRuntime, Painter
from headstudio.motion.articulation import articulation, camera_pose, mesh_channels, vertices_in_camera
from headstudio.nn.perceptual import perceptual_loss
from headstudio.nn.picture_loss import PictureLoss
from headstudio.nn.texture_decoder import TextureDecoder
from headstudio.records.capture import Annotation
from headstudio.records.channels import Channel, Channels, Rendering, Scene, View
from headstudio.records.mesh import MeshAsset
from headstudio.records.track import HeadIdentity
from headstudio.render.composite import over
from headstudio.render.light import spherical_harmonics, turned
from headstudio.render.mesh import MeshTopology, render_surface
from headstudio.render.normals import vertex_normals
from headstudio.render.texture import MipPyramid, build_pyramid, sample_texture
from headstudio.render.transfer import reached_share
from headstudio.texture.mesh_asset import mesh_asset
from headstudio.training.batches import usable_training_frames
from headstudio.training.contract import AvatarModel, Batch, Capability, Runtime, Source, Sources
from headstudio.training.stages import Optimiser, Player, Sampler, Stage


class DynamicTexture(AvatarModel):
    """Paper 1, from one clip: identity and static texture come from its training frames."""

    Config = DynamicTextureConfig
    presets: ClassVar[Mapping[str, Any]] = PRESETS
    needs = frozenset({Annotation.LANDMARKS})
    capabilities = frozenset(
        {
            Capability.SURFACE,
            Capability.TEXTURE,
            Capability.ALPHA,
            Capability.NOVEL_VIEW,
            Capability.RELIGHT,
            Capability.REALTIME,
        }
    )

    def __init__(self, config: DynamicTextureConfig) -> None:
        super().__init__(config)
        self.paints = True
        for name in ("identity_coefficients", "offsets_m", "static", "blend", "light_sh", "harmonics"):
            self.register_buffer(name, torch.zeros(0))
        self.perceptual_loss = PictureLoss(partial(perceptual_loss, low_precision=config.low_precision))
        self._layers: MipPyramid | None = None
        self._neutral: Tensor | None = None
        self._bare: Tensor | None = None

    def setup(self, sources: Sources) -> None:
        source = sources["target"][0]
        found = source.track.identity
        head = load_head(found.head)
        self.identity_coefficients = found.coefficients.clone()
        self.offsets_m = torch.zeros(head.vertices, 3) if found.offsets_m is None else found.offsets_m.clone()
        self._build(head)
        baked = bake(source, head, self._neutral_m, self.config)
        if baked.light_sh is not None and baked.harmonics is not None:
            self.light_sh, self.harmonics = baked.light_sh, baked.harmonics
        self.static, self.blend = ((values * 255).round().to(torch.uint8) for values in (baked.static, baked.blend))
        self.painter.measure(self._training_inputs(sources["target"]))
        self.perceptual_loss.choose()

    def stages(self) -> tuple[Stage, ...]:
        config = self.config
        player = Player(
            name="painter",
            parameters=("painter.decoder.*",),
            losses={"l1": config.l1_weight, "perceptual": config.perceptual_weight},
            optimiser=Optimiser(learning_rate=config.learning_rate),
        )
        return (Stage("texture", config.steps, (player,), Sampler(config.batch_size, config.size_px)),)

    def losses(self, batch: Batch, stage: Stage, player: Player) -> dict[str, Tensor]:
        assert batch.image is not None and batch.valid is not None
        painted = self._paint(batch.channels, batch.view)
        scene = replace(batch.scene, light_sh=None)  # the light that belongs to this albedo is the avatar's own
        rendering = self._draw(painted, batch.channels, batch.view, scene)
        weight = rendering.alpha.detach() * batch.valid
        if batch.matte is not None:
            weight = weight * batch.matte
        # Where the head is not, prediction and truth are the same picture, so no border is learned from.
        picture = over(rendering.rgb, weight, batch.image)
        l1 = (picture - batch.image).abs().sum() / (3 * weight.sum().clamp_min(1.0))
        return {"l1": l1, "perceptual": self.perceptual_loss(picture, batch.image, batch.valid.float())}

    def state(self) -> dict[str, Any]:
        return {"head": self.head.name, **self.perceptual_loss.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._build(load_head(state["head"]))
        self.perceptual_loss.restore(state)

    def notes(self) -> tuple[str, ...]:
        return self.perceptual_loss.notes()

    @property
    def loss_extractors(self) -> frozenset[str]:
        return self.perceptual_loss.extractors

    @property
    def driven_by(self) -> tuple[frozenset[Channel], ...]:
        return mesh_channels(self.head.name)

    @property
    def identity(self) -> HeadIdentity:
        return HeadIdentity(self.head.name, self.identity_coefficients, self.offsets_m)

    def inputs(self, channels: Channels, view: View) -> Float[Tensor, "batch inputs"]:
        """The network's input: expression, gaze (sideways and up) and head orientation against this view's camera."""
        state = articulation(self.head, channels)
        orientation = relative_orientation(camera_pose(channels, view).float())
        return torch.cat([state.expression, state.jaw_rad, state.gaze_rad[..., :2].flatten(1), orientation], dim=1)

    def render(self, channels: Channels, view: View, scene: Scene) -> Rendering:
        painted = self._paint(channels, view) if self.paints else None
        return self.composite(painted, channels, view, scene)

    def composite(
        self, painted: Float[Tensor, "batch 3 rows columns"] | None, channels: Channels, view: View, scene: Scene
    ) -> Rendering:
        """The picture of a painted texture (None: the static one) over the scene's background."""
        drawn = self._draw(painted, channels, view, scene)
        rgb = drawn.rgb.clamp(0, 1)
        background = torch.zeros_like(rgb) if scene.background is None else scene.background
        return Rendering(over(rgb, drawn.alpha, background), drawn.alpha, {**drawn.maps, "straight_rgb": rgb})

    def runtime(self) -> Runtime:
        return DynamicTextureRuntime(self)

    def baselines(self) -> dict[str, AvatarModel]:
        static = copy.copy(self)
        static.paints = False
        return {"static texture": static}

    @torch.no_grad()
    def surface(self) -> MeshAsset:
        neutral = self._neutral_m
        at_rest = torch.zeros_like(self.painter.mean)[None]  # no expression, looking straight into the camera
        painted = self.painter(at_rest)
        texture = self._blended_texture(painted)[0]
        return mesh_asset(self.head, neutral[0], (texture * 255).round().to(torch.uint8))

    def _blended_texture(self, painted: Tensor) -> Tensor:
        static, blend = self.static[None].float() / 255, self.blend[None].float() / 255
        wide = nn.functional.interpolate(painted, static.shape[-2:], mode="bilinear", align_corners=False)
        return self._mix(static, blend, wide).clamp(0, 1)

    def _mix(self, static: Tensor, blend: Tensor, painted: Tensor) -> Tensor:
        if self.config.residual:
            return static + blend * painted
        return static + blend * (painted.sigmoid() - static)

    def _paint(self, channels: Channels, view: View) -> Tensor:
        inputs = self.inputs(channels, view)
        if not self.training:
            return self.painter(inputs)
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.config.low_precision):
            return self.painter(inputs, self.config.input_noise).float()

    def _draw(self, painted: Tensor | None, channels: Channels, view: View, scene: Scene) -> Rendering:
        with torch.no_grad():
            vertices = vertices_in_camera(self.head, self._neutral_m, channels, view)

        def colour(uv: Tensor, mask: Tensor) -> Tensor:
            layers = sample_texture(self._static_layers(), uv, mask)
            static, blend = layers[:, :3], layers[:, 3:]
            return static if painted is None else self._mix(static, blend, sample_texture(painted, uv, mask))

        light_sh = self._light(view, scene)
        share = None if light_sh is None else self._light_share(light_sh, channels, view)
        surface = render_surface(vertices, self._mesh, view.camera, colour, light_sh, light_share=share)
        assert surface.image is not None  # a colour was given
        maps = {"depth": surface.depth_m, "normals": surface.normals, "uv": surface.uv}
        return Rendering(surface.image, surface.mask, maps)

    def _light(self, view: View, scene: Scene) -> Float[Tensor, "batch 9 3"] | None:
        """The light in the axes of the viewing camera: it stays where it is when the camera moves."""
        if not self.config.relight:
            return None
        light_sh = self.light_sh[None] if scene.light_sh is None else scene.light_sh
        return turned(light_sh.expand(view.batch, -1, -1), view.T_camera_world[:, :3, :3])

    def _light_share(
        self, light_sh: Float[Tensor, "batch 9 3"], channels: Channels, view: View
    ) -> Float[Tensor, "batch vertices 3"]:
        """What of the light in camera axes the head at rest does not keep from itself."""
        rotation_head_camera = camera_pose(channels, view).float()[:, :3, :3].transpose(1, 2)
        if self._bare is None or self._bare.device != light_sh.device:
            self._bare = spherical_harmonics(vertex_normals(self._neutral_m, self._mesh.triangles)[0])
        return reached_share(self.harmonics, self._bare, turned(light_sh, rotation_head_camera))

    def _static_layers(self) -> MipPyramid:
        # Static texture and blend mask never change, so their pyramid is made once and sampled in one look-up.
        if self._layers is None or self._layers.texels.device != self.static.device:
            self._layers = build_pyramid(torch.cat([self.static, self.blend])[None].float() / 255)
        return self._layers

    @property
    def _neutral_m(self) -> Tensor:
        if self._neutral is None or self._neutral.device != self.offsets_m.device:
            self._neutral = self.head.neutral(self.identity_coefficients[None], self.offsets_m[None])
        return self._neutral

    def _build(self, head: HeadModel) -> None:
        self.head = head
        self._mesh: MeshTopology = topology(head)
        inputs = head.expressions + 3 + 4 + 3
        self.painter = Painter(TextureDecoder(inputs, self.config.decoder), inputs)

    def _training_inputs(self, sources: tuple[Source, ...]) -> Tensor:
        parts = []
        for source in sources:
            frames = torch.tensor(usable_training_frames(source))
            parts.append(self.inputs(source.motion.at(frames), source.track.view(frames)))
        return torch.cat(parts)
