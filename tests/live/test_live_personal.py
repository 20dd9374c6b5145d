"""Calibration: planted offsets and gains come back, what was not tried is left alone, profiles survive their files."""

import json

import pytest
import torch
from live_people import weights

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import rigid
from headstudio.live.following import Met
from headstudio.live.personal import GAIN_RANGE, LEAST_REACH, Calibration, Personal, gains_of, known_neutral, neutral_of
from headstudio.motion.arkit import INDEX, LOOK, NAMES
from headstudio.records.channels import ARKIT, GAZE, HEAD_POSE
from headstudio.records.motion import Motion
from headstudio.records.track import HeadIdentity
from headstudio.tracking.sitter import Sitter

FPS = 25
SHOWN = [index for index in range(52) if index not in LOOK]


def planted(seed=0):
    """How a face reads: offsets, and the share of each unit's way that the tracker sees."""
    draw = torch.Generator().manual_seed(seed)
    return 0.15 * torch.rand(52, generator=draw), 0.4 + 0.4 * torch.rand(52, generator=draw)


def read(truth, offsets, shares, noise=0.01, seed=1):
    draw = torch.Generator().manual_seed(seed)
    return (offsets + shares * truth + noise * torch.randn(truth.shape, generator=draw)).clamp(0, 1)


def clocked(values, **more):
    return Motion(torch.arange(len(values), dtype=torch.float64) / FPS, {ARKIT: values, **more})


def everything_moved(frames=1500):
    """Each unit goes to 1 and back, one after the other."""
    time = torch.arange(frames)[:, None] / frames * 52 - torch.arange(52)[None]
    return torch.sin(torch.pi * time.clamp(0, 1))


def test_planted_offsets_and_gains_come_back():
    offsets, shares = planted()
    rest = read(torch.zeros(75, 52), offsets, shares)
    neutral = neutral_of(clocked(rest))
    assert float((neutral[ARKIT] - offsets).abs().max()) < 0.015
    gains = gains_of(clocked(read(everything_moved(), offsets, shares)), neutral)
    # The fifth largest of frames with noise of 0.01, on a reach of 0.4 at least.
    assert float((gains * shares - 1)[SHOWN].abs().max()) < 0.06
    personal = Personal(neutral, gains)
    truth = everything_moved(520)
    found = (personal.read(read(truth, offsets, shares)) - neutral[ARKIT]).clamp(0, 1)
    assert float((found - truth)[:, SHOWN].abs().mean()) < 0.03


def test_blinks_and_swallowing_do_not_enter_the_rest():
    offsets, shares = planted(3)
    truth = torch.zeros(75, 52)
    truth[20:26, [INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]] = 1.0
    truth[50:60, INDEX["mouthPucker"]] = 0.8
    neutral = neutral_of(clocked(read(truth, offsets, shares)))
    assert float((neutral[ARKIT] - offsets).abs().max()) < 0.02


def test_units_that_were_not_tried_keep_their_size_and_so_do_the_eyes():
    neutral = {ARKIT: torch.zeros(52)}
    moved = torch.zeros(200, 52)
    moved[:, INDEX["jawOpen"]] = 0.5
    moved[:, INDEX["cheekPuff"]] = LEAST_REACH - 0.01
    moved[:, INDEX["tongueOut"]] = 0.2
    moved[:, LOOK[0]] = 0.4
    gains = gains_of(clocked(moved), neutral)
    assert float(gains[INDEX["jawOpen"]]) == pytest.approx(2.0)
    assert float(gains[INDEX["tongueOut"]]) == pytest.approx(GAIN_RANGE[1])
    assert float(gains[INDEX["cheekPuff"]]) == 1.0 and float(gains[LOOK[0]]) == 1.0


def test_the_rest_of_the_head_is_a_rigid_pose_between_those_seen():
    turn = torch.zeros(31, 3)
    turn[:, 0] = torch.pi  # facing the camera
    turn[:, 2] = torch.linspace(-0.2, 0.2, 31)
    poses = rigid(turn, torch.tensor([0.01, 0.02, 0.6]) + torch.linspace(-0.05, 0.05, 31)[:, None])
    pose = neutral_of(clocked(torch.zeros(31, 52)).with_channels({HEAD_POSE: poses}))[HEAD_POSE]
    assert torch.allclose(pose[:3, :3] @ pose[:3, :3].T, torch.eye(3), atol=1e-5)
    assert float(pose[2, 3]) == pytest.approx(0.6, abs=0.06) and pose.shape == (4, 4)


def seen(calibration, frames, start_s=0.0, confidence=1.0, step_s=1 / FPS):
    found = None
    for frame in range(frames):
        found = calibration.see({ARKIT: weights(jawOpen=0.1)}, start_s + frame * step_s, confidence) or found
    return found


