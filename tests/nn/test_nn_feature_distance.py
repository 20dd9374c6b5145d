"""The perceptual judge: the formula of Zhang et al. 2018, and the name LPIPS for the published pair only."""

import pytest
import torch
from safetensors.torch import save_file

from headstudio.errors import HeadstudioError
from headstudio.nn import weights
from headstudio.nn.extractors import KINDS, TORCHVISION, Extractor
from headstudio.nn.feature_distance import JUDGE_TAPS, FeatureDistance, feature_distance


def _heads(kind) -> dict[str, torch.Tensor]:
    extractor = Extractor(kind, "random", TORCHVISION)
    features = extractor(torch.rand(1, 3, 64, 64), JUDGE_TAPS[kind])
    generator = torch.Generator().manual_seed(3)
    widths = [features[tap].shape[1] for tap in JUDGE_TAPS[kind]]
    return {f"lin{i}.model.1.weight": torch.rand(1, w, 1, 1, generator=generator) for i, w in enumerate(widths)}


def _pictures(side: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return torch.rand(2, 3, side, side, generator=generator), torch.rand(2, 3, side, side, generator=generator)


@pytest.mark.parametrize("kind", ["alexnet", "squeezenet1.1", "vgg16"])
def test_lpips_equals_its_formula_pixel_by_pixel(kind) -> None:
    torch.manual_seed(0)
    extractor, heads, (x, y) = Extractor(kind, "random", TORCHVISION, original=True), _heads(kind), _pictures(32)
    with torch.no_grad():
        fx, fy = extractor(x, JUDGE_TAPS[kind]), extractor(y, JUDGE_TAPS[kind])
        expected = torch.zeros(2)
        for index, tap in enumerate(JUDGE_TAPS[kind]):
            weight = heads[f"lin{index}.model.1.weight"].flatten()
            rows, columns = fx[tap].shape[-2:]
            for picture in range(2):
                for row in range(rows):
                    for column in range(columns):
                        a, b = fx[tap][picture, :, row, column], fy[tap][picture, :, row, column]
                        unit_a, unit_b = a / (a.norm() + 1e-10), b / (b.norm() + 1e-10)
                        expected[picture] += (weight * (unit_a - unit_b) ** 2).sum() / (rows * columns)
        assert FeatureDistance(extractor, heads)(x, y).tolist() == pytest.approx(expected.tolist(), rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_pictures_have_distance_zero_and_excluded_pixels_do_not_count(kind) -> None:
    judge, (x, y) = FeatureDistance(Extractor(kind, "random", TORCHVISION)), _pictures()
    mask = torch.zeros(2, 1, 64, 64)
    mask[..., 9:50, 11:60] = 1
    assert judge(x, x).tolist() == [0.0, 0.0]
    assert (judge(x, y) > 0).all()
    changed = torch.where(mask > 0, x, 1 - x)
    assert torch.equal(judge(changed, y, mask), judge(x, y, mask))
    assert judge(x, y, torch.zeros_like(mask)).isnan().all()


def test_the_name_says_what_it_is() -> None:
    original = Extractor("alexnet", "alexnet-imagenet", TORCHVISION, original=True)
    assert FeatureDistance(original, _heads("alexnet")).name == "LPIPS-alex"
    assert "LPIPS" not in FeatureDistance(original).name
    other = Extractor("alexnet", "alexnet-file-00000000", TORCHVISION)
    assert FeatureDistance(other).name == "feature distance (alexnet-file-00000000)"
    with pytest.raises(HeadstudioError, match="not fitted"):
        FeatureDistance(other, _heads("alexnet"))
    with pytest.raises(HeadstudioError, match="not fitted"):
        FeatureDistance(Extractor("vgg19", "vgg19-imagenet", TORCHVISION, original=True), {})


def test_heads_are_found_beside_the_weights(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setenv(weights.ENVIRONMENT, str(tmp_path))
    original = Extractor("alexnet", "alexnet-imagenet", TORCHVISION, original=True)
    assert feature_distance(original).name == "feature distance (alexnet-imagenet)"
    save_file(_heads("alexnet"), tmp_path / "lpips_lin_v0.1_alex.safetensors")
    assert feature_distance(original).name == "LPIPS-alex"
    ported = Extractor("alexnet", "alexnet-file-00000000", TORCHVISION)
    assert feature_distance(ported).name == "feature distance (alexnet-file-00000000)"
