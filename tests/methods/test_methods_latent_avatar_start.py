"""The volume that latent-avatar starts from: on the surface of the tracked head, in the colours of the film."""

import pytest
import torch
from torch.nn import functional as F

from headstudio.heads import load_head
from headstudio.methods.latent_avatar import start
from headstudio.methods.latent_avatar.frame import HeadFrame
from headstudio.methods.latent_avatar.start import first_volume, trilinear
from headstudio.render.closest import SurfaceIndex, signed_distance
from support.tiny import tiny_source

SIDE = 24


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return tiny_source(tmp_path_factory.mktemp("start") / "capture")


@pytest.fixture(scope="module")
def head(source):
    return load_head(source.track.identity.head)


@pytest.fixture(scope="module")
def box(head):
    return HeadFrame.of(head, head.template_m).box((-1.3, -1.3, -1.3), (1.3, 1.3, 1.3))


@pytest.fixture(scope="module")
def first(source, head, box):
    return first_volume((source,), head.template_m, head.triangles.long(), box, SIDE)


def test_looking_up_is_what_torch_does_with_aligned_corners():
    generator = torch.Generator().manual_seed(0)
    volume = torch.rand(5, 5, 5, 3, generator=generator)
    places = torch.rand(200, 3, generator=generator) * 2.4 - 1.2
    wanted = F.grid_sample(
        volume.permute(3, 2, 1, 0)[None], places[None, None, None], padding_mode="border", align_corners=True
    )
    torch.testing.assert_close(trilinear(volume, places), wanted[0, :, 0, 0].T)


def test_it_is_dense_within_the_head_and_fog_far_from_it(first, head, box):
    generator = torch.Generator().manual_seed(1)
    low, high = box.corners(head.template_m)
    points = low + (high - low) * torch.rand(400, 3, generator=generator)
    away = signed_distance(points, SurfaceIndex(head.template_m, head.triangles.long())).distance
    density = trilinear(first, box.scaled(points))[:, 0]
    # Where the neck is open, in and out are told apart by chance.
    assert density[away > 0.045].quantile(0.95) < -2 and (away > 0.045).sum() > 20
    assert torch.corrcoef(torch.stack([density, away]))[0, 1] < -0.7


def test_where_nobody_was_filmed_all_is_grey(first):
    assert (first[..., 1:] == 0.5).all()


def test_colours_are_those_of_the_film_and_go_on_where_nobody_looked(source, head, box, monkeypatch):
    class RedFilm:
        def __init__(self, source, side_px):
            self.picture = torch.zeros(4, side_px, side_px, dtype=torch.uint8)
            self.picture[[0, 3]] = 255

        def __getitem__(self, frame):
            return self.picture

    monkeypatch.setattr(start, "FrameStore", RedFilm)
    colours = first_volume((source,), head.template_m, head.triangles.long(), box, SIDE)[..., 1:]
    torch.testing.assert_close(colours, torch.tensor([1.0, 0.0, 0.0]).expand_as(colours), atol=1e-4, rtol=0)
