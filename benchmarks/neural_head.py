"""Paper 4's table 1: the surface of the whole head, against truth of another family, tracked alone and refined.

    HEADSTUDIO_ICT=ict_facekit.npz python benchmarks/neural_head.py out/neural_head --actors female-1 male-2

Films each actor (`neural_head_actors.py`), tracks the capture, trains `neural-head` with the true landmarks, mattes,
labels and normals, as the paper's both rows have them, and measures held-out frames (docs/protocol.md): the mean angle
between normals over pixels of the head, and the mean distance from the surface to the truth over face and full head
(without the neck) in mm, after one similarity a sequence found on the face. `tracked` is the head model as it was
tracked and `refined` the avatar, both at the track's own signals; `refitted` is the avatar at signals that were fitted
to the held-out frames themselves, as the paper does (section 4.3). Marks: better than `tracked` (+), worse (-) or tied
(=) by the paired interval over frames. Every finished row is kept; `table.md` has all.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from headstudio import storage
from headstudio.cli.console import Display
from headstudio.cli.sources import load_source, load_subject
from headstudio.evaluation.bootstrap import BootstrapConfig, mean_interval, verdict
from headstudio.evaluation.surface_scores import SurfaceSample, camera_normals, normal_angle_deg, sequence_distances
from headstudio.heads.base import HeadModel
from headstudio.heads.parsing import Label
from headstudio.methods.neural_head import NeuralHead
from headstudio.methods.neural_head.refitting import refitted_motion
from headstudio.records.motion import Motion
from headstudio.render.closest import SurfaceIndex
from headstudio.synth.cast import CAST, TRAINING_FRAMES, VALIDATION_FRAMES
from headstudio.training.contract import Source
from neural_head_actors import FilmedActor, filmed_actor
from score_rows import headstudio

SCHEMA, VERSION = "headstudio.benchmark.neural_head", 2
JUDGED = (Label.SKIN, Label.EARS, Label.EYES, Label.MOUTH, Label.HAIR)
PLACES = {"face": 5000, "head": 8000}
MARKS = {"better": " +", "worse": " -", "tie": " ="}
COLUMNS = ("normals_deg", "face_mm", "head_mm")


def judged_triangles(head: HeadModel) -> dict[str, Tensor]:
    """Triangles of the outer face, and of the outer head without its neck."""
    triangles = head.triangles.long()
    hidden = head.region("mouth_cavity", "teeth", "tongue", "eyelashes") & ~head.region("lips")
    outer = ~hidden[triangles].any(1)
    face = head.region("face", "nose", "lips", "eyelids")[triangles].all(1) & outer
    return {"face": face, "head": outer & ~head.region("neck")[triangles].any(1)}


def scores(
    avatar: NeuralHead, actor: FilmedActor, source: Source, motion: Motion, frames: list[int]
) -> dict[str, list[float]]:
    """The three numbers of one row, frame by frame: the avatar, moved so."""
    truth, head = actor.surface, avatar.shape.head
    inside = judged_triangles(head)

    @torch.no_grad()
    def vertices_m(frame: int) -> Tensor:
        index = torch.tensor([frame])
        return avatar.vertices_m(motion.at(index), source.track.view(index))[0]

    first = vertices_m(frames[0])
    places = {name: SurfaceSample.spread(first, head.triangles, inside[name], n) for name, n in PLACES.items()}
    found = sequence_distances(
        vertices_m, lambda f: SurfaceIndex(truth.vertices_in_camera(f), truth.triangles), frames, places, "face"
    )
    angles = [_angle_deg(vertices_m, head.triangles[inside["head"]], source, frame) for frame in frames]
    distances = {f"{name}_mm": region.mean_mm.tolist() for name, region in found.regions.items()}
    return {"normals_deg": torch.stack(angles).tolist(), **distances}


def _angle_deg(vertices_m: Callable[[int], Tensor], triangles: Tensor, source: Source, frame: int) -> Tensor:
    camera = source.track.view(torch.tensor([frame])).camera
    normals = camera_normals(vertices_m(frame)[None], triangles, camera)
    wanted = torch.tensor([int(label) for label in JUDGED], dtype=torch.uint8)
    mask = torch.isin(source.capture.parsing(frame), wanted)[None]
    return normal_angle_deg(normals, source.capture.normals(frame)[None], mask)[0]


def make(
    actor: FilmedActor, folder: Path, preset: str, settings: Sequence[str], every: int, refitted: bool = True
) -> None:
    """Track, train and measure one actor unless its rows are there."""
    if (folder / "rows.json").exists():
        return
    capture = actor.folder / "capture"
    if not (capture / "track" / "track.json").exists():
        headstudio("track", capture, "--no-overlay")
    if not (folder / "avatar" / "avatar.json").exists():
        changes = [part for setting in settings for part in ("--set", setting)]
        headstudio("train", "neural-head", capture, "-o", folder / "avatar", "--preset", preset, *changes)
    avatar = load_subject(folder / "avatar").avatar.eval()
    assert isinstance(avatar, NeuralHead)
    tracked = avatar.baselines()["tracked"]
    assert isinstance(tracked, NeuralHead)
    source = load_source(capture)
    frames = list(source.capture.held_out_frames)[::every]
    ways = {"tracked": (tracked, source.motion), "refined": (avatar, source.motion)}
    if refitted:
        ways["refitted"] = (avatar, refitted_motion(avatar, source, frames))
    rows = {name: scores(model, actor, source, motion, frames) for name, (model, motion) in ways.items()}
    storage.write_json(
        folder / "rows.json", SCHEMA, VERSION, {"preset": preset, "settings": list(settings), "rows": rows}
    )


def cell(values: list[float], tracked: list[float]) -> str:
    """The mean over frames, and whether it is smaller than the tracked head's."""
    found, others = torch.tensor(values), torch.tensor(tracked)
    mark = ""
    if values is not tracked:
        difference = mean_interval(found - others, BootstrapConfig())
        mark = "" if difference is None else MARKS[verdict(difference, higher_is_better=False)]
    return f"{float(found.nanmean()):.2f}{mark}"


def table(output: Path) -> str:
    """All rows that are there."""
    lines = ["| actor | row | normals, degrees | face, mm | full head, mm |", "|---|---|---|---|---|"]
    for where in sorted(output.glob("*/rows.json")):
        rows = storage.read_json(where, SCHEMA, VERSION)["rows"]
        for name, row in rows.items():
            cells = " | ".join(cell(row[column], rows["tracked"][column]) for column in COLUMNS)
            lines.append(f"| {where.parent.name} | {name} | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--films", type=Path, help="where the films are; OUTPUT/films when not given")
    parser.add_argument("--actors", nargs="+", default=list(CAST), choices=list(CAST))
    parser.add_argument("--head", default="ict", help="the head model that the actors are made from")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--preset", default="draft")
    parser.add_argument("--set", nargs="+", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--every", type=int, default=7, help="measure every so many held-out frames")
    options = parser.parse_args()
    films = options.films or options.output / "films"
    for name in options.actors:
        with Display() as display:
            frames = (TRAINING_FRAMES, VALIDATION_FRAMES)
            actor = filmed_actor(films, name, options.head, options.size, frames, display)
        make(actor, options.output / actor.name, options.preset, options.set, options.every)
        print(table(options.output), flush=True)
    (options.output / "table.md").write_text(table(options.output), encoding="utf-8")


if __name__ == "__main__":
    main()
