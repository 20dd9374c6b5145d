"""A tracked capture as a dataset in the layout of GaussianAvatars, for the methods of peers that read it.

Cameras, pictures and masks are written always, FLAME parameters where the user's FLAME file is at hand (the refit of
`headstudio.export.refit`). The dataset's world is the head: the camera moves round it, so that poses are not lost
where there are no FLAME parameters. The reader in GaussianAvatars takes the principal point for the middle of the
picture, so the pictures are padded until it lies there.
"""

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from PIL import Image

from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.export.refit import Refit, refit
from headstudio.geometry.rigid import invert
from headstudio.heads import load_head
from headstudio.heads.flame.pose import FlameRoot
from headstudio.progress import Progress
from headstudio.records.capture import Annotation, Capture
from headstudio.records.track import Track

BACKGROUNDS = MappingProxyType({"white": 255, "black": 0, "keep": None})
"""What may lie behind the person: VHAP writes white; `keep` leaves the picture as filmed and puts the mask in alpha."""
_CANONICAL_JAW_RAD = (0.3, 0.0, 0.0)
"""VHAP's canonical face has its mouth open."""
_CV_TO_GL = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))


@dataclass(frozen=True)
class WrittenDataset:
    """What was written."""

    folder: Path
    frames: int
    refitted: dict[str, float] | None
    """How far FLAME's surface is from the tracked one (`Refit.summary`); None without FLAME parameters."""


@dataclass(frozen=True)
class _Canvas:
    """Where a stored frame lies in the written picture."""

    left_px: int
    top_px: int
    width_px: int
    height_px: int


def write_gaussian_avatars(
    capture: Capture, track: Track, folder: Path | str, background: str, progress: Progress
) -> WrittenDataset:
    """Write the dataset folder, replacing what was there once all is done.

    Frames that are not usable are in `transforms.json` but in neither the training nor the test list. Timesteps count
    from the first usable frame, because GaussianAvatars takes the identity from timestep 0 of the training list.
    """
    if background not in BACKGROUNDS:
        raise HeadstudioError(
            f"no background is called {background}", next_step=f"choose one of: {', '.join(BACKGROUNDS)}"
        )
    if Annotation.MATTE not in capture.annotations:
        raise HeadstudioError("the capture has no mattes", where=capture.path, next_step="ingest the video again")
    first = next((frame for frame in capture.train_frames if track.usable[frame]), None)
    if first is None:
        raise HeadstudioError("no training frame is usable", where=capture.path, next_step="look at the track's report")
    fitted = _refit(track, progress) if os.environ.get("HEADSTUDIO_FLAME") else None
    view = capture.views[0]
    canvas = _canvas(track.views[view.name].K_px, capture.size_px)
    with storage.replacing_folder(Path(folder)) as building:
        for name in ("images", "fg_masks"):
            (building / name).mkdir()
        with progress.stage("writing pictures", capture.frames - first) as advance:
            for step, frame in enumerate(range(first, capture.frames)):
                _write_pictures(building, step, capture, frame, canvas, BACKGROUNDS[background])
                advance(1)
        if fitted is not None:
            _write_flame(building, track, fitted, first)
        frames = _frames(track, view.name, canvas, fitted is not None, first)
        _write_lists(building, frames, capture, track, first)
    return WrittenDataset(Path(folder), capture.frames - first, None if fitted is None else fitted.summary())


DATASETS: MappingProxyType[str, Callable[[Capture, Track, Path | str, str, Progress], WrittenDataset]] = (
    MappingProxyType({"gaussian-avatars": write_gaussian_avatars})
)
"""What a tracked capture can be written as, by name."""


def export_capture(
    capture: Capture, track: Track, target: str, folder: Path | str, background: str, progress: Progress
) -> WrittenDataset:
    """Write a tracked capture as a dataset of a peer."""
    if target not in DATASETS:
        raise HeadstudioError(
            f"a capture cannot become {target!r}", next_step=f"choose one of: {', '.join(sorted(DATASETS))}"
        )
    return DATASETS[target](capture, track, folder, background, progress)


def _refit(track: Track, progress: Progress) -> Refit:
    flame = load_head("flame")
    if track.identity.head != flame.name:
        return refit(load_head(track.identity.head), track, flame, progress)
    offsets = track.identity.offsets_m
    offsets = torch.zeros(flame.vertices, 3) if offsets is None else offsets
    exact = torch.zeros(track.frames, 1)
    return Refit(track.identity.coefficients, offsets, track.expression, track.jaw_rad, torch.eye(4), exact[0], exact)


def _canvas(K_px: torch.Tensor, size_px: int) -> _Canvas:
    """The smallest picture that has the principal point in its middle, up to a quarter of a pixel."""
    before, extent = [], []
    for axis in range(2):
        beyond = round(2 * float(K_px[:, axis, 2].median()) - size_px)
        before.append(max(-beyond, 0))
        extent.append(size_px + abs(beyond))
    return _Canvas(before[0], before[1], extent[0], extent[1])


