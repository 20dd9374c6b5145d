"""Clip A of a synthetic actor (paper 1, appendix A): a neutral face seen from a semicircle, with its truth.

Either the actor turns on a chair before a fixed camera, so that the light turns about the head; or a hand carries the
camera about a still actor, so that light and room keep their place about the head.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.geometry.rigid import from_rotation, invert
from headstudio.heads.base import HeadModel
from headstudio.progress import Progress, Silent
from headstudio.render.colour import srgb_to_linear
from headstudio.render.light import turned
from headstudio.synth.actor import SyntheticActor, film
from headstudio.synth.config import SynthConfig
from headstudio.synth.curves import bump, drift
from headstudio.synth.frames import FrameRenderer, Picture
from headstudio.synth.performance import Performance
from headstudio.synth.room import paint_room
from headstudio.synth.stage import Stage

SweepMode = Literal["chair", "sweep"]

_SEAT_M = (0.0, -0.2, -0.1)
"""A point of the axis about which a person on a chair turns, in the head frame."""
_ROOM_REACH = 4
"""Width of the painted room, in widths of the picture, that a moving camera sees part by part."""


@dataclass(frozen=True)
class SweepConfig:
    """How the head is seen from all round."""

    mode: SweepMode = "chair"
    """Chair: the actor turns and camera and light stand; sweep: the camera is carried about the actor."""
    reach_deg: float = 75.0
    """The head is seen from so far to either side."""
    sway_deg: float = 2.0
    """Standard deviation of unwanted turns."""
    sway_m: float = 0.006
    """Standard deviation of unwanted movements."""
    blinks: bool = True
    """Blink about every four seconds."""


def sweep_poses(T_camera_head: Float[Tensor, "4 4"], times_s: Tensor, config: SweepConfig, seed: int) -> Tensor:
    """`T_camera_head` of a sweep from the person's right to the left.

    Args:
        T_camera_head: of the head that faces the camera.
    """
    generator = np.random.default_rng([seed, 11])
    share = ((times_s - times_s[0]) / (times_s[-1] - times_s[0])).double()
    turn = torch.zeros(len(times_s), 3, dtype=torch.float64)
    turn[:, 0] = math.radians(config.reach_deg) * (2.0 * share - 1.0)
    turn = turn + math.radians(config.sway_deg) * drift(times_s, generator, 3, 0.2)
    moved = config.sway_m * drift(times_s, generator, 3, 0.2)
    seat = torch.tensor(_SEAT_M, dtype=torch.float64)
    rotation = roma.euler_to_rotmat("YXZ", turn)
    about_seat = from_rotation(rotation, seat - rotation @ seat + moved)
    return (T_camera_head.double() @ about_seat).float()


def make_sweep(
    output: Path,
    config: SynthConfig,
    sweep: SweepConfig | None = None,
    progress: Progress | None = None,
    head: HeadModel | None = None,
) -> SyntheticActor:
    """Render clip A of a seeded actor into a folder, as `make_actor` renders a performance."""
    progress, sweep = progress or Silent(), sweep or SweepConfig()

    def prepared() -> FrameRenderer:
        stage = still_stage(Stage.build(config, head), sweep)
        return FrameRenderer(stage) if sweep.mode == "chair" else _Carried(stage)

    return film(output, config, prepared, progress)


def still_stage(stage: Stage, sweep: SweepConfig) -> Stage:
    """The same actor in the same place, who now does nothing but turn in one piece."""
    times = stage.performance.times_s
    poses = sweep_poses(stage.T_camera_head[0], times, sweep, stage.config.seed)
    arkit = torch.zeros_like(stage.performance.arkit)
    still = torch.zeros(len(times), 3, dtype=torch.float64)
    performance = Performance(times, arkit, still, still, (), ())
    if sweep.blinks:
        performance = _blinking(performance)
    return replace(
        stage,
        performance=performance,
        articulation=stage.head.from_arkit(performance.arkit),
        T_camera_head=poses,
    )


def _blinking(performance: Performance) -> Performance:
    from headstudio.heads.arkit import ARKIT_INDEX

    times, arkit = performance.times_s, performance.arkit.clone()
    moments = tuple(float(t) for t in torch.arange(1.3, float(times[-1]), 4.1))
    for moment in moments:
        shut = bump(times, moment - 0.1, 0.07, 0.05, 0.15).float()
        for name in ("eyeBlinkLeft", "eyeBlinkRight"):
            arkit[:, ARKIT_INDEX[name]] = torch.maximum(arkit[:, ARKIT_INDEX[name]], shut)
    return replace(performance, arkit=arkit, blinks_s=moments)


class _Carried(FrameRenderer):
    """Renders with light and room that stay where they are about the head while the camera moves."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        config = stage.config
        middle = len(stage.T_camera_head) // 2
        self._first = stage.light
        self._T_first_head = stage.T_camera_head[middle]
        self._panorama = srgb_to_linear(paint_room(config.seed, _ROOM_REACH * config.width_px, config.height_px))[None]

    def render(self, frame: int) -> Picture:
        """Render one frame."""
        T_camera_first = self.stage.T_camera_head[frame] @ invert(self._T_first_head)
        rotation, light = T_camera_first[:3, :3], self._first
        self.stage = replace(
            self.stage,
            light=replace(
                light,
                environment_sh=turned(light.environment_sh[None], rotation[None])[0],
                towards_key=rotation @ light.towards_key,
                towards_fill=rotation @ light.towards_fill,
            ),
        )
        self._room = self._seen(float(torch.atan2(rotation[0, 2], rotation[2, 2])))
        return super().render(frame)

    def _seen(self, yaw_rad: float) -> Float[Tensor, "1 3 height width"]:
        """The part of the far room behind the actor."""
        config = self.stage.config
        spare = (_ROOM_REACH - 1) * config.width_px
        focal = float(self.stage.lens.camera.K_px[0, 0])
        left = spare / 2 + focal * yaw_rad
        start = round(min(max(left, 0.0), float(spare)))
        return self._panorama[..., start : start + config.width_px]
