"""FLAME parameters as VHAP writes them, one `.npz` a frame, and the track they make with the user's FLAME file.

`shape` (n) and `static_offset` (1, vertices, 3) repeat in every file; `expr` (1, m), `rotation`, `neck_pose`,
`jaw_pose`, `translation` (1, 3) and `eyes_pose` (1, 6) are of the frame. Vertices beyond FLAME's own are teeth that
VHAP adds. Offsets of single frames (`dynamic_offset`) are passed over.
"""

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.heads.base import Articulation, HeadModel
from headstudio.heads.flame.pose import FlameRoot
from headstudio.records.capture import Capture
from headstudio.records.track import HeadIdentity, Track, TrackView, neutral_light

_LARGEST_BYTES = 64 << 20
_LARGEST = 1e3
"""Of any parameter: radians, metres, standard deviations."""
_PER_FRAME = {"rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6, "translation": 3}


@dataclass(frozen=True)
class FlameParameters:
    """FLAME's parameters over a clip, in FLAME's own terms."""

    shape: Float[Tensor, " identities"]
    static_offset_m: Float[Tensor, "vertices 3"] | None
    expr: Float[Tensor, "frames expressions"]
    rotation: Float[Tensor, "frames 3"]
    neck_pose: Float[Tensor, "frames 3"]
    jaw_pose: Float[Tensor, "frames 3"]
    eyes_pose: Float[Tensor, "frames 6"]
    """The person's left eye first."""
    translation: Float[Tensor, "frames 3"]


def read_flame_parameters(paths: Sequence[Path]) -> FlameParameters:
    """Read one file a frame; identity is taken from the first."""
    first = _read(paths[0])
    expressions = _rows(first, "expr", None, paths[0]).shape[0]
    tables: dict[str, list[np.ndarray]] = {name: [] for name in ("expr", *_PER_FRAME)}
    for path in paths:
        arrays = _read(path)
        for name, wanted in {"expr": expressions, **_PER_FRAME}.items():
            tables[name].append(_rows(arrays, name, wanted, path))
    return FlameParameters(
        shape=torch.from_numpy(_rows(first, "shape", None, paths[0])),
        static_offset_m=_offsets(first, paths[0]) if "static_offset" in first else None,
        **{name: torch.from_numpy(np.stack(rows)) for name, rows in tables.items()},
    )


def flame_track(
    capture: Capture,
    head: HeadModel,
    parameters: FlameParameters,
    T_camera_world: Float[np.ndarray, "frames 4 4"],
    root: FlameRoot | None = None,
) -> Track:
    """The track of an imported capture.

    FLAME's pose correctives, which `HeadModel` leaves out, are left out here too: near a wide open jaw the surface
    differs by what they add. Frames in which our detector finds no face are not usable.

    Args:
        head: the FLAME head.
        T_camera_world: from the dataset's world, frame by frame.
        root: FLAME's root and neck; from the user's file when not given.
    """
    root, view = root or FlameRoot.load(), capture.views[0]
    identity = _padded(parameters.shape, head.identities, "shape", capture)
    expression = _padded(parameters.expr, head.expressions, "expr", capture)
    offsets = parameters.static_offset_m
    if offsets is not None:
        if len(offsets) < head.vertices:
            _refuse(f"static_offset has {len(offsets)} vertices and FLAME {head.vertices}", capture.path)
        offsets = offsets[: head.vertices]
    neutral_m = head.neutral(identity[None], None if offsets is None else offsets[None])[0]
    joints_m = root.joints(head, neutral_m, expression)
    T_world_head = root.T_world_head(parameters.rotation, parameters.neck_pose, parameters.translation, joints_m)
    gaze_rad = parameters.eyes_pose.unflatten(1, (2, 3))
    state = Articulation(expression, parameters.neck_pose, parameters.jaw_pose, gaze_rad)
    seen = torch.isfinite(view.landmarks_px).flatten(1).all(1)
    if view.K_px is None:
        raise ValueError("the capture has no intrinsics")
    times = view.times_s
    return Track(
        capture_identifier=capture.identifier,
        size_px=capture.size_px,
        identity=HeadIdentity(head.name, identity, offsets),
        times_s=times,
        expression=expression,
        arkit=head.to_arkit(state),
        neck_rad=parameters.neck_pose,
        jaw_rad=parameters.jaw_pose,
        gaze_rad=gaze_rad,
        T_world_head=torch.from_numpy(T_camera_world).float() @ T_world_head,
        views={view.name: TrackView(view.K_px, torch.eye(4).repeat(capture.frames, 1, 1))},
        light_sh=neutral_light(capture.frames),
        confidence=view.quality["confidence"].nan_to_num().clamp(0, 1),
        usable=seen,
        training_clock=(float(times[0]), float(times[capture.split.train_end - 1])),
    )


def _padded(values: Tensor, wanted: int, name: str, capture: Capture) -> Tensor:
    found = values.shape[-1]
    if found > wanted:
        raise HeadstudioError(
            f"{name} has {found} coefficients and your FLAME file {wanted}",
            where=capture.path,
            next_step="use the FLAME file that the dataset was made with",
        )
    return torch.nn.functional.pad(values, (0, wanted - found))


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz; nothing in it is executed, and it may not unpack to more than `_LARGEST_BYTES`."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _LARGEST_BYTES:
                _refuse("the file of FLAME parameters is too large", path)
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        _refuse(f"FLAME parameters cannot be read: {error}", path)


def _rows(arrays: dict[str, np.ndarray], name: str, wanted: int | None, path: Path) -> np.ndarray:
    """A vector that may have a leading dimension of one."""
    if name not in arrays:
        _refuse(f"FLAME parameters lack {name}", path)
    values = arrays[name]
    values = values[0] if values.ndim == 2 and len(values) == 1 else values
    if values.ndim != 1 or values.size == 0 or (wanted is not None and values.size != wanted):
        _refuse(f"FLAME's {name} has the shape {arrays[name].shape}", path)
    return _finite(values, name, path)


def _offsets(arrays: dict[str, np.ndarray], path: Path) -> Tensor:
    values = arrays["static_offset"]
    values = values[0] if values.ndim == 3 and len(values) == 1 else values
    if values.ndim != 2 or values.shape[1] != 3:
        _refuse(f"FLAME's static_offset has the shape {arrays['static_offset'].shape}", path)
    return torch.from_numpy(_finite(values, "static_offset", path))


def _finite(values: np.ndarray, name: str, path: Path) -> np.ndarray:
    if values.dtype.kind not in "fiu":
        _refuse(f"FLAME's {name} holds no numbers", path)
    values = values.astype(np.float32)
    if not (np.abs(values) < _LARGEST).all():
        _refuse(f"FLAME's {name} holds values that make no sense", path)
    return values


def _refuse(what: str, where: Path) -> NoReturn:
    raise HeadstudioError(what, where=where, next_step="fetch the dataset again")
