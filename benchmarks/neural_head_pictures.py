"""Paper 4's table 2 on real clips: L1, MS-SSIM, perceptual, identity and sharpness scores of held-out frames.

    python benchmarks/neural_head_pictures.py out/whgov/capture [CAPTURE ...] --output out/pictures \\
        --embedders faces.onnx --weights WEIGHTS

Trains `neural-head` on each capture (as it is: `headstudio annotate` it before for labels), fits expression and pose to
the held-out frames as the paper does (signal `refined`), and scores both signals by docs/protocol.md. The tracked mesh
is the avatar without its offsets. Avatar, fitted motion and both evaluations are kept when they are done; `table.md`
holds what the docs quote. Feature weights in WEIGHTS judge and take no part in the training.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image

from headstudio import storage
from headstudio.cli.console import Display
from headstudio.cli.sources import load_source, load_subject
from headstudio.evaluation.blur import cpbd
from headstudio.evaluation.evaluate import EvaluationConfig, evaluate
from headstudio.evaluation.regions import REGIONS, RegionMasker
from headstudio.evaluation.tables import markdown
from headstudio.evaluation.tracked_mesh import TrackedMesh
from headstudio.evaluation.truth import Truth
from headstudio.heads import load_head
from headstudio.methods.neural_head import NeuralHead
from headstudio.methods.neural_head.refitting import refitted_motion
from headstudio.nn.weights import ENVIRONMENT
from headstudio.records.evaluation import Evaluation, Example, digits
from headstudio.records.motion import Motion
from headstudio.training.contract import Source
from score_rows import headstudio

SCHEMA, VERSION = "headstudio.benchmark.neural_head_pictures", 1
METHOD, REGION = "neural-head", "head"
SIGNALS = ("refined", "tracked")
OTHERS = {
    "tracked": "tracked mesh, its own colours",
    "constant colour": "colours of no expression",
    "tracked head": "tracked head, the track's texture",
    "nearest frame, aligned": "nearest frame, aligned",
}
MARKS = {"better": " +", "worse": " -", "tie": " ="}


def train(capture: Path, folder: Path, preset: str, settings: list[str]) -> None:
    """The avatar, unless it is there."""
    if not (folder / "avatar" / "avatar.json").exists():
        changes = [part for setting in settings for part in ("--set", setting)]
        headstudio("train", METHOD, capture, "-o", folder / "avatar", "--preset", preset, *changes)


def judge(capture: Path, folder: Path, config: EvaluationConfig) -> None:
    """Fit and score whatever is not there yet."""
    source = load_source(capture)
    avatar = load_subject(folder / "avatar").avatar.eval()
    assert isinstance(avatar, NeuralHead)
    for signal in SIGNALS:
        if (folder / signal / "evaluation.json").exists():
            continue
        motion = fitted(avatar, source, folder / "motion", config.every) if signal == "refined" else source.motion
        with Display() as display:
            found = evaluate(avatar, source, config, name=METHOD, motion=motion, signal=signal, progress=display)
        with storage.replacing_folder(folder / signal) as building:
            found.save(building / "evaluation.json")
            (building / "evaluation.md").write_text(markdown(found), encoding="utf-8")
            strip(found.examples).save(building / "strip.png")
    if not (folder / "truth.json").exists():
        storage.write_json(folder / "truth.json", SCHEMA, VERSION, {"CPBD": sharpness_of_truth(source, config)})


def fitted(avatar: NeuralHead, source: Source, place: Path, every: int) -> Motion:
    """The motion with expression and pose of the frames that are scored fitted to their pictures."""
    if not (place / "motion.json").exists():
        held_out = list(source.capture.held_out_frames)[::every]
        refitted_motion(avatar, source, [frame for frame in held_out if bool(source.track.usable[frame])]).save(place)
    return Motion.load(place)


def sharpness_of_truth(source: Source, config: EvaluationConfig) -> float:
    """Mean CPBD of the filmed frames, over black as everybody is shown."""
    truth = Truth(source, config.size_px or source.capture.size_px, torch.zeros(3, 1, 1))
    masker = RegionMasker(TrackedMesh(load_head(source.track.identity.head), source.track))
    scores = []
    for frame in list(source.capture.held_out_frames)[:: config.every]:
        index = torch.tensor([frame])
        masks = masker.masks(index, truth.size_px, truth.alpha(index) if truth.has_matte else None, truth.valid)
        scores.append(cpbd(truth.pictures(index), masks[:, REGIONS.index(REGION), None]))
    return float(torch.cat(scores).nanmean())


def strip(examples: tuple[Example, ...]) -> Image.Image:
    """Truth, avatar and the others below one another, a column a frame."""
    names = list(examples[0].pictures)
    columns = [torch.cat([e.truth, *(e.pictures[name] for name in names)], dim=1) for e in examples]
    return Image.fromarray(torch.cat(columns, dim=2).permute(1, 2, 0).numpy())


def metrics_of(evaluation: Evaluation) -> list[str]:
    """L1, MS-SSIM and all that were asked for, in the order of the paper's table."""
    found = dict.fromkeys(row.metric for row in evaluation.rows)
    return [name for name in found if name not in ("PSNR", "SSIM")]


