"""Modulated convolution: both forms against the formula written out, sizes, places, noise, gradients."""

import pytest
import torch
from torch.nn import functional as F

from headstudio.nn.modulation import ModulatedConv, PictureSkip, StyledConv
from headstudio.nn.resampling import fir_kernel, fir_resample
from headstudio.nn.wavelets import analyse, synthesise

CASES = [(1, 3, False, True), (3, 3, False, True), (1, 3, True, True), (3, 3, True, True), (2, 1, False, False)]


def _case(batch: int, size: int, up: bool, demodulate: bool, dtype: torch.dtype = torch.float64):
    torch.manual_seed(0)
    layer = ModulatedConv(5, 4, 6, size, up, demodulate).to(dtype)
    return layer, torch.randn(batch, 5, 6, 8, dtype=dtype), torch.randn(batch, 6, dtype=dtype)


def _written_out(layer: ModulatedConv, maps: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    """Each sample with its own weights, by the formula; going up as zeros between pixels, convolution, blur."""
    results = []
    for sample, scale in zip(maps, layer.style(style), strict=True):
        weight = layer.weight / (layer.weight[0].numel()) ** 0.5 * scale[None, :, None, None]
        if layer.demodulate:
            for out in range(len(weight)):
                weight = weight.clone()
                weight[out] = weight[out] / (weight[out].square().sum() + 1e-8).sqrt()
        if not layer.up:
            results.append(F.conv2d(sample[None], weight, padding=layer.size // 2))
            continue
        rows, columns = sample.shape[1:]
        spread = torch.zeros(1, len(sample), 2 * rows - 1, 2 * columns - 1, dtype=sample.dtype)
        spread[0, :, ::2, ::2] = sample
        grown = F.conv2d(spread, weight.flip(2, 3), padding=layer.size - 1)
        results.append(fir_resample(grown, 4 * fir_kernel().to(sample), padding=(1, 1)))
    return torch.cat(results)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("form", ["weights", "maps", None])
def test_both_forms_are_the_formula(case, form) -> None:
    layer, maps, style = _case(*case)
    wanted = _written_out(layer, maps, style)
    assert torch.allclose(layer(maps, style, form), wanted, atol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_both_forms_agree_in_single_precision(case) -> None:
    layer, maps, style = _case(*case, dtype=torch.float32)
    assert (layer(maps, style, "weights") - layer(maps, style, "maps")).abs().max() < 1e-5


def test_demodulation_takes_the_size_of_the_style_away() -> None:
    layer, maps, style = _case(2, 3, False, True)
    with torch.no_grad():
        layer.style.bias.zero_()
    assert torch.allclose(layer(maps, style), layer(maps, 40.0 * style), atol=1e-6)
    layer.demodulate = False
    assert torch.allclose(40.0 * layer(maps, style), layer(maps, 40.0 * style), atol=1e-6)


def test_demodulated_maps_of_white_noise_have_variance_one() -> None:
    torch.manual_seed(0)
    layer, maps = ModulatedConv(32, 32, 8), torch.randn(2, 32, 48, 48)
    deviation = layer(maps, 5 * torch.randn(2, 8))[..., 1:-1, 1:-1].std((2, 3))
    assert (deviation - 1).abs().max() < 0.2  # 2116 correlated cells a channel: about 0.03 each


@pytest.mark.parametrize("size", [1, 3])
def test_going_up_keeps_pixel_centres_in_place(size) -> None:
    layer = ModulatedConv(1, 1, 2, size, up=True)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, size // 2, size // 2] = 1.0
    centres = (torch.arange(8) + 0.5).expand(1, 1, 8, 8)
    finer = layer(centres, torch.randn(1, 2))
    assert finer.shape == (1, 1, 16, 16)
    assert torch.allclose(finer[0, 0, 7, 2:-2].abs(), (torch.arange(16) + 0.5)[2:-2] / 2, atol=1e-4)


@pytest.mark.parametrize("form", ["weights", "maps"])
@pytest.mark.parametrize("up", [False, True])
def test_gradients_are_those_of_finite_differences(form, up) -> None:
    torch.manual_seed(0)
    layer = ModulatedConv(2, 3, 2, up=up).double()
    maps = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    style = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)

    def result(m, s, weight):
        return torch.func.functional_call(layer, {"weight": weight}, (m, s, form))

    assert torch.autograd.gradcheck(result, (maps, style, layer.weight))


def test_noise_starts_without_effect_and_then_enters_all_channels_alike() -> None:
    torch.manual_seed(0)
    layer = StyledConv(3, 4, 5)
    maps, style, noise = torch.randn(2, 3, 6, 6), torch.randn(2, 5), torch.randn(1, 1, 6, 6)
    assert torch.equal(layer(maps, style), layer(maps, style, noise))
    with torch.no_grad():
        layer.noise.strength.fill_(0.5)
    added = layer.noise(torch.zeros(2, 4, 6, 6), noise)
    assert torch.equal(added, 0.5 * noise.expand(2, 4, -1, -1))
    layer(maps, style, noise).square().sum().backward()
    assert layer.noise.strength.grad is not None
    assert layer.noise.strength.grad.abs() > 0


@pytest.mark.parametrize("wavelets", [False, True])
def test_the_picture_of_the_coarser_level_is_carried_on(wavelets) -> None:
    torch.manual_seed(0)
    skip = PictureSkip(4, 12, 5, wavelets)
    maps, style = torch.randn(1, 4, 8, 8), torch.randn(1, 5)
    picture = torch.full((1, 3, 8, 8), 0.3)
    coarser = analyse(picture) if wavelets else torch.full((1, 12, 4, 4), 0.3)
    added = skip(maps, style, coarser) - skip(maps, style, None)
    found = synthesise(added) if wavelets else added
    assert torch.allclose(found, torch.full_like(found, 0.3), atol=1e-5)
