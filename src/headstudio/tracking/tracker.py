"""`track`: from a capture to the movement of the head in it."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import from_rotation
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.progress import Progress, Silent
from headstudio.records.capture import Capture, CaptureView
from headstudio.records.track import HeadIdentity, Track, TrackView, neutral_light
from headstudio.tracking.calibration import learn_bias, without_bias
from headstudio.tracking.config import SmoothingConfig, TrackingConfig
from headstudio.tracking.crew import Crew, crew
from headstudio.tracking.freeform import of_person, told_apart, with_freedom
from headstudio.tracking.lens import refine_lenses
from headstudio.tracking.observations import closed_form_pose
from headstudio.tracking.person import Found, find_person
from headstudio.tracking.photometric import light_of, refine, solve, texture_of
from headstudio.tracking.points import FrameState, articulation
from headstudio.tracking.quality import judge, landmark_error_m
from headstudio.tracking.scene import Scenery
from headstudio.tracking.seam import looking_back
from headstudio.tracking.smoothing import fill, fill_rotations, smooth, smooth_rotations
from headstudio.tracking.solver import Bounds


class Look(NamedTuple):
    """What the pictures taught beside the movement."""

    light_sh: Float[Tensor, "frames 9 3"]
    texture: UInt8[Tensor, "3 size size"] | None


def track(
    capture: Capture,
    config: TrackingConfig | None = None,
    progress: Progress | None = None,
    known: HeadIdentity | None = None,
) -> Track:
    """Track the head through a capture.

    Identity, lens, texture and light are learned from the training part alone; held-out frames are solved one by one
    with these fixed.

    Args:
        known: who it is, where that has been found out before (by a scan, or in another clip); it is kept.
    """
    config = config or TrackingConfig()
    head = load_head(config.head if known is None else known.head)
    return track_with(head, capture, config, progress or Silent(), known)


def track_with(
    head: HeadModel, capture: Capture, config: TrackingConfig, progress: Progress, known: HeadIdentity | None = None
) -> Track:
    """`track` with a head that is already there."""
    view = _only_view(capture)
    if not head.landmark_weight.any():
        raise HeadstudioError(
            f"the head {head.name} does not say where the detector's landmarks lie", next_step="choose another head"
        )
    free = with_freedom(head, config.freeform) if known is None else of_person(head, known)
    found = find_person(free, capture, view, config, progress)
    with crew(capture.frames, config.processes or 1) as hands:
        scene, states, look = settle(found, capture, view.times_s, hands, progress)
    identity = told_apart(free, head, found.person.identity) if known is None else known
    return _record(capture, view, scene, identity, states, look)


def settle(
    found: Found, capture: Capture, times_s: Tensor, hands: Crew, progress: Progress
) -> tuple[Scenery, FrameState, Look]:
    """From a known person to the movement of the clip.

    The pose is refined against coarse pictures and smoothed; then the rest is fitted again with the pose held, so
    that the expression does not answer for what smoothing took from the pose.

    Returns:
        The scene with the landmarks freed of what the detector always gets wrong, the movement, and the look.
    """
    scene, keys, config = found.scene, found.keys, found.scene.config
    sizes = config.photometric.sizes_px if config.photometric.enabled else ()
    held = torch.arange(scene.landmarks.unknowns) < 6 if config.smoothing.enabled else None
    with progress.stage("landmarks", capture.frames) as advance:
        begin, _ = closed_form_pose(scene.landmarks, scene.observed)
        states = _bridged(capture, solve(scene, hands, begin, advance), scene.observed.seen, times_s)
    states = states.replaced(keys, found.states)
    posing = replace(scene, observed=scene.observed.trusted_by(config.photometric.landmark_share))
    for size in sizes[:-1]:
        states = refine(posing, capture, hands, states, keys, size, progress).states
    if config.solve.lens_per_frame:
        states, lensed = refine_lenses(scene.landmarks, states, scene.observed, config.solve)
        scene = replace(scene, observed=lensed)
    if config.smoothing.enabled:
        states = smooth_pose(capture, states, scene.observed.seen, times_s, config.smoothing)
    if sizes and config.calibration.enabled:
        learning = torch.arange(capture.frames) < capture.split.train_end
        bias = learn_bias(scene.landmarks, states, scene.observed, learning, config.calibration)
        scene = replace(scene, observed=without_bias(scene.landmarks, states, scene.observed, bias))
    if held is not None:
        with progress.stage("expression", capture.frames) as advance:
            states = solve(scene, hands, states, advance, held)
    if sizes:
        states = refine(scene, capture, hands, states, keys, sizes[-1], progress, held).states
    if config.smoothing.enabled:
        states = smooth_face(capture, states, scene.observed.seen, times_s, config.smoothing, scene.bounds)
    if not sizes:
        return scene, states, Look(neutral_light(capture.frames), None)
    with progress.stage("light and texture"):
        light = light_of(scene, capture, states, keys)
        return scene, states, Look(light, texture_of(scene, capture, states, keys, light))


def in_parts(capture: Capture, states: FrameState, work: Callable[[FrameState, slice], FrameState]) -> FrameState:
    """Treat the training frames alone and all others with them, so that nothing leaks from what is held out; the seam
    is blended in the gap between them."""
    return looking_back(states, capture.split, work)


def smooth_pose(
    capture: Capture, states: FrameState, seen: Bool[Tensor, " frames"], times_s: Tensor, config: SmoothingConfig
) -> FrameState:
    """Rotation and translation of the head."""

    def work(states: FrameState, part: slice) -> FrameState:
        trust, times = seen[part].float(), times_s[part]
        return states._replace(
            rotation=smooth_rotations(states.rotation, trust, times, *config.rotation),
            translation_m=smooth(states.translation_m, trust, times, *config.translation, together=True),
        )

    return in_parts(capture, states, work)


def smooth_face(
    capture: Capture,
    states: FrameState,
    seen: Bool[Tensor, " frames"],
    times_s: Tensor,
    config: SmoothingConfig,
    bounds: Bounds,
) -> FrameState:
    """Everything but the pose, with fast movements left alone."""

    def work(states: FrameState, part: slice) -> FrameState:
        trust, times = seen[part].float(), times_s[part]
        expression = smooth(states.expression, trust, times, *config.expression)
        gaze = smooth(states.gaze_rad.flatten(1), trust, times, *config.gaze)
        jaw = smooth(states.jaw_rad, trust, times, *config.expression) if states.jaw_rad.shape[1] else states.jaw_rad
        return states._replace(
            expression=expression.clamp(bounds.lower, bounds.upper), gaze_rad=gaze.unflatten(1, (2, 2)), jaw_rad=jaw
        )

    return in_parts(capture, states, work)


def _only_view(capture: Capture) -> CaptureView:
    if len(capture.views) != 1:
        raise HeadstudioError(
            f"the capture has {len(capture.views)} views", where=capture.path, next_step="track one view at a time"
        )
    return capture.views[0]


def _bridged(capture: Capture, states: FrameState, seen: Tensor, times_s: Tensor) -> FrameState:
    """Frames without a face follow from their neighbours; a part of the clip without any keeps its start values."""

    def work(states: FrameState, part: slice) -> FrameState:
        known, times = seen[part], times_s[part]
        if known.all() or not known.any():
            return states
        return FrameState(
            fill_rotations(states.rotation, known, times),
            fill(states.translation_m, known, times),
            fill(states.expression, known, times),
            fill(states.gaze_rad.flatten(1), known, times).unflatten(1, (2, 2)),
            fill(states.jaw_rad, known, times),
        )

    return in_parts(capture, states, work)


def _record(
    capture: Capture, view: CaptureView, scene: Scenery, identity: HeadIdentity, states: FrameState, look: Look
) -> Track:
    error_m = landmark_error_m(scene.landmarks, states, scene.observed)
    learning = torch.arange(capture.frames) < capture.split.train_end
    judged = judge(view, states, error_m, scene.observed.seen, learning, scene.config.quality)
    state = articulation(states)
    times = view.times_s
    return Track(
        capture_identifier=capture.identifier,
        size_px=capture.size_px,
        identity=identity,
        times_s=times,
        expression=states.expression,
        arkit=scene.head.to_arkit(state),
        neck_rad=state.neck_rad,
        jaw_rad=state.jaw_rad,
        gaze_rad=state.gaze_rad,
        T_world_head=from_rotation(states.rotation, states.translation_m),
        views={view.name: TrackView(scene.observed.K_px.clone(), torch.eye(4).repeat(capture.frames, 1, 1))},
        light_sh=look.light_sh,
        texture=look.texture,
        confidence=judged.confidence,
        usable=judged.usable,
        quality=judged.quality,
        training_clock=(float(times[0]), float(times[capture.split.train_end - 1])),
    )
