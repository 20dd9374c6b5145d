"""Transfer between people, conversion to what an avatar accepts, and warnings about what it never saw."""

import math

import pytest
import roma
import torch

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import relative_orientation, rigid
from headstudio.motion.arkit import INDEX, LOOK
from headstudio.motion.ranges import range_warnings, training_range
from headstudio.motion.retarget import RetargetConfig, adapt, head_size_ratio, retarget
from headstudio.records.channels import (
    ARKIT,
    GAZE,
    HEAD_POSE,
    HEAD_ROTATION,
    JAW,
    NECK,
    Channel,
    expression_of,
    latent_of,
)
from headstudio.records.motion import Motion
from support.small_head import small_head

HEAD = small_head()
OWN = expression_of(HEAD.name)


def _motion(frames: int = 9, seed: int = 0) -> Motion:
    make = torch.Generator().manual_seed(seed)
    turn = torch.tensor([math.pi, 0.0, 0.0]) + 0.2 * torch.randn(frames, 3, generator=make)
    return Motion(
        torch.arange(frames, dtype=torch.float64) / 30,
        {
            ARKIT: torch.rand(frames, 52, generator=make),
            OWN: torch.rand(frames, HEAD.expressions, generator=make),
            HEAD_POSE: rigid(turn, torch.tensor([0.0, 0.0, 0.6]) + 0.05 * torch.randn(frames, 3, generator=make)),
            GAZE: 0.2 * torch.randn(frames, 2, 3, generator=make),
            JAW: 0.1 * torch.randn(frames, 3, generator=make),
            NECK: 0.1 * torch.randn(frames, 3, generator=make),
        },
    )


def _row(motion: Motion, frame: int = 0) -> dict[Channel, torch.Tensor]:
    return {channel: values[frame] for channel, values in motion.channels.items()}


def test_the_drivers_neutral_becomes_the_targets():
    driver, target = _motion(seed=1), _row(_motion(seed=2))
    moved = retarget(driver, _row(driver, 4), target, HEAD, size_ratio=1.7)
    assert set(moved.channels) == set(driver.channels)
    for channel, values in moved.channels.items():
        torch.testing.assert_close(values[4], target[channel], atol=1e-5, rtol=0)


def test_oneself_with_unit_gains_is_unchanged_and_no_gain_stands_still():
    driver = _motion()
    same = retarget(driver, _row(driver), _row(driver), HEAD)
    still = RetargetConfig(0.0, 0.0, 0.0, 0.0)
    frozen = retarget(driver, _row(driver), _row(driver), HEAD, still)
    for channel, values in driver.channels.items():
        torch.testing.assert_close(same.channels[channel], values, atol=1e-5, rtol=0)
        torch.testing.assert_close(frozen.channels[channel], values[:1].expand_as(values), atol=1e-5, rtol=0)


def test_weights_add_the_difference_and_stay_weights():
    driver, rest, target = torch.full((1, 52), 0.6), torch.full((52,), 0.2), torch.full((52,), 0.1)
    driver[0, 0], target[1] = 0.0, 0.9
    motion = Motion(torch.zeros(1), {ARKIT: driver})
    moved = retarget(motion, {ARKIT: rest}, {ARKIT: target}, HEAD, RetargetConfig(expression_gain=0.5)).channels[ARKIT][
        0
    ]
    assert moved[:3].tolist() == pytest.approx([0.0, 1.0, 0.3])


def test_displacement_scales_with_the_size_of_the_head():
    driver = _motion()
    moved = retarget(
        driver, _row(driver), _row(driver), HEAD, RetargetConfig(head_translation_gain=0.5), size_ratio=3.0
    )
    path = driver.channels[HEAD_POSE][:, :3, 3] - driver.channels[HEAD_POSE][0, :3, 3]
    found = moved.channels[HEAD_POSE][:, :3, 3] - moved.channels[HEAD_POSE][0, :3, 3]
    torch.testing.assert_close(found, 1.5 * path, atol=1e-6, rtol=0)


def test_a_relative_rotation_turns_the_neutral_pose_in_place():
    rest = rigid(torch.tensor([math.pi + 0.1, 0.05, 0.0]), torch.tensor([0.1, 0.0, 0.7]))
    motion = Motion(torch.zeros(2), {HEAD_ROTATION: torch.tensor([[0.0, 0.1, 0.0], [0.0, 0.4, 0.0]])})
    moved = retarget(motion, {HEAD_ROTATION: torch.tensor([0.0, 0.1, 0.0])}, {HEAD_POSE: rest}, HEAD).channels[
        HEAD_POSE
    ]
    torch.testing.assert_close(moved[0], rest, atol=1e-6, rtol=0)
    torch.testing.assert_close(moved[1, :3, 3], rest[:3, 3])
    turn, start = relative_orientation(moved[1]), relative_orientation(rest)
    away = roma.rotvec_composition([turn, -start])
    torch.testing.assert_close(away, torch.tensor([0.0, 0.3, 0.0]), atol=1e-6, rtol=0)
    with pytest.raises(HeadstudioError, match="head_pose"):
        retarget(motion, {HEAD_ROTATION: torch.zeros(3)}, {}, HEAD)


