"""The scores of paper 2's tables: kernel distances, displaced truths, curves."""

import pytest
import torch

from style_avatar import kernel_distance
from style_avatar_range import moved_truths, shifted
from style_avatar_training import table


def naive_distance(found, wanted):
    """The sums of the definition, pair by pair."""
    width = found.shape[1]

    def kernel(a, b):
        return float((a @ b) / width + 1) ** 3

    def within(rows):
        pairs = [kernel(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]
        return sum(pairs) / len(pairs)

    across = [kernel(a, b) for a in found for b in wanted]
    return 1000 * (within(found) + within(wanted) - 2 * sum(across) / len(across))


def test_kernel_distances_are_those_of_the_definition():
    torch.manual_seed(0)
    found, wanted = torch.randn(7, 5).double(), torch.randn(9, 5).double() + 0.5
    assert kernel_distance(found, wanted) == pytest.approx(naive_distance(found, wanted), rel=1e-9)


def test_samples_of_one_distribution_are_nearer_than_those_of_two():
    draw = torch.Generator().manual_seed(1)
    first, second = (torch.randn(200, 8, generator=draw).double() for _ in range(2))
    assert abs(kernel_distance(first, second)) < 0.1 * kernel_distance(first, second + 1)


@pytest.mark.parametrize("by_px", [0, 3, -3])
def test_a_layer_moves_and_lets_nothing_in(by_px):
    layer = torch.rand(2, 4, 10) + 0.5
    moved = shifted(layer, by_px)
    for column in range(10):
        source = column - by_px
        wanted = layer[..., source] if 0 <= source < 10 else torch.zeros(2, 4)
        assert torch.equal(moved[..., column], wanted)


def test_displaced_truths_keep_the_layer_that_stays():
    picture, empty = torch.rand(4, 6, 12), torch.rand(3, 6, 12)
    picture[3] = (picture[3] > 0.5).float()
    for kind, wanted, known in moved_truths(picture, empty, 4):
        matte = picture[3:] if kind == "background" else shifted(picture[3:], 4)
        person = picture[:3] if kind == "background" else shifted(picture[:3], 4)
        behind = empty if kind == "foreground" else shifted(empty, 4)
        assert torch.allclose(wanted * known, (matte * person + (1 - matte) * behind) * known)
        assert known.mean() == (1.0 if kind == "foreground" else pytest.approx(8 / 12))


def test_curves_tell_when_a_row_is_as_good_as_the_whole_method_ends():
    curves = {
        "single-unet": [(10, 0.9), (20, 0.5)],
        "full": [(10, 0.6), (20, 0.4)],
        "pretrained": [(10, 0.3), (20, 0.2)],
    }
    ends = {line.split("|")[1].strip(): line.split("|")[-2].strip() for line in table(curves)[2:]}
    assert ends == {"single-unet": "-", "full": "20", "pretrained": "10"}
