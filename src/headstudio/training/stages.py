"""Training as data: a method is a tuple of stages, a stage is who plays, on what, and what happens when."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from headstudio.records.capture import Annotation


@dataclass(frozen=True)
class Ramp:
    """A number that depends on the step: interpolated between points and constant beyond them."""

    points: tuple[tuple[int, float], ...]
    """(step, value), steps increasing."""
    geometric: bool = False
    """Interpolate the logarithm instead of the value."""

    @classmethod
    def falling(cls, steps: int, last: float) -> "Ramp":
        """1 in the first half of so many steps, then down to `last`, as a learning rate does."""
        middle = max(steps // 2, 1)
        return cls(((middle, 1.0), (max(steps, middle + 1), last)), geometric=True)

    def __call__(self, step: int) -> float:
        """The value at a step."""
        before = [p for p in self.points if p[0] <= step]
        after = [p for p in self.points if p[0] > step]
        if not before:
            return after[0][1]
        if not after:
            return before[-1][1]
        (start, first), (end, last) = before[-1], after[0]
        share = (step - start) / (end - start)
        return first * (last / first) ** share if self.geometric else first + (last - first) * share


Weight: TypeAlias = float | Ramp
"""A loss weight or learning-rate factor: constant, or a function of the step in its stage."""


def at(weight: Weight, step: int) -> float:
    """The value of a weight at a step of its stage."""
    return weight(step) if isinstance(weight, Ramp) else weight


@dataclass(frozen=True)
class Optimiser:
    """Which optimiser a player uses."""

    kind: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    momentum: float = 0.0


@dataclass(frozen=True)
class Always:
    """Plays in every step."""


@dataclass(frozen=True)
class Every:
    """Plays in every n-th step (lazy regularisation)."""

    steps: int


@dataclass(frozen=True)
class OneOf:
    """In every step one player of the group, drawn at random, plays (alternating subjects)."""

    group: str


When: TypeAlias = Always | Every | OneOf


@dataclass(frozen=True)
class Player:
    """Someone with parameters, an optimiser and losses of its own."""

    name: str
    parameters: tuple[str, ...]
    """Shell patterns over the model's parameter names; these and no others learn from the player's losses."""
    losses: Mapping[str, Weight]
    """Weight of every loss term that `Trainable.losses` returns for this player."""
    optimiser: Optimiser = field(default_factory=Optimiser)
    schedule: Weight = 1.0
    """Factor on the learning rate."""
    clip: float | None = None
    """Largest norm of the gradient; None leaves it."""
    ema: float | None = None
    """Decay of an exponential moving average that replaces the parameters when the avatar is written."""
    when: When = field(default_factory=Always)
    role: str = "target"
    """The role whose sources this player's batches are drawn from."""


@dataclass(frozen=True)
class Sampler:
    """How the batches of a stage are drawn from the training frames."""

    batch_size: int = 1
    size_px: int | None = None
    """Resolution of images and views; None takes the capture's."""
    window: int = 1
    """Consecutive frames drawn together, for sequence models; a batch holds batch_size x window frames in order."""
    images: bool = True
    """False for trainables that need signals only."""
    face_crops: bool = False
    """Bring the aligned face crops along, as the channel `FACE_CROP`."""
    annotations: frozenset[Annotation] = frozenset()
    """Of `PARSING` and `NORMALS`, what batches bring along besides where the capture has it."""


@dataclass(frozen=True)
class Stage:
    """One part of a schedule."""

    name: str
    steps: int
    players: tuple[Player, ...]
    sampler: Sampler = field(default_factory=Sampler)
    events: Mapping[int, str] = field(default_factory=dict)
    """Events before the given steps of this stage: freeze, remesh, bake; told to `Trainable.on_event`."""
