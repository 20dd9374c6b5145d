"""Photometric refinement, light and texture on rendered actors."""

from dataclasses import dataclass, replace

import pytest
import roma
import torch
from filmed_actor import film, side_light
from observed_actor import observations
from tracking_actor import SIZE_PX, Performance, degrees_between, perform, write_capture

from headstudio.geometry.camera import Camera
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.progress import Silent
from headstudio.records.capture import Capture
from headstudio.render.colour import linear_to_srgb, srgb_to_linear
from headstudio.render.light import Y00
from headstudio.tracking.appearance import Appearance, frame_gain, irradiance, learn_appearance, uniform_light
from headstudio.tracking.config import PhotometricConfig, TrackingConfig
from headstudio.tracking.crew import Crew
from headstudio.tracking.photometric import (
    Refined,
    compare,
    learn,
    light_of,
    refine,
    texture_of,
)
from headstudio.tracking.points import FrameState, landmark_model
from headstudio.tracking.pull import pull_term
from headstudio.tracking.quality import landmark_error_m
from headstudio.tracking.scene import Scenery, set_the_scene
from headstudio.tracking.surface import SeenSurface, SurfacePoints, load_frames, local_contrast, look, sample, slopes

FRAMES = 8
CONFIG = TrackingConfig(photometric=PhotometricConfig(sizes_px=(96,), samples=800, texture_size_px=64))


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head("makehuman")


@dataclass(frozen=True)
class Filmed:
    truth: Performance
    capture: Capture
    scene: Scenery


@pytest.fixture(scope="module")
def filmed(head: HeadModel, tmp_path_factory: pytest.TempPathFactory) -> Filmed:
    """A head with a blotchy skin under light from one side; its true landmarks stand for the detector's."""
    truth = perform(head, frames=FRAMES, seed=3)
    capture = film(tmp_path_factory.mktemp("filmed") / "c", head, truth)
    scene = set_the_scene(head, truth.identity, observations(head, truth), SIZE_PX, CONFIG)
    return Filmed(truth, capture, scene)


def shaken(states: FrameState, degrees: float = 1.0, seed: int = 1) -> FrameState:
    draw = torch.Generator().manual_seed(seed)
    turn = torch.deg2rad(torch.tensor(degrees)) * torch.randn(len(states.rotation), 3, generator=draw)
    shift = 0.001 * torch.randn(len(states.rotation), 3, generator=draw)
    return states._replace(
        rotation=roma.rotvec_to_rotmat(turn) @ states.rotation, translation_m=states.translation_m + shift
    )


def blinded(scene: Scenery, share: float) -> Scenery:
    """The scene with landmarks that weigh less."""
    return replace(scene, observed=scene.observed.trusted_by(share))


def refined_by_all(
    scene: Scenery, capture: Capture, start: FrameState, size_px: int, frozen: torch.Tensor | None = None
) -> Refined:
    everyone = torch.arange(FRAMES)
    return refine(scene, capture, Crew(FRAMES), start, everyone, size_px, Silent(), frozen)


def test_refinement_undoes_a_shake(filmed: Filmed) -> None:
    """The pattern is learned from frames whose movement is known; the others come back by it alone."""
    truth, known = filmed.truth.states, torch.arange(0, FRAMES, 2)
    start = shaken(truth).where(torch.arange(FRAMES) % 2 == 1, truth)
    refined = refine(blinded(filmed.scene, 1e-3), filmed.capture, Crew(FRAMES), start, known, 96, Silent())
    before, after = (degrees_between(s.rotation, truth.rotation)[1::2].mean() for s in (start, refined.states))
    assert float(after) < 0.6 * float(before)


def test_cost_falls_where_a_frame_is_kept_and_nothing_moves_elsewhere(filmed: Filmed) -> None:
    scene, everyone, start = filmed.scene, torch.arange(FRAMES), shaken(filmed.truth.states)
    refined = refined_by_all(scene, filmed.capture, start, 96)
    contrast = local_contrast(load_frames(filmed.capture, everyone, 96))
    comparison = compare(scene, learn(scene, [contrast], start, everyone), contrast, start, everyone)
    term = pull_term(scene.skin, comparison, scene.observed.K_px)
    before, after = (term(s, everyone, False).cost for s in (start, refined.states))
    assert refined.kept.sum() >= FRAMES - 1
    assert (after < before)[refined.kept].all()
    model, observed = scene.landmarks, scene.observed
    grown = landmark_error_m(model, refined.states, observed) / landmark_error_m(model, start, observed)
    assert float(grown.max()) <= 1 + CONFIG.photometric.landmark_slack + 1e-4
    same = degrees_between(refined.states.rotation, start.rotation) == 0
    assert same[~refined.kept].all()


