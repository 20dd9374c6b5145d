"""Cuts are found, and movement, noise and flicker are not taken for them."""

import numpy as np
import pytest

from headstudio.capture.cuts import ChangeMeter, Cut, find_cuts, longest_shot
from support.videos import disk_frame


def _found(images: list[np.ndarray], boxes: np.ndarray) -> list[Cut]:
    meter = ChangeMeter()
    return find_cuts(np.array([meter.step(i) for i in images]), boxes, np.arange(len(images)) * 0.04)


def _boxes(centres: list[float], radius: float = 40) -> np.ndarray:
    return np.array([(x - radius, 70, 2 * radius, 2 * radius) for x in centres], float)


def test_another_scene_is_a_scene_cut():
    centres = [100.0 + i for i in range(30)]
    images = [disk_frame((x, 110), 40, background=60 if i < 17 else 180) for i, x in enumerate(centres)]
    cuts = _found(images, _boxes(centres))
    assert [(c.frame, c.scene) for c in cuts] == [(17, True)]
    assert cuts[0].time_s == pytest.approx(0.68)


def test_a_jump_within_the_scene_is_a_jump():
    centres = [100.0 + 0.3 * i + (80 if i >= 12 else 0) for i in range(30)]
    cuts = _found([disk_frame((x, 110), 40) for x in centres], _boxes(centres))
    assert [(c.frame, c.scene) for c in cuts] == [(12, False)]


@pytest.mark.parametrize("step", [0.5, 3.0, 8.0])
def test_movement_and_noise_are_no_cut(step):
    rng = np.random.default_rng(0)
    centres = [60.0 + step * i for i in range(25)]
    noisy = [
        np.clip(disk_frame((x, 110), 40) + rng.normal(0, 8, (240, 320, 3)), 0, 255).astype(np.uint8) for x in centres
    ]
    assert _found(noisy, _boxes(centres)) == []


def test_flickering_light_is_no_cut():
    rng = np.random.default_rng(0)
    images = [disk_frame((150, 110), 40, background=int(100 + rng.integers(-12, 13))) for _ in range(40)]
    assert _found(images, _boxes([150.0] * 40)) == []


def test_a_lost_face_does_not_disturb():
    boxes = _boxes([100.0] * 20)
    boxes[8:12] = np.nan
    assert _found([disk_frame((100, 110), 40)] * 20, boxes) == []


def test_the_longest_shot_lies_between_scene_cuts():
    cuts = [Cut(10, 2.0, True), Cut(30, 3.0, False), Cut(60, 9.0, True)]
    assert longest_shot(cuts, 12.0) == (2.0, 9.0)
