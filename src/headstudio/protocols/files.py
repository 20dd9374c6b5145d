"""Any file or folder that holds a motion, read and written by one name."""

from dataclasses import dataclass
from pathlib import Path

from headstudio.errors import HeadstudioError
from headstudio.motion.csv import FRAME_RATE, read_csv, write_csv
from headstudio.motion.take import is_take, read_take, write_take
from headstudio.protocols.codec import PROTOCOLS
from headstudio.protocols.recording import is_recording, read_packets, write_recording
from headstudio.records.motion import Motion

FORMATS = ("headstudio", "csv", "take", *PROTOCOLS)
"""Our own folder, ARKit CSV, a recording of Live Link Face, and recorded packets of a protocol."""


@dataclass(frozen=True)
class Read:
    """A motion and where it came from."""

    motion: Motion
    format: str
    """One of `FORMATS`."""
    notes: tuple[str, ...] = ()
    """What somebody should know who relies on it."""


def format_of(path: Path) -> str | None:
    """The format of what lies there; None if it is none of ours."""
    if (path / "motion.json").is_file():
        return "headstudio"
    if is_take(path):
        return "take"
    if path.is_file() and path.suffix.lower() == ".csv":
        return "csv"
    return "packets" if path.is_file() and is_recording(path) else None


def read_motion(path: Path | str, frame_rate: float = FRAME_RATE) -> Read:
    """Read a motion of any format.

    Args:
        path: a motion's folder, an ARKit CSV, a take of Live Link Face or a recording of packets.
        frame_rate: in which the time codes of a CSV count.
    """
    path = Path(path)
    kind = format_of(path)
    if kind is None:
        what = "there is nothing here" if not path.exists() else "this is no motion"
        raise HeadstudioError(
            what, where=path, next_step="give a motion's folder, an ARKit CSV, a take or recorded packets"
        )
    if kind == "headstudio":
        return Read(Motion.load(path), kind)
    if kind == "take":
        motion, take = read_take(path)
        return Read(motion, kind, (f"slate {take.slate}, take {take.take}, subject {take.subject}",))
    if kind == "csv":
        return Read(read_csv(path, frame_rate), kind)
    return _from_packets(path)


def write_motion(path: Path | str, motion: Motion, format: str | None = None) -> str:
    """Write a motion and return the format.

    Args:
        path: the file or folder.
        motion: all formats but our own need ARKit weights.
        format: one of `FORMATS`; told from the ending of `path` when None: `.csv`, a protocol's name, or none for ours.
    """
    path = Path(path)
    kind = format or _by_ending(path)
    if kind == "headstudio":
        _refuse_what_is_not(path, "motion.json")
        motion.save(path)
    elif kind == "csv":
        write_csv(path, motion)
    elif kind == "take":
        write_take(path, motion)
    elif kind in PROTOCOLS:
        write_recording(path, motion, kind)
    else:
        raise HeadstudioError(f"no format is called {kind}", next_step=f"choose one of: {', '.join(FORMATS)}")
    return kind


def _from_packets(path: Path) -> Read:
    recording = read_packets(path)
    motion, counts = recording.motion()
    lost = {
        name: value for name, value in vars(counts).items() if name not in ("received", "frames", "partial") and value
    }
    notes = (f"{counts.received} packets, {counts.frames} frames",)
    if lost:
        notes += (", ".join(f"{value} {name}" for name, value in lost.items()) + " packets were dropped",)
    return Read(motion, recording.protocol, notes)


def _by_ending(path: Path) -> str:
    ending = path.suffix.lower().removeprefix(".")
    if ending in ("csv", *PROTOCOLS):
        return ending
    if ending:
        raise HeadstudioError(
            f"the ending .{ending} says nothing",
            where=path,
            next_step=f"end it with .csv or .{', .'.join(PROTOCOLS)}, write a folder, or choose with --to",
        )
    return "headstudio"


def _refuse_what_is_not(path: Path, record: str) -> None:
    if path.exists() and not (path / record).is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise HeadstudioError(
            "there is something else here", where=path, next_step="choose a new folder or one with a motion"
        )
