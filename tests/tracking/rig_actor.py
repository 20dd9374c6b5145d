"""The performance of `tracking_actor` before three cameras."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import roma
import torch
from PIL import Image
from torch import Tensor
from tracking_actor import SIZE_PX, Performance

from headstudio import storage
from headstudio.geometry.rigid import from_rotation
from headstudio.heads.base import HeadModel
from headstudio.records.capture import Annotation, Capture, CaptureView, Crop, Source, Split
from headstudio.tracking.points import landmark_model
from headstudio.tracking.sights import before
from headstudio.tracking.solver import project

YAWS_DEG = (0.0, -35.0, 35.0)
CENTRE_M = torch.tensor([0.0, 0.0, 0.6])


def cameras(yaws_deg: tuple[float, ...] = YAWS_DEG) -> Tensor:
    """`T_camera_world` (views, 4, 4) of cameras around the head; world is one at 0 degrees."""
    turns = roma.rotvec_to_rotmat(torch.deg2rad(torch.tensor([[0.0, yaw, 0.0] for yaw in yaws_deg])))
    return from_rotation(turns, CENTRE_M - (turns @ CENTRE_M[:, None])[..., 0])


def landmarks_before(head: HeadModel, truth: Performance, T: Tensor, noise_px: float, seed: int) -> Tensor:
    """What the detector sees through a camera, (frames, 478, 3)."""
    frames, K_px = len(truth.landmarks_px), truth.K_px
    states = before(truth.states, T.expand(frames, 4, 4))
    points = landmark_model(head).positions(states, truth.identity)
    camera_m = points @ states.rotation.transpose(1, 2) + states.translation_m[:, None]
    pixels = project(camera_m, K_px.expand(frames, 3, 3))
    depth_m = states.translation_m[:, None, 2:]
    depth = (camera_m[..., 2:] - depth_m) * K_px[0, 0] / depth_m
    tremble = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(seed))
    return torch.cat([pixels + noise_px * tremble, depth], dim=-1)


def rig_capture(
    folder: Path, head: HeadModel, truth: Performance, noise_px: float = 0.7, estimated: bool = False, views: int = 3
) -> Capture:
    """A capture of the views with grey pictures; the first views alone where fewer are wanted."""
    frames, K = len(truth.landmarks_px), truth.K_px.expand(len(truth.landmarks_px), 3, 3)
    end = round(0.8 * frames)
    made = []
    for index, T in enumerate(cameras()[:views]):
        view = CaptureView(
            name=f"view{index}",
            source=Source(f"{index}.mp4", f"{index}" * 64, SIZE_PX, SIZE_PX, 0, 0.0, "h264", False),
            crop=Crop(0.0, 0.0, float(SIZE_PX)),
            times_s=torch.arange(frames, dtype=torch.float64) / 25,
            landmarks_px=landmarks_before(head, truth, T, noise_px, 10 + index),
            valid=torch.ones(SIZE_PX, SIZE_PX, dtype=torch.bool),
            quality={"sharpness": torch.ones(frames)},
            K_px=K.clone(),
            T_camera_world=T,
            lens_estimated=estimated,
        )
        made.append(view)
    return stored(folder, Capture(folder, SIZE_PX, tuple(made), Split(end, end), frozenset({Annotation.LANDMARKS})))


def stored(folder: Path, capture: Capture) -> Capture:
    """The capture on disk, with grey pictures."""
    grey = Image.fromarray(np.full((SIZE_PX, SIZE_PX, 3), 128, np.uint8))
    with storage.replacing_folder(folder) as building:
        capture = replace(capture, path=building)
        for index in range(len(capture.views)):
            for frame in range(capture.frames):
                where = capture.frame_path(frame, index)
                where.parent.mkdir(parents=True, exist_ok=True)
                grey.save(where)
        capture.save_tables()
    return Capture.load(folder)
