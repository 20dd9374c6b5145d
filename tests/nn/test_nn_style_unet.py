"""The styled U-Net: sizes, skips at every level, the code's part, noise, inputs of other sizes, refusals."""

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.nn.feature_generator import StyleConfig
from headstudio.nn.level_widths import LevelWidths
from headstudio.nn.style_unet import StyleUNet, StyleUNetConfig


def _small(**changes) -> StyleUNet:
    torch.manual_seed(0)
    sizes = {"channels": 3, "side": 16, "bottom_side": 4, "out_side": 16}
    rest = {"widths": LevelWidths(128, 10), "style": StyleConfig(6, 8, 2)}
    return StyleUNet(StyleUNetConfig(**{**sizes, **rest, **changes}))


@pytest.mark.parametrize(
    ("changes", "side", "encoded"),
    [
        ({}, 16, 2),
        ({"out_side": 32}, 32, 2),
        ({"out_side": 8}, 8, 2),
        ({"side": 32, "wavelet_input": True}, 16, 2),
        ({"bottom_side": 16}, 16, 0),
        ({"painted_channels": 0, "out_channels": 5}, 16, 2),
        ({"painted_channels": 3, "wavelets": False}, 16, 2),
    ],
)
def test_maps_have_the_sizes_asked_for(changes, side, encoded) -> None:
    network = _small(**changes)
    features, picture = network(torch.randn(2, 3, network.config.side, network.config.side), torch.randn(2, 6))
    assert features.shape == (2, network.config.out_channels or network.config.widths.at(side), side, side)
    painted = network.config.painted_channels
    assert (picture is None) if painted == 0 else (picture is not None and picture.shape == (2, painted, side, side))
    assert len(network.encoder) == encoded


def test_its_size_is_near_the_published_one() -> None:
    image = StyleUNet(StyleUNetConfig())
    foreground = StyleUNet(
        StyleUNetConfig(
            channels=3, side=512, wavelet_input=True, bottom_side=16, out_side=256, widths=LevelWidths(32768, 256)
        )
    )
    parameters = sum(p.numel() for network in (image, foreground) for p in network.parameters())
    # Counted from the authors' module of both networks: 47 462 093; their encoders are narrower on the finest levels.
    assert 0.7 < parameters / 47_462_093 < 1.4


def test_every_parameter_has_a_part_and_each_sample_its_own_input() -> None:
    network, picture, codes = _small(), torch.randn(3, 3, 16, 16), torch.randn(3, 6)
    noise = tuple(torch.randn(1, 1, side, side) for side in (4, 8, 16))
    features, painted = network(picture, codes, noise)
    (features.square().mean() + painted.square().mean()).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or p.grad.abs().sum() == 0] == []
    alone = torch.cat([network(p[None], c[None], noise).features for p, c in zip(picture, codes, strict=True)])
    assert torch.allclose(features, alone, atol=1e-5)


@pytest.mark.parametrize("level", [0, 1])
def test_fine_detail_goes_over_the_skip_of_its_level(level) -> None:
    """With the way further down cut, what the encoder saw still arrives; with the skip cut too, nothing does."""
    network, codes = _small(), torch.randn(1, 6)
    pictures = torch.randn(2, 1, 3, 16, 16)
    with torch.no_grad():
        network.encoder[level].down.weight.zero_()

        def difference() -> float:
            maps = [network(picture, codes).features for picture in pictures]
            return float((maps[0] - maps[1]).abs().max())

        assert difference() > 1e-3
        for above in range(level + 1):
            decoder = network.decoder[len(network.decoder) - 1 - above]
            own = decoder.first.convolution.weight.shape[0]
            decoder.second.convolution.weight[:, own:] = 0.0
        assert difference() == 0


def test_the_code_changes_the_picture() -> None:
    network, picture = _small(), torch.randn(1, 3, 16, 16)
    assert (
        network(picture, torch.randn(1, 6)).picture - network(picture, torch.randn(1, 6)).picture
    ).abs().max() > 1e-3


def test_larger_inputs_give_larger_maps_and_the_same_inside() -> None:
    """A padded rendering of twice the side: away from the border, features are those of the plain one, moved."""
    network, codes = _small(), torch.randn(1, 6)
    picture = torch.zeros(1, 3, 64, 64)
    picture[..., 28:36, 28:36] = torch.randn(1, 3, 8, 8)
    wide = torch.zeros(1, 3, 96, 96)
    wide[..., 16:80, 16:80] = picture
    features, inside = network(picture, codes).features, network(wide, codes).features[..., 16:80, 16:80]
    assert torch.allclose(features[..., 30:34, 30:34], inside[..., 30:34, 30:34], atol=1e-4)


def test_a_move_by_the_coarsest_cell_moves_everything() -> None:
    network, codes = _small(), torch.randn(1, 6)
    picture = torch.zeros(1, 3, 96, 96)
    picture[..., 40:52, 40:52] = torch.randn(1, 3, 12, 12)
    features, moved = network(picture, codes).features, network(picture.roll(4, dims=3), codes).features
    assert torch.allclose(features[..., 40:52, 40:52], moved[..., 40:52, 44:56], atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [{"bottom_side": 32}, {"out_side": 2}, {"side": 20}, {"out_side": 24}, {"side": 4, "wavelet_input": True}],
)
def test_impossible_sizes_are_refused(changes) -> None:
    with pytest.raises(HeadstudioError):
        _small(**changes)


def test_too_much_noise_is_refused() -> None:
    with pytest.raises(HeadstudioError, match="levels"):
        _small()(torch.zeros(1, 3, 16, 16), torch.zeros(1, 6), (torch.zeros(1, 1, 16, 16),) * 4)
