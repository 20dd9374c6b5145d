"""Stderr for people who wait: bars with rate and time left in a terminal, now and then a line elsewhere."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from headstudio.progress import Advance

PLAIN_EVERY_S = 30.0
"""Seconds between the lines that tell progress where there is no terminal."""


class Display:
    """The command line's listener (`headstudio.progress.Progress`)."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bars = _Bars(self._stream) if self._stream.isatty() else None

    def stage(self, name: str, total: int | None = None) -> contextlib.AbstractContextManager[Advance]:
        """Show a stage of so many units until it closes."""
        return self._bars.stage(name, total) if self._bars else _plain_stage(self._stream, name, total)

    def say(self, sentence: str) -> None:
        """A line that stays."""
        print(sentence, file=self._stream, flush=True)

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.close()


class _Bars:
    """Bars by rich, drawn while at least one stage is open."""

    def __init__(self, stream: TextIO) -> None:
        from rich import progress
        from rich.console import Console

        self._progress = progress.Progress(
            progress.TextColumn("{task.description:<24}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TimeRemainingColumn(),
            console=Console(file=stream),
        )
        self._open = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Advance]:
        with self._lock:
            self._open += 1
            if self._open == 1:
                self._progress.start()
        task = self._progress.add_task(name, total=total, rate="")

        def advance(units: int) -> None:
            speed = next((t.speed for t in self._progress.tasks if t.id == task), None)
            self._progress.update(task, advance=units, rate="" if not speed else f"{speed:.1f}/s")

        try:
            yield advance
        finally:
            self._progress.stop_task(task)
            with self._lock:
                self._open -= 1
                if self._open == 0:
                    self._progress.stop()
                    for shown in self._progress.task_ids:
                        self._progress.remove_task(shown)

    def close(self) -> None:
        self._progress.stop()


@dataclass
class _Count:
    """How far a stage without a terminal is."""

    done: int
    started_s: float
    told_s: float


@contextlib.contextmanager
def _plain_stage(stream: TextIO, name: str, total: int | None) -> Iterator[Advance]:
    now = time.monotonic()
    count, lock = _Count(0, now, now), threading.Lock()

    def advance(units: int) -> None:
        with lock:
            count.done += units
            now = time.monotonic()
            if now - count.told_s > PLAIN_EVERY_S:
                count.told_s = now
                print(_how_far(name, count.done, total, now - count.started_s), file=stream, flush=True)

    yield advance
    took_s = time.monotonic() - count.started_s
    print(f"{name}: {count.done} in {took_s:.1f} s", file=stream, flush=True)


def _how_far(name: str, done: int, total: int | None, elapsed_s: float) -> str:
    rate = done / max(elapsed_s, 1e-6)
    if total is None:
        return f"{name}: {done} so far, {rate:.1f}/s"
    left_s = (total - done) / rate if rate > 0 else float("inf")
    return f"{name}: {done} of {total}, {rate:.1f}/s, {left_s:.0f} s left"


@contextlib.contextmanager
def only_the_result_on_stdout() -> Iterator[None]:
    """Send to stderr what libraries, their native parts and child processes write to stdout meanwhile."""
    try:
        stdout, stderr = sys.stdout.fileno(), sys.stderr.fileno()
    except (OSError, ValueError):  # no files: only Python's own writers can be redirected
        with contextlib.redirect_stdout(sys.stderr):
            yield
        return
    sys.stdout.flush()
    kept = os.dup(stdout)
    os.dup2(stderr, stdout)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, stdout)
        os.close(kept)
