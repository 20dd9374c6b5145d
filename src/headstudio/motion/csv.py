"""ARKit CSV as Apple-based face recorders write it: a time code, a count, 52 weights, nine angles a row.

Angles are radians in the convention of `headstudio.motion.angles`. It follows from the conversion of the face anchor
(x to the person's left, y up, z out of the face) to yaw, pitch and roll in Unreal's ARKit plug-in with the face not
mirrored. A file of another origin may differ in sign or unit, which nothing in the file reveals.
"""

import csv
import io
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import relative_orientation
from headstudio.motion.angles import rotvec_from_yaw_pitch_roll, yaw_pitch_roll
from headstudio.motion.arkit import NAMES
from headstudio.records.channels import ARKIT, GAZE, HEAD_POSE, HEAD_ROTATION
from headstudio.records.motion import Motion

FRAME_RATE = 60.0
"""Frames a second in which the time code counts, the recorders' default."""

HEAD_COLUMNS = ("HeadYaw", "HeadPitch", "HeadRoll")
EYE_COLUMNS = ("LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll", "RightEyeYaw", "RightEyePitch", "RightEyeRoll")
COLUMNS = (*(name[0].upper() + name[1:] for name in NAMES), *HEAD_COLUMNS, *EYE_COLUMNS)
"""The value columns, in the order of writing."""

_DAY_S = 86400.0
_BACK_S = 1.0  # a clock that steps back further than this was set anew
_WEIGHT_SLACK = 1e-3  # recorders overshoot [0, 1] by rounding
_TIMECODE = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,3}(?:\.[0-9]{1,9})?)", re.ASCII)


def read_csv(path: Path | str, frame_rate: float = FRAME_RATE) -> Motion:
    """The motion in an ARKit CSV, its clock starting at 0.

    Columns are found by name, whatever their order and case. Without head columns the head keeps still; without eye
    columns there is no gaze channel (a head model still reads the gaze from the eyeLook weights). Rows in which the
    recorder saw no face (count 0) and rows whose clock does not advance are left out.
    """
    path = Path(path)
    rows = _rows(path)
    header = next(rows, (1, []))[1]
    columns = _columns(header, path)
    clock = _Clock(frame_rate)
    times, values = [], []
    for number, row in rows:
        where = f"{path.name}, row {number}"
        if _is_empty(row, header):
            continue
        if len(row) != len(header):
            raise HeadstudioError(
                f"{len(row)} fields stand under {len(header)} columns",
                where=where,
                next_step="write numbers with a decimal point, and all columns in every row",
            )
        if clock.advances(row[columns["timecode"]], where):
            times.append(clock.now_s)
            values.append(
                [_number(row[columns[name.lower()]], name, where) for name in COLUMNS if name.lower() in columns]
            )
    if not times:
        raise HeadstudioError(
            "the file has no frame with a face", where=path, next_step="record again or choose another"
        )
    return _motion(times, values, columns)


def write_csv(path: Path | str, motion: Motion, frame_rate: float = FRAME_RATE) -> None:
    """Write a motion's ARKit weights, head rotation and gaze; what it lacks beside the weights is written as 0."""
    if ARKIT not in motion.channels:
        raise HeadstudioError(f"the motion has no {ARKIT}", where=path, next_step="give a motion with ARKit weights")
    values = torch.cat([motion.channels[ARKIT], _head_angles(motion), _eye_angles(motion)], dim=-1)
    with storage.replacing_file(Path(path)) as building, building.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["Timecode", "BlendShapeCount", *COLUMNS])
        for time_s, row in zip(motion.times_s.tolist(), values.tolist(), strict=True):
            writer.writerow([timecode(time_s, frame_rate), len(COLUMNS), *(f"{value:.8f}" for value in row)])


def timecode(time_s: float, frame_rate: float = FRAME_RATE) -> str:
    """HH:MM:SS:FF.fff, where FF.fff counts frames and thousandths of a frame; wraps at midnight."""
    thousandths = round((time_s % 1) * frame_rate * 1000)
    carry, thousandths = divmod(thousandths, round(frame_rate * 1000))
    second = (math.floor(time_s) + carry) % int(_DAY_S)
    clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    return f"{clock}:{thousandths // 1000:02d}.{thousandths % 1000:03d}"


