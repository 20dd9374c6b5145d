"""The rows of paper 1's Table 1 that its own method has, and what each of its parts is worth, on tracked captures.

    python benchmarks/dynamic_texture.py out/real_clips/whgov/capture [CAPTURE ...] --output out/dynamic_texture

One avatar a row, same capture, steps and seed, scored by docs/protocol.md on the held-out frames: `dynamic` as it is
(whose evaluation has the static texture, the tracked head and the nearest frames as rows of their own), `no-mask`
without the blend mask, `no-static` without the static base, `lit` with the clip's light left in the texture. With
`--scan SCAN` the person of the scan is used by all rows but `clip-b-skin`; `clip-a-skin` shows the scan's texture
alone. Training and evaluation of each row are kept when they are
done, and training goes on where it stopped. `table.md` holds what the docs quote.
"""

import argparse
from pathlib import Path

from headstudio.records.evaluation import Evaluation
from score_rows import HEADER, REGIONS, headstudio, score_line

ROWS: dict[str, tuple[str, ...]] = {
    "dynamic": (),
    "no-mask": ("canvas=everywhere",),
    "no-static": ("canvas=alone",),
    "lit": ("relight=false",),
    "clip-a-skin": ("own_skin=false",),
    "clip-b-skin": (),
}
ONE_CLIP = ("dynamic", "no-mask", "no-static", "lit")
BASELINES = ("static texture", "nearest frame, aligned", "tracked head")


def make(capture: Path, row: str, folder: Path, preset: str, scan: Path | None) -> None:
    """Train and score one row unless it is there."""
    avatar = folder / "avatar"
    if not (avatar / "avatar.json").exists():
        settings = [part for setting in ROWS[row] for part in ("--set", setting)]
        person = [] if scan is None or row == "clip-b-skin" else ["--scan", scan]
        headstudio("train", "dynamic-texture", capture, "-o", avatar, "--preset", preset, *person, *settings)
    if not (folder / "evaluation" / "evaluation.json").exists():
        headstudio("evaluate", avatar, capture, "-o", folder / "evaluation")


def lines(clip: str, folder: Path) -> list[str]:
    """The clip's part of the table; marks are the verdict of `dynamic` against a baseline of its own evaluation."""
    found = []
    for row in ROWS:
        where = folder / row / "evaluation" / "evaluation.json"
        if not where.exists():
            continue
        evaluation = Evaluation.load(where)
        named = {row: evaluation.avatar}
        if row == "dynamic":
            named |= {name: name for name in BASELINES}
        found += [
            score_line(clip, region, name, evaluation, competitor)
            for name, competitor in named.items()
            for region in REGIONS
        ]
    return found


def main() -> None:
    """Make what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, default=Path("out/dynamic_texture"))
    parser.add_argument("--preset", default="draft")
    parser.add_argument("--scan", type=Path)
    parser.add_argument("--rows", nargs="+", choices=tuple(ROWS), default=ONE_CLIP)
    options = parser.parse_args()
    names = {capture: capture.resolve().parent.name for capture in options.captures}
    for capture, name in names.items():
        for row in options.rows:
            make(capture, row, options.output / name / row, options.preset, options.scan)
    table = "\n".join([*HEADER, *(line for name in names.values() for line in lines(name, options.output / name))])
    (options.output / "table.md").write_text(table + "\n", encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
