"""Resampling by finite impulse responses: scipy's `upfirdn` as the twin, pixel centres in place, no aliasing."""

import numpy as np
import pytest
import torch
from scipy.signal import upfirdn

from headstudio.nn.resampling import downsample, fir_kernel, fir_resample, upsample


def _maps(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def _by_scipy(maps, taps, up, down, padding) -> np.ndarray:
    """The same axis by axis: zeros put in, zeros around, full convolution cut to what lies wholly inside."""
    line = np.array(taps) / np.sum(taps)
    for axis in (2, 3):
        spread = upfirdn([1.0], maps, up=up, axis=axis)
        missing = maps.shape[axis] * up - spread.shape[axis]
        widths = [(0, 0)] * 4
        widths[axis] = (padding[0], padding[1] + missing)
        around = np.pad(spread, widths)
        full = upfirdn(line, around, axis=axis)
        kept = slice(len(line) - 1, full.shape[axis] - len(line) + 1)
        maps = up * full[(slice(None),) * axis + (kept,)]
        maps = maps[(slice(None),) * axis + (slice(None, None, down),)]
    return maps


@pytest.mark.parametrize("taps", [(1.0, 3.0, 3.0, 1.0), (1.0, 2.0, 4.0), (0.3, 0.7)])
@pytest.mark.parametrize(("up", "down", "padding"), [(1, 1, (0, 0)), (2, 1, (2, 1)), (1, 2, (1, 1)), (3, 2, (0, 4))])
def test_it_is_scipys(taps, up, down, padding) -> None:
    maps = _maps(2, 3, 7, 8)
    found = fir_resample(maps, fir_kernel(taps).double(), up, down, padding)
    wanted = _by_scipy(maps.numpy(), taps, up, down, padding)
    assert found.shape == wanted.shape
    assert np.abs(found.numpy() - wanted).max() < 1e-6  # the taps come in float32


def test_upsampling_is_the_filter_of_the_paper_inside_the_border() -> None:
    maps = _maps(1, 2, 6, 5)
    filtered = fir_resample(maps, fir_kernel().double(), up=2, padding=(2, 1))
    assert torch.allclose(upsample(maps)[..., 1:-1, 1:-1], filtered[..., 1:-1, 1:-1], atol=1e-6)


def test_constants_stay_up_to_the_border() -> None:
    maps = torch.full((1, 1, 4, 6), 0.7)
    for other in (upsample(maps), downsample(maps, fir_kernel())):
        assert torch.allclose(other, torch.full_like(other, 0.7), atol=1e-6)


def test_pixel_centres_stay_in_place() -> None:
    centres = (torch.arange(16, dtype=torch.float64) + 0.5).expand(1, 1, 16, 16)
    finer, coarser = upsample(centres), downsample(centres, fir_kernel().double())
    assert torch.allclose(finer[0, 0, 3, 1:-1], (torch.arange(32) + 0.5)[1:-1].double() / 2)
    assert torch.allclose(coarser[0, 0, 3, 1:-1], (torch.arange(8) + 0.5)[1:-1].double() * 2)


@pytest.mark.parametrize("pattern", ["rows", "columns", "chequers"])
def test_the_finest_pattern_does_not_alias(pattern) -> None:
    sign = 1.0 - 2.0 * (torch.arange(16) % 2)
    maps = {"rows": sign[:, None].expand(16, 16), "columns": sign.expand(16, 16), "chequers": sign[:, None] * sign}
    coarser = downsample(maps[pattern][None, None], fir_kernel())
    assert coarser[..., 1:-1, 1:-1].abs().max() < 1e-6


def test_upsampling_is_four_times_the_transpose_of_downsampling_inside_the_border() -> None:
    fine = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    fine[..., 4:12, 4:12] = _maps(1, 1, 8, 8)
    coarse = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    coarse[..., 2:6, 2:6] = _maps(1, 1, 4, 4)
    down, up = (downsample(fine, fir_kernel().double()) * coarse).sum(), (fine * upsample(coarse)).sum()
    assert abs(float(4 * down - up)) < 1e-6


def test_gradients_are_those_of_finite_differences_twice() -> None:
    maps, kernel = _maps(1, 2, 4, 4).requires_grad_(), fir_kernel().double()
    assert torch.autograd.gradcheck(lambda m: fir_resample(m, kernel, 2, 1, (2, 1)), maps)
    assert torch.autograd.gradgradcheck(lambda m: downsample(m, kernel).square(), maps)
