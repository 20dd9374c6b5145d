"""Volume rendering against closed forms, dense quadrature, a naive twin, finite differences and the rasteriser."""

import math

import pytest
import torch
from render_twins import DEVICES, REFUSED, pixel_rays, sphere

from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import rigid, transform
from headstudio.render.rasterise import rasterise
from headstudio.render.ray_samples import sample_rays
from headstudio.render.rays import Box, camera_rays, to_picture
from headstudio.render.volume import composite, composite_plainly, render_volume, visible

BOX = Box((-0.15, -0.12, -0.13), (0.14, 0.16, 0.12))
RADIUS_M = 0.1
CAMERA = Camera.from_focal(60.0, 24, 20)


def poses(count=2, distance_m=0.6):
    """The head before the camera, turned a little more each time."""
    turns = torch.tensor([math.pi, 0.0, 0.0]) + torch.linspace(0, 0.4, count)[:, None] * torch.tensor([0.3, 1.0, 0.2])
    return rigid(turns, torch.tensor([0.01, -0.02, distance_m]).expand(count, 3))


def ball(density_per_m=30.0, channels=3):
    """A ball of constant density whose values are those of the place."""

    def field(samples):
        points = samples.points_m
        density = density_per_m * (points.norm(dim=1) < RADIUS_M)
        return density, torch.sin(9 * points[:, [0, 1, 2, 0][:channels]])

    return field


def smooth(samples):
    """A field without edges, the same in float32 and float64."""
    points = samples.points_m
    density = 40 * torch.exp(-300 * points.square().sum(1)) * (1.2 + torch.sin(20 * points[:, 0] + 10 * points[:, 1]))
    return density, torch.cos(12 * points) + samples.directions


def chords(rays):
    """Distances at which rays enter and leave the ball; NaN where they miss it."""
    middle = -(rays.origins_m * rays.directions).sum(1)
    half = (RADIUS_M**2 - (rays.origins_m + middle[:, None] * rays.directions).square().sum(1)).sqrt()
    return middle - half, middle + half


def test_rays_pass_through_the_pixel_centres():
    rays = camera_rays(CAMERA, poses(), BOX)
    assert len(rays) == 2 * 20 * 24
    seen = transform(poses(), (rays.origins_m + 0.7 * rays.directions).reshape(2, -1, 3))
    pixels, depth_m = CAMERA.project(seen)
    torch.testing.assert_close(pixels.double(), (pixel_rays(CAMERA) * 60)[:, :2].expand(2, -1, -1) + torch.tensor(
        [12.0, 10.0]), atol=1e-4, rtol=0)  # fmt: skip
    torch.testing.assert_close(depth_m.reshape(-1), 0.7 * rays.depth_per_m)
    torch.testing.assert_close(rays.directions.norm(dim=1), torch.ones(len(rays)))
    assert rays.entry.tolist() == [0] * 480 + [1] * 480


def test_rays_enter_and_leave_where_the_box_ends():
    rays = camera_rays(Camera.from_focal(25.0, 24, 20), poses(), BOX)
    places = torch.linspace(0, 1.2, 4001)
    points = rays.origins_m[:, None] + places[:, None] * rays.directions[:, None]
    inside = (BOX.scaled(points).abs() <= 1).all(-1)
    hit = rays.far_m > rays.near_m
    assert 0.3 < hit.float().mean() < 0.9
    # A ray that only cuts an edge may pass between two of the places.
    assert (inside.any(1) <= hit).all()
    first = places[inside[hit].float().argmax(1)]
    last = places[4000 - inside[hit].flip(1).float().argmax(1)]
    crossed = inside[hit].any(1)
    torch.testing.assert_close(rays.near_m[hit][crossed], first[crossed], atol=6e-4, rtol=0)
    torch.testing.assert_close(rays.far_m[hit][crossed], last[crossed], atol=6e-4, rtol=0)


def test_a_camera_in_the_box_sees_from_where_it_stands_and_nothing_behind_it():
    inside = camera_rays(CAMERA, poses(1, 0.05), BOX)
    assert (inside.near_m == 0).all()
    behind = camera_rays(CAMERA, poses(1, -0.6), BOX)
    assert len(sample_rays(behind, 8)) == 0


