"""What an avatar was trained on, in words, and where a driver leaves it."""

import math
from collections.abc import Mapping
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.geometry.rigid import relative_orientation
from headstudio.motion.angles import yaw_pitch_roll
from headstudio.motion.arkit import LOOK, NAMES
from headstudio.records.channels import ARKIT, GAZE, HEAD_POSE
from headstudio.records.motion import Motion

TrainingRange: TypeAlias = Mapping[str, tuple[float, float]]
"""Lowest and highest value by the measure's name; plain numbers, so it can stand in an avatar's JSON."""

_QUANTILE = 0.005  # a frame in 200 may be a tracking error
_SHARE = 0.01  # fewer frames outside than this are not worth a sentence
_SLACK = {"weight": 0.1, "deg": 5.0}
"""How far beyond the range still looks right, by unit."""


def training_range(motion: Motion) -> dict[str, tuple[float, float]]:
    """The range that a performance covers, per ARKit unit and angle, without its rarest values."""
    bounds = torch.tensor([_QUANTILE, 1 - _QUANTILE])
    return {
        name: (low, high)
        for name, (values, _) in _measures(motion).items()
        for low, high in [values.float().quantile(bounds).tolist()]
    }


def range_warnings(motion: Motion, trained: TrainingRange) -> list[str]:
    """A sentence for every unit or angle in which a driver leaves the trained range, the most frequent first."""
    found = []
    for name, (values, unit) in _measures(motion).items():
        if name not in trained:
            continue
        low, high = trained[name]
        for beyond, extreme, bound, side in (
            (values > high + _SLACK[unit], values.max(), high, "above"),
            (values < low - _SLACK[unit], values.min(), low, "below"),
        ):
            share = float(beyond.float().mean())
            if share >= _SHARE:
                found.append((share, _sentence(name, float(extreme), bound, side, unit, share)))
    return [sentence for _, sentence in sorted(found, key=lambda item: -item[0])]


def _sentence(name: str, extreme: float, bound: float, side: str, unit: str, share: float) -> str:
    shown = (lambda value: f"{value:.0f} degrees") if unit == "deg" else (lambda value: f"{value:.2f}")
    return (
        f"{name} is {side} what the avatar was trained on in {100 * share:.0f} % of the frames: "
        f"it reaches {shown(extreme)}, training saw {shown(bound)}."
    )


def _measures(motion: Motion) -> dict[str, tuple[Float[Tensor, " frames"], str]]:
    measures: dict[str, tuple[Tensor, str]] = {}
    if ARKIT in motion.channels:
        arkit = motion.channels[ARKIT]
        measures |= {name: (arkit[:, i], "weight") for i, name in enumerate(NAMES) if i not in LOOK}
    degrees = 180 / math.pi
    if HEAD_POSE in motion.channels:
        angles = degrees * yaw_pitch_roll(relative_orientation(motion.channels[HEAD_POSE].float()))
        measures |= {f"head {name}": (angles[:, i], "deg") for i, name in enumerate(("yaw", "pitch", "roll"))}
    if GAZE in motion.channels:
        angles = degrees * yaw_pitch_roll(motion.channels[GAZE].float()).mean(1)
        measures |= {f"gaze {name}": (angles[:, i], "deg") for i, name in enumerate(("yaw", "pitch"))}
    return measures
