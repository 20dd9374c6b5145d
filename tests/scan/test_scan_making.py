"""The whole calibration of a filmed actor, who moved, and the tracked poses that serve where pictures do not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from headstudio.capture.config import IngestConfig
from headstudio.capture.ingest import ingest
from headstudio.errors import HeadstudioError
from headstudio.heads import load_head
from headstudio.progress import Silent
from headstudio.records.capture import Annotation
from headstudio.records.scan import CameraSource, LightMode, ScaleSource, Scan
from headstudio.scan.background import light_mode
from headstudio.scan.calibration_config import CalibrationConfig, KeyFrameConfig, StructureConfig
from headstudio.scan.fallback import cameras_of, trackable, tracked
from headstudio.scan.lens import straightened, straightened_points
from headstudio.scan.making import make_scan
from headstudio.synth.config import SynthConfig
from headstudio.synth.sweep import SweepConfig, make_sweep
from support.tiny import tiny_capture, tiny_track
from support.turned_head import camera_errors, camera_of, orbit

WITHOUT = CalibrationConfig(structure=StructureConfig(enabled=False))


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """An actor on a chair."""
    folder = tmp_path_factory.mktemp("clip-a")
    config = SynthConfig(
        seed=7, seconds=14.0, fps=2.5, width_px=512, height_px=512, head_share=0.66, texture_px=1024, audio=False
    )
    actor = make_sweep(folder / "actor", config, SweepConfig(reach_deg=60.0))
    return ingest(actor.video, folder / "capture", IngestConfig(size_px=512)), actor.truth()


@pytest.mark.slow
def test_cameras_and_metres_of_a_filmed_actor(filmed, tmp_path):
    """A hundred of a clip's pictures would be nearer to the truth than these few; see benchmarks/scan_cameras.py."""
    pytest.importorskip("pycolmap", reason="the scan extra is not installed")
    capture, truth = filmed
    scan = make_scan(capture, CalibrationConfig())
    scan.save(tmp_path / "scan")
    scan = Scan.load(tmp_path / "scan")
    assert scan.cameras is CameraSource.STRUCTURE_FROM_MOTION and scan.light is LightMode.TURNING
    rotation_deg, position_pct, _ = camera_errors(scan.T_camera_world, truth.T_camera_head[scan.frames])
    # twice what clip A at full size is held to, for pictures of half that size
    assert rotation_deg.median() < 1.0 and rotation_deg.max() < 3.0
    assert position_pct.median() < 1.0 and position_pct.max() < 3.0
    assert scan.scale.source is ScaleSource.IRIS and scan.told == ()
    assert torch.allclose(scan.T_camera_world[0], torch.eye(4), atol=1e-6)
    # the head faces where it faces: the mean head's face is not this one's, which leaves a few degrees
    between = scan.T_camera_head[:, :3, :3] @ truth.T_camera_head[scan.frames][:, :3, :3].transpose(1, 2)
    turn = torch.rad2deg(torch.arccos(((between.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1)))
    assert turn.max() < 6.0
    assert scan.residuals.offered >= scan.views >= 10


@pytest.mark.slow
def test_true_poses_serve_as_a_track(filmed):
    """Without structure from motion the cameras are the track's, scaled by the iris."""
    capture, truth = filmed
    crop, view = capture.views[0].crop, capture.views[0]
    K = truth.K_px[0].clone()
    K[0, 2], K[1, 2] = K[0, 2] - crop.left_px, K[1, 2] - crop.top_px
    K[:2] *= capture.size_px / crop.side_px
    track = tiny_track(capture)
    given = replace(
        track,
        T_world_head=truth.T_camera_head,
        views={view.name: replace(track.views["front"], K_px=K.repeat(capture.frames, 1, 1))},
    )
    scan = make_scan(capture, WITHOUT, track=given)
    assert scan.cameras is CameraSource.TRACKED and "tracked head poses" in scan.told[0] and scan.points is None
    rotation_deg, position_pct, ratio = camera_errors(scan.T_camera_world, truth.T_camera_head[scan.frames])
    assert rotation_deg.max() < 0.1 and position_pct.max() < 0.1
    head = load_head("makehuman")
    joints = head.joints(truth.neutral_m[None])[0]
    true_iris_m = 0.19 * float((joints[3] - joints[4]).norm())
    # the detector reads an iris of 13 pixels to within one
    assert ratio * 0.0117 == pytest.approx(true_iris_m, rel=0.08)


def room(seed, shift):
    draw = np.random.default_rng(seed)
    wall = np.kron(draw.integers(60, 200, (16, 64)), np.ones((16, 16)))
    return np.repeat(wall[:, shift : shift + 256, None], 3, 2).astype(np.uint8)


@pytest.mark.parametrize(("step", "mode"), [(0, LightMode.TURNING), (60, LightMode.FIXED_TO_HEAD)])
def test_the_background_tells_who_moved(step, mode):
    images = [room(1, step * index) for index in range(6)]
    person = np.zeros((256, 256), bool)
    person[60:256, 80:180] = True
    assert light_mode(images, [person] * 6, np.ones((256, 256), bool)) == (mode, True)


def test_a_plain_wall_tells_nothing():
    plain = [np.full((256, 256, 3), 128, np.uint8)] * 5
    none = np.zeros((256, 256), bool)
    assert light_mode(plain, [none] * 5, ~none) == (LightMode.TURNING, False)
    assert light_mode([room(1, 0)] * 5, [~none] * 5, ~none) == (LightMode.TURNING, False)


@pytest.mark.parametrize("distortion", [-0.2, 0.0, 0.15])
def test_straightened_pictures_are_a_pinholes(distortion):
    """A dot that the lens moved comes back to where the pinhole has it, as its landmark does."""
    K = camera_of(128).K_px.double()
    straight = torch.tensor([[100.5, 30.5], [64.0, 64.0]], dtype=torch.float64)
    flat = (straight - K[:2, 2]) / K[[0, 1], [0, 1]]
    bent = flat * (1 + distortion * flat.square().sum(-1, keepdim=True)) * K[[0, 1], [0, 1]] + K[:2, 2]
    row, column = np.mgrid[:128, :128] + 0.5
    dot = np.exp(-((column - float(bent[0, 0])) ** 2 + (row - float(bent[0, 1])) ** 2) / 8)
    picture = np.repeat((255 * dot)[..., None], 3, 2).astype(np.uint8)
    images, masks, valid = straightened([picture], [picture[..., 0]], np.ones((128, 128), bool), K, distortion)
    weight = images[0, 0].double()
    found = torch.stack([(weight * torch.from_numpy(axis)).sum() / weight.sum() for axis in (column, row)])
    assert (found - straight[0]).abs().max() < 0.1
    assert masks.shape == (1, 128, 128) and valid.shape == (128, 128)
    landmarks = torch.zeros(1, 478, 3, dtype=torch.float64)
    landmarks[0, :2, :2] = bent
    assert torch.allclose(straightened_points(landmarks, K, distortion)[0, :2, :2], straight, atol=1e-4)


def test_a_track_of_another_capture_is_refused(tmp_path):
    capture, other = tiny_capture(tmp_path / "a"), tiny_capture(tmp_path / "b", seed=1)
    with pytest.raises(HeadstudioError, match="another capture"):
        tracked(capture, tiny_track(other), "makehuman", Silent())
    with pytest.raises(HeadstudioError, match="does not fit"):
        tracked(capture, replace(tiny_track(capture), size_px=99), "makehuman", Silent())
    assert tracked(capture, tiny_track(capture), "makehuman", Silent()).frames == capture.frames


def test_frames_that_could_not_be_tracked_are_no_cameras(tmp_path):
    capture = tiny_capture(tmp_path / "a")
    known, yaw = tiny_track(capture), np.linspace(-90, 90, capture.frames)
    good = trackable(capture, known, 55.0, yaw)
    assert good.any() and not good[[0, -1]].any()
    with pytest.raises(HeadstudioError, match="only 0 frames"):
        trackable(capture, replace(known, confidence=torch.zeros(capture.frames)), 55.0, yaw)


def test_a_tracked_camera_goes_through_the_world(tmp_path):
    capture = tiny_capture(tmp_path / "a")
    known = tiny_track(capture)
    moved = orbit(capture.frames)
    known = replace(known, views={"front": replace(known.views["front"], T_camera_world=moved)})
    K, T = cameras_of(known, torch.tensor([3, 7]))
    assert torch.allclose(T[1].float(), moved[7] @ known.T_world_head[7], atol=1e-6) and K.shape == (2, 3, 3)


def test_clips_that_cannot_be_scanned_are_refused(tmp_path):
    capture = tiny_capture(tmp_path / "a")
    with pytest.raises(HeadstudioError, match="no mattes"):
        make_scan(replace(capture, annotations=frozenset({Annotation.LANDMARKS})))
    with pytest.raises(HeadstudioError, match="2 views"):
        make_scan(replace(capture, views=capture.views * 2))
    with pytest.raises(HeadstudioError, match=r"degrees only|frames show|shows no person"):
        make_scan(capture, CalibrationConfig(key_frames=KeyFrameConfig(least_reach_deg=179.0)))
