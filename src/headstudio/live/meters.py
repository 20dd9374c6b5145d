"""How long a stage takes, how old frames are when it is done with them, and how many come and go."""

import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

WINDOW = 1024
"""Frames that the percentiles of a stage are of, the latest ones."""
_RATE_WINDOW = 64


@dataclass(frozen=True)
class Reading:
    """What a meter shows."""

    stage: str
    frames_in: int
    """Frames that the stage began with."""
    frames_out: int
    """Frames that it passed on."""
    dropped: int
    """Frames that fell out of the queue before it, or that a source was too late for."""
    rate_hz: float
    """Frames a second passed on lately; 0 before the second one."""
    work_p50_ms: float
    """Time in the stage itself."""
    work_p95_ms: float
    processor_p50_ms: float
    """What the stage's own thread, and the process that it asks, were computing; threads that libraries keep are not
    in it."""
    age_p50_ms: float
    """From the moment the source had the frame to the end of the stage, waiting included."""
    age_p95_ms: float


class Meter:
    """Counts one stage; the stage writes, anybody reads."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._lock = threading.Lock()
        self._work_s: deque[float] = deque(maxlen=WINDOW)
        self._processor_s: deque[float] = deque(maxlen=WINDOW)
        self._ages_s: deque[float] = deque(maxlen=WINDOW)
        self._passed_s: deque[float] = deque(maxlen=_RATE_WINDOW)
        self._in = self._out = self._dropped = 0

    def took(self, work_s: float, age_s: float, passed_on: bool, processor_s: float = 0.0) -> None:
        """One frame is done."""
        with self._lock:
            self._in += 1
            self._work_s.append(work_s)
            self._processor_s.append(processor_s)
            if passed_on:
                self._out += 1
                self._ages_s.append(age_s)
                self._passed_s.append(time.perf_counter())

    @property
    def frames(self) -> int:
        """Frames that the stage was done with so far."""
        return self._in

    def drop(self, frames: int) -> None:
        """Frames that the stage itself was too late for."""
        with self._lock:
            self._dropped += frames

    def reading(self, dropped_before: int = 0) -> Reading:
        """What it shows now.

        Args:
            dropped_before: what the queue before the stage has dropped.
        """
        with self._lock:
            work, ages, passed = list(self._work_s), list(self._ages_s), list(self._passed_s)
            processor_ms = 1000 * quantile(self._processor_s, 0.5)
            frames_in, frames_out, dropped = self._in, self._out, self._dropped
        span_s = passed[-1] - passed[0] if len(passed) > 1 else 0.0
        rate_hz = (len(passed) - 1) / span_s if span_s > 0 else 0.0
        work_ms, ages_ms = [[1000 * quantile(values, share) for share in (0.5, 0.95)] for values in (work, ages)]
        counts = frames_in, frames_out, dropped + dropped_before
        return Reading(self.stage, *counts, rate_hz, work_ms[0], work_ms[1], processor_ms, ages_ms[0], ages_ms[1])


def quantile(values: Collection[float], share: float) -> float:
    """The nearest-rank quantile; 0 of nothing."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def table(readings: Sequence[Reading]) -> str:
    """Readings as lines for people."""
    head = f"{'stage':<16}{'in':>8}{'out':>8}{'dropped':>9}{'rate':>8}   work p50/p95 ms  processor   age p50/p95 ms"
    rows = [
        f"{r.stage:<16}{r.frames_in:>8}{r.frames_out:>8}{r.dropped:>9} {r.rate_hz:>7.1f}"
        f"{r.work_p50_ms:>10.1f} /{r.work_p95_ms:>6.1f}{r.processor_p50_ms:>11.1f}"
        f"{r.age_p50_ms:>9.1f} /{r.age_p95_ms:>6.1f}"
        for r in readings
    ]
    return "\n".join([head, *rows])
