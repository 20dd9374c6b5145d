"""`Evaluation`: scores of an avatar and its baselines on held-out frames, with intervals and example pictures."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from headstudio import storage
from headstudio.errors import HeadstudioError

SCHEMA, VERSION = "headstudio.evaluation", 1


def digits(metric: str) -> int:
    """Decimals worth showing: decibels are coarse, everything else lies in 0..1."""
    return 2 if metric == "PSNR" else 4


@dataclass(frozen=True)
class Interval:
    """A mean over frames and its 95 % interval."""

    value: float
    low: float
    high: float
    n: int
    """Number of frames."""


@dataclass(frozen=True)
class Row:
    """One score of one competitor."""

    name: str
    """The competitor: the avatar or a baseline."""
    signal: str
    """What drove the held-out frames: tracked, refined, encoded or predicted."""
    region: str
    metric: str
    interval: Interval


@dataclass(frozen=True)
class Verdict:
    """How one competitor compares with another on the same frames."""

    name: str
    other: str
    region: str
    metric: str
    difference: Interval
    """Score of `name` minus that of `other`, frame by frame."""
    verdict: str
    """better, worse or tie: a tie where the interval of the difference holds 0."""


@dataclass(frozen=True)
class Example:
    """One frame as the truth and every competitor show it."""

    frame: int
    truth: UInt8[Tensor, "3 height width"]
    pictures: Mapping[str, UInt8[Tensor, "3 height width"]]
    """By competitor."""


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found."""

    avatar: str
    """Name of the avatar's rows."""
    capture_identifier: str
    size_px: int
    """Side at which was scored."""
    background: tuple[float, float, float]
    """The one colour behind everything, sRGB."""
    frames_scored: int
    frames_dropped: int
    """Held-out frames that the tracker rejected."""
    rows: tuple[Row, ...]
    verdicts: tuple[Verdict, ...]
    departures: tuple[str, ...]
    """Where this evaluation leaves the protocol, in sentences."""
    notes: tuple[str, ...] = ()
    """The avatar's own remarks."""
    examples: tuple[Example, ...] = ()
    """Pictures for the report; not stored."""

    def row(self, name: str, region: str, metric: str) -> Interval | None:
        """One score, if there is one."""
        wanted = (name, region, metric)
        return next((row.interval for row in self.rows if (row.name, row.region, row.metric) == wanted), None)

    def verdict(self, name: str, other: str, region: str, metric: str) -> str | None:
        """How `name` compares with `other`, if both have that score."""
        wanted = (name, other, region, metric)
        return next((v.verdict for v in self.verdicts if (v.name, v.other, v.region, v.metric) == wanted), None)

    def plain(self) -> dict:
        """The numbers as dictionaries and lists, without the pictures."""
        shallow = {key: value for key, value in vars(self).items() if key not in ("rows", "verdicts", "examples")}
        return {**shallow, "rows": [asdict(r) for r in self.rows], "verdicts": [asdict(v) for v in self.verdicts]}

    def save(self, path: Path) -> None:
        """Write the numbers as JSON."""
        storage.write_json(path, SCHEMA, VERSION, self.plain())

    @classmethod
    def load(cls, path: Path | str) -> "Evaluation":
        """Read what `save` wrote."""
        where = Path(path)
        content = storage.read_json(where, SCHEMA, VERSION)
        try:
            kept = {key: value for key, value in content.items() if key not in ("schema", "schema_version")}
            kept["rows"] = tuple(Row(**{**r, "interval": Interval(**r["interval"])}) for r in kept["rows"])
            kept["verdicts"] = tuple(
                Verdict(**{**v, "difference": Interval(**v["difference"])}) for v in kept["verdicts"]
            )
            for name in ("background", "departures", "notes"):
                kept[name] = tuple(kept[name])
            return cls(**kept)
        except (KeyError, TypeError) as error:
            raise HeadstudioError(
                f"the evaluation is damaged: {error}", where=where, next_step="evaluate again"
            ) from None
