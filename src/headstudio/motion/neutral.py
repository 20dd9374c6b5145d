"""The neutral frame of a performance: what transfer between people is relative to."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import relative_orientation
from headstudio.motion.arkit import INDEX, LOOK, NAMES
from headstudio.records.channels import ARKIT, GAZE, HEAD_POSE, HEAD_ROTATION, Channel
from headstudio.records.motion import Motion

_STABLE_FRAMES = 5  # a blink passes through "half open" in fewer
_BASE_QUANTILE = 0.1  # trackers read some units above 0 on a face at rest; what a person always shows is not activity
_EYES_AND_MOUTH = 3.0  # open eyes and closed lips matter more than any other unit
_GAZE_AND_HEAD = 1.0  # per radian away from the usual direction


@dataclass(frozen=True)
class Neutral:
    """A moment at which the face is at rest."""

    frame: int
    """Index in the motion it was found in."""
    channels: dict[Channel, Tensor]
    """The signals of that frame, without a frame dimension."""


def find_neutral(motion: Motion, frames: Sequence[int] | None = None) -> Neutral:
    """The frame with the least expression, eyes open, mouth closed, looking and facing where the person usually does.

    Args:
        motion: the performance, with any expression channel (ARKit weights know eyes and mouth, others do not).
        frames: where to look, for example the training frames; all when None.
    """
    allowed = torch.arange(len(motion)) if frames is None else torch.as_tensor(list(frames), dtype=torch.long)
    if not len(allowed):
        raise HeadstudioError("there is no frame to take as neutral", next_step="give a longer performance")
    cost = _unrest(motion.select(allowed.tolist()))
    frame = int(allowed[_worst_nearby(cost).argmin()])
    return Neutral(frame, {channel: values[frame] for channel, values in motion.channels.items()})


def _unrest(motion: Motion) -> Float[Tensor, " frames"]:
    expressions = [values for channel, values in motion.channels.items() if channel.name == ARKIT.name]
    if not expressions:
        raise HeadstudioError(
            "the motion has no expression", next_step="give a motion with ARKit weights or coefficients"
        )
    arkit = motion.channels.get(ARKIT)
    cost = _activity(expressions[0].float()) if arkit is None else _arkit_activity(arkit.float())
    for channel, values in motion.channels.items():
        if channel in (GAZE, HEAD_ROTATION):
            cost = cost + _GAZE_AND_HEAD * _away_from_median(values.float())
        elif channel == HEAD_POSE:
            cost = cost + _GAZE_AND_HEAD * _away_from_median(relative_orientation(values.float()))
    return cost


def _activity(weights: Float[Tensor, "frames units"]) -> Float[Tensor, " frames"]:
    return (weights - weights.quantile(_BASE_QUANTILE, dim=0)).abs().sum(-1)


def _arkit_activity(weights: Float[Tensor, "frames 52"]) -> Float[Tensor, " frames"]:
    expressive = [index for index in range(len(NAMES)) if index not in LOOK]
    closing = [INDEX[name] for name in ("eyeBlinkLeft", "eyeBlinkRight", "jawOpen", "mouthFunnel", "mouthPucker")]
    return _activity(weights[:, expressive]) + _EYES_AND_MOUTH * weights[:, closing].sum(-1)


def _away_from_median(values: Tensor) -> Float[Tensor, " frames"]:
    flat = values.flatten(1)
    return (flat - flat.median(dim=0).values).norm(dim=-1)


def _worst_nearby(cost: Float[Tensor, " frames"]) -> Float[Tensor, " frames"]:
    """The largest cost within a short window: a frame is as restful as its neighbours."""
    reach = min(_STABLE_FRAMES, 2 * len(cost) - 1) // 2
    padded = torch.nn.functional.pad(cost[None], (reach, reach), mode="replicate")[0]
    return padded.unfold(0, 2 * reach + 1, 1).amax(-1)
