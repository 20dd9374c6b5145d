"""A scripted performance: what the synthetic actor does, and when.

The script is a list of acts, each in its own share of the clip. The first four fifths show everything (turns, faces,
speech, blinks, gaze); the last fifth, which docs/protocol.md holds out, repeats speech, blinks, gaze and turns well
inside the range shown before.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.geometry.easing import ease
from headstudio.heads.arkit import ARKIT_NAMES
from headstudio.synth.curves import bump, drift, through
from headstudio.synth.speech import Shape, expand, speak

NEUTRAL_SHARE, TURN_SHARE, FACES_SHARE, SPEECH_SHARE, HELD_OUT_SHARE = 0.07, 0.3, 0.52, 0.79, 0.8
"""Where the neutral start, the turns, the faces and the training speech end, and where the held-out part begins."""

FACES: tuple[Shape, ...] = (
    {"mouthSmile*": 0.75, "cheekSquint*": 0.5, "eyeSquint*": 0.3, "mouthUpperUp*": 0.15},
    {"browInnerUp": 0.9, "browOuterUp*": 0.7, "eyeWide*": 0.4, "jawOpen": 0.12},
    {"browDown*": 0.9, "noseSneer*": 0.35, "mouthFrown*": 0.55, "mouthPress*": 0.3},
    {"cheekPuff": 0.8, "mouthPucker": 0.35},
    {"jawOpen": 0.75, "eyeWide*": 0.25},
    {"mouthPucker": 0.85, "mouthLeft": 0.2},
    {"jawLeft": 0.5, "mouthLeft": 0.35},
    {"jawOpen": 0.3, "tongueOut": 0.7},
    {"jawRight": 0.5, "mouthRight": 0.35, "mouthDimple*": 0.3},
)

SHORTEST_FACE_S = 0.35

GAZE_FULL_RAD = (0.3, 0.45)
"""Vertical and horizontal eyeball rotation taken to be ARKit's eyeLook weight 1; as `HeadData.gaze_full_rad`."""


@dataclass(frozen=True)
class Performance:
    """What the actor does at each frame."""

    times_s: Float[Tensor, " frames"]
    """From 0, float64, strictly increasing."""
    arkit: Float[Tensor, "frames 52"]
    """Weights in [0, 1], Apple's order."""
    turn_rad: Float[Tensor, "frames 3"]
    """Pitch (down positive), yaw (to the person's left positive) and roll of the head against its rest in the room."""
    shift_m: Float[Tensor, "frames 3"]
    """Displacement of the shoulders in the room: right, up, towards the camera as the camera sees it."""
    blinks_s: tuple[float, ...]
    """Times of full closure of the eyelids."""
    closures_s: tuple[float, ...]
    """Times of full closure of the lips in speech."""

    @classmethod
    def sample(cls, seed: int, duration_s: float, fps: float, variable_rate: bool = False) -> "Performance":
        """Write the script of a seed.

        Args:
            seed: same seed, same performance; the acts scale with the duration.
            duration_s: length of the clip.
            fps: frames a second.
            variable_rate: let frame times wander as a phone's do.
        """
        generator = np.random.default_rng([seed, 1])
        times = _clock(duration_s, fps, variable_rate, generator)
        turn = _turns(times, duration_s, generator)
        speech, closures = _speech(times, duration_s, generator)
        blinking, blinks = _blinks(times, duration_s, generator)
        curves = _sum(_faces(times, duration_s, generator), speech, blinking, _idle(times, generator))
        curves |= _gaze(times, duration_s, turn, generator)
        return cls(times, _table(curves, len(times)), turn, _shift(times, generator), blinks, closures)

    def __len__(self) -> int:
        return len(self.times_s)


def _clock(duration_s: float, fps: float, variable_rate: bool, generator: np.random.Generator) -> Tensor:
    frames = max(2, round(duration_s * fps))
    steps = np.full(frames, 1.0 / fps)
    if variable_rate:
        # Exposure lengthens a phone's frame by up to half; whole milliseconds survive any container's time base.
        steps = np.round(steps * generator.uniform(0.85, 1.5, frames), 3)
    return torch.from_numpy(np.concatenate([[0.0], np.cumsum(steps)[:-1]]))


