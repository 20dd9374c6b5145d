"""Other clocks and smoothing: exact on motions whose in-between values are known."""

import math

import pytest
import roma
import torch

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import rigid
from headstudio.motion.resample import crop, resample, smooth
from headstudio.records.channels import ARKIT, GAZE, HEAD_POSE, JAW
from headstudio.records.motion import Motion


def _turning(times_s: torch.Tensor) -> Motion:
    """Constant angular and linear speed about and along fixed axes."""
    axis = torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)
    turn = times_s[:, None] * axis
    weights = (0.1 + 0.2 * times_s)[:, None].expand(-1, 52)
    return Motion(
        times_s,
        {
            ARKIT: weights,
            JAW: turn,
            GAZE: torch.stack([turn, -turn], dim=1),
            HEAD_POSE: rigid(turn, times_s[:, None] * torch.tensor([1.0, 2.0, 3.0]).double()),
        },
    )


def test_uniform_motion_is_met_exactly_between_its_samples():
    coarse = _turning(torch.tensor([0.0, 0.7, 1.1, 2.5], dtype=torch.float64))
    fine = torch.linspace(0, 2.5, 41, dtype=torch.float64)
    found, wanted = resample(coarse, fine), _turning(fine)
    for channel, values in wanted.channels.items():
        torch.testing.assert_close(found.channels[channel], values, atol=1e-9, rtol=0)


def test_own_times_change_nothing_and_ends_are_held():
    motion = _turning(torch.arange(5, dtype=torch.float64) / 2)
    same = resample(motion, motion.times_s)
    held = resample(motion, torch.tensor([-3.0, 9.0]))
    for channel, values in motion.channels.items():
        torch.testing.assert_close(same.channels[channel], values, atol=1e-9, rtol=0)
        torch.testing.assert_close(held.channels[channel], values[[0, -1]], atol=1e-9, rtol=0)


def test_rotations_go_the_short_way_through_half_a_turn():
    near = torch.tensor([[math.pi - 0.1, 0.0, 0.0], [-math.pi + 0.1, 0.0, 0.0]], dtype=torch.float64)
    motion = Motion(
        torch.tensor([0.0, 1.0], dtype=torch.float64), {JAW: near, HEAD_POSE: rigid(near, torch.zeros(2, 3).double())}
    )
    half = resample(motion, torch.tensor([0.5]))
    wanted = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    torch.testing.assert_close(roma.rotvec_to_rotmat(half.channels[JAW][0]), wanted, atol=1e-9, rtol=0)
    torch.testing.assert_close(half.channels[HEAD_POSE][0, :3, :3], wanted, atol=1e-9, rtol=0)


def test_one_frame_can_be_resampled():
    motion = _turning(torch.tensor([1.0], dtype=torch.float64))
    assert torch.equal(resample(motion, torch.tensor([0.0, 5.0])).channels[ARKIT], motion.channels[ARKIT].expand(2, 52))


def test_crop_keeps_the_clock():
    motion = _turning(torch.arange(10, dtype=torch.float64))
    assert crop(motion, 2.0, 5.0).times_s.tolist() == [2.0, 3.0, 4.0]
    with pytest.raises(HeadstudioError, match="no frame lies between 20 s and 30 s"):
        crop(motion, 20.0, 30.0)


def test_smoothing_leaves_uniform_motion_alone_and_has_no_lag():
    motion = _turning(torch.arange(40, dtype=torch.float64) / 30)
    calm = smooth(motion, 0.05)
    for channel, values in motion.channels.items():
        torch.testing.assert_close(calm.channels[channel][8:-8], values[8:-8], atol=1e-6, rtol=0)


def test_smoothing_is_the_gaussian_average_and_reduces_noise():
    times = torch.arange(60, dtype=torch.float64) / 30
    noise = torch.randn(60, 52, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    calm = smooth(Motion(times, {ARKIT: noise}), 0.06).channels[ARKIT]
    weights = torch.exp(-0.5 * ((times - times[30]) / 0.06) ** 2)
    torch.testing.assert_close(calm[30], (weights[:, None] * noise).sum(0) / weights.sum(), atol=0.02, rtol=0)
    assert calm.std() < 0.5 * noise.std()


def test_smoothed_rotations_are_rotations():
    make = torch.Generator().manual_seed(1)
    turn = 0.3 * torch.randn(30, 3, generator=make, dtype=torch.float64)
    motion = Motion(
        torch.arange(30).double() / 30, {HEAD_POSE: rigid(turn, turn), GAZE: turn[:, None].expand(-1, 2, 3)}
    )
    calm = smooth(motion, 0.1).channels
    rotation = calm[HEAD_POSE][:, :3, :3]
    torch.testing.assert_close(rotation @ rotation.transpose(1, 2), torch.eye(3).double().expand(30, 3, 3))
    torch.testing.assert_close(roma.rotvec_to_rotmat(calm[GAZE][:, 0]), rotation, atol=1e-6, rtol=0)
