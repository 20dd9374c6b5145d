"""What goes wrong, as one sentence and an exit code."""

import errno
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from headstudio.errors import HeadstudioError

FAILED, USAGE, UNEXPECTED, INTERRUPTED = 1, 2, 70, 130
"""Exit codes: the user can act on it; the command line is wrong; a bug (EX_SOFTWARE of BSD); Ctrl-C (128 + SIGINT)."""


def guarded(work: Callable[[], int], debug: bool = False, as_json: bool = False) -> int:
    """Do the work and return its exit code; failures are told on stderr, and on stdout too when it holds JSON."""
    previous = _let_termination_clean_up()
    try:
        return work()
    except SystemExit as request:  # tyro has already explained a wrong command line, or printed the help
        return request.code if isinstance(request.code, int) else USAGE
    except BrokenPipeError:
        # Whoever read the output has left; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (KeyboardInterrupt, Exception) as failure:
        if debug:
            traceback.print_exc()
        sentence, code = explained(failure)
        print(f"error: {sentence}", file=sys.stderr)
        if as_json:
            print(json.dumps({"error": sentence, "exit_code": code}))
        return code
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def explained(failure: BaseException) -> tuple[str, int]:
    """The sentence that tells a failure, and the exit code that goes with it."""
    if isinstance(failure, HeadstudioError):
        return str(failure), FAILED
    if isinstance(failure, KeyboardInterrupt):
        return "stopped; run the same command to go on.", INTERRUPTED
    if _is_out_of_memory(failure):
        return "memory ran out: choose a smaller --size or preset, or close other programs.", FAILED
    if isinstance(failure, OSError) and failure.errno == errno.ENOSPC:
        return f"the disk is full{_place(failure)}: free some space and run the same command again.", FAILED
    if isinstance(failure, OSError) and failure.errno is not None and failure.filename is not None:
        return f"{failure.strerror}{_place(failure)}: check the path and its permissions.", FAILED
    if isinstance(failure, ModuleNotFoundError):
        return f"the Python package {failure.name} is missing: run `headstudio doctor`.", FAILED
    summary = " ".join(str(failure).split())[:200]
    return (
        f"unexpected {type(failure).__name__} ({summary}): please report it with what --debug prints.",
        UNEXPECTED,
    )


def _is_out_of_memory(failure: BaseException) -> bool:
    # PyTorch raises its own class on the GPU and a plain RuntimeError on the CPU; neither may be imported here.
    return (
        isinstance(failure, MemoryError)
        or type(failure).__name__ == "OutOfMemoryError"
        or (isinstance(failure, RuntimeError) and "can't allocate memory" in str(failure))
    )


def _place(failure: OSError) -> str:
    return "" if failure.filename is None else f" ({failure.filename})"


def _let_termination_clean_up() -> Any:
    """Make SIGTERM end the work as Ctrl-C does, so that half-built folders are removed."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    try:
        return signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread: whoever runs us there keeps its own handler
        return None
