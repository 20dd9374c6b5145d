"""One texture a frame: from one view, from two, from none of a place, and from what was kept on disk."""

import dataclasses

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.heads import load_head
from headstudio.records.track import TrackView
from headstudio.render.mesh import render_surface
from headstudio.texture.frames import observe_all
from headstudio.texture.unproject import Observation
from headstudio.texture.unwrapping import FrameTextures, Unwrapper, UnwrappingConfig, mean_texture, topology
from support.shapes import camera, sphere, turned
from support.tiny import tiny_source

SIZE = 64
CONFIG = UnwrappingConfig(size_px=SIZE, mean_frames=4)


@pytest.fixture(scope="module")
def world():
    points, mesh = sphere()
    row, column = torch.meshgrid(torch.arange(SIZE) / SIZE, torch.arange(SIZE) / SIZE, indexing="ij")
    texture = torch.stack([0.5 + 0.3 * torch.sin(9 * column + shift) * torch.cos(7 * row) for shift in (0.0, 1.0, 2.0)])
    return points, mesh, texture


def observe(world, yaw_rad, texture=None):
    points, mesh, own = world
    vertices = turned(points, yaw_rad)
    drawn = render_surface(vertices[None], mesh, camera(160), (own if texture is None else texture)[None])
    return Observation(drawn.image[0], (drawn.mask[0] > 0.99).float(), vertices, camera(160))


def test_a_frame_is_its_own_where_it_is_seen_and_the_mean_elsewhere(world):
    _, mesh, texture = world
    mean = torch.full((3, SIZE, SIZE), 0.2)
    for aligns in (False, True):
        # Aligning to a mean of one colour finds nothing to align to and must do no harm.
        config = dataclasses.replace(CONFIG, aligns=aligns)
        found = Unwrapper(mesh, mean, config).unwrap([observe(world, 0.0)])
        own = found.own[0] == 255
        wanted = (texture * 255).round()
        assert 0.1 < own.float().mean() < 0.6  # a sphere shows half of itself, the rim too obliquely
        assert (found.rgb.float() - wanted).abs().mean(0)[own].mean() < (4 if not aligns else 8)
        unseen = found.own[0] == 0
        assert unseen.float().mean() > 0.3
        assert (found.rgb[:, unseen] == round(0.2 * 255)).all()


def test_two_views_show_more_than_one_and_agree_where_both_look(world):
    _, mesh, texture = world
    unwrapper = Unwrapper(mesh, texture, CONFIG)
    one, both = unwrapper.unwrap([observe(world, 0.0)]), unwrapper.unwrap([observe(world, 0.0), observe(world, 0.9)])
    assert (both.own > 0).float().mean() > 1.2 * (one.own > 0).float().mean()
    shared = (one.own[0] == 255) & (both.own[0] == 255)
    assert (one.rgb.float() - both.rgb.float()).abs().mean(0)[shared].mean() < 6


