"""The Haar transform: exact inverse, orthonormal, equal to sums written out; pictures resampled inside it."""

import pytest
import torch
from torch.nn import functional as F

from headstudio.errors import HeadstudioError
from headstudio.nn.resampling import downsample, fir_kernel
from headstudio.nn.wavelets import analyse, downsample_bands, synthesise, upsample_bands


def _picture(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _written_out(picture: torch.Tensor) -> torch.Tensor:
    batch, channels, rows, columns = picture.shape
    bands = torch.zeros(batch, 4 * channels, rows // 2, columns // 2, dtype=picture.dtype)
    for row in range(rows // 2):
        for column in range(columns // 2):
            block = picture[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            (a, b), (c, d) = [[block[:, :, y, x] for x in (0, 1)] for y in (0, 1)]
            sums = (a + b + c + d, a + c - b - d, a + b - c - d, a + d - b - c)
            bands[:, :, row, column] = torch.cat(sums, dim=1) / 2
    return bands


@pytest.mark.parametrize("shape", [(1, 1, 2, 2), (2, 3, 8, 6), (1, 4, 4, 10)])
def test_it_is_the_sums_written_out_and_inverted_exactly(shape) -> None:
    picture = _picture(*shape)
    bands = analyse(picture)
    assert torch.allclose(bands, _written_out(picture), atol=1e-14)
    assert torch.allclose(synthesise(bands), picture, atol=1e-14)
    assert torch.allclose(analyse(synthesise(bands)), bands, atol=1e-14)


def test_it_is_orthonormal() -> None:
    unit = torch.eye(4 * 4, dtype=torch.float64).reshape(16, 1, 4, 4)
    matrix = analyse(unit).flatten(1)
    assert torch.allclose(matrix @ matrix.T, torch.eye(16, dtype=torch.float64), atol=1e-14)
    assert torch.allclose(synthesise(matrix.reshape(16, 4, 2, 2)).flatten(1) @ matrix.T, matrix.T, atol=1e-14)


def test_a_constant_lives_in_the_mean_band_alone() -> None:
    bands = analyse(torch.full((1, 3, 4, 4), 0.25))
    assert torch.equal(bands[:, :3], torch.full((1, 3, 2, 2), 0.5))
    assert bands[:, 3:].abs().max() == 0


@pytest.mark.parametrize(
    ("band", "pattern"), [(1, [[1, -1], [1, -1]]), (2, [[1, 1], [-1, -1]]), (3, [[1, -1], [-1, 1]])]
)
def test_each_difference_has_its_own_band(band, pattern) -> None:
    bands = analyse(torch.tensor(pattern, dtype=torch.float32)[None, None])
    assert [round(float(value), 6) for value in bands[0, :, 0, 0]] == [2.0 * (k == band) for k in range(4)]


def test_resampling_bands_is_resampling_the_picture() -> None:
    picture, kernel = _picture(2, 3, 8, 8), fir_kernel().double()
    larger = F.interpolate(picture, scale_factor=2.0, mode="bilinear")
    assert torch.allclose(synthesise(upsample_bands(analyse(picture))), larger, atol=1e-12)
    smaller = downsample(picture, kernel)
    assert torch.allclose(synthesise(downsample_bands(analyse(picture), kernel)), smaller, atol=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    picture = _picture(1, 1, 4, 2).requires_grad_()
    assert torch.autograd.gradcheck(analyse, picture)
    assert torch.autograd.gradcheck(synthesise, analyse(picture.detach()).requires_grad_())


@pytest.mark.parametrize("shape", [(1, 3, 3, 4), (1, 3, 4, 5), (1, 1, 1, 1)])
def test_odd_pictures_are_refused(shape) -> None:
    with pytest.raises(HeadstudioError, match="even"):
        analyse(torch.zeros(shape))


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_what_are_not_four_bands_is_refused(channels) -> None:
    with pytest.raises(HeadstudioError, match="four"):
        synthesise(torch.zeros(1, channels, 2, 2))
