"""Make avatars of the real training clips at draft, drive them by the other clips, and tabulate the held-out scores.

    python benchmarks/real_clips.py ../shared/data/videos --output out/real_clips

Every stage of every clip is kept when it is done, so the command goes on where it stopped. `table.md` holds what the
docs quote; pictures of the filmed people stay in the output folder.
"""

import argparse
import json
from pathlib import Path

from headstudio.records.evaluation import Evaluation
from score_rows import HEADER, REGIONS, headstudio, score_line

TRAINING = ("whgov_address_720p25_20s", "model_man_1080x1920p25_20s")
DRIVING = ("model_hands_1080x1920p30_20s", "webcam_400x300p25_30s")


def make(videos: Path, output: Path, preset: str) -> None:
    """All avatars and all cross-identity drives that are not there yet."""
    for name in TRAINING:
        headstudio("make", videos / f"{name}.mp4", "-o", output / name, "--preset", preset)
    captures = {name: output / name / "capture" for name in TRAINING}
    captures |= {name: tracked(videos / f"{name}.mp4", output / "drivers" / name) for name in DRIVING}
    for name in TRAINING:
        for driver, capture in captures.items():
            driven = output / name / f"driven_by_{driver}.mp4"
            if driver != name and not driven.exists():
                headstudio("drive", output / name / "avatar", "--with", capture, "-o", driven, "--side-by-side")


def tracked(video: Path, capture: Path) -> Path:
    """A tracked capture of a driving clip."""
    if not (capture / "track" / "track.json").exists():
        headstudio("ingest", video, "-o", capture)
        headstudio("track", capture)
    return capture


def rows(name: str, evaluation: Evaluation) -> list[str]:
    """The table's lines of one clip: every competitor in every region, with the avatar's verdict against it."""
    competitors = list(dict.fromkeys(row.name for row in evaluation.rows))
    return [score_line(name, region, each, evaluation, each) for region in REGIONS for each in competitors]


def seconds(folder: Path) -> str:
    """How long each stage took."""
    stages = json.loads((folder / "stages.json").read_text(encoding="utf-8"))["stages"]
    return ", ".join(f"{stage} {entry['seconds']:.0f} s" for stage, entry in stages.items())


def main() -> None:
    """Make, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--output", type=Path, default=Path("out/real_clips"))
    parser.add_argument("--preset", default="draft")
    options = parser.parse_args()
    make(options.videos, options.output, options.preset)
    lines = [*HEADER]
    for name in TRAINING:
        folder = options.output / name
        lines += rows(name, Evaluation.load(folder / "evaluation" / "evaluation.json"))
    lines += ["", *(f"* {name}: {seconds(options.output / name)}" for name in TRAINING)]
    text = "\n".join(lines) + "\n"
    (options.output / "table.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
