"""Overlapping work: order, bounds, exceptions and early ends."""

import threading
import time
from collections.abc import Iterator

import pytest

from headstudio.capture.pipeline import WriteBehind, run_ahead


def test_items_come_in_their_order():
    assert list(run_ahead(iter(range(100)), 3)) == list(range(100))


def test_the_source_stays_at_most_depth_ahead():
    made: list[int] = []

    def source() -> Iterator[int]:
        for i in range(50):
            made.append(i)
            yield i

    for item in run_ahead(source(), 3):
        time.sleep(0.001)
        assert len(made) <= item + 1 + 3 + 1  # given, queued, and one in the source's hand


def test_an_exception_of_the_source_appears_after_its_items():
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("torn")

    items = run_ahead(source(), 2)
    assert next(items) == 1
    with pytest.raises(ValueError, match="torn"):
        next(items)


def test_leaving_early_closes_the_source_and_ends_its_thread():
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    items = run_ahead(source(), 1)
    next(items)
    items.close()
    assert closed.is_set()
    assert not [t for t in threading.enumerate() if t.name == "run-ahead"]


def test_writers_finish_before_the_block_ends():
    done: list[int] = []
    with WriteBehind(2, 4) as writer:
        for i in range(30):
            writer.submit(lambda n: (time.sleep(0.001), done.append(n)), i)
    assert sorted(done) == list(range(30))


def test_a_failing_write_surfaces():
    def fail() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), WriteBehind(1, 2) as writer:
        writer.submit(fail)


def test_a_failing_write_does_not_hide_the_error_of_the_block():
    def fail() -> None:
        raise OSError("secondary")

    with pytest.raises(KeyboardInterrupt), WriteBehind(1, 2) as writer:
        writer.submit(fail)
        raise KeyboardInterrupt
