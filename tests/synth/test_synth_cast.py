"""The cast: hair with a volume, the truth of the outer surface, and captures whose annotations are that truth."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import transform
from headstudio.geometry.topology import connect, is_manifold
from headstudio.heads.parsing import Label
from headstudio.progress import Silent
from headstudio.records.capture import Annotation, Capture
from headstudio.render.closest import SurfaceIndex, signed_distance
from headstudio.render.normals import vertex_normals
from headstudio.render.rasterise import interpolate, rasterise
from headstudio.synth.cast import CAST, cast_config, cast_stage, two_takes
from headstudio.synth.fields import measure
from headstudio.synth.frames import FrameRenderer
from headstudio.synth.given import true_landmarks, write_given_capture
from headstudio.synth.head_map import Ears
from headstudio.synth.orbit import orbited
from headstudio.synth.shell import STYLES, grow_shell
from headstudio.synth.surface_truth import SurfaceTruth, TruthMaps, tell_surface

SIZE, FRAMES = 128, (8, 6)
CELL_M = 0.005
"""Of the marched hair: twice as coarse as in films, an eighth of the work."""


@pytest.fixture(scope="module")
def stage(head):
    config = replace(cast_config(CAST["female-1"], "makehuman", SIZE), texture_px=256)
    return cast_stage(CAST["female-1"], config, head, FRAMES, CELL_M)


@pytest.fixture(scope="module")
def renderer(stage):
    return FrameRenderer(stage)


@pytest.fixture(scope="module")
def shells(head):
    anatomy = measure(head, head.template_m)
    return {style: grow_shell(head, head.template_m, anatomy, style, 3, CELL_M) for style in STYLES}


def test_hair_is_one_closed_surface_that_leaves_face_and_ears_free(head, shells):
    ears = Ears.of(head, head.template_m)
    for style, hair in shells.items():
        assert is_manifold(connect(hair.triangles.long(), len(hair.points_m))), style
        near = signed_distance(hair.points_m, SurfaceIndex(head.template_m, head.triangles.long()))
        distance, corners = near.distance, head.triangles[near.places.triangle].long()
        front = head.region("eyelids", "nose", "lips")[corners].all(1)
        assert not (front & (distance > 0.001)).any(), style
        beside_ears = ears.holds(hair.points_m) & (distance > 0.004)
        # Long hair falls over the ears; the others leave them free but for their rims.
        assert style == "long" or beside_ears.float().mean() < 0.01, style


def test_each_style_reaches_where_its_name_says(head, shells):
    crown_y, chin_y = float(head.template_m[:, 1].amax()), measure(head, head.template_m).chin_y_m
    ear_y = float(Ears.of(head, head.template_m).low_m[1])
    lowest = {style: float(hair.points_m[:, 1].amin()) for style, hair in shells.items()}
    assert lowest["long"] < chin_y and min(lowest["short"], lowest["bun"]) > ear_y - 0.04
    highest = {style: float(hair.points_m[:, 1].amax()) - crown_y for style, hair in shells.items()}
    assert highest["bun"] > 0.03 and 0.005 < highest["short"] < 0.03
    assert grow_shell(head, head.template_m, measure(head, head.template_m), "bald", 3) is None


def test_the_takes_are_of_the_asked_length_and_differ():
    performance = two_takes(7, 30, 20)
    assert len(performance) == 50 and (performance.times_s.diff() > 0).all()
    assert performance.times_s[30] - performance.times_s[29] > 0.9
    first, second = performance.turn_rad[:20], performance.turn_rad[30:]
    assert (first - second).abs().amax() > 0.05
    assert two_takes(7).turn_rad[:200, 1].abs().amax() > 0.9 > 0.75 > two_takes(7).turn_rad[200:, 1].abs().amax()


def test_normal_maps_are_those_of_the_true_mesh(stage, renderer, tmp_path):
    tell_surface(stage).save(tmp_path)
    truth = SurfaceTruth.load(tmp_path)
    maps = TruthMaps(renderer)
    for frame in (0, 5):
        labels, normals = maps.render(frame)
        vertices = truth.vertices_in_camera(frame)[None]
        camera = Camera(truth.K_px[None], truth.size_px, truth.size_px)
        fragments = rasterise(vertices, truth.triangles, camera)
        found = normalize(interpolate(fragments, vertex_normals(vertices, truth.triangles), truth.triangles)[0], dim=0)
        compared = (fragments.triangle[0] >= 0) & torch.isin(labels, torch.tensor([1, 3, 6], dtype=torch.uint8))
        angle_deg = torch.rad2deg(torch.acos((found * normals).sum(0)[compared].clamp(-1, 1)))
        assert compared.sum() > 0.08 * SIZE**2
        # Positions are kept in half precision; where hair is cut off under the skin the two meshes differ.
        assert angle_deg.median() < 1.0 and (angle_deg < 10).float().mean() > 0.97
        drawn = truth.labels[fragments.triangle[0].long()]
        agree = (drawn == labels)[compared]
        assert agree.float().mean() > 0.98
        # What faces the camera has a negative z.
        assert normals[2][compared].mean() < -0.5


def test_a_given_capture_holds_the_truth(stage, renderer, tmp_path):
    write_given_capture(tmp_path / "capture", renderer, FRAMES[0], Silent())
    capture = Capture.load(tmp_path / "capture")
    assert capture.annotations == set(Annotation) and capture.frames == sum(FRAMES)
    assert list(capture.held_out_frames) == [8, 9, 10, 11, 12, 13]
    labels = capture.parsing(2)[0]
    shown = {Label(int(value)) for value in labels.unique()}
    assert {Label.BACKGROUND, Label.SKIN, Label.NECK, Label.EYES, Label.HAIR, Label.CLOTH} <= shown
    assert ((capture.matte(2)[0] > 250) | (labels == Label.BACKGROUND)).float().mean() > 0.98
    nose = capture.views[0].landmarks_px[2, 1, :2].long()
    assert labels[nose[1], nose[0]] == Label.SKIN
    assert torch.allclose(capture.views[0].K_px[0], stage.lens.camera.K_px)
    assert (capture.normals(2).norm(dim=0) > 0)[labels == Label.HAIR].all()


def test_landmarks_lie_on_the_posed_head(stage):
    landmarks = true_landmarks(stage)
    assert landmarks.isfinite().all()
    posed = transform(stage.T_camera_head[3], stage.head.landmark_points(stage.head_vertices(3)[None])[0])
    known = stage.head.landmark_weight > 0
    assert torch.allclose(landmarks[3, known, :2], stage.lens.project(posed)[known], atol=1e-3)
    # The nose tip is nearer to the camera than the temples.
    assert landmarks[3, 1, 2] < landmarks[3, 234, 2]


def test_an_orbit_keeps_the_head_in_place_and_the_light_with_the_room(stage):
    same, T_same = orbited(stage, 2, 0.0)
    assert torch.allclose(T_same, torch.eye(4), atol=1e-6)
    aside, T = orbited(stage, 2, 60.0)
    before, after = (s.T_camera_head[2][:3, 3] for s in (same, aside))
    assert torch.allclose(before, after, atol=1e-5)
    # The camera went to its right: it sees more of the head's left in the picture's middle.
    camera_in_world = torch.linalg.inv(T)[:3, 3]
    assert camera_in_world[0] > 0.3 * before[2]
    towards_key = aside.T_camera_head[2][:3, :3].T @ aside.light.towards_key
    assert torch.allclose(towards_key, stage.T_camera_head[2][:3, :3].T @ stage.light.towards_key, atol=1e-5)


def test_a_film_that_was_stopped_goes_on(renderer, tmp_path):
    class Stopping(Silent):
        @contextmanager
        def stage(self, name, total=None):
            yield self.count

        def __init__(self):
            self.left = 3

        def count(self, units):
            self.left -= units
            if self.left == 0:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_given_capture(tmp_path / "capture", renderer, FRAMES[0], Stopping())
    assert not (tmp_path / "capture").exists()
    (half,) = tmp_path.iterdir()
    first = half / "frames" / "main" / "000001.jpg"
    first.write_bytes(first.read_bytes() + b"kept")
    write_given_capture(tmp_path / "capture", renderer, FRAMES[0], Silent())
    assert (tmp_path / "capture" / "frames" / "main" / "000001.jpg").read_bytes().endswith(b"kept")
    assert Capture.load(tmp_path / "capture").frames == sum(FRAMES) and len(list(tmp_path.iterdir())) == 1