def test_a_frame_that_would_leave_its_landmarks_is_not_kept(filmed: Filmed) -> None:
    strict = replace(CONFIG, photometric=replace(CONFIG.photometric, landmark_slack=-0.99))
    start = shaken(filmed.truth.states)
    refined = refined_by_all(replace(filmed.scene, config=strict), filmed.capture, start, 64)
    assert not refined.kept.any()
    assert all(torch.equal(a, b) for a, b in zip(refined.states, start, strict=True))


def test_descent_is_the_slope_of_the_cost(filmed: Filmed) -> None:
    """Along random steps. Central differences of pixels blur the finest slopes, by a tenth here."""
    scene, everyone, start = filmed.scene, torch.arange(FRAMES), shaken(filmed.truth.states)
    contrast = local_contrast(load_frames(filmed.capture, everyone, SIZE_PX))
    comparison = compare(scene, learn(scene, [contrast], start, everyone), contrast, start, everyone)
    term = pull_term(scene.skin, comparison, scene.observed.K_px)
    descent = term(start, everyone, True).descent
    draw = torch.Generator().manual_seed(4)
    scale = torch.zeros(descent.shape[1])
    scale[:3], scale[3:6], scale[6:] = 2e-3, 1e-3, 2e-2
    slopes_found, slopes_expected = [], []
    for _ in range(6):
        step = scale * torch.randn(descent.shape, generator=draw)
        costs = [term(start.moved(sign * step), everyone, False).cost for sign in (1, -1)]
        slopes_found.append((costs[0] - costs[1]) / 2)
        slopes_expected.append(-(descent * step).sum(1))
    found, expected = torch.cat(slopes_found), torch.cat(slopes_expected)
    assert float(torch.corrcoef(torch.stack([found, expected]))[0, 1]) > 0.97
    assert float((found * expected).sum() / (expected * expected).sum()) == pytest.approx(1.05, abs=0.15)


def test_a_frame_without_a_face_stays_as_it_is(filmed: Filmed) -> None:
    seen = torch.ones(FRAMES, dtype=torch.bool)
    seen[2] = False
    scene = replace(filmed.scene, observed=replace(filmed.scene.observed, seen=seen))
    start = shaken(filmed.truth.states)
    train = torch.nonzero(seen)[:, 0]
    refined = refine(scene, filmed.capture, Crew(FRAMES), start, train, 64, Silent())
    assert not refined.kept[2]
    assert torch.equal(refined.states.expression[2], start.expression[2])


def test_held_pose_is_held(filmed: Filmed) -> None:
    start = shaken(filmed.truth.states)
    held = torch.arange(filmed.scene.landmarks.unknowns) < 6
    refined = refined_by_all(filmed.scene, filmed.capture, start, 64, held)
    torch.testing.assert_close(refined.states.rotation, start.rotation, atol=1e-6, rtol=0)
    assert torch.equal(refined.states.translation_m, start.translation_m)
    assert refined.kept.any()


def test_exposure_of_every_frame_is_found(filmed: Filmed) -> None:
    """One pose, so that no other side of the head and no other light can stand for it."""
    everyone, gains = torch.arange(FRAMES), torch.tensor([1.0, 1.0, 0.7, 1.0, 1.0, 1.3, 1.0, 0.9])
    original = load_frames(filmed.capture, everyone[:1], SIZE_PX)
    exposed = linear_to_srgb((srgb_to_linear(original) * gains[:, None, None, None]).clamp(0, 1))
    folder = filmed.capture.path.parent / "exposed"
    capture = write_capture(folder, filmed.truth.landmarks_px, (exposed * 255).round().byte())
    still = filmed.truth.states.at(torch.zeros(FRAMES, dtype=torch.long))
    light = light_of(filmed.scene, capture, still, everyone)
    torch.testing.assert_close(light[:, 0, 0] / light[:, 0, 0].median(), gains, rtol=0.15, atol=0)


def test_texture_and_light_give_the_picture_back(filmed: Filmed, head: HeadModel) -> None:
    everyone, states = torch.arange(FRAMES), filmed.truth.states
    light = side_light().expand(FRAMES, 9, 3)
    scene = replace(filmed.scene, config=replace(CONFIG, photometric=PhotometricConfig(texture_size_px=256)))
    texture = texture_of(scene, filmed.capture, states, everyone, light).float() / 255
    surface = look(head, scene.neutral_m, scene.points, states, scene.camera)
    corners = torch.stack([head.data.uv[head.data.uv_triangles[t]] for t in triangles_of(head, scene.points)])
    uv = (corners * scene.points.barycentric[..., None]).sum(1)
    colours = sample(texture[None], uv[None] * 256)
    predicted = linear_to_srgb(srgb_to_linear(colours) * irradiance(surface.normals, light))
    found = sample(load_frames(filmed.capture, everyone, SIZE_PX), scene.camera.project(surface.camera_m)[0])
    facing = surface.weight > 0.7
    assert float((predicted - found).abs().mean(-1)[facing].mean()) < 0.02


