"""The visual hull holds the subject, and ends where the views end."""

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.geometry import topology
from headstudio.render.rasterise import rasterise
from headstudio.scan.hull import visual_hull
from headstudio.scan.multiview import multiview
from support.ringed import bumpy, ringed, subject_is_inside


def hull(scene, cells=24, share=0.5, valid=None):
    valid = torch.ones_like(scene.masks) if valid is None else valid
    views = multiview(scene.images, scene.masks, valid, scene.K_px, scene.T_camera_world)
    return visual_hull(views, cells, share)


def test_the_hull_is_closed_holds_the_truth_and_is_not_much_larger():
    vertices, triangles = bumpy()
    scene = ringed(vertices, triangles, views=12, size_px=64)
    views, points, faces = hull(scene)
    mesh = topology.connect(faces, len(points))
    assert topology.is_manifold(mesh)
    assert points.abs().max() <= 1
    world = views.to_world(points)
    # Half a pixel of the masks and half a cell of the grid.
    slack_m = 0.5 * scene.pixel_m + 0.5 * 2 / 24 * views.scale
    assert subject_is_inside(vertices, world, faces, slack_m)
    truth, found = topology.volume(vertices, triangles), topology.volume(world, faces)
    assert 0.97 < float(found / truth) < 1.5


def test_the_box_fits_whatever_the_unit_and_the_place():
    vertices, triangles = bumpy()
    for scale, shift in ((1.0, 0.0), (1000.0, 5000.0), (0.01, -3.0)):
        scene = ringed(vertices, triangles, views=8, size_px=48)
        # x' = scale x + shift, seen by the same cameras: t' = scale t - R shift.
        T = scene.T_camera_world.clone()
        T[:, :3, 3] = scale * T[:, :3, 3] - T[:, :3, :3] @ torch.full((3,), shift)
        views = multiview(scene.images, scene.masks, torch.ones_like(scene.masks), scene.K_px, T)
        views, points, _ = visual_hull(views, 24)
        world = (views.to_world(points) - shift) / scale
        assert float((world.amax(0) - vertices.amax(0)).abs().max()) < 0.03
        assert 0.8 < float(points.abs().max()) <= 1


def test_a_neck_cut_by_the_frame_goes_on_as_far_as_views_show_it():
    """A column that leaves all pictures below: no wall rises where one of them ends."""
    vertices, triangles = bumpy(stretch=3.0)
    scene = ringed(vertices, triangles, views=12, size_px=64, look_at_y=0.2)
    assert float(scene.masks[:, -1].amax()) == 1
    views, points, faces = hull(scene)
    world = views.to_world(points)
    assert topology.is_manifold(topology.connect(faces, len(points)))
    assert world[:, 1].amax() == pytest.approx(float(vertices[:, 1].amax()), abs=0.02)
    lowest_shown = float(scene.lowest_m)
    assert float(world[:, 1].amin()) < lowest_shown + 0.03
    inside = vertices[vertices[:, 1] > lowest_shown + 0.03]
    assert subject_is_inside(inside, world, faces, 0.5 * scene.pixel_m + views.scale / 24)


def test_pixels_that_are_not_valid_carve_nothing():
    """A third of every mask is torn off, and marked as unknown."""
    vertices, triangles = bumpy()
    scene = ringed(vertices, triangles, views=12, size_px=64)
    torn, valid = scene.masks.clone(), torch.ones_like(scene.masks)
    for view in range(12):
        rows = slice(0, 40) if view % 2 else slice(24, 64)
        valid[view, rows, :32] = 0
        torn[view, rows, :32] = 0
    whole = multiview(scene.images, torn, valid, scene.K_px, scene.T_camera_world)
    views, points, faces = visual_hull(whole, 24)
    slack_m = 0.5 * scene.pixel_m + views.scale / 24
    assert subject_is_inside(vertices, views.to_world(points), faces, slack_m)
    believed = multiview(scene.images, torn, torch.ones_like(valid), scene.K_px, scene.T_camera_world)
    with pytest.raises(HeadstudioError, match="no point lies within all masks"):
        visual_hull(believed, 24)


def shouldered():
    """A ball on a neck, above shoulders as wide as three of it; only the cameras that look down see these."""
    vertices, triangles = bumpy()
    neck = vertices * torch.tensor([0.5, 2.0, 0.5]) - torch.tensor([0.0, 0.15, 0.0])
    shoulders = vertices * torch.tensor([3.0, 0.3, 1.0]) - torch.tensor([0.0, 0.15, 0.0])
    count = len(vertices)
    return torch.cat([vertices, neck, shoulders]), torch.cat([triangles, triangles + count, triangles + 2 * count])


