"""The judge of patches: how far each score sees, and what R1 takes the gradient of."""

import pytest
import torch

from headstudio.nn.adversarial import r1_penalty
from headstudio.nn.patch_discriminator import PatchDiscriminator, PatchDiscriminatorConfig


@pytest.mark.parametrize(("halvings", "patch_px"), [(1, 16), (2, 34), (3, 70)])
def test_a_score_sees_a_patch_of_the_known_width_and_nothing_else(halvings, patch_px):
    torch.manual_seed(0)
    judge = PatchDiscriminator(PatchDiscriminatorConfig(width=2, halvings=halvings, normalised=False)).double()
    picture = torch.randn(1, 3, 160, 160, dtype=torch.double, requires_grad=True)
    scores = judge(picture)
    scores[len(scores) // 2 + int(len(scores) ** 0.5) // 2].backward()
    rows = picture.grad[0].abs().sum((0, 2)) > 0
    columns = picture.grad[0].abs().sum((0, 1)) > 0
    assert int(rows.sum()) == int(columns.sum()) == patch_px


def test_scores_of_pictures_come_one_after_the_other():
    torch.manual_seed(0)
    judge = PatchDiscriminator(PatchDiscriminatorConfig(width=4, halvings=2))
    pictures = torch.randn(3, 3, 48, 48)
    together = judge(pictures).reshape(3, -1)
    for one, scores in zip(pictures, together, strict=True):
        torch.testing.assert_close(judge(one[None]), scores)
    torch.testing.assert_close(judge.per_picture(pictures), together.sum(1) / together.shape[1] ** 0.5)


def test_the_penalty_is_the_squared_gradient():
    torch.manual_seed(0)
    judge = PatchDiscriminator(PatchDiscriminatorConfig(width=2, halvings=1)).double()
    pictures = torch.randn(2, 3, 16, 16, dtype=torch.double)
    found = r1_penalty(judge.per_picture, pictures)
    step, squares = 1e-6, []
    for picture in pictures:
        total = 0.0
        for index in range(0, picture.numel(), 37):
            moved = [picture.clone(), picture.clone()]
            moved[0].view(-1)[index] += step
            moved[1].view(-1)[index] -= step
            high, low = (float(judge.per_picture(m[None]).detach()) for m in moved)
            total += ((high - low) / (2 * step)) ** 2
        squares.append(total)
    watched = pictures.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(judge.per_picture(watched).sum(), watched)
    wanted = gradient.flatten(1)[:, ::37].square().sum(1)
    torch.testing.assert_close(torch.tensor(squares, dtype=torch.double), wanted, rtol=1e-4, atol=1e-10)
    torch.testing.assert_close(found, gradient.square().sum((1, 2, 3)).mean())
