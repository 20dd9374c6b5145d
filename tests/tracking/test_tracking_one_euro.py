"""The causal filter: what it takes away, what it must leave, and that the frame rate does not matter."""

import math

import pytest
import roma
import torch

from headstudio.tracking.config import CausalConfig
from headstudio.tracking.one_euro import OneEuro, OneEuroRotation


def run(filter_: OneEuro, values: torch.Tensor, step_s: float) -> torch.Tensor:
    return torch.stack([filter_(value, step_s) for value in values])


def clock(seconds: float, fps: float) -> torch.Tensor:
    return torch.arange(round(seconds * fps) + 1, dtype=torch.float64) / fps


def test_it_is_the_papers_recursion_with_the_exact_gain() -> None:
    draw = torch.Generator().manual_seed(0)
    values = torch.randn(30, generator=draw, dtype=torch.float64).tolist()
    cut_off, slope, speed_cut_off, step = 1.2, 0.7, 2.0, 0.03
    found = run(OneEuro(cut_off, slope, speed_cut_off), torch.tensor(values, dtype=torch.float64)[:, None], step)
    x, dx, expected = values[0], 0.0, [values[0]]
    for value in values[1:]:
        dx += (1 - math.exp(-2 * math.pi * speed_cut_off * step)) * ((value - x) / step - dx)
        x += (1 - math.exp(-2 * math.pi * (cut_off + slope * abs(dx)) * step)) * (value - x)
        expected.append(x)
    torch.testing.assert_close(found[:, 0], torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("fps", [12.5, 25.0, 50.0, 100.0])
def test_a_step_is_answered_alike_at_all_rates(fps: float) -> None:
    values = (clock(1.0, fps) > 0).double()[:, None]
    found = run(OneEuro(0.8, 0.0, 1.0), values, 1 / fps)
    expected = 1 - torch.exp(-2 * math.pi * 0.8 * clock(1.0, fps))
    torch.testing.assert_close(found[:, 0], expected)


def test_the_rate_hardly_matters_to_a_movement() -> None:
    results = []
    for fps in (25.0, 50.0):
        times = clock(4.0, fps)
        results.append(run(OneEuro(0.7, 6.0, 5.0), 0.4 * torch.sin(3 * times)[:, None], 1 / fps)[:: round(fps / 25)])
    assert float((results[0] - results[1]).abs().max()) < 0.02


def test_channels_keep_to_themselves_unless_they_are_one_vector() -> None:
    still_and_fast = torch.stack([torch.zeros(20), torch.linspace(0, 5, 20)], dim=1)
    still_and_fast[10, 0] = 0.01
    alone = run(OneEuro(1.0, 5.0, 1.0), still_and_fast, 0.04)
    together = run(OneEuro(1.0, 5.0, 1.0, together=True), still_and_fast, 0.04)
    single = run(OneEuro(1.0, 5.0, 1.0), still_and_fast[:, :1], 0.04)
    torch.testing.assert_close(alone[:, :1], single)
    assert float(together[10, 0]) > 2 * float(alone[10, 0])


def test_a_turn_about_one_axis_is_filtered_as_its_angle() -> None:
    angles = 0.5 * torch.sin(clock(2.0, 25.0)) + 0.02 * torch.randn(51, generator=torch.Generator().manual_seed(1))
    axis = torch.nn.functional.normalize(torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64), dim=0)
    base = roma.rotvec_to_rotmat(torch.tensor([3.0, 0.2, 0.1], dtype=torch.float64))
    turned = roma.rotvec_to_rotmat(angles[:, None].double() * axis) @ base
    found = run(OneEuroRotation(1.0, 5.0, 5.0), turned, 0.04)
    expected = run(OneEuro(1.0, 5.0, 5.0), angles[:, None].double(), 0.04)
    torch.testing.assert_close(roma.rotmat_to_rotvec(found @ base.T), expected * axis, atol=1e-6, rtol=0)


def test_after_a_reset_nothing_is_remembered() -> None:
    values = torch.randn(10, 3, generator=torch.Generator().manual_seed(2))
    filter_ = OneEuro(1.0, 1.0, 1.0)
    first = run(filter_, values, 0.04)
    filter_.reset()
    torch.testing.assert_close(run(filter_, values, 0.04), first)
    assert torch.equal(first[0], values[0])


@pytest.mark.parametrize("fps", [25.0, 30.0, 60.0])
@pytest.mark.parametrize("phase", [0.0, 0.3, 0.6])
def test_a_blink_passes_and_trembling_does_not(fps: float, phase: float) -> None:
    config = CausalConfig()
    times = clock(4.0, fps)
    since = (times - 2.0 - phase / fps) / 0.2
    blink = torch.where(since.abs() < 0.5, torch.cos(math.pi * since) ** 2, 0.0)
    tremble = 0.01 * torch.randn(len(times), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = run(OneEuro(*config.expression, config.speed_hz), (blink + tremble)[:, None], 1 / fps)[:, 0]
    assert float(found.max()) >= 0.95 * float(blink.max())
    quiet = (since < -0.6) & (times > 0.5)
    assert float(found[quiet].diff().std()) < 0.6 * float(tremble[quiet].diff().std())


def test_a_still_head_trembles_less_and_a_turning_one_does_not_lag() -> None:
    config, times = CausalConfig(), clock(4.0, 30.0)
    angle = 0.6 / (1 + torch.exp(-(times - 2.5) / 0.08))
    tremble = 0.007 * torch.randn(len(times), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    axis = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    found = run(
        OneEuroRotation(*config.rotation, config.speed_hz),
        roma.rotvec_to_rotmat((angle + tremble)[:, None] * axis),
        1 / 30,
    )
    heard = roma.rotmat_to_rotvec(found)[:, 1]
    still = (times > 0.5) & (times < 1.8)
    assert float(heard[still].diff().std()) < 0.6 * float((angle + tremble)[still].diff().std())
    speed = angle.diff(append=angle[-1:]) * 30
    lag_s = -float(((heard - angle) * speed).sum() / (speed**2).sum())
    assert lag_s < 0.015
