"""Frames to an MP4 that every player and phone opens: H.264, 4:2:0, exact presentation times, perhaps with sound."""

import contextlib
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from headstudio import storage
from headstudio.errors import HeadstudioError

CLOCK_HZ = 90_000
"""Ticks a second of the file's clock: MPEG's own, on which all common frame rates fall."""
NOMINAL_FPS = 30
"""Rate written in the header where the caller names none; players obey the presentation times."""


def write_video(
    path: Path,
    pictures: Iterable[UInt8[np.ndarray, "height width 3"]],
    times_s: Iterable[float],
    crf: int = 18,
    sound: Path | None = None,
) -> int:
    """Write pictures as an MP4 that starts at time 0 and return how many; odd sizes lose their last row or column.

    Args:
        path: the file, replaced when all is written.
        pictures: sRGB, all of one size.
        times_s: strictly increasing presentation times.
        crf: constant rate factor of x264; 18 is visually lossless.
        sound: a file whose first audio stream begins with the first picture; copied, and cut where the pictures end.
    """
    count, start_s, last = 0, 0.0, -1
    with storage.replacing_file(path) as building, _opened(building) as file:
        stream, listening = None, None
        for picture, time_s in zip(pictures, times_s, strict=True):
            even = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
            if stream is None:
                stream, start_s = picture_stream(file, even.shape[1], even.shape[0], crf), time_s
                listening = None if sound is None else _Sound(file, sound)
            last = max(round((time_s - start_s) * CLOCK_HZ), last + 1)
            file.mux(stream.encode(video_frame(even, last)))
            if listening is not None:
                listening.copy_until(last / CLOCK_HZ)
            count += 1
        if stream is None:
            raise HeadstudioError("there is no frame to write", where=path, next_step="drive with a longer performance")
        file.mux(stream.encode(None))
        if listening is not None:
            listening.close()
    return count


def to_picture(rgb: Float[Tensor, "3 height width"]) -> UInt8[np.ndarray, "height width 3"]:
    """An sRGB tensor in [0, 1] as bytes."""
    return (rgb.detach().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def picture_stream(
    file: Any, width_px: int, height_px: int, crf: int, fps: float = NOMINAL_FPS, preset: str = "medium"
) -> Any:
    """A new H.264 stream of an open PyAV container, on the clock of `CLOCK_HZ`."""
    stream = file.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
    stream.width, stream.height, stream.pix_fmt = width_px, height_px, "yuv420p"
    stream.codec_context.time_base = stream.time_base = Fraction(1, CLOCK_HZ)
    # The colour space is written down: players guess it from the height otherwise, and guess wrong.
    colours = "colorprim=bt709:transfer=bt709:colormatrix=bt709"
    stream.options = {"crf": str(crf), "preset": preset, "x264-params": colours}
    return stream


def video_frame(picture: UInt8[np.ndarray, "height width 3"], tick: int) -> Any:
    """A PyAV frame of an sRGB picture, in BT.709, at a tick of the clock."""
    import av
    from av.video.reformatter import ColorRange, Colorspace

    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(
        format="yuv420p", src_colorspace=Colorspace.ITU709, dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG, dst_color_range=ColorRange.MPEG,
    )  # fmt: skip
    frame.pts, frame.time_base = tick, Fraction(1, CLOCK_HZ)
    return frame


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import av
    import av.error

    try:
        with av.open(str(path), "w", options={"movflags": "+faststart"}) as file:
            yield file
    except av.error.FFmpegError as error:
        raise HeadstudioError(
            f"the video cannot be written: {error}", where=path, next_step="free some space or choose another place"
        ) from error


class _Sound:
    """An audio stream that is copied packet by packet beside the pictures."""

    def __init__(self, file: Any, source: Path) -> None:
        import av

        self._file, self._source = file, av.open(str(source))
        stream = self._source.streams.audio[0]
        self._target = file.add_stream_from_template(stream)
        self._packets = (packet for packet in self._source.demux(stream) if packet.dts is not None)
        self._next = next(self._packets, None)

    def copy_until(self, time_s: float) -> None:
        """Copy all packets that begin no later than this."""
        while self._next is not None and float((self._next.pts or 0) * self._next.time_base) <= time_s:
            self._next.stream = self._target
            self._file.mux(self._next)
            self._next = next(self._packets, None)

    def close(self) -> None:
        """Close the source."""
        self._source.close()
