"""The seam between training frames and the rest: nothing leaks, nothing jumps."""

import pytest
import roma
import torch
from tracking_actor import FACING

from headstudio.records.capture import Split
from headstudio.tracking.config import SmoothingConfig
from headstudio.tracking.points import FrameState, join
from headstudio.tracking.seam import looking_back
from headstudio.tracking.smoothing import smooth, smooth_rotations

FRAMES, SPLIT = 200, Split(140, 153)
TIMES_S = torch.arange(FRAMES, dtype=torch.float64) / 25


def trembling(seed: int = 0) -> FrameState:
    draw = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(FRAMES, *shape, generator=draw, dtype=torch.float64)

    slow = torch.stack([0.1 * torch.sin(TIMES_S), 0.4 * torch.sin(0.7 * TIMES_S), 0 * TIMES_S], dim=1)
    return FrameState(
        FACING.double() @ roma.rotvec_to_rotmat(slow + 0.007 * noise(3)),
        0.05 * slow + torch.tensor([0.0, 0.0, 0.6]) + 0.002 * noise(3),
        (0.3 + 0.2 * torch.sin(TIMES_S)[:, None] + 0.01 * noise(4)).clamp(0, 1),
        (0.3 * slow[:, None, :2]).expand(-1, 2, -1) + 0.003 * noise(2, 2),
        0.1 + 0.002 * noise(3),
    )


def smoothed(states: FrameState, part: slice) -> FrameState:
    config, times = SmoothingConfig(), TIMES_S[part]
    trust = torch.ones(len(times))
    return states._replace(
        rotation=smooth_rotations(states.rotation, trust, times, *config.rotation),
        translation_m=smooth(states.translation_m, trust, times, *config.translation, together=True),
        expression=smooth(states.expression, trust, times, *config.expression),
    )


def flat(states: FrameState) -> torch.Tensor:
    """Everything that moves, each part in the size of its own trembling."""
    local = roma.rotmat_to_rotvec(FACING.double().T @ states.rotation)
    return torch.cat([local / 0.007, states.translation_m / 0.002, states.expression / 0.01], dim=1)


def jolt(states: FrameState, frame: int) -> float:
    """Largest second difference around a frame."""
    return float(flat(states).diff(n=2, dim=0)[frame - 3 : frame + 1].norm(dim=1).max())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_seam_is_no_rougher_than_the_rest(seed: int) -> None:
    states = trembling(seed)
    found = looking_back(states, SPLIT, smoothed)
    apart = join([smoothed(states.at(part), part) for part in (slice(0, 140), slice(140, FRAMES))])
    usual = float(flat(found).diff(n=2, dim=0).norm(dim=1).quantile(0.99))
    assert jolt(found, SPLIT.train_end) < 2.5 * usual < jolt(apart, SPLIT.train_end)


def test_training_frames_do_not_know_what_comes_later() -> None:
    states, other = trembling(0), trembling(9)
    changed = join([states.at(slice(0, 140)), other.at(slice(140, FRAMES))])
    one, two = (looking_back(s, SPLIT, smoothed).at(slice(0, 140)) for s in (states, changed))
    alone = smoothed(states.at(slice(0, 140)), slice(0, 140))
    for a, b, c in zip(one, two, alone, strict=True):
        assert torch.equal(a, b) and torch.equal(a, c)


def test_held_out_frames_are_what_the_work_on_everything_gives() -> None:
    states = trembling()
    found, whole = looking_back(states, SPLIT, smoothed), smoothed(states, slice(0, FRAMES))
    held_out = slice(SPLIT.held_out_start, FRAMES)
    for a, b in zip(found.at(held_out), whole.at(held_out), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


def test_work_is_told_which_frames_it_gets() -> None:
    heard = []

    def listen(states: FrameState, part: slice) -> FrameState:
        heard.append((part.start, part.stop, len(states.rotation)))
        return states

    looking_back(trembling(), SPLIT, listen)
    assert heard == [(0, 140, 140), (0, 200, 200)]


@pytest.mark.parametrize(
    "split", [Split(140, 140), Split(140, FRAMES), Split(199, 199), Split(FRAMES, FRAMES), Split(1, 2)]
)
def test_all_frames_stay_whatever_the_split(split: Split) -> None:
    states = trembling()
    found = looking_back(states, split, lambda s, part: s)
    for a, b in zip(found, states, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


def test_coefficients_stay_in_their_range() -> None:
    states = trembling()
    low = states._replace(expression=torch.zeros_like(states.expression))

    def differs(part_states: FrameState, part: slice) -> FrameState:
        ends = part.stop == SPLIT.train_end
        return part_states._replace(expression=part_states.expression + (0.0 if ends else 1.0))

    found = looking_back(low, SPLIT, differs).expression
    assert float(found.min()) >= 0.0 and float(found.max()) <= 1.0
    assert float(found[SPLIT.train_end - 1 : SPLIT.held_out_start].diff(dim=0).abs().max()) < 0.2
