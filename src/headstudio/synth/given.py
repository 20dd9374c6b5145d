"""A capture whose annotations are the truth: landmarks, mattes, labels and normals of a filmed actor.

For measuring what a method makes of perfect input, without a detector between: Grassal et al. 2022, section 4.1, give
their synthetic subjects' landmarks, labels and normals to all competitors.
"""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import transform
from headstudio.heads.base import HeadModel
from headstudio.progress import Progress
from headstudio.records.capture import Annotation, Capture, CaptureView, Crop, Source, Split
from headstudio.records.normal_maps import encode_normals
from headstudio.synth.frames import FrameRenderer
from headstudio.synth.stage import Stage
from headstudio.synth.surface_truth import TruthMaps

VIEW = "main"
_JPEG_QUALITY = 95
_NEIGHBOURS = MappingProxyType({95: 96, 324: 325, 239: 237, 459: 457})
"""Landmarks inside the lips and the nostrils that were found on no picture of some heads, and those beside them."""


def write_given_capture(folder: Path, renderer: FrameRenderer, training_frames: int, progress: Progress) -> Capture:
    """Film a stage into a capture, which appears whole or not at all; what was there is replaced.

    Cameras are given too (`CaptureView.K_px`). The first frames are for training and the others are held out, without a
    gap: they are different takes. A film that was stopped goes on with the frame at which it stopped.

    Raises:
        HeadstudioError: where the disk is full.
    """
    stage, folder = renderer.stage, Path(folder)
    maps, count = TruthMaps(renderer), len(stage.performance)
    building = folder.with_name(f".{folder.name}.{_checksum(stage)[:12]}")
    split = Split(training_frames, training_frames)
    capture = Capture(building, stage.config.width_px, (_view(stage),), split, frozenset(Annotation))
    with storage.resuming_folder(building, folder), progress.stage("filming the actor", count) as advance:
        for frame in range(count):
            if not _last_picture(capture, frame).exists():
                _write_frame(capture, renderer, maps, frame)
            advance(1)
        capture.save_tables()
    return replace(capture, path=folder)


def true_landmarks(stage: Stage) -> Float[Tensor, "frames 478 3"]:
    """The detector's landmarks where the head model has them: pixels, and depth in the same scale against the head's.

    The few without a place on this head take their neighbour's.
    """
    head, points = stage.head, []
    stand_in = _stand_ins(head)
    for frame in range(len(stage.performance)):
        places = head.landmark_points(stage.head_vertices(frame)[None])[0][stand_in]
        points.append(transform(stage.T_camera_head[frame], places))
    there = torch.stack(points)
    depth_m = there[..., 2].mean(1)
    focal_px = stage.lens.camera.K_px[0, 0]
    depth_px = (there[..., 2] - depth_m[:, None]) * (focal_px / depth_m)[:, None]
    return torch.cat([stage.lens.project(there), depth_px[..., None]], dim=-1)


def _stand_ins(head: HeadModel) -> Int[Tensor, " landmarks"]:
    """Each landmark, or its neighbour where the head has no place for it."""
    order = torch.arange(len(head.landmark_weight))
    for landmark, neighbour in _NEIGHBOURS.items():
        if head.landmark_weight[landmark] == 0:
            order[landmark] = neighbour
    if bool((head.landmark_weight[order] == 0).any()):
        raise HeadstudioError(
            f"the head {head.name} does not say where the detector's landmarks lie", next_step="choose another head"
        )
    return order


def _view(stage: Stage) -> CaptureView:
    size, times = stage.config.width_px, stage.performance.times_s
    landmarks = true_landmarks(stage)
    ones = torch.ones(len(times))
    height = landmarks[..., 1].amax(1) - landmarks[..., 1].amin(1)
    return CaptureView(
        name=VIEW,
        source=Source(f"{stage.config.head}-{stage.config.seed}", _checksum(stage), size, size, 0, 0.0, "none", False),
        crop=Crop(0.0, 0.0, float(size)),
        times_s=times.double(),
        landmarks_px=landmarks.float(),
        valid=torch.ones(size, size, dtype=torch.bool),
        quality={"confidence": ones, "occlusion": 0 * ones, "face_size_px": height.float()},
        K_px=stage.lens.camera.K_px.expand(len(times), 3, 3).clone(),
    )


def _checksum(stage: Stage) -> str:
    """Of everything that decides the pictures."""
    told = json.dumps({**asdict(stage.config), "looks": asdict(stage.person.looks)}, sort_keys=True)
    told += f"{len(stage.performance)} {0 if stage.hair is None else len(stage.hair.points_m)} {stage.unrigged is None}"
    return hashlib.sha256(told.encode()).hexdigest()


def _last_picture(capture: Capture, frame: int) -> Path:
    """The picture of a frame that is written last: where it is, all are."""
    return capture.picture_path(Annotation.NORMALS, frame)


def _write_frame(capture: Capture, renderer: FrameRenderer, maps: TruthMaps, frame: int) -> None:
    picture = renderer.render(frame)
    labels, normals = maps.render(frame)
    with storage.replacing_file(capture.frame_path(frame)) as path:
        Image.fromarray(picture.rgb.numpy()).save(path, quality=_JPEG_QUALITY, subsampling=0)
    drawn = {
        Annotation.MATTE: (picture.alpha * 255).round().to(torch.uint8).numpy(),
        Annotation.PARSING: labels.numpy(),
        Annotation.NORMALS: encode_normals(np.ascontiguousarray(normals.permute(1, 2, 0).numpy())),
    }
    for kind, pixels in drawn.items():
        with storage.replacing_file(capture.picture_path(kind, frame)) as path:
            Image.fromarray(pixels).save(path, compress_level=1)
