"""Who is in front of a live camera: the person of a track, or one met in a short calibration."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.progress import Silent
from headstudio.records.capture import Capture, CaptureView, Crop, Source, Split
from headstudio.records.track import HeadIdentity, Track
from headstudio.tracking.calibration import learn_bias
from headstudio.tracking.config import CalibrationConfig, PhotometricConfig, SolveConfig, TrackingConfig
from headstudio.tracking.freeform import told_apart, with_freedom
from headstudio.tracking.observations import landmark_weights, observe
from headstudio.tracking.person import find_person
from headstudio.tracking.points import FrameState, landmark_model
from headstudio.tracking.quality import landmark_error_m

_USUAL_M = 0.001
"""Landmark error of an ordinary frame, where nobody has measured it."""


class Sitter(NamedTuple):
    """Who is in front of the camera, and through which lens."""

    identity: HeadIdentity
    K_px: Float[Tensor, "3 3"]
    """Intrinsics in pixels of the pictures in which landmarks are found."""
    size_px: int
    """Side of those pictures; the longer one where they are not square."""
    usual_error_m: float = _USUAL_M
    """Landmark error of an ordinary frame, to which others are compared."""
    bias: Float[Tensor, "landmarks 3 3"] | None = None
    """What the detector always gets wrong on this person (`calibration.learn_bias`)."""


def sitter_of(track: Track, capture: Capture | None = None) -> Sitter:
    """The person of a track, filmed through the lens of its first view.

    Args:
        capture: what was tracked; from its training part the detector's own errors on this person are learned, as
            the offline tracker does.
    """
    K_px = next(iter(track.views.values())).K_px
    usual_m = _USUAL_M if track.quality is None else track.quality.usual_error_m
    sitter = Sitter(track.identity, K_px.median(0).values, track.size_px, usual_m)
    return sitter if capture is None else sitter._replace(bias=_bias(track, capture, K_px))


def calibrate(
    landmarks_px: Float[Tensor, "frames 478 3"],
    width_px: int,
    height_px: int,
    config: TrackingConfig | None = None,
    head: HeadModel | None = None,
) -> Sitter:
    """Meet a person: identity and lens from the landmarks of a few seconds in which the head turns and the face moves.

    Args:
        landmarks_px: of the detector, in pixels of pictures of this size; frames without a face are not finite.
        config: its photometric part is not used: there are no pictures.
        head: the loaded model that the config names.

    Raises:
        HeadstudioError: where no frame shows a face.
    """
    config = replace(config or TrackingConfig(), photometric=PhotometricConfig(enabled=False))
    if not bool(landmarks_px.isfinite().flatten(1).all(1).any()):
        raise HeadstudioError("no face was found while getting to know the person", next_step="face the camera")
    head = load_head(config.head) if head is None else head
    capture, free = _unfilmed(landmarks_px, width_px, height_px), with_freedom(head, config.freeform)
    found = find_person(free, capture, capture.views[0], config, Silent())
    observed = found.scene.observed
    error_m = landmark_error_m(found.scene.landmarks, found.states, observed.at(found.keys))
    identity = told_apart(free, head, found.person.identity)
    return Sitter(identity, observed.K_px[0], capture.size_px, float(error_m.median()))


def _unfilmed(landmarks_px: Tensor, width_px: int, height_px: int) -> Capture:
    """A capture without pictures, all of it for learning."""
    frames, side = len(landmarks_px), max(width_px, height_px)
    view = CaptureView(
        name="main",
        source=Source("calibration", "", width_px, height_px, 0, 0.0, "", False),
        crop=Crop(0.0, 0.0, float(side)),
        times_s=torch.arange(frames, dtype=torch.float64),
        landmarks_px=landmarks_px,
        valid=torch.ones(side, side, dtype=torch.bool),
        quality={},
    )
    return Capture(Path(), side, (view,), Split(frames, frames))


def _bias(track: Track, capture: Capture, K_px: Tensor) -> Float[Tensor, "landmarks 3 3"]:
    head, view, solve = load_head(track.identity.head), capture.views[0], SolveConfig()
    model = landmark_model(head, track.identity.offsets_m).personal(track.identity.coefficients)
    observed = observe(view.landmarks_px, landmark_weights(head, solve), K_px, solve)
    observed = observed.at_depth(track.T_world_head[:, 2, 3], solve.noise_m)
    jaw = track.jaw_rad if head.data.jaw_open_rad else track.jaw_rad[:, :0]
    states = FrameState(
        track.T_world_head[:, :3, :3], track.T_world_head[:, :3, 3], track.expression, track.gaze_rad[..., :2], jaw
    )
    learning = track.usable & (torch.arange(capture.frames) < capture.split.train_end)
    return learn_bias(model, states, observed, learning, CalibrationConfig())
