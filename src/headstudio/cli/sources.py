"""Captures with their tracks, and whatever else can drive an avatar, from the paths that people type."""

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from headstudio.errors import HeadstudioError
from headstudio.progress import Progress
from headstudio.tracking.config import TrackingConfig

if TYPE_CHECKING:
    import torch

    from headstudio.drivers.drive import Performance
    from headstudio.records.avatar import AtRest
    from headstudio.records.capture import Capture
    from headstudio.records.channels import Channel
    from headstudio.records.scan import Scan
    from headstudio.records.track import Track
    from headstudio.training.contract import AvatarModel, Source


class Subject(NamedTuple):
    """Who is driven."""

    avatar: "AvatarModel"
    method: str
    at_rest: "AtRest"


_FRAMES_A_PROCESS = 200
"""Fewer than so many frames do not pay for starting a process."""


def track_folder(capture: Path) -> Path:
    """Where a capture's track lies: inside the capture, so that a new ingest cannot leave an old track behind."""
    return capture / "track"


def load_source(capture_path: Path, track_path: Path | None = None, scan_path: Path | None = None) -> "Source":
    """A capture with its track, and with the scan of the same person if there is one."""
    from headstudio.records.capture import Capture
    from headstudio.records.track import Track, check_pair
    from headstudio.training.contract import Source

    capture = Capture.load(capture_path)
    where = track_path or track_folder(capture_path)
    if not (where / "track.json").is_file():
        raise HeadstudioError(
            "this capture is not tracked yet", where=capture_path, next_step=f"run `headstudio track {capture_path}`"
        )
    track = Track.load(where)
    check_pair(track, capture.identifier, where)
    return Source(capture, track, None if scan_path is None else _scan_for(track, scan_path))


def _scan_for(track: "Track", path: Path) -> "Scan":
    from headstudio.cli.scanning import person_of

    scan = person_of(path)
    assert scan.identity is not None
    if scan.identity.head != track.identity.head:
        raise HeadstudioError(
            f"the scan is of the head model {scan.identity.head} and the track of {track.identity.head}",
            where=path,
            next_step=f"track the capture with --scan {path}",
        )
    return scan


def load_performance(
    path: Path, work: Path, display: Progress, wanted: "Collection[Channel]" = ()
) -> "tuple[Performance, Capture | None]":
    """What drives, and the pictures of it if there are any. A video is ingested and tracked in `work`.

    Args:
        path: a video, a capture, or a motion in any format.
        work: folder for what has to be derived; what lies there of the same video is used again.
        display: where progress is shown.
        wanted: channels to bring along beside the tracked ones, where there are pictures.
    """
    from headstudio.drivers.drive import Performance
    from headstudio.protocols.files import format_of, read_motion

    if not path.exists():
        raise HeadstudioError("there is nothing to drive with here", where=path, next_step="check the path")
    if format_of(path) is not None:
        return Performance(read_motion(path).motion), None
    source = load_source(path) if path.is_dir() else _tracked(path, work, display)
    return Performance(source.motion_with(wanted), source.track.identity), source.capture


def _tracked(video: Path, work: Path, display: Progress) -> "Source":
    from headstudio.capture.config import IngestConfig
    from headstudio.capture.ingest import ingest
    from headstudio.records.capture import Capture
    from headstudio.tracking.tracker import track

    folder = work / f"{video.stem}-{digest(video)[:12]}"
    capture = Capture.load(folder) if (folder / "capture.json").is_file() else None
    if capture is None:
        capture = ingest(video, folder, IngestConfig(), display)
    if not (track_folder(folder) / "track.json").is_file():
        track(capture, many_hands(TrackingConfig(), capture.frames), display).save(track_folder(folder))
    return load_source(folder)


def digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits; of a folder of ours, that of its records, which pictures follow."""
    import hashlib

    sha256 = hashlib.sha256()
    records = sorted((*path.glob("*.json"), *path.glob("*.safetensors"))) if path.is_dir() else [path]
    for record in records:
        with record.open("rb") as stream:
            while block := stream.read(1 << 20):
                sha256.update(block)
    return sha256.hexdigest()


def load_sources(
    captures: Sequence[Path], track_path: Path | None = None, scan_path: Path | None = None
) -> "tuple[Source, ...]":
    """Several captures with their tracks."""
    if track_path is not None and len(captures) != 1:
        raise HeadstudioError("--track goes with one capture", next_step="put each track inside its capture")
    return tuple(load_source(path, track_path, scan_path) for path in captures)


def load_subject(path: Path) -> "Subject":
    """An avatar, its method's name and its person at rest."""
    from headstudio.records.avatar import Avatar
    from headstudio.training.avatars import load_avatar

    avatar, record = load_avatar(path), Avatar.load(path)
    if record.at_rest is None:
        raise HeadstudioError("the avatar does not know its person at rest", where=path, next_step="train it again")
    return Subject(avatar, record.name, record.at_rest)


def chosen_device(name: str) -> "torch.device":
    """The device of a name; `auto` takes the GPU where there is one."""
    import torch

    try:
        return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    except RuntimeError:
        raise HeadstudioError(f"there is no device {name}", next_step="choose auto, cpu, cuda or mps") from None


def many_hands(config: TrackingConfig, frames: int) -> TrackingConfig:
    """As many processes as pay off for so many frames, where the user does not say."""
    if config.processes is not None:
        return config
    return replace(config, processes=min(os.cpu_count() or 1, 1 + frames // _FRAMES_A_PROCESS))
