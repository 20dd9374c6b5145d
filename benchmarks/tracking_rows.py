"""Rows on disk: each finished track of each clip, what it was made by, and what it scored."""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

import headstudio
from headstudio import storage
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.records.capture import Capture
from headstudio.records.track import Track
from headstudio.tracking.config import TrackingConfig
from headstudio.tracking.tracker import track

SCHEMA, VERSION = "headstudio.benchmark.tracking", 1
HERE = Path(__file__).parent
_TRACKED_BY = ("tracking", "heads", "geometry", "render")
_JUDGED_BY = ("scores", "surface", "signals", "pictures", "real")

Scores = Mapping[str, float | None]


class Heads:
    """Head models, loaded when first asked for."""

    def __init__(self) -> None:
        self._known: dict[str, HeadModel] = {}

    def __getitem__(self, name: str) -> HeadModel:
        if name not in self._known:
            self._known[name] = load_head(name)
        return self._known[name]


class Clip(Protocol):
    """Something to track."""

    @property
    def name(self) -> str:
        """Of its rows."""
        ...

    @property
    def capture(self) -> Capture:
        """What the tracker is given."""
        ...

    def judge(self, found: Track, heads: Heads, config: TrackingConfig) -> tuple[Scores, dict[str, Tensor]]:
        """Scores of a track by name, and the series behind them."""
        ...


@dataclass(frozen=True)
class Bench:
    """Where rows lie and what they are made by: the sources as they were when the command began."""

    output: Path
    keep: bool
    """Rows of other code count too."""
    tracked_by: str
    judged_by: str
    heads: Heads = field(default_factory=Heads)

    @classmethod
    def of(cls, output: Path, keep: bool) -> "Bench":
        """The bench as it stands now."""
        package = Path(headstudio.__file__).parent
        tracked_by = _digest(path for room in _TRACKED_BY for path in sorted((package / room).rglob("*.py")))
        return cls(output, keep, tracked_by, _digest(HERE / f"tracking_{name}.py" for name in _JUDGED_BY))

    def place(self, label: str, clip_name: str) -> Path:
        """Folder of a row: row.json, track, series.safetensors."""
        return self.output / "rows" / label / clip_name

    def scores(self, clip: Clip, label: str, config: TrackingConfig) -> Scores:
        """The scores of one track, from the disk where they are still true."""
        place = self.place(label, clip.name)
        plain = json.loads(json.dumps(asdict(config), default=str))
        stamp = {"tracked_by": self.tracked_by, "config": plain, "capture": clip.capture.identifier}
        told = storage.read_json(place / "row.json", SCHEMA, VERSION) if (place / "row.json").exists() else {}
        same_film = told.get("capture") == clip.capture.identifier
        if not (same_film and (self.keep or all(told.get(key) == value for key, value in stamp.items()))):
            told = _tracked(clip, config, place, stamp)
        if told["judged_by"] != self.judged_by:
            scores, series = clip.judge(Track.load(place / "track"), self.heads, config)
            storage.write_tensors(place / "series.safetensors", series)
            told = {**told, "judged_by": self.judged_by, "scores": dict(scores)}
            storage.write_json(place / "row.json", SCHEMA, VERSION, told)
            print(f"{label:24s} {clip.name:28s} {told['seconds']:6.1f} s  {_short(scores)}", flush=True)
        return told["scores"]

    def series(self, label: str, clip_name: str) -> dict[str, Tensor]:
        """The errors over time behind a row's scores."""
        return storage.read_tensors(self.place(label, clip_name) / "series.safetensors")

    def draw(self, clip: Clip, label: str) -> None:
        """A contact sheet of overlays."""
        from PIL import Image

        from headstudio.tracking.overlay import contact_sheet

        place = self.output / "overlays" / f"{label}_{clip.name}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        result = Track.load(self.place(label, clip.name) / "track")
        sheet = contact_sheet(clip.capture, result, torch.linspace(5, result.frames - 5, 8).long().tolist())
        Image.fromarray(sheet.permute(1, 2, 0).numpy()).save(place)


def _tracked(clip: Clip, config: TrackingConfig, place: Path, stamp: dict) -> dict:
    """Track a clip and keep the track, not judged yet."""
    begun = time.perf_counter()
    result = track(clip.capture, config)
    told = {**stamp, "seconds": time.perf_counter() - begun, "frames": result.frames, "judged_by": None}
    with storage.replacing_folder(place) as building:
        result.save(building / "track")
        storage.write_json(building / "row.json", SCHEMA, VERSION, told)
    return told


def _short(scores: Scores) -> str:
    keys = (
        "rotation_deg_median", "surface_mm_median", "gaze_deg_median", "perspective_ratio", "blink_recall",
        "withheld_pct", "psnr_db", "jitter_pct", "jitter_raw_pct",
    )  # fmt: skip
    return "  ".join(f"{key.removesuffix('_median')} {scores[key]:.2f}" for key in keys if scores.get(key) is not None)


def _digest(paths: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        total.update(path.read_bytes())
    return total.hexdigest()[:16]
