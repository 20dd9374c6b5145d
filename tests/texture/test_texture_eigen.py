"""Eigen-textures against the singular value decomposition that they are."""

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.texture.eigen import EigenTextures

SIDE, FRAMES = 8, 20


@pytest.fixture(scope="module")
def measured():
    make = torch.Generator().manual_seed(0)
    parts = torch.randn(5, 3, SIDE, SIDE, generator=make) * torch.tensor([8.0, 4.0, 2.0, 1.0, 0.5])[:, None, None, None]
    textures = torch.einsum("fk,kcij->fcij", torch.randn(FRAMES, 5, generator=make), parts)
    counts = torch.rand(1, 1, SIDE, SIDE, generator=make) * 3
    counts[..., 0] = 0
    return textures, counts


@pytest.mark.parametrize("components", [1, 3, 5])
def test_they_are_the_leading_singular_directions_under_the_weights(measured, components):
    textures, counts = measured
    model = EigenTextures(components, SIDE)
    model.measure(textures, counts)
    found = model(model.coefficients(textures))
    rows = (textures * counts.sqrt()).flatten(1).double()
    left, scale, right = torch.linalg.svd(rows, full_matrices=False)
    best = (left[:, :components] * scale[:components]) @ right[:components]
    torch.testing.assert_close((found * counts.sqrt()).flatten(1).double(), best, atol=1e-3, rtol=1e-3)
    assert not found[..., 0].any()


def test_coefficients_come_back_and_have_the_size_one(measured):
    textures, counts = measured
    model = EigenTextures(4, SIDE)
    model.measure(textures, counts)
    told = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model.coefficients(model(told)), told, atol=1e-4, rtol=1e-4)
    own = model.coefficients(textures)
    torch.testing.assert_close(own.square().mean(0), torch.ones(4), atol=1e-3, rtol=1e-3)


def test_fewer_frames_than_components_leave_the_rest_empty(measured):
    textures, counts = measured
    model = EigenTextures(6, SIDE)
    model.measure(textures[:2], counts)
    assert not model.basis[2:].any() and torch.isfinite(model.coefficients(textures)).all()
    torch.testing.assert_close(
        model(model.coefficients(textures[:2])) * (counts > 0), textures[:2] * (counts > 0), atol=1e-3, rtol=1e-3
    )


def test_a_model_of_nothing_says_nothing(measured):
    textures, counts = measured
    model = EigenTextures(0, SIDE)
    model.measure(textures, counts)
    assert model.coefficients(textures).shape == (FRAMES, 0) and not model(torch.zeros(2, 0)).any()


def test_measuring_twice_is_the_same_to_the_bit(measured):
    first, second = EigenTextures(3, SIDE), EigenTextures(3, SIDE)
    for model in (first, second):
        torch.rand(7)
        model.measure(*measured)
    assert torch.equal(first.basis, second.basis)


@pytest.mark.parametrize("sizes", [(-1, 8), (3, 0)])
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(HeadstudioError):
        EigenTextures(*sizes)
