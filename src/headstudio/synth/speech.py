"""Speech-like movement of the mouth: syllables that close for consonants and open for vowels.

The shapes are visemes in ARKit's vocabulary; amplitudes are what one sees in recordings of conversational speech,
about half of what the same muscles can do.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.synth.curves import through

Shape = Mapping[str, float]
"""ARKit weights by name; what is not named is 0. A name that ends in an asterisk stands for Left and Right."""

VOWELS: tuple[Shape, ...] = (
    {"jawOpen": 0.42, "mouthLowerDown*": 0.22, "mouthUpperUp*": 0.08},  # a
    {"jawOpen": 0.22, "mouthStretch*": 0.34, "mouthLowerDown*": 0.22, "mouthUpperUp*": 0.1},  # e
    {"jawOpen": 0.12, "mouthStretch*": 0.4, "mouthSmile*": 0.18, "mouthLowerDown*": 0.2},  # i
    {"jawOpen": 0.32, "mouthFunnel": 0.55, "mouthPucker": 0.12},  # o
    {"jawOpen": 0.16, "mouthPucker": 0.68, "mouthFunnel": 0.28},  # u
)

# Jaw open under closed lips: mouthClose undoes exactly as much of jawOpen at the lips.
PLOSIVE: Shape = {
    "jawOpen": 0.06,
    "mouthClose": 0.06,
    "mouthPress*": 0.28,
    "mouthRollUpper": 0.1,
    "mouthRollLower": 0.1,
}
CONSONANTS: tuple[Shape, ...] = (
    {"jawOpen": 0.05, "mouthRollLower": 0.42, "mouthUpperUp*": 0.16},  # f, v
    {"jawOpen": 0.07, "mouthStretch*": 0.22, "mouthLowerDown*": 0.16, "mouthUpperUp*": 0.1},  # s, t
    {"jawOpen": 0.18, "tongueOut": 0.3, "mouthLowerDown*": 0.12},  # th, l
    {"jawOpen": 0.1, "mouthFunnel": 0.4, "mouthPucker": 0.2},  # sh, w
)
PLOSIVE_SHARE = 0.35
"""Part of the syllables that begin with a full closure of the lips."""


def speak(
    times_s: Float[Tensor, " frames"], start_s: float, end_s: float, generator: np.random.Generator
) -> tuple[dict[str, Float[Tensor, " frames"]], tuple[float, ...]]:
    """Babble between two times.

    Returns:
        ARKit curves by name, and the times of the full lip closures.
    """
    keys, shapes, closures = [start_s], [{}], []
    now = start_s + 0.15
    while now < end_s - 0.45:
        period = 1.0 / generator.uniform(3.0, 5.0)
        plosive = not closures or generator.random() < PLOSIVE_SHARE
        loudness = generator.uniform(0.7, 1.25)
        consonant = PLOSIVE if plosive else CONSONANTS[generator.integers(len(CONSONANTS))]
        # A closure lasts about 70 ms, so that a camera at 12.5 frames a second still meets it.
        hold = 0.08 if plosive else 0.03
        keys += [now, now + hold, now + hold + 0.55 * (period - hold)]
        shapes += [consonant, consonant, _scaled(VOWELS[generator.integers(len(VOWELS))], loudness)]
        if plosive:
            closures.append(now + hold / 2)
        now += period
        if generator.random() < 0.12:
            keys.append(now)
            shapes.append({})
            now += generator.uniform(0.2, 0.45)
    keys.append(max(now, keys[-1] + 0.1) + 0.15)
    shapes.append({})
    return _curves(times_s, keys, shapes), tuple(closures)


def expand(shape: Shape) -> dict[str, float]:
    """Spell out the sides of a shape."""
    spelled: dict[str, float] = {}
    for name, value in shape.items():
        stem = name.removesuffix("*")
        names = (stem,) if stem == name else (f"{stem}Left", f"{stem}Right")
        spelled |= dict.fromkeys(names, value)
    return spelled


def _scaled(shape: Shape, factor: float) -> Shape:
    return {name: value * factor for name, value in shape.items()}


def _curves(times_s: Tensor, keys_s: list[float], shapes: list[Shape]) -> dict[str, Tensor]:
    spelled = [expand(shape) for shape in shapes]
    names = sorted(set().union(*spelled))
    table = torch.tensor([[shape.get(name, 0.0) for name in names] for shape in spelled], dtype=torch.float64)
    values = through(times_s, torch.tensor(keys_s, dtype=torch.float64), table)
    return {name: values[:, column] for column, name in enumerate(names)}
