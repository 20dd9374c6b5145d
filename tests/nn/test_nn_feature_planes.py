"""Sliding windows: the plane's own numbers, exact shifts, bilinear between, padding, gradients; the composition."""

import pytest
import torch

from headstudio.nn.feature_planes import compose, slide_window


def _plane(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _written_out(plane, offset, rows, columns) -> tuple[torch.Tensor, torch.Tensor]:
    """Cell by cell: four neighbours weighed by area, a neighbour beyond the plane counting 0."""
    channels, height, width = plane.shape
    features = torch.zeros(channels, rows, columns, dtype=plane.dtype)
    valid = torch.zeros(rows, columns, dtype=plane.dtype)
    x0, y0 = (int(torch.floor(value)) for value in offset)
    for row in range(rows):
        for column in range(columns):
            for dy in (0, 1):
                for dx in (0, 1):
                    y, x = y0 + row + dy, x0 + column + dx
                    share = abs(1 - dy - (offset[1] - y0)) * abs(1 - dx - (offset[0] - x0))
                    if 0 <= y < height and 0 <= x < width:
                        features[:, row, column] += share * plane[:, y, x]
                        valid[row, column] += share
    return features, valid


@pytest.mark.parametrize("offset", [(2.0, 1.0), (0.0, 0.0), (1.25, 2.5), (-1.5, 4.0), (6.75, -2.25), (-40.0, 3.0)])
def test_it_is_bilinear_and_zero_beyond_the_plane(offset) -> None:
    plane, where = _plane(1, 3, 7, 9), torch.tensor([offset], dtype=torch.float64)
    window = slide_window(plane, where, 4, 5)
    features, valid = _written_out(plane[0], where[0], 4, 5)
    assert torch.allclose(window.features[0], features, atol=1e-12)
    assert torch.allclose(window.valid[0, 0], valid, atol=1e-12)


def test_whole_offsets_give_the_planes_own_numbers() -> None:
    plane = torch.randn(2, 3, 12, 12)
    window = slide_window(plane, torch.tensor([[3.0, 5.0], [0.0, 8.0]]), 4, 4)
    assert torch.equal(window.features[0], plane[0, :, 5:9, 3:7])
    assert torch.equal(window.features[1], plane[1, :, 8:12, 0:4])
    assert window.valid.min() == 1


def test_one_plane_serves_many_windows() -> None:
    plane, offsets = torch.randn(1, 3, 12, 12), torch.tensor([[3.0, 5.0], [-1.0, 8.5]])
    together = slide_window(plane, offsets, 4, 4)
    for index, offset in enumerate(offsets):
        alone = slide_window(plane, offset[None], 4, 4)
        assert torch.equal(together.features[index], alone.features[0])
        assert torch.equal(together.valid[index], alone.valid[0])


def test_two_half_steps_are_not_a_whole_one_but_every_row_sums_to_what_it_saw() -> None:
    plane = torch.ones(1, 1, 8, 8)
    window = slide_window(plane, torch.tensor([[-0.5, -0.25]]), 8, 8)
    assert torch.equal(window.features, window.valid)
    assert torch.allclose(window.valid[0, 0, 0, :2], torch.tensor([0.375, 0.75]))


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, 1), (1, 1), (-1, 0), (3, -2)])
@pytest.mark.parametrize("start", [(6.0, 6.0), (5.5, 6.25)])
def test_a_window_moved_by_cells_moves_the_composition_by_as_many(dx, dy, start) -> None:
    """Face, foreground and background on their planes; the picture of the later window is the earlier one, moved."""
    face, foreground, background = (torch.randn(1, 4, 24, 24) for _ in range(3))
    share = torch.rand(1, 1, 24, 24)

    def picture(offset: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        windows = [slide_window(plane, offset, 10, 10) for plane in (face, foreground, background, share)]
        return compose(*(window.features for window in windows)), windows[0].valid

    first, valid = picture(torch.tensor([start]))
    second, _ = picture(torch.tensor([start]) + torch.tensor([[float(dx), float(dy)]]))
    assert valid.min() == 1
    rows, columns = slice(max(dy, 0), 10 + min(dy, 0)), slice(max(dx, 0), 10 + min(dx, 0))
    moved_rows, moved_columns = slice(max(-dy, 0), 10 - max(dy, 0)), slice(max(-dx, 0), 10 - max(dx, 0))
    assert torch.equal(first[..., rows, columns], second[..., moved_rows, moved_columns])


def test_foreground_and_background_move_apart() -> None:
    foreground, background = torch.randn(1, 2, 20, 20), torch.randn(1, 2, 20, 20)
    share = torch.zeros(1, 1, 20, 20)
    share[..., 8:12, 8:12] = 1.0
    still = torch.tensor([[5.0, 5.0]])

    def picture(offset: torch.Tensor) -> torch.Tensor:
        front, matte = (slide_window(plane, offset, 10, 10).features for plane in (foreground, share))
        behind = slide_window(background, still, 10, 10).features
        return compose(torch.zeros_like(front), front, behind, matte)

    first, second = picture(still), picture(still - torch.tensor([[2.0, 0.0]]))
    assert torch.equal(first[..., 3:7, 3:7], second[..., 3:7, 5:9])  # the foreground went two cells right
    assert torch.equal(first[..., :3, :], second[..., :3, :])  # what is behind it stayed
    assert torch.equal(second[..., 3:7, 3:5], background[..., 8:12, 8:10])  # and shows where the foreground was


def test_gradients_are_those_of_finite_differences() -> None:
    plane = _plane(1, 2, 5, 6).requires_grad_()
    offsets = torch.tensor([[0.3, 1.6], [-1.4, 2.5]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p, o: tuple(slide_window(p, o, 3, 4)), (plane, offsets))


def test_the_plane_learns_under_all_windows_that_saw_it() -> None:
    plane = torch.zeros(1, 1, 6, 6, requires_grad=True)
    slide_window(plane, torch.tensor([[0.0, 0.0], [1.0, 0.0], [3.0, 3.0]]), 3, 3).features.sum().backward()
    wanted = torch.zeros(6, 6)
    wanted[0:3, 0:3] += 1
    wanted[0:3, 1:4] += 1
    wanted[3:6, 3:6] += 1
    assert plane.grad is not None
    assert torch.equal(plane.grad[0, 0], wanted)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_full_share_shows_one_side_and_the_face_on_it(share) -> None:
    face, front, behind = torch.randn(3, 1, 2, 4, 4).unbind()
    shown = compose(face, front, behind, torch.full((1, 1, 4, 4), share))
    assert torch.equal(shown, face + (front if share else behind))
