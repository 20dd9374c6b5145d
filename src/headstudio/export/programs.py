"""Programs that are called, never imported: what an encoder or Blender says when it fails."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from headstudio.errors import HeadstudioError

_LONGEST_S = 1800


@dataclass(frozen=True)
class Program:
    """How its failures are told."""

    name: str
    """As a sentence begins with it."""
    failure: str
    """What it did not do."""
    next_step: str
    """What helps."""


def run_program(command: list[str], program: Program, work: Path | None = None) -> None:
    """Run a command to its end.

    Args:
        command: program and arguments.
        program: how failures are told.
        work: the folder it runs in; where this process is when not given.

    Raises:
        HeadstudioError: it did not start, took more than half an hour, or failed; with the last line that it said.
    """
    try:
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, errors="replace", timeout=_LONGEST_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HeadstudioError(
            f"{program.name} did not run: {error}", where=command[0], next_step="try another one"
        ) from None
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        last = said[-1].strip().rstrip(".") if said else "it said nothing"
        raise HeadstudioError(f"{program.failure}: {last}", where=command[0], next_step=program.next_step)
