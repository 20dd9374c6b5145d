"""Equalised layers: variance at the start, the meaning of the rate, sums written out, the mapping network."""

import pytest
import torch

from headstudio.nn.equalised import EqualisedConv, EqualisedLinear, MappingNetwork, leaky, pixel_norm


def test_variance_stays_near_one_through_many_layers() -> None:
    torch.manual_seed(0)
    values, maps = torch.randn(256, 256), torch.randn(2, 128, 24, 24)
    for _ in range(6):
        values, maps = leaky(EqualisedLinear(256, 256)(values)), leaky(EqualisedConv(128, 128)(maps))
    # Slope 0.2 leaves 1.04 / 2 of the second moment and the gain doubles it; zeros beyond the border take a little.
    for second_moment in (values.square().mean(), maps[..., 8:-8, 8:-8].square().mean()):
        assert 0.6 < second_moment < 1.8


@pytest.mark.parametrize("rate", [1.0, 0.1, 0.01])
def test_the_rate_changes_the_steps_and_not_the_start(rate) -> None:
    torch.manual_seed(3)
    layer, reference = EqualisedLinear(8, 5, bias_start=1.0, rate=rate), EqualisedLinear(8, 5)
    with torch.no_grad():
        reference.weight.copy_(layer.weight * rate)
        reference.bias.fill_(1.0)
    values = torch.randn(7, 8)
    before = layer(values)
    assert torch.allclose(before, reference(values), atol=1e-6)
    for one in (layer, reference):  # an optimiser that normalises: every parameter moves by the same length
        one(values).sum().backward()
        with torch.no_grad():
            for parameter in one.parameters():
                assert parameter.grad is not None
                parameter -= 1e-2 * parameter.grad.sign()
    moved, moved_reference = layer(values) - before, reference(values) - before
    assert torch.allclose(moved, rate * moved_reference, atol=1e-6)


def test_the_convolution_is_the_sum_written_out() -> None:
    torch.manual_seed(0)
    layer, maps = EqualisedConv(3, 2).double(), torch.randn(1, 3, 4, 5, dtype=torch.float64)
    assert layer.bias is not None
    torch.nn.init.normal_(layer.bias)
    wanted = torch.zeros(1, 2, 4, 5, dtype=torch.float64)
    for out in range(2):
        for row in range(4):
            for column in range(5):
                total = layer.bias[out].clone()
                for i in range(3):
                    for y in range(3):
                        for x in range(3):
                            at = (row + y - 1, column + x - 1)
                            if 0 <= at[0] < 4 and 0 <= at[1] < 5:
                                total = total + layer.weight[out, i, y, x] / 27**0.5 * maps[0, i, at[0], at[1]]
                wanted[0, out, row, column] = total
    assert torch.allclose(layer(maps), wanted, atol=1e-12)


@pytest.mark.parametrize("size", [1, 3])
def test_going_down_keeps_pixel_centres_in_place(size) -> None:
    layer = EqualisedConv(1, 1, size, down=True, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, size // 2, size // 2] = 1 / layer.gain
    centres = (torch.arange(16) + 0.5).expand(1, 1, 16, 16)
    coarser = layer(centres)
    assert coarser.shape == (1, 1, 8, 8)
    assert torch.allclose(coarser[0, 0, 3, 1:-1], 2 * (torch.arange(8) + 0.5)[1:-1], atol=1e-5)


def test_going_down_differentiates_twice() -> None:
    torch.manual_seed(0)
    layer = EqualisedConv(2, 2, down=True).double()
    maps = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, maps)
    assert torch.autograd.gradgradcheck(lambda m: layer(m).pow(3), maps)


def test_the_mapping_network_sees_the_direction_of_a_code_only() -> None:
    torch.manual_seed(0)
    mapping, codes = MappingNetwork(16, 24, 3, rate=0.01), torch.randn(4, 16)
    assert mapping(codes).shape == (4, 24)
    assert torch.allclose(mapping(codes), mapping(7 * codes), atol=1e-4)
    assert torch.allclose(pixel_norm(codes).square().mean(1), torch.ones(4), atol=1e-5)
    assert (mapping(codes)[0] - mapping(codes)[1]).abs().max() > 1e-2
    assert mapping(torch.zeros(1, 16)).isfinite().all()
