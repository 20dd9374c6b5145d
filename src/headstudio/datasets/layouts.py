"""How peers lay a tracked dataset out on disk: `transforms*.json` beside pictures, masks and FLAME parameters.

Two layouts differ in one thing that matters. GaussianAvatars' (written by VHAP for NeRSemble and for videos) has
camera-to-world matrices in OpenGL axes (y up, looking along -z) and FLAME parameters; INSTA's has them in OpenCV axes
(y down, looking along +z) and FLAME meshes. Any other NeRF dataset is read like the first. Intrinsics are in pixels
with the origin at the picture's corner in all of them. (Facts from the readers and writers in ShenhanQian/VHAP,
ShenhanQian/GaussianAvatars, Zielon/INSTA and Zielon/INSTA-pytorch.)

Whatever stands in the files is checked: they come from strangers.
"""

import enum
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float

from headstudio.datasets.pictures import Part, PeerFrame, picture_size
from headstudio.errors import HeadstudioError

LARGEST_LISTING_BYTES = 256 << 20
MOST_FRAMES = 200_000
LARGEST_SIDE_PX = 8192
LARGEST_NUMBER = 1e7
_RIGID_TOLERANCE = 0.01
_OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


class Layout(str, enum.Enum):
    """Who reads and writes datasets like this."""

    GAUSSIAN_AVATARS = "gaussian-avatars"
    INSTA = "insta"


_LISTS = {"test": Part.HELD_OUT, "train": Part.TRAIN, "val": Part.TRAIN, "": Part.NEITHER}
"""Lists in order of precedence. Peers validate on another camera at the times of training, so for one camera alone
their validation frames are training frames."""


@dataclass(frozen=True)
class PeerDataset:
    """The frames of one camera in the order of their timesteps."""

    folder: Path
    layout: Layout
    camera: int
    width_px: int
    height_px: int
    frames: tuple[PeerFrame, ...]
    has_split: bool
    """Whether the files say which frames are for training and which are for tests."""
    notes: tuple[str, ...]
    """What was passed over."""


@dataclass(frozen=True)
class _Entry:
    """A frame as it stands in the file, with the values that all frames share filled in."""

    values: Mapping[str, Any]
    position: int
    part: Part
    where: str


def read_dataset(folder: Path, camera: int | None = None) -> PeerDataset:
    """Read the lists of a dataset; no picture is decoded yet.

    Args:
        folder: holds `transforms.json` or `transforms_train.json`, `transforms_test.json` and `transforms_val.json`.
        camera: index of the camera to take; needed where there are several.
    """
    folder = Path(folder)
    entries, lists = _entries(folder)
    layout = _layout_of(entries)
    camera, entries = _of_camera(entries, camera, folder)
    width, height = picture_size(_file(folder, entries[0], "file_path", default_suffix=".png"))
    if max(width, height) > LARGEST_SIDE_PX:
        _refuse(f"a picture of {width} x {height} px is larger than {LARGEST_SIDE_PX} px", entries[0].where)
    frames = sorted((_frame(folder, e, layout, width, height) for e in entries), key=lambda f: f.timestep)
    if len({frame.timestep for frame in frames}) != len(frames):
        _refuse(f"two pictures of camera {camera} have the same timestep", folder)
    return PeerDataset(
        folder, layout, camera, width, height, tuple(frames), {"train", "test"} <= lists, _notes(entries)
    )


def _entries(folder: Path) -> tuple[list[_Entry], set[str]]:
    """Every frame once, under the list of highest precedence that names it."""
    found: dict[str, _Entry] = {}
    lists = set()
    for name, part in _LISTS.items():
        path = folder / (f"transforms_{name}.json" if name else "transforms.json")
        if not path.is_file():
            continue
        lists.add(name)
        for entry in _listed(path, part):
            found.setdefault(str(entry.values.get("file_path")), entry)
    if not lists:
        raise HeadstudioError(
            "there is no transforms.json here", where=folder, next_step="name the folder of a peer's dataset"
        )
    if not found:
        _refuse("the dataset names no frame", folder)
    return list(found.values()), lists


