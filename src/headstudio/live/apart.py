"""An object in a process of its own: Python runs one thread at a time, and the renderer wants that one.

Only plain data and arrays travel. The process ends with the connection, also when its owner is killed.
"""

import contextlib
import signal
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from headstudio.errors import HeadstudioError

_ENDING_S = 5.0


class Apart:
    """Calls methods of an object that lives in another process, one at a time.

    Args:
        make: makes the object there; picklable.
        arguments: for it.
    """

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        # A forked process would inherit the threads of torch, Warp and MediaPipe without their owners.
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_live, args=(theirs, make, arguments), name="headstudio live tracker", daemon=True
        )
        self._process.start()
        theirs.close()
        self._alive = True

    def call(self, method: str, *arguments: Any) -> Any:
        """What the object's method returns.

        Raises:
            HeadstudioError: what it raised, or that the process is gone.
        """
        try:
            self._connection.send((method, arguments))
            fine, told = self._connection.recv()
        except (EOFError, OSError):
            raise HeadstudioError(
                "the tracker's process has ended", next_step="start again, with more memory free if it was killed"
            ) from None
        if not fine:
            what, where, next_step = told
            raise HeadstudioError(what, where=where, next_step=next_step)
        return told

    def close(self) -> None:
        """End the process; calling it again does nothing."""
        if not self._alive:
            return
        self._alive = False
        self._connection.close()
        self._process.join(_ENDING_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


def _live(connection: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """The other process: answers until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the owner says when to end
    import torch

    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, OSError):
        made, failure = None, None
        try:
            made = make(*arguments)
        except Exception as error:  # told to whoever calls first
            failure = _told(error)
        while True:
            method, values = connection.recv()
            if failure is not None:
                connection.send((False, failure))
                continue
            try:
                answer = True, getattr(made, method)(*values)
            except Exception as error:
                answer = False, _told(error)
            connection.send(answer)


def _told(error: Exception) -> tuple[str, str | None, str]:
    if isinstance(error, HeadstudioError):
        return error.what, None if error.where is None else str(error.where), error.next_step
    return f"the tracker failed: {type(error).__name__} ({error})", None, "please report it"
