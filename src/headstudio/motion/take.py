"""Recordings of the app Live Link Face: a folder with `take.json` and the ARKit CSV that it names.

The CSV is called `{slate}_{take}_{subject}.csv`; of a calibrated take there are `_cal`, `_neutral` and `_raw`, of which
`_cal` is the performance. `video_metadata.json`, where it is there, tells the rate in which the time codes count.

Source: the readers of the app's takes in Unreal's MetaHuman plug-in (`LiveLinkFaceMetadata`).
"""

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from headstudio import __version__, storage
from headstudio.errors import HeadstudioError
from headstudio.motion.csv import FRAME_RATE, read_csv, write_csv
from headstudio.records.motion import Motion

FILE_NAME = "take.json"
_VIDEO = "video_metadata.json"
_OTHER_TABLES = ("frame_log.csv",)


@dataclass(frozen=True)
class Take:
    """What the app writes down about a recording."""

    slate: str = "headstudio"
    """What was filmed, as the user called it."""
    take: int = 1
    """Its number."""
    subject: str = "headstudio"
    """Who, as Unreal knows them."""
    device: str = "headstudio"
    """The phone's model."""
    app: str = f"headstudio {__version__}"
    """The app and its version."""
    date: str = ""
    """When, ISO 8601; empty: when it is written."""
    calibrated: bool = False
    """Whether the app subtracted the subject's neutral face."""

    @property
    def name(self) -> str:
        """What the files of the take are called by."""
        return f"{self.slate}_{self.take}_{self.subject}"


def is_take(path: Path) -> bool:
    """Whether a folder is one of the app's recordings."""
    return (path / FILE_NAME).is_file()


def read_take(folder: Path | str) -> tuple[Motion, Take]:
    """The motion of a recording, its clock starting at 0, and what was written down about it."""
    folder = Path(folder)
    take = _take(_json(folder / FILE_NAME), folder / FILE_NAME)
    rate = FRAME_RATE
    if (folder / _VIDEO).is_file():
        rate = _json(folder / _VIDEO).get("FrameRate", FRAME_RATE)
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 1 <= rate <= 1000:
            raise HeadstudioError("FrameRate is no rate", where=folder / _VIDEO, next_step="correct or remove the file")
    return read_csv(_table(folder, take), float(rate)), take


def write_take(folder: Path | str, motion: Motion, take: Take | None = None) -> None:
    """Write a motion with ARKit weights as a recording without pictures; `folder` is replaced."""
    take = take or Take()
    folder = Path(folder)
    if Path(take.name).name != take.name:
        raise HeadstudioError(
            f"{take.name!r} cannot be a file's name", where=folder, next_step="choose another slate or subject"
        )
    if folder.is_dir() and any(folder.iterdir()) and not is_take(folder):
        raise HeadstudioError(
            "there is something else in this folder", where=folder, next_step="choose a new folder or a take's"
        )
    date = take.date or datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    content = {
        "version": 1,
        "identifier": f"{date[:10].replace('-', '')}_{take.slate}_{take.take}",
        "slate": take.slate,
        "take": take.take,
        "subject": take.subject,
        "frames": len(motion),
        "date": date,
        "calibrated": take.calibrated,
        "deviceModel": take.device,
        "appVersion": take.app,
    }
    with storage.replacing_folder(folder) as building:
        write_csv(building / f"{take.name}{'_cal' if take.calibrated else ''}.csv", motion)
        (building / FILE_NAME).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise HeadstudioError(f"the take cannot be read: {error}", where=path, next_step="copy it again") from None
    if not isinstance(content, dict):
        raise HeadstudioError("this is no take of Live Link Face", where=path, next_step="check the path")
    return content


def _take(content: dict[str, Any], where: Path) -> Take:
    strings = {ours: storage.field(content, theirs, str, where) for ours, theirs in _STRINGS.items()}
    number = storage.field(content, "take", int, where)
    return Take(take=number, calibrated=content.get("calibrated") is True, **strings)


_STRINGS = {"slate": "slate", "subject": "subject", "device": "deviceModel", "app": "appVersion", "date": "date"}


def _table(folder: Path, take: Take) -> Path:
    """The CSV that the take names; the only one where it was renamed."""
    endings = ("_cal.csv", ".csv") if take.calibrated else (".csv", "_cal.csv")
    if Path(take.name).name == take.name:
        for ending in endings:
            if (folder / f"{take.name}{ending}").is_file():
                return folder / f"{take.name}{ending}"
    others = [path for path in sorted(folder.glob("*.csv")) if path.name not in _OTHER_TABLES]
    if len(others) != 1:
        raise HeadstudioError(
            f"of {len(others)} tables none is called {take.name[:80]}.csv",
            where=folder,
            next_step="give the CSV itself, or record blendshapes with the app's ARKit mode",
        )
    return others[0]
