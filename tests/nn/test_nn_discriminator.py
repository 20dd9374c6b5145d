"""The discriminator and the adversarial losses: formulas, padded pixels, the penalty by finite differences."""

import math

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.nn.adversarial import discriminator_loss, generator_loss, r1_penalty
from headstudio.nn.discriminator import Discriminator, DiscriminatorConfig, batch_deviation
from headstudio.nn.level_widths import LevelWidths


def _small(**changes) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(DiscriminatorConfig(**{"side": 32, "widths": LevelWidths(64, 8), **changes}))


def _shown(batch: int, conditions: int = 3, side: int = 32, dtype: torch.dtype = torch.float32):
    generator = torch.Generator().manual_seed(1)
    picture = torch.randn(batch, 3, side, side, generator=generator, dtype=dtype)
    condition = torch.randn(batch, conditions, side, side, generator=generator, dtype=dtype)
    return picture, condition, torch.ones(batch, 1, side, side, dtype=dtype)


@pytest.mark.parametrize("conditions", [0, 3, 4])
@pytest.mark.parametrize("residual", [False, True])
def test_every_parameter_has_a_part_in_one_score_a_picture(conditions, residual) -> None:
    judge = _small(conditions=conditions, residual=residual)
    scores = judge(*_shown(4, conditions))
    assert scores.shape == (4,)
    scores.square().sum().backward()
    assert [name for name, p in judge.named_parameters() if p.grad is None or p.grad.abs().sum() == 0] == []


def test_its_size_is_near_the_published_one() -> None:
    judge = Discriminator(DiscriminatorConfig(residual=False))
    assert 0.9 < sum(p.numel() for p in judge.parameters()) / 27_771_841 < 1.1  # counted from the authors' module


def test_padded_pixels_change_nothing_and_the_mask_itself_does() -> None:
    judge, (picture, condition, valid) = _small(), _shown(2)
    valid[..., :20] = 0.0
    other = torch.where(valid > 0, picture, 9.0).requires_grad_()
    scores = judge(other, torch.where(valid > 0, condition, -9.0), valid)
    assert torch.equal(scores, judge(picture, condition, valid))
    (gradient,) = torch.autograd.grad(scores.sum(), other)
    assert gradient[..., :20].abs().max() == 0
    assert gradient[..., 20:].abs().max() > 0
    assert not torch.allclose(scores, judge(picture * valid, condition * valid, torch.ones_like(valid)))


@pytest.mark.parametrize("side", [8, 16, 64])
def test_all_sides_reach_one_score(side) -> None:
    assert _small(side=side)(*_shown(2, side=side)).shape == (2,)


@pytest.mark.parametrize("side", [4, 24, 31, 100])
def test_impossible_sides_are_refused(side) -> None:
    with pytest.raises(HeadstudioError):
        _small(side=side)


@pytest.mark.parametrize(("batch", "group"), [(1, 4), (2, 4), (4, 4), (8, 4), (6, 4), (5, 4), (6, 3)])
def test_the_deviation_of_a_batch_is_written_out(batch, group) -> None:
    maps = torch.randn(batch, 3, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = batch_deviation(maps, group)
    groups = batch // math.gcd(batch, group)
    for sample in range(batch):
        members = maps[sample % groups :: groups]
        wanted = members.var(0, unbiased=False).add(1e-8).sqrt().mean()
        assert torch.allclose(found[sample], wanted.expand(1, 2, 5), atol=1e-12)


def test_the_losses_are_logarithms_of_probabilities() -> None:
    real, made = torch.tensor([2.0, -1.0, 0.0]), torch.tensor([0.5, -3.0])
    sigmoid = [1 / (1 + math.exp(-value)) for value in (2.0, -1.0, 0.0)]
    made_real = [1 / (1 + math.exp(-value)) for value in (0.5, -3.0)]
    judge = -sum(map(math.log, sigmoid)) / 3 - sum(math.log(1 - p) for p in made_real) / 2
    assert abs(float(discriminator_loss(real, made)) - judge) < 1e-6
    assert abs(float(generator_loss(made)) + sum(map(math.log, made_real)) / 2) < 1e-6
    far = torch.tensor([-200.0], requires_grad=True)  # a judge that is sure still tells the generator where to go
    generator_loss(far).backward()
    assert far.grad is not None
    assert abs(float(far.grad) + 1) < 1e-6


def test_the_penalty_of_a_plane_is_its_slope() -> None:
    slope = torch.randn(3, 4, 4)
    penalty = r1_penalty(lambda pictures: (pictures * slope).sum((1, 2, 3)) + 5, torch.randn(6, 3, 4, 4))
    assert torch.allclose(penalty, slope.square().sum())


def test_the_penalty_is_a_finite_difference_and_so_is_its_gradient() -> None:
    judge = _small(side=8, conditions=1, group=1, widths=LevelWidths(16, 3)).double()
    picture, condition, valid = _shown(1, 1, 8, torch.float64)

    def penalty() -> torch.Tensor:
        return r1_penalty(lambda pictures: judge(pictures, condition, valid), picture)

    step, slopes = 1e-6, []
    with torch.no_grad():
        for index in range(picture.numel()):
            moved = torch.zeros(picture.numel(), dtype=torch.float64)
            moved[index] = step
            ahead, behind = (judge(picture + sign * moved.view_as(picture), condition, valid) for sign in (1, -1))
            slopes.append((ahead - behind) / (2 * step))
    assert torch.allclose(penalty(), torch.stack(slopes).square().sum(), rtol=1e-5)
    weight = judge.levels[0].here.weight if len(judge.levels) else judge.last_maps.weight
    (gradient,) = torch.autograd.grad(penalty(), weight)
    direction = torch.randn_like(weight)
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight += sign * step * direction
        values.append(float(penalty().detach()))
        with torch.no_grad():
            weight -= sign * step * direction
    assert float((gradient * direction).sum()) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4)


def test_the_penalty_works_where_gradients_are_off_and_leaves_the_pictures_alone() -> None:
    pictures = torch.randn(2, 3, 4, 4)
    with torch.no_grad():
        penalty = r1_penalty(lambda p: p.square().sum((1, 2, 3)), pictures)
    assert torch.allclose(penalty, 4 * pictures.square().sum() / 2)
    assert not pictures.requires_grad


def test_it_learns_to_tell_smooth_from_rough() -> None:
    judge = _small(side=8, conditions=0, widths=LevelWidths(64, 8))
    optimiser = torch.optim.Adam(judge.parameters(), 1e-2)
    none, valid = torch.zeros(8, 0, 8, 8), torch.ones(8, 1, 8, 8)

    def scores() -> tuple[torch.Tensor, torch.Tensor]:
        rough = torch.randn(8, 3, 8, 8)
        return judge(rough.mean((2, 3), keepdim=True).expand(-1, -1, 8, 8), none, valid), judge(rough, none, valid)

    for _ in range(40):
        optimiser.zero_grad()
        discriminator_loss(*scores()).backward()
        optimiser.step()
    real, made = scores()
    assert real.min() > made.max()
