"""Paper 2's tables 2 and 3: StyleAvatar, its parts, and the designs it is compared with, at equal steps.

    python benchmarks/style_avatar.py out/real_clips/whgov/capture [CAPTURE ...] --output out/style_avatar
        [--preset draft] [--rows full without-nt ...] [--seeds 3] [--set FIELD=VALUE]

One avatar a row and seed, same capture and steps, scored by docs/protocol.md on the held-out frames with the
background removed. `full` and `single-unet` (its nearest rival in the paper) are trained `--seeds` times, the others
once. Every finished training and evaluation is kept, trainings go on where they stopped, and the table is written
anew after each row. KID: unbiased squared MMD of features of held-out frames with the kernel (x.y / d + 1)^3, times
1000, with the sample count; it carries the judge's name and is left out where no judge's weights are on this machine.
"""

import argparse
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio import storage
from headstudio.cli.sources import load_source
from headstudio.evaluation.baselines import NearestFrame
from headstudio.evaluation.competitors import Competitor, DrivenAvatar
from headstudio.evaluation.evaluate import EvaluationConfig
from headstudio.evaluation.judge import find_judge
from headstudio.evaluation.tracked_mesh import TrackedMesh
from headstudio.evaluation.truth import Truth
from headstudio.heads import load_head
from headstudio.nn.extractors import Extractor
from headstudio.records.evaluation import Evaluation
from headstudio.training.avatars import load_avatar
from score_rows import headstudio

ROWS: dict[str, tuple[str, ...]] = {
    "full": (),
    "without-nt": ("design=no-neural-texture",),
    "single-unet": ("design=single-unet", "sliding=false"),
    "dvp": ("design=plain-unet", "sliding=false"),
    "dnr": ("design=neural-texture-unet", "sliding=false"),
    "without-plates": ("plates=false",),
    "without-perceptual": ("weights.perceptual=0",),
    "without-windows": ("sliding=false",),
}
"""What each row changes. `without-perceptual` is the authors' code, which computes that term and leaves it out."""
SEEDED = ("full", "single-unet")
PAPER = {
    "full": "0.87 / 26.2 / 13.2",
    "without-nt": "0.88 / 26.6 / 15.1",
    "single-unet": "0.87 / 26.2 / 15.1",
    "dvp": "0.85 / 24.2 / 25.9",
    "dnr": "0.89 / 26.1 / 27.2",
    "nearest frame": "0.81 / 22.1 / 18.3",
}
"""SSIM, PSNR and FID of table 3, on the authors' clip at 512 px: for the order of rows, not for comparison."""
METRICS, REGIONS = ("SSIM", "PSNR", "L1"), ("frame", "face", "mouth")
SCHEMA, VERSION = "headstudio.benchmark.kid", 1


def make(capture: Path, row: str, seed: int, folder: Path, preset: str, settings: list[str]) -> None:
    """Train and score one row unless it is there."""
    avatar = folder / "avatar"
    if not (avatar / "avatar.json").exists():
        changes = [part for setting in (*ROWS[row], *settings) for part in ("--set", setting)]
        headstudio(
            "train", "style-avatar", capture, "-o", avatar, "--preset", preset, "--seed", seed,
            *changes,
        )  # fmt: skip
    if not (folder / "evaluation" / "evaluation.json").exists():
        headstudio("evaluate", avatar, capture, "-o", folder / "evaluation")
    if not (folder / "kid.json").exists():
        storage.write_json(folder / "kid.json", SCHEMA, VERSION, kernel_distances(avatar, capture))


@torch.no_grad()
def kernel_distances(avatar_path: Path, capture_path: Path) -> dict:
    """KID of the avatar and of the nearest training frames against the held-out frames."""
    avatar, source = load_avatar(avatar_path), load_source(capture_path)
    judge = find_judge(EvaluationConfig().judges, avatar.loss_extractors)
    if judge.distance is None:
        return {"absent": judge.absence}
    truth = Truth(source, source.capture.size_px, torch.zeros(3, 1, 1))
    mesh = TrackedMesh(load_head(source.track.identity.head), source.track)
    frames = torch.tensor([f for f in source.capture.held_out_frames if bool(source.track.usable[f])])
    extractor = judge.distance.extractor
    shown: dict[str, Competitor] = {
        "avatar": DrivenAvatar(avatar, truth, mesh, source.motion),
        "nearest frame": NearestFrame(source, truth, mesh, aligned=False),
    }
    wanted = torch.cat([described(extractor, truth.pictures(some)) for some in frames.split(8)])
    found = {
        name: kernel_distance(torch.cat([described(extractor, one.show(some)) for some in frames.split(8)]), wanted)
        for name, one in shown.items()
    }
    return {"judge": extractor.name, "samples": len(frames), **found}


