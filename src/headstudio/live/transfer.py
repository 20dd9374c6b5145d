"""One person's face on another's head, frame by frame: differences from rest, with personal gains and a steady neck."""

from dataclasses import dataclass
from types import MappingProxyType

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import from_rotation
from headstudio.heads import load_head
from headstudio.live.controls import Settings
from headstudio.live.personal import Personal
from headstudio.motion.arkit import INDEX, LOOK, NAMES
from headstudio.motion.retarget import RetargetConfig, adapt, retarget
from headstudio.records.avatar import AtRest
from headstudio.records.channels import (
    ARKIT,
    BLENDSHAPES,
    FACE_CROP,
    FACE_LANDMARKS,
    GAZE,
    HEAD_POSE,
    HEAD_ROTATION,
    NECK,
    Channels,
    to_device,
)
from headstudio.records.motion import Motion
from headstudio.training.contract import AvatarModel, Driver, State

_TRANSFERRED = (ARKIT, GAZE, HEAD_POSE, HEAD_ROTATION)
_READ_SHAPES = MappingProxyType({FACE_CROP: (3, 128, 128), FACE_LANDMARKS: (478, 3), BLENDSHAPES: (52,)})
"""Of what drivers read off a face; a row without a face is all 0."""


@dataclass(frozen=True)
class NeckConfig:
    """What the shoulders do when the head turns."""

    follow: float = 0.5
    """Share of the head's turn that the shoulders make along with it: 1 turns a stiff bust, 0 keeps it still."""


class Transfer:
    """From a driver's signals to the avatar's channels.

    Args:
        avatar: who is driven.
        at_rest: the avatar's person at rest.
        size_ratio: size of the avatar's head over the driver's.
        neck: what the shoulders do.
        driver: a trained driver that adds channels of its own.
    """

    def __init__(
        self,
        avatar: AvatarModel,
        at_rest: AtRest,
        size_ratio: float = 1.0,
        neck: NeckConfig | None = None,
        driver: Driver | None = None,
    ) -> None:
        self._rest = at_rest.channels
        for channel in (ARKIT, HEAD_POSE):
            if channel not in self._rest:
                raise HeadstudioError(f"the avatar has no neutral {channel}", next_step="train the avatar again")
        self.size_ratio = size_ratio
        self._neck = neck or NeckConfig()
        identity = avatar.identity
        self._head = load_head(identity.head)
        offsets_m = None if identity.offsets_m is None else identity.offsets_m[None]
        self._neck_m = self._head.joints(self._head.neutral(identity.coefficients[None], offsets_m))[0, 0]
        self._driver = driver
        self._accepted = avatar.driven_by
        if driver is not None:
            produced = driver.produces
            self._accepted = tuple(wanted for wanted in self._accepted if wanted & produced) or self._accepted
        self._memory: State | None = None

    @torch.inference_mode()
    def __call__(self, signals: Channels | None, personal: Personal | None, settings: Settings) -> Channels:
        """The avatar's channels for one frame.

        Args:
            signals: of the driver, one frame; None before the driver is known, and the avatar rests.
            personal: how to read them.
            settings: the sliders.
        """
        if signals is None or personal is None or ARKIT not in signals:
            told = {channel: self._rest[channel][None] for channel in (ARKIT, GAZE, HEAD_POSE) if channel in self._rest}
            return self._adapted(self._moved_by_hand(told, settings), self._predicted_at_rest())
        config = RetargetConfig(settings.exaggeration, settings.head, settings.head, settings.gaze)
        told = {channel: signals[channel].float() for channel in _TRANSFERRED if channel in signals}
        start = dict(personal.neutral)
        if GAZE not in told or GAZE not in start:  # where the eyes look is then told by ARKit weights alone
            told[GAZE] = self._head.from_arkit(told[ARKIT]).gaze_rad
            start[GAZE] = self._head.from_arkit(start[ARKIT][None]).gaze_rad[0]
        told[ARKIT] = personal.read(told[ARKIT])
        place = HEAD_POSE in told and HEAD_POSE in start
        turning = HEAD_ROTATION in told and HEAD_ROTATION in start and not place
        for channel in (HEAD_POSE, HEAD_ROTATION):
            if channel in told and not (place if channel == HEAD_POSE else turning):
                del told[channel]
        motion = Motion(torch.zeros(1, dtype=torch.float64), told)
        carried = dict(retarget(motion, start, self._rest, self._head, config, self.size_ratio).channels)
        if turning:
            carried[HEAD_POSE] = self._about_the_neck(carried[HEAD_POSE])
        carried.setdefault(HEAD_POSE, self._rest[HEAD_POSE][None])
        return self._adapted(self._moved_by_hand(carried, settings), self._predicted(signals))

    def _about_the_neck(self, poses: Float[Tensor, "1 4 4"]) -> Float[Tensor, "1 4 4"]:
        """Turn about the neck's joint instead of the point between the eyes, where nobody told the head's place."""
        rest = self._rest[HEAD_POSE].to(poses)
        rotation = poses[:, :3, :3]
        moved = (rest[:3, :3] - rotation) @ self._neck_m.to(poses)
        return from_rotation(rotation, rest[:3, 3] + moved)

    def _moved_by_hand(self, channels: Channels, settings: Settings) -> Channels:
        if not settings.units:
            return channels
        added = torch.zeros(1, len(NAMES))
        for name, value in settings.units.items():
            added[0, INDEX[name]] = value
        moved = {**channels, ARKIT: (channels[ARKIT] + added).clamp(0.0, 1.0)}
        if GAZE in channels and bool(added[0, list(LOOK)].any()):
            moved[GAZE] = channels[GAZE] + self._head.from_arkit(added).gaze_rad
        return moved

    def _predicted(self, signals: Channels) -> Channels:
        if self._driver is None:
            return {}
        self._memory = self._driver.start(1) if self._memory is None else self._memory
        device = next((p.device for p in self._driver.parameters()), torch.device("cpu"))
        made, self._memory = self._driver.step(to_device(signals, device), self._memory)
        return to_device(made, "cpu")

    def _predicted_at_rest(self) -> Channels:
        """What the driver makes of the avatar's person at rest and a face that it cannot see; nothing is remembered."""
        memory, self._memory = self._memory, None
        resting = {channel: values[None] for channel, values in self._rest.items()}
        unseen = {channel: torch.zeros(1, *shape) for channel, shape in _READ_SHAPES.items()}
        made = self._predicted({**unseen, **resting})
        self._memory = memory
        return made

    def _adapted(self, carried: Channels, predicted: Channels) -> Channels:
        motion = Motion(torch.zeros(1, dtype=torch.float64), {**carried, **predicted})
        channels = dict(adapt(motion, self._accepted, self._head).channels)
        # Beside what was asked for: the neck, which moves shoulders, and the weights, which others are told.
        channels[NECK] = self._neck_turn(carried[HEAD_POSE])
        return {ARKIT: carried[ARKIT], **({GAZE: carried[GAZE]} if GAZE in carried else {}), **channels}

    def _neck_turn(self, pose: Float[Tensor, "1 4 4"]) -> Float[Tensor, "1 3"]:
        """The skull against shoulders that go only part of the way."""
        rest = self._rest[HEAD_POSE].to(pose)[:3, :3]
        return (1.0 - self._neck.follow) * roma.rotmat_to_rotvec(rest.mT @ pose[:, :3, :3])
