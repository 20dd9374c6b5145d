"""The generator: sizes and counts, what its inputs reach, the written-out level, starts, refusals."""

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.nn.feature_generator import FeatureGenerator, FeatureGeneratorConfig, StyleConfig, level_sides
from headstudio.nn.level_widths import LevelWidths
from headstudio.nn.wavelets import upsample_bands


def _small(**changes) -> FeatureGenerator:
    torch.manual_seed(0)
    fields = {"side": 16, "widths": LevelWidths(128, 12), "style": StyleConfig(6, 8, 2), **changes}
    return FeatureGenerator(FeatureGeneratorConfig(**fields))


@pytest.mark.parametrize("start", ["constant", "coordinates"])
@pytest.mark.parametrize(("out_channels", "painted"), [(None, 12), (96, 0), (5, 3)])
def test_maps_have_the_sizes_asked_for(start, out_channels, painted) -> None:
    generator = _small(start=start, out_channels=out_channels, painted_channels=painted, wavelets=painted == 12)
    features, picture = generator(torch.randn(2, 6))
    assert features.shape == (2, out_channels or 8, 16, 16)
    assert (picture is None) if painted == 0 else (picture is not None and picture.shape == (2, painted, 16, 16))
    assert (features[0] - features[1]).abs().max() > 1e-3


def test_its_size_is_near_the_published_ones() -> None:
    planes = FeatureGenerator(FeatureGeneratorConfig())
    triplanes = FeatureGenerator(
        FeatureGeneratorConfig(side=256, widths=LevelWidths(24576, 256), out_channels=96, painted_channels=0)
    )
    # Counted from the authors' modules: 21 167 430 (a face or background plane) and 8 467 040 (tri-planes).
    for network, published in ((planes, 21_167_430), (triplanes, 8_467_040)):
        assert 0.75 < sum(p.numel() for p in network.parameters()) / published < 1.3


def test_every_parameter_has_a_part_and_each_sample_its_own_code() -> None:
    generator, codes = _small(), torch.randn(3, 6)
    noise = (torch.randn(1, 1, 8, 8), torch.randn(1, 1, 16, 16))
    features, picture = generator(codes, noise)
    (features.square().mean() + picture.square().mean()).backward()
    idle = {name for name, p in generator.named_parameters() if p.grad is None or p.grad.abs().sum() == 0}
    coarse = {f"levels.0.{layer}.noise.strength" for layer in ("first", "second")}  # had no noise
    assert idle == coarse
    alone = torch.cat([generator(code[None], noise).features for code in codes])
    assert torch.allclose(features, alone, atol=1e-5)


def test_the_picture_is_the_sum_of_what_the_levels_paint() -> None:
    generator, codes = _small(), torch.randn(1, 6)
    style, maps, total = generator.mapping(codes), generator.start(1), None
    for level in generator.levels:
        maps, painted = level(maps, style, None, None)
        total = painted if total is None else upsample_bands(total) + painted
    assert torch.allclose(generator(codes).picture, total, atol=1e-5)
    assert torch.equal(generator(codes).features, maps)


def test_noise_reaches_the_finest_levels_it_was_given_for() -> None:
    generator, codes = _small(), torch.randn(1, 6)
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith("noise.strength"):
                parameter.fill_(0.3)
    noise = torch.zeros(1, 1, 16, 16)
    noise[..., 12, 12] = 1.0
    changed = (generator(codes, (noise,)).features - generator(codes).features).abs().amax(1)[0]
    assert changed[12, 12] > 0
    assert changed[:10, :].max() == 0  # one 3x3 convolution follows the first injection of the level
    assert changed[:, :10].max() == 0


def test_noise_for_more_levels_than_there_are_is_refused() -> None:
    with pytest.raises(HeadstudioError, match="levels"):
        _small()(torch.randn(1, 6), (torch.zeros(1, 1, 4, 4),) * 4)


@pytest.mark.parametrize(("first", "last"), [(4, 12), (4, 2), (0, 8), (3, 8), (8, 0), (4, -4)])
def test_sides_that_do_not_double_are_refused(first, last) -> None:
    with pytest.raises(HeadstudioError, match="double"):
        level_sides(first, last)


def test_sides_that_double() -> None:
    assert level_sides(4, 4) == (4,)
    assert level_sides(3, 24) == (3, 6, 12, 24)


def test_it_learns_a_plane() -> None:
    generator, code = _small(out_channels=3, painted_channels=0), torch.ones(1, 6)
    across = torch.linspace(0, 6, 16)
    wanted = torch.stack(
        [across.sin().expand(16, 16), across.cos()[:, None].expand(16, 16), across.sin().outer(across.sin())]
    )
    optimiser = torch.optim.Adam(generator.parameters(), 1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        loss = (generator(code).features - wanted).square().mean()
        loss.backward()
        optimiser.step()
    assert loss < 0.2 * wanted.var()
