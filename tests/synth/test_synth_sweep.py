"""Clip A of an actor: the head turns in one piece, or the light keeps its place about it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from headstudio.synth.curves import drift
from headstudio.synth.frames import FrameRenderer
from headstudio.synth.sweep import SweepConfig, _Carried, still_stage, sweep_poses

STEADY = SweepConfig(sway_deg=0.0, sway_m=0.0, reach_deg=60.0)
FACING = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))


def yaw_deg(T):
    return torch.rad2deg(torch.atan2(T[:, 0, 2], -T[:, 2, 2]))


def test_the_head_turns_from_side_to_side_about_the_seat():
    away = FACING.clone()
    away[2, 3] = 0.6
    poses = sweep_poses(away, torch.linspace(0, 20, 21, dtype=torch.float64), STEADY, seed=1)
    assert torch.allclose(yaw_deg(poses), torch.linspace(-60, 60, 21), atol=1e-3)
    seat = torch.tensor([0.0, -0.2, -0.1, 1.0])
    assert torch.allclose(poses @ seat, (away @ seat).expand(21, 4), atol=1e-6)
    assert torch.allclose(poses[10], away, atol=1e-6)


def test_people_sway():
    times = torch.linspace(0, 20, 41, dtype=torch.float64)
    steady, swaying = (sweep_poses(FACING, times, config, 3) for config in (STEADY, replace(STEADY, sway_deg=2.0)))
    off = (yaw_deg(swaying) - yaw_deg(steady)).abs().max()
    assert 0.2 < off < 4.0
    assert drift(times, np.random.default_rng(0), 1).shape == (41, 1)


def test_the_actor_does_nothing_but_turn_and_blink(tiny_stage):
    still = still_stage(tiny_stage, STEADY)
    assert not still.articulation.neck_rad.any() and len(still.performance.blinks_s) == 1
    moving = still.performance.arkit.any(0).nonzero()[:, 0].tolist()
    assert len(moving) == 2  # the lids
    assert not still_stage(tiny_stage, replace(STEADY, blinks=False)).performance.arkit.any()


@pytest.mark.slow
def test_a_carried_camera_sees_skin_as_bright_from_everywhere(tiny_stage):
    """On a chair the lit side of the face comes and goes; about a still head it keeps its brightness."""
    config = replace(STEADY, blinks=False, reach_deg=35.0)
    still = still_stage(tiny_stage, config)
    count = len(still.performance)
    span = {}
    for kind in (FrameRenderer, _Carried):
        renderer = kind(still)
        levels = []
        for frame in (0, count // 2, count - 1):
            picture = renderer.render(frame)
            nose = still.T_camera_head[frame, :3, :3] @ still.anatomy.nose_tip_m + still.T_camera_head[frame, :3, 3]
            x, y = (int(v) for v in still.lens.project(nose[None])[0])
            assert math.isfinite(x + y)
            levels.append(float(picture.rgb[y - 3 : y + 3, x - 3 : x + 3].float().mean()))
        span[kind] = np.ptp(levels) / np.mean(levels)
    assert span[_Carried] < 0.6 * span[FrameRenderer]
