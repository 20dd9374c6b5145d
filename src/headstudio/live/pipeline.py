"""Threads that hand frames on through dropping queues; the first that fails stops them all."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headstudio.live.meters import Meter, Reading
from headstudio.live.queues import ClosedQueueError, DroppingQueue, Tickets

PATIENCE_S = 10.0
"""How long the end of a stage is waited for; none takes longer over one frame."""


@dataclass(frozen=True)
class Parcel:
    """A frame on its way."""

    number: int
    """Counts what the source gave; grows along every queue."""
    born_s: float
    """When the source had it, on the clock of `time.perf_counter`."""
    time_s: float
    """When it was taken, on the source's own clock; strictly increasing."""
    content: Any
    """What the last stage made of it."""


Work = Callable[[Parcel], Any]
"""What a stage makes of a parcel; None keeps the frame back."""


class Stage:
    """One thread, from a queue through some work into other queues.

    Args:
        name: for meters and messages.
        work: called in the stage's own thread, one parcel after the other; `elsewhere_s`, if it has that, is the
            processor time that its last call took in another process.
        outboxes: where the results go.
        capacity: parcels that may wait before it.
        finish: called in the thread at its end, however it came.
        tickets: one is taken before each parcel that the stage begins with.
        arrived: called after each parcel with whether it was passed on.
    """

    def __init__(
        self,
        name: str,
        work: Work,
        outboxes: Sequence[DroppingQueue[Parcel]] = (),
        capacity: int = 1,
        finish: Callable[[], None] | None = None,
        tickets: Tickets | None = None,
        arrived: Callable[[bool], None] = lambda passed_on: None,
    ) -> None:
        self.name, self.meter = name, Meter(name)
        self.inbox: DroppingQueue[Parcel] = DroppingQueue(capacity)
        self._work, self._outboxes, self._finish = work, outboxes, finish
        self._tickets, self._arrived = tickets, arrived
        self._ending = threading.Lock()

    def run(self) -> None:
        """Until the inbox is closed and empty; closes what comes after it."""
        try:
            while True:
                if self._tickets is not None:
                    self._tickets.take()
                try:
                    parcel = self.inbox.take()
                except ClosedQueueError:
                    return
                if parcel is not None:
                    self._pass_on(parcel)
        finally:
            self.end()
            for outbox in self._outboxes:
                outbox.close()

    def end(self) -> None:
        """Finish, once; also for a stage that never ran."""
        with self._ending:
            finish, self._finish = self._finish, None
        if finish is not None:
            finish()

    def stop(self) -> None:
        """Take nothing any more."""
        self.inbox.close(discard=True)
        if self._tickets is not None:
            self._tickets.close()

    def reading(self) -> Reading:
        """What the stage's meter shows."""
        return self.meter.reading(self.inbox.dropped)

    def _pass_on(self, parcel: Parcel) -> None:
        begun_s, processor_s = time.perf_counter(), time.thread_time()
        made = self._work(parcel)
        now_s, processor_s = time.perf_counter(), time.thread_time() - processor_s
        processor_s += getattr(self._work, "elsewhere_s", 0.0)
        self.meter.took(now_s - begun_s, now_s - parcel.born_s, made is not None, processor_s)
        if made is not None:
            for outbox in self._outboxes:
                outbox.put(replace(parcel, content=made))
        self._arrived(made is not None)


class Pipeline:
    """Runs workers, each in its thread, from `with` on until they end or one of them fails.

    Args:
        workers: whatever has a name, `run`, `stop` and `reading`, in the order of the flow.
    """

    def __init__(self, workers: Sequence[Any]) -> None:
        self._workers = tuple(workers)
        self._failure: BaseException | None = None
        self._ended = 0
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._run, args=(worker,), name=f"live {worker.name}", daemon=True)
            for worker in self._workers
        ]

    def start(self) -> None:
        """Start all threads, the last of the flow first, so that nothing is dropped for want of a taker."""
        for thread in reversed(self._threads):
            thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of all threads; whether they have ended."""
        with self._changed:
            return self._changed.wait_for(lambda: self._ended == len(self._workers), timeout_s)

    def stop(self) -> None:
        """End all threads, also those that wait; frames on their way are lost."""
        for worker in self._workers:
            worker.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(PATIENCE_S)

    def check(self) -> None:
        """Raise what a worker failed with."""
        if self._failure is not None:
            raise self._failure

    def readings(self) -> list[Reading]:
        """What the meters show, in the order of the flow."""
        return [worker.reading() for worker in self._workers]

    def __enter__(self) -> "Pipeline":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, worker: Any) -> None:
        try:
            worker.run()
        except BaseException as failure:  # told by `check` to whoever runs the pipeline
            with self._changed:
                self._failure = self._failure or failure
            for other in self._workers:
                other.stop()
        finally:
            with self._changed:
                self._ended += 1
                self._changed.notify_all()
