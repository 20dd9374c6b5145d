"""Cross-identity driving of paper 5 with truth: what the avatar's actor would look like with the driver's expression.

    python benchmarks/latent_cross.py FOLDER --target 7 --actor 11 --seeds 0 1 2

films three clips: the avatar's actor with a script of their own, the driving actor with another, and the avatar's actor
performing the driver's script, which is the truth. An avatar learns from the first; drivers learn to turn the second's
face into its code, with cycle consistency (eq. 6), as the published code has it, and without (fig. 7). Each is scored
on the frames of the third that correspond to held-out ones of the second, posed by its track, against relative transfer
of coefficients by the same avatar. Head models of people are chosen by `--heads TARGET ACTOR`. What is done is kept.
"""

import argparse
from pathlib import Path

import torch

from headstudio.cli.sources import load_source
from headstudio.drivers.drive import predicted
from headstudio.evaluation.evaluate import EvaluationConfig, evaluate
from headstudio.heads import load_head
from headstudio.motion.neutral import find_neutral
from headstudio.motion.retarget import retarget
from headstudio.progress import Silent
from headstudio.records.avatar import Avatar
from headstudio.records.channels import FACE_CROP, HEAD_POSE
from headstudio.records.evaluation import Evaluation
from headstudio.records.motion import Motion
from headstudio.synth.actor import film
from headstudio.synth.config import SynthConfig
from headstudio.synth.frames import FrameRenderer
from headstudio.synth.stage import Stage
from headstudio.training.avatars import load_avatar, load_driver
from score_rows import headstudio

CYCLES = ("paper", "published", "none")
COEFFICIENTS = "coefficients"
REGIONS = ("face", "mouth", "eyes")
METRICS = ("L1", "PSNR", "SSIM")


def filmed(folder: Path, options: argparse.Namespace) -> None:
    """The three clips, ingested and tracked; the truth with the identity of the first."""
    heads = dict(zip(("target", "actor"), options.heads, strict=True))
    seeds = {"target": options.target, "actor": options.actor}
    for name in ("target", "actor", "truth"):
        place = folder / name
        who = "actor" if name == "actor" else "target"
        config = SynthConfig(seed=seeds[who], head=heads[who], seconds=options.seconds, audio=False)
        if not (place / "actor.mp4").exists():
            film(place, config, lambda c=config, n=name: renderer(c, n, seeds["actor"]), Silent())
        capture = folder / f"{name}-capture"
        if not (capture / "capture.json").exists():
            headstudio("ingest", place / "actor.mp4", "-o", capture)
        if not (capture / "track" / "track.json").exists():
            person = ["--person", folder / "target-capture" / "track"] if name == "truth" else []
            headstudio("track", capture, *person)


def renderer(config: SynthConfig, name: str, actor_seed: int) -> FrameRenderer:
    """Who is filmed, with whose script."""
    stage = Stage.build(config)
    if name != "truth":
        return FrameRenderer(stage)
    actor = Stage.build(SynthConfig(seed=actor_seed, head=config.head, seconds=config.seconds, audio=False))
    return FrameRenderer(stage.performing(actor.performance))


def trained(folder: Path, options: argparse.Namespace) -> dict[str, Path | None]:
    """The avatar, and a driver a row; None for relative transfer."""
    avatar = folder / "avatar"
    if not (avatar / "avatar.json").exists():
        headstudio("train", "latent-avatar", folder / "target-capture", "-o", avatar, "--preset", options.preset)
    rows: dict[str, Path | None] = {COEFFICIENTS: None}
    for cycle in CYCLES:
        for seed in options.seeds:
            rows[f"{cycle}-{seed}"] = driver = folder / f"driver-{cycle}-{seed}"
            if not (driver / "avatar.json").exists():
                settings = ["--preset", options.preset, "--set", f"cycle={cycle}", "--seed", seed]
                captures = [folder / "actor-capture", "--target", folder / "target-capture"]
                headstudio("train-driver", "latent", avatar, *captures, "-o", driver, *settings)
    return rows


def score(folder: Path, name: str, driver: Path | None, every: int) -> Evaluation:
    """One row, made once."""
    where = folder / f"{name}.evaluation.json"
    if where.exists():
        return Evaluation.load(where)
    avatar, actor, truth = (
        load_avatar(folder / "avatar"),
        load_source(folder / "actor-capture"),
        load_source(folder / "truth-capture"),
    )
    at_rest = Avatar.load(folder / "avatar").at_rest
    assert at_rest is not None
    frames = min(len(actor.motion), len(truth.motion))
    if driver is None:
        rest = find_neutral(actor.motion, list(actor.capture.train_frames)).channels
        signals = retarget(actor.motion, rest, at_rest.channels, load_head(avatar.identity.head)).channels
        signals = {channel: values for channel, values in signals.items() if channel != HEAD_POSE}
    else:
        signals = predicted(load_driver(driver, avatar), actor.motion_with({FACE_CROP}))
    pose = {HEAD_POSE: truth.motion.channels[HEAD_POSE][:frames]}
    motion = Motion(truth.motion.times_s[:frames], {**{c: v[:frames] for c, v in signals.items()}, **pose})
    found = evaluate(avatar, truth, EvaluationConfig(every=every), name=name, motion=motion, signal="predicted")
    found.save(where)
    return found


def main() -> None:
    """Make what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", type=int, default=7)
    parser.add_argument("--actor", type=int, default=11)
    parser.add_argument("--heads", nargs=2, default=("makehuman", "makehuman"))
    parser.add_argument("--seconds", type=float, default=SynthConfig.seconds)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--preset", default="draft")
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    filmed(options.folder, options)
    text = [f"| row | region | {' | '.join(METRICS)} |", "|---|---|" + "---:|" * len(METRICS)]
    for name, driver in trained(options.folder, options).items():
        scores = score(options.folder, name, driver, options.every)
        for region in REGIONS:
            cells = [row.value for metric in METRICS if (row := scores.row(name, region, metric)) is not None]
            text.append(f"| {name} | {region} | {' | '.join(f'{value:.4f}' for value in cells)} |")
    (options.folder / "table.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    main()
