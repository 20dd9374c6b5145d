"""Track synthetic actors, score the tracks against the truth, and tabulate.

    python benchmarks/tracking.py --set judged sanity --variant default no-photometric --output out/tracking
    python benchmarks/tracking.py --set development --change solve.lid_follow=50 --label softer-lids

Actors are filmed once, rows are kept when they are done, so the command goes on where it stopped. A row that was
made by other code or another configuration is made again, unless `--keep` says that it still counts. `table.md` holds
what the docs quote.
"""

import argparse
import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import headstudio
from headstudio import storage
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.records.track import Track
from headstudio.tracking.config import TrackingConfig
from headstudio.tracking.tracker import track
from tracking_actors import Filmed, filmed, name_of, sets
from tracking_scores import Pair, score
from tracking_tables import NOTES, Scores, clip_table, expression_table, variant_table
from tracking_variants import changed, parsed, variants

SCHEMA, VERSION = "headstudio.benchmark.tracking", 1
ICT = Path(__file__).parents[2] / "shared" / "data" / "models" / "ict_facekit.npz"
HERE = Path(__file__).parent


class Heads:
    """Head models, loaded when first asked for."""

    def __init__(self) -> None:
        self._known: dict[str, HeadModel] = {}

    def __getitem__(self, name: str) -> HeadModel:
        if name not in self._known:
            self._known[name] = load_head(name)
        return self._known[name]


@dataclass(frozen=True)
class Bench:
    """Where rows lie and what they were made by: the sources as they were when the command began."""

    output: Path
    keep: bool
    """Rows of other code count too."""
    tracked_by: str
    judged_by: str
    heads: Heads

    @classmethod
    def of(cls, output: Path, keep: bool) -> "Bench":
        """The bench as it stands now."""
        judged_by = _digest_of(sorted(HERE.glob("tracking_s*.py")))
        return cls(output, keep, _digest("tracking", "heads", "geometry", "render"), judged_by, Heads())


def row(bench: Bench, clip: Filmed, label: str, config: TrackingConfig) -> Scores:
    """The scores of one track, from the disk where they are still true."""
    place, heads = bench.output / "rows" / label / clip.name, bench.heads
    stamp = {"tracked_by": bench.tracked_by, "config": _plain(config)}
    told = storage.read_json(place / "row.json", SCHEMA, VERSION) if (place / "row.json").exists() else {}
    fresh = bool(told) and (bench.keep or all(told.get(key) == value for key, value in stamp.items()))
    if not fresh:
        told = _tracked(clip, config, place, stamp)
    if told["judged_by"] != bench.judged_by:
        result = Track.load(place / "track")
        pair = Pair(
            result, clip.actor.truth(), clip.capture, heads[result.identity.head], heads[clip.actor.config.head]
        )
        told = {**told, "judged_by": bench.judged_by, "scores": score(pair)}
        storage.write_json(place / "row.json", SCHEMA, VERSION, told)
        print(f"{label:24s} {clip.name:28s} {told['seconds']:6.1f} s  {_short(told['scores'])}", flush=True)
    return told["scores"]


def _tracked(clip: Filmed, config: TrackingConfig, place: Path, stamp: dict) -> dict:
    """Track a clip and keep the track, not judged yet."""
    begun = time.perf_counter()
    result = track(clip.capture, config)
    told = {**stamp, "seconds": time.perf_counter() - begun, "frames": result.frames, "judged_by": None}
    with storage.replacing_folder(place) as building:
        result.save(building / "track")
        storage.write_json(building / "row.json", SCHEMA, VERSION, told)
    return told


def draw(clip: Filmed, label: str, output: Path) -> None:
    """A contact sheet of overlays."""
    from PIL import Image

    from headstudio.tracking.overlay import contact_sheet

    place = output / "overlays" / f"{label}_{clip.name}.png"
    place.parent.mkdir(parents=True, exist_ok=True)
    result = Track.load(output / "rows" / label / clip.name / "track")
    sheet = contact_sheet(clip.capture, result, torch.linspace(5, result.frames - 5, 8).long().tolist())
    Image.fromarray(sheet.permute(1, 2, 0).numpy()).save(place)


