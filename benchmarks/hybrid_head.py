"""Paper 3's head, as far as it can be measured without its drivers: codes, re-rendering and mask.

    python benchmarks/hybrid_head.py codes CAPTURE ... --output out/hybrid_head [--sizes 8 16 32 64 128]
    python benchmarks/hybrid_head.py pictures CAPTURE ... [--seeds 1]
    python benchmarks/hybrid_head.py mask ACTOR_CAPTURE ... [--noise 0.02 --shadow 0.35]

`codes` trains the autoencoder alone for every length of the code (and without the alignment by flow, and without the
judge, at the preset's own length) and scores held-out frames, encoded from themselves: texture PSNR where the frame
shows the texel, and the mean distance of the decoded mesh from the tracked one. `pictures` scores the whole method by
docs/protocol.md: mesh only, re-rendered, and trained without a corrective image; driven by what was tracked, and by
codes of the held-out frames themselves (`encoded`). `mask` wants captures whose mattes are the truth: it copies them
with sensor noise and a cast shadow, trains, and sets the mask that emerged beside plain plate differencing at the best
of all thresholds, where the plate was ever seen. Every finished row is kept and the table is written anew after each.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from headstudio import storage
from headstudio.cli.sources import load_source
from headstudio.evaluation.bootstrap import BootstrapConfig, mean_interval
from headstudio.evaluation.evaluate import EvaluationConfig, evaluate
from headstudio.methods.hybrid_head import HybridHead
from headstudio.records.capture import Capture
from headstudio.records.evaluation import Evaluation
from headstudio.training.avatars import load_avatar
from hybrid_head_scores import code_scores, mask_scores, spoiled, usable_held_out
from score_rows import METRICS, headstudio

SCHEMA, VERSION = "headstudio.benchmark.hybrid_head", 1
HEAD_ALONE = ("picture_steps=0", "transfer_steps=0")
VARIANTS = {"without flow": ("unwrapping.aligns=false",), "without judge": ("head_weights.adversarial=0",)}
PICTURES = {"re-rendered": (), "without corrective image": ("corrective=false",)}
REGIONS = ("frame", "head", "face", "mouth", "eyes")


def trained(
    capture: Path, where: Path, options: argparse.Namespace, settings: Sequence[str], seed: int = 0
) -> HybridHead:
    """The avatar of a row, trained where it is not there yet."""
    if not (where / "avatar.json").exists():
        changes = [part for setting in (*settings, *options.set) for part in ("--set", setting)]
        headstudio(
            "train", "hybrid-head", capture, "-o", where, "--preset", options.preset, "--seed", seed, *changes
        )  # fmt: skip
    avatar = load_avatar(where)
    assert isinstance(avatar, HybridHead)
    return avatar


def codes(options: argparse.Namespace) -> list[str]:
    """Texture and mesh against the length of the code."""
    rows = {f"code of {size}": (f"autoencoder.code={size}",) for size in options.sizes} | VARIANTS
    lines = [
        "| clip | row | frames | texture PSNR, dB | the mean texture's | mesh, mm |",
        "|---|---|---|---:|---:|---:|",
    ]
    for capture in options.captures:
        for name, settings in rows.items():
            folder = options.output / "codes" / _clip(capture) / name.replace(" ", "-")
            if not (folder / "scores.json").exists():
                avatar = trained(capture, folder / "avatar", options, (*HEAD_ALONE, *settings))
                source = load_source(capture)
                parts = {
                    "trained": list(avatar.known.frames[source.key])[:: options.every],
                    "held out": usable_held_out(source, options.every),
                }
                found = {part: code_scores(avatar, source, frames) for part, frames in parts.items()}
                storage.write_json(folder / "scores.json", SCHEMA, VERSION, {"scores": found})
            scores = storage.read_json(folder / "scores.json", SCHEMA, VERSION)["scores"]
            for part, series in scores.items():
                numbers = [_interval(series[key], 2) for key in ("psnr", "mean_psnr", "vertices_mm")]
                lines.append(f"| {_clip(capture)} | {name} | {part} | {' | '.join(numbers)} |")
            _write(options.output / "codes.md", lines)
    return lines


def pictures(options: argparse.Namespace) -> list[str]:
    """The protocol's rows."""
    lines = [
        f"| clip | region | row | signal | seed | {' | '.join(METRICS)} |",
        "|---|---|---|---|---|" + "---:|" * len(METRICS),
    ]
    for capture in options.captures:
        for name, settings in PICTURES.items():
            for seed in range(options.seeds):
                folder = options.output / "pictures" / _clip(capture) / name.replace(" ", "-") / str(seed)
                _evaluations(capture, folder, name, options, settings, seed)
                for signal in ("tracked", "encoded"):
                    lines += _picture_lines(_clip(capture), Evaluation.load(folder / signal), name, signal, seed)
                _write(options.output / "pictures.md", lines)
    return lines


