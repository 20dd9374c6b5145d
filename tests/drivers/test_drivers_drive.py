"""Driving: whose signals arrive, what the camera sees from aside, and that batches change nothing."""

import math
from dataclasses import replace

import pytest
import torch

from headstudio.drivers.drive import DriveConfig, Performance, carried_over, orbit_view, predicted, render_frames
from headstudio.geometry.rigid import transform
from headstudio.motion.neutral import find_neutral
from headstudio.records.channels import ARKIT, GAZE, HEAD_POSE, HEAD_ROTATION
from headstudio.records.motion import Motion
from headstudio.training.avatars import describe
from headstudio_toys.latent import LatentConfig, LatentToy
from headstudio_toys.plain import CODE, PlainConfig, PlainToy
from support.tiny import tiny_source


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """A toy avatar, its person at rest, its own source and somebody else's."""
    folder = tmp_path_factory.mktemp("drive")
    own, other = tiny_source(folder / "own"), tiny_source(folder / "other", seed=1)
    torch.manual_seed(0)
    avatar = PlainToy(PlainConfig())
    avatar.setup({"target": (own,)})
    torch.nn.init.normal_(avatar.colour.weight)
    record = describe(avatar, "toy-plain", "draft", {"target": (own,)})
    return avatar.eval(), record.at_rest, own, other


def test_the_person_at_rest_is_the_neutral_training_frame(stage):
    _, at_rest, own, _ = stage
    frame = find_neutral(own.motion, list(own.capture.train_frames)).frame
    assert frame in own.capture.train_frames
    for channel, values in at_rest.channels.items():
        assert torch.equal(values, own.motion.channels[channel][frame])
    assert torch.equal(at_rest.K_px, own.track.view(torch.tensor([frame])).camera.K_px[0])


def test_ones_own_signals_arrive_as_they_are(stage):
    avatar, at_rest, own, _ = stage
    motion, _ = carried_over(Performance(own.motion), avatar, at_rest, DriveConfig(own=True))
    assert motion.channels.keys() == {ARKIT, HEAD_POSE}
    for channel, values in motion.channels.items():
        assert torch.equal(values, own.motion.channels[channel])


def test_anothers_rest_becomes_ones_own_rest(stage):
    avatar, at_rest, _, other = stage
    motion, _ = carried_over(Performance(other.motion, other.track.identity), avatar, at_rest)
    frame = find_neutral(other.motion).frame
    for channel in (ARKIT, HEAD_POSE):
        torch.testing.assert_close(motion.channels[channel][frame], at_rest.channels[channel], atol=1e-5, rtol=1e-5)
    others = other.motion.channels[ARKIT]
    wanted = (at_rest.channels[ARKIT] + others - others[frame]).clamp(0, 1)
    torch.testing.assert_close(motion.channels[ARKIT], wanted)


def test_a_recording_without_a_place_takes_the_avatars(stage):
    avatar, at_rest, own, _ = stage
    still = Motion(own.motion.times_s, {ARKIT: own.motion.channels[ARKIT]})
    motion, _ = carried_over(Performance(still), avatar, at_rest)
    for pose in motion.channels[HEAD_POSE]:
        torch.testing.assert_close(pose, at_rest.channels[HEAD_POSE], atol=1e-5, rtol=1e-5)
    turned = still.with_channels({HEAD_ROTATION: torch.tensor([[0.0, 0.3, 0.0]]).repeat(len(still), 1)})
    turned.channels[HEAD_ROTATION][0] = 0
    found = carried_over(Performance(turned), avatar, at_rest)[0].channels[HEAD_POSE]
    turn = found[0, :3, :3].T @ found[-1, :3, :3]
    assert math.acos((float(turn.trace()) - 1) / 2) == pytest.approx(0.3, abs=1e-3)
    torch.testing.assert_close(found[:, :3, 3], at_rest.channels[HEAD_POSE][:3, 3].expand(len(found), 3))


def test_leaving_the_trained_range_is_told(stage):
    avatar, at_rest, own, _ = stage
    narrow = replace(at_rest, covered={**at_rest.covered, "jawOpen": (0.0, 0.1)})
    _, warnings = carried_over(Performance(own.motion), avatar, narrow, DriveConfig(own=True))
    assert any(warning.startswith("jawOpen is above") for warning in warnings)


def test_a_driver_keeps_its_memory_and_its_channel_is_used(stage):
    avatar, at_rest, _, other = stage
    torch.manual_seed(1)
    driver = LatentToy(LatentConfig()).eval()
    driver.bind(avatar)
    found = predicted(driver, other.motion)[CODE]
    last = torch.zeros(1, 4)
    for frame in range(len(other.motion)):
        last = 0.5 * (driver.encoder(other.motion.channels[ARKIT][frame : frame + 1]) + last)
        torch.testing.assert_close(found[frame : frame + 1], last)
    motion, _ = carried_over(Performance(other.motion), avatar, at_rest, DriveConfig(), driver)
    assert motion.channels.keys() == {CODE}
    assert torch.equal(motion.channels[CODE], found)


@pytest.mark.parametrize(("yaw_deg", "pitch_deg"), [(0, 0), (30, 0), (0, 20), (-40, -15)])
def test_the_camera_moves_around_the_head(stage, yaw_deg, pitch_deg):
    _, at_rest, _, _ = stage
    view = orbit_view(at_rest, 64, yaw_deg, pitch_deg)
    pose = at_rest.channels[HEAD_POSE]
    centre = pose[:3, 3]
    seen = transform(view.T_camera_world[0], centre[None])[0]
    torch.testing.assert_close(seen, centre)
    camera = -view.T_camera_world[0, :3, :3].T @ view.T_camera_world[0, :3, 3]
    assert float((camera - centre).norm()) == pytest.approx(float(centre.norm()), rel=1e-5)
    if yaw_deg:
        assert math.copysign(1, float(camera[0])) == math.copysign(1, yaw_deg)
    if pitch_deg:  # the camera's y axis points down
        assert math.copysign(1, -float(camera[1])) == math.copysign(1, pitch_deg)


def test_batches_change_nothing(stage):
    avatar, at_rest, own, _ = stage
    motion, _ = carried_over(Performance(own.motion), avatar, at_rest, DriveConfig(own=True))
    view, plate = orbit_view(at_rest, 16), torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    alone = list(render_frames(avatar, motion, view, plate, batch_size=1))
    together = list(render_frames(avatar, motion, view, plate, batch_size=5))
    assert len(alone) == len(together) == len(motion)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one.rgb, other.rgb)
    assert not torch.allclose(alone[0].rgb, alone[1].rgb)


def test_gaze_survives_for_avatars_that_take_it(stage):
    _, at_rest, own, _ = stage

    class Gazing(PlainToy):
        driven_by = (frozenset({ARKIT, GAZE, HEAD_POSE}),)

    gazing = Gazing(PlainConfig())
    gazing.setup({"target": (own,)})
    motion, _ = carried_over(Performance(own.motion), gazing, at_rest)
    assert motion.channels[GAZE].shape == (len(own.motion), 2, 3)