def test_three_seconds_of_a_face_are_enough():
    calibration = Calibration(3.0)
    assert calibration.left_s == 3.0
    assert seen(calibration, 75) is None and calibration.left_s == pytest.approx(0.04)
    personal = calibration.see({ARKIT: weights(jawOpen=0.1)}, 3.0, 1.0)
    assert float(personal.neutral[ARKIT][INDEX["jawOpen"]]) == pytest.approx(0.1)
    assert torch.equal(personal.gains, torch.ones(52))


def test_time_without_a_face_does_not_count():
    calibration = Calibration(3.0)
    assert seen(calibration, 1000, confidence=0.0) is None and calibration.left_s == 3.0
    assert seen(calibration, 10) is None
    assert seen(calibration, 10, start_s=1000.0) is None  # the gap counts for half a second at most
    assert calibration.left_s == pytest.approx(3.0 - 9 / FPS - 0.5 - 9 / FPS)


def test_the_range_of_motion_follows_the_rest():
    calibration = Calibration(1.0, 2.0)
    assert seen(calibration, 26) is None and calibration.moving
    found = None
    for frame in range(80):
        found = found or calibration.see({ARKIT: weights(jawOpen=0.6)}, 2 + frame / FPS, 1.0)
    assert float(found.gains[INDEX["jawOpen"]]) == pytest.approx(2.0, rel=0.01)


def test_channels_that_come_and_go_are_left_out():
    calibration = Calibration(1.0)
    found = None
    for frame in range(30):
        more = {GAZE: torch.zeros(1, 2, 3)} if frame % 2 else {}
        found = found or calibration.see({ARKIT: weights(), **more}, frame / FPS, 1.0)
    assert set(found.neutral) == {ARKIT}


def somebody(bias=True):
    K_px = torch.tensor([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]])
    identity = HeadIdentity("makehuman", torch.randn(80), torch.randn(7, 3))
    return Met(Sitter(identity, K_px, 1280, 0.0013, torch.randn(478, 3, 3) if bias else None), 1280, 720)


@pytest.mark.parametrize("met", [None, somebody(), somebody(bias=False)])
def test_a_profile_survives_its_file(tmp_path, met):
    personal = Personal({ARKIT: torch.rand(52), GAZE: torch.rand(2, 3)}, torch.rand(52), met)
    personal.save(tmp_path / "me")
    again = Personal.load(tmp_path / "me")
    assert torch.equal(again.gains, personal.gains) and again.neutral.keys() == personal.neutral.keys()
    assert all(torch.equal(again.neutral[channel], values) for channel, values in personal.neutral.items())
    assert (again.met is None) == (met is None)
    if met is not None:
        assert torch.equal(again.met.sitter.identity.offsets_m, met.sitter.identity.offsets_m)
        assert torch.equal(again.met.sitter.K_px, met.sitter.K_px)
        assert again.met.sitter.usual_error_m == met.sitter.usual_error_m
        assert (again.met.sitter.bias is None) == (met.sitter.bias is None)
        assert (again.met.width_px, again.met.height_px) == (1280, 720)


def test_a_person_is_known_at_another_size_of_the_same_camera():
    half = somebody().seen_at(640, 360)
    assert half.K_px.tolist() == [[450.0, 0, 320], [0, 450, 180], [0, 0, 1]] and half.size_px == 640
    cut = somebody().seen_at(1280, 960)
    assert cut.K_px[:2, 2].tolist() == [640, 480] and float(cut.K_px[0, 0]) == 900


def damage_tensor(path, name, value):
    from headstudio import storage

    tensors = storage.read_tensors(path / "driver.safetensors")
    storage.write_tensors(path / "driver.safetensors", {**tensors, name: value})


def damage_json(path, **changes):
    content = json.loads((path / "driver.json").read_text())
    (path / "driver.json").write_text(json.dumps({**content, **changes}))


DAMAGES = {
    "cut off": lambda path: (path / "driver.json").write_text("{"),
    "another record": lambda path: damage_json(path, schema="headstudio.avatar"),
    "a newer version": lambda path: damage_json(path, schema_version=99),
    "no tensors": lambda path: (path / "driver.safetensors").unlink(),
    "no arkit": lambda path: damage_json(path, neutral=["a@b[c]"]),
    "no channel": lambda path: damage_json(path, neutral=["expression"]),
    "numbers for names": lambda path: damage_json(path, neutral=[1]),
    "a person of another kind": lambda path: damage_json(path, met={"head": 3}),
    "a list for a person": lambda path: damage_json(path, met=[1]),
    "short gains": lambda path: damage_tensor(path, "gains", torch.ones(51)),
    "infinite gains": lambda path: damage_tensor(path, "gains", torch.full((52,), float("inf"))),
    "rest that is no number": lambda path: damage_tensor(path, "neutral_0", torch.full((52,), float("nan"))),
    "flat rest": lambda path: damage_tensor(path, "neutral_0", torch.zeros(3, 3)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_profile_costs_a_sentence(tmp_path, damage):
    known_neutral({ARKIT: torch.zeros(len(NAMES))}).save(tmp_path / "me")
    DAMAGES[damage](tmp_path / "me")
    with pytest.raises(HeadstudioError):
        Personal.load(tmp_path / "me")
