"""What the driver says: an avatar's own code, or expression, jaw and gaze, as one row of numbers a frame."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.heads import load_head
from headstudio.records.channels import (
    ARKIT,
    HEAD_POSE,
    HEAD_ROTATION,
    NECK,
    Channel,
    Channels,
    expression_of,
    latent_of,
)
from headstudio.training.contract import AvatarModel, Source

_TRACKED = frozenset({HEAD_POSE, HEAD_ROTATION, NECK})
"""Where the head is comes from the tracker (section 5: T and z are told apart)."""


class Target:
    """The channels of one avatar that a driver is to say."""

    def __init__(self, avatar: AvatarModel, wanted: Literal["auto", "latent", "coefficients"]) -> None:
        self._avatar = avatar
        self.channels = _channels(avatar, wanted)
        self.is_code = all(_is_code(channel) for channel in self.channels)
        self.shapes: dict[Channel, tuple[int, ...]] = {}
        self._ranges: dict[Channel, tuple[float, float]] = {}

    @property
    def width(self) -> int:
        """Numbers of a row."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def of(self, source: Source) -> Float[Tensor, "frames codes"]:
        """What the avatar should be told in every frame of a performance of its own person."""
        told = self._avatar.codes(source) if self.is_code else self._tracked(source)
        missing = sorted(str(channel) for channel in self.channels if channel not in told)
        if missing:
            raise HeadstudioError(
                f"what this avatar should be told ({', '.join(missing)}) cannot be read off this capture",
                where=source.capture.path,
                next_step="track it with the avatar's head model, or set target=coefficients",
            )
        self.shapes = {channel: tuple(told[channel].shape[1:]) for channel in self.channels}
        return torch.cat([told[channel].flatten(1).float() for channel in self.channels], dim=1)

    def _tracked(self, source: Source) -> Channels:
        tracked, avatar = source.track.identity.head, self._avatar.identity.head
        if expression_of(avatar) in self.channels and tracked != avatar:
            raise HeadstudioError(
                f"this capture was tracked with the head {tracked} and the avatar has {avatar}",
                where=source.capture.path,
                next_step="name the captures that the avatar was trained on",
            )
        return source.motion.channels

    def channels_of(self, rows: Float[Tensor, "batch codes"]) -> dict[Channel, Tensor]:
        """Rows as channels; weights stay in the range that their rig has."""
        found, start = {}, 0
        for channel in self.channels:
            shape = self.shapes[channel]
            values = rows[:, start : start + math.prod(shape)].reshape(len(rows), *shape)
            found[channel] = values.clamp(*self._range(channel)) if channel.unit == "weight" else values
            start += math.prod(shape)
        return found

    def _range(self, channel: Channel) -> tuple[float, float]:
        if channel not in self._ranges:  # asked for in every frame, and a head takes a while to load
            head = self._avatar.identity.head
            self._ranges[channel] = (0.0, 1.0) if channel == ARKIT else load_head(head).data.expression_range
        return self._ranges[channel]

    def state(self) -> dict[str, Any]:
        """Plain data that `restore` needs."""
        return {str(channel): list(self.shapes[channel]) for channel in self.channels}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The shapes again; refused where the avatar is another."""
        if sorted(state) != sorted(map(str, self.channels)):
            raise HeadstudioError(
                f"this driver gives {', '.join(state)}, and the avatar takes {', '.join(map(str, self.channels))}",
                next_step="name the avatar it was trained for, or train a driver for this one",
            )
        self.shapes = {channel: tuple(state[str(channel)]) for channel in self.channels}


def _channels(avatar: AvatarModel, wanted: str) -> tuple[Channel, ...]:
    coded = [accepted for accepted in avatar.driven_by if any(map(_is_code, accepted))]
    if wanted == "latent" and not coded:
        raise HeadstudioError(
            "this avatar has no code of its own", next_step="set target=coefficients, or take a latent avatar"
        )
    if wanted == "latent" or (wanted == "auto" and avatar.driven_by[0] in coded):
        return tuple(sorted(filter(_is_code, coded[0])))
    for accepted in avatar.driven_by:
        plain = accepted - _TRACKED
        if plain and not any(channel.unit in ("code", "srgb") for channel in plain):
            return tuple(sorted(plain))
    raise HeadstudioError("this avatar takes no expression coefficients", next_step="set target=latent")


def _is_code(channel: Channel) -> bool:
    return channel.name == latent_of("").name
