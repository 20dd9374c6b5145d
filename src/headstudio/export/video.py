"""Frames to an MP4 that every player and phone opens: H.264, 4:2:0, exact presentation times."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.records import storage

CLOCK_HZ = 90_000
"""Ticks a second of the file's clock: MPEG's own, on which all common frame rates fall."""


def write_video(
    path: Path, pictures: Iterable[UInt8[np.ndarray, "height width 3"]], times_s: Iterable[float], crf: int = 18
) -> int:
    """Write pictures as an MP4 that starts at time 0 and return how many; odd sizes lose their last row or column.

    Args:
        path: the file, replaced when all is written.
        pictures: sRGB, all of one size.
        times_s: strictly increasing presentation times.
        crf: constant rate factor of x264; 18 is visually lossless.
    """
    import av

    count, start_s, last = 0, 0.0, -1
    with (
        storage.replacing_file(path) as building,
        av.open(str(building), "w", options={"movflags": "+faststart"}) as file,
    ):
        stream = None
        for picture, time_s in zip(pictures, times_s, strict=True):
            even = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
            if stream is None:
                stream, start_s = _stream(file, even, crf), time_s
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            last = max(round((time_s - start_s) * CLOCK_HZ), last + 1)
            frame.pts, frame.time_base = last, Fraction(1, CLOCK_HZ)
            file.mux(stream.encode(frame))
            count += 1
        if stream is None:
            raise HeadstudioError("there is no frame to write", where=path, next_step="drive with a longer performance")
        file.mux(stream.encode(None))
    return count


def to_picture(rgb: Float[Tensor, "3 height width"]) -> UInt8[np.ndarray, "height width 3"]:
    """An sRGB tensor in [0, 1] as bytes."""
    return (rgb.detach().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def _stream(file: Any, picture: np.ndarray, crf: int) -> Any:
    stream = file.add_stream("libx264", rate=30, options={"crf": str(crf), "preset": "medium"})
    stream.height, stream.width = picture.shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = Fraction(1, CLOCK_HZ)
    return stream
