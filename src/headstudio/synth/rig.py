"""Several cameras film one performance: films with truth, as `synth.actor` makes them, whose clocks do not agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.heads.arkit import JAW_OPEN
from headstudio.heads.base import HeadModel
from headstudio.progress import Progress, Silent
from headstudio.storage import replacing_folder
from headstudio.synth.actor import write_film
from headstudio.synth.config import SynthConfig
from headstudio.synth.frames import FrameRenderer
from headstudio.synth.orbit import around, seen_from
from headstudio.synth.performance import Performance
from headstudio.synth.stage import Stage
from headstudio.synth.voice import RATE_HZ, babble

SCHEMA, VERSION = "headstudio.synthetic-rig", 1
_FINE_HZ = 1000
"""The performance is written at this rate, and films pick their moments from it."""


@dataclass(frozen=True)
class RigCamera:
    """One camera of a rig."""

    name: str
    """Of its film's folder."""
    yaw_deg: float
    """How far it went round the head to its own right."""
    starts_s: float = 0.0
    """When its clock begins, on the clock of the performance; whole milliseconds from 0 on."""


@dataclass(frozen=True)
class SyntheticRig:
    """Films of one performance on disk."""

    path: Path
    """The folder: one folder a camera as of `SyntheticActor`, and rig.json."""
    cameras: tuple[RigCamera, ...]
    T_camera_world: Float[Tensor, "cameras 4 4"]
    """World is the axes of the camera at 0 degrees."""

    @property
    def videos(self) -> tuple[Path, ...]:
        """The clips, in the order of the cameras."""
        return tuple(self.path / camera.name / "actor.mp4" for camera in self.cameras)

    @classmethod
    def load(cls, path: Path) -> "SyntheticRig":
        """Read what `make_rig` wrote."""
        content = storage.read_json(path / "rig.json", SCHEMA, VERSION)
        cameras = tuple(RigCamera(**camera) for camera in content["cameras"])
        return cls(path, cameras, torch.tensor(content["T_camera_world"]))


def make_rig(
    output: Path,
    config: SynthConfig,
    cameras: Sequence[RigCamera],
    progress: Progress | None = None,
    head: HeadModel | None = None,
) -> SyntheticRig:
    """Film one performance from several sides into a folder, which appears whole or not at all.

    Args:
        output: the folder to write; what was there is replaced.
        config: who and how; every film is `config.seconds` long.
        cameras: from where and from when on.
        progress: who is told how far it is.
        head: the loaded model that `config.head` names; spares loading it anew.
    """
    progress = progress or Silent()
    if config.variable_rate or any(camera.starts_s < 0 for camera in cameras):
        raise HeadstudioError("a rig's cameras have steady rates and start from 0 s on", next_step="change the cameras")
    with progress.stage("setting the stage"):
        stage = Stage.build(config, head)
        renderer = FrameRenderer(stage)
        last_s = config.seconds + max(camera.starts_s for camera in cameras)
        whole = Performance.sample(config.seed, last_s, _FINE_HZ)
        begun = stage.performing(_moments(whole, np.array([0])))
        T_camera_world = torch.stack([around(begun.T_camera_head[0, :3, 3], camera.yaw_deg) for camera in cameras])
    voice = _voice(whole, last_s, config)
    with replacing_folder(Path(output)) as folder:
        for camera, T in zip(cameras, T_camera_world, strict=True):
            picked = round(camera.starts_s * _FINE_HZ) + np.round(_times_s(config) * _FINE_HZ).astype(int)
            renderer.stage = seen_from(stage.performing(_moments(whole, picked)), T)
            heard = None if voice is None else voice[round(camera.starts_s * RATE_HZ) :][: _samples(config.seconds)]
            (folder / camera.name).mkdir()
            write_film(folder / camera.name, renderer, progress, heard)
        content = {"cameras": [vars(camera) for camera in cameras], "T_camera_world": T_camera_world.tolist()}
        storage.write_json(folder / "rig.json", SCHEMA, VERSION, content)
    return SyntheticRig(Path(output), tuple(cameras), T_camera_world)


def _times_s(config: SynthConfig) -> np.ndarray:
    return np.arange(max(2, round(config.seconds * config.fps))) / config.fps


def _samples(seconds: float) -> int:
    return round(seconds * RATE_HZ)


def _moments(whole: Performance, picked: np.ndarray) -> Performance:
    """Some moments of a performance on a clock that begins with the first of them."""
    rows = torch.from_numpy(picked).clamp(max=len(whole) - 1)
    times_s = whole.times_s[rows]
    start_s = float(times_s[0])
    return Performance(
        times_s - start_s,
        whole.arkit[rows],
        whole.turn_rad[rows],
        whole.shift_m[rows],
        tuple(moment - start_s for moment in whole.blinks_s),
        tuple(moment - start_s for moment in whole.closures_s),
    )


def _voice(whole: Performance, seconds: float, config: SynthConfig) -> np.ndarray | None:
    if not config.audio:
        return None
    return babble(whole.times_s.numpy(), whole.arkit[:, JAW_OPEN].numpy(), seconds, config.seed)