def _turns(times: Tensor, duration_s: float, generator: np.random.Generator) -> Tensor:
    start, end = NEUTRAL_SHARE * duration_s, TURN_SHARE * duration_s
    # In a short clip the head turns less rather than faster than a face tracker can follow.
    yaw = min(np.deg2rad(30.0), np.deg2rad(120.0) * (end - start) / 5)
    pitch = yaw / 2
    corners = [(0, 0), (0, yaw), (pitch, 0), (0, -yaw), (-pitch, 0), (0, 0)]
    keys = list(np.linspace(start, end, len(corners)))
    values = [(p, y, 0.0) for p, y in corners]
    # While speaking the head nods and turns within half of that range; so it does in the held-out part.
    now = end + 0.1 * duration_s
    while now < duration_s + 1.0:
        held_out = now > HELD_OUT_SHARE * duration_s
        reach = 0.62 if held_out or now > FACES_SHARE * duration_s else 0.25
        side = generator.choice([-1.0, 1.0]) * generator.uniform(0.4, 1.0)
        values.append(
            (reach * pitch * generator.uniform(-0.8, 0.8), reach * yaw * side, generator.uniform(-0.07, 0.07))
        )
        keys.append(now)
        now += generator.uniform(0.045, 0.08) * duration_s + 0.3
    table = torch.tensor(values, dtype=torch.float64)
    sway = drift(times, generator, 3, 0.19) * torch.tensor([0.012, 0.015, 0.012]) * _started(times, duration_s)
    return through(times, torch.tensor(keys, dtype=torch.float64), table) + sway


def _started(times: Tensor, duration_s: float) -> Tensor:
    return ease(times / (NEUTRAL_SHARE * duration_s + 0.2) - 0.6)[:, None]


def _faces(times: Tensor, duration_s: float, generator: np.random.Generator) -> dict[str, Tensor]:
    start, end = TURN_SHARE * duration_s, FACES_SHARE * duration_s
    # A face that is gone within a few frames teaches nothing: short clips show fewer.
    shown = int(np.clip((end - start) / SHORTEST_FACE_S, 2, len(FACES)))
    slot = (end - start) / shown
    # The first two come back in the held-out part, so they are always shown.
    chosen = np.concatenate([[0, 1], 2 + generator.permutation(len(FACES) - 2)])[:shown]
    order = generator.permutation(chosen)
    acts = [(start + slot * place, slot, FACES[which]) for place, which in enumerate(order)]
    acts += [((HELD_OUT_SHARE + 0.14) * duration_s, 0.05 * duration_s, _half(FACES[0]))]
    acts += [((HELD_OUT_SHARE + 0.03) * duration_s, 0.05 * duration_s, _half(FACES[1]))]
    return _sum(*(_act(times, begin, length, shape) for begin, length, shape in acts))


def _act(times: Tensor, begin_s: float, length_s: float, shape: Shape) -> dict[str, Tensor]:
    amount = bump(times, begin_s, 0.4 * length_s, 0.2 * length_s, 0.4 * length_s)
    return {name: amount * value for name, value in expand(shape).items()}


def _half(shape: Shape) -> Shape:
    return {name: value / 2 for name, value in shape.items() if name != "jawOpen"}


def _speech(
    times: Tensor, duration_s: float, generator: np.random.Generator
) -> tuple[dict[str, Tensor], tuple[float, ...]]:
    learned = speak(times, (FACES_SHARE + 0.01) * duration_s, SPEECH_SHARE * duration_s, generator)
    # What is held out says nothing that was not said before.
    asked = speak(times, HELD_OUT_SHARE * duration_s, 0.995 * duration_s, generator, learned.sounds)
    return _sum(learned.curves, asked.curves), learned.closures_s + asked.closures_s