def lines(clip: str, folder: Path) -> Iterator[str]:
    """The clip's rows; marks are the avatar's verdicts against a row at the same signal."""
    found = {signal: Evaluation.load(folder / signal / "evaluation.json") for signal in SIGNALS}
    metrics = metrics_of(found["tracked"])
    yield f"| {clip} | signal | {' | '.join(metrics)} |"
    yield f"|{'---|' * (2 + len(metrics))}"
    for signal in SIGNALS:
        yield f"| {METHOD} | {signal} | {' | '.join(cells(found[signal], METHOD, metrics))} |"
    for name, told in OTHERS.items():
        yield f"| {told} | tracked | {' | '.join(cells(found['tracked'], name, metrics))} |"
    sharp = storage.read_json(folder / "truth.json", SCHEMA, VERSION)["CPBD"]
    yield f"| truth | | {' | '.join(f'{sharp:.3f}' if metric == 'CPBD' else '' for metric in metrics)} |"


def cells(evaluation: Evaluation, name: str, metrics: list[str]) -> Iterator[str]:
    """One row's scores; identity is told of the face, everything else of the head."""
    for metric in metrics:
        region = "face" if metric.startswith("identity") else REGION
        row = evaluation.row(name, region, metric)
        mark = MARKS.get(evaluation.verdict(METHOD, name, region, metric) or "", "")
        yield "" if row is None else f"{row.value:.{min(digits(metric), 4)}f}{mark}"


def clip_name(capture: Path) -> str:
    """The folder's own name, or where `headstudio make` put it."""
    whole = capture.resolve()
    return whole.parent.name if whole.name == "capture" else whole.name


def main() -> None:
    """Make what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, default=Path("out/neural_head_pictures"))
    parser.add_argument("--preset", default="draft")
    parser.add_argument("--set", nargs="+", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--embedders", nargs="*", default=[], help="face-recognition networks that judge identity")
    parser.add_argument("--weights", type=Path, help="folder of feature weights that judge")
    parser.add_argument("--every", type=int, default=1, help="score every so many held-out frames")
    parser.add_argument("--size", type=int, default=0, help="side of the pictures that are compared; 0: the capture's")
    options = parser.parse_args()
    config = EvaluationConfig(
        options.size, options.every, judged_regions=(REGION,), embedders=tuple(options.embedders), sharpness=True
    )
    folders = {capture: options.output / clip_name(capture) for capture in options.captures}
    for capture, folder in folders.items():
        train(capture, folder, options.preset, options.set)
    if options.weights is not None:
        os.environ[ENVIRONMENT] = str(options.weights)
    for capture, folder in folders.items():
        judge(capture, folder, config)
    parts = ["\n".join(lines(folder.name, folder)) for folder in folders.values()]
    text = "\n\n".join(parts) + "\n"
    (options.output / "table.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
