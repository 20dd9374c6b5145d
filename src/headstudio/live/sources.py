"""What a live source is: it is opened, asked for the next frame, interrupted from outside and closed."""

import abc
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from headstudio.errors import HeadstudioError
from headstudio.records.channels import Channels


class SourceEndedError(Exception):
    """The source has told everything."""


class SourceLostError(Exception):
    """The source is gone and may come back."""


@dataclass(frozen=True)
class Taken:
    """One frame of a source: a picture, or signals that somebody else has measured."""

    time_s: float
    """On the source's own clock."""
    picture: UInt8[np.ndarray, "height width 3"] | None = None
    """sRGB."""
    signals: Channels | None = None
    """Of one frame; None beside a picture, and where a source has nothing new to tell."""
    skipped: int = 0
    """Frames before this one that were not on time."""


class LiveSource(abc.ABC):
    """One thread opens, asks and closes; any other may interrupt."""

    name: str
    pictures: bool
    """Whether a face has to be found in what it gives."""

    def __init__(self) -> None:
        self._stopping = threading.Event()

    @abc.abstractmethod
    def open(self) -> None:
        """Begin, or begin again.

        Raises:
            HeadstudioError: it cannot be had.
        """

    @abc.abstractmethod
    def next(self) -> Taken | None:
        """The next frame, waiting for it; None when it was interrupted.

        Raises:
            SourceEndedError: there is no more.
            SourceLostError: it broke off.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Give everything back; calling it again does nothing."""

    def interrupt(self) -> None:
        """Let whoever waits for a frame return soon."""
        self._stopping.set()

    @property
    def interrupted(self) -> bool:
        """Whether it was interrupted."""
        return self._stopping.is_set()

    def pause(self, seconds: float) -> bool:
        """Sleep; False when interrupted."""
        return not self._stopping.wait(max(seconds, 0.0))

    def facts(self) -> dict[str, Any]:
        """What else there is to tell, such as the counts of a receiver."""
        return {}


class Pace:
    """When frames of a recording are due, if it plays at its own rate."""

    LATE_S = 0.02
    """A frame that is later than this is not shown."""

    def __init__(self) -> None:
        self._begun_s: float | None = None

    def until_due_s(self, time_s: float) -> float:
        """Seconds until a frame of this time is due, negative when it should have been shown already.

        The first one that is asked for is due at once.
        """
        now_s = time.perf_counter()
        if self._begun_s is None:
            self._begun_s = now_s - time_s
        return self._begun_s + time_s - now_s


def lost(what: str, where: object) -> HeadstudioError:
    """The sentence for a source that is not there."""
    return HeadstudioError(what, where=where, next_step="check that it is connected and that no other program uses it")
