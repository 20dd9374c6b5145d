"""Films of the four actors on whom reconstructions of the whole head are measured, with the truth of their surface.

    HEADSTUDIO_ICT=ict_facekit.npz python benchmarks/neural_head_actors.py FOLDER
    python benchmarks/neural_head_actors.py FOLDER --head makehuman --actors female-1

writes FOLDER/HEAD-ACTOR/capture (landmarks, mattes, labels, normals and cameras are the truth), surface.safetensors
and, for one actor, novel/ (held-out frames seen from aside). What is there is kept; a run that was stopped goes on with
the film that is missing.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from headstudio import storage
from headstudio.cli.console import Display
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.records.capture import Capture
from headstudio.synth.cast import CAST, TRAINING_FRAMES, VALIDATION_FRAMES, CastMember, cast_config, cast_stage
from headstudio.synth.frames import FrameRenderer
from headstudio.synth.given import write_given_capture
from headstudio.synth.orbit import orbited
from headstudio.synth.surface_truth import SurfaceTruth, tell_surface

SCHEMA, VERSION = "headstudio.benchmark.cast", 1
_REVISION = 1
"""Of the actors; a change of how they look asks for new films."""
NOVEL_ACTOR, NOVEL_YAWS_DEG, NOVEL_FRAMES = "female-2", (-60, -30, 30, 60), 12
"""Who is also seen from aside, from where, and in how many frames of the held-out take."""


@dataclass(frozen=True)
class FilmedActor:
    """One actor on disk."""

    name: str
    folder: Path

    @property
    def capture(self) -> Capture:
        """The capture whose annotations are the truth."""
        return Capture.load(self.folder / "capture")

    @property
    def surface(self) -> SurfaceTruth:
        """The mesh of every frame."""
        return SurfaceTruth.load(self.folder)

    def novel_views(self) -> Iterator[tuple[int, int, Tensor, Tensor]]:
        """Frame, yaw in degrees, `T_camera_world` (4, 4) and the picture with its matte (4, height, width), uint8."""
        told = storage.read_json(self.folder / "novel" / "novel.json", SCHEMA, VERSION)
        for view in told["views"]:
            with Image.open(self.folder / "novel" / view["picture"]) as picture:
                pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
                rgba = pixels.reshape(picture.height, picture.width, 4).permute(2, 0, 1)
            yield view["frame"], view["yaw_deg"], torch.tensor(view["T_camera_world"]), rgba


def filmed_actor(
    folder: Path,
    name: str,
    head_name: str = "ict",
    size_px: int = 512,
    frames: tuple[int, int] = (TRAINING_FRAMES, VALIDATION_FRAMES),
    display: Display | None = None,
) -> FilmedActor:
    """An actor's film and truth, made where they are not there yet."""
    place = folder / f"{head_name}-{name}"
    wanted = {"revision": _REVISION, "size_px": size_px, "frames": list(frames)}
    told = place / "film.json"
    if not told.exists() or storage.read_json(told, SCHEMA, VERSION)["film"] != wanted:
        _film(place, CAST[name], load_head(head_name), size_px, frames, display or Display())
        storage.write_json(told, SCHEMA, VERSION, {"film": wanted})
    return FilmedActor(place.name, place)


def _film(
    place: Path, member: CastMember, head: HeadModel, size_px: int, frames: tuple[int, int], display: Display
) -> None:
    renderer = FrameRenderer(cast_stage(member, cast_config(member, head.name, size_px), head, frames))
    write_given_capture(place / "capture", renderer, frames[0], display)
    tell_surface(renderer.stage).save(place)
    if member.name == NOVEL_ACTOR:
        _film_from_aside(place / "novel", renderer, frames)


def _film_from_aside(folder: Path, renderer: FrameRenderer, frames: tuple[int, int]) -> None:
    chosen = torch.linspace(frames[0], sum(frames) - 1, min(NOVEL_FRAMES, frames[1])).long().tolist()
    stage, views = renderer.stage, []
    with storage.replacing_folder(folder) as building:
        for yaw_deg in NOVEL_YAWS_DEG:
            for frame in chosen:
                renderer.stage, T_camera_world = orbited(stage, frame, yaw_deg)
                picture = renderer.render(frame)
                name = f"{frame:06d}_{yaw_deg:+03d}.png"
                rgba = torch.cat([picture.rgb, (picture.alpha[..., None] * 255).round().to(torch.uint8)], dim=-1)
                Image.fromarray(rgba.numpy()).save(building / name, compress_level=1)
                views.append(
                    {"frame": frame, "yaw_deg": yaw_deg, "picture": name, "T_camera_world": T_camera_world.tolist()}
                )
        storage.write_json(building / "novel.json", SCHEMA, VERSION, {"views": views})
    renderer.stage = stage


def main() -> None:
    """Film whoever is not filmed yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--head", default="ict", help="the head model that the actors are made from")
    parser.add_argument("--actors", nargs="+", default=list(CAST), choices=list(CAST))
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, nargs=2, default=(TRAINING_FRAMES, VALIDATION_FRAMES))
    options = parser.parse_args()
    with Display() as display:
        for name in options.actors:
            found = filmed_actor(options.folder, name, options.head, options.size, tuple(options.frames), display)
            print(found.folder)


if __name__ == "__main__":
    main()
