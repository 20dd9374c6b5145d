"""Work that overlaps: a source that runs ahead and writers that lag behind, both bounded so that memory stays flat."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")

_POLL_S = 0.1


def run_ahead(items: Iterable[Item], depth: int) -> Iterator[Item]:
    """Yield the items of an iterable that another thread drives, at most `depth` ahead.

    An exception of the source appears here after the items that came before it; leaving the loop early, also by
    Ctrl-C, stops the thread and closes the source.
    """
    waiting: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(target=_drive, args=(items, waiting, stop), name="run-ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = waiting.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stop.set()
        thread.join()


def _drive(items: Iterable[Item], waiting: queue.Queue, stop: threading.Event) -> None:
    try:
        for item in items:
            if not _put(("item", item), waiting, stop):
                break
        else:
            _put(("end", None), waiting, stop)
    except BaseException as error:  # it is raised again where the items are consumed
        _put(("error", error), waiting, stop)
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()


def _put(message: tuple[str, Any], waiting: queue.Queue, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            waiting.put(message, timeout=_POLL_S)
            return True
        except queue.Full:
            continue
    return False


class WriteBehind:
    """Runs jobs in threads; at most `depth` wait, and the first failure surfaces at the next call or at the end."""

    def __init__(self, threads: int, depth: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="write-behind")
        self._depth = depth
        self._pending: deque[Future] = deque()

    def submit(self, job: Callable[..., None], *arguments: Any) -> None:
        """Queue one job; blocks while `depth` jobs are waiting."""
        while len(self._pending) >= self._depth:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(job, *arguments))

    def __enter__(self) -> "WriteBehind":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        try:
            while self._pending and kind is None:
                self._pending.popleft().result()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