class _Clock:
    """Reads time codes; its time starts at 0 and goes on through midnight."""

    def __init__(self, frame_rate: float) -> None:
        self.frame_rate = frame_rate
        self.now_s = 0.0
        self._start_s: float | None = None

    def advances(self, text: str, where: str) -> bool:
        """Take the next row's time code; False if it repeats or slightly precedes the last one."""
        time_s = self._seconds(text, where)
        if self._start_s is None:
            self._start_s = time_s
            return True
        elapsed_s = time_s - self._start_s
        elapsed_s += _DAY_S * round((self.now_s - elapsed_s) / _DAY_S)
        if elapsed_s < self.now_s - _BACK_S:
            raise HeadstudioError("the clock jumps back", where=where, next_step="split the file there into two takes")
        if elapsed_s <= self.now_s:
            return False
        self.now_s = elapsed_s
        return True

    def _seconds(self, text: str, where: str) -> float:
        match = _TIMECODE.fullmatch(text.strip())
        if match is None:
            raise HeadstudioError(
                f"{text[:40]!r} is no time code", where=where, next_step="write it as HH:MM:SS:FF.fff"
            )
        hours, minutes, seconds, frames = (float(part) for part in match.groups())
        if hours >= 24 or minutes >= 60 or seconds >= 60:
            raise HeadstudioError(f"{text!r} is no time of day", where=where, next_step="write it as HH:MM:SS:FF.fff")
        if frames >= self.frame_rate:
            raise HeadstudioError(
                f"frame {frames:g} does not exist at {self.frame_rate:g} frames a second",
                where=where,
                next_step="give the frame rate of the recording",
            )
        return hours * 3600 + minutes * 60 + seconds + frames / self.frame_rate


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Numbered rows, the header being row 1; blank lines count but are left out."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        # The reader refuses NUL and over-long fields while it iterates.
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise HeadstudioError(f"the CSV cannot be read: {error}", where=path, next_step="check the file") from None
    return ((number, row) for number, row in enumerate(rows, start=1) if any(field.strip() for field in row))


def _columns(header: Sequence[str], path: Path) -> dict[str, int]:
    """Index of each lower-case column name."""
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise HeadstudioError(
            "the columns are not separated by commas",
            where=path,
            next_step="save it with commas between columns and points in numbers",
        )
    columns = {name.strip().lower(): index for index, name in enumerate(header)}
    repeated = len(columns) < len(header)
    missing = [name for name in ("Timecode", *COLUMNS[: len(NAMES)]) if name.lower() not in columns]
    if missing or repeated:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        problem = f"columns are missing: {', '.join(missing[:3])}{more}" if missing else "a column stands there twice"
        raise HeadstudioError(problem, where=path, next_step="give a file with a time code and all 52 ARKit weights")
    return columns


def _is_empty(row: Sequence[str], header: Sequence[str]) -> bool:
    """Whether the recorder said that it saw no face."""
    counts = (
        field for field, name in itertools.zip_longest(row, header) if (name or "").strip().lower() == "blendshapecount"
    )
    return (next(counts, None) or "").strip() == "0"


def _number(text: str, name: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    low, high = (-math.pi, math.pi) if name in (*HEAD_COLUMNS, *EYE_COLUMNS) else (0.0, 1.0)
    if not math.isfinite(value):
        raise HeadstudioError(
            f"{name} is {text[:40]!r}, not a number", where=where, next_step="correct or remove the row"
        )
    if not low - _WEIGHT_SLACK <= value <= high + _WEIGHT_SLACK:
        raise HeadstudioError(
            f"{name} is {value:g}, outside [{low:.3g}, {high:.3g}]",
            where=where,
            next_step="give weights from 0 to 1 and angles in radians",
        )
    return min(max(value, low), high)


def _motion(times_s: list[float], values: list[list[float]], columns: dict[str, int]) -> Motion:
    table = torch.tensor(values, dtype=torch.float32)
    present = [name for name in COLUMNS if name.lower() in columns]

    def angles(names: Sequence[str]) -> Tensor:
        found = [table[:, present.index(name)] if name in present else torch.zeros(len(table)) for name in names]
        return rotvec_from_yaw_pitch_roll(torch.stack(found, dim=-1).unflatten(-1, (-1, 3)))

    channels = {ARKIT: table[:, : len(NAMES)], HEAD_ROTATION: angles(HEAD_COLUMNS)[:, 0]}
    if any(name in present for name in EYE_COLUMNS):
        channels[GAZE] = angles(EYE_COLUMNS)
    return Motion(torch.tensor(times_s, dtype=torch.float64), channels)


def _head_angles(motion: Motion) -> Tensor:
    if HEAD_ROTATION in motion.channels:
        return yaw_pitch_roll(motion.channels[HEAD_ROTATION])
    if HEAD_POSE in motion.channels:
        return yaw_pitch_roll(relative_orientation(motion.channels[HEAD_POSE].float()))
    return torch.zeros(len(motion), 3)


def _eye_angles(motion: Motion) -> Tensor:
    if GAZE not in motion.channels:
        return torch.zeros(len(motion), 6)
    return yaw_pitch_roll(motion.channels[GAZE]).flatten(1)
