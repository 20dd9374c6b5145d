"""Bounded quadratic problems against SciPy and against the conditions of optimality."""

import numpy as np
import torch
from scipy.optimize import lsq_linear

from headstudio.tracking.quadratic import bounded_minimum


def problem(batch: int, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randn(batch, 2 * size, size, generator=draw, dtype=torch.float64)
    hessian = rows.transpose(1, 2) @ rows + 0.1 * torch.eye(size, dtype=torch.float64)
    return hessian, 10 * torch.randn(batch, size, generator=draw, dtype=torch.float64)


def test_minimum_is_that_of_scipy() -> None:
    hessian, descent = problem(8, 12, 0)
    lower, upper = torch.full_like(descent, -0.1), torch.full_like(descent, 0.3)
    lower[:, :3], upper[:, :3] = -torch.inf, torch.inf
    found = bounded_minimum(hessian, descent, lower, upper)
    for h, d, low, high, x in zip(hessian, descent, lower, upper, found, strict=True):
        root = torch.linalg.cholesky(h).T
        right = torch.linalg.solve_triangular(root.T, d[:, None], upper=False)[:, 0]
        expected = lsq_linear(root.numpy(), right.numpy(), (low.numpy(), high.numpy()), tol=1e-12).x
        np.testing.assert_allclose(x.numpy(), expected, atol=1e-6)


def test_optimality_conditions_hold_with_many_active_bounds() -> None:
    hessian, descent = problem(64, 60, 1)
    lower, upper = torch.zeros_like(descent), torch.full_like(descent, 0.1)
    x = bounded_minimum(hessian, descent, lower, upper)
    pull = descent - (hessian @ x[..., None])[..., 0]
    assert ((x >= lower) & (x <= upper)).all()
    assert (x == lower).float().mean() > 0.1 and (x == upper).float().mean() > 0.1
    assert pull[(x > lower) & (x < upper)].abs().max() < 1e-6
    assert pull[x == lower].max() < 1e-6 and pull[x == upper].min() > -1e-6


def test_equal_bounds_hold_a_variable() -> None:
    hessian, descent = problem(2, 5, 2)
    lower, upper = torch.full_like(descent, -torch.inf), torch.full_like(descent, torch.inf)
    lower[:, 2] = upper[:, 2] = 0.7
    x = bounded_minimum(hessian, descent, lower, upper)
    others = [0, 1, 3, 4]
    right = descent[:, others] - 0.7 * hessian[:, others, 2]
    expected = torch.linalg.solve(hessian[:, others][:, :, others], right)
    torch.testing.assert_close(x[:, others], expected)
    torch.testing.assert_close(x[:, 2], torch.full((2,), 0.7, dtype=torch.float64))
