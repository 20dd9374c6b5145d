"""Key frames on planted landmarks: spread over yaw, sharp, open-eyed, and what cannot be chosen from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from headstudio.capture.face_measures import STABLE_CM
from headstudio.errors import HeadstudioError
from headstudio.progress import Silent
from headstudio.scan.calibration_config import KeyFrameConfig
from headstudio.scan.keyframes import Sightings, choose, continued, look
from support.tiny import tiny_capture

CONFIG = KeyFrameConfig(count=12)


def sweep(frames=120, reach=80.0):
    times = np.linspace(0.0, 20.0, frames)
    yaw = np.linspace(-reach, reach, frames)
    zeros = np.zeros(frames)
    return Sightings(times, yaw, np.ones(frames), zeros > 0, zeros, zeros == 0)


def everything(found):
    return np.ones(len(found.times_s), bool)


def test_key_frames_are_spread_over_the_yaw_that_is_covered():
    found = sweep()
    keys = choose(found, everything(found), CONFIG)
    steps = np.diff(found.yaw_deg[keys])
    assert len(keys) == 12 and (np.diff(keys) > 0).all()
    assert steps.max() < 2 * 160 / 12 and steps.min() > 0


def test_a_pause_does_not_collect_key_frames():
    """A person who rests at one side for most of the clip is still seen from all sides."""
    yaw = np.concatenate([np.full(300, -70.0) + np.linspace(0, 0.5, 300), np.linspace(-69, 70, 60)])
    zeros = np.zeros(len(yaw))
    found = Sightings(np.arange(len(yaw)) / 25, yaw, np.ones(len(yaw)), zeros > 0, zeros, zeros == 0)
    keys = choose(found, everything(found), CONFIG)
    assert (keys < 300).sum() <= 1 and len(keys) == 12


def test_the_sharp_one_is_taken():
    found = sweep()
    sharp = np.full(120, 0.3)
    sharp[5::10] = 1.0
    keys = choose(replace(found, sharpness=sharp), everything(found), CONFIG)
    assert set(keys) <= set(range(5, 120, 10))


def test_blinks_and_movements_of_the_mouth_are_passed_by():
    found = sweep()
    shut, restless = np.arange(120) % 2 == 0, np.where(np.arange(120) % 3 == 0, 4.0, 0.0)
    keys = choose(replace(found, shut=shut, restless=restless), everything(found), CONFIG)
    assert not shut[keys].any() and not restless[keys].any()


def test_only_eligible_frames_with_a_person_are_chosen():
    found = sweep()
    eligible = np.arange(120) < 90
    sharpness = np.where(np.arange(120) < 10, 0.0, 1.0)
    keys = choose(replace(found, sharpness=sharpness), eligible, CONFIG)
    assert keys.min() >= 10 and keys.max() < 90


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"yaw_deg": np.linspace(-5, 5, 120)}, "from 10 degrees only"),
        ({"sharpness": np.zeros(120)}, "shows no person"),
        ({"yaw_deg": np.where(np.arange(120) < 60, -60.0, 60.0)}, "only 2 frames"),
        ({"yaw_deg": np.full(120, 170.0)}, "shows no person"),
    ],
)
def test_what_cannot_be_a_scan_is_said(change, told):
    found = replace(sweep(), **change)
    with pytest.raises(HeadstudioError, match=told):
        choose(found, everything(found), CONFIG)


def test_yaw_is_continued_where_the_detector_loses_the_face():
    times, true = np.linspace(0, 20, 201), np.linspace(-90, 90, 201)
    seen = np.where(np.abs(true) <= 60, np.clip(true, -55, 55), np.nan)  # comes to a halt, then is lost
    assert np.abs(continued(times, seen, 100.0) - true).max() < 2.0


def test_yaw_of_a_head_that_turns_away_and_back_again():
    times = np.linspace(0, 20, 201)
    true = 80 * np.sin(2 * np.pi * times / 20)
    seen = np.where(np.abs(true) <= 50, true, np.nan)
    whole = continued(times, seen, 100.0)
    assert np.isfinite(whole).all() and whole.max() > 60 and whole.min() < -60
    inside = np.isfinite(seen)
    assert np.array_equal(whole[inside], seen[inside])


def test_a_face_that_never_looks_straight_is_still_followed():
    times = np.linspace(0, 4, 40)
    assert np.isfinite(continued(times, np.full(40, 62.0), 100.0)).all()


def planted(tmp_path, yaw_deg, size=64):
    """A capture whose landmarks are the canonical face turned by planted angles; every third frame is blurred."""
    capture = tiny_capture(tmp_path / "capture", frames=len(yaw_deg), size_px=size)
    landmarks = np.random.default_rng(0).normal(size / 2, 3, (len(yaw_deg), 478, 3))
    points = np.array(list(STABLE_CM.values())) - (0, 2.5, 0)
    for frame, angle in enumerate(np.radians(yaw_deg)):
        turned = points @ np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]).T
        landmarks[frame, list(STABLE_CM)] = turned * (1, -1, -1) * size / 30 + size / 2
        grain = np.random.default_rng(1).integers(60, 200, (size, size, 3), dtype=np.uint8)
        picture = Image.fromarray(grain)
        if frame % 3:
            picture = picture.resize((8, 8)).resize((size, size), Image.Resampling.BICUBIC)
        picture.save(capture.frame_path(frame))
        matte = np.zeros((size, size), np.uint8)
        matte[8:-8, 8:-8] = 255
        Image.fromarray(matte).save(capture.matte_path(frame))
    view = replace(capture.views[0], landmarks_px=torch.from_numpy(landmarks).float())
    return replace(capture, views=(view,))


def test_planted_landmarks_give_their_yaw_and_sharp_frames(tmp_path):
    yaw = np.linspace(-48, 48, 36)
    found = look(planted(tmp_path, yaw), CONFIG, Silent())
    assert np.abs(found.yaw_deg - yaw).max() < 4.0
    keys = choose(found, everything(found), CONFIG)
    assert set(keys) <= set(range(0, 36, 3)) and len(keys) >= 11


def test_a_clip_without_a_face_is_refused(tmp_path):
    capture = tiny_capture(tmp_path / "capture")
    view = replace(capture.views[0], landmarks_px=torch.full((12, 478, 3), torch.nan))
    with pytest.raises(HeadstudioError, match="no face"):
        look(replace(capture, views=(view,)), CONFIG, Silent())
