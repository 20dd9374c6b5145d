"""Speech-like movement of the mouth: syllables that close for consonants and open for vowels.

The shapes are visemes in ARKit's vocabulary; amplitudes are what one sees in recordings of conversational speech,
about half of what the same muscles can do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
PLOSIVE_SHARE, PAUSE_SHARE = 0.35, 0.12
"""Part of the syllables that begin with a full closure of the lips, and that a pause follows."""


@dataclass(frozen=True)
class Utterance:
    """Some seconds of babble."""

    curves: Mapping[str, Float[Tensor, " frames"]]
    """ARKit weights by name."""
    closures_s: tuple[float, ...]
    """Times of the full lip closures."""
    sounds: tuple[tuple[Shape, Shape], ...]
    """Consonant and vowel of every syllable."""


def speak(
    times_s: Float[Tensor, " frames"],
    start_s: float,
    end_s: float,
    generator: np.random.Generator,
    repertoire: Sequence[tuple[Shape, Shape]] = (),
) -> Utterance:
    """Babble between two times.

    Args:
        times_s: where to evaluate.
        start_s: before it the mouth rests.
        end_s: about where the last syllable ends; there is at least one, a plosive.
        generator: source of the choices.
        repertoire: syllables to draw from; if empty, all combinations.
    """
    now = start_s + min(0.15, 0.1 * (end_s - start_s))
    keys: list[float] = [start_s]
    shapes: list[Shape] = [{}]
    closures, sounds = [], []
    while not sounds or now < end_s - 0.3:
        period = 1.0 / generator.uniform(3.0, 5.0)
        consonant, vowel = _syllable(generator, repertoire, first=not sounds)
        # A closure lasts about 80 ms, so that a camera at 12.5 frames a second still meets it.
        hold = 0.08 if consonant is PLOSIVE else 0.03
        keys += [now, now + hold, now + hold + 0.55 * (period - hold)]
        shapes += [consonant, consonant, _scaled(vowel, generator.uniform(0.7, 1.25))]
        if consonant is PLOSIVE:
            closures.append(now + hold / 2)
        sounds.append((consonant, vowel))
        now += period
        if generator.random() < PAUSE_SHARE:
            keys.append(now)
            shapes.append({})
            now += generator.uniform(0.2, 0.45)
    keys.append(max(now, keys[-1] + 0.1) + 0.15)
    shapes.append({})
    return Utterance(_curves(times_s, keys, shapes), tuple(closures), tuple(sounds))


def _syllable(
    generator: np.random.Generator, repertoire: Sequence[tuple[Shape, Shape]], first: bool
) -> tuple[Shape, Shape]:
    if repertoire:
        plosives = [sound for sound in repertoire if sound[0] is PLOSIVE]
        known = plosives if first else repertoire
        return known[int(generator.integers(len(known)))]
    plosive = first or generator.random() < PLOSIVE_SHARE
    consonant = PLOSIVE if plosive else CONSONANTS[int(generator.integers(len(CONSONANTS)))]
    return consonant, VOWELS[int(generator.integers(len(VOWELS)))]


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