def _blinks(
    times: Tensor, duration_s: float, generator: np.random.Generator
) -> tuple[dict[str, Tensor], tuple[float, ...]]:
    # One blink in the neutral start, one for certain in the held-out part, the others every two to five seconds.
    moments = [0.5 * NEUTRAL_SHARE * duration_s + 0.1, (HELD_OUT_SHARE + 0.1) * duration_s]
    now = moments[0] + generator.uniform(1.2, 3.0)
    while now < duration_s - 0.3:
        if min(abs(now - moment) for moment in moments) > 0.6:
            moments.append(now)
        now += generator.uniform(2.0, 5.0)
    left, right, peaks = torch.zeros_like(times), torch.zeros_like(times), []
    for moment in sorted(moments):
        # Lids fall about twice as fast as they rise.
        close, hold, open_ = generator.uniform(0.06, 0.08), 0.05, generator.uniform(0.12, 0.17)
        lid = bump(times, moment, close, hold, open_)
        left, right = torch.maximum(left, lid), torch.maximum(right, lid * generator.uniform(0.96, 1.0))
        peaks.append(moment + close + hold / 2)
    return {"eyeBlinkLeft": left, "eyeBlinkRight": right}, tuple(peaks)


def _idle(times: Tensor, generator: np.random.Generator) -> dict[str, Tensor]:
    slow = drift(times, generator, 3, 0.15)
    return {
        "browInnerUp": 0.06 * (1 + slow[:, 0]),
        "mouthPressLeft": 0.04 * (1 + slow[:, 1]),
        "mouthSmileLeft": 0.04 * (1 + slow[:, 2]),
        "mouthSmileRight": 0.045 * (1 + slow[:, 2]),
    }


def _gaze(times: Tensor, duration_s: float, turn: Tensor, generator: np.random.Generator) -> dict[str, Tensor]:
    """Saccades between fixations; the eyes mostly hold the camera while the head turns away from it."""
    keys, values, here = [0.0], [(0.0, 0.0)], (0.0, 0.0)
    now = NEUTRAL_SHARE * duration_s + 0.4
    while now < duration_s:
        away = generator.random() < 0.55
        there = (generator.uniform(-0.12, 0.12), generator.uniform(-0.25, 0.25)) if away else (0.0, 0.0)
        keys += [now, now + 0.05]
        values += [here, there]
        here = there
        now += generator.uniform(0.4, 1.4)
    wander = through(times, torch.tensor(keys, dtype=torch.float64), torch.tensor(values, dtype=torch.float64))
    down = (wander[:, 0] - 0.8 * turn[:, 0]) / GAZE_FULL_RAD[0]
    left = (wander[:, 1] - 0.8 * turn[:, 1]) / GAZE_FULL_RAD[1]
    # The person's left is outward for the left eye and inward for the right one.
    return {
        "eyeLookDownLeft": _positive(down), "eyeLookDownRight": _positive(down),
        "eyeLookUpLeft": _positive(-down), "eyeLookUpRight": _positive(-down),
        "eyeLookOutLeft": _positive(left), "eyeLookInRight": _positive(left),
        "eyeLookInLeft": _positive(-left), "eyeLookOutRight": _positive(-left),
    }  # fmt: skip


def _positive(value: Tensor) -> Tensor:
    """Positive part, rounded off at zero so that its slope is continuous, and never above 1."""
    width = 0.02
    rounded = torch.where(value < width, (value + width).clamp_min(0.0) ** 2 / (4 * width), value)
    return torch.tanh(rounded)


def _shift(times: Tensor, generator: np.random.Generator) -> Tensor:
    breathing = torch.sin(2 * torch.pi * 0.27 * times) * 0.0015
    moved = drift(times, generator, 3, 0.13) * torch.tensor([0.008, 0.004, 0.008])
    return moved + torch.stack([torch.zeros_like(times), breathing, torch.zeros_like(times)], dim=-1)


def _sum(*parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    total: dict[str, Tensor] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total[name] + value if name in total else value
    return total


def _table(curves: Mapping[str, Tensor], frames: int) -> Tensor:
    table = torch.zeros(frames, len(ARKIT_NAMES), dtype=torch.float64)
    for name, value in curves.items():
        table[:, ARKIT_NAMES.index(name)] = value
    return table.clamp(0.0, 1.0).float()
