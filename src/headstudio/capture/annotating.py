"""`annotate`: labels or normals are added to a capture; a work that was stopped goes on, one that is done is kept."""

import contextlib
from dataclasses import replace
from pathlib import Path

from headstudio import storage
from headstudio.capture.painters import Painter
from headstudio.capture.store import write_png
from headstudio.errors import HeadstudioError
from headstudio.progress import Progress
from headstudio.records.capture import PICTURE_FOLDERS, Annotation, Capture

SCHEMA, VERSION, MADE_FILE = "headstudio.annotation", 1, "made.json"
_WORKSHOP = "cache"
"""Folder of a capture that may be deleted at any time."""


def annotate(capture: Capture, kind: Annotation, painter: Painter, progress: Progress) -> Capture:
    """Add a picture annotation to a capture on disk, or replace the one that is there.

    Pictures are made in the capture's cache folder, where a run that was stopped finds them again, and take their
    place together. One that was made from the same before is kept.

    Returns:
        The capture with the annotation.
    """
    if len(capture.views) != 1:
        raise HeadstudioError(
            f"the capture has {len(capture.views)} views", where=capture.path, next_step="annotate one view at a time"
        )
    folder = capture.path / PICTURE_FOLDERS[kind]
    if _made_from(folder) != painter.key:
        building = capture.path / _WORKSHOP / f"{kind.value}-{painter.key[:16]}"
        view = building / capture.views[0].name
        with storage.resuming_folder(building, folder), progress.stage(kind.value, capture.frames) as advance:
            view.mkdir(exist_ok=True)
            for frame in range(capture.frames):
                path = view / f"{frame:06d}.png"
                if not path.exists():
                    with storage.replacing_file(path) as part:
                        write_png(part, painter.paint(frame))
                advance(1)
            storage.write_json(building / MADE_FILE, SCHEMA, VERSION, {"key": painter.key})
        with contextlib.suppress(OSError):  # something else may lie in the cache
            building.parent.rmdir()
    annotated = replace(capture, annotations=capture.annotations | {kind})
    if kind not in capture.annotations:
        annotated.save_tables()
    return annotated


def _made_from(folder: Path) -> str | None:
    path = folder / MADE_FILE
    return storage.read_json(path, SCHEMA, VERSION).get("key") if path.is_file() else None
