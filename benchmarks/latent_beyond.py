"""What a template cannot express (paper 5, section 5.2): an actor who puffs one cheek, turns out half a lip, frowns.

    HEADSTUDIO_ICT=ict_facekit.npz python benchmarks/latent_beyond.py out/latent_beyond [--head ict] [--actor male-1]

films one of the cast doing what no rig has (`headstudio.synth.unrigged`), with given landmarks, tracks it with the
default head and trains `ours` (signal encoded), `coefficients` (the same network, all that the tracker estimates as its
code) and `dynamic-texture`. Scores are those of docs/protocol.md on the second take, and those of the *moved* pixels:
where the film differs from the same film without these motions. What is done is kept.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from headstudio import storage
from headstudio.cli.console import Display
from headstudio.cli.sources import load_source
from headstudio.evaluation.competitors import own_signals
from headstudio.evaluation.evaluate import EvaluationConfig, evaluate
from headstudio.heads import load_head
from headstudio.records.channels import Scene
from headstudio.records.evaluation import Evaluation
from headstudio.synth.cast import CAST, cast_config, cast_stage
from headstudio.synth.frames import FrameRenderer
from headstudio.synth.given import write_given_capture
from headstudio.training.avatars import load_avatar
from headstudio.training.contract import Source
from latent_avatar import ROWS, line
from score_rows import headstudio

SCHEMA, VERSION = "headstudio.benchmark.moved", 1
DIFFERENT = 0.06
"""Mean absolute difference of sRGB in [0, 1] by which a pixel has moved."""
LEAST_PIXELS = 40
REGIONS = ("head", "face", "mouth")


def filmed(folder: Path, options: argparse.Namespace) -> Path:
    """The tracked capture, and masks of the moved pixels of every held-out frame."""
    capture, member = folder / "capture", CAST[options.actor]
    if not (capture / "capture.json").exists():
        head = load_head(options.head)
        config = cast_config(member, options.head, options.size)
        usual = cast_stage(member, config, head, tuple(options.frames))
        renderer = FrameRenderer(usual.beyond_the_rig())
        with storage.replacing_folder(folder / "moved") as building:
            for frame in range(options.frames[0], sum(options.frames)):
                Image.fromarray(moved(renderer, frame).numpy()).save(building / f"{frame:06d}.png")
        with Display() as display:
            write_given_capture(capture, renderer, options.frames[0], display)
    if not (capture / "track" / "track.json").exists():
        headstudio("track", capture)
    return capture


def moved(renderer: FrameRenderer, frame: int) -> Tensor:
    """255 where a frame differs from the one without the motions that no rig has."""
    stage = renderer.stage
    with_it = renderer.render(frame).rgb.float() / 255
    renderer.stage = replace(stage, unrigged=None)
    without = renderer.render(frame).rgb.float() / 255
    renderer.stage = stage
    return ((with_it - without).abs().mean(-1) > DIFFERENT).to(torch.uint8) * 255


@torch.no_grad()
def moved_scores(avatar: Path, source: Source, masks: Path) -> dict[str, float]:
    """L1 and PSNR of the moved pixels of all held-out frames together."""
    model = load_avatar(avatar)
    motion, signal = own_signals(model, source)
    absolute, squared, count, frames = 0.0, 0.0, 0.0, 0
    for frame in source.capture.held_out_frames:
        with Image.open(masks / f"{frame:06d}.png") as picture:
            mask = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
        mask = (mask.reshape(source.capture.size_px, -1) > 0) & (source.capture.matte(frame)[0] > 127)
        if int(mask.sum()) < LEAST_PIXELS or not bool(source.track.usable[frame]):
            continue
        shown = model.render(motion.at([frame]), source.track.view(torch.tensor([frame])), Scene()).rgb[0]
        error = (shown.clamp(0, 1) - source.capture.image(frame).float() / 255)[:, mask]
        absolute, squared = absolute + float(error.abs().sum()), squared + float(error.square().sum())
        count, frames = count + error.numel(), frames + 1
    psnr = float(-10 * torch.tensor(squared / count).log10())
    return {"L1": absolute / count, "PSNR": psnr, "frames": frames, "pixels": count / 3, "signal": signal}


def main() -> None:
    """Make what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--head", default="ict")
    parser.add_argument("--actor", default="male-1", choices=list(CAST))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--frames", type=int, nargs=2, default=(200, 60))
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--preset", default="draft")
    parser.add_argument("--set", nargs="*", default=(), dest="settings", metavar="FIELD=VALUE", help="of latent-avatar")
    options = parser.parse_args()
    torch.set_num_threads(1)
    capture = filmed(options.folder, options)
    source, text = load_source(capture), ["| actor | region | row | signal | MSE | PSNR | SSIM | perceptual |"]
    text.append("|---|---|---|---|---:|---:|---:|---:|")
    for row in options.rows:
        text += scored(options.folder / row, row, capture, source, options)
    (options.folder / "table.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    print("\n".join(text))


def scored(folder: Path, row: str, capture: Path, source: Source, options: argparse.Namespace) -> list[str]:
    """The lines of one row, made once."""
    avatar, method = folder / "avatar", ROWS[row][0]
    if not (avatar / "avatar.json").exists():
        own = options.settings if method == "latent-avatar" else ()
        settings = [*ROWS[row][1:], *(part for setting in own for part in ("--set", setting))]
        headstudio("train", method, capture, "-o", avatar, "--preset", options.preset, *settings)
    if not (folder / "evaluation.json").exists():
        evaluate(load_avatar(avatar), source, EvaluationConfig(), name=row).save(folder / "evaluation.json")
    if not (folder / "moved.json").exists():
        found = moved_scores(avatar, source, options.folder / "moved")
        storage.write_json(folder / "moved.json", SCHEMA, VERSION, found)
    scores, found = (
        Evaluation.load(folder / "evaluation.json"),
        storage.read_json(folder / "moved.json", SCHEMA, VERSION),
    )
    lines = [line(options.actor, region, scores, row) for region in REGIONS]
    mse = 10 ** (-found["PSNR"] / 10)
    lines.append(f"| {options.actor} | moved | {row} | {found['signal']} | {mse:.5f} | {found['PSNR']:.2f} | | |")
    return lines


if __name__ == "__main__":
    main()
