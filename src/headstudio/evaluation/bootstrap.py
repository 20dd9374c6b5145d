"""Intervals of means over time by block bootstrap: neighbouring frames repeat each other and must be drawn together."""

from dataclasses import dataclass
from statistics import NormalDist

import torch
from jaxtyping import Float, Int
from torch import Tensor

from headstudio.records.evaluation import Interval


@dataclass(frozen=True)
class BootstrapConfig:
    """How intervals are drawn."""

    draws: int = 1000
    """Number of resampled series."""
    level: float = 0.95
    """Coverage of the interval (docs/protocol.md)."""
    seed: int = 0


def mean_interval(values: Float[Tensor, " frames"], config: BootstrapConfig) -> Interval | None:
    """Mean of the finite values and its interval; None where there is none.

    Circular block bootstrap with the block length of `block_length`. Percentiles alone are too narrow for few blocks,
    so their distance from the mean is stretched as Student's t stretches the normal for that many blocks.
    """
    series = values[values.isfinite()].double()
    if not len(series):
        return None
    mean = float(series.mean())
    if len(series) == 1:
        return Interval(mean, mean, mean, 1)
    block = block_length(series)
    means = series[_indices(len(series), block, config)].mean(1)
    tail = (1 - config.level) / 2
    low, high = torch.quantile(means, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    stretch = _small_sample_factor(len(series) / block, config.level)
    return Interval(mean, mean + stretch * (low - mean), mean + stretch * (high - mean), len(series))


def block_length(series: Float[Tensor, " frames"]) -> int:
    """Length of blocks for the mean of a series, from its correlation from frame to frame.

    The optimum for a first-order autoregression: (6 r^2 / (1 - r^2)^2)^(1/3) n^(1/3), Politis and White 2004,
    section 3 with the constants of their circular bootstrap; at most a quarter of the series.
    """
    count = len(series)
    deviation = series - series.mean()
    power = float((deviation**2).sum())
    if count < 4 or power == 0:
        return 1
    correlation = float((deviation[1:] * deviation[:-1]).sum()) / power
    # The sample correlation is too small by about (1 + 4 r) / n (Marriott and Pope 1954).
    correlation = min(max(correlation + (1 + 4 * correlation) / count, 0.0), 0.97)
    length = (6 * correlation**2 / (1 - correlation**2) ** 2 * count) ** (1 / 3)
    return max(1, min(round(length), count // 4))


def verdict(difference: Interval, higher_is_better: bool) -> str:
    """better, worse, or tie where the interval of the difference holds 0."""
    if difference.low <= 0 <= difference.high:
        return "tie"
    return "better" if (difference.value > 0) == higher_is_better else "worse"


def _indices(count: int, block: int, config: BootstrapConfig) -> Int[Tensor, "draws count"]:
    generator = torch.Generator().manual_seed(config.seed)
    blocks = -(-count // block)
    starts = torch.randint(count, (config.draws, blocks, 1), generator=generator)
    return ((starts + torch.arange(block)) % count).flatten(1)[:, :count]


def _small_sample_factor(blocks: float, level: float) -> float:
    from scipy import stats  # half a second to import

    freedom = max(blocks - 1, 1.0)
    quantile = 0.5 + level / 2
    spread = (blocks / freedom) ** 0.5  # the resampled variance divides by n, not by n - 1
    return float(stats.t.ppf(quantile, freedom)) / NormalDist().inv_cdf(quantile) * spread
