"""What each part of `neural-head` is worth: paper 4's fig. 8 and supplement as numbers.

    HEADSTUDIO_ICT=ict_facekit.npz python benchmarks/neural_head_ablations.py out/neural_head_ablations

One avatar a row on one actor of `neural_head_actors.py`, each with one part switched off: surface as in
`neural_head.py` at the track's own signals, pictures by docs/protocol.md. Every finished row is kept; `table.md` has
all, `strip.png` a held-out frame of each.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image

from headstudio import storage
from headstudio.cli.console import Display
from headstudio.cli.sources import load_source, load_subject
from headstudio.evaluation.evaluate import EvaluationConfig, evaluate
from headstudio.records.channels import Scene
from headstudio.records.evaluation import Evaluation
from headstudio.synth.cast import CAST, TRAINING_FRAMES, VALIDATION_FRAMES
from neural_head import COLUMNS, SCHEMA, VERSION, cell, make
from neural_head_actors import FilmedActor, filmed_actor

ROWS: dict[str, tuple[str, ...]] = {
    "ours": (),
    "static offsets": ("offsets.pose_dependence=nowhere",),
    "offsets of all vertices move": ("offsets.pose_dependence=everywhere",),
    "static texture": ("texture.inputs=static",),
    "texture told as published": ("texture.inputs=published",),
    "no lid term": ("energies.lids=0 0 0",),
    "normals by their Laplacian alone": ("energies.orientation=0 0 0",),
    "no normals": ("energies.normals=0 0 0", "energies.orientation=0 0 0"),
    "no semantics": ("energies.semantics=0 0 0", "energies.hair=0 0 0"),
    "no even thickness": ("energies.thickness=0 0 0",),
    "no joint stage": ("joint_stage.steps=0",),
}
PICTURES = (("head", "L1"), ("face", "PSNR"), ("mouth", "PSNR"), ("eyes", "PSNR"))


def row(actor: FilmedActor, folder: Path, preset: str, settings: tuple[str, ...], every: int) -> None:
    """Train and score one row unless it is there."""
    make(actor, folder, preset, settings, every, refitted=False)
    if not (folder / "evaluation.json").exists():
        source = load_source(actor.folder / "capture")
        with Display() as display:
            config = EvaluationConfig(every=every)
            avatar = load_subject(folder / "avatar").avatar.eval()
            found = evaluate(avatar, source, config, name="neural-head", motion=source.motion, progress=display)
        found.save(folder / "evaluation.json")


def table(output: Path) -> Iterator[str]:
    """All rows that are there."""
    yield "| row | normals, degrees | face, mm | full head, mm | " + " | ".join(" ".join(p) for p in PICTURES) + " |"
    yield "|" + "---|" * (4 + len(PICTURES))
    for name in ROWS:
        folder = output / name.replace(" ", "-")
        if not (folder / "evaluation.json").exists():
            continue
        rows = storage.read_json(folder / "rows.json", SCHEMA, VERSION)["rows"]
        found = Evaluation.load(folder / "evaluation.json")
        cells = [cell(rows["refined"][column], rows["tracked"][column]) for column in COLUMNS]
        for region, metric in PICTURES:
            scored = found.row(found.avatar, region, metric)
            cells.append("" if scored is None else f"{scored.value:.{4 if metric == 'L1' else 2}f}")
        yield f"| {name} | {' | '.join(cells)} |"


@torch.no_grad()
def strip(actor: FilmedActor, output: Path) -> Image.Image:
    """A frame whose mouth is open and one whose eyes are shut: truth and every row, colours over normals."""
    source = load_source(actor.folder / "capture")
    held_out = torch.tensor(list(source.capture.held_out_frames))
    gaps = source.capture.views[0].landmarks_px[held_out]
    lids = (gaps[:, 159, 1] - gaps[:, 145, 1]).abs()
    lips = (gaps[:, 13, 1] - gaps[:, 14, 1]).abs()
    frames = torch.stack([held_out[lips.argmax()], held_out[lids.argmin()]])
    columns = [torch.cat([source.capture.image(int(f)).float() / 255 for f in frames], 1)]
    for name in ROWS:
        place = output / name.replace(" ", "-") / "avatar"
        if (place / "avatar.json").exists():
            avatar = load_subject(place).avatar.eval()
            shown = avatar.render(source.motion.at(frames), source.track.view(frames), Scene())
            columns.append(torch.cat(list(shown.rgb), 1))
    pixels = (torch.cat(columns, 2).clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def main() -> None:
    """Make what is missing, then write table and strip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--films", type=Path, help="where the films are; OUTPUT/films when not given")
    parser.add_argument("--actor", default="female-2", choices=list(CAST))
    parser.add_argument("--head", default="ict", help="the head model that the actor is made from")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--preset", default="draft")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--every", type=int, default=7, help="measure every so many held-out frames")
    options = parser.parse_args()
    films = options.films or options.output / "films"
    with Display() as display:
        frames = (TRAINING_FRAMES, VALIDATION_FRAMES)
        actor = filmed_actor(films, options.actor, options.head, options.size, frames, display)
    for name in options.rows:
        row(actor, options.output / name.replace(" ", "-"), options.preset, ROWS[name], options.every)
        print("\n".join(table(options.output)), flush=True)
    (options.output / "table.md").write_text("\n".join(table(options.output)) + "\n", encoding="utf-8")
    strip(actor, options.output).save(options.output / "strip.png")


if __name__ == "__main__":
    main()
