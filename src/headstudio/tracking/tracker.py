"""`track`: from a capture to the movement of the head in it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import from_rotation
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.progress import Progress, Silent
from headstudio.records.capture import Capture, CaptureView
from headstudio.records.track import HeadIdentity, Track, TrackView, neutral_light
from headstudio.tracking.config import SmoothingConfig, SolveConfig, TrackingConfig
from headstudio.tracking.identity import Person, SharedPrior, solve_person
from headstudio.tracking.keyframes import choose_key_frames, frame_features
from headstudio.tracking.observations import (
    Observations,
    aligned_landmarks,
    closed_form_pose,
    landmark_term,
    landmark_weights,
)  # fmt: skip
from headstudio.tracking.photometric import refine, set_the_scene, texture_of
from headstudio.tracking.points import FrameState, PointModel, articulation, landmark_model
from headstudio.tracking.priors import prior_term
from headstudio.tracking.quality import judge, landmark_error_m
from headstudio.tracking.seam import looking_back
from headstudio.tracking.smoothing import fill, fill_rotations, smooth, smooth_rotations
from headstudio.tracking.solver import Bounds, Term, minimise


@dataclass(frozen=True)
class Fit:
    """The landmark solution and what later steps need of it."""

    head: HeadModel
    identity: Float[Tensor, " identities"]
    model: PointModel
    """The landmarks of this person."""
    observed: Observations
    states: FrameState
    bounds: Bounds
    key_frames: Int[Tensor, " keys"]

    def terms(self, config: SolveConfig) -> list[Term]:
        """What the landmark solve minimises."""
        return [landmark_term(self.model, self.observed), prior_term(self.head, config)]


class Look(NamedTuple):
    """What the pictures taught beside the movement."""

    light_sh: Float[Tensor, "frames 9 3"]
    texture: UInt8[Tensor, "3 size size"] | None


def track(capture: Capture, config: TrackingConfig | None = None, progress: Progress | None = None) -> Track:
    """Track the head through a capture.

    Identity, focal length, texture and light are learned from the training part alone; held-out frames are solved
    one by one with these fixed.
    """
    config = config or TrackingConfig()
    progress = progress or Silent()
    head = load_head(config.head)
    return track_with(head, capture, config, progress)


def track_with(head: HeadModel, capture: Capture, config: TrackingConfig, progress: Progress) -> Track:
    """`track` with a head that is already there."""
    view = _only_view(capture)
    if not head.landmark_weight.any():
        raise HeadstudioError(
            f"the head {head.name} does not say where the detector's landmarks lie", next_step="choose another head"
        )
    fit = solve_landmarks(head, capture, view, config, progress)
    states, look = settle(fit, capture, view.times_s, config, progress)
    return _record(capture, view, fit, states, look, config)


def solve_landmarks(
    head: HeadModel, capture: Capture, view: CaptureView, config: TrackingConfig, progress: Progress
) -> Fit:
    """Identity and focal length over key frames of the training part, then every frame."""
    model = landmark_model(head)
    bounds = Bounds(*head.data.expression_range)
    prior = _shared_prior(capture, view, config)
    observed = observe(head, capture, view, config, prior)
    train = observed.seen & (torch.arange(capture.frames) < capture.split.train_end)
    if not train.any():
        raise HeadstudioError(
            "no face was found in the training part",
            where=capture.path,
            next_step="film the face, or crop closer to it",
        )
    start, scale = closed_form_pose(model, observed)
    observed = replace(observed, noise_px=config.solve.noise_m * scale)
    with progress.stage("identity", None):
        everyone = torch.arange(capture.frames)
        features = frame_features(start.rotation, aligned_landmarks(start, observed, scale, everyone))
        keys = choose_key_frames(features, train, config.key_frames)
        frame_prior = prior_term(head, config.solve)
        unknown = Person(torch.zeros(head.identities), torch.tensor(prior.log_focal))
        person, _ = solve_person(model, observed.at(keys), start.at(keys), unknown, prior, frame_prior, bounds)
    observed = observed.with_camera(person.camera(observed.K_px))
    personal = model.personal(person.identity)
    begin, _ = closed_form_pose(personal, observed)
    fit = Fit(head, person.identity, personal, observed, begin, bounds, keys)
    with progress.stage("landmarks", capture.frames) as advance:
        terms = fit.terms(config.solve)
        states = minimise(begin, terms, bounds, config.solve.iterations, advance=advance)
    bridged = in_parts(capture, states, lambda s, part: _bridged(s, observed.seen[part], view.times_s[part]))
    return replace(fit, states=bridged)


def observe(
    head: HeadModel, capture: Capture, view: CaptureView, config: TrackingConfig, prior: SharedPrior
) -> Observations:
    """A capture's landmarks with their weights and the camera to begin with."""
    seen = torch.isfinite(view.landmarks_px).flatten(1).all(1)
    landmarks = torch.where(seen[:, None, None], view.landmarks_px, 0.0).float()
    return Observations(
        pixels=landmarks[..., :2],
        depth_px=landmarks[..., 2],
        seen=seen,
        weight=landmark_weights(head, config.solve),
        K_px=_intrinsics(capture, view, prior.log_focal).expand(capture.frames, 3, 3),
        noise_px=torch.ones(capture.frames),
        independence=config.solve.independence,
        robust=config.solve.robust,
    )


