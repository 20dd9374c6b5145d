"""Chunks side by side: the same results in the same order, and failures that arrive."""

import pytest
import torch

from headstudio.tracking.crew import Crew, crew
from headstudio.tracking.solver import CHUNK

FRAMES = 2 * CHUNK + 3


def squares(frames: torch.Tensor) -> torch.Tensor:
    return frames**2


def stumble(frames: torch.Tensor) -> torch.Tensor:
    if int(frames[0]) >= CHUNK:
        raise ValueError(f"frame {int(frames[0])}")
    return frames


@pytest.mark.slow
def test_two_processes_do_what_one_does() -> None:
    told: dict[int, list[int]] = {}
    found = {}
    for processes in (1, 2):
        told[processes] = []
        with crew(FRAMES, processes) as hands:
            found[processes] = torch.cat(hands.work(squares, told[processes].append))
    assert torch.equal(found[1], torch.arange(FRAMES) ** 2)
    assert torch.equal(found[1], found[2])
    assert sum(told[1]) == sum(told[2]) == FRAMES


@pytest.mark.slow
def test_a_failure_in_another_process_reaches_the_caller() -> None:
    with pytest.raises(ValueError, match=f"frame {CHUNK}"), crew(FRAMES, 2) as hands:
        hands.work(stumble, lambda count: None)


def test_a_short_clip_needs_no_processes() -> None:
    with crew(CHUNK, 8) as hands:
        assert [len(chunk) for chunk in hands.chunks] == [CHUNK]
        assert hands.work(lambda frames: len(frames), lambda count: None) == [CHUNK], "a lambda cannot be sent away"


def test_every_frame_belongs_to_one_chunk() -> None:
    assert torch.equal(torch.cat(Crew(FRAMES).chunks), torch.arange(FRAMES))
