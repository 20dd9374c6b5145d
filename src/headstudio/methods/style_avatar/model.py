"""The avatar: two planes of features and two U-Nets that make a portrait of a tracked head's renderings."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from headstudio.methods.style_avatar.config import PRESETS, StyleAvatarConfig
from headstudio.methods.style_avatar.people import People
from headstudio.methods.style_avatar.plates import Plates, first_plates
from headstudio.methods.style_avatar.portrait import Inputs, Made, Planes, Portrait
from headstudio.methods.style_avatar.rivals import build
from headstudio.methods.style_avatar.runtime import StyleAvatarRuntime
from headstudio.methods.style_avatar.schedule import PLANES, schedule
from headstudio.methods.style_avatar.terms import Terms
from headstudio.methods.style_avatar.windows import Windows
from headstudio.motion.articulation import mesh_channels
from headstudio.nn.discriminator import Discriminator
from headstudio.nn.perceptual import perceptual_loss
from headstudio.nn.phase_code import phase_code
from headstudio.nn.picture_loss import PictureLoss
from headstudio.records.capture import Annotation
from headstudio.records.channels import Channel, Channels, Rendering, Scene, View
from headstudio.records.track import HeadIdentity
from headstudio.render.composite import over
from headstudio.training.contract import AvatarModel, Batch, Capability, Runtime, Sources
from headstudio.training.stages import Player, Stage


class StyleAvatar(AvatarModel):
    """Paper 2; several target captures make a pre-training, whose first person the avatar is of."""

    Config = StyleAvatarConfig
    presets: ClassVar[Mapping[str, Any]] = PRESETS
    needs = frozenset({Annotation.LANDMARKS, Annotation.MATTE})
    capabilities = frozenset({Capability.ALPHA, Capability.BACKGROUND, Capability.REALTIME})

    def __init__(self, config: StyleAvatarConfig) -> None:
        super().__init__(config)
        sizes = config.sizes
        self.windows = Windows(sizes)
        self.covered_cells = sizes.crop_cells if config.wide_crop else sizes.window_cells
        self.shown = Windows(replace(sizes, window_cells=self.covered_cells))
        """Windows as wide as the capture's crop, for use."""
        self.portrait = build(config)
        self.judge = Discriminator(sizes.discriminator())
        self.perceptual_loss = PictureLoss(partial(perceptual_loss, low_precision=config.low_precision))
        self._planes: dict[tuple[int, torch.device], Planes] = {}
        self._last: Terms | None = None

    def setup(self, sources: Sources) -> None:
        self.people = People.of(sources["target"])
        plates = self._plates()
        if plates is not None:
            plates.take(first_plates(sources["target"], self.people, self.config.sizes, self.covered_cells))
        self.perceptual_loss.choose()

    def stages(self) -> tuple[Stage, ...]:
        return schedule(self.config)

    def losses(self, batch: Batch, stage: Stage, player: Player) -> dict[str, Tensor]:
        # The judge plays after the generator and on the pictures that this one has just made.
        if self._last is None or player.name == "generator" or not self._last.is_of(batch):
            if stage.name == PLANES:
                self._planes = {}
            self._last = Terms(self, batch, learning_planes=stage.name == PLANES)
        found = {name: getattr(self._last, name)() for name in player.losses}
        self._last = self._last.kept() if player.name == "generator" and self.training else None
        return found

    def state(self) -> dict[str, Any]:
        return {**self.people.state(), **self.perceptual_loss.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.people = People.restored(state)
        self.perceptual_loss.restore(state)

    def notes(self) -> tuple[str, ...]:
        return self.perceptual_loss.notes()

    @property
    def loss_extractors(self) -> frozenset[str]:
        return self.perceptual_loss.extractors

    @property
    def driven_by(self) -> tuple[frozenset[Channel], ...]:
        return mesh_channels(self.people.head.name)

    @property
    def identity(self) -> HeadIdentity:
        return HeadIdentity(self.people.head.name, self.people.coefficients[0], self.people.offsets_m[0])

    def render(self, channels: Channels, view: View, scene: Scene) -> Rendering:
        inputs = self.inputs(channels, view)
        moments = None if scene.time_code is None else self.people.moments_of_times(scene.time_code)
        made = self.portrait(inputs, self.planes(0), self.moment_codes(moments, len(inputs.mask)), self.shown)
        return self.composite(made.picture, made.alpha, view, scene)

    def composite(
        self,
        picture: Float[Tensor, "batch 3 rows columns"],
        alpha: Float[Tensor, "batch 1 rows columns"],
        view: View,
        scene: Scene,
    ) -> Rendering:
        """The view of a painted picture over the scene's background; `whole` keeps the avatar's own."""
        painted = torch.cat([(picture + 1.0) / 2.0, alpha], dim=1).clamp(0.0, 1.0)
        size = (view.camera.height_px, view.camera.width_px)
        if tuple(painted.shape[2:]) != size:
            painted = F.interpolate(painted, size, mode="bilinear", align_corners=False, antialias=True).clamp(0, 1)
        rgb, alpha = painted[:, :3], painted[:, 3:]
        background = torch.zeros_like(rgb) if scene.background is None else scene.background
        return Rendering(over(rgb, alpha, background), alpha, {"straight_rgb": rgb, "whole": rgb})

    def runtime(self) -> Runtime:
        return StyleAvatarRuntime(self)

    @torch.no_grad()
    def inputs(self, channels: Channels, view: View) -> Inputs:
        """Renderings of a view that shows what the capture's crop showed, and places of the windows for it."""
        sizes, batch = self.config.sizes, view.batch
        seen = view.resized(*(self.covered_cells * self.drawn_px,) * 2)
        none = torch.zeros(batch, 2, device=view.T_camera_world.device)
        moved_px = none if seen.foreground_offset_px is None else seen.foreground_offset_px
        drawn = self.people.renderings(0, channels, seen, self.config.light, -moved_px)
        middle = none + self.shown.middle_cells
        slid = self._slid(self.people.places(channels, seen), moved_px / self.drawn_px)
        behind = none if seen.background_offset_px is None else seen.background_offset_px / self.drawn_px
        texture = F.avg_pool2d(drawn.texture, self.drawn_px // sizes.rendering_px)
        return Inputs(texture, drawn.uv, drawn.mask, middle - slid, middle - behind)

    @property
    def drawn_px(self) -> int:
        """Pixels of the rasteriser in a cell: the picture's where colours are looked up, else the renderings'."""
        return self.config.sizes.rendering_px if self._plates() is None else self.config.sizes.picture_px

    def _plates(self) -> Plates | None:
        return self.portrait.plates if isinstance(self.portrait, Portrait) else None

    def _slid(self, places: Tensor, moved_cells: Tensor) -> Float[Tensor, "batch 2"]:
        """Cells by which the foreground's window slides: with a displacement that was asked for, and after heads that
        stand where none was filmed."""
        if not self.config.sliding:
            return torch.zeros_like(places)
        asked = moved_cells.round()
        heads, low, high = (
            values * self.covered_cells for values in (places, self.people.lowest[0], self.people.highest[0])
        )
        reach = (self.config.sizes.padded_cells - self.covered_cells) / 2
        return (asked + self.shown.slid(heads + moved_cells - asked, low, high)).clamp(-reach, reach)

    def planes(self, person: int) -> Planes:
        """The person's planes, baked until they learn again."""
        where = next(self.portrait.parameters()).device
        if (person, where) not in self._planes:
            with torch.no_grad():
                self._planes[person, where] = self.learned_planes(person)
        return self._planes[person, where]

    def learned_planes(self, person: int) -> Planes:
        """The person's planes as the generators give them now."""
        octaves = self.config.sizes.plane().style.code_width // 2
        code = self.people.person_code(person, octaves)
        return self.portrait.planes(code.to(next(self.portrait.parameters())), person)

    def moment_codes(self, moments: Tensor | None, batch: int) -> Float[Tensor, "batch moment_width"]:
        """z_tmp of moments, given as shares of a clip; None: that of use."""
        if moments is None:
            moments = torch.full((batch,), self.config.codes.neutral, dtype=torch.float64)
        return phase_code(moments.cpu(), self.config.codes.octaves).to(next(self.portrait.parameters()))

    def paint(self, inputs: Inputs, planes: Planes, codes: Tensor) -> Made:
        """The portrait in a training window, in the arithmetic of training."""
        with self.precision():
            return self.portrait(inputs, planes, codes)

    def precision(self) -> torch.autocast:
        """The arithmetic of the networks."""
        kind = next(self.portrait.parameters()).device.type
        return torch.autocast(kind, torch.bfloat16, enabled=self.training and self.config.low_precision)
