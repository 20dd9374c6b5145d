"""Intervals cover the true mean as often as they say, also when neighbouring frames repeat each other."""

import pytest
import torch

from headstudio.evaluation.bootstrap import BootstrapConfig, block_length, mean_interval, verdict
from headstudio.records.evaluation import Interval


def _autoregression(correlation: float, count: int, runs: int, seed: int = 0) -> torch.Tensor:
    """Series with mean 3 and variance 1."""
    noise = torch.randn(count, runs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    series = [noise[0]]
    for step in noise[1:]:
        series.append(correlation * series[-1] + (1 - correlation**2) ** 0.5 * step)
    return torch.stack(series, dim=1) + 3


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8])
def test_the_interval_covers_the_mean_about_95_percent_of_the_time(correlation) -> None:
    config = BootstrapConfig(draws=300)
    found = [mean_interval(series, config) for series in _autoregression(correlation, 150, 300)]
    covered = sum(interval.low <= 3 <= interval.high for interval in found if interval) / len(found)
    assert 0.89 <= covered <= 0.985


def test_drawing_single_frames_would_not_cover_it(monkeypatch) -> None:
    monkeypatch.setattr("headstudio.evaluation.bootstrap.block_length", lambda _: 1)
    found = [mean_interval(series, BootstrapConfig(draws=200)) for series in _autoregression(0.8, 150, 200)]
    assert sum(interval.low <= 3 <= interval.high for interval in found if interval) / len(found) < 0.75


def test_blocks_grow_with_correlation_and_stay_within_the_series() -> None:
    lengths = [block_length(_autoregression(r, 400, 1, seed=2)[0]) for r in (0.0, 0.5, 0.9)]
    assert lengths[0] < lengths[1] < lengths[2] <= 100
    assert block_length(torch.arange(40.0)) == 10
    assert block_length(torch.ones(40)) == 1


def test_missing_scores_are_left_out() -> None:
    values = torch.tensor([1.0, torch.nan, 3.0, 2.0, torch.nan, 2.0])
    found = mean_interval(values, BootstrapConfig(draws=50))
    assert found is not None and found.n == 4 and found.value == 2.0
    assert found.low <= found.value <= found.high
    assert mean_interval(torch.full((5,), torch.nan), BootstrapConfig()) is None
    assert mean_interval(torch.tensor([4.0]), BootstrapConfig()) == Interval(4.0, 4.0, 4.0, 1)


def test_the_same_seed_gives_the_same_interval() -> None:
    series = _autoregression(0.5, 60, 1)[0]
    assert mean_interval(series, BootstrapConfig()) == mean_interval(series, BootstrapConfig())
    assert mean_interval(series, BootstrapConfig(seed=1)) != mean_interval(series, BootstrapConfig())


def test_paired_differences_find_what_separate_intervals_hide() -> None:
    shared = 5 * _autoregression(0.5, 100, 1)[0]
    own = 0.1 * _autoregression(0.0, 100, 1, seed=1)[0]
    config = BootstrapConfig()
    one, other = mean_interval(shared, config), mean_interval(shared + own, config)
    difference = mean_interval(own, config)
    assert one and other and difference
    assert one.high > other.low
    assert verdict(difference, higher_is_better=True) == "better"


@pytest.mark.parametrize(
    ("low", "high", "higher_is_better", "expected"),
    [
        (0.1, 0.3, True, "better"),
        (0.1, 0.3, False, "worse"),
        (-0.3, -0.1, True, "worse"),
        (-0.3, -0.1, False, "better"),
        (-0.1, 0.3, True, "tie"),
        (0.0, 0.0, True, "tie"),
    ],
)
def test_verdicts(low, high, higher_is_better, expected) -> None:
    assert verdict(Interval((low + high) / 2, low, high, 10), higher_is_better) == expected
