"""A small video inside a page."""

import base64
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from headstudio.errors import HeadstudioError
from headstudio.report.markup import Markup, element
from headstudio.video import write_video

_LARGEST_FPS = 12.5
_CRF = 32


def film(path: Path, description: str, height_px: int = 288) -> Markup:
    """A video that travels inside the page: shrunk, at no more than 12.5 frames a second, and without sound.

    Raises:
        HeadstudioError: where the file is no video.
    """
    import av.error

    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.mp4"
        try:
            times_s = _thinned(frame.time for frame in _frames(path))
            pictures = (_shrunk(frame, height_px) for frame in _frames(path) if frame.time in times_s)
            write_video(small, pictures, times_s, _CRF)
        except (OSError, av.error.FFmpegError, IndexError) as error:
            raise HeadstudioError(
                f"the video cannot be shown: {error}", where=path, next_step="write it again"
            ) from None
        data = base64.b64encode(small.read_bytes()).decode("ascii")
    return element(
        "video", src=f"data:video/mp4;base64,{data}", controls="", muted="", loop="", playsinline="", title=description
    )


def _frames(path: Path) -> Iterator[Any]:
    """Decoded one by one: a long clip is not held in memory."""
    import av

    with av.open(str(path)) as container:
        yield from container.decode(video=0)


def _thinned(times_s: Iterable[float]) -> list[float]:
    """Times no closer than the largest rate allows."""
    kept: list[float] = []
    for time_s in times_s:
        if not kept or time_s - kept[-1] >= 0.999 / _LARGEST_FPS:
            kept.append(time_s)
    return kept


def _shrunk(frame: Any, height_px: int) -> UInt8[np.ndarray, "height width 3"]:
    height = min(height_px, frame.height)
    width = max(round(frame.width * height / frame.height / 2) * 2, 2)
    return frame.to_ndarray(width=width, height=height, format="rgb24")