def described(extractor: Extractor, pictures: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch features"]:
    """The deepest layer's mean over the picture."""
    deepest = extractor.taps[-1]
    return extractor(pictures, (deepest,))[deepest].mean((2, 3)).double()


def kernel_distance(found: Float[Tensor, "some features"], wanted: Float[Tensor, "others features"]) -> float:
    """Unbiased squared maximum mean discrepancy with a cubic kernel (Binkowski et al. 2018, section 3), times 1000."""
    width = found.shape[1]

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / width + 1.0) ** 3

    def within(a: Tensor) -> Tensor:
        values = kernel(a, a)
        return (values.sum() - values.diagonal().sum()) / (len(a) * (len(a) - 1))

    return float(1000 * (within(found) + within(wanted) - 2 * kernel(found, wanted).mean()))


def table(output: Path, clips: list[str], seeds: int) -> list[str]:
    """Lines of the table; marks are the verdict of the row's own evaluation against the nearest training frame."""
    scores = " | ".join(f"{region} {metric}" for region in REGIONS for metric in METRICS)
    lines = [
        f"| clip | row | seed | {scores} | KID | paper: SSIM / PSNR / FID |",
        "|---|---|---|" + "---|" * (len(METRICS) * len(REGIONS) + 2),
    ]
    for clip in clips:
        for row in ROWS:
            for seed in range(seeds):
                folder = output / clip / row / str(seed)
                if (folder / "kid.json").exists():
                    lines += _lines(clip, row, seed, folder)
    return lines


def _lines(clip: str, row: str, seed: int, folder: Path) -> list[str]:
    evaluation = Evaluation.load(folder / "evaluation" / "evaluation.json")
    kid = storage.read_json(folder / "kid.json", SCHEMA, VERSION)
    shown = [(row, evaluation.avatar, "avatar")]
    if row == "full" and seed == 0:
        shown.append(("nearest frame", "nearest frame", "nearest frame"))
    lines = []
    for name, competitor, key in shown:
        cells = [_cell(evaluation, competitor, region, metric) for region in REGIONS for metric in METRICS]
        distance = f"{kid[key]:.2f} ({kid['judge']}, {kid['samples']} frames)" if key in kid else "-"
        lines.append(f"| {clip} | {name} | {seed} | {' | '.join(cells)} | {distance} | {PAPER.get(name, '')} |")
    return lines


def _cell(evaluation: Evaluation, competitor: str, region: str, metric: str) -> str:
    found = evaluation.row(competitor, region, metric)
    if found is None:
        return ""
    mark = {"better": " +", "worse": " -", "tie": " ="}.get(
        evaluation.verdict(competitor, "nearest frame", region, metric) or "", ""
    )
    return f"{found.value:.{2 if metric == 'PSNR' else 4}f}{mark}"


def main() -> None:
    """Make what is missing; write the table after each row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, default=Path("out/style_avatar"))
    parser.add_argument("--preset", default="draft")
    parser.add_argument("--rows", nargs="+", choices=tuple(ROWS), default=tuple(ROWS))
    parser.add_argument("--seeds", type=int, default=3, help=f"of the rows {' and '.join(SEEDED)}")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    options = parser.parse_args()
    names = {capture: capture.resolve().parent.name for capture in options.captures}
    for capture, clip in names.items():
        for row in options.rows:
            for seed in range(options.seeds if row in SEEDED else 1):
                make(capture, row, seed, options.output / clip / row / str(seed), options.preset, options.set)
                lines = table(options.output, list(names.values()), options.seeds)
                with storage.replacing_file(options.output / "table.md") as building:
                    building.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(table(options.output, list(names.values()), options.seeds)))


if __name__ == "__main__":
    main()
