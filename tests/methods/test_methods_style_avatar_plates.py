"""What is painted over: where the average person stands, what covers what, and the matte that goes with it."""

import pytest
import torch

from headstudio.methods.style_avatar.plates import Plate, affine_moved, standing, underpainting
from headstudio.methods.style_avatar.sizes import StyleAvatarSizes
from headstudio.methods.style_avatar.windows import Windows

SIDE = 32
SIZES = StyleAvatarSizes(window_cells=16, crop_cells=24, padded_cells=24, picture_px=2, rendering_px=1)
MIDDLE = torch.tensor([[4.0, 4.0]])


def disc(x, y, radius=6.0):
    places = torch.arange(SIDE) + 0.5
    return (((places[None] - x) ** 2 + (places[:, None] - y) ** 2) < radius**2).float()[None, None]


def plate(skin=1.0, opacity=0.0, person=0.5, matte=0.0, home=(0.5, 0.5)):
    background = torch.full((1, 3, 48, 48), -1.0)
    layers = torch.cat([torch.full((1, 3, SIDE, SIDE), person), torch.full((1, 1, SIDE, SIDE), matte)], 1)
    atlas = torch.cat([torch.full((1, 3, 8, 8), skin), torch.full((1, 1, 8, 8), opacity)], 1)
    return Plate(atlas, background, layers, torch.tensor([home]))


def painted(known, mask):
    uv = torch.full((len(mask), 2, SIDE, SIDE), 0.5)
    return underpainting(known, uv, mask, MIDDLE.expand(len(mask), 2), Windows(SIZES))


def test_a_mask_stands_where_its_middle_is_and_at_home_when_it_is_empty():
    masks = torch.cat([disc(10.0, 20.0), torch.zeros(1, 1, SIDE, SIDE)])
    found = standing(masks, torch.tensor([[0.3, 0.4]]))
    torch.testing.assert_close(found, torch.tensor([[10 / SIDE, 20 / SIDE], [0.3, 0.4]]), atol=0.01, rtol=0)


def test_nothing_known_of_the_person_shows_the_background_and_no_matte():
    found = painted(plate(), disc(16.0, 16.0))
    assert (found[:, :3] == -1).all() and (found[:, 3] == -1).all()


def test_the_person_covers_the_background_and_the_face_the_person():
    found = painted(plate(opacity=1.0, matte=1.0), disc(16.0, 16.0, 12.0))
    assert (found[:, 3] == 1).all()
    torch.testing.assert_close(found[0, :3, 16, 16], torch.ones(3))
    torch.testing.assert_close(found[0, :3, 0, 0], torch.full((3,), 0.5))


def test_the_face_fades_towards_the_outline_of_the_mesh():
    wide = disc(16.0, 16.0, 12.0)
    found = painted(plate(opacity=1.0), wide)[0, 3]
    rim = wide[0, 0].bool() & (torch.nn.functional.max_pool2d(1 - wide, 3, 1, 1)[0, 0] > 0)
    assert found[rim].mean() < 0 < found[16, 16]


def test_the_person_goes_with_the_head_pixel_by_pixel():
    known = plate(matte=1.0)
    generator = torch.Generator().manual_seed(2)
    person = torch.cat([torch.rand(1, 3, SIDE, SIDE, generator=generator), torch.ones(1, 1, SIDE, SIDE)], 1)
    known = known._replace(person=person)
    here, there = painted(known, disc(16.0, 16.0)), painted(known, disc(19.0, 14.0))
    torch.testing.assert_close(there[..., :-2, 3:], here[..., 2:, :-3], atol=1e-4, rtol=0)


@pytest.mark.parametrize("by", [(0.25, 0.0), (0.0, -0.125)])
def test_pictures_are_moved_by_shares_of_their_sides(by):
    picture = torch.rand(1, 2, 16, 16, generator=torch.Generator().manual_seed(4))
    moved = affine_moved(picture, torch.tensor([by]))
    columns, rows = round(by[0] * 16), round(by[1] * 16)
    kept = moved[..., max(-rows, 0) : 16 - max(rows, 0), max(-columns, 0) : 16 - max(columns, 0)]
    wanted = picture[..., max(rows, 0) : 16 + min(rows, 0), max(columns, 0) : 16 + min(columns, 0)]
    torch.testing.assert_close(kept, wanted, atol=1e-5, rtol=0)


def test_gradients_reach_colours_and_opacities_of_all_plates():
    known = plate(opacity=0.5, matte=0.5)
    learned = [values.requires_grad_() for values in known[:3]]
    painted(known, disc(16.0, 16.0, 12.0)).square().sum().backward()
    assert all(bool(values.grad.any()) for values in learned)
