"""Table 1 of paper 5 on tracked captures, a walk between two codes, and what a step costs.

    python benchmarks/latent_avatar.py table out/real_clips/whgov/capture [CAPTURE ...] --output out/latent_avatar
    python benchmarks/latent_avatar.py walk out/latent_avatar/whgov/ours/avatar CAPTURE --output walk.png
    python benchmarks/latent_avatar.py novel AVATAR FILM     # FILM of neural_head_actors.py with novel views, tracked
    python benchmarks/latent_avatar.py cost CAPTURE --preset draft

`table` trains and scores, by docs/protocol.md on the held-out frames, `ours` (signal encoded), `coefficients` (the same
network with all that the tracker estimates as its code: the paper's Coeff+Tri-plane, signal tracked), `transfer` (ours,
its code told by the tracked signals) and `dynamic-texture` (tracked). MSE is that of the mean PSNR. Rows of different
signals are named as such. What is done is kept, and training goes on where it stopped. `cost` tells ratios alone.
"""

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from headstudio.cli.sources import load_source
from headstudio.drivers.drive import orbit_view, render_frames
from headstudio.evaluation.competitors import own_signals
from headstudio.evaluation.evaluate import EvaluationConfig, evaluate
from headstudio.geometry.rigid import from_rotation
from headstudio.methods.latent_avatar import LatentAvatar
from headstudio.records.avatar import Avatar
from headstudio.records.channels import FACE_CROP, HEAD_POSE, Scene
from headstudio.records.evaluation import Evaluation
from headstudio.records.motion import Motion
from headstudio.training.avatars import load_avatar
from headstudio.training.batches import BatchStream
from headstudio.training.contract import Source
from headstudio.video import to_picture
from neural_head_actors import FilmedActor
from score_rows import headstudio

ROWS: dict[str, tuple[str, ...]] = {
    "ours": ("latent-avatar",),
    "coefficients": ("latent-avatar", "--set", "code=tracked"),
    "dynamic-texture": ("dynamic-texture",),
}
TRANSFER = "transfer"
REGIONS = ("frame", "head", "face", "mouth", "eyes")
STEPS_TIMED, STEPS_WARM = 20, 5


def make(capture: Path, row: str, folder: Path, preset: str, every: int) -> None:
    """Train and score one row unless it is there."""
    avatar = folder / row / "avatar"
    if row != TRANSFER and not (avatar / "avatar.json").exists():
        method, *settings = ROWS[row]
        headstudio("train", method, capture, "-o", avatar, "--preset", preset, *settings)
    scores = folder / row / "evaluation.json"
    if scores.exists():
        return
    source = load_source(capture)
    model = load_avatar(folder / "ours" / "avatar" if row == TRANSFER else avatar)
    motion = source.motion if row == TRANSFER else None
    found = evaluate(model, source, EvaluationConfig(every=every), name=row, motion=motion)
    scores.parent.mkdir(parents=True, exist_ok=True)
    found.save(scores)


def lines(clip: str, folder: Path) -> list[str]:
    """The clip's part of the table."""
    found = []
    for row in (*ROWS, TRANSFER):
        where = folder / row / "evaluation.json"
        if where.exists():
            scores = Evaluation.load(where)
            shown = {row: row, **({"nearest frame, aligned": "nearest frame, aligned"} if row == "ours" else {})}
            found += [line(clip, region, scores, name) for name in shown for region in REGIONS]
    return found


def line(clip: str, region: str, scores: Evaluation, name: str) -> str:
    """One competitor in one region."""
    rows = [row for row in scores.rows if (row.name, row.region) == (name, region)]
    values = {row.metric: row.interval.value for row in rows}
    judged = [f"{value:.4f}" for metric, value in values.items() if metric not in ("L1", "PSNR", "SSIM", "MS-SSIM")]
    cells = f"{10 ** (-values['PSNR'] / 10):.5f} | {values['PSNR']:.2f} | {values['SSIM']:.4f} | {' '.join(judged)}"
    return f"| {clip} | {region} | {name} | {rows[0].signal} | {cells} |"


def table(options: argparse.Namespace) -> None:
    """Make what is missing, then write the table."""
    names = {capture: capture.resolve().parent.name for capture in options.captures}
    for capture, name in names.items():
        for row in options.rows:
            make(capture, row, options.output / name, options.preset, options.every)
    header = [
        "| clip | region | row | signal | MSE | PSNR | SSIM | perceptual |",
        "|---|---|---|---|---:|---:|---:|---:|",
    ]
    text = "\n".join([*header, *(one for name in names.values() for one in lines(name, options.output / name))])
    (options.output / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)


