"""What enters the style networks beside pictures: codes of time and person, noise, and the rule of widths."""

import math

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.nn.level_widths import LevelWidths
from headstudio.nn.noise_maps import noise_channels, noise_pyramid
from headstudio.nn.phase_code import phase_code


def test_the_code_is_sines_and_cosines_of_doubling_phases() -> None:
    code = phase_code(torch.tensor([0.3, 0.0], dtype=torch.float64), 4)
    wanted = [math.sin(math.pi * 2**k * 0.3) for k in range(4)] + [math.cos(math.pi * 2**k * 0.3) for k in range(4)]
    assert torch.allclose(code[0], torch.tensor(wanted), atol=1e-6)
    assert torch.equal(code[1], torch.tensor([0.0] * 4 + [1.0] * 4))


def test_high_octaves_are_exact() -> None:
    value = 1234.0 / 8192.0  # a dyadic number: every octave from the 13th on is a whole number of turns
    code = phase_code(torch.tensor([value], dtype=torch.float64), 32)[0]
    assert code[14:32].abs().max() < 1e-12
    assert torch.equal(code[32 + 14 :], torch.ones(18))


def test_few_octaves_make_neighbours_alike_and_many_tell_them_apart() -> None:
    times = torch.arange(200, dtype=torch.float64) / 5000
    smooth, hashed = phase_code(times, 8), phase_code(times, 32)
    assert (smooth[1:] - smooth[:-1]).norm(dim=1).max() < 0.2
    assert (hashed[1:] - hashed[:-1]).norm(dim=1).min() > 1


@pytest.mark.parametrize(("levels", "channels"), [(0, 0), (1, 1), (2, 5), (3, 21)])
def test_the_stack_has_the_papers_channels(levels, channels) -> None:
    assert noise_channels(levels) == channels
    maps = noise_pyramid(torch.randn(2, channels, 4, 6), levels)
    assert [tuple(noise.shape) for noise in maps] == [(2, 1, 4 << k, 6 << k) for k in range(levels)]


def test_noise_stays_white_and_of_variance_one() -> None:
    torch.manual_seed(0)
    for noise in noise_pyramid(torch.randn(1, 21, 64, 64), 3):
        cells = noise[0, 0]
        tolerance = 5 / cells.numel() ** 0.5  # five standard deviations of a mean of products
        assert abs(float(cells.square().mean()) - 1) < 1.5 * tolerance
        for dy, dx in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0)):
            neighbours = cells[dy:, dx:] * cells[: len(cells) - dy, : len(cells) - dx]
            assert abs(float(neighbours.mean())) < tolerance


def test_noise_moves_with_its_stack() -> None:
    stack = torch.randn(1, 21, 8, 8)
    for level, (noise, moved) in enumerate(
        zip(noise_pyramid(stack, 3), noise_pyramid(stack.roll(1, dims=3), 3), strict=True)
    ):
        assert torch.equal(moved, noise.roll(1 << level, dims=3))


@pytest.mark.parametrize(("channels", "levels"), [(4, 2), (1, 2), (22, 3), (5, 3)])
def test_a_stack_of_another_size_is_refused(channels, levels) -> None:
    with pytest.raises(HeadstudioError, match=str(noise_channels(levels))):
        noise_pyramid(torch.zeros(1, channels, 4, 4), levels)


def test_widths_are_those_of_the_published_networks() -> None:
    stylegan = LevelWidths()
    assert [stylegan.at(4 << k) for k in range(9)] == [512, 512, 512, 512, 512, 256, 128, 64, 32]
    latent = LevelWidths(24576, 256)  # LatentAvatar's tri-planes
    assert [latent.at(side) for side in (4, 8, 16, 32, 64, 128, 256)] == [256] * 5 + [192, 96]
    assert LevelWidths(16, 8).at(1024) == 1
