"""`track`: from a capture to the movement of the head in it."""

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
from headstudio.tracking.config import TrackingConfig
from headstudio.tracking.crew import Crew, crew
from headstudio.tracking.freeform import of_person, told_apart, with_freedom
from headstudio.tracking.lens import refine_lenses
from headstudio.tracking.observations import Observations, closed_form_pose
from headstudio.tracking.person import Found, find_person
from headstudio.tracking.photometric import light_of, misfit_m, refine, solve, texture_of
from headstudio.tracking.points import FrameState, articulation
from headstudio.tracking.quality import judge
from headstudio.tracking.rig_person import begin_anywhere, check_views, moving
from headstudio.tracking.scene import Scenery
from headstudio.tracking.temporal import bridged, smooth_face, smooth_pose


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
    view = capture.views[0]
    check_views(capture, config)
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
        begin = begin_anywhere(scene, begin)
        states = bridged(capture, solve(scene, hands, begin, advance), scene.seen, times_s)
    states = states.replaced(keys, found.states)
    for size in sizes[:-1]:
        scene = in_motion(scene, capture, states, times_s)
        posing = scene.trusting_landmarks(config.photometric.landmark_share)
        states = refine(posing, capture, hands, states, keys, size, progress).states
    if config.solve.lens_per_frame:
        states, lensed = refine_lenses(scene.landmarks, states, scene.observed, config.solve)
        scene = replace(scene, observed=lensed)
    if config.smoothing.enabled:
        states = smooth_pose(capture, states, scene.seen, times_s, config.smoothing)
    if sizes and config.calibration.enabled:
        learning = torch.arange(capture.frames) < capture.split.train_end
        scene = unbiased(scene, states, learning)
    scene = in_motion(scene, capture, states, times_s)
    if held is not None:
        with progress.stage("expression", capture.frames) as advance:
            states = solve(scene, hands, states, advance, held)
    if sizes:
        states = refine(scene, capture, hands, states, keys, sizes[-1], progress, held).states
    if config.smoothing.enabled:
        states = smooth_face(capture, states, scene.seen, times_s, config.smoothing, scene.bounds)
    if not sizes:
        return scene, states, Look(neutral_light(capture.frames), None)
    with progress.stage("light and texture"):
        light = light_of(scene, capture, states, keys)
        return scene, states, Look(light, texture_of(scene, capture, states, keys, light))


def in_motion(scene: Scenery, capture: Capture, states: FrameState, times_s: Tensor) -> Scenery:
    """The scene with the cameras of further views as their pictures, which were taken a little before or after the
    first view's, saw the moving head."""
    if not scene.others:
        return scene
    smooth = smooth_pose(capture, states, scene.seen, times_s, scene.config.smoothing)
    return replace(scene, others=moving(scene, capture, smooth))


def unbiased(scene: Scenery, states: FrameState, learning: Bool[Tensor, " frames"]) -> Scenery:
    """The scene with the landmarks of every view freed of what the detector always gets wrong."""

    def freed(states: FrameState, observed: Observations) -> Observations:
        bias = learn_bias(scene.landmarks, states, observed, learning, scene.config.calibration)
        return without_bias(scene.landmarks, states, observed, bias)

    others = tuple(replace(sight, observed=freed(sight.states(states), sight.observed)) for sight in scene.others)
    return replace(scene, observed=freed(states, scene.observed), others=others)


def _record(
    capture: Capture, view: CaptureView, scene: Scenery, identity: HeadIdentity, states: FrameState, look: Look
) -> Track:
    error_m = misfit_m(scene, states, torch.arange(capture.frames))
    learning = torch.arange(capture.frames) < capture.split.train_end
    judged = judge(view, states, error_m, scene.seen, learning, scene.config.quality)
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
        views=_cameras(capture, scene),
        light_sh=look.light_sh,
        texture=look.texture,
        confidence=judged.confidence,
        usable=judged.usable,
        quality=judged.quality,
        training_clock=(float(times[0]), float(times[capture.split.train_end - 1])),
    )


def _cameras(capture: Capture, scene: Scenery) -> dict[str, TrackView]:
    """The camera of every view; those of further ones as their own pictures saw the head."""
    first = TrackView(scene.observed.K_px.clone(), torch.eye(4).repeat(capture.frames, 1, 1))
    others = {capture.views[s.view].name: TrackView(s.observed.K_px, s.T_picture_world) for s in scene.others}
    return {capture.views[0].name: first, **others}