def test_the_better_view_counts_more(world):
    """A view from aside sees the edge obliquely: the colour there is that of the view that looks straight at it."""
    _, mesh, texture = world
    config = dataclasses.replace(CONFIG, aligns=False)
    red, blue = (torch.tensor(c)[:, None, None].expand(3, SIZE, SIZE) for c in ((0.9, 0.1, 0.1), (0.1, 0.1, 0.9)))
    mixed = Unwrapper(mesh, texture, config).unwrap([observe(world, 0.0, red), observe(world, 1.0, blue)])
    sideways = round(SIZE / 6.283)  # a radian of longitude
    middle = mixed.rgb[:, SIZE // 2].float()
    at_front, at_side = middle[:, SIZE // 2], middle[:, SIZE // 2 + sideways]
    assert at_front[0] > at_front[2] and at_side[2] > at_side[0]


def test_without_a_picture_there_is_no_texture(world):
    with pytest.raises(HeadstudioError, match="no picture"):
        Unwrapper(world[1], world[2], CONFIG).unwrap([])


@pytest.fixture
def tracked(tmp_path):
    source = tiny_source(tmp_path / "capture")
    head = load_head("makehuman")
    neutral_m = head.neutral(source.track.identity.coefficients[None])
    config = UnwrappingConfig(size_px=32, mean_frames=3)
    mean = mean_texture(source.capture, source.track, head, neutral_m, list(range(8)), config)
    unwrapper = Unwrapper(topology(head), mean, config)
    return lambda track=source.track: FrameTextures(source.capture, track, head, neutral_m, unwrapper)


def test_textures_are_made_once_and_the_same_when_read_again(tracked):
    textures = tracked()
    textures.make(range(3))
    assert sorted(path.name for path in textures.folder.iterdir()) == ["000000.png", "000001.png", "000002.png"]
    first = textures[[0, 2]]
    again = tracked()[torch.tensor([0, 2])]
    assert torch.equal(first.rgb, again.rgb) and torch.equal(first.own, again.own)
    assert first.rgb.shape == (2, 3, 32, 32) and first.own.shape == (2, 1, 32, 32)


@pytest.mark.parametrize("damage", [b"", b"no picture", None])
def test_a_damaged_picture_is_made_again(tracked, damage):
    textures = tracked()
    wanted = textures[[1]]
    path = textures.folder / "000001.png"
    path.write_bytes(path.read_bytes()[:40] if damage is None else damage)
    found = tracked()[[1]]
    assert torch.equal(found.rgb, wanted.rgb)


def test_a_folder_that_cannot_be_written_costs_only_time(tracked):
    textures = tracked()
    textures.folder.parent.mkdir(exist_ok=True)
    textures.folder.write_text("in the way")
    assert torch.equal(textures[[0]].rgb, textures[[0]].rgb)


def test_another_track_has_other_textures(tracked):
    own = tracked()
    moved = dataclasses.replace(own.track, T_world_head=own.track.T_world_head.clone())
    moved.T_world_head[0, 0, 3] += 0.01
    assert tracked(moved).folder != own.folder and tracked().folder == own.folder


def with_second_view(source, later_s):
    """The same pictures again, as if filmed by a camera 10 cm to the right whose clock runs that much later."""
    capture, track = source.capture, source.track
    (capture.path / "frames" / "side").symlink_to(capture.path / "frames" / "front")
    (capture.path / "mattes" / "side").symlink_to(capture.path / "mattes" / "front")
    view = dataclasses.replace(capture.views[0], name="side", times_s=capture.views[0].times_s + later_s)
    aside = track.views["front"].T_camera_world.clone()
    aside[:, 0, 3] = -0.1
    views = {**track.views, "side": TrackView(track.views["front"].K_px, aside)}
    return dataclasses.replace(capture, views=(capture.views[0], view)), dataclasses.replace(track, views=views)


def test_all_views_that_were_filming_are_observed(tmp_path):
    source = tiny_source(tmp_path / "capture")
    head = load_head("makehuman")
    neutral_m = head.neutral(source.track.identity.coefficients[None])
    capture, track = with_second_view(source, later_s=2 / 25)
    late = observe_all(capture, track, head, neutral_m, 5)
    assert len(late) == 2
    # The camera that began two frames later shows frame 5 of the first in its own picture number 3.
    torch.testing.assert_close(late[1].image, capture.image(3, 0).float() / 255)
    moved = late[0].vertices_camera_m - late[1].vertices_camera_m
    torch.testing.assert_close(moved, torch.tensor([0.1, 0.0, 0.0]).expand_as(moved), atol=1e-6, rtol=0)
    assert len(observe_all(capture, track, head, neutral_m, 0)) == 1  # it was not filming yet
    untracked = dataclasses.replace(track, views={"front": track.views["front"]})
    assert len(observe_all(capture, untracked, head, neutral_m, 5)) == 1