def _write_pictures(folder: Path, step: int, capture: Capture, frame: int, canvas: _Canvas, grey: int | None) -> None:
    image = capture.image(frame).permute(1, 2, 0).numpy()
    matte = capture.matte(frame)[0].numpy()
    if grey is None:
        stored = np.concatenate([image, matte[..., None]], -1)
    else:
        share = matte[..., None].astype(np.float32) / 255
        stored = np.round(image * share + grey * (1 - share)).astype(np.uint8)
    picture = np.full((canvas.height_px, canvas.width_px, stored.shape[-1]), grey or 0, np.uint8)
    mask = np.zeros((canvas.height_px, canvas.width_px), np.uint8)
    rows, columns = (slice(start, start + capture.size_px) for start in (canvas.top_px, canvas.left_px))
    picture[rows, columns], mask[rows, columns] = stored, matte
    Image.fromarray(picture).save(folder / _picture(step), compress_level=1)
    Image.fromarray(mask).save(folder / _mask(step), compress_level=1)


def _frames(track: Track, view: str, canvas: _Canvas, flame: bool, first: int) -> list[dict[str, Any]]:
    camera = track.views[view]
    T_head_camera = invert((camera.T_camera_world @ track.T_world_head).double())
    matrices = (T_head_camera @ _CV_TO_GL.double()).tolist()
    frames = []
    for frame, K in enumerate(camera.K_px.double().tolist()[first:], first):
        step = frame - first
        content = {
            "timestep_index": step,
            "timestep_index_original": frame,
            "timestep_id": f"{frame:05d}",
            "camera_index": 0,
            "camera_id": "0",
            "cx": K[0][2] + canvas.left_px,
            "cy": K[1][2] + canvas.top_px,
            "fl_x": K[0][0],
            "fl_y": K[1][1],
            "h": canvas.height_px,
            "w": canvas.width_px,
            "camera_angle_x": 2 * math.atan(canvas.width_px / 2 / K[0][0]),
            "camera_angle_y": 2 * math.atan(canvas.height_px / 2 / K[1][1]),
            "transform_matrix": matrices[frame],
            "file_path": _picture(step),
            "fg_mask_path": _mask(step),
        }
        frames.append({**content, "flame_param_path": _flame(step)} if flame else content)
    return frames


def _write_lists(folder: Path, frames: list[dict[str, Any]], capture: Capture, track: Track, first: int) -> None:
    usable = track.usable.tolist()
    lists = {
        "": range(len(frames)),
        "_train": [frame - first for frame in capture.train_frames if usable[frame]],
        "_val": [],
        "_test": [frame - first for frame in capture.held_out_frames if usable[frame]],
    }
    shared_names = ("cx", "cy", "fl_x", "fl_y", "h", "w", "camera_angle_x", "camera_angle_y")
    for suffix, chosen in lists.items():
        content = {name: frames[0][name] for name in shared_names}
        content |= {"timestep_indices": list(chosen), "camera_indices": [0] if chosen else []}
        content["frames"] = [frames[step] for step in chosen]
        text = json.dumps(content, indent=1, allow_nan=False)
        (folder / f"transforms{suffix}.json").write_text(text + "\n", encoding="utf-8")


def _write_flame(folder: Path, track: Track, fitted: Refit, first: int) -> None:
    (folder / "flame_param").mkdir()
    flame, root = load_head("flame"), FlameRoot.load()
    neutral_m = flame.neutral(fitted.identity[None], fitted.offsets_m[None])[0]
    joints_m = root.joints(flame, neutral_m, fitted.expression)
    pose = fitted.T_tracked_refitted.expand(track.frames, 4, 4)
    rotation, translation = root.placed(pose, track.neck_rad, joints_m)
    moving = {
        "translation": translation,
        "rotation": rotation,
        "neck_pose": track.neck_rad,
        "jaw_pose": fitted.jaw_rad,
        "eyes_pose": track.gaze_rad.flatten(1),
        "expr": fitted.expression,
    }
    fixed = {"shape": fitted.identity.numpy(), "static_offset": fitted.offsets_m[None].numpy()}
    for frame in range(first, track.frames):
        own: dict[str, Any] = {name: values[[frame]].float().numpy() for name, values in moving.items()}
        np.savez(folder / _flame(frame - first), **fixed, **own)
    canonical: dict[str, Any] = {name: np.zeros((1, values.shape[1]), np.float32) for name, values in moving.items()}
    canonical["jaw_pose"] = np.array([_CANONICAL_JAW_RAD], np.float32)
    np.savez(folder / "canonical_flame_param.npz", **fixed, **canonical)


def _picture(step: int) -> str:
    return f"images/{step:05d}_00.png"


def _mask(step: int) -> str:
    return f"fg_masks/{step:05d}_00.png"


def _flame(step: int) -> str:
    return f"flame_param/{step:05d}.npz"
