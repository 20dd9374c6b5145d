"""Paper 2's figure 8: error against steps, and our own pre-trained weights with what they gain.

    python benchmarks/style_avatar_training.py pretrain --actors 3 --output out/pretrained [--set steps=2000]
    python benchmarks/style_avatar_training.py curves CAPTURE --output out/curves --init out/pretrained/avatar
        [--rows single-unet without-nt full pretrained] [--every 250]

`pretrain` films synthetic actors, tracks them and trains one avatar on all of them, each with a z_id of its own; what
is done is kept. `curves` trains each row on one capture and scores its raw weights on held-out frames every so many
steps; finished curves are kept. The table has, for each row, L1 on the person by steps, and the first step at which
it is as good as `full` ends.
"""

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from headstudio import storage
from headstudio.cli.settings import recipe_of
from headstudio.cli.sources import load_source
from headstudio.methods.style_avatar import StyleAvatar
from headstudio.progress import Advance
from headstudio.records.avatar import Avatar
from headstudio.records.channels import Scene
from headstudio.training.batches import FrameStore
from headstudio.training.contract import Source
from headstudio.training.train import create
from headstudio.training.trainer import Trainer, TrainerConfig
from score_rows import headstudio
from style_avatar import ROWS

SCHEMA, VERSION = "headstudio.benchmark.curve", 1
PRETRAINED = "pretrained"
_SCORED = 12


def pretrain(options: argparse.Namespace) -> None:
    """Actors, captures, tracks, one avatar of all."""
    from headstudio.synth.actor import make_actor
    from headstudio.synth.config import SynthConfig

    captures = []
    for number in range(options.actors):
        folder = options.output / f"actor{number}"
        capture = folder / "capture"
        if not (folder / "film" / "actor.mp4").exists():
            make_actor(folder / "film", SynthConfig(seed=100 + number))
        if not (capture / "capture.json").exists():
            headstudio("ingest", folder / "film" / "actor.mp4", "-o", capture)
        if not (capture / "track" / "track.json").exists():
            headstudio("track", capture)
        captures.append(capture)
    changes = [part for setting in options.set for part in ("--set", setting)]
    headstudio(
        "train", "style-avatar", *captures, "-o", options.output / "avatar", "--preset", options.preset, *changes
    )


class Watch:
    """A display that scores the model as it learns."""

    def __init__(self, model: StyleAvatar, source: Source, every: int) -> None:
        self.points: list[tuple[int, float]] = []
        self._model, self._source, self._every, self._step = model, source, every, 0
        sizes = model.config.sizes
        self._store = FrameStore(source, model.covered_cells * sizes.picture_px)
        usable = [f for f in source.capture.held_out_frames if bool(source.track.usable[f])]
        self._frames = usable[:: max(len(usable) // _SCORED, 1)]

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """One stage of the trainer."""
        yield self._advance

    def _advance(self, units: int = 1) -> None:
        self._step += units
        if units and self._step % self._every == 0:
            self.points.append((self._step, self._error()))

    @torch.no_grad()
    def _error(self) -> float:
        model, total, weight = self._model, 0.0, 0.0
        was = model.training
        model.eval()
        kept, model._planes = model._planes, {}
        for frame in self._frames:
            index, stored = torch.tensor([frame]), self._store[frame].float() / 255
            view = self._source.track.view(index, size_px=self._store.size_px)
            found = model.render(self._source.motion.at(index), view, Scene()).maps["whole"][0]
            total += float(((found - stored[:3]).abs().mean(0, keepdim=True) * stored[3:]).sum())
            weight += float(stored[3:].sum())
        model._planes = kept
        model.train(was)
        return total / weight


def curve(capture: Path, row: str, folder: Path, options: argparse.Namespace) -> list[tuple[int, float]]:
    """One row's curve, from its file if it is there."""
    where = folder / "curve.json"
    if not where.exists():
        settings = (*ROWS.get(row, ()), *options.set)
        recipe = recipe_of("methods", "style-avatar", options.preset, settings, None)
        torch.manual_seed(0)
        model, source = create(recipe)[0], load_source(capture)
        assert isinstance(model, StyleAvatar)
        weights = Avatar.load(options.init).weights if row == PRETRAINED else {}
        watch = Watch(model, source, options.every)
        config = TrainerConfig(device="cpu", checkpoint_every_s=1e9)
        Trainer(model, {"target": (source,)}, folder / "training", config, watch, weights).run()
        storage.write_json(where, SCHEMA, VERSION, {"points": watch.points})
    return [(int(step), float(value)) for step, value in storage.read_json(where, SCHEMA, VERSION)["points"]]


def table(curves: dict[str, list[tuple[int, float]]]) -> list[str]:
    """Lines of the table."""
    steps = [step for step, _ in next(iter(curves.values()))]
    goal = curves["full"][-1][1] if "full" in curves else None
    lines = [
        f"| row | {' | '.join(map(str, steps))} | steps to where `full` ends |",
        "|---|" + "---|" * (len(steps) + 1),
    ]
    for row, points in curves.items():
        reached = next((str(s) for s, v in points if goal is not None and v <= goal), "-")
        lines.append(f"| {row} | {' | '.join(f'{value:.4f}' for _, value in points)} | {reached} |")
    return lines


def curves(options: argparse.Namespace) -> None:
    """All curves that are asked for."""
    rows = [row for row in options.rows if row != PRETRAINED or options.init is not None]
    found = {}
    for row in rows:
        found[row] = curve(options.capture, row, options.output / row, options)
        text = "\n".join(table(found)) + "\n"
        (options.output / "curves.md").write_text(text, encoding="utf-8")
    print(text)


def main() -> None:
    """One of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    first, second = verbs.add_parser("pretrain"), verbs.add_parser("curves")
    first.add_argument("--actors", type=int, default=3)
    second.add_argument("capture", type=Path)
    second.add_argument("--init", type=Path)
    second.add_argument("--every", type=int, default=250)
    choices = ("single-unet", "without-nt", "full", PRETRAINED)
    second.add_argument("--rows", nargs="+", choices=choices, default=choices)
    for verb, run, place in ((first, pretrain, "out/pretrained"), (second, curves, "out/curves")):
        verb.add_argument("--output", type=Path, default=Path(place))
        verb.add_argument("--preset", default="draft")
        verb.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
        verb.set_defaults(run=run)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