def test_rays_along_the_walls_are_finite():
    straight = rigid(torch.zeros(1, 3), torch.tensor([[0.15, 0.12, 0.6]]))
    rays = camera_rays(Camera(torch.tensor([[60.0, 0, 0.5], [0, 60, 0.5], [0, 0, 1]]), 1, 1), straight, BOX)
    assert rays.near_m.isfinite().all()
    assert rays.far_m.isfinite().all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("density_per_m", [3.0, 30.0, 3000.0])
def test_a_ball_of_constant_density_hides_and_lies_as_the_closed_form_says(device, density_per_m):
    rays = camera_rays(CAMERA.to(device), poses().to(device), BOX)
    count = 512
    found = render_volume(ball(density_per_m), sample_rays(rays, count))
    near, far = chords(rays)
    length = (far - near).nan_to_num(0.0)
    expected = 1 - torch.exp(-density_per_m * length)
    # The chord's two ends are known to half a cell each.
    cell_m = (rays.far_m - rays.near_m).amax() / count
    assert ((found.mask - expected).abs() <= density_per_m * cell_m * torch.exp(
        -density_per_m * (length - cell_m).clamp_min(0)) + 1e-4).all()  # fmt: skip
    # Mean distance of the first thing met, of an exponential cut off at the far end.
    inside = length > 0.02
    thickness = density_per_m * length[inside]
    mean = near[inside] + 1 / density_per_m - length[inside] * torch.exp(-thickness) / expected[inside]
    depth_m = found.depth_m[inside]
    torch.testing.assert_close(depth_m, mean * rays.depth_per_m[inside], atol=1.5 * float(cell_m), rtol=0)
    assert (found.depth_m[found.mask == 0] == 0).all()


def test_few_samples_come_near_a_dense_quadrature_and_more_samples_nearer():
    rays = camera_rays(CAMERA, poses(), BOX)
    truth = dense_quadrature(rays, 2000)
    errors = []
    for count in (16, 64):
        found = render_volume(smooth, sample_rays(rays, count))
        errors.append(max(float((found.values - truth[0]).abs().max()), float((found.mask - truth[1]).abs().max())))
    # The middle rule's error falls with the square of the step: sixteen times, were it not for rounding.
    assert errors[1] < errors[0] / 8
    assert errors[1] < 2e-3


def dense_quadrature(rays, count):
    """The integral of emission and absorption by the trapezoidal rule over many places, in float64."""
    share = torch.linspace(0, 1, count, dtype=torch.float64)
    near, far = rays.near_m.double()[:, None], rays.far_m.double()[:, None]
    distances = near + (far - near) * share

    class Places:
        points_m = (rays.origins_m.double()[:, None] + distances[..., None] * rays.directions.double()[:, None]).view(
            -1, 3
        )
        directions = rays.directions.double().repeat_interleave(count, 0)

    density, values = smooth(Places)
    density, values = density.view(len(rays), count), values.view(len(rays), count, 3)
    step = (far - near) / (count - 1)
    behind = torch.cat([torch.zeros_like(near), ((density[:, 1:] + density[:, :-1]) / 2 * step).cumsum(1)], 1)
    emitted = (torch.exp(-behind) * density)[..., None] * torch.cat([values, torch.ones_like(values[..., :1])], -1)
    gathered = ((emitted[:, 1:] + emitted[:, :-1]) / 2).sum(1) * step
    return gathered[:, :3].float(), gathered[:, 3].float()


def composite_twin(samples, density, values):
    """Ray by ray and sample by sample."""
    sums, opacities, reaches = [], [], []
    for ray in range(len(samples.rays)):
        before, total, reach = torch.ones((), dtype=torch.float64), torch.zeros(values.shape[1]).double(), 0.0
        for i in range(int(samples.first[ray]), int(samples.first[ray + 1])):
            weight = before * (1 - torch.exp(-density[i] * samples.steps_m[i].double()))
            total = total + weight * values[i]
            reach = reach + weight * samples.distances_m[i].double()
            before = before - weight
        sums.append(total)
        opacities.append(1 - before)
        reaches.append(torch.as_tensor(reach).double())
    return torch.stack(sums), torch.stack(opacities), torch.stack(reaches)


