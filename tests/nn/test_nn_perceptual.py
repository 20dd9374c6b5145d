"""Perceptual losses: zero for equal pictures, blind to excluded pixels, and honest about what they are."""

import pytest
import torch

from headstudio.nn import weights
from headstudio.nn.extractors import KINDS, LOSS_TAPS, TORCHVISION, Extractor
from headstudio.nn.perceptual import GradientSsimLoss, PerceptualLoss, perceptual_loss


def _losses() -> list:
    torch.manual_seed(0)
    return [PerceptualLoss(Extractor("squeezenet1.1", "random", TORCHVISION)), GradientSsimLoss()]


def _pictures(side: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, 3, side, side, generator=generator), torch.rand(2, 3, side, side, generator=generator)


@pytest.mark.parametrize("index", [0, 1])
def test_equal_pictures_cost_nothing_and_a_step_down_the_gradient_helps(index) -> None:
    loss, (x, y) = _losses()[index], _pictures()
    assert loss(y, y) == pytest.approx(0.0, abs=1e-5)
    x.requires_grad_()
    before = loss(x, y)
    (gradient,) = torch.autograd.grad(before, x)
    assert before > 0.1
    assert loss(x - 0.5 * gradient / gradient.norm(), y) < before


@pytest.mark.parametrize("index", [0, 1])
def test_excluded_pixels_have_no_influence(index) -> None:
    loss, (x, y) = _losses()[index], _pictures()
    mask = torch.zeros(2, 1, 64, 64)
    mask[..., 10:50, 20:52] = 1
    changed = torch.where(mask > 0, x, 1 - x).requires_grad_()
    value = loss(changed, y, mask)
    assert value.item() == pytest.approx(loss(x, y, mask).item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(value, changed)
    assert gradient[(mask == 0).expand_as(gradient)].abs().max() == 0
    assert loss(torch.where(mask > 0, 1 - x, x), y, mask).item() != pytest.approx(value.item(), rel=1e-3)


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("side", [64, 40])
def test_an_empty_mask_costs_nothing_and_is_finite(index, side) -> None:
    loss, (x, y) = _losses()[index], _pictures(side)
    x.requires_grad_()
    value = loss(x, y, torch.zeros(2, 1, side, side))
    (gradient,) = torch.autograd.grad(value, x)
    assert value.item() == pytest.approx(0.0, abs=1e-5)
    assert gradient.isfinite().all()


def test_the_loss_is_the_weighted_relative_difference_of_features() -> None:
    extractor = Extractor("alexnet", "random", TORCHVISION)
    x, y = _pictures(70)
    fx, fy = extractor(x, ["relu1", "relu2"]), extractor(y, ["relu1", "relu2"])
    relative = {tap: ((fx[tap] - fy[tap]).abs().mean() / fy[tap].abs().mean()).item() for tap in fx}
    expected = (3 * relative["relu1"] + relative["relu2"]) / 4
    assert PerceptualLoss(extractor, {"relu1": 3.0, "relu2": 1.0})(x, y).item() == pytest.approx(expected, rel=1e-4)


def test_the_scale_of_activations_does_not_change_the_loss() -> None:
    extractor, (x, y) = Extractor("alexnet", "random", TORCHVISION), _pictures(70)
    loss = PerceptualLoss(extractor, {"relu1": 1.0})
    before = loss(x, y)
    with torch.no_grad():
        for parameter in extractor.features[0].parameters():
            parameter *= 50
    assert loss(x, y).item() == pytest.approx(before.item(), rel=1e-4)


def test_low_precision_stays_close() -> None:
    extractor, (x, y) = Extractor("squeezenet1.1", "random", TORCHVISION), _pictures()
    full, low = PerceptualLoss(extractor)(x, y), PerceptualLoss(extractor, low_precision=True)(x, y)
    assert low.dtype == torch.float32
    assert low.item() == pytest.approx(full.item(), rel=0.05)


def test_unknown_layers_are_refused_and_default_layers_exist() -> None:
    with pytest.raises(ValueError, match="relu9"):
        PerceptualLoss(Extractor("alexnet", "random", TORCHVISION), {"relu9": 1.0})
    for kind in KINDS:
        assert set(LOSS_TAPS[kind]) <= set(Extractor(kind, "random", TORCHVISION).taps)


def test_the_best_available_is_chosen_and_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setenv(weights.ENVIRONMENT, str(tmp_path))
    loss, description = perceptual_loss()
    assert isinstance(loss, GradientSsimLoss) and "SSIM" in description
    state = Extractor("alexnet", "random", TORCHVISION).state_dict()
    torch.save(state, tmp_path / weights.PUBLISHED["alexnet"])
    loss, description = perceptual_loss()
    assert isinstance(loss, PerceptualLoss)
    assert loss.extractor.name in description and "alexnet" in description
    loss, description = perceptual_loss(preferred=("vgg19",))
    assert isinstance(loss, GradientSsimLoss)
