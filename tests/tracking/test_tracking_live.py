"""Following frame by frame: against the truth, without looking ahead, through everything a live stream does."""

import math
from dataclasses import replace
from typing import Any

import pytest
import roma
import torch
from tracking_actor import FACING, MOVED, SIZE_PX, Performance, degrees_between, noisy, perform

from headstudio.errors import HeadstudioError
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.records.track import HeadIdentity
from headstudio.tracking.config import CausalConfig, SolveConfig
from headstudio.tracking.live import CausalTracker, Followed
from headstudio.tracking.sitter import Sitter, sitter_of

FPS = 25.0
TRUSTING = CausalConfig(
    filtered=False,
    solve=SolveConfig(noise_m=0.0002, independence=1.0, sparsity=0.05, expression_prior=0.05),
)
"""For detectors without noise: the priors step back."""


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head("makehuman")


def clock(frames: int, fps: float = FPS) -> torch.Tensor:
    return torch.arange(frames, dtype=torch.float64) / fps


def tracker(head: HeadModel, truth: Performance, config: CausalConfig | None = None) -> CausalTracker:
    sitter = Sitter(HeadIdentity("makehuman", truth.identity), truth.K_px, SIZE_PX, 0.001)
    return CausalTracker(sitter, config, head)


def held(tracker: Any) -> int:
    """Numbers that a tracker refers to, its head and person left aside."""
    parts = [value for name, value in vars(tracker).items() if name not in ("head", "sitter", "_model", "_prior")]
    return sum(_numbers(part) for part in parts)


def _numbers(part: Any) -> int:
    if isinstance(part, torch.Tensor):
        return part.untyped_storage().nbytes() // part.element_size()
    if isinstance(part, dict | tuple | list):
        return sum(_numbers(p) for p in (part.values() if isinstance(part, dict) else part))
    return sum(_numbers(value) for value in vars(part).values()) if hasattr(part, "__dict__") else 0


def test_exact_landmarks_give_back_the_truth(head: HeadModel) -> None:
    truth = perform(head, frames=20)
    found = tracker(head, truth, TRUSTING).follow(truth.landmarks_px, clock(20))
    assert float(degrees_between(found.T_world_head[:, :3, :3], truth.states.rotation).max()) < 0.5
    assert float((found.T_world_head[:, :3, 3] - truth.states.translation_m).norm(dim=1).max()) < 0.004
    columns = [head.data.expression_names.index(name) for name in MOVED]
    assert float((found.expression - truth.states.expression)[:, columns].abs().mean()) < 0.02
    assert float(torch.rad2deg((found.gaze_rad[..., :2] - truth.states.gaze_rad).abs().mean())) < 1.0


def test_what_comes_later_changes_nothing(head: HeadModel) -> None:
    truth = noisy(perform(head, frames=10), 0.5)
    changed = truth.landmarks_px.clone()
    changed[6:] = noisy(perform(head, frames=10, seed=5), 0.5).landmarks_px[6:]
    one = tracker(head, truth).follow(truth.landmarks_px, clock(10))
    other = tracker(head, truth).follow(changed, clock(10))
    assert torch.equal(one.expression[:6], other.expression[:6])
    assert torch.equal(one.T_world_head[:6], other.T_world_head[:6])
    assert not torch.equal(one.T_world_head[6:], other.T_world_head[6:])


def test_a_few_steps_from_the_last_frame_are_as_good_as_a_whole_solve(head: HeadModel) -> None:
    truth = noisy(perform(head, frames=9), 0.5)
    unfiltered = CausalConfig(filtered=False)
    warm = tracker(head, truth, unfiltered).follow(truth.landmarks_px, clock(9))
    alone = [
        tracker(head, truth, unfiltered).follow(truth.landmarks_px[[i]], clock(1)).T_world_head for i in range(0, 9, 4)
    ]
    apart = degrees_between(warm.T_world_head[::4, :3, :3], torch.cat(alone)[:, :3, :3])
    assert float(apart.max()) < 0.2


@pytest.mark.slow
def test_a_still_head_trembles_half_as_much(head: HeadModel) -> None:
    truth = perform(head)
    truth = replace(truth, landmarks_px=truth.landmarks_px[30].expand(24, -1, -1))
    shaken = noisy(truth, 0.7).landmarks_px

    def jitter(filtered: bool) -> torch.Tensor:
        found = tracker(head, truth, CausalConfig(filtered=filtered)).follow(shaken, clock(24))
        local = roma.rotmat_to_rotvec(FACING.T @ found.T_world_head[:, :3, :3])
        moving = torch.cat([local, found.T_world_head[:, :3, 3], found.expression], dim=1)[6:]
        return moving.diff(n=2, dim=0).pow(2).mean(0).sqrt()

    before, after = jitter(False), jitter(True)
    left = after / before
    assert float(left[:6].max()) < 0.55
    assert float(left[6:][before[6:] > 2e-3].median()) < 0.7


def test_frame_rates_agree(head: HeadModel) -> None:
    truth = perform(head, frames=81)
    shown = truth.landmarks_px[20:41]
    fast = tracker(head, truth).follow(shown, clock(21, 50.0))
    slow = tracker(head, truth).follow(shown[::2], clock(11, 25.0))
    apart = degrees_between(fast.T_world_head[::2, :3, :3], slow.T_world_head[:, :3, :3])
    assert float(apart.max()) < 1.5  # the head turns by as much as 4 degrees a frame
    assert float((fast.expression[::2] - slow.expression).abs().mean()) < 0.01


