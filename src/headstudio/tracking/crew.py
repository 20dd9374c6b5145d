"""Chunks of frames, one after the other or side by side in processes of one machine (paper 1, section 3.2).

Once identity and lens are fixed, no frame needs another one: every chunk starts from the same global camera and its
own closed-form poses, and what runs over time (smoothing) runs over the whole clip afterwards. Chunks therefore leave
no seams, and the result does not depend on how many hands there are.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from headstudio.tracking.solver import CHUNK

Result = TypeVar("Result")


class Crew:
    """Works through the chunks of a clip."""

    def __init__(self, frames: int, pool: Executor | None = None) -> None:
        self.chunks: tuple[Int[Tensor, " chunk"], ...] = torch.arange(frames).split(CHUNK)
        self._pool = pool

    def work(self, task: Callable[[Tensor], Result], advance: Callable[[int], None]) -> list[Result]:
        """The task's results in the order of the chunks.

        Args:
            task: takes indices of frames; picklable, with everything it needs, where there are processes.
            advance: told the number of frames done.
        """
        results = map(task, self.chunks) if self._pool is None else self._pool.map(task, self.chunks)
        finished = []
        for chunk, result in zip(self.chunks, results, strict=True):
            finished.append(result)
            advance(len(chunk))
        return finished


@contextmanager
def crew(frames: int, processes: int) -> Iterator[Crew]:
    """A crew for so many frames; with one process, the work is done here."""
    if processes <= 1 or frames <= CHUNK:
        yield Crew(frames)
        return
    # A forked process would inherit the threads of torch and Warp without their owners.
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=_one_thread) as pool:
        yield Crew(frames, pool)


def _one_thread() -> None:
    torch.set_num_threads(1)