def _evaluations(
    capture: Path, folder: Path, name: str, options: argparse.Namespace, settings: Sequence[str], seed: int
) -> None:
    if all((folder / signal / "evaluation.json").exists() for signal in ("tracked", "encoded")):
        return
    avatar, source = trained(capture, folder / "avatar", options, settings, seed), load_source(capture)
    config = EvaluationConfig(size_px=avatar.config.size_px, every=options.every)
    motions = {"tracked": source.motion, "encoded": source.motion.with_channels(avatar.codes(source))}
    for signal, motion in motions.items():
        found = evaluate(avatar, source, config, name=name, motion=motion, signal=signal)
        found.save(folder / signal)


def _picture_lines(clip: str, found: Evaluation, name: str, signal: str, seed: int) -> list[str]:
    weaker = (
        ("mesh only", "mean code", "nearest frame, aligned") if signal == "tracked" and seed == 0 else ("mesh only",)
    )
    shown = (name, *(weaker if name == "re-rendered" else ()))
    lines = []
    for region in REGIONS:
        for competitor in shown:
            cells = []
            for metric in METRICS:
                score = found.row(competitor, region, metric)
                mark = {"better": " +", "worse": " -", "tie": " ="}.get(
                    found.verdict(name, competitor, region, metric) or "", ""
                )
                cells.append("" if score is None else f"{score.value:.{2 if metric == 'PSNR' else 4}f}{mark}")
            lines.append(f"| {clip} | {region} | {competitor} | {signal} | {seed} | {' | '.join(cells)} |")
    return lines


def mask(options: argparse.Namespace) -> list[str]:
    """The mask that emerged, beside plate differencing."""
    lines = ["| actor | noise, shadow | avatar | differencing | differencing, cleaned |", "|---|---|---:|---:|---:|"]
    for capture in options.captures:
        truth = Capture.load(capture)
        for noise, shadow in ((0.0, 0.0), (options.noise, options.shadow)):
            folder = options.output / "mask" / _clip(capture) / f"{noise}-{shadow}"
            if not (folder / "scores.json").exists():
                filmed = spoiled(truth, folder / "capture", noise, shadow) if noise or shadow else capture
                avatar, source = trained(filmed, folder / "avatar", options, ()), load_source(filmed)
                found = mask_scores(avatar, source, truth, options.every)
                storage.write_json(folder / "scores.json", SCHEMA, VERSION, {"scores": found})
            scores = storage.read_json(folder / "scores.json", SCHEMA, VERSION)["scores"]
            cells = " | ".join(_interval(series, 3) for series in scores.values())
            lines.append(f"| {_clip(capture)} | {noise}, {shadow} | {cells} |")
            _write(options.output / "mask.md", lines)
    return lines


def _interval(values: list[float], digits: int) -> str:
    found = mean_interval(torch.tensor(values), BootstrapConfig())
    return "" if found is None else f"{found.value:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"


def _clip(capture: Path) -> str:
    return capture.resolve().parent.name


def _write(where: Path, lines: Sequence[str]) -> None:
    with storage.replacing_file(where) as building:
        building.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """One of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    for name, run in (("codes", codes), ("pictures", pictures), ("mask", mask)):
        verb = verbs.add_parser(name)
        verb.add_argument("captures", type=Path, nargs="+")
        verb.add_argument("--output", type=Path, default=Path("out/hybrid_head"))
        verb.add_argument("--preset", default="draft")
        verb.add_argument("--every", type=int, default=1, help="score every n-th frame")
        verb.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
        verb.add_argument("--sizes", type=int, nargs="+", default=(8, 16, 32, 64, 128))
        verb.add_argument("--seeds", type=int, default=1)
        verb.add_argument("--noise", type=float, default=0.02)
        verb.add_argument("--shadow", type=float, default=0.35)
        verb.set_defaults(run=run)
    options = parser.parse_args()
    print("\n".join(options.run(options)))


if __name__ == "__main__":
    main()
