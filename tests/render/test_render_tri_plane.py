"""Three feature planes: values and gradients against a naive twin and against `grid_sample`, borders, bad input."""

import pytest
import torch
from render_twins import DEVICES, REFUSED, leaf, twin_leaf

from headstudio.errors import HeadstudioError
from headstudio.render.tri_plane import sample_tri_plane, sample_tri_plane_plainly


def tri_plane_twin(planes, points, entry, combination):
    """Point by point, from the definition: bilinear between texel centres that reach from -1 to 1."""
    channels, rows, columns = planes.shape[1] // 3, *planes.shape[2:]
    features = []
    for point, batch in zip(points, entry.tolist(), strict=True):
        of_planes = []
        for plane, (first, second) in enumerate([(0, 1), (0, 2), (1, 2)]):
            image = planes[batch, plane * channels : (plane + 1) * channels]
            x = ((point[first] + 1) / 2 * (columns - 1)).clamp(0, columns - 1)
            y = ((point[second] + 1) / 2 * (rows - 1)).clamp(0, rows - 1)
            left, top = min(int(x), max(columns - 2, 0)), min(int(y), max(rows - 2, 0))
            right, below = min(left + 1, columns - 1), min(top + 1, rows - 1)
            u, v = x - left, y - top
            upper = image[:, top, left] * (1 - u) + image[:, top, right] * u
            of_planes.append(upper * (1 - v) + (image[:, below, left] * (1 - u) + image[:, below, right] * u) * v)
        features.append(sum(of_planes) if combination == "sum" else torch.cat(of_planes))
    return torch.stack(features)


def scene(channels, rows, columns, count=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    planes = torch.randn(2, 3 * channels, rows, columns, generator=generator)
    points = torch.rand(count, 3, generator=generator) * 2.6 - 1.3
    return planes, points, torch.randint(0, 2, (count,), generator=generator)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("combination", ["sum", "concatenate"])
@pytest.mark.parametrize(("channels", "rows", "columns"), [(8, 6, 9), (5, 7, 4), (16, 2, 2), (3, 1, 5)])
def test_values_and_gradients_equal_those_of_the_twin(device, combination, channels, rows, columns):
    planes, points, entry = scene(channels, rows, columns)
    weights = torch.randn(len(points), channels * (1 if combination == "sum" else 3))

    ours, places = leaf(planes, device), leaf(points, device)
    features = sample_tri_plane(ours, places, entry.to(device), combination)
    (features * weights.to(device)).sum().backward()

    twin, twin_places = twin_leaf(planes), twin_leaf(points)
    expected = tri_plane_twin(twin, twin_places, entry, combination)
    (expected * weights).sum().backward()
    torch.testing.assert_close(features.detach().cpu().double(), expected.detach(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.grad.cpu().double(), twin.grad, atol=1e-4, rtol=1e-4)
    largest = max(float(twin_places.grad.abs().max()), 1.0)
    torch.testing.assert_close(places.grad.cpu().double(), twin_places.grad, atol=1e-4 * largest, rtol=1e-4)


@pytest.mark.parametrize("combination", ["sum", "concatenate"])
def test_the_form_for_onnx_gives_the_same_numbers_and_gradients(combination):
    planes, points, _ = scene(8, 11, 6, count=60)
    points = points.reshape(2, 30, 3)
    plain, packed = leaf(planes), leaf(planes)
    by_grid = sample_tri_plane_plainly(plain, points, combination).flatten(0, 1)
    ours = sample_tri_plane(packed, points.flatten(0, 1), torch.arange(2).repeat_interleave(30), combination)
    weights = torch.randn_like(ours)
    (by_grid * weights).sum().backward()
    (ours * weights).sum().backward()
    torch.testing.assert_close(ours, by_grid, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(packed.grad, plain.grad, atol=1e-5, rtol=1e-5)


def test_each_plane_is_spanned_by_the_axes_it_is_named_after():
    """Every plane holds its own column and row as features: a point comes back as its coordinates."""
    axis = torch.linspace(-1, 1, 5)
    ramp = torch.stack([axis.expand(5, 5), axis[:, None].expand(5, 5)])
    point = torch.tensor([[0.3, -0.6, 0.9]])
    found = sample_tri_plane(ramp.repeat(3, 1, 1)[None], point, torch.zeros(1, dtype=torch.int32), "concatenate")
    torch.testing.assert_close(found[0], point[0, [0, 1, 0, 2, 1, 2]])


def test_beyond_the_box_the_border_goes_on_without_a_gradient():
    planes, _, entry = scene(8, 6, 6, count=2)
    inside, outside = torch.tensor([[1.0, 0.2, -1.0]] * 2), torch.tensor([[7.0, 0.2, -3.0]] * 2, requires_grad=True)
    found = sample_tri_plane(planes, outside, entry)
    torch.testing.assert_close(found, sample_tri_plane(planes, inside, entry))
    found.sum().backward()
    assert (outside.grad[:, [0, 2]] == 0).all()
    assert (outside.grad[:, 1] != 0).all()


def test_points_that_are_not_finite_read_no_foreign_memory():
    planes, _, entry = scene(8, 6, 6, count=2)
    sample_tri_plane(planes, torch.tensor([[float("nan")] * 3, [float("inf"), -float("inf"), 1e38]]), entry)


def test_no_points_are_no_mistake():
    planes = torch.randn(1, 24, 4, 4, requires_grad=True)
    found = sample_tri_plane(planes, torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    assert found.shape == (0, 8)
    found.sum().backward()
    assert (planes.grad == 0).all()


def test_memory_format_changes_nothing():
    planes, points, entry = scene(8, 6, 9)
    packed = planes.to(memory_format=torch.channels_last)
    assert torch.equal(sample_tri_plane(planes, points, entry), sample_tri_plane(packed, points, entry))


@pytest.mark.parametrize(
    ("planes", "points", "entry", "named"),
    [
        (torch.rand(1, 16, 4, 4), torch.rand(5, 3), torch.zeros(5).int(), "planes"),
        (torch.rand(1, 0, 4, 4), torch.rand(5, 3), torch.zeros(5).int(), "planes"),
        (torch.rand(1, 24, 4), torch.rand(5, 3), torch.zeros(5).int(), "planes"),
        (torch.rand(1, 24, 4, 0), torch.rand(5, 3), torch.zeros(5).int(), "planes"),
        (torch.rand(1, 24, 4, 4), torch.rand(5, 2), torch.zeros(5).int(), "points"),
        (torch.rand(1, 24, 4, 4), torch.rand(5, 3), torch.zeros(4).int(), "entry"),
        (torch.rand(1, 24, 4, 4), torch.rand(5, 3), torch.ones(5).int(), "entry"),
        (torch.rand(1, 24, 4, 4), torch.rand(5, 3), -torch.ones(5).int(), "entry"),
    ],
)
def test_what_does_not_fit_is_refused(planes, points, entry, named):
    with pytest.raises(REFUSED, match=named):
        sample_tri_plane(planes, points, entry)


def test_the_refusal_says_what_to_pass():
    with pytest.raises(HeadstudioError, match="three times the channels"):
        sample_tri_plane(torch.rand(1, 16, 4, 4), torch.rand(5, 3), torch.zeros(5).int())
