"""Yaw, pitch, roll and mirrors: signs against directions that a person can point at."""

import math

import pytest
import roma
import torch

from headstudio.motion.angles import carried_over, rotvec_from_yaw_pitch_roll, yaw_pitch_roll
from headstudio.motion.arkit import MIRROR, NAMES, mirror_name, mirrored

NOSE, LEFT_EAR = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 0.0])


def _turned(point, yaw=0.0, pitch=0.0, roll=0.0):
    return roma.rotvec_to_rotmat(rotvec_from_yaw_pitch_roll(torch.tensor([yaw, pitch, roll]))) @ point


def test_signs():
    assert _turned(NOSE, yaw=0.3)[0] > 0.2  # the person's left is +x
    assert _turned(NOSE, pitch=0.3)[1] < -0.2
    assert _turned(LEFT_EAR, roll=0.3)[1] > 0.2


def test_order_is_roll_then_pitch_then_yaw():
    yaw, pitch = 0.5, 0.3
    expected = torch.tensor([math.sin(yaw) * math.cos(pitch), -math.sin(pitch), math.cos(yaw) * math.cos(pitch)])
    torch.testing.assert_close(_turned(NOSE, yaw, pitch, 0.9), expected)


def test_angles_come_back():
    angles = (torch.rand(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5) * 2.8
    torch.testing.assert_close(yaw_pitch_roll(rotvec_from_yaw_pitch_roll(angles)), angles)


def test_carried_over_keeps_the_difference_in_the_parents_axes():
    make = torch.Generator().manual_seed(1)
    driver, start, rest = 0.5 * torch.randn(3, 20, 3, generator=make, dtype=torch.float64)
    R = roma.rotvec_to_rotmat
    expected = R(driver) @ R(start).transpose(1, 2) @ R(rest)
    torch.testing.assert_close(R(carried_over(driver, start, rest, 1.0)), expected)
    torch.testing.assert_close(R(carried_over(driver, start, rest, 0.0)), R(rest))


@pytest.mark.parametrize(
    ("name", "other"), [("eyeBlinkLeft", "eyeBlinkRight"), ("jawRight", "jawLeft"), ("jawOpen", "jawOpen")]
)
def test_mirror_name(name, other):
    assert mirror_name(name) == other and mirror_name(other) == name


def test_mirroring_exchanges_sides_and_undoes_itself():
    weights = torch.rand(3, 52)
    assert sorted(MIRROR) == list(range(52))
    assert mirrored(weights)[0, NAMES.index("mouthLeft")] == weights[0, NAMES.index("mouthRight")]
    assert torch.equal(mirrored(mirrored(weights)), weights) and not torch.equal(mirrored(weights), weights)