def _short(scores: Scores) -> str:
    keys = ("rotation_deg_median", "surface_mm_median", "gaze_deg_median", "perspective_ratio", "blink_recall")
    return "  ".join(f"{key.split('_')[0]} {scores[key] or 0:.2f}" for key in keys)


def _digest(*rooms: str) -> str:
    source = Path(headstudio.__file__).parent
    return _digest_of(path for room in rooms for path in sorted((source / room).rglob("*.py")))


def _digest_of(paths) -> str:
    total = hashlib.sha256()
    for path in paths:
        total.update(path.read_bytes())
    return total.hexdigest()[:16]


def _plain(config: TrackingConfig) -> dict:
    return json.loads(json.dumps(asdict(config), default=str))


def chosen(options: argparse.Namespace) -> dict[str, TrackingConfig]:
    """Configurations by the name of their row."""
    known = variants()
    unknown = [name for name in options.variant if name not in known]
    if unknown:
        raise SystemExit(f"no variant is named {', '.join(unknown)}; there are {', '.join(known)}")
    if not options.change:
        return {name: known[name] for name in options.variant}
    changes = parsed(options.change)
    label = options.label or " ".join(options.change)
    return {f"{name} {label}".replace("/", "_"): changed(known[name], changes) for name in options.variant}


def written(output: Path, name: str, rows: dict[str, dict[str, dict[str, Scores]]]) -> str:
    """The tables as text, also in a file."""
    lines: list[str] = []
    for set_name, by_variant in rows.items():
        for label, clips in by_variant.items():
            if clips:
                lines += [f"### {set_name}, {label}", "", *clip_table(clips), "", *expression_table(clips), ""]
        if len(by_variant) > 1:
            lines += [f"### {set_name}, variants", "", *variant_table(by_variant), ""]
    text = "\n".join([*lines, NOTES]) + "\n"
    with storage.replacing_file(output / name) as building:
        building.write_text(text, encoding="utf-8")
    return text


def main() -> None:
    """Film, track, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("out/tracking"))
    parser.add_argument("--set", nargs="+", default=["judged", "sanity"], choices=list(sets()))
    parser.add_argument("--variant", nargs="+", default=["default"], help=", ".join(variants()))
    parser.add_argument("--change", nargs="+", default=[], metavar="FIELD=VALUE", help="on top of the variants")
    parser.add_argument("--label", help="name of the row with these changes")
    parser.add_argument("--clips", nargs="+", help="only clips whose names hold one of these")
    parser.add_argument("--ict", type=Path, default=ICT, help="the file of the ICT-FaceKit head")
    parser.add_argument("--keep", action="store_true", help="rows of other code count too")
    parser.add_argument("--film-only", action="store_true", help="make the actors and stop")
    parser.add_argument("--overlays", action="store_true", help="draw a contact sheet of every row")
    parser.add_argument("--table", default="table.md")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    if options.ict.exists():
        os.environ["HEADSTUDIO_ICT"] = str(options.ict)
    bench = Bench.of(options.output, options.keep)
    rows = {}
    for set_name in options.set:
        rows[set_name] = {label: {} for label in chosen(options)}
        for config in sets()[set_name]:
            if options.clips and not any(part in name_of(config) for part in options.clips):
                continue
            if config.head == "ict" and not os.environ.get("HEADSTUDIO_ICT"):
                print(f"{name_of(config)} is left out: no ICT-FaceKit file at {options.ict}")
                continue
            clip = filmed(options.output / "actors", config)
            for label, tracking in chosen(options).items():
                if options.film_only or (tracking.head == "ict" and not os.environ.get("HEADSTUDIO_ICT")):
                    continue
                rows[set_name][label][clip.name] = row(bench, clip, label, tracking)
                if options.overlays:
                    draw(clip, label, options.output)
    print(written(options.output, options.table, rows))


if __name__ == "__main__":
    main()
