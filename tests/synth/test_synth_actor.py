"""The actor: its truth must be what the pixels show, and the detector must take it for a person."""

from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from PIL import Image

from headstudio.geometry.rigid import transform
from headstudio.heads.arkit import ARKIT_INDEX
from headstudio.render.occlusion import visibility
from headstudio.render.rasterise import rasterise
from headstudio.synth.actor import make_actor
from headstudio.synth.config import SynthConfig
from headstudio.synth.frames import FrameRenderer
from headstudio.synth.lens import Lens
from headstudio.synth.light import Light
from headstudio.synth.stage import Stage


@pytest.fixture(scope="module")
def small_stage(head):
    """A bald actor with an undistorted lens and few pixels."""
    stage = Stage.build(replace(SynthConfig.tiny(2), texture_px=256, supersampling=2, noise=0.0), head)
    return replace(stage, hair=None)


def read_frames(path):
    with av.open(str(path)) as container:
        frames = [
            (float(frame.pts * frame.time_base), frame.to_ndarray(format="rgb24"))
            for frame in container.decode(video=0)
        ]
        return np.array([time for time, _ in frames]), [picture for _, picture in frames], len(container.streams.audio)


def test_files_and_times_agree(tiny_actor):
    truth = tiny_actor.truth()
    times, frames, sounds = read_frames(tiny_actor.video)
    assert np.abs(times - truth.times_s.numpy()).max() < 1e-9
    assert frames[0].shape == (truth.height_px, truth.width_px, 3) and sounds == 1
    assert Image.open(tiny_actor.albedo).size == (1024, 1024)


def test_truth_is_consistent_with_its_head(head, tiny_actor):
    truth = tiny_actor.truth()
    neutral = head.neutral(truth.identity[None], truth.identity_offsets_m[None])[0]
    assert torch.allclose(neutral, truth.neutral_m, atol=1e-6)
    state = head.from_arkit(truth.arkit)._replace(neck_rad=truth.neck_rad)
    assert torch.allclose(state.expression, truth.expression) and torch.allclose(state.gaze_rad, truth.gaze_rad)
    posed = head.pose(truth.neutral_m[None], state)
    assert (posed - truth.vertices_m.float()).abs().amax() < 2e-4
    rotation = truth.T_camera_head[:, :3, :3]
    assert torch.allclose(rotation @ rotation.transpose(-1, -2), torch.eye(3).expand_as(rotation), atol=1e-5)
    known = head.landmark_weight > 0
    points = transform(truth.T_camera_head, head.landmark_points(posed)) @ truth.K_px.transpose(-1, -2)
    assert torch.allclose(points[:, known, :2] / points[:, known, 2:], truth.landmarks_px[:, known], atol=0.02)


def test_projected_truth_lies_inside_the_picture_of_the_person(head, small_stage):
    stage = small_stage
    renderer = FrameRenderer(stage)
    for frame in (0, 7, 30):
        alpha = renderer.render(frame).alpha > 0.5
        points = transform(stage.T_camera_head[frame], stage.head_vertices(frame))
        drawn = rasterise(points[None], head.triangles, stage.lens.camera).triangle[0] >= 0
        # Above the collar the head is all there is: mesh and picture cover the same pixels.
        collar = stage.lens.project(points[head.region("ears")])[:, 1].amax().int()
        drawn, alpha = drawn[:collar], alpha[:collar]
        overlap = (drawn & alpha).sum() / (drawn | alpha).sum()
        assert overlap > 0.97


def test_colours_follow_the_truth(head, small_stage):
    """Where the truth says lips, the picture is redder than where it says forehead."""
    picture = FrameRenderer(small_stage).render(0).rgb.float()
    points = transform(small_stage.T_camera_head[0], small_stage.head_vertices(0))
    places = small_stage.lens.project(points).long()

    def redness(chosen):
        column, row = places[chosen].T
        red, green, _ = picture[row, column].mean(0)
        return red / green

    middle = small_stage.neutral_m[:, 0].abs() < 0.015
    forehead = head.region("face") & middle & (small_stage.neutral_m[:, 1] > 0.03)
    assert redness(head.region("lips") & middle) > 1.1 * redness(forehead)


def test_same_seed_same_pixels_other_seed_other_person(head, small_stage):
    same, again = FrameRenderer(small_stage).render(3).rgb, FrameRenderer(small_stage).render(3).rgb
    assert torch.equal(same, again)
    other = Stage.build(replace(small_stage.config, seed=3), head)
    assert not torch.equal(FrameRenderer(replace(other, hair=None)).render(3).rgb, same)


def test_light_seed_changes_the_light_alone(head, small_stage):
    lit = Stage.build(replace(small_stage.config, light_seed=3), head)
    assert torch.equal(lit.light.towards_key, Light.sample(3).towards_key)
    assert torch.equal(small_stage.light.towards_key, Light.sample(small_stage.config.seed).towards_key)
    assert torch.equal(lit.neutral_m, small_stage.neutral_m) and torch.equal(
        lit.person.identity, small_stage.person.identity
    )
    assert torch.equal(lit.T_camera_head, small_stage.T_camera_head) and lit.person.looks == small_stage.person.looks


