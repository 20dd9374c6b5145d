"""Batched small quadratic problems with bounds: the inner problem of every Gauss-Newton step."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_ROUNDS = 12


def bounded_minimum(
    hessian: Float[Tensor, "batch n n"],
    descent: Float[Tensor, "batch n"],
    lower: Float[Tensor, "batch n"],
    upper: Float[Tensor, "batch n"],
) -> Float[Tensor, "batch n"]:
    """The x in [lower, upper] that minimises x' H x / 2 - descent' x.

    Primal-dual active sets (Hintermüller, Ito, Kunisch 2003): every entry of the batch changes all of its active
    bounds at once, which for diagonally loaded Hessians ends after a few dense solves; a last clamp keeps the promise
    of the bounds where it has not ended.
    """
    hessian, descent = hessian.double(), descent.double()
    lower, upper = lower.double(), upper.double()
    # Near a solution, what lies on its bound and is pushed outward mostly stays there: two rounds instead of seven.
    low, high = (lower >= 0) & (descent < 0), (upper <= 0) & (descent > 0)
    x = torch.zeros_like(descent)
    for _ in range(_ROUNDS):
        held = low | high
        target = torch.where(low, lower, torch.where(high, upper, torch.zeros_like(x)))
        x = solve_free(hessian, descent, held, target)
        pull = descent - (hessian @ x[..., None])[..., 0]
        # A held bound is released when the pull leads back inside; a free variable is held where it left its range.
        next_low = torch.where(held, low & (pull <= 0), x < lower)
        next_high = torch.where(held, high & (pull >= 0), x > upper)
        if torch.equal(next_low, low) and torch.equal(next_high, high):
            break
        low, high = next_low, next_high
    return x.clamp(lower, upper)


def solve_free(
    hessian: Float[Tensor, "batch n n"],
    descent: Float[Tensor, "batch n"],
    held: Bool[Tensor, "batch n"],
    target: Float[Tensor, "batch n"],
) -> Float[Tensor, "batch n"]:
    """The stationary point with the held variables at their target."""
    fixed = torch.where(held, target, torch.zeros_like(target))
    right = torch.where(held, target, descent - (hessian @ fixed[..., None])[..., 0])
    free = ~held
    matrix = hessian * (free[:, :, None] & free[:, None, :]) + torch.diag_embed(held.to(hessian))
    return torch.linalg.solve(matrix, right)