def test_the_record_is_that_of_the_offline_tracker(head: HeadModel) -> None:
    truth = perform(head, frames=3)
    following = tracker(head, truth)
    found = following.follow(truth.landmarks_px, clock(3))
    again = CausalTracker(sitter_of(found), head=head).follow(truth.landmarks_px, clock(3))
    assert torch.equal(again.expression, found.expression)
    assert found.motion().channels.keys() == again.motion().channels.keys()
    one = following.record([following.step(truth.landmarks_px[0], 1.0)], [1.0])
    assert one.frames == 1 and one.view(torch.tensor([0])).camera.K_px.shape == (1, 3, 3)


def test_a_lost_face_is_held_and_found_again(head: HeadModel) -> None:
    truth = perform(head, frames=30)
    following = tracker(head, truth)
    before = [following.step(p, t) for p, t in zip(truth.landmarks_px[:10], clock(10).tolist(), strict=True)][-1]
    lost = [following.step(None, 0.40), following.step(torch.full((478, 3), math.nan), 0.44)]
    lost.append(following.step(torch.where(torch.arange(478) == 7, math.inf, truth.landmarks_px[11].T).T, 0.48))
    for frame in lost:
        assert not frame.seen and not frame.usable and frame.confidence == 0.0
        assert torch.equal(frame.state.rotation, before.state.rotation)
    found = following.step(truth.landmarks_px[13], 0.52)
    assert found.seen and found.usable


def test_after_a_long_gap_it_begins_anew(head: HeadModel) -> None:
    truth = perform(head, frames=30)
    following = tracker(head, truth)
    for frame in range(5):
        following.step(truth.landmarks_px[frame], frame / FPS)
    following.step(None, 1.0)
    late = following.step(truth.landmarks_px[25], 20.0)
    fresh = tracker(head, truth).step(truth.landmarks_px[25], 0.0)
    torch.testing.assert_close(late.state.rotation, fresh.state.rotation)
    torch.testing.assert_close(late.state.expression, fresh.state.expression)


def test_a_repeated_or_late_frame_repeats_the_answer(head: HeadModel) -> None:
    truth = perform(head, frames=6)
    following, reference = tracker(head, truth), tracker(head, truth)
    for frame in range(3):
        last = following.step(truth.landmarks_px[frame], frame / FPS)
        reference.step(truth.landmarks_px[frame], frame / FPS)
    assert following.step(truth.landmarks_px[5], 2 / FPS) is last
    assert following.step(truth.landmarks_px[5], 1 / FPS) is last
    after, expected = (t.step(truth.landmarks_px[3], 3 / FPS) for t in (following, reference))
    assert torch.equal(after.state.rotation, expected.state.rotation)


def test_a_clock_that_begins_again_is_followed(head: HeadModel) -> None:
    truth = perform(head, frames=6)
    following = tracker(head, truth)
    for frame in range(3):
        following.step(truth.landmarks_px[frame], 100 + frame / FPS)
    again = following.step(truth.landmarks_px[3], 0.0)
    fresh = tracker(head, truth).step(truth.landmarks_px[3], 0.0)
    assert torch.equal(again.state.rotation, fresh.state.rotation)


def test_a_head_that_jumps_is_found_in_the_same_frame(head: HeadModel) -> None:
    truth = perform(head, frames=4)
    turned = truth.landmarks_px.clone()
    turned[2:, :, :2] = (turned[2:, :, :2] - SIZE_PX / 2) @ torch.tensor([[0.0, 1.0], [-1.0, 0.0]]) + SIZE_PX / 2
    following = tracker(head, truth)
    states = [following.step(p, t) for p, t in zip(turned, clock(4).tolist(), strict=True)]
    alone = tracker(head, truth).step(turned[2], 0.0)
    assert float(degrees_between(states[2].state.rotation, alone.state.rotation)) < 1.0


def test_nothing_grows(head: HeadModel) -> None:
    truth = noisy(perform(head, frames=24), 0.5)
    following = tracker(head, truth)
    sizes = []
    for frame, points in enumerate(truth.landmarks_px):
        following.step(points if frame % 7 else None, frame / FPS)
        sizes.append(held(following))
    assert max(sizes[12:]) <= max(sizes[:6])


@pytest.mark.parametrize("time_s", [math.nan, math.inf, -math.inf])
def test_a_time_that_is_no_number_is_refused(head: HeadModel, time_s: float) -> None:
    with pytest.raises(HeadstudioError, match="must be a number"):
        tracker(head, perform(head, frames=1)).step(None, time_s)


@pytest.mark.parametrize("shape", [(468, 3), (478, 2), (1, 478, 3), (0, 3)])
def test_landmarks_of_another_shape_are_refused(head: HeadModel, shape: tuple[int, ...]) -> None:
    # Past the shape checks of the tests, as a caller would come.
    step = getattr(CausalTracker.step, "__wrapped__", CausalTracker.step)
    with pytest.raises(HeadstudioError, match="landmarks of shape"):
        step(tracker(head, perform(head, frames=1)), torch.zeros(shape), 0.0)


def test_before_the_first_face_the_head_faces_the_camera(head: HeadModel) -> None:
    first = tracker(head, perform(head, frames=1)).step(None, 0.0)
    assert isinstance(first, Followed) and not first.seen
    assert float(first.state.rotation[0, 2, 2]) == -1.0 and float(first.state.translation_m[0, 2]) > 0
