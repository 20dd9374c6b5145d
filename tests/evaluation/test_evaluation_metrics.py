"""Scores against loops over pixels, and the property that what is excluded never counts."""

import math

import pytest
import torch

from headstudio.evaluation.metrics import L1, MS_SSIM, PSNR, PSNR_LIMIT_DB, SSIM, l1, perceptual, psnr, scores
from headstudio.nn.extractors import TORCHVISION, Extractor
from headstudio.nn.feature_distance import FeatureDistance


def _case(side: int = 48) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 3, side, side, generator=draw)
    prediction = (truth + 0.2 * torch.randn(2, 3, side, side, generator=draw)).clamp(0, 1)
    masks = torch.zeros(2, 3, side, side, dtype=torch.bool)
    masks[:, 0], masks[:, 1, 5:40, 8:41], masks[0, 2, :3, :4] = True, True, True
    return prediction, truth, masks


def test_l1_and_psnr_equal_loops_over_pixels() -> None:
    prediction, truth, masks = _case(side=12)
    for picture in range(2):
        for region in range(3):
            errors = [
                float(prediction[picture, c, i, j] - truth[picture, c, i, j])
                for i in range(12)
                for j in range(12)
                if masks[picture, region, i, j]
                for c in range(3)
            ]
            found = l1(prediction, truth, masks)[picture, region], psnr(prediction, truth, masks)[picture, region]
            if not errors:
                assert found[0].isnan() and found[1].isnan()
                continue
            assert found[0].item() == pytest.approx(sum(map(abs, errors)) / len(errors), rel=1e-4)
            expected = -10 * math.log10(sum(e * e for e in errors) / len(errors))
            assert found[1].item() == pytest.approx(expected, rel=1e-4)


def test_identical_pictures_have_the_best_score_of_each_metric() -> None:
    _, truth, masks = _case()
    found = {metric: values[:, :2] for metric, values in scores(truth, truth, masks).items()}
    assert found[PSNR].tolist() == [[PSNR_LIMIT_DB] * 2] * 2
    assert found[L1].abs().max() == 0
    assert torch.allclose(found[SSIM], torch.ones(2, 2)) and torch.allclose(found[MS_SSIM], torch.ones(2, 2))


@pytest.mark.parametrize("poison", [1e3, math.nan])
def test_excluded_pixels_never_change_a_score(poison) -> None:
    prediction, truth, masks = _case()
    before = scores(prediction, truth, masks)
    inside = masks[:, 1:2]
    poisoned = scores(torch.where(inside, prediction, poison), truth, masks)
    for metric, values in before.items():
        if metric in (L1, PSNR) or not math.isnan(poison):
            assert torch.equal(values[:, 1], poisoned[metric][:, 1]), metric.name
        assert not torch.equal(values[:, 0], poisoned[metric][:, 0]), metric.name


def test_perceptual_scores_ignore_excluded_pixels() -> None:
    prediction, truth, masks = _case()
    torch.manual_seed(0)
    judge = FeatureDistance(Extractor("squeezenet1.1", "random", TORCHVISION))
    before = perceptual(judge, prediction, truth, masks)
    after = perceptual(judge, torch.where(masks[:, 1:2], prediction, 1 - prediction), truth, masks)
    assert torch.equal(before[:, 1], after[:, 1])
    assert not torch.equal(before[:, 0], after[:, 0])
    assert before[1, 2].isnan()


def test_more_noise_is_worse_in_every_metric() -> None:
    _, truth, masks = _case()
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    mild, strong = (scores((truth + s * noise).clamp(0, 1), truth, masks) for s in (0.05, 0.3))
    for metric in mild:
        gain = (mild[metric] - strong[metric])[:, :2]
        assert (gain > 0).all() if metric.higher_is_better else (gain < 0).all(), metric.name
