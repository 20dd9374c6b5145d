"""A capture and a track of noise: enough for everything that does not look at faces."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from headstudio import storage
from headstudio.geometry.rigid import rigid
from headstudio.records.capture import Annotation, Capture, CaptureView, Crop, Source, Split
from headstudio.records.track import HeadIdentity, Track, TrackView, neutral_light
from headstudio.training.contract import Source as TrainingSource


def tiny_capture(path: Path, frames: int = 12, size_px: int = 16, seed: int = 0) -> Capture:
    """Random frames with mattes; the last fifth is held out."""
    draw = np.random.default_rng(seed)
    view = CaptureView(
        name="front",
        source=Source(f"noise{seed}.mp4", f"{seed:x}".ljust(64, "0"), size_px, size_px, 0, 0.0, "none", False),
        crop=Crop(0.0, 0.0, float(size_px)),
        times_s=torch.arange(frames, dtype=torch.float64) / 25,
        landmarks_px=torch.rand(frames, 478, 3, generator=torch.Generator().manual_seed(seed)) * size_px,
        valid=torch.ones(size_px, size_px, dtype=torch.bool),
        quality={"sharpness": torch.ones(frames)},
    )
    held_out = frames - max(frames // 5, 1)
    with storage.replacing_folder(path) as folder:
        annotations = frozenset({Annotation.LANDMARKS, Annotation.MATTE})
        capture = Capture(folder, size_px, (view,), Split(held_out - 1, held_out), annotations)
        for index in range(frames):
            for where, shape in (
                (capture.frame_path(index), (size_px, size_px, 3)),
                (capture.matte_path(index), (size_px, size_px)),
            ):
                where.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(draw.integers(0, 100, shape, dtype=np.uint8)).save(where)
        capture.save_tables()
    return Capture.load(path)


def tiny_track(
    capture: Capture, head: str = "makehuman", identities: int = 80, expressions: int = 52, seed: int = 0
) -> Track:
    """A head that wanders in front of the camera."""
    frames, make = capture.frames, torch.Generator().manual_seed(seed)
    K = torch.tensor(
        [[2.0 * capture.size_px, 0, capture.size_px / 2], [0, 2.0 * capture.size_px, capture.size_px / 2], [0, 0, 1]]
    )
    facing = torch.tensor([torch.pi, 0.0, 0.0]).expand(frames, 3)
    return Track(
        capture_identifier=capture.identifier,
        size_px=capture.size_px,
        identity=HeadIdentity(head, torch.randn(identities, generator=make)),
        times_s=capture.views[0].times_s,
        expression=torch.rand(frames, expressions, generator=make),
        arkit=torch.rand(frames, 52, generator=make),
        neck_rad=torch.zeros(frames, 3),
        jaw_rad=torch.zeros(frames, 3),
        gaze_rad=torch.zeros(frames, 2, 3),
        T_world_head=rigid(facing, torch.tensor([0.0, 0.0, 0.6]) + 0.01 * torch.randn(frames, 3, generator=make)),
        views={"front": TrackView(K.expand(frames, 3, 3).clone(), torch.eye(4).expand(frames, 4, 4).clone())},
        light_sh=neutral_light(frames),
        confidence=torch.ones(frames),
        usable=torch.ones(frames, dtype=torch.bool),
    )


def tiny_source(path: Path, seed: int = 0, frames: int = 12) -> TrainingSource:
    """Both together."""
    capture = tiny_capture(path, frames=frames, seed=seed)
    return TrainingSource(capture, tiny_track(capture, seed=seed))
