"""`make_actor`: a seed becomes a video with its truth beside it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.heads.arkit import JAW_OPEN
from headstudio.heads.base import HeadModel
from headstudio.progress import Progress, Silent
from headstudio.storage import replacing_folder
from headstudio.synth.config import SynthConfig
from headstudio.synth.frames import FrameRenderer
from headstudio.synth.stage import Stage
from headstudio.synth.truth import Truth, config_json, tell
from headstudio.synth.video import VideoFormat, write_video
from headstudio.synth.voice import babble


@dataclass(frozen=True)
class SyntheticActor:
    """A recording of a synthetic actor on disk."""

    path: Path
    """The folder: actor.mp4, albedo.png, truth.json, truth.safetensors."""
    config: SynthConfig

    @property
    def video(self) -> Path:
        """The clip."""
        return self.path / "actor.mp4"

    @property
    def albedo(self) -> Path:
        """The painted texture in the head's atlas, sRGB PNG."""
        return self.path / "albedo.png"

    def truth(self) -> Truth:
        """Read the truth."""
        return Truth.load(self.path)


def make_actor(
    output: Path, config: SynthConfig, progress: Progress | None = None, head: HeadModel | None = None
) -> SyntheticActor:
    """Render a seeded actor into a folder, which appears whole or not at all.

    Args:
        output: the folder to write; what was there is replaced.
        config: who, what, how.
        progress: who is told how far it is.
        head: the loaded model that `config.head` names; spares loading it anew.
    """
    return film(output, config, lambda: FrameRenderer(Stage.build(config, head)), progress or Silent())


def film(
    output: Path, config: SynthConfig, renderer_of: Callable[[], FrameRenderer], progress: Progress
) -> SyntheticActor:
    """Render a stage into a folder, which appears whole or not at all.

    Args:
        output: the folder to write; what was there is replaced.
        config: that the stage was built of.
        renderer_of: builds the stage and prepares its renderer, once the configuration has been checked.
        progress: who is told how far it is.
    """
    _check(config)
    with progress.stage("setting the stage"):
        renderer = renderer_of()
        stage = renderer.stage
    with replacing_folder(Path(output)) as folder:
        write_film(folder, renderer, progress, _voice(stage))
    return SyntheticActor(Path(output), config)


def write_film(folder: Path, renderer: FrameRenderer, progress: Progress, voice: np.ndarray | None) -> None:
    """Write the files of a `SyntheticActor` into a folder; `voice` is mono sound at `voice.RATE_HZ`."""
    stage, config = renderer.stage, renderer.stage.config
    form = VideoFormat(config.width_px, config.height_px, config.fps, config.crf, config.rotation_deg)
    write_video(folder / "actor.mp4", _rendered(renderer, progress), stage.performance.times_s, form, voice)
    _save_picture(folder / "albedo.png", renderer.appearance.albedo)
    tell(stage).save(folder, config_json(stage))


def _check(config: SynthConfig) -> None:
    if config.width_px % 2 or config.height_px % 2 or min(config.width_px, config.height_px) < 64:
        raise HeadstudioError(
            f"a picture of {config.width_px}x{config.height_px} px cannot be encoded",
            next_step="choose even sizes from 64 up",
        )
    if config.rotation_deg not in (0, 90, 180, 270):
        raise HeadstudioError(
            f"a rotation of {config.rotation_deg} degrees does not exist", next_step="use 0, 90, 180 or 270"
        )
    if config.seconds * config.fps < 2:
        raise HeadstudioError("the clip has less than two frames", next_step="make it longer")


def _rendered(renderer: FrameRenderer, progress: Progress) -> Iterator[Tensor]:
    count = len(renderer.stage.performance)
    with progress.stage("rendering the actor", count) as advance:
        for frame in range(count):
            yield renderer.render(frame).rgb
            advance(1)


def _voice(stage: Stage) -> np.ndarray | None:
    if not stage.config.audio:
        return None
    times, jaw = stage.performance.times_s.numpy(), stage.performance.arkit[:, JAW_OPEN].numpy()
    return babble(times, jaw, float(times[-1]) + 1.0 / stage.config.fps, stage.config.seed)


def _save_picture(path: Path, picture: Tensor) -> None:
    array = (picture.permute(1, 2, 0) * 255.0).round().byte().numpy()
    Image.fromarray(array).save(path)
