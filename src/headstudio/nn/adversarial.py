"""The losses of an adversarial training: logistic, non-saturating (Goodfellow et al. 2014), and the R1 penalty.

Their weights are the caller's. StyleGAN2 weighs R1 by gamma / 2 times the number of steps between two penalties.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def generator_loss(scores_made: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Mean of -log of the probability that a made picture is real."""
    return F.softplus(-scores_made).mean()


def discriminator_loss(scores_real: Float[Tensor, " real"], scores_made: Float[Tensor, " made"]) -> Float[Tensor, ""]:
    """Mean of -log of the probability that real pictures are real, and of that that made ones are not."""
    return F.softplus(-scores_real).mean() + F.softplus(scores_made).mean()


def r1_penalty(
    score: Callable[[Tensor], Tensor], pictures: Float[Tensor, "batch channels rows columns"]
) -> Float[Tensor, ""]:
    """Mean over real pictures of the squared length of the score's gradient (Mescheder et al. 2018), differentiable.

    Args:
        score: gives one score a picture, from that picture alone; conditions are bound by the caller.
        pictures: real pictures.
    """
    with torch.enable_grad():
        watched = pictures.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(watched).sum(), watched, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()
