"""Track synthetic actors and real clips, score the tracks, and tabulate.

    python benchmarks/tracking.py --set judged sanity real --output out/tracking
    python benchmarks/tracking.py --set judged sanity --variant default no-photometric ict-fitted
    python benchmarks/tracking.py --set real --variant default no-smoothing withheld withheld-mean-head
    python benchmarks/tracking.py --set development --change solve.lid_follow=50 --label softer-lids

Actors are filmed once, rows are kept when they are done, so the command goes on where it stopped. A row that was
made by other code or another configuration is made again, unless `--keep` says that it still counts. `table.md` holds
what the docs quote.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from headstudio import storage
from headstudio.tracking.config import TrackingConfig
from tracking_actors import filmed, is_filmed, name_of, sets
from tracking_real import CLIPS, ingested, short_name
from tracking_rows import Bench, Clip, Scores
from tracking_tables import tables
from tracking_variants import changed, names, parsed, variant

DATA = Path(__file__).parents[2] / "shared" / "data"
REAL = "real"


@dataclass(frozen=True)
class Recipe:
    """A clip that can be made."""

    name: str
    ready: bool
    """It is there already."""
    lacks: str | None
    """What it cannot be made without."""
    make: Callable[[], Clip]


def recipes(set_name: str, options: argparse.Namespace) -> Iterator[Recipe]:
    """The clips of a set."""
    if set_name == REAL:
        for name in CLIPS:
            video, folder = options.videos / f"{name}.mp4", options.output / "clips"
            lacks = None if video.exists() else str(video)
            ready = (folder / name / "capture.json").exists()
            yield Recipe(short_name(name), ready, lacks, lambda v=video, f=folder: ingested(v, f))
    else:
        for config in sets()[set_name]:
            folder = options.output / "actors"
            lacks = str(options.ict) if config.head == "ict" and not options.ict.exists() else None
            yield Recipe(name_of(config), is_filmed(folder, config), lacks, lambda f=folder, c=config: filmed(f, c))


def chosen(options: argparse.Namespace) -> dict[str, TrackingConfig]:
    """Configurations by the name of their row."""
    unknown = [name for name in options.variant if name not in names()]
    if unknown:
        raise SystemExit(f"no variant is named {', '.join(unknown)}; there are {', '.join(names())}")
    if not options.change:
        return {name: variant(name) for name in options.variant}
    changes = parsed(options.change)
    label = options.label or " ".join(options.change)
    return {f"{name} {label}".replace("/", "_"): changed(variant(name), changes) for name in options.variant}


def rows(bench: Bench, options: argparse.Namespace) -> dict[str, dict[str, dict[str, Scores]]]:
    """Scores by set, variant and clip."""
    ways = chosen(options)
    found: dict[str, dict[str, dict[str, Scores]]] = {}
    for set_name in options.set:
        found[set_name] = {label: {} for label in ways}
        for recipe in recipes(set_name, options):
            if options.clips and not any(part in recipe.name for part in options.clips):
                continue
            if recipe.lacks or (options.ready and not recipe.ready):
                print(f"{recipe.name} is left out: {recipe.lacks or 'not there'}{' is missing' * bool(recipe.lacks)}")
                continue
            clip = recipe.make()
            for label, config in ways.items():
                if options.film_only or (config.head == "ict" and not options.ict.exists()):
                    continue
                found[set_name][label][clip.name] = bench.scores(clip, label, config)
                if options.overlays:
                    bench.draw(clip, label)
    return found


def main() -> None:
    """Film, track, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("out/tracking"))
    parser.add_argument("--set", nargs="+", default=["judged", "sanity", REAL], choices=[*sets(), REAL])
    parser.add_argument("--variant", nargs="+", default=["default"], help=", ".join(names()))
    parser.add_argument("--change", nargs="+", default=[], metavar="FIELD=VALUE", help="on top of the variants")
    parser.add_argument("--label", help="name of the row with these changes")
    parser.add_argument("--clips", nargs="+", help="only clips whose names hold one of these")
    parser.add_argument("--ict", type=Path, default=DATA / "models" / "ict_facekit.npz", help="ICT-FaceKit's file")
    parser.add_argument("--videos", type=Path, default=DATA / "videos", help="folder of the real clips")
    parser.add_argument("--keep", action="store_true", help="rows of other code count too")
    parser.add_argument("--ready", action="store_true", help="pass over clips that are not made yet")
    parser.add_argument("--film-only", action="store_true", help="make the clips and stop")
    parser.add_argument("--overlays", action="store_true", help="draw a contact sheet of every row")
    parser.add_argument("--table", default="table.md")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    if options.ict.exists():
        os.environ["HEADSTUDIO_ICT"] = str(options.ict.resolve())
    bench = Bench.of(options.output, options.keep)
    text = tables(bench, rows(bench, options))
    with storage.replacing_file(options.output / options.table) as building:
        building.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
