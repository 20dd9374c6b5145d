"""The first thread: it asks the source, gets it back when it is lost, and never waits for those behind it."""

import time
from collections.abc import Callable, Sequence

from headstudio.errors import HeadstudioError
from headstudio.live.meters import Meter, Reading
from headstudio.live.pipeline import Parcel
from headstudio.live.queues import DroppingQueue
from headstudio.live.sources import LiveSource, SourceEndedError, SourceLostError, Taken

BACK_OFF_S = (0.5, 1.0, 2.0, 5.0)
"""Waits before a lost source is opened again; the last one repeats."""


class Feed:
    """A worker of the pipeline.

    Args:
        source: already open.
        outbox: the queue before the next stage.
        patience_s: how long a lost source is waited for; for ever when None.
        tell: is told when the source is lost and when it is back.
    """

    def __init__(
        self,
        source: LiveSource,
        outboxes: Sequence[DroppingQueue[Parcel]],
        patience_s: float | None = None,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.name = "source"
        self.reconnected = 0
        self._meter = Meter(self.name)
        self._source, self._outboxes, self._patience_s, self._tell = source, outboxes, patience_s, tell
        self._given, self._last_s = 0, float("-inf")
        self._shift_s = 0.0

    def run(self) -> None:
        """Until the source ends, is interrupted, or stays lost for too long."""
        try:
            while not self._source.interrupted:
                asked = time.perf_counter(), time.thread_time()
                try:
                    taken = self._source.next()
                except SourceEndedError:
                    return
                except SourceLostError:
                    self._get_back()
                    continue
                if taken is not None:
                    self._give(taken, *asked)
        finally:
            self._source.close()
            for outbox in self._outboxes:
                outbox.close()

    def stop(self) -> None:
        """Ask no more."""
        self._source.interrupt()

    def reading(self) -> Reading:
        """What the meter shows; the work is the wait for a frame."""
        return self._meter.reading()

    def _give(self, taken: Taken, asked_s: float, processor_s: float) -> None:
        born_s = time.perf_counter()
        # Clocks of sources that were lost or repeated may step back; what comes after relies on one that does not.
        if taken.time_s + self._shift_s <= self._last_s:
            self._shift_s = self._last_s + 1e-3 - taken.time_s
        self._last_s = taken.time_s + self._shift_s
        self._meter.drop(taken.skipped)
        self._meter.took(born_s - asked_s, 0.0, True, time.thread_time() - processor_s)
        for outbox in self._outboxes:
            outbox.put(Parcel(self._given, born_s, self._last_s, taken))
        self._given += 1

    def _get_back(self) -> None:
        self._source.close()
        self._tell(f"{self._source.name} is lost; trying to get it back")
        lost_s, tries = time.perf_counter(), 0
        while not self._source.interrupted:
            if self._patience_s is not None and time.perf_counter() - lost_s > self._patience_s:
                raise HeadstudioError(
                    f"the source did not come back within {self._patience_s:g} s",
                    where=self._source.name,
                    next_step="connect it and start again",
                )
            self._source.pause(BACK_OFF_S[min(tries, len(BACK_OFF_S) - 1)])
            tries += 1
            try:
                if not self._source.interrupted:
                    self._source.open()
                    self.reconnected += 1
                    self._tell(f"{self._source.name} is back")
                return
            except HeadstudioError:
                continue