def test_shoulders_stay_while_the_head_turns(small_stage):
    collar = small_stage.shirt.points_m[-73:]
    places = torch.stack(
        [transform(small_stage.T_camera_head[frame], small_stage.shoulders(frame, collar)) for frame in (0, 8, 12)]
    )
    turned = small_stage.performance.turn_rad[[0, 8, 12], 1]
    assert turned.abs().amax() > 0.15
    assert (places - places[0]).norm(dim=-1).amax() < 0.04, "they drift and take a share of the turn, no more"


def test_a_shadow_falls_behind_what_stands_in_the_light():
    floor = torch.tensor([[-1.0, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]]) * 0.3
    screen = torch.tensor([[-0.1, 0.1, -0.1], [0.1, 0.1, -0.1], [0.1, 0.1, 0.1], [-0.1, 0.1, 0.1]])
    probes = torch.tensor([[0.0, 0.0, 0.0], [0.25, 0.0, 0.25]])
    points = torch.cat([floor, screen, probes])
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], dtype=torch.int32)
    normals = torch.tensor([0.0, 1.0, 0.0]).expand(len(points), 3)
    lit = visibility(points, normals, triangles, torch.tensor([0.0, 1.0, 0.0]))
    assert lit[-2] == 0.0 and lit[-1] == 1.0


def test_light_harmonics_reproduce_the_light():
    light = Light.sample(4)
    towards = torch.stack([light.towards_key, -light.towards_key, torch.tensor([0.0, -1.0, 0.0])])
    from headstudio.render.light import spherical_harmonics

    told = spherical_harmonics(towards) @ light.harmonics()
    real = spherical_harmonics(towards) @ light.environment_sh + light.irradiance(towards.T, torch.ones(3)).T
    assert (told - real).abs().amax() < 0.12
    assert told[0].mean() > 1.5 * told[1].mean()


def test_lens_bends_points_and_pictures_alike():
    lens = Lens.of(replace(SynthConfig.tiny(), distortion=-0.4, width_px=200, height_px=200, focal_mm=35.0))
    point = torch.tensor([[[0.22, -0.31, 1.0]]])
    straight = lens.camera.project(point)[0][0, 0]
    column, row = (int(v) for v in straight)
    picture = torch.zeros(1, 1, 200, 200)
    picture[..., row - 1 : row + 2, column - 1 : column + 2] = 1.0
    bent = lens.bend(picture)[0, 0]
    rows, columns = torch.meshgrid(torch.arange(200) + 0.5, torch.arange(200) + 0.5, indexing="ij")
    centre = torch.stack([(columns * bent).sum(), (rows * bent).sum()]) / bent.sum()
    seen = lens.project(point)[0, 0]
    assert (seen - straight).norm() > 3.0, "the distortion must matter for this test to"
    assert (centre - seen).norm() < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 7])
def test_the_detector_follows_the_actor(head, tmp_path, seed):
    import mediapipe

    actor = make_actor(tmp_path / "actor", SynthConfig.tiny(seed), head=head)
    truth = actor.truth()
    _, frames, _ = read_frames(actor.video)
    found = []
    with mediapipe.solutions.face_mesh.FaceMesh(refine_landmarks=True, max_num_faces=1) as detector:
        for picture in frames:
            faces = detector.process(picture).multi_face_landmarks
            row = (
                [(p.x * picture.shape[1], p.y * picture.shape[0]) for p in faces[0].landmark]
                if faces
                else np.full((478, 2), np.nan)
            )
            found.append(row)
    seen = np.array(found)
    tracked = ~np.isnan(seen[:, 0, 0])
    assert tracked.mean() >= 0.98
    seen, truth_px = seen[tracked], truth.landmarks_px.numpy()[tracked]
    between_eyes = np.linalg.norm(seen[:, 33] - seen[:, 263], axis=-1)
    error = np.linalg.norm(seen - truth_px, axis=-1) / between_eyes[:, None]
    assert np.nanmedian(error) < 0.04
    lids = np.linalg.norm(seen[:, 159] - seen[:, 145], axis=-1) / between_eyes
    lips = np.linalg.norm(seen[:, 13] - seen[:, 14], axis=-1) / between_eyes
    arkit = truth.arkit.numpy()[tracked]
    blink = arkit[:, ARKIT_INDEX["eyeBlinkRight"]]
    opening = arkit[:, ARKIT_INDEX["jawOpen"]] - arkit[:, ARKIT_INDEX["mouthClose"]]
    assert np.corrcoef(lids, blink)[0, 1] < -0.6
    # In so few small frames another compression alone moves this by 0.04.
    assert np.corrcoef(lips, opening)[0, 1] > 0.7