def test_shoulders_that_few_views_show_pull_at_nothing():
    scene = ringed(*shouldered(), views=12, size_px=64, look_at_y=0.05)
    views, points, faces = hull(scene, share=0.6)
    taken = ~views.valid
    assert 0.02 < float(taken[::2].float().mean()) < 0.5
    assert float(scene.masks[taken].min()) > 0.5
    for view in range(12):
        covered = rasterise(views.to_camera(points, view)[None], faces, views.camera(view)).mask[0, 0]
        near = torch.nn.functional.max_pool2d(covered[None], 7, 1, 3)[0]
        unexplained = (scene.masks[view] > 0.5) & views.valid[view] & (near == 0)
        assert not bool(unexplained.any())
        assert not bool((taken[view] & (covered > 0)).any())


def test_what_another_mask_contradicts_may_still_pull():
    """One mask has lost a bite out of the ball's side; the other masks, which show it, stay believed."""
    scene = ringed(*bumpy(), views=12, size_px=64)
    masks = scene.masks.clone()
    masks[0, 24:40, :27] = 0
    views, _, _ = hull(scene.__class__(**{**vars(scene), "masks": masks}))
    assert bool(views.valid.all())


def test_what_belongs_to_a_part_elsewhere_is_left_out():
    """Another ball in the pictures of all views makes a second part of the hull, which is not the subject."""
    vertices, triangles = bumpy()
    other = 0.3 * vertices + torch.tensor([0.0, 0.2, 0.0])
    both = torch.cat([vertices, other]), torch.cat([triangles, triangles + len(vertices)])
    scene = ringed(*both, views=12, size_px=64)
    _, points, faces = hull(scene)
    mesh = topology.connect(faces, len(points))
    assert topology.euler_characteristic(mesh) == 2


def spoil(scene, kind):
    images, masks, valid = scene.images.clone(), scene.masks.clone(), torch.ones_like(scene.masks)
    K_px, T = scene.K_px.clone(), scene.T_camera_world.clone()
    if kind == "no mask":
        masks[2] = 0
    if kind == "soft mask":
        masks[1] *= 0.4
    if kind == "invalid view":
        valid[3] = 0
    if kind == "nan image":
        images[1, 30, 30, 0] = float("nan")
    if kind == "nan mask":
        masks[1, 3, 3] = float("nan")
    if kind == "nan camera":
        T[4, 1, 2] = float("nan")
    if kind == "infinite focal":
        K_px[0, 0, 0] = float("inf")
    if kind == "one place":
        T = T[:1].repeat(len(T), 1, 1)
    if kind == "backwards":
        T[:, 2, 3] *= -1
    if kind == "two views":
        return images[:2], masks[:2], valid[:2], K_px[:2], T[:2]
    return images, masks, valid, K_px, T


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("no mask", "no pixel shows the subject"),
        ("soft mask", "no pixel shows the subject"),
        ("invalid view", "no pixel shows the subject"),
        ("nan image", "images hold values"),
        ("nan mask", "masks hold values"),
        ("nan camera", "T_camera_world hold values"),
        ("infinite focal", "K_px hold values"),
        ("one place", "same side"),
        ("backwards", "behind a camera"),
        ("two views", "too few"),
    ],
)
def test_bad_views_are_refused_in_a_sentence(kind, words):
    scene = ringed(*bumpy(), views=5, size_px=48)
    with pytest.raises(HeadstudioError, match=words):
        multiview(*spoil(scene, kind))


@pytest.mark.parametrize("which", range(5))
def test_sizes_that_differ_are_refused(which):
    scene = ringed(*bumpy(), views=5, size_px=48)
    given = [scene.images, scene.masks, torch.ones_like(scene.masks), scene.K_px, scene.T_camera_world]
    given[which] = given[which][:-1]
    with pytest.raises(Exception, match=r"shape|Type-check|type"):
        multiview(*given)


def test_values_that_are_not_finite_count_nothing_where_pixels_are_not_valid():
    scene = ringed(*bumpy(), views=5, size_px=48)
    valid = torch.ones_like(scene.masks)
    valid[:, :, :3] = 0
    images, masks = scene.images.clone(), scene.masks.clone()
    images[:, :, :3], masks[:, :, :3] = float("nan"), float("nan")
    views = multiview(images, masks, valid, scene.K_px, scene.T_camera_world)
    assert bool(views.images.isfinite().all())


def test_masks_that_meet_nowhere_are_refused():
    scene = ringed(*bumpy(), views=6, size_px=64)
    masks = torch.zeros_like(scene.masks)
    for view in range(6):
        row = 10 if view % 2 else 50
        masks[view, row : row + 3, 28:36] = 1
    with pytest.raises(HeadstudioError, match="no point lies within all masks"):
        hull(scene.__class__(**{**vars(scene), "masks": masks}))
