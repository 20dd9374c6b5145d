"""What a driver's signals mean: how their face reads at rest, and how far each unit goes when they try."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import from_rotation, relative_orientation
from headstudio.live.following import Met
from headstudio.motion.arkit import LOOK, NAMES
from headstudio.motion.neutral import find_neutral
from headstudio.records.channels import ARKIT, HEAD_POSE, Channel, Channels
from headstudio.records.motion import Motion

SCHEMA, VERSION = "headstudio.driver_profile", 1
GAIN_RANGE = (0.5, 2.5)
"""A unit is not made smaller or larger than this: beyond it, noise is what grows."""
LEAST_REACH = 0.2
"""A unit that went less far in the range of motion was not tried, and keeps its size."""
_REACHED_FRAMES = 5
"""A unit went as far as it was seen to go in so many frames: one alone may be an error of the tracker."""
_CALM_SHARE = 0.5


@dataclass(frozen=True)
class Personal:
    """One driver before one kind of source."""

    neutral: Channels
    """Their signals at rest, without a frame dimension; the ARKit weights are the offsets of the units."""
    gains: Float[Tensor, "52"]
    """By which each unit's distance from rest is multiplied."""
    met: Met | None = None
    """Who they are to the tracker; None where somebody else tracks."""

    def read(self, weights: Float[Tensor, "frames 52"]) -> Float[Tensor, "frames 52"]:
        """Weights with the personal gains around the personal rest; not yet cut to [0, 1]."""
        rest = self.neutral[ARKIT].to(weights)
        return rest + self.gains.to(weights) * (weights - rest)

    def save(self, path: Path) -> None:
        """Write the profile, a folder of driver.json and driver.safetensors."""
        ordered = sorted(self.neutral)
        tensors = {f"neutral_{index}": self.neutral[channel] for index, channel in enumerate(ordered)}
        told = {} if self.met is None else self.met.plain()
        arrays = {name: torch.as_tensor(v) for name, v in told.items() if v is not None and hasattr(v, "dtype")}
        plain = {name: value for name, value in told.items() if not hasattr(value, "dtype")}
        content = {"neutral": [str(channel) for channel in ordered], "met": plain if self.met else None}
        with storage.replacing_folder(path) as folder:
            met = {f"met_{name}": value for name, value in arrays.items()}
            storage.write_tensors(folder / "driver.safetensors", {"gains": self.gains, **tensors, **met})
            storage.write_json(folder / "driver.json", SCHEMA, VERSION, content)

    @classmethod
    def load(cls, path: Path) -> "Personal":
        """Read what `save` wrote."""
        where = path / "driver.json"
        content = storage.read_json(where, SCHEMA, VERSION)
        names = storage.field(content, "neutral", list, where)
        tensors = storage.read_tensors(where.with_name("driver.safetensors"), {"gains"})
        try:
            neutral = {Channel.parse(name): tensors[f"neutral_{index}"] for index, name in enumerate(names)}
            told = content["met"]
            arrays = {n.removeprefix("met_"): v.numpy() for n, v in tensors.items() if n.startswith("met_")}
            met = None if told is None else Met.from_plain({**told, **arrays})
            sound = tensors["gains"].shape == (len(NAMES),) and neutral[ARKIT].shape == (len(NAMES),)
            if not sound or not all(bool(value.isfinite().all()) for value in tensors.values()):
                raise ValueError("its numbers are not those of a face")
        except (KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:
            raise HeadstudioError(
                f"the driver's profile is damaged: {error}", where=where, next_step="calibrate again with --recalibrate"
            ) from None
        return cls(neutral, tensors["gains"], met)


def known_neutral(neutral: Channels) -> Personal:
    """A driver of whom nothing but a neutral moment is known."""
    return Personal(neutral, torch.ones(len(NAMES)))


def neutral_of(motion: Motion) -> Channels:
    """The signals at rest: the median over the half of the frames that are most like the most restful one.

    Whoever was asked to keep still still blinks and swallows; a mean would take that along.
    """
    weights = motion.channels[ARKIT].float()
    frame = find_neutral(motion).frame
    shown = [index for index in range(len(NAMES)) if index not in LOOK]
    away = (weights - weights[frame])[:, shown].abs().sum(1)
    calm = away.argsort(stable=True)[: max(int(_CALM_SHARE * len(motion)), 1)]
    return {
        channel: _middle_pose(values[calm]) if channel == HEAD_POSE else values[calm].median(0).values
        for channel, values in motion.channels.items()
    }


def gains_of(motion: Motion, neutral: Channels) -> Float[Tensor, "52"]:
    """Gains that carry the furthest each unit went to 1.

    Args:
        motion: somebody who moves everything as far as it goes; units that hardly moved keep their size, and so do
            those that say where the eyes look.
        neutral: the same person at rest.
    """
    away = motion.channels[ARKIT].float() - neutral[ARKIT]
    reach = away.topk(min(_REACHED_FRAMES, len(away)), dim=0).values[-1]
    gains = torch.where(reach >= LEAST_REACH, 1 / reach.clamp_min(LEAST_REACH), 1.0).clamp(*GAIN_RANGE)
    gains[list(LOOK)] = 1.0
    return gains


class Calibration:
    """Collects the seconds of rest and then, if wanted, those of the range of motion.

    Args:
        neutral_s: seconds of a face at rest.
        range_s: seconds in which everything is moved as far as it goes; 0 leaves it out.
        least_confidence: frames that the tracker trusts less do not count.
    """

    def __init__(self, neutral_s: float = 3.0, range_s: float = 0.0, least_confidence: float = 0.25) -> None:
        self._lengths_s = [length for length in (neutral_s, range_s) if length > 0]
        self._least_confidence = least_confidence
        self._frames: list[tuple[float, Channels]] = []
        self._done: list[Motion] = []
        self._measured_s = 0.0

    @property
    def moving(self) -> bool:
        """Whether the range of motion is what is collected now."""
        return len(self._done) == 1

    @property
    def left_s(self) -> float:
        """Seconds of a face that are still missing in this part."""
        return self._lengths_s[len(self._done)] - self._measured_s if len(self._done) < len(self._lengths_s) else 0.0

    def see(self, channels: Channels, time_s: float, confidence: float) -> Personal | None:
        """Take a frame into account; the result once there is enough.

        The time that counts is that in which a face is seen: a step of over half a second is a gap.
        """
        if confidence < self._least_confidence:
            return None
        if self._frames:
            self._measured_s += min(max(time_s - self._frames[-1][0], 0.0), _LONGEST_STEP_S)
        self._frames.append((time_s, channels))
        if self._measured_s < self._lengths_s[len(self._done)]:
            return None
        self._done.append(_motion(self._frames))
        self._frames, self._measured_s = [], 0.0
        if len(self._done) < len(self._lengths_s):
            return None
        personal = known_neutral(neutral_of(self._done[0]))
        if len(self._done) > 1:
            personal = replace(personal, gains=gains_of(self._done[1], personal.neutral))
        return personal


_LONGEST_STEP_S = 0.5


def _motion(frames: Sequence[tuple[float, Channels]]) -> Motion:
    shared = set.intersection(*(set(channels) for _, channels in frames))
    times_s = torch.tensor([time_s for time_s, _ in frames], dtype=torch.float64)
    return Motion(times_s, {c: torch.cat([channels[c] for _, channels in frames]) for c in sorted(shared)})


def _middle_pose(poses: Float[Tensor, "frames 4 4"]) -> Float[Tensor, "4 4"]:
    turn = relative_orientation(poses.float()).median(0).values
    facing = torch.diag(turn.new_tensor([1.0, -1.0, -1.0]))
    return from_rotation(facing @ roma.rotvec_to_rotmat(turn), poses[:, :3, 3].float().median(0).values)