def some_samples(device="cpu"):
    """Rays with between none and many samples, with values of five channels."""
    small = Camera.from_focal(14.0, 6, 5).to(device)
    rays = camera_rays(small, poses().to(device), BOX)
    generator = torch.Generator().manual_seed(0)
    samples = sample_rays(rays, 9, lambda points: points.norm(dim=1) < 0.11, generator)
    density = torch.rand(len(samples), generator=generator) * 80
    return samples, density.to(device), torch.randn(len(samples), 5, generator=generator).to(device)


@pytest.mark.parametrize("device", DEVICES)
def test_compositing_and_its_gradient_equal_those_of_the_twin(device):
    samples, density, values = some_samples(device)
    assert len(set(samples.first.diff().tolist())) > 3
    ours = [density.clone().requires_grad_(), values.clone().requires_grad_()]
    twin = [leaf.detach().cpu().double().requires_grad_() for leaf in ours]
    found = composite(samples, *ours)
    cpu = some_samples()[0]
    expected = composite_twin(cpu, *twin)
    weights = [torch.randn(each.shape, generator=torch.Generator().manual_seed(1)) for each in expected]
    sum((each * weight.to(device)).sum() for each, weight in zip(found, weights, strict=True)).backward()
    sum((each * weight).sum() for each, weight in zip(expected, weights, strict=True)).backward()
    for a, b in zip([*found, ours[0].grad, ours[1].grad], [*expected, twin[0].grad, twin[1].grad], strict=True):
        torch.testing.assert_close(a.detach().cpu().double(), b.detach(), atol=2e-6, rtol=1e-4)


def test_gradient_of_the_density_equals_the_finite_difference():
    samples, density, values = some_samples()
    weights = torch.randn(len(samples.rays), 5, generator=torch.Generator().manual_seed(2))

    def loss(of):
        sums, opacity, reach = composite(samples, of, values)
        return (sums * weights).sum() + opacity.sum() + 3 * reach.sum()

    leaf = density.clone().requires_grad_()
    loss(leaf).backward()
    for i in range(0, len(density), 17):
        step = torch.zeros_like(density)
        step[i] = 1.0
        slope = (loss(density + step) - loss(density - step)) / 2
        assert abs(float(slope - leaf.grad[i])) < 2e-4 + 0.01 * abs(float(slope))


