"""Smoothing: what it takes away, and what it must leave."""

import math

import pytest
import roma
import torch

from headstudio.tracking.config import SmoothingConfig
from headstudio.tracking.smoothing import fill, fill_rotations, smooth, smooth_rotations

FPS = 50.0


def clock(frames: int, fps: float = FPS) -> torch.Tensor:
    return torch.arange(frames, dtype=torch.float64) / fps


@pytest.mark.parametrize("cut_off_hz", [3.0, 6.0])
def test_small_oscillation_at_the_cut_off_is_halved(cut_off_hz: float) -> None:
    times = clock(501)
    wave = torch.sin(2 * math.pi * cut_off_hz * times)[:, None]
    result = smooth(wave, torch.ones(501), times, cut_off_hz, jump=1e3)
    middle = slice(100, 400)
    assert float((result * wave)[middle].sum() / (wave**2)[middle].sum()) == pytest.approx(0.5, abs=0.01)


def test_straight_lines_pass_also_at_uneven_times() -> None:
    steps = 0.02 + 0.03 * torch.rand(60, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    times = steps.cumsum(0)
    line = torch.stack([2 * times - 1, -times], dim=1)
    torch.testing.assert_close(smooth(line, torch.ones(60), times, 2.0, 1.0), line, atol=1e-8, rtol=0)


def test_no_lag() -> None:
    draw = torch.Generator().manual_seed(1)
    values = torch.randn(80, 2, generator=draw, dtype=torch.float64).cumsum(0)
    forward = smooth(values, torch.ones(80), clock(80), 4.0, 0.5)
    backward = smooth(values.flip(0), torch.ones(80), clock(80), 4.0, 0.5).flip(0)
    torch.testing.assert_close(forward, backward, atol=1e-8, rtol=0)


@pytest.mark.parametrize("fps", [25.0, 30.0, 60.0])
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.6])
def test_a_blink_keeps_its_height_and_trembling_does_not(fps: float, phase: float) -> None:
    config = SmoothingConfig()
    times = clock(120, fps)
    since = (times - 1.0 - phase / fps) / 0.150
    blink = torch.where(since.abs() < 0.5, torch.cos(math.pi * since) ** 2, 0.0).clamp_min(0)
    tremble = 0.01 * torch.randn(120, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    result = smooth((blink + tremble)[:, None], torch.ones(120), times, *config.expression)[:, 0]
    assert float(result.max()) >= 0.95 * float((blink + tremble).max())
    quiet = since.abs() > 1.5
    assert float(result[quiet].diff().std()) < 0.7 * float(tremble[quiet].diff().std())


def test_frames_without_weight_are_bridged() -> None:
    times = clock(60)
    values = torch.sin(times)[:, None].clone()
    weight = torch.ones(60)
    weight[20:25] = 0
    spoiled = values.clone()
    spoiled[20:25] = values[20:25] + 0.01
    result = smooth(spoiled, weight, times, 3.0, jump=0.5)
    assert float((result - values)[20:25].abs().max()) < 0.002


@pytest.mark.parametrize("frames", [1, 2])
def test_clips_too_short_to_smooth_stay_as_they_are(frames: int) -> None:
    values = torch.randn(frames, 3)
    assert torch.equal(smooth(values, torch.ones(frames), clock(frames), 3.0, 0.1), values)
    rotations = roma.rotvec_to_rotmat(torch.randn(frames, 3))
    torch.testing.assert_close(smooth_rotations(rotations, torch.ones(frames), clock(frames), 3.0, 0.1), rotations)


def test_rotations_tremble_less_and_stay_rotations() -> None:
    draw = torch.Generator().manual_seed(3)
    times = clock(150)
    slow = torch.stack([math.pi + 0.1 * torch.sin(times), 0.5 * torch.sin(times), 0 * times], dim=1)
    truth = roma.rotvec_to_rotmat(slow)
    observed = roma.rotvec_to_rotmat(0.005 * torch.randn(150, 3, generator=draw, dtype=torch.float64)) @ truth
    result = smooth_rotations(observed, torch.ones(150), times, *SmoothingConfig().rotation)
    before, after = (roma.rotmat_geodesic_distance(x, truth) for x in (observed, result))
    assert float(after.mean()) < 0.6 * float(before.mean())
    torch.testing.assert_close(result @ result.transpose(1, 2), torch.eye(3).double().expand(150, 3, 3))


def test_gaps_are_filled_and_ends_are_held() -> None:
    times = clock(7)
    values = torch.tensor([9.0, 1.0, 9.0, 9.0, 4.0, 5.0, 9.0])[:, None]
    known = torch.tensor([False, True, False, False, True, True, False])
    assert fill(values, known, times)[:, 0].tolist() == pytest.approx([1, 1, 2, 3, 4, 5, 5])
    angles = torch.tensor([0.0, 0.2, 0.0, 0.0, 0.8, 0.9, 0.0])[:, None] * torch.tensor([[0.0, 1.0, 0.0]])
    filled = roma.rotmat_to_rotvec(fill_rotations(roma.rotvec_to_rotmat(angles), known, times))
    torch.testing.assert_close(filled[:, 1], torch.tensor([0.2, 0.2, 0.4, 0.6, 0.8, 0.9, 0.9]), atol=1e-5, rtol=0)
