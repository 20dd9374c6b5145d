"""A person whose movement is known, seen by the detector's landmarks alone: captures for the tests of tracking."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from headstudio import storage
from headstudio.heads.base import HeadModel
from headstudio.records.capture import Annotation, Capture, CaptureView, Crop, Source, Split
from headstudio.tracking.points import FrameState, landmark_model
from headstudio.tracking.solver import project

FACING = torch.tensor([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
MOVED = ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft", "mouthSmileRight", "mouthPucker", "browInnerUp")
SIZE_PX = 256


@dataclass(frozen=True)
class Performance:
    """The truth."""

    identity: Float[Tensor, " identities"]
    states: FrameState
    K_px: Float[Tensor, "3 3"]
    landmarks_px: Float[Tensor, "frames 478 3"]


def perform(
    head: HeadModel,
    frames: int = 60,
    focal_px: float = 500.0,
    seed: int = 0,
    turning: float = 1.0,
    principal_px: tuple[float, float] = (SIZE_PX / 2, SIZE_PX / 2),
) -> Performance:
    """Turn, nod, speak, blink and look around.

    Args:
        turning: how far the head turns; with 1, up to 30 degrees to the sides.
    """
    draw = torch.Generator().manual_seed(seed)
    model = landmark_model(head)
    identity = 0.8 * torch.randn(head.identities, generator=draw)
    time = torch.linspace(0, 6, frames)[:, None]
    phases = 6 * torch.rand(1, len(MOVED), generator=draw)
    activity = (torch.sin(time * torch.linspace(1.5, 3.0, len(MOVED)) + phases) - 0.2).clamp_min(0)
    expression = torch.zeros(frames, head.expressions)
    expression[:, [head.data.expression_names.index(name) for name in MOVED]] = 0.8 * activity
    angles = torch.cat([0.2 * torch.sin(1.3 * time), 0.5 * torch.sin(time), 0.1 * torch.cos(time)], dim=1)
    gaze = torch.cat([0.1 * torch.sin(2 * time), 0.25 * torch.cos(1.7 * time)], dim=1)
    place = torch.cat([0.02 * torch.sin(time), 0.01 * torch.cos(time), 0.6 + 0.05 * torch.sin(0.8 * time)], dim=1)
    states = model.rest(frames)._replace(
        rotation=FACING @ roma.rotvec_to_rotmat(turning * angles),
        translation_m=place,
        expression=expression,
        gaze_rad=gaze[:, None].repeat(1, 2, 1),
    )
    K_px = torch.tensor([[focal_px, 0, principal_px[0]], [0, focal_px, principal_px[1]], [0, 0, 1]])
    camera_m = model.positions(states, identity) @ states.rotation.transpose(1, 2) + states.translation_m[:, None]
    pixels = project(camera_m, K_px.expand(frames, 3, 3))
    depth = (camera_m[..., 2:] - place[:, None, 2:]) * focal_px / place[:, None, 2:]
    return Performance(identity, states, K_px, torch.cat([pixels, depth], dim=-1))


def noisy(performance: Performance, noise_px: float, seed: int = 1) -> Performance:
    """The same with a detector that trembles."""
    tremble = torch.randn(performance.landmarks_px.shape, generator=torch.Generator().manual_seed(seed))
    return replace(performance, landmarks_px=performance.landmarks_px + noise_px * tremble)


def write_capture(
    path: Path, landmarks_px: Tensor, images: Tensor | None = None, fps: float = 25.0, held_out: float = 0.2
) -> Capture:
    """A capture with these landmarks; grey pictures where none are given."""
    frames = len(landmarks_px)
    start = max(round(frames * (1 - held_out)), 1) if frames > 1 else 1
    view = CaptureView(
        name="main",
        source=Source("actor.mp4", "a" * 64, SIZE_PX, SIZE_PX, 0, 0.0, "h264", False),
        crop=Crop(0.0, 0.0, float(SIZE_PX)),
        times_s=torch.arange(frames, dtype=torch.float64) / fps,
        landmarks_px=landmarks_px,
        valid=torch.ones(SIZE_PX, SIZE_PX, dtype=torch.bool),
        quality={"sharpness": torch.ones(frames)},
    )
    if images is None:
        images = torch.full((frames, 3, SIZE_PX, SIZE_PX), 128, dtype=torch.uint8)
    with storage.replacing_folder(path) as folder:
        capture = Capture(folder, SIZE_PX, (view,), Split(start, start), frozenset({Annotation.LANDMARKS}))
        for index in range(frames):
            where = capture.frame_path(index)
            where.parent.mkdir(parents=True, exist_ok=True)
            picture = np.ascontiguousarray(images[index].permute(1, 2, 0).numpy())
            Image.fromarray(picture).save(where, quality=98, subsampling=0)
        capture.save_tables()
    return Capture.load(path)


def degrees_between(a: Float[Tensor, "frames 3 3"], b: Float[Tensor, "frames 3 3"]) -> Float[Tensor, " frames"]:
    """Angles between rotations."""
    return torch.rad2deg(roma.rotmat_geodesic_distance(a, b))
