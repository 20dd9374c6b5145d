"""How long work tells how far it is, without knowing who listens."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

Advance = Callable[[int], None]
"""Called with the number of units finished since the last call; safe to call from any thread."""


@runtime_checkable  # the tests check the types of arguments
class Progress(Protocol):
    """A listener: the command line draws bars with rate and time left, tests and library calls stay silent."""

    def stage(self, name: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Open a stage of `total` units (None when unknown); its end, also by an exception, closes it."""
        ...


class Silent:
    """The listener that does nothing."""

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """A stage that nobody watches."""
        yield lambda units: None
