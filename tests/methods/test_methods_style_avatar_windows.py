"""StyleAvatar's grid: sizes that fit together, boxes cut and laid back, features that move by the cell with pixels."""

import pytest
import torch
from torch.nn import functional as F

from headstudio.methods.style_avatar.sizes import SIZES, StyleAvatarSizes
from headstudio.methods.style_avatar.windows import BoxConfig, Windows
from headstudio.nn.feature_generator import FeatureGenerator
from headstudio.nn.feature_planes import compose
from headstudio.nn.level_widths import LevelWidths
from headstudio.nn.noise_maps import noise_pyramid
from headstudio.nn.resampling import upsample
from headstudio.nn.style_unet import StyleUNet
from headstudio.nn.wavelets import synthesise

TINY = StyleAvatarSizes(
    window_cells=32,
    crop_cells=48,
    padded_cells=64,
    picture_px=4,
    plane_side=32,
    generator_widths=LevelWidths(256, 8),
    foreground_widths=LevelWidths(256, 8),
    image_widths=LevelWidths(256, 8),
    feature_channels=6,
)


@pytest.mark.parametrize("name", SIZES)
def test_the_sizes_of_a_preset_fit_together(name) -> None:
    sizes = SIZES[name]
    assert {"draft": 256, "standard": 512, "paper": 1024}[name] == sizes.picture_side_px == sizes.discriminator().side
    assert sizes.crop_cells == 1.5 * sizes.window_cells  # section 3.1
    assert sizes.padded_cells >= sizes.crop_cells
    assert sizes.foreground().out_channels == sizes.plane().out_channels == sizes.image().channels
    assert sizes.foreground().encoder_side == sizes.foreground().out_side == sizes.padded_cells
    assert sizes.image().out_side * 2 == sizes.picture_side_px
    assert 2 * sizes.plane_side >= sizes.crop_cells
    assert sizes.window_cells << (sizes.noise_levels - 1) == sizes.image().out_side


def test_the_paper_preset_has_the_papers_grid() -> None:
    windows, sizes = Windows(SIZES["paper"]), SIZES["paper"]
    assert (windows.middle_cells, windows.crop_on_canvas_cells, sizes.noise_channels) == (32, 32, 21)
    assert (sizes.crop_cells * sizes.picture_px, sizes.foreground().side) == (1536, 512)


def test_boxes_are_whole_cells_within_reach_and_the_same_for_a_seed() -> None:
    windows = Windows(SIZES["paper"])
    draws = [windows.draw(4000, BoxConfig(), torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*draws)
    boxes = draws[0]
    assert torch.equal(boxes, boxes.round())
    assert boxes.min() >= 10  # the authors' limits
    assert boxes.max() <= 54
    assert (boxes.mean(0) - 32).abs().max() < 5 * 5.34 / 4000**0.5
    assert (boxes.std(0) - 128 / 24).abs().max() < 0.4
    assert windows.draw(9, BoxConfig(deviation=0.0)).unique().tolist() == [32.0]


@pytest.mark.parametrize("pixels", [1, 2, 4])
@pytest.mark.parametrize("box", [(8.0, 8.0), (3.0, 13.0), (0.0, 16.0)])
def test_what_is_cut_lies_on_the_canvas_where_it_was(pixels, box) -> None:
    windows, boxes = Windows(TINY), torch.tensor([box])
    crop = torch.randn(1, 3, 48 * pixels, 48 * pixels)
    boxed = windows.cut(crop, boxes)
    x, y = (int(value) * pixels for value in box)
    assert torch.equal(boxed.features, crop[..., y : y + 32 * pixels, x : x + 32 * pixels])
    assert boxed.valid.min() == 1
    canvas = windows.lay_on_canvas(boxed.features, boxes)
    assert canvas.shape == (1, 3, 64 * pixels, 64 * pixels)
    rows, columns = (slice(8 * pixels + start, 8 * pixels + start + 32 * pixels) for start in (y, x))
    assert torch.equal(canvas[..., rows, columns], boxed.features)
    canvas[..., rows, columns] = -1.0
    assert torch.equal(canvas, torch.full_like(canvas, -1.0))


def test_a_box_that_leaves_the_crop_is_told_as_invalid() -> None:
    boxed = Windows(TINY).cut(torch.ones(1, 1, 96, 96), torch.tensor([[-2.0, 20.0]]))
    assert torch.equal(boxed.features, boxed.valid)
    assert boxed.valid[..., :4].max() == 0
    assert boxed.valid[..., 56:, :].max() == 0
    assert boxed.valid[..., :56, 4:].min() == 1


def test_features_of_the_canvas_are_found_under_the_box() -> None:
    windows, boxes = Windows(TINY), torch.tensor([[5.0, 11.0]])
    rendering = torch.randn(1, 3, 96, 96)  # two pixels a cell
    boxed = windows.cut(rendering, boxes).features
    features = F.avg_pool2d(windows.lay_on_canvas(boxed, boxes), 2)
    assert torch.allclose(windows.of_canvas(features, boxes).features, F.avg_pool2d(boxed, 2))


def test_a_box_moved_by_cells_moves_all_features_and_the_noise_by_as_many() -> None:
    """Through the foreground network, the background's plane, the composition and the noise, in their real order."""
    torch.manual_seed(0)
    windows, code = Windows(TINY), torch.randn(1, 64)
    foreground, plane = StyleUNet(TINY.foreground()), FeatureGenerator(TINY.plane())
    rendering = torch.full((1, 3, 96, 96), -1.0)
    rendering[..., 36:60, 36:60] = torch.rand(1, 3, 24, 24)  # a head that lies in either box
    noise = torch.randn(1, 5, 48, 48)

    def composed(boxes: torch.Tensor) -> tuple[torch.Tensor, ...]:
        canvas = windows.lay_on_canvas(windows.cut(rendering, boxes).features, boxes)
        front = windows.of_canvas(foreground(canvas, code).features, boxes).features
        behind = windows.of_crop_plane(upsample(plane(code).features), boxes).features
        features = compose(torch.zeros_like(behind), front, behind, front[:, :1].sigmoid())
        return features, *noise_pyramid(windows.cut(noise, boxes).features, 2)

    here, there = torch.tensor([[8.0, 8.0]]), torch.tensor([[9.0, 6.0]])
    with torch.no_grad():
        first, second = composed(here), composed(there)
        bare = [foreground(windows.cut(rendering, boxes).features, code).features for boxes in (here, there)]
    for one, other in zip(first, second, strict=True):
        fine = one.shape[-1] // 32
        assert torch.equal(one[..., : -2 * fine, fine:], other[..., 2 * fine :, :-fine])
    # Without the canvas the network sees the box alone, and its features do not move with what it shows.
    assert (bare[0][..., 8:-10, 9:-8] - bare[1][..., 10:-8, 8:-9]).abs().max() > 1e-2


def test_the_image_network_makes_a_picture_of_the_window() -> None:
    torch.manual_seed(0)
    image, code = StyleUNet(TINY.image()), torch.randn(1, 64)
    noise = noise_pyramid(torch.randn(1, TINY.noise_channels, 32, 32), TINY.noise_levels)
    bands = image(torch.randn(1, 6, 32, 32), code, noise).picture
    assert synthesise(bands).shape == (1, 3, TINY.picture_side_px, TINY.picture_side_px)