def triangles_of(head: HeadModel, points: SurfacePoints) -> list[int]:
    index = {tuple(corners): i for i, corners in enumerate(head.data.triangles.tolist())}
    return [index[tuple(corners)] for corners in points.corners.tolist()]


def turning_surface(frames: int, points: int, seed: int = 0) -> SeenSurface:
    """Normals over the half sphere that faces the camera, differently in each frame."""
    normals = torch.randn(frames, points, 3, generator=torch.Generator().manual_seed(seed))
    normals[..., 2] = -normals[..., 2].abs()
    normals = torch.nn.functional.normalize(normals, dim=-1)
    return SeenSurface(torch.zeros(frames, points, 3), normals, torch.ones(frames, points))


def test_light_is_found_where_the_head_turns_enough() -> None:
    surface = turning_surface(20, 300)
    albedo = 0.2 + 0.5 * torch.rand(300, 3, generator=torch.Generator().manual_seed(1))
    light = uniform_light()
    light[3], light[1] = 0.35, -0.2
    shade = irradiance(surface.normals, light)
    found = learn_appearance(linear_to_srgb(albedo * shade), surface)
    ratio = found.predict(surface.normals) / (albedo * shade)
    assert float((ratio - 1).abs().mean()) < 0.02
    direction = found.light_sh[1:4, 0] / found.light_sh[0, 0]
    torch.testing.assert_close(direction, light[1:4, 0] / light[0, 0], atol=0.03, rtol=0)


def test_uniform_light_is_irradiance_one() -> None:
    normals = turning_surface(1, 10).normals
    torch.testing.assert_close(irradiance(normals, uniform_light()), torch.ones(1, 10, 3))
    assert float(uniform_light()[0, 0]) == pytest.approx(1 / Y00)


def test_exposure_is_the_factor_between_frames() -> None:
    predicted = 0.1 + 0.3 * torch.rand(3, 50, 3, generator=torch.Generator().manual_seed(2))
    gains = torch.tensor([0.5, 1.0, 1.8])
    colours = linear_to_srgb(predicted * gains[:, None, None])
    torch.testing.assert_close(frame_gain(predicted, colours, torch.ones(3, 50)), gains, rtol=1e-4, atol=0)
    assert frame_gain(predicted, colours, torch.zeros(3, 50)).tolist() == [1.0, 1.0, 1.0]


def test_samples_are_bilinear_with_centres_at_a_half() -> None:
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    points = torch.tensor([[[0.5, 0.5], [1.0, 0.5], [3.5, 2.5], [2.0, 1.0]]])
    assert sample(image, points)[0, :, 0].tolist() == pytest.approx([0.0, 0.5, 11.0, 3.5], abs=1e-5)


def test_slopes_are_those_of_a_plane() -> None:
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
    found = slopes((0.3 * x - 0.7 * y)[None, None])
    inside = found[0, :, 1:-1, 1:-1]
    torch.testing.assert_close(inside[0], torch.full((4, 5), 0.3))
    torch.testing.assert_close(inside[1], torch.full((4, 5), -0.7))


def test_hidden_and_averted_points_do_not_count(head: HeadModel) -> None:
    model = landmark_model(head)
    away = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))  # the back of the head
    states = model.rest(2)._replace(
        rotation=torch.stack([torch.diag(torch.tensor([1.0, -1.0, -1.0])), away]),
        translation_m=torch.tensor([[0.0, 0.0, 0.6]]).repeat(2, 1),
    )
    nose = head.data.regions["nose"].nonzero()[:, 0]
    skin = head.template_m[nose, 2].argmax()
    points = SurfacePoints(nose[skin].repeat(1, 3), torch.tensor([[1.0, 0.0, 0.0]]))
    camera = Camera(torch.tensor([[500.0, 0, 128], [0, 500.0, 128], [0, 0, 1]]).expand(2, 3, 3), SIZE_PX, SIZE_PX)
    weight = look(head, head.template_m[None], points, states, camera).weight[:, 0]
    assert float(weight[0]) > 0.8 and float(weight[1]) == 0.0


def test_points_never_seen_predict_without_breaking() -> None:
    surface = turning_surface(4, 10)
    surface.weight[:, :3] = 0
    found = learn_appearance(torch.full((4, 10, 3), 0.5), surface)
    assert isinstance(found, Appearance) and bool(torch.isfinite(found.albedo).all())
    assert found.seen[:3].tolist() == [0.0, 0.0, 0.0]