def settle(
    fit: Fit, capture: Capture, times_s: Tensor, config: TrackingConfig, progress: Progress
) -> tuple[FrameState, Look]:
    """From the landmark solution of single frames to the movement of the clip.

    The pose is refined against coarse pictures and smoothed; then the rest is fitted again with the pose held, so
    that the expression does not answer for what smoothing took from the pose.
    """
    sizes = config.photometric.sizes_px if config.photometric.enabled else ()
    scene = set_the_scene(fit.head, fit.identity, fit.model, fit.observed, capture.size_px, fit.bounds, config)
    states, light, seen = fit.states, neutral_light(capture.frames), fit.observed.seen
    held = torch.arange(fit.model.unknowns) < 6 if config.smoothing.enabled else None
    for size in sizes[:-1]:
        states = refine(scene, capture, states, fit.key_frames, size, progress).states
    if config.smoothing.enabled:
        states = in_parts(capture, states, lambda s, part: smooth_pose(s, seen[part], times_s[part], config.smoothing))
        states = minimise(states, fit.terms(config.solve), fit.bounds, config.solve.iterations, held)
    if sizes:
        states, _, light = refine(scene, capture, states, fit.key_frames, sizes[-1], progress, held)
    if config.smoothing.enabled:
        states = in_parts(
            capture, states, lambda s, part: smooth_face(s, seen[part], times_s[part], config.smoothing, fit.bounds)
        )
    with progress.stage("texture"):
        texture = texture_of(scene, capture, states, fit.key_frames, light) if sizes else None
    return states, Look(light, texture)


def in_parts(capture: Capture, states: FrameState, work: Callable[[FrameState, slice], FrameState]) -> FrameState:
    """Treat the training frames alone and all others with them, so that nothing leaks from what is held out; the seam
    is blended in the gap between them."""
    return looking_back(states, capture.split, work)


def smooth_pose(
    states: FrameState, seen: Bool[Tensor, " frames"], times_s: Tensor, config: SmoothingConfig
) -> FrameState:
    """Rotation and translation of the head."""
    trust = seen.float()
    return states._replace(
        rotation=smooth_rotations(states.rotation, trust, times_s, *config.rotation),
        translation_m=smooth(states.translation_m, trust, times_s, *config.translation, together=True),
    )


def smooth_face(
    states: FrameState, seen: Bool[Tensor, " frames"], times_s: Tensor, config: SmoothingConfig, bounds: Bounds
) -> FrameState:
    """Everything but the pose, with fast movements left alone."""
    trust = seen.float()
    expression = smooth(states.expression, trust, times_s, *config.expression)
    gaze = smooth(states.gaze_rad.flatten(1), trust, times_s, *config.gaze)
    jaw = smooth(states.jaw_rad, trust, times_s, *config.expression) if states.jaw_rad.shape[1] else states.jaw_rad
    return states._replace(
        expression=expression.clamp(bounds.lower, bounds.upper), gaze_rad=gaze.unflatten(1, (2, 2)), jaw_rad=jaw
    )


def _only_view(capture: Capture) -> CaptureView:
    if len(capture.views) != 1:
        raise HeadstudioError(
            f"the capture has {len(capture.views)} views", where=capture.path, next_step="track one view at a time"
        )
    return capture.views[0]


def _shared_prior(capture: Capture, view: CaptureView, config: TrackingConfig) -> SharedPrior:
    solve, source = config.solve, view.source
    expected, deviation = solve.focal_prior * max(source.width_px, source.height_px), solve.focal_log_deviation
    if config.focal_px is not None:
        expected, deviation = config.focal_px, 0.0
    return SharedPrior(math.log(expected * capture.size_px / view.crop.side_px), deviation, solve.identity_prior)


def _intrinsics(capture: Capture, view: CaptureView, log_focal: float) -> Float[Tensor, "3 3"]:
    """The principal point is the middle of the source picture, wherever the crop was cut."""
    scale = capture.size_px / view.crop.side_px
    focal = math.exp(log_focal)
    x = (view.source.width_px / 2 - view.crop.left_px) * scale
    y = (view.source.height_px / 2 - view.crop.top_px) * scale
    return torch.tensor([[focal, 0.0, x], [0.0, focal, y], [0.0, 0.0, 1.0]])


def _bridged(states: FrameState, seen: Bool[Tensor, " frames"], times_s: Tensor) -> FrameState:
    """Frames without a face follow from their neighbours; a part of the clip without any keeps its start values."""
    if seen.all() or not seen.any():
        return states
    gaze = fill(states.gaze_rad.flatten(1), seen, times_s)
    return FrameState(
        fill_rotations(states.rotation, seen, times_s),
        fill(states.translation_m, seen, times_s),
        fill(states.expression, seen, times_s),
        gaze.unflatten(1, (2, 2)),
        fill(states.jaw_rad, seen, times_s),
    )


def _record(
    capture: Capture, view: CaptureView, fit: Fit, states: FrameState, look: Look, config: TrackingConfig
) -> Track:
    error_m = landmark_error_m(fit.model, states, fit.observed)
    confidence, usable = judge(view, states, error_m, fit.observed.seen, config.quality)
    state = articulation(states)
    times = view.times_s
    return Track(
        capture_identifier=capture.identifier,
        size_px=capture.size_px,
        identity=HeadIdentity(fit.head.name, fit.identity),
        times_s=times,
        expression=states.expression,
        arkit=fit.head.to_arkit(state),
        neck_rad=state.neck_rad,
        jaw_rad=state.jaw_rad,
        gaze_rad=state.gaze_rad,
        T_world_head=from_rotation(states.rotation, states.translation_m),
        views={view.name: TrackView(fit.observed.K_px.clone(), torch.eye(4).repeat(capture.frames, 1, 1))},
        light_sh=look.light_sh,
        texture=look.texture,
        confidence=confidence,
        usable=usable,
        training_clock=(float(times[0]), float(times[capture.split.train_end - 1])),
    )
