"""The Y-shaped network, its mapping, and what drives with them."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from headstudio.drivers.latent.config import PRESETS, LatentDriverConfig
from headstudio.errors import HeadstudioError
from headstudio.nn.face_autoencoder import CodeMapping, FaceDecoder, FaceEncoder, FaceNeck
from headstudio.nn.ssim import ssim
from headstudio.records.capture import Annotation
from headstudio.records.channels import FACE_CROP, Channel, Channels
from headstudio.training.batches import spread_out, usable_training_frames
from headstudio.training.contract import TARGET, AvatarModel, Batch, Driver, Role, Source, Sources, State
from headstudio.training.stages import OneOf, Optimiser, Player, Sampler, Stage

ACTOR: Role = "actor"
_OTHER = {TARGET: ACTOR, ACTOR: TARGET}
_SHARED = ("encoder.*", "neck.*")
_MAPPING = ("mapping.*",)
_SAMPLED_AT_REST = 64


class LatentDriver(Driver):
    """Paper 5, section 4: the actor's face in, the code of the avatar out."""

    Config = LatentDriverConfig
    presets: ClassVar[Mapping[str, Any]] = PRESETS
    needs = frozenset({Annotation.LANDMARKS})
    roles = frozenset({TARGET, ACTOR})
    consumes = frozenset({FACE_CROP})

    rest_code: Tensor

    def __init__(self, config: LatentDriverConfig) -> None:
        super().__init__(config)
        self.encoder = FaceEncoder(config.encoder)
        self.neck = FaceNeck(config.decoder)
        self.decoders = nn.ModuleDict({role: FaceDecoder(config.decoder) for role in (TARGET, ACTOR)})

    def bind(self, avatar: AvatarModel) -> None:
        found = avatar.eval().encode({FACE_CROP: torch.zeros(1, 3, 128, 128, device=_device_of(avatar))})
        if len(found) != 1:
            raise HeadstudioError(
                "this avatar has no code of its own that a face could be turned into",
                next_step="train a latent-avatar, or drive without a driver",
            )
        ((self._channel, code),) = found.items()
        self._avatar = (avatar,)  # in a tuple, so that it is no part of the driver
        self.mapping = CodeMapping(self.config.encoder.code, code.shape[1])
        self.register_buffer("rest_code", torch.zeros(code.shape[1]))

    @property
    def produces(self) -> frozenset[Channel]:
        return frozenset({self._channel})

    @torch.no_grad()
    def setup(self, sources: Sources) -> None:
        codes = [self._wanted(_some_crops(source)) for source in sources[TARGET]]
        self.rest_code = torch.cat(codes).mean(0)

    def stages(self) -> tuple[Stage, ...]:
        config, joint = self.config, self.config.mapping == "joint"
        optimiser, sampler = Optimiser(learning_rate=config.learning_rate), _sampler(config.batch_size)
        losses = {"l1": 1.0, "ssim": config.ssim_weight, **self._cycle_weights()}
        players = tuple(
            Player(
                role,
                (*_SHARED, f"decoders.{role}.*", *(_MAPPING if joint and role == TARGET else ())),
                {**losses, **({"code": 1.0} if joint and role == TARGET else {})},
                optimiser,
                when=OneOf("subject"),
                role=role,
            )
            for role in (TARGET, ACTOR)
        )
        faces = Stage("faces", config.steps, players, sampler)
        if joint:
            return (faces,)
        mapping = Player("mapping", _MAPPING, {"code": 1.0}, optimiser)
        return faces, Stage("mapping", config.mapping_steps, (mapping,), sampler)

    def losses(self, batch: Batch, stage: Stage, player: Player) -> dict[str, Tensor]:
        crops = batch.channels[FACE_CROP]
        code = self.encoder(self._noisy(self._small(crops)))
        found: dict[str, Tensor] = {}
        if "l1" in player.losses:
            found |= self._reconstructed(code, self._small(crops), player.role)
        if "code" in player.losses:
            found["code"] = (self.mapping(code) - self._wanted(crops)).square().mean()
        return found

    def state(self) -> dict[str, Any]:
        return {"drives": str(self._channel)}

    def restore(self, state: Mapping[str, Any]) -> None:
        if state["drives"] != str(self._channel):
            raise HeadstudioError(
                f"this driver gives {state['drives']}, and the avatar takes {self._channel}",
                next_step="name the avatar it was trained for, or train a driver for this one",
            )

    def notes(self) -> tuple[str, ...]:
        if self.config.mapping == "joint":
            return ("The mapping was trained together with the faces, which is the published code's way.",)
        return ()

    def start(self, batch: int) -> State:
        return {"last": self.rest_code.expand(batch, -1)}

    def step(self, channels: Channels, state: State) -> tuple[dict[Channel, Tensor], State]:
        crops = channels[FACE_CROP]
        code = self.mapping(self.encoder(self._small(crops)))
        # Without a face there is no expression: the last one stays.
        seen = crops.flatten(1).amax(1, keepdim=True) > 0
        code = torch.where(seen, code, state["last"])
        return {self._channel: code}, {"last": code}

    def decoded(self, code: Float[Tensor, "batch code"], role: Role) -> Float[Tensor, "batch 3 side side"]:
        """A shared code as the face of one of the two."""
        return self.decoders[role](self.neck(code))

    def shared(self, crops: Float[Tensor, "batch 3 128 128"]) -> Float[Tensor, "batch code"]:
        """The shared code of faces."""
        return self.encoder(self._small(crops))

    def _reconstructed(self, code: Tensor, wanted: Tensor, role: Role) -> dict[str, Tensor]:
        """Eq. 5, and eq. 6 as far as it is asked for."""
        picture = self.decoded(code, role)
        found = {"l1": (picture - wanted).abs().mean(), "ssim": (1 - ssim(picture, wanted)).mean()}
        if self.config.cycle == "none":
            return found
        if self.config.cycle == "published":
            with torch.no_grad():
                other = self.decoded(code, _OTHER[role])
            return found | {"cycle_code": (self.encoder(other) - code).square().mean()}
        again = self.encoder(self.decoded(code, _OTHER[role]))
        back = self.decoded(again, role)
        return found | {
            "cycle_l1": (back - wanted).abs().mean(),
            "cycle_ssim": (1 - ssim(back, wanted)).mean(),
            "cycle_code": (again - code).square().mean(),
        }

    def _cycle_weights(self) -> dict[str, float]:
        weight = self.config.cycle_weight
        weights = {
            "cycle_l1": weight,
            "cycle_ssim": weight * self.config.ssim_weight,
            "cycle_code": weight * self.config.code_weight,
        }
        kept = {"paper": tuple(weights), "published": ("cycle_code",), "none": ()}[self.config.cycle]
        return {name: weights[name] for name in kept}

    @torch.no_grad()
    def _wanted(self, crops: Float[Tensor, "batch 3 128 128"]) -> Float[Tensor, "batch code"]:
        """What the avatar's own encoder says."""
        (avatar,) = self._avatar
        found = avatar.encode({FACE_CROP: crops.to(_device_of(avatar))})
        return found[self._channel].to(crops.device)

    def _small(self, crops: Float[Tensor, "batch 3 128 128"]) -> Float[Tensor, "batch 3 side side"]:
        side = self.config.encoder.side_px
        return crops if side == crops.shape[-1] else F.interpolate(crops, (side, side), mode="area")

    def _noisy(self, crops: Tensor) -> Tensor:
        if not self.training or not self.config.input_noise:
            return crops
        return (crops + self.config.input_noise * torch.randn_like(crops)).clamp(0, 1)


def _sampler(batch_size: int) -> Sampler:
    return Sampler(batch_size, images=False, face_crops=True)


def _some_crops(source: Source) -> Float[Tensor, "frames 3 128 128"]:
    """Faces of training frames, spread over the clip."""
    frames = usable_training_frames(source)
    chosen = spread_out(frames, _SAMPLED_AT_REST)
    return source.motion_with({FACE_CROP}).channels[FACE_CROP][chosen]


def _device_of(avatar: AvatarModel) -> torch.device:
    held = next(avatar.parameters(), None)
    return torch.device("cpu") if held is None else held.device
