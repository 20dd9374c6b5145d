"""Pictures: cameras by OpenCV, files and streams by PyAV."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from headstudio.capture.decode import Frame, open_video
from headstudio.capture.detector import quiet
from headstudio.errors import HeadstudioError
from headstudio.live.sources import LiveSource, Pace, SourceEndedError, SourceLostError, Taken, lost

STREAMS = ("rtsp://", "rtsps://", "rtmp://", "http://", "https://", "udp://", "tcp://", "srt://")
"""What an address begins with that PyAV is asked to read."""
_OPENING_S, _READING_S = 8.0, 4.0
"""A stream that says nothing for so long is lost."""
_REPEATED_S = 1 / 25
"""What lies between the last frame of a recording and its first one, when it is played again."""


class Camera(LiveSource):
    """A camera of this machine, by its number."""

    pictures = True

    def __init__(self, index: int, width_px: int = 1280, height_px: int = 720) -> None:
        super().__init__()
        self.name = f"camera {index}"
        self._index, self._size = index, (width_px, height_px)
        self._device: Any = None

    def open(self) -> None:
        import cv2

        self.close()
        with quiet():
            device = cv2.VideoCapture(self._index)
            if device.isOpened():
                device.set(cv2.CAP_PROP_FRAME_WIDTH, self._size[0])
                device.set(cv2.CAP_PROP_FRAME_HEIGHT, self._size[1])
                device.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        if not device.isOpened():
            device.release()
            raise lost("there is no camera here", self.name)
        self._device = device

    def next(self) -> Taken | None:
        import cv2

        if self.interrupted:
            return None
        there, picture = self._device.read()
        if not there or picture is None:
            raise SourceLostError(self.name)
        return Taken(time.perf_counter(), cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))

    def close(self) -> None:
        if self._device is not None:
            self._device.release()
            self._device = None


class FilmedFile(LiveSource):
    """A video that is played at its own rate, as if it were a camera; what is late is passed over.

    Args:
        path: the file.
        repeat: begin again at the end.
    """

    pictures = True

    def __init__(self, path: Path, repeat: bool = False) -> None:
        super().__init__()
        self.name = path.name
        self._path, self._repeat = path, repeat
        self._frames: Iterator[Frame] | None = None
        self._pace = Pace()
        self._before_s = self._last_s = 0.0

    def open(self) -> None:
        self.close()
        self._frames = open_video(self._path).frames()
        self._pace, self._before_s, self._last_s = Pace(), 0.0, 0.0

    def next(self) -> Taken | None:
        skipped = 0
        while not self.interrupted:
            assert self._frames is not None
            frame = next(self._frames, None)
            if frame is None:
                self._begin_again()
                continue
            self._last_s = self._before_s + float(frame.time_s)
            due_s = self._pace.until_due_s(self._last_s)
            if due_s < -Pace.LATE_S:
                skipped += 1
                continue
            return Taken(self._last_s, frame.image, skipped=skipped) if self.pause(due_s) else None
        return None

    def close(self) -> None:
        self._frames = None

    def _begin_again(self) -> None:
        if not self._repeat:
            raise SourceEndedError
        self._before_s = self._last_s + _REPEATED_S
        self._frames = open_video(self._path).frames()


class Stream(LiveSource):
    """Whatever comes over the network that FFmpeg can read; it has a rate of its own."""

    pictures = True

    def __init__(self, address: str) -> None:
        super().__init__()
        self.name = _without_secrets(address)
        self._address = address
        self._container: Any = None
        self._frames: Iterator[Any] = iter(())

    def open(self) -> None:
        import av
        from av.error import FFmpegError

        self.close()
        options = {"rtsp_transport": "tcp", "fflags": "nobuffer"} if self._address.startswith("rtsp") else {}
        try:
            with quiet():
                self._container = av.open(self._address, options=options, timeout=(_OPENING_S, _READING_S))
            if not self._container.streams.video:
                raise lost("nothing is filmed here", self.name)
        except (FFmpegError, OSError, ValueError) as error:
            self.close()
            reason = getattr(error, "strerror", None) or "no answer"
            raise lost(f"the stream cannot be read: {reason}", self.name) from None
        except HeadstudioError:
            self.close()
            raise
        stream = self._container.streams.video[0]
        stream.thread_type = "SLICE"  # threads over frames would hold frames back
        self._frames = self._container.decode(stream)

    def next(self) -> Taken | None:
        from av.error import FFmpegError

        if self.interrupted:
            return None
        try:
            frame = next(self._frames)
            return Taken(time.perf_counter(), np.ascontiguousarray(frame.to_ndarray(format="rgb24")))
        except (StopIteration, FFmpegError, OSError, ValueError):
            raise SourceLostError(self.name) from None

    def close(self) -> None:
        self._frames = iter(())
        if self._container is not None:
            with contextlib.suppress(Exception):  # a broken stream cannot be closed better
                self._container.close()
            self._container = None


def _without_secrets(address: str) -> str:
    """An address without the user's name and password."""
    scheme, _, rest = address.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