def _listed(path: Path, part: Part) -> Iterator[_Entry]:
    content = _read_json(path)
    frames = content.get("frames")
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        _refuse("the list of frames is missing or damaged", path)
    if len(frames) > MOST_FRAMES:
        _refuse(f"{len(frames)} frames are more than {MOST_FRAMES}", path)
    shared = {key: value for key, value in content.items() if key != "frames"}
    for number, frame in enumerate(frames):
        yield _Entry({**shared, **frame}, number, part, f"frame {number} of {path}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_LISTING_BYTES:
            _refuse("the file is too large to be a list of frames", path)
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else error
        raise HeadstudioError(f"the list of frames cannot be read: {reason}", where=path, next_step=_AGAIN) from None
    if not isinstance(content, dict):
        _refuse("the list of frames is missing or damaged", path)
    return content


def _layout_of(entries: list[_Entry]) -> Layout:
    first = entries[0].values
    meshes = {"mesh_path", "exp_path", "seg_mask_path"} & first.keys()
    return Layout.INSTA if meshes and "timestep_index" not in first else Layout.GAUSSIAN_AVATARS


def _of_camera(entries: list[_Entry], camera: int | None, folder: Path) -> tuple[int, list[_Entry]]:
    by_camera: dict[int, list[_Entry]] = {}
    for entry in entries:
        by_camera.setdefault(_index(entry, "camera_index", 0), []).append(entry)
    known = ", ".join(map(str, sorted(by_camera)))
    if camera is None and len(by_camera) > 1:
        raise HeadstudioError(
            f"the dataset has {len(by_camera)} cameras and a capture has one",
            where=folder,
            next_step=f"choose one with --camera: {known}",
        )
    camera = next(iter(by_camera)) if camera is None else camera
    if camera not in by_camera:
        raise HeadstudioError(
            f"the dataset has no camera {camera}", where=folder, next_step=f"choose one with --camera: {known}"
        )
    return camera, by_camera[camera]


def _frame(folder: Path, entry: _Entry, layout: Layout, width: int, height: int) -> PeerFrame:
    T_world_camera = _rigid(entry)
    if layout is Layout.GAUSSIAN_AVATARS:
        T_world_camera = T_world_camera @ _OPENGL_TO_OPENCV
    return PeerFrame(
        picture=_file(folder, entry, "file_path", default_suffix=".png"),
        mask=_companion(folder, entry, "fg_mask_path"),
        parsing=_companion(folder, entry, "seg_mask_path"),
        flame=_companion(folder, entry, "flame_param_path"),
        K_px=_intrinsics(entry, width, height),
        T_camera_world=np.linalg.inv(T_world_camera),
        timestep=_timestep(entry),
        part=entry.part,
    )


def _rigid(entry: _Entry) -> Float[np.ndarray, "4 4"]:
    try:
        matrix = np.array(entry.values.get("transform_matrix"), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.zeros(0)
    if matrix.shape == (3, 4):
        matrix = np.concatenate([matrix, [[0.0, 0.0, 0.0, 1.0]]])
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        _refuse("transform_matrix is no 4 x 4 matrix of numbers", entry.where)
    rotation = matrix[:3, :3]
    off = np.abs(rotation.T @ rotation - np.eye(3)).max()
    if off > _RIGID_TOLERANCE or np.linalg.det(rotation) < 0 or np.abs(matrix[3] - (0, 0, 0, 1)).max() > 1e-6:
        _refuse("transform_matrix is no rotation with a translation", entry.where)
    return matrix


def _intrinsics(entry: _Entry, width: int, height: int) -> Float[np.ndarray, "3 3"]:
    """In pixels of the picture as it is, which may be smaller than the one the numbers refer to."""
    w, h = _number(entry, "w", width), _number(entry, "h", height)
    x, y = _focal(entry, "x", w), _focal(entry, "y", h)
    if x is None and y is None:
        _refuse("neither fl_x nor camera_angle_x is given", entry.where)
    x, y = x or y or 0.0, y or x or 0.0
    K = np.array([[x, 0.0, _number(entry, "cx", w / 2)], [0.0, y, _number(entry, "cy", h / 2)], [0.0, 0.0, 1.0]])
    if not (w > 0 and h > 0 and x > 0 and y > 0) or np.abs(K).max() > LARGEST_NUMBER:
        _refuse("the focal length or the picture's size makes no sense", entry.where)
    return np.diag([width / w, height / h, 1.0]) @ K


def _focal(entry: _Entry, axis: str, extent_px: float) -> float | None:
    if f"fl_{axis}" in entry.values:
        return _number(entry, f"fl_{axis}", 0.0)
    if f"camera_angle_{axis}" in entry.values:
        angle_rad = _number(entry, f"camera_angle_{axis}", 0.0)
        return extent_px / 2 / math.tan(angle_rad / 2) if 0 < angle_rad < math.pi else 0.0
    return None


def _timestep(entry: _Entry) -> int:
    """By index, else by the number in the file's name, else by the place in the list."""
    digits = re.findall(r"\d{1,9}", Path(str(entry.values.get("file_path"))).stem)
    return _index(entry, "timestep_index", int(digits[-1]) if digits else entry.position)


def _number(entry: _Entry, name: str, default: float) -> float:
    value = entry.values.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST_NUMBER:
        _refuse(f"{name} is no number", entry.where)
    return float(value)


def _index(entry: _Entry, name: str, default: int) -> int:
    value = entry.values.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
        _refuse(f"{name} is no index", entry.where)
    return value


def _companion(folder: Path, entry: _Entry, name: str) -> Path | None:
    """A file that is used where it exists."""
    if entry.values.get(name) is None:
        return None
    path = _path(folder, entry, name)
    return path if path.is_file() else None


def _file(folder: Path, entry: _Entry, name: str, default_suffix: str) -> Path:
    path = _path(folder, entry, name)
    path = path if path.suffix else path.with_name(path.name + default_suffix)
    if not path.is_file():
        raise HeadstudioError("a picture of the dataset is missing", where=path, next_step=_AGAIN)
    return path


def _path(folder: Path, entry: _Entry, name: str) -> Path:
    """A path of the file, which must stay in the dataset or in a sibling that is one: VHAP joins several sequences by
    naming the pictures of their folders."""
    text = entry.values.get(name)
    if not isinstance(text, str) or not text.strip() or "\0" in text or len(text) > 1024:
        _refuse(f"{name} is no path", entry.where)
    parts = Path(os.path.normpath(text.replace("\\", "/"))).parts
    absolute = Path(text).is_absolute() or re.match(r"[A-Za-z]:|[\\/]", text) is not None
    if absolute or not parts or (".." in parts and not _in_sibling(folder, *parts)):
        _refuse(f"{name} leads out of the dataset", entry.where)
    return folder.joinpath(*parts)


def _in_sibling(folder: Path, up: str, sibling: str = "..", *rest: str) -> bool:
    return up == ".." and ".." not in (sibling, *rest) and (folder.parent / sibling / "transforms.json").is_file()


def _notes(entries: list[_Entry]) -> tuple[str, ...]:
    bent = any(_number(entry, name, 0.0) != 0 for entry in entries for name in ("k1", "k2", "p1", "p2"))
    return ("the lens distortion that the dataset gives is not applied",) if bent else ()


_AGAIN = "fetch the dataset again"


def _refuse(what: str, where: object) -> NoReturn:
    raise HeadstudioError(what, where=where, next_step=_AGAIN)