def test_channels_of_another_rig_are_dropped():
    driver = Motion(torch.zeros(1), {expression_of("other"): torch.zeros(1, 4), ARKIT: torch.zeros(1, 52)})
    assert set(retarget(driver, _row(driver), _row(_motion()), HEAD).channels) == {ARKIT}


def test_the_first_alternative_that_can_be_met_is_taken():
    motion = _motion()
    needs_latent = frozenset({latent_of("x"), HEAD_POSE})
    own, arkit = frozenset({OWN, JAW, GAZE, HEAD_POSE}), frozenset({ARKIT, HEAD_POSE})
    assert set(adapt(motion, (needs_latent, own, arkit), HEAD).channels) == own
    assert set(adapt(motion, (arkit, own), HEAD).channels) == arkit


def test_own_coefficients_are_derived_from_arkit_weights():
    arkit = torch.rand(5, 52, generator=torch.Generator().manual_seed(0))
    motion = Motion(torch.zeros(5), {ARKIT: arkit, HEAD_POSE: torch.eye(4).expand(5, 4, 4)})
    made = adapt(motion, (frozenset({OWN, JAW, GAZE, NECK, HEAD_POSE}),), HEAD).channels
    state = HEAD.from_arkit(arkit)
    for channel, values in ((OWN, state.expression), (JAW, state.jaw_rad), (GAZE, state.gaze_rad)):
        assert values.any() and torch.equal(made[channel], values)
    assert not made[NECK].any()


def test_arkit_weights_are_derived_from_own_coefficients_and_gaze():
    motion = Motion(
        torch.zeros(2), {OWN: torch.rand(2, HEAD.expressions), GAZE: torch.tensor([[[0.0, 0.25, 0.0]] * 2] * 2)}
    )
    arkit = adapt(motion, (frozenset({ARKIT}),), HEAD).channels[ARKIT]
    assert arkit[0, INDEX["eyeLookOutLeft"]] == pytest.approx(0.5)
    assert arkit[0, INDEX["eyeLookInRight"]] == pytest.approx(0.5)
    expressive = [index for index in range(52) if index not in LOOK]
    torch.testing.assert_close(arkit[:, expressive], motion.channels[OWN])


def test_what_is_missing_is_named():
    motion = Motion(torch.zeros(1), {ARKIT: torch.zeros(1, 52)})
    with pytest.raises(HeadstudioError, match=r"it lacks head_pose@world\[m\]"):
        adapt(motion, (frozenset({OWN, HEAD_POSE}), frozenset({ARKIT, HEAD_POSE})), HEAD)


def test_head_size_ratio_is_the_scale_between_similar_faces():
    face = torch.randn(50, 3)
    turn = rigid(torch.tensor([0.3, 0.2, 0.1]), torch.tensor([1.0, 2.0, 3.0]))
    other = 1.25 * face @ turn[:3, :3].T + turn[:3, 3]
    assert head_size_ratio(other, face) == pytest.approx(1.25, rel=1e-5)


def test_warnings_name_what_leaves_the_range_and_how_often():
    seen = Motion(torch.arange(400).double(), {ARKIT: torch.rand(400, 52) * 0.4, HEAD_POSE: _facing(400, 0.1)})
    trained = training_range(seen)
    assert range_warnings(seen, trained) == []
    arkit, pose = torch.full((100, 52), 0.2), _facing(100, 0.0)
    arkit[:25, INDEX["jawOpen"]] = 0.9
    pose[:10] = rigid(torch.tensor([0.0, -math.radians(40), 0.0]), torch.zeros(3)) @ pose[:10]
    found = range_warnings(Motion(torch.arange(100).double(), {ARKIT: arkit, HEAD_POSE: pose}), trained)
    assert len(found) == 2
    assert found[0].startswith("jawOpen is above") and "25 % of the frames" in found[0] and "0.90" in found[0]
    assert found[1].startswith("head yaw is above") and "10 % of the frames" in found[1] and "40 degrees" in found[1]


def test_ranges_are_plain_numbers_and_unknown_measures_are_silent():
    trained = training_range(_motion(20))
    assert all(isinstance(bound, float) and low <= high for low, high in trained.values() for bound in (low, high))
    assert range_warnings(_motion(20, seed=3), {}) == [] and "gaze yaw" in trained


def _facing(frames: int, spread_rad: float) -> torch.Tensor:
    turn = torch.zeros(frames, 3)
    turn[:, 1] = torch.linspace(-spread_rad, spread_rad, frames)
    return rigid(turn, torch.zeros(frames, 3)) @ rigid(torch.tensor([math.pi, 0.0, 0.0]), torch.tensor([0.0, 0.0, 0.6]))