@torch.no_grad()
def walk(options: argparse.Namespace) -> None:
    """A strip from the code of one held-out frame to that of another, the head at rest in its place."""
    avatar, source = load_avatar(options.avatar), load_source(options.capture)
    at_rest = Avatar.load(options.avatar).at_rest
    if not isinstance(avatar, LatentAvatar) or at_rest is None:
        raise SystemExit(f"{options.avatar} is no latent avatar")
    first, last = options.frames or (source.capture.held_out_frames[0], source.capture.held_out_frames[-1])
    crops = source.motion_with({FACE_CROP}).at([first, last])
    ends = avatar.encode(crops)[avatar.latent]
    codes = torch.stack([ends[0].lerp(ends[1], float(t)) for t in torch.linspace(0, 1, options.columns)])
    pose = at_rest.channels[HEAD_POSE].expand(options.columns, 4, 4)
    motion = Motion(torch.arange(options.columns).double(), {avatar.latent: codes, HEAD_POSE: pose})
    frames = render_frames(avatar, motion, orbit_view(at_rest, at_rest.size_px, options.yaw_deg))
    strip = torch.cat([torch.from_numpy(to_picture(frame.rgb[0])) for frame in frames], dim=1)
    Image.fromarray(strip.numpy()).save(options.output)
    print(f"{options.output}: frame {first} to {last} in {options.columns} steps")


@torch.no_grad()
def novel(options: argparse.Namespace) -> None:
    """Held-out frames of a filmed actor seen from aside, against truth, in the actor's own matte over black."""
    actor = FilmedActor(options.film.name, options.film)
    avatar, source = load_avatar(options.avatar), load_source(options.film / "capture")
    motion, signal = own_signals(avatar, source)
    scores: dict[float, list[float]] = {}
    for frame, yaw_deg, T_camera_world, rgba in actor.novel_views():
        channels = motion.at([frame])
        view = source.track.view(torch.tensor([frame]))
        # Around the head where it was tracked: a track knows depth up to the lens.
        rotation, centre = T_camera_world[:3, :3].float(), channels[HEAD_POSE][0, :3, 3].float()
        view = replace(view, T_camera_world=from_rotation(rotation, centre - rotation @ centre)[None])
        shown = avatar.render(channels, view, Scene()).rgb
        matte = rgba[None, 3:].float() / 255
        error = ((shown - rgba[None, :3].float() / 255).square() * matte).sum() / (3 * matte.sum())
        scores.setdefault(float(yaw_deg), []).append(float(-10 * error.log10()))
    print("| yaw | signal | frames | PSNR |\n|---:|---|---:|---:|")
    for yaw_deg, values in sorted(scores.items()):
        print(f"| {yaw_deg:.0f} | {signal} | {len(values)} | {statistics.mean(values):.2f} |")


def cost(options: argparse.Namespace) -> None:
    """Time of a step, all ways of skipping in turns, as a ratio to skipping nothing; and of a frame rendered."""
    source, times = load_source(options.capture), {}
    for name, change in {"nothing skipped": (0, False), "grid": (None, False), "grid, hidden": (None, True)}.items():
        times[name] = timed_steps(source, options.preset, *change)
    whole = times["nothing skipped"]
    for name, seconds in times.items():
        print(f"{name}: {seconds / whole:.2f}")


def timed_steps(source: Source, preset: str, cells: int | None, skip_hidden: bool) -> float:
    """Median processor time of a step, of a fresh avatar."""
    config = LatentAvatar.presets[preset]
    config = replace(config, skip_hidden=skip_hidden, cells=config.cells if cells is None else cells)
    torch.manual_seed(0)
    avatar = LatentAvatar(config)
    avatar.setup({"target": (source,)})
    stage = avatar.stages()[0]
    player, found = stage.players[0], []
    optimiser = torch.optim.Adam(avatar.parameters(), config.learning_rate)
    stream = BatchStream({"target": (source,)}, stage, 0, 0, torch.device("cpu"))
    for step in range(STEPS_WARM + STEPS_TIMED):
        batch, started = stream.batch(player, step), time.process_time()
        losses = avatar.losses(batch, stage, player)
        torch.stack([losses[name] for name in player.losses]).sum().backward()
        optimiser.step()
        optimiser.zero_grad()
        found.append(time.process_time() - started)
    stream.close()
    return statistics.median(found[STEPS_WARM:])


def main() -> None:
    """Read the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    one = verbs.add_parser("table")
    one.add_argument("captures", type=Path, nargs="+")
    one.add_argument("--output", type=Path, default=Path("out/latent_avatar"))
    one.add_argument("--rows", nargs="+", choices=(*ROWS, TRANSFER), default=(*ROWS, TRANSFER))
    one.add_argument("--every", type=int, default=1)
    one.set_defaults(run=table)
    two = verbs.add_parser("walk")
    two.add_argument("avatar", type=Path)
    two.add_argument("capture", type=Path)
    two.add_argument("--output", type=Path, default=Path("walk.png"))
    two.add_argument("--frames", type=int, nargs=2)
    two.add_argument("--columns", type=int, default=7)
    two.add_argument("--yaw-deg", type=float, default=0.0)
    two.set_defaults(run=walk)
    three = verbs.add_parser("cost")
    three.add_argument("capture", type=Path)
    three.set_defaults(run=cost)
    four = verbs.add_parser("novel")
    four.add_argument("avatar", type=Path)
    four.add_argument("film", type=Path)
    four.set_defaults(run=novel)
    for verb in (one, three):
        verb.add_argument("--preset", default="draft")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
