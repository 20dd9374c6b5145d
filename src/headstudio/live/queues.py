"""What stands between two stages: a short queue from which the oldest falls when it is full."""

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class ClosedQueueError(Exception):
    """Nothing waits any more and nothing will come."""


class DroppingQueue(Generic[T]):
    """Bounded; a late consumer finds the newest, and what it missed is counted.

    Args:
        capacity: items that wait at most.
    """

    def __init__(self, capacity: int = 1) -> None:
        if capacity < 1:
            raise ValueError(f"a queue of {capacity} items holds nothing")
        self._waiting: deque[T] = deque()
        self._capacity = capacity
        self._dropped = 0
        self._closed = False
        self._news = threading.Condition()

    @property
    def dropped(self) -> int:
        """Items that nobody took in time."""
        with self._news:
            return self._dropped

    @property
    def closed(self) -> bool:
        """Whether nothing can be put any more."""
        return self._closed

    def __len__(self) -> int:
        with self._news:
            return len(self._waiting)

    def put(self, item: T) -> None:
        """Add an item and drop the oldest if there is no room; a closed queue takes nothing."""
        with self._news:
            if self._closed:
                return
            if len(self._waiting) == self._capacity:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(item)
            self._news.notify()

    def take(self, timeout_s: float | None = None) -> T | None:
        """The oldest item that waits; None when none comes in time.

        Raises:
            ClosedQueueError: the queue is closed and empty.
        """
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._closed, timeout_s)
            if self._waiting:
                return self._waiting.popleft()
            if self._closed:
                raise ClosedQueueError
            return None

    def close(self, discard: bool = False) -> None:
        """Let nothing more in; what waits can still be taken unless it is discarded."""
        with self._news:
            self._closed = True
            if discard:
                self._waiting.clear()
            self._news.notify_all()


class Tickets:
    """How many frames may be on their way at once between two stages.

    Without it each stage would work on frames that the slower one behind it drops, and take the processor from it.

    Args:
        count: frames.
    """

    def __init__(self, count: int) -> None:
        self._count = self._free = count
        self._closed = False
        self._news = threading.Condition()

    def take(self) -> None:
        """Wait for a ticket; a closed counter hands them out at once."""
        with self._news:
            self._news.wait_for(lambda: self._free > 0 or self._closed)
            self._free -= 1

    def limit(self, count: int) -> None:
        """Let so many frames be on their way from now on."""
        with self._news:
            self._free += count - self._count
            self._count = count
            self._news.notify_all()

    def give_back(self) -> None:
        """A frame has arrived, or is lost."""
        with self._news:
            self._free += 1
            self._news.notify()

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._news:
            self._closed = True
            self._news.notify_all()
