"""Faces without a story: every one drawn on its own, so that few pictures show much of what faces can do."""

import numpy as np
import torch

from headstudio.heads.arkit import ARKIT_INDEX, ARKIT_NAMES
from headstudio.motion.arkit import LOOK
from headstudio.synth.performance import FACES, GAZE_FULL_RAD, Performance
from headstudio.synth.speech import CONSONANTS, PLOSIVE, VOWELS, Shape, expand

_TURN_DEG = (22.0, 40.0, 14.0)
"""Furthest pitch, yaw and roll; two of three faces turn a third as far at most."""
_SHIFT_M = 0.02
_STEP_S = 1.0
"""Between faces: they do not follow one another."""
_SINGLE_UNITS, _SINGLE_SHARE, _ONE_SIDED = 5, 0.7, 0.3
_SPEECH_SHARE, _FACE_SHARE, _BLINK_SHARE, _GAZE_SHARE = 0.5, 0.45, 0.4, 0.75
_GAZE_RAD = (0.25, 0.4)
_WAYS = ("jawLeft", "jawRight", "mouthLeft", "mouthRight")
"""Opposite ways to move, where others have two sides that mostly move together."""
_NAMES = tuple(
    name
    for index, name in enumerate(ARKIT_NAMES)
    if index not in LOOK and not name.startswith("eyeBlink") and name not in ("mouthClose", "tongueOut")
)
"""Units that are drawn alone; the others make sense together with others only."""


def posed_faces(seed: int, faces: int) -> Performance:
    """As many unrelated faces of one person as asked for; the first is at rest.

    Args:
        seed: same seed, same faces.
        faces: how many; at least one.
    """
    draw = np.random.default_rng([seed, 12])
    arkit = np.stack([_face(draw) for _ in range(faces)])
    arkit[0] = 0.0
    reach = np.where(draw.random((faces, 1)) < 1 / 3, 1.0, 1 / 3)
    turn = draw.uniform(-1, 1, (faces, 3)) * np.deg2rad(_TURN_DEG) * reach
    return Performance(
        times_s=torch.arange(faces, dtype=torch.float64) * _STEP_S,
        arkit=torch.from_numpy(arkit).float(),
        turn_rad=torch.from_numpy(turn),
        shift_m=torch.from_numpy(draw.uniform(-_SHIFT_M, _SHIFT_M, (faces, 3))),
        blinks_s=(),
        closures_s=(),
    )


def _face(draw: np.random.Generator) -> np.ndarray:
    """The (52,) ARKit weights of one face."""
    weights = np.zeros(len(ARKIT_NAMES))
    if draw.random() < _FACE_SHARE:
        _add(weights, FACES[draw.integers(len(FACES))], draw.uniform(0.2, 1.2))
    if draw.random() < _SPEECH_SHARE:
        sounds = (*VOWELS, *CONSONANTS, PLOSIVE)
        _add(weights, sounds[draw.integers(len(sounds))], draw.uniform(0.3, 1.5))
    if draw.random() < _SINGLE_SHARE:
        _single_units(weights, draw)
    if draw.random() < 0.2:  # lips closed over an open jaw
        weights[ARKIT_INDEX["mouthClose"]] = weights[ARKIT_INDEX["jawOpen"]] * draw.uniform(0.3, 1.0)
    if draw.random() < _BLINK_SHARE:
        lid, other = draw.uniform(0.0, 1.0), draw.uniform(0.85, 1.0)
        _add(weights, {"eyeBlinkLeft": lid, "eyeBlinkRight": lid * other}, 1.0)
    if draw.random() < _GAZE_SHARE:
        _add(weights, _gaze(*draw.uniform(-1, 1, 2) * _GAZE_RAD), 1.0)
    return weights.clip(0.0, 1.0)


def _single_units(weights: np.ndarray, draw: np.random.Generator) -> None:
    for name in draw.choice(_NAMES, draw.integers(1, _SINGLE_UNITS + 1), replace=False):
        stem = str(name).removesuffix("Left").removesuffix("Right")
        both = name not in (stem, *_WAYS) and draw.random() > _ONE_SIDED
        _add(weights, {f"{stem}*" if both else str(name): 1.0}, draw.uniform(0.1, 1.0))


def _gaze(down_rad: float, left_rad: float) -> Shape:
    down, left = down_rad / GAZE_FULL_RAD[0], left_rad / GAZE_FULL_RAD[1]
    return {
        "eyeLookDown*": max(down, 0.0), "eyeLookUp*": max(-down, 0.0),
        "eyeLookOutLeft": max(left, 0.0), "eyeLookInRight": max(left, 0.0),
        "eyeLookInLeft": max(-left, 0.0), "eyeLookOutRight": max(-left, 0.0),
    }  # fmt: skip


def _add(weights: np.ndarray, shape: Shape, amount: float) -> None:
    for name, value in expand(shape).items():
        weights[ARKIT_INDEX[name]] += amount * value
