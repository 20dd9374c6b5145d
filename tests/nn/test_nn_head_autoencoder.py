"""The head's autoencoder: what its Gaussian says against torch's own, where it starts, what it refuses."""

import dataclasses

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.nn.head_autoencoder import Gaussian, HeadAutoencoderConfig, HeadDecoder, HeadEncoder

SMALL = HeadAutoencoderConfig(side=16, code=5, narrowest=4, widest=6, hidden=7, tones=2)


def test_the_divergence_is_that_of_normals():
    torch.manual_seed(0)
    found = Gaussian(torch.randn(4, 5), 0.3 * torch.randn(4, 5))
    own = torch.distributions.Normal(found.mean, found.log_deviation.exp())
    wanted = torch.distributions.kl_divergence(own, torch.distributions.Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(found.divergence(), wanted)
    assert float(Gaussian(torch.zeros(2, 3), torch.zeros(2, 3)).divergence()) == 0


def test_samples_have_the_mean_and_the_deviation_that_they_are_drawn_with():
    torch.manual_seed(0)
    found = Gaussian(torch.full((20000, 2), 1.5), torch.full((20000, 2), -1.0))
    drawn = found.sampled()
    # Standard errors are 0.0026 and 0.0018.
    torch.testing.assert_close(drawn.mean(0), torch.full((2,), 1.5), atol=0.013, rtol=0)
    torch.testing.assert_close(drawn.std(0), torch.full((2,), -1.0).exp(), atol=0.009, rtol=0)


@pytest.mark.parametrize("side", [8, 16, 64])
def test_textures_keep_their_side_and_start_from_nothing(side):
    torch.manual_seed(0)
    config = dataclasses.replace(SMALL, side=side)
    encoder, decoder = HeadEncoder(11, config), HeadDecoder(11, config)
    found = encoder(torch.randn(3, 11), torch.randn(3, 2), torch.randn(3, 3, side, side))
    assert found.mean.shape == found.log_deviation.shape == (3, 5)
    decoded = decoder(torch.randn(3, 5))
    assert (
        decoded.weights.shape == (3, 11)
        and decoded.tones.shape == (3, 2)
        and decoded.texture.shape == (3, 3, side, side)
    )
    assert not decoded.texture.any() and decoded.weights.any()
    torch.testing.assert_close(decoder.textures(torch.zeros(1, 5)), decoder(torch.zeros(1, 5)).texture)


def test_all_branches_reach_the_code():
    torch.manual_seed(0)
    encoder = HeadEncoder(11, SMALL)
    parts = [torch.randn(1, *shape, requires_grad=True) for shape in ((11,), (2,), (3, 16, 16))]
    encoder(*parts).mean.square().sum().backward()
    for part in parts:
        assert (part.grad != 0).float().mean() > 0.9


def test_without_tones_there_are_none():
    config = dataclasses.replace(SMALL, tones=0)
    nothing = torch.zeros(2, 0)
    assert HeadEncoder(11, config)(torch.randn(2, 11), nothing, torch.randn(2, 3, 16, 16)).mean.shape == (2, 5)
    decoder = HeadDecoder(11, config)
    assert decoder(torch.randn(2, 5)).tones.shape == (2, 0) and not list(decoder.tones.parameters())


def test_codes_begin_near_the_middle_and_unsure():
    torch.manual_seed(0)
    config = dataclasses.replace(SMALL, tones=0)
    found = HeadEncoder(11, config)(torch.randn(64, 11), torch.zeros(64, 0), torch.randn(64, 3, 16, 16))
    assert found.mean.abs().max() < 0.5 and found.log_deviation.abs().max() < 0.05


@pytest.mark.parametrize("tones", [2, 5, 9])
def test_tones_pass_straight_through_the_code_before_training(tones):
    torch.manual_seed(0)
    config = dataclasses.replace(SMALL, tones=tones)
    encoder, decoder = HeadEncoder(11, config), HeadDecoder(11, config)
    for layer in (encoder.mean, decoder.tones[-1]):
        for parameter in layer.parameters():
            torch.nn.init.zeros_(parameter)
    told = torch.randn(4, tones)
    code = encoder(torch.randn(4, 11), told, torch.randn(4, 3, 16, 16))
    passed = min(tones, config.code)
    torch.testing.assert_close(decoder.said(code.mean)[:, :passed], told[:, :passed])
    assert not decoder.said(code.mean)[:, passed:].any() and code.log_deviation.max() < -1.5


@pytest.mark.parametrize(
    "change", [{"side": 4}, {"side": 24}, {"side": 0}, {"side": -8}, {"code": 0}, {"widest": 0}, {"hidden": 0}]
)
def test_sizes_that_do_not_fit_are_refused(change):
    with pytest.raises(HeadstudioError):
        HeadEncoder(11, dataclasses.replace(SMALL, **change))
    with pytest.raises(HeadstudioError):
        HeadDecoder(11, dataclasses.replace(SMALL, **change))
