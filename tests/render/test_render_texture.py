import pytest
import torch
from render_twins import DEVICES, REFUSED, leaf, sample_texture_twin, twin_leaf

from headstudio.render.texture import build_pyramid, sample_texture


def warped_uv(seed: int, batch: int = 2, height: int = 15, width: int = 21, zoom: float = 0.8):
    """A smoothly warped grid of places in the texture."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    grid = torch.stack([columns, rows])[None].repeat(batch, 1, 1, 1) * zoom + 0.1
    wave = torch.rand(batch, 2, 1, 1, generator=generator) * 6
    return grid + 0.03 * torch.sin(wave + 9 * grid.flip(1))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("rows", "columns"), [(16, 24), (37, 50), (128, 128), (1, 9)])
@pytest.mark.parametrize("shared", [True, False])
def test_values_and_gradients_equal_those_of_the_twin(device, rows, columns, shared):
    generator = torch.Generator().manual_seed(0)
    texture = torch.rand(1 if shared else 2, 3, rows, columns, generator=generator)
    uv, mask = warped_uv(1), (torch.rand(2, 1, 15, 21, generator=generator) > 0.2).float()
    weights = torch.randn(2, 3, 15, 21, generator=generator)

    texels, places = leaf(texture, device), leaf(uv, device)
    image = sample_texture(texels, places, mask.to(device))
    (image * weights.to(device)).sum().backward()

    twin_texels, twin_places = twin_leaf(texture), twin_leaf(uv)
    expected = sample_texture_twin(twin_texels, twin_places, mask.double())
    (expected * weights).sum().backward()
    torch.testing.assert_close(image.detach().cpu().double(), expected.detach(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(texels.grad.cpu().double(), twin_texels.grad, atol=1e-4, rtol=1e-3)
    largest = float(twin_places.grad.abs().max())
    torch.testing.assert_close(places.grad.cpu().double(), twin_places.grad, atol=1e-3 * largest, rtol=1e-3)


def test_a_checkerboard_seen_from_afar_is_grey_and_aliases_without_the_pyramid():
    board = ((torch.arange(256)[:, None] + torch.arange(256)) % 2).float().expand(1, 1, -1, -1)
    uv = warped_uv(0, 1)
    far = sample_texture(board, uv)
    assert (far - 0.5).abs().max() < 1e-3
    assert (sample_texture(board, uv, mip=False) - 0.5).abs().max() > 0.2


def test_a_magnified_texture_is_bilinear_with_its_origin_at_the_top_left():
    texture = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    uv = torch.tensor([[[[0.25, 0.75, 0.5]], [[0.25, 0.25, 0.75]]]])
    torch.testing.assert_close(sample_texture(texture, uv, mip=False)[0, 0, 0], torch.tensor([0.0, 1.0, 2.5]))


def test_a_seam_between_two_charts_does_not_blur_them():
    """Left half of the picture from the texture's left end, right half from its far right end, at one texel a pixel."""
    texture = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    columns = torch.cat([torch.arange(8), torch.arange(56, 64)]) + 0.5
    uv = torch.stack([columns.expand(8, -1), (torch.arange(8) + 0.5)[:, None].expand(-1, 16)])[None] / 64
    torch.testing.assert_close(sample_texture(texture, uv)[0, 0], texture[0, 0, :8, (columns - 0.5).long()])


def test_places_outside_the_texture_show_its_border_without_a_gradient():
    texture = torch.rand(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    uv = torch.tensor([[[[-0.5, 1.7]], [[0.5, 2.0]]]], requires_grad=True)
    image = sample_texture(texture, uv, mip=False)
    image.sum().backward()
    torch.testing.assert_close(image[0, :, 0, 0], texture[0, :, 3:5, 0].mean(-1))
    torch.testing.assert_close(image[0, :, 0, 1], texture[0, :, 7, 7])
    assert (uv.grad[0, :, 0, 1] == 0).all()
    assert uv.grad[0, 0, 0, 0] == 0
    assert uv.grad[0, 1, 0, 0] != 0


def test_masked_pixels_are_black_and_their_places_are_never_read():
    texture, uv = torch.rand(1, 1, 8, 8), warped_uv(0, 1)
    mask = torch.ones(1, 1, 15, 21)
    mask[..., 5:, :] = 0
    uv[..., 5:, :] = float("nan")
    image = sample_texture(texture, uv, mask)
    assert (image[..., 5:, :] == 0).all()
    assert torch.isfinite(image).all()


def test_a_pyramid_made_before_gives_the_same_picture():
    texture, uv = torch.rand(1, 3, 40, 40), warped_uv(2)
    assert torch.equal(sample_texture(build_pyramid(texture), uv), sample_texture(texture, uv))
    assert build_pyramid(texture).sizes == ((40, 40), (20, 20), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1))


def test_gradient_of_the_place_equals_the_finite_difference():
    texture = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(3))
    uv = warped_uv(3, 1, 6, 6).requires_grad_()
    sample_texture(texture, uv, mip=False).sum().backward()
    step = 1e-3
    for axis in range(2):
        shift = step * torch.eye(2)[axis][None, :, None, None]
        higher = sample_texture(texture, uv.detach() + shift, mip=False)
        lower = sample_texture(texture, uv.detach() - shift, mip=False)
        slope = ((higher - lower) / (2 * step))[0, 0]
        # Where the two samples straddle a texel centre the slope changes in between.
        assert ((slope - uv.grad[0, axis]).abs() < 0.02).float().mean() > 0.9


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(REFUSED, match="texture"):
        sample_texture(torch.rand(3, 1, 8, 8), warped_uv(0))
    with pytest.raises(REFUSED, match="mask"):
        sample_texture(torch.rand(1, 1, 8, 8), warped_uv(0), torch.ones(2, 1, 3, 3))
    with pytest.raises(REFUSED, match="uv"):
        sample_texture(torch.rand(1, 1, 8, 8), torch.rand(1, 3, 4, 4))