def test_the_form_for_onnx_gives_the_same_numbers():
    rays = camera_rays(CAMERA, poses(), BOX)
    samples = sample_rays(rays, 12)
    density, values = smooth(samples)
    sums, opacity, _ = composite(samples, density, values)
    hit = rays.far_m > rays.near_m
    shape = (int(hit.sum()), 12)
    by_rows = composite_plainly(density.view(shape), samples.steps_m.view(shape), values.view(*shape, 3))
    torch.testing.assert_close(by_rows[0], sums[hit], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(by_rows[1], opacity[hit], atol=1e-5, rtol=1e-5)
    assert (opacity[~hit] == 0).all()


@pytest.mark.parametrize("samples_at_once", [1, 100, 777, 10**9])
def test_parts_give_the_same_picture_and_gradient_as_the_whole(samples_at_once):
    scale = torch.tensor(1.0, requires_grad=True)
    asked = []

    def field(samples):
        asked.append(len(samples))
        density, values = smooth(samples)
        return density * scale, values * scale

    small = Camera.from_focal(30.0, 12, 10)
    rays = camera_rays(small, poses(), BOX)
    samples = sample_rays(rays, 20, lambda points: points.norm(dim=1) < 0.12)
    whole = render_volume(field, samples)
    (whole.values.square().sum() + whole.mask.sum() + whole.depth_m.sum()).backward()
    expected, scale.grad = scale.grad, None
    asked.clear()
    parts = render_volume(field, samples, samples_at_once)
    assert sum(asked) == len(samples)
    assert max(asked) <= max(samples_at_once, 20)
    (parts.values.square().sum() + parts.mask.sum() + parts.depth_m.sum()).backward()
    for name in ("values", "mask", "depth_m"):
        assert torch.equal(getattr(parts, name), getattr(whole, name))
    torch.testing.assert_close(scale.grad, expected, rtol=1e-5, atol=0)


def test_a_part_knows_which_samples_of_the_whole_it_holds():
    samples = sample_rays(camera_rays(CAMERA, poses(), BOX), 4)
    part = samples.part(100, 200)
    assert torch.equal(part.points_m, samples.points_m[part.start : part.start + len(part)])
    assert torch.equal(part.entry, samples.entry[part.start : part.start + len(part)])
    assert torch.equal(part.directions, samples.directions[part.start : part.start + len(part)])


@pytest.mark.parametrize("least", [1e-1, 1e-3])
def test_what_is_hidden_may_be_left_out(least):
    rays = camera_rays(Camera.from_focal(12.0, 6, 5), poses(), BOX)
    samples = sample_rays(rays, 12)
    torch.manual_seed(0)
    density = 60 * torch.rand(len(samples))
    found = visible(samples, density, least)
    lit, ray = [], None
    for sample in range(len(samples)):
        if int(samples.ray[sample]) != ray:
            ray, light = int(samples.ray[sample]), 1.0
        lit.append(light > least)
        light *= math.exp(-float(density[sample] * samples.steps_m[sample]))
    assert found.tolist() == lit and 0 < int(found.sum()) < len(found)

    values = torch.rand(len(samples), 3)
    whole, part = composite(samples, density, values), composite(samples.only(found), density[found], values[found])
    assert (whole[1] - part[1]).max() <= least and (whole[0] - part[0]).abs().max() <= least


@pytest.mark.parametrize("stratified", [False, True])
def test_skipping_where_empty_is_empty_changes_nothing(stratified):
    rays = camera_rays(CAMERA, poses(), BOX)

    def samples(occupied):
        return sample_rays(rays, 40, occupied, torch.Generator().manual_seed(3) if stratified else None)

    everywhere, skipping = samples(None), samples(lambda points: points.norm(dim=1) < RADIUS_M + 0.01)
    assert len(skipping) < len(everywhere) / 2
    whole, fast = render_volume(ball(), everywhere), render_volume(ball(), skipping)
    for name in ("values", "mask", "depth_m"):
        torch.testing.assert_close(getattr(fast, name), getattr(whole, name), atol=1e-6, rtol=0)


def test_stratified_samples_stay_in_their_cells_and_follow_from_the_generator():
    rays = camera_rays(CAMERA, poses(), BOX)
    one, same, other = (sample_rays(rays, 10, None, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(one.distances_m, same.distances_m)
    assert not torch.equal(one.distances_m, other.distances_m)
    middles = sample_rays(rays, 10)
    assert ((one.distances_m - middles.distances_m).abs() <= middles.steps_m * 0.5001).all()
    assert (one.steps_m == middles.steps_m).all()


def test_stratified_samples_are_right_on_average():
    rays = camera_rays(Camera.from_focal(20.0, 6, 6), poses(1), BOX)
    truth = dense_quadrature(rays, 2000)[1]
    generator = torch.Generator().manual_seed(0)
    masks = torch.stack([render_volume(smooth, sample_rays(rays, 24, None, generator)).mask for _ in range(60)])
    # Three standard errors of the mean, and the bias of a convex function of few samples.
    assert ((masks.mean(0) - truth).abs() < 3 * masks.std(0) / 60**0.5 + 2e-3).float().mean() > 0.95


def test_rays_outside_the_matte_are_empty_and_the_others_untouched():
    rays = camera_rays(CAMERA, poses(), BOX)
    matte = torch.rand(len(rays), generator=torch.Generator().manual_seed(0)) > 0.5
    whole, cut = (render_volume(ball(), sample_rays(each, 30)) for each in (rays, rays.only(matte)))
    assert torch.equal(cut.values[matte], whole.values[matte])
    assert (cut.mask[~matte] == 0).all()


def test_a_dense_ball_covers_the_pixels_that_the_rasteriser_covers():
    camera, T_camera_head = Camera.from_focal(150.0, 60, 50), poses(1)
    vertices, triangles = sphere(60)
    fragments = rasterise(transform(T_camera_head, vertices[None] * RADIUS_M), triangles, camera)
    rays = camera_rays(camera, T_camera_head, BOX)
    found = render_volume(ball(1e5), sample_rays(rays, 300))
    mask = to_picture(found.mask[:, None], camera)
    depth_m = to_picture(found.depth_m[:, None], camera)[0, 0]
    covered = fragments.mask > 0
    # The mesh lies within a thousandth of the radius inside the ball; the outermost rays cut off less than a cell.
    assert ((mask > 0.5) != covered).sum() <= 0.02 * covered.sum()
    cell_m = float((rays.far_m - rays.near_m).amax()) / 300
    both = (covered & (mask > 0.5))[0, 0]
    # At the rim the surface falls away from the ray and the polyhedron's facets tell; the median does not see it.
    off = (depth_m - fragments.depth_m[0])[both].abs()
    assert off.median() < cell_m
    assert off.quantile(0.9) < 3 * cell_m


def test_the_pose_gets_a_gradient():
    turn = torch.tensor([[math.pi, 0.1, 0.0]], requires_grad=True)

    def loss(of):
        rays = camera_rays(Camera.from_focal(30.0, 12, 10), rigid(of, torch.tensor([[0.0, 0.0, 0.6]])), BOX)
        inner = sample_rays(rays, 48)
        return render_volume(smooth, inner).values.square().mean()

    loss(turn).backward()
    for axis in range(3):
        step = 1e-2 * torch.eye(3)[axis]
        slope = (loss(turn.detach() + step) - loss(turn.detach() - step)) / 2e-2
        # Where rays are cut moves with the pose and carries no gradient; the field is nearly empty there.
        assert abs(float(slope - turn.grad[0, axis])) < 0.05 * float(turn.grad.abs().max())


def test_nothing_to_sample_is_an_empty_picture():
    rays = camera_rays(CAMERA, poses(), BOX)
    samples = sample_rays(rays, 8, lambda points: torch.zeros(len(points), dtype=torch.bool))
    found = render_volume(ball(), samples, 10)
    assert len(samples) == 0
    assert found.values.shape == (len(rays), 3)
    assert not found.values.any()
    assert not found.mask.any()
    assert not found.depth_m.any()


@pytest.mark.parametrize(
    "corners", [((0, 0, 0), (1, 0, 1)), ((0, 0, 1), (1, 1, 0.5)), ((0, 0, 0), (1, float("nan"), 1)),
                ((0, 0, -float("inf")), (1, 1, 1))],
)  # fmt: skip
def test_a_box_without_room_is_refused(corners):
    with pytest.raises(HeadstudioError, match="no room"):
        Box(*(tuple(map(float, corner)) for corner in corners))


def test_what_does_not_fit_is_refused():
    rays = camera_rays(CAMERA, poses(), BOX)
    samples = sample_rays(rays, 4)
    density, values = ball()(samples)
    with pytest.raises(REFUSED, match="T_camera_head"):
        camera_rays(CAMERA, torch.eye(4)[None, :3], BOX)
    with pytest.raises(REFUSED, match="camera"):
        camera_rays(Camera(CAMERA.K_px.expand(3, 3, 3), 24, 20), poses(), BOX)
    with pytest.raises(HeadstudioError, match="not finite"):
        camera_rays(CAMERA, poses() * float("nan"), BOX)
    with pytest.raises(HeadstudioError, match="0 samples"):
        sample_rays(rays, 0)
    with pytest.raises(HeadstudioError, match="0 samples at once"):
        render_volume(ball(), samples, 0)
    with pytest.raises(REFUSED, match="wanted"):
        rays.only(torch.ones(3, dtype=torch.bool))
    with pytest.raises(REFUSED, match="density"):
        composite(samples, density[:-1], values)
    with pytest.raises(REFUSED, match="values"):
        composite(samples, density, values[:-1])
