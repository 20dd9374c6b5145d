"""Signals that somebody else has measured: phones on the network, recordings, and a face that only sliders move."""

import time
from typing import Any

import torch

from headstudio.errors import HeadstudioError
from headstudio.live.sources import LiveSource, Pace, SourceEndedError, Taken
from headstudio.motion.arkit import NAMES
from headstudio.motion.neutral import find_neutral
from headstudio.protocols.codec import codec
from headstudio.protocols.frame import FaceFrame
from headstudio.protocols.motions import to_motion
from headstudio.protocols.receiver import LOOPBACK, FaceReceiver
from headstudio.records.channels import ARKIT, Channels
from headstudio.records.motion import Motion

TICK_S = 0.1
"""How often a source that is silent says so, so that sliders move the face nevertheless."""
_ASKING_S = 1.0
_STILL_FPS = 25.0


class Phone(LiveSource):
    """A face over the network, in one of the protocols of `headstudio.protocols`.

    Args:
        protocol: its name.
        host: the address of this machine to listen at; the default hears this machine alone.
        port: the protocol's own when None.
        phone: listen only to this address; where the protocol wants to be asked, it is asked.
    """

    pictures = False

    def __init__(self, protocol: str, host: str = LOOPBACK, port: int | None = None, phone: str | None = None) -> None:
        super().__init__()
        self.name = protocol
        self._protocol, self._host, self._port, self._phone = protocol, host, port, phone
        self._receiver: FaceReceiver | None = None
        self._asked_s = self._heard_s = 0.0

    def open(self) -> None:
        self.close()
        self._receiver = FaceReceiver(codec(self._protocol), self._host, self._port, only_from=self._phone)
        self.name = f"{self._protocol} at {self._receiver.address.host}:{self._receiver.address.port}"

    def next(self) -> Taken | None:
        assert self._receiver is not None
        if self.interrupted:
            return None
        self._ask()
        before = self._receiver.overrun
        frame = self._receiver.latest(TICK_S)
        now_s = time.perf_counter()
        if frame is None:
            return None if self.interrupted else Taken(now_s)
        self._heard_s = now_s
        return Taken(now_s, signals=channels_of(frame), skipped=self._receiver.overrun - before)

    def close(self) -> None:
        if self._receiver is not None:
            self._receiver.close()
            self._receiver = None

    def facts(self) -> dict[str, Any]:
        return {} if self._receiver is None else {"packets": vars(self._receiver.counts)}

    def _ask(self) -> None:
        """iFacialMocap speaks only to whom it was asked by, and forgets it when its app is closed."""
        now_s = time.perf_counter()
        if self._protocol != "ifacialmocap" or self._phone is None or self._receiver is None:
            return
        if now_s - max(self._heard_s, self._asked_s) < _ASKING_S:
            return
        from headstudio.protocols.ifacialmocap import START

        self._asked_s = now_s
        self._receiver.say(START, self._phone, codec(self._protocol).port)


class Recording(LiveSource):
    """A motion that is played at its own rate.

    Args:
        motion: ARKit weights, and whatever it has beside.
        name: for messages.
        repeat: begin again at the end.
    """

    pictures = False

    def __init__(self, motion: Motion, name: str, repeat: bool = False) -> None:
        super().__init__()
        if ARKIT not in motion.channels:
            raise HeadstudioError(f"the motion has no {ARKIT}", where=name, next_step="give one with ARKit weights")
        self.name, self.neutral = name, find_neutral(motion).channels
        """The signals of a moment at rest: a recording needs no calibration."""
        self._motion, self._repeat = motion, repeat
        self._next, self._round, self._pace = 0, 0, Pace()
        times_s = motion.times_s
        step_s = float((times_s[1:] - times_s[:-1]).median()) if len(motion) > 1 else 1 / _STILL_FPS
        self._length_s = float(times_s[-1] - times_s[0]) + step_s

    def open(self) -> None:
        self._next, self._round, self._pace = 0, 0, Pace()

    def next(self) -> Taken | None:
        skipped = 0
        while not self.interrupted:
            if self._next == len(self._motion):
                if not self._repeat:
                    raise SourceEndedError
                self._next, self._round = 0, self._round + 1
            frame, self._next = self._next, self._next + 1
            time_s = float(self._motion.times_s[frame]) + self._round * self._length_s
            due_s = self._pace.until_due_s(time_s)
            if due_s < -Pace.LATE_S:
                skipped += 1
                continue
            signals = self._motion.at([frame])
            return Taken(time_s, signals=signals, skipped=skipped) if self.pause(due_s) else None
        return None

    def close(self) -> None:
        pass


class Still(LiveSource):
    """A face at rest, so that sliders alone move the avatar."""

    name, pictures = "still", False

    def __init__(self, fps: float = _STILL_FPS) -> None:
        super().__init__()
        self._step_s = 1.0 / fps
        self.neutral: Channels = {ARKIT: torch.zeros(len(NAMES))}
        self._due_s = 0.0

    def open(self) -> None:
        self._due_s = time.perf_counter()

    def next(self) -> Taken | None:
        self._due_s = max(self._due_s + self._step_s, time.perf_counter())
        if not self.pause(self._due_s - time.perf_counter()):
            return None
        return Taken(time.perf_counter(), signals={ARKIT: torch.zeros(1, len(NAMES))})

    def close(self) -> None:
        pass


def channels_of(frame: FaceFrame) -> Channels:
    """The signals of one frame of a protocol."""
    return to_motion([frame]).channels
