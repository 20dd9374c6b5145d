"""From clip A to calibrated key frames in metres (paper 1, section 3.1 up to the mesh)."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import common_lens
from headstudio.geometry.rigid import invert
from headstudio.heads import load_head
from headstudio.progress import Progress, Silent
from headstudio.records.capture import Annotation, Capture
from headstudio.records.scan import CameraSource, LightMode, Residuals, Scan, SparsePoints
from headstudio.records.track import Track
from headstudio.scan.alignment import LandmarkCloud, align, landmark_cloud
from headstudio.scan.background import light_mode
from headstudio.scan.calibrate import Lens, Structure, accepted, calibrate
from headstudio.scan.calibration_config import CalibrationConfig
from headstudio.scan.fallback import cameras_of, trackable, tracked
from headstudio.scan.keyframes import Sightings, choose, look
from headstudio.scan.lens import straightened, straightened_points
from headstudio.scan.scale import measure_irises, metric_scale
from headstudio.tracking.config import SolveConfig

_CHIN, _BROW = 152, 10
_TRACKED_YAW_DEG = 55.0
_OPENINGS = ("eye_open_right", "eye_open_left")


@dataclass(frozen=True)
class KeyFrames:
    """The chosen pictures with what is known of them."""

    frames: Int[np.ndarray, " keys"]
    yaw_deg: Float[Tensor, " keys"]
    images: list[np.ndarray]
    mattes: list[np.ndarray]
    """0 to 255."""
    landmarks_px: Float[Tensor, "keys 478 3"]

    def at(self, chosen: Tensor) -> "KeyFrames":
        """Some of them."""
        places = chosen.tolist()
        return KeyFrames(
            self.frames[places],
            self.yaw_deg[chosen],
            [self.images[place] for place in places],
            [self.mattes[place] for place in places],
            self.landmarks_px[chosen],
        )


@dataclass(frozen=True)
class Cameras:
    """Cameras of key frames in a unit of their own."""

    keys: KeyFrames
    K_px: Float[Tensor, "keys 3 3"]
    T_camera_world: Float[Tensor, "keys 4 4"]
    source: CameraSource
    cloud: LandmarkCloud
    structure: Structure | None = None


def make_scan(
    capture: Capture,
    config: CalibrationConfig | None = None,
    progress: Progress | None = None,
    track: Track | None = None,
) -> Scan:
    """Calibrate the key frames of clip A: cameras, metres, and where the head is.

    All frames of the clip may be used, because nothing is scored on clip A; `only_training` changes that.

    Args:
        track: of this capture, whose poses serve where structure from motion fails; made when it is needed.
    """
    config, progress = config or CalibrationConfig(), progress or Silent()
    _check(capture)
    sightings = look(capture, config.key_frames, progress)
    eligible = np.ones(capture.frames, bool)
    if config.key_frames.only_training:
        eligible[capture.split.train_end :] = False
    keys = _pictures(capture, sightings, choose(sightings, eligible, config.key_frames))
    light, told = _light(keys, capture, config)
    found, failures = _structure(keys, capture, light, config, progress)
    if found is None:
        told += [f"structure from motion failed ({failures[-1]}); the tracked head poses stand for cameras"]
        found = _tracked(capture, track, sightings, eligible, config, progress)
    return _assembled(capture, found, light, config, told, len(keys.frames))


def _check(capture: Capture) -> None:
    if len(capture.views) != 1:
        raise HeadstudioError(
            f"the capture has {len(capture.views)} views", where=capture.path, next_step="scan one view at a time"
        )
    if Annotation.MATTE not in capture.annotations:
        raise HeadstudioError("the capture has no mattes", where=capture.path, next_step="ingest the video again")


def _pictures(capture: Capture, sightings: Sightings, frames: np.ndarray) -> KeyFrames:
    return KeyFrames(
        frames,
        torch.from_numpy(sightings.yaw_deg[frames]),
        [capture.image(int(frame)).permute(1, 2, 0).numpy() for frame in frames],
        [capture.matte(int(frame))[0].numpy() for frame in frames],
        capture.views[0].landmarks_px[torch.from_numpy(frames)],
    )


def _light(keys: KeyFrames, capture: Capture, config: CalibrationConfig) -> tuple[LightMode, list[str]]:
    if config.mode != "auto":
        return (LightMode.TURNING if config.mode == "chair" else LightMode.FIXED_TO_HEAD), []
    mode, shown = light_mode(keys.images, [m > 127 for m in keys.mattes], capture.views[0].valid.numpy())
    if shown:
        return mode, []
    return mode, ["the background does not tell who moved; a turning chair is assumed (--mode sweep says otherwise)"]


def _structure(
    keys: KeyFrames, capture: Capture, light: LightMode, config: CalibrationConfig, progress: Progress
) -> tuple[Cameras | None, list[str]]:
    """The first structure that can be believed, and why others could not."""
    if not config.structure.enabled:
        return None, ["it is switched off"]
    # Behind a still head the room helps, unless the head did not keep still in it; a turning head leaves it behind.
    attempts: list[list[np.ndarray] | None] = [_head_masks(keys, config)]
    if light is LightMode.FIXED_TO_HEAD:
        attempts.insert(0, None)
    failures: list[str] = []
    for masks in attempts:
        try:
            found = calibrate(keys.images, masks, _lens(capture, config), config.structure, progress)
        except HeadstudioError as error:
            failures.append(f"{error.what}: {error.next_step}")
            continue
        cameras = _of_structure(found, keys, _lens(capture, config))
        reason = accepted(found, len(keys.frames), capture.size_px, config.structure)
        limit = config.structure.largest_landmark_error
        if reason is None and not cameras.cloud.relative_error <= limit:
            reason = "the landmarks of the face contradict it"
        if reason is None:
            return cameras, failures
        failures.append(reason)
    return None, failures


def _head_masks(keys: KeyFrames, config: CalibrationConfig) -> list[np.ndarray]:
    """The person down to a little below the chin, without the outline."""
    seen = torch.isfinite(keys.landmarks_px).flatten(1).all(1)
    chin, brow = (keys.landmarks_px[seen, index, 1].double() for index in (_CHIN, _BROW))
    places = torch.nonzero(seen)[:, 0].numpy()
    below = np.interp(np.arange(len(seen)), places, (chin + config.structure.neck * (chin - brow)).numpy())
    side = 2 * config.structure.silhouette_px + 1
    masks = []
    for matte, end in zip(keys.mattes, below, strict=True):
        inside = cv2.erode((matte > 127).astype(np.uint8), np.ones((side, side), np.uint8)) > 0
        inside[max(int(end), 0) :] = False
        masks.append(inside)
    return masks


def _lens(capture: Capture, config: CalibrationConfig) -> Lens:
    """What is believed of the lens in pixels of the stored frame: as the user says, else as it came with the pictures,
    else a usual one, whose axis goes through the middle of the source picture wherever the crop was cut."""
    view, crop = capture.views[0], capture.views[0].crop
    scale = capture.size_px / crop.side_px
    middle = (view.source.width_px / 2 - crop.left_px) * scale, (view.source.height_px / 2 - crop.top_px) * scale
    if config.structure.focal_px is not None:
        return Lens(config.structure.focal_px * scale, True, middle)
    if view.K_px is not None:
        focal_px, principal_px = common_lens(view.K_px)
        return Lens(focal_px, True, principal_px)
    return Lens(SolveConfig.focal_prior * max(view.source.width_px, view.source.height_px) * scale, False, middle)


def _of_structure(found: Structure, keys: KeyFrames, lens: Lens) -> Cameras:
    chosen = keys.at(found.registered)
    x, y = lens.principal_px
    K = torch.tensor([[found.focal_px, 0.0, x], [0.0, found.focal_px, y], [0.0, 0.0, 1.0]], dtype=torch.float64)
    chosen = replace(chosen, landmarks_px=straightened_points(chosen.landmarks_px, K, found.distortion))
    K_px, T = K.repeat(len(chosen.frames), 1, 1), found.T_camera_world
    cloud = landmark_cloud(chosen.landmarks_px, chosen.yaw_deg, K_px, T)
    return Cameras(chosen, K_px, T, CameraSource.STRUCTURE_FROM_MOTION, cloud, found)


def _tracked(
    capture: Capture,
    given: Track | None,
    sightings: Sightings,
    eligible: Bool[np.ndarray, " frames"],
    config: CalibrationConfig,
    progress: Progress,
) -> Cameras:
    known = tracked(capture, given, config.head, progress)
    good = eligible & trackable(capture, known, _TRACKED_YAW_DEG, sightings.yaw_deg)
    keys = _pictures(capture, sightings, choose(sightings, good, config.key_frames))
    K_px, T = cameras_of(known, torch.from_numpy(keys.frames))
    return Cameras(keys, K_px, T, CameraSource.TRACKED, landmark_cloud(keys.landmarks_px, keys.yaw_deg, K_px, T))


def _assembled(
    capture: Capture, found: Cameras, light: LightMode, config: CalibrationConfig, told: list[str], offered: int
) -> Scan:
    head, keys = load_head(config.head), found.keys
    whole = align(found.cloud, head)
    eyes = _open(capture, keys, config)
    seen = keys.landmarks_px, found.K_px, found.T_camera_world
    measured = measure_irises(*seen, keys.yaw_deg, eyes, config.scale)
    metres, scale = metric_scale(measured, whole.metres, config.scale)
    if measured is None:
        told = [*told, "no open eyes are seen well enough, so the metres are those of the mean head"]
    T = found.T_camera_world.clone()
    T[:, :3, 3] *= metres
    T_first_world = T[0]
    fitted = align(found.cloud, head, metres)
    structure = found.structure
    images, masks, valid = straightened(
        keys.images,
        keys.mattes,
        capture.views[0].valid.numpy(),
        found.K_px[0],
        0.0 if structure is None else structure.distortion,
    )
    points = None
    if structure is not None:
        local = structure.points * metres @ T_first_world[:3, :3].T + T_first_world[:3, 3]
        points = SparsePoints(local.float(), structure.rgb)
    return Scan(
        capture_identifier=capture.identifier,
        frames=torch.from_numpy(keys.frames).long(),
        frontal=_frontal(keys),
        images=images,
        masks=masks,
        valid=valid,
        landmarks_px=keys.landmarks_px.float(),
        K_px=found.K_px.float(),
        T_camera_world=(T @ invert(T_first_world)).float(),
        T_head_scan=(fitted.T_head_world @ invert(T_first_world)).float(),
        head=config.head,
        cameras=found.source,
        light=light,
        scale=scale,
        residuals=Residuals(
            float("nan") if structure is None else structure.reprojection_px,
            found.cloud.residual_px,
            fitted.error_m,
            offered,
        ),
        distortion=0.0 if structure is None else structure.distortion,
        relative_focal=_relative_focal(capture, float(found.K_px[0, 0, 0])),
        told=tuple(told),
        points=points,
    )


def _relative_focal(capture: Capture, focal_px: float) -> float:
    view = capture.views[0]
    in_source_px = focal_px * view.crop.side_px / capture.size_px
    return in_source_px / max(view.source.width_px, view.source.height_px)


def _frontal(keys: KeyFrames) -> int:
    seen = torch.isfinite(keys.landmarks_px).flatten(1).all(1)
    return int(torch.where(seen, keys.yaw_deg.abs(), torch.inf).argmin())


def _open(capture: Capture, keys: KeyFrames, config: CalibrationConfig) -> Bool[Tensor, "keys 2"]:
    """Views in which the right and the left iris can be measured."""
    quality, frames = capture.views[0].quality, torch.from_numpy(keys.frames)
    if not set(_OPENINGS) <= quality.keys():
        return torch.zeros(len(frames), 2, dtype=torch.bool)
    opened = torch.stack([quality[name][frames] for name in _OPENINGS], dim=1)
    near = keys.yaw_deg.abs() <= config.scale.largest_yaw_deg
    return (
        (opened >= config.scale.least_opening)
        & near[:, None]
        & torch.isfinite(keys.landmarks_px).flatten(1).all(1)[:, None]
    )
