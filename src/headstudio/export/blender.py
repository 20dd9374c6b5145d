"""A .blend of an avatar, made by a Blender that this program calls and never imports."""

import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.export.accessories import Surface, accessories
from headstudio.export.clip import RATE_FPS, frame_rate, with_clip
from headstudio.export.gltf import check_asset, write_glb
from headstudio.export.measure import measure_head
from headstudio.export.programs import Program, run_program
from headstudio.export.repaint import painted_frames, repainted_surface, steerable_repainting
from headstudio.export.sequence import check_place
from headstudio.motion.resample import resample
from headstudio.records.mesh import MeshAsset
from headstudio.records.motion import Motion
from headstudio.training.contract import AvatarModel

SCHEMA, VERSION = "headstudio.blender_scene", 1
SCRIPT = Path(__file__).with_name("blender_scene.py")
"""Run by Blender's own Python."""
VARIABLE = "HEADSTUDIO_BLENDER"
_BLENDER = Program(
    "Blender",
    "Blender did not make the scene",
    "use Blender 4.2 or newer, or a Python in which `import bpy` works",
)


def write_blender(avatar: AvatarModel, path: Path, motion: Motion | None, blender: str | None = None) -> None:
    """Write the .blend, and beside it the folder of the painted pictures when the avatar has a network and a motion.

    Args:
        avatar: one that declares a surface.
        path: the .blend file.
        motion: the driving clip; it becomes an action, at its own frame rate.
        blender: a Blender executable or a Python that has bpy; see `find_blender`.
    """
    command = find_blender(blender)
    pictures = path.with_name(f"{path.stem}.painted")
    check_place(pictures, {".png"})
    rate_fps = RATE_FPS if motion is None else frame_rate(motion)
    with tempfile.TemporaryDirectory() as parts:
        folder = Path(parts)
        _write_parts(avatar, folder, motion, rate_fps, pictures.name)
        run_program([*command, str(folder)], _BLENDER)
        _take_out(folder, path, pictures)


def find_blender(given: str | None) -> list[str]:
    """The command that runs the script: `given`, else what HEADSTUDIO_BLENDER names, else `blender` on the PATH."""
    named = given or os.environ.get(VARIABLE)
    found = shutil.which(named) if named else shutil.which("blender")
    if found is None:
        raise HeadstudioError(
            "there is no Blender here" if not named else "this is no program that can be run",
            where=named,
            next_step="name a Blender with --blender, or make a Python that has it: "
            f"python3.11 -m venv .venv-blender && .venv-blender/bin/pip install bpy==4.5.15 'numpy<2', "
            f"and set {VARIABLE}=.venv-blender/bin/python",
        )
    if Path(found).name.lower().startswith("python"):
        return [found, "-I", str(SCRIPT)]
    return [found, "--background", "--factory-startup", "--python-exit-code", "1", "--python", str(SCRIPT), "--"]


def on_grid(motion: Motion, rate_fps: float) -> Motion:
    """The motion at even frames of a rate, as scenes have them."""
    frames = math.floor(float(motion.times_s[-1] - motion.times_s[0]) * rate_fps + 0.5) + 1
    return resample(motion, motion.times_s[0] + torch.arange(frames, dtype=torch.float64) / rate_fps)


def recipe(asset: MeshAsset, rate_fps: float, frames: int, painted: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the script needs to know besides the GLB: plain numbers and file names."""
    size = measure_head(asset)
    return {
        "name": asset.name,
        "provenance": dict(asset.provenance),
        "head": "head.glb",
        "frames": frames,
        "fps": round(rate_fps),
        "fps_base": round(rate_fps) / rate_fps,
        "head_joint": "head" if "head" in asset.joint_names else asset.joint_names[0],
        "eye_joints": [name for name in asset.joint_names if name.startswith("eye")],
        "target_names": list(asset.target_names),
        "look_at_m": [size.middle, (size.top + size.eye_y) / 2 - 0.075, size.centre],
        "accessories": {name: [_plain(surface) for surface in made] for name, made in accessories(size).items()},
        "painted": painted,
    }


def _write_parts(avatar: AvatarModel, folder: Path, motion: Motion | None, rate_fps: float, pictures: str) -> None:
    runtime, repainting = steerable_repainting(avatar)
    asset, painted, frames = avatar.surface(), None, 1
    if motion is not None:
        check_asset(with_clip(asset, motion))
        motion = on_grid(motion, rate_fps)
        frames = len(motion)
        if repainting is not None:
            asset = repainted_surface(asset, repainting.static)
            (folder / "painted").mkdir()
            for frame, picture in enumerate(painted_frames(runtime, repainting, motion), 1):
                _write_picture(folder / "painted" / f"{frame:04d}.png", picture)
            _write_picture(folder / "blend.png", repainting.blend)
            painted = {"blend": "blend.png", "folder": "painted", "final_folder": pictures, "first": "0001.png"}
        # Blender counts frames from 1 and multiplies the clip's seconds by the scene's whole rate.
        whole = Motion((torch.arange(frames, dtype=torch.float64) + 1) / round(rate_fps), motion.channels)
        asset = with_clip(asset, whole)
        assert asset.clip is not None
        asset = replace(asset, clip=replace(asset.clip, times_s=whole.times_s))
    write_glb(folder / "head.glb", asset)
    storage.write_json(folder / "recipe.json", SCHEMA, VERSION, recipe(asset, rate_fps, frames, painted))


def _plain(surface: Surface) -> dict[str, Any]:
    return {
        "name": surface.name,
        "vertices_m": surface.vertices_m.round(6).tolist(),
        "triangles": surface.triangles.tolist(),
        "colour": list(surface.colour),
        "roughness": surface.roughness,
        "opacity": surface.opacity,
        "shade": None if surface.shade is None else surface.shade.round(4).tolist(),
    }


def _write_picture(path: Path, picture: Tensor) -> None:
    values = picture.permute(1, 2, 0).cpu().contiguous().numpy()
    Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(path)


def _take_out(folder: Path, path: Path, pictures: Path) -> None:
    """The pictures first, so that a .blend never looks for what is not there."""
    made = folder / "scene.blend"
    if not made.is_file():
        raise HeadstudioError("Blender wrote no scene", where=path, next_step="use Blender 4.2 or newer")
    if (folder / "painted").is_dir():
        with storage.replacing_folder(pictures) as place:
            for picture in sorted((folder / "painted").iterdir()):
                shutil.copyfile(picture, place / picture.name)
    with storage.replacing_file(path) as building:
        shutil.copyfile(made, building)
