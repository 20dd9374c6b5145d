"""The held-out frames again: truth, ours, and ours from a camera that was never there."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstudio.cli.console import Display
from headstudio.cli.sources import chosen_device, load_subject

if TYPE_CHECKING:
    from headstudio.training.contract import Source

NOVEL_YAW_DEG = 25.0
"""How far aside the second view stands."""
BACKGROUND = 0.25
"""The grey behind the head, sRGB."""
STRIP_FRAMES = 6
"""Columns of the picture strip."""


def write_reenactment(avatar_path: Path, source: "Source", folder: Path, device: str, display: Display) -> None:
    """Write reenactment.mp4 (truth | ours | ours from aside, held-out frames) and strip.png with some of its frames."""
    import torch

    from headstudio.drivers.drive import DriveConfig, Performance, carried_over, orbit_view, render_frames
    from headstudio.video import write_video

    avatar, _, at_rest = load_subject(avatar_path)
    avatar.to(chosen_device(device))
    frames = [frame for frame in source.capture.held_out_frames if bool(source.track.usable[frame])]
    performance = Performance(source.motion_with(avatar.consumes).select(frames))
    motion, _ = carried_over(performance, avatar, at_rest, DriveConfig(own=True))
    size_px = at_rest.size_px
    grey = torch.full((3, size_px, size_px), BACKGROUND)
    views = [orbit_view(at_rest, size_px, yaw) for yaw in (0.0, NOVEL_YAW_DEG)]
    rendered = zip(*(render_frames(avatar, motion, view, grey) for view in views), strict=True)
    strip = _Strip(len(frames))
    with display.stage("re-enact", len(frames)) as advance:
        pictures = _triples(source, frames, rendered, size_px, advance)
        write_video(folder / "reenactment.mp4", strip.watch(pictures), motion.times_s.tolist())
    strip.save(folder / "strip.png")


def _triples(source: "Source", frames: Sequence[int], rendered: Any, size_px: int, advance: Any) -> Iterator[Any]:
    import numpy as np

    from headstudio.cli.drive import driving_picture
    from headstudio.video import to_picture

    for frame, renderings in zip(frames, rendered, strict=True):
        truth = driving_picture(source.capture, frame, size_px)
        yield np.concatenate([truth, *(to_picture(r.rgb[0]) for r in renderings)], axis=1)
        advance(1)


class _Strip:
    """Some frames of a video as one picture: a column a frame, a row a panel."""

    def __init__(self, frames: int) -> None:
        columns = min(STRIP_FRAMES, frames)
        self._wanted = {round((column + 0.5) * frames / columns - 0.5) for column in range(columns)}
        self._columns: list[Any] = []

    def watch(self, pictures: Iterator[Any]) -> Iterator[Any]:
        """Pass pictures on and remember some."""
        import numpy as np

        for index, picture in enumerate(pictures):
            if index in self._wanted:
                panels = picture.shape[1] // picture.shape[0]
                self._columns.append(np.concatenate(np.split(picture, panels, axis=1), axis=0))
            yield picture

    def save(self, path: Path) -> None:
        """Write the picture."""
        import numpy as np
        from PIL import Image

        from headstudio import storage

        with storage.replacing_file(path) as building:
            Image.fromarray(np.concatenate(self._columns, axis=1)).save(building)
