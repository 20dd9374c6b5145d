"""`import_dataset`: a peer's tracked dataset becomes a capture, and a track where its FLAME parameters can be read."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from headstudio.capture.config import IngestConfig
from headstudio.capture.ingest import Given, Tools, ingest_clip
from headstudio.datasets.config import ImportConfig
from headstudio.datasets.flame_track import flame_track, read_flame_parameters
from headstudio.datasets.layouts import PeerDataset, read_dataset
from headstudio.datasets.pictures import Part, PeerFrame, PictureClip, has_alpha
from headstudio.errors import HeadstudioError
from headstudio.heads import load_head
from headstudio.progress import Progress, Silent
from headstudio.records.capture import Capture, Crop, Split
from headstudio.records.track import Track

_BREAK_S = 1
"""Time between the last frame of one sequence and the first of the next, so that nothing is smoothed across."""


@dataclass(frozen=True)
class Imported:
    """What a dataset became."""

    capture: Capture
    track: Track | None
    """From the dataset's FLAME parameters; None where it has none or the user has no FLAME file."""
    notes: tuple[str, ...]
    """What could not be taken over, a sentence each."""


def import_dataset(
    folder: Path | str,
    output: Path | str,
    config: ImportConfig | None = None,
    progress: Progress | None = None,
    tools: Callable[[IngestConfig], Tools] = Tools.standard,
) -> Imported:
    """Read the dataset of one camera and write the capture folder `output`, with the track inside it.

    Pictures keep their pixels unless a size is asked for: they are padded to squares. Masks, intrinsics and the split
    are the dataset's, landmarks and quality measures our own.

    Args:
        folder: in the layout of INSTA or GaussianAvatars (`headstudio.datasets.layouts`).
        config: the defaults when not given.
        progress: who is told how far the work is.
        tools: makes the detectors; for tests and other backends.
    """
    config, progress, output = config or ImportConfig(), progress or Silent(), Path(output)
    if not 0 < config.fps < 1e6:
        raise HeadstudioError(f"--fps must be positive, not {config.fps:g}", next_step="correct the option")
    dataset = read_dataset(Path(folder), config.camera)
    order = arrange(dataset, Fraction(config.fps).limit_denominator(1_000_000))
    parameters, notes = None, [*dataset.notes, *order.notes, *_unmasked(order.frames)]
    if all(frame.flame is not None for frame in order.frames):
        if os.environ.get("HEADSTUDIO_FLAME"):
            parameters = read_flame_parameters([frame.flame for frame in order.frames if frame.flame is not None])
        else:
            notes.append("its FLAME parameters need your FLAME file: set HEADSTUDIO_FLAME to it, or track the capture")
    else:
        notes.append("it has no FLAME parameters: track the capture")
    head = None if parameters is None else load_head("flame")
    capture = ingest_clip(_clip(dataset, order), output, *_terms(dataset, order, config), progress, tools)
    if head is None or parameters is None:
        return Imported(capture, None, tuple(notes))
    track = flame_track(capture, head, parameters, np.stack([frame.T_camera_world for frame in order.frames]))
    track.save(output / "track")
    return Imported(capture, track, tuple(notes))


class Arrangement(NamedTuple):
    """The frames of a capture, training first."""

    frames: tuple[PeerFrame, ...]
    times_s: tuple[Fraction, ...]
    split: Split | None
    """None where the dataset leaves it to us."""
    notes: tuple[str, ...]


def arrange(dataset: PeerDataset, fps: Fraction) -> Arrangement:
    """Put the frames into the order of a capture: training, a gap that serves neither, held out.

    Frames that no list names lie in the gap where training ends before the test begins, and are left out otherwise.
    """
    frames, notes = dataset.frames, []
    if not dataset.has_split:
        return Arrangement(frames, _times(frames, fps), None, ("it names no test frames: its end is held out",))
    train, test = ([f for f in frames if f.part is part] for part in (Part.TRAIN, Part.HELD_OUT))
    if not train or not test:
        raise HeadstudioError(
            f"camera {dataset.camera} has {len(train)} training and {len(test)} test frames",
            where=dataset.folder,
            next_step="choose a camera that has both",
        )
    last, first = train[-1].timestep, test[0].timestep
    gap = [f for f in frames if f.part is Part.NEITHER and last < f.timestep < first]
    left_out = len(frames) - len(train) - len(gap) - len(test)
    if left_out:
        notes.append(f"{left_out} frames that its lists leave out are left out")
    if first < last:
        notes.append("its test frames lie among the training frames: they are moved to the end")
    ordered = (*train, *gap, *test)
    return Arrangement(ordered, _times(ordered, fps), Split(len(train), len(train) + len(gap)), tuple(notes))


def _times(frames: tuple[PeerFrame, ...], fps: Fraction) -> tuple[Fraction, ...]:
    times_s = [Fraction(0)]
    for before, after in pairwise(frames):
        steps = after.timestep - before.timestep
        goes_on = steps > 0 and before.picture.parent == after.picture.parent
        times_s.append(times_s[-1] + (steps / fps if goes_on else _BREAK_S))
    return tuple(times_s)


def _unmasked(frames: tuple[PeerFrame, ...]) -> list[str]:
    bare = sum(frame.mask is None and frame.parsing is None and not has_alpha(frame.picture) for frame in frames)
    return [f"{bare} pictures have no mask: their matte is our own"] if bare else []


def _clip(dataset: PeerDataset, order: Arrangement) -> PictureClip:
    return PictureClip(
        path=dataset.folder.absolute(),
        width_px=dataset.width_px,
        height_px=dataset.height_px,
        rotation_deg=0,
        mirrored=False,
        start_s=Fraction(0),
        duration_s=None,
        expected_frames=len(order.frames),
        codec=order.frames[0].picture.suffix.lstrip(".").lower(),
        has_audio=False,
        high_dynamic_range=None,
        pictures=order.frames,
        times_s=order.times_s,
    )


def _terms(dataset: PeerDataset, order: Arrangement, config: ImportConfig) -> tuple[IngestConfig, Given]:
    side = max(dataset.width_px, dataset.height_px)
    side += side % 2
    left, top = (dataset.width_px - side) // 2, (dataset.height_px - side) // 2
    K_px = np.stack([frame.K_px for frame in order.frames])
    given = Given(Crop(float(left), float(top), float(side)), order.split, K_px)
    size_px = config.size_px or side
    if order.split is None:
        return IngestConfig(size_px=size_px, allow_cuts=True), given
    held_out = (len(order.frames) - order.split.held_out_start) / len(order.frames)
    return IngestConfig(size_px=size_px, held_out_fraction=held_out, gap_s=0.0, allow_cuts=True), given
