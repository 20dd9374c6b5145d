"""Frames into a video file while they come; it takes its place when all is written."""

import contextlib
from pathlib import Path
from typing import Any

from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.live.pipeline import Parcel
from headstudio.video import CLOCK_HZ, picture_stream, video_frame

ENDINGS = (".mp4", ".mkv")
_CRF, _PRESET = 20, "ultrafast"
"""The encoder shares the cores with everything else."""
QUEUE = 50
"""Frames that wait at most while the disk is slow."""


class Film:
    """A stage's work.

    Args:
        path: ends with .mp4 or .mkv.

    Raises:
        HeadstudioError: it ends with something else, or cannot be written there.
    """

    name = "film"

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in ENDINGS:
            raise HeadstudioError(
                "this video format is not written", where=path, next_step=f"end the name with {' or '.join(ENDINGS)}"
            )
        self.path, self.frames = path, 0
        self._open = contextlib.ExitStack()
        # An error in the last frames must not keep the file from taking its place, but a file without a frame must.
        self._building = self._open.enter_context(storage.replacing_file(path))
        self._file: Any = None
        self._stream: Any = None
        self._begun_s, self._last = 0.0, -1

    def __call__(self, parcel: Parcel) -> bool:
        """Write one frame, at the time at which it was taken."""
        import av.error

        picture = parcel.content.picture
        even = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
        try:
            file, stream = self._begun(even.shape[1], even.shape[0], parcel.born_s)
            self._last = max(round((parcel.born_s - self._begun_s) * CLOCK_HZ), self._last + 1)
            file.mux(stream.encode(video_frame(even, self._last)))
        except (av.error.FFmpegError, OSError) as error:
            raise HeadstudioError(
                f"the video cannot be written: {error}", where=self.path, next_step="free some space"
            ) from None
        self.frames += 1
        return True

    def finish(self) -> None:
        """Close the file and put it in its place; without a frame there is none."""
        if self._file is not None:
            with contextlib.closing(self._file):
                self._file.mux(self._stream.encode(None))
            self._open.close()
            return
        nothing = HeadstudioError("no frame came", where=self.path, next_step="run for longer")
        with contextlib.suppress(HeadstudioError):
            self._open.__exit__(HeadstudioError, nothing, None)

    def _begun(self, width_px: int, height_px: int, time_s: float) -> tuple[Any, Any]:
        """The open file and its stream; the first frame says how large and when."""
        import av

        if self._file is None:
            self._file = av.open(str(self._building), "w")
            self._stream = picture_stream(self._file, width_px, height_px, _CRF, preset=_PRESET)
            self._begun_s = time_s
        return self._file, self._stream
