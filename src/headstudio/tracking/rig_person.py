"""Who is filmed, and through which cameras: `person.find_person` for captures of several views."""

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import common_lens
from headstudio.heads.base import HeadModel
from headstudio.progress import Progress
from headstudio.records.capture import Capture
from headstudio.tracking.bundle import shared_pull_term
from headstudio.tracking.config import TrackingConfig
from headstudio.tracking.identity import SharedTerm, shared_landmark_term, solve_person
from headstudio.tracking.observations import closed_form_pose
from headstudio.tracking.photometric import compare, contrasts, learn
from headstudio.tracking.points import FrameState, embed, landmark_model
from headstudio.tracking.rig import Rig, RigPrior, rig_term
from headstudio.tracking.scene import Scenery, outline_model, set_the_scene
from headstudio.tracking.sights import Sight, before, moved_between, sight_of
from headstudio.tracking.silhouette import Outside, outside

_STEPS = 40
"""Most steps of the first joint solve, which starts from nobody."""
_FOCAL_DEVIATION, _PRINCIPAL_DEVIATION = 0.08, 0.005
"""Of lenses that ingest found from landmarks: of the focal length's logarithm, and over the side of the film."""
_TURN_DEVIATION, _PLACE_DEVIATION = 0.06, 0.12
"""Of cameras that ingest found from landmarks: in radians, and over the distance of the head."""
_LANDMARK_SHARE = 0.3
"""Of the weight that landmarks keep beside pictures: seen from several sides at once, they contradict each other by as
much as they slide over the skin, and would turn the cameras towards each other."""


class FoundRig(NamedTuple):
    """What the key frames of the training part told."""

    rig: Rig
    scene: Scenery
    states: FrameState
    """Of the key frames."""


def check_views(capture: Capture, config: TrackingConfig) -> None:
    """Refuse what several views cannot do."""
    if len(capture.views) == 1:
        return
    if any(view.T_camera_world is None or view.K_px is None for view in capture.views):
        raise HeadstudioError(
            "the capture has several views whose cameras are not known",
            where=capture.path,
            next_step="ingest its films together with --views",
        )
    if config.focal_px is not None or config.principal_px is not None or config.solve.lens_per_frame:
        raise HeadstudioError(
            "the cameras of several views are calibrated at ingest",
            where=capture.path,
            next_step="give them there with --cameras, and no lens here",
        )


def rig_of(capture: Capture, identities: int) -> Rig:
    """The cameras as they were ingested, and nobody before them."""
    lenses = [common_lens(view.K_px) for view in capture.views if view.K_px is not None]
    T = [view.T_camera_world for view in capture.views if view.T_camera_world is not None]
    focal = torch.tensor([math.log(focal_px) for focal_px, _ in lenses])
    return Rig(torch.zeros(identities), focal, torch.tensor([centre for _, centre in lenses]), torch.stack(T))


def rig_prior(capture: Capture, start: Rig, distance_m: float, identity_weight: float) -> RigPrior:
    """What is believed of cameras that ingest found; known ones stay as they are."""
    if not any(view.lens_estimated for view in capture.views):
        return RigPrior(start, identity_weight, 0.0, 0.0, 0.0, 0.0)
    view = capture.views[0]
    side_px = max(view.source.width_px, view.source.height_px) * capture.size_px / view.crop.side_px
    principal_px, place_m = _PRINCIPAL_DEVIATION * side_px, _PLACE_DEVIATION * distance_m
    return RigPrior(start, identity_weight, _FOCAL_DEVIATION, principal_px, _TURN_DEVIATION, place_m)


def sights_of(
    capture: Capture, head: HeadModel, weight: Float[Tensor, " 478"], config: TrackingConfig
) -> tuple[Sight, ...]:
    """All views but the first."""
    model, moments_s = landmark_model(head), capture.views[0].times_s
    others = enumerate(capture.views[1:], 1)
    return tuple(sight_of(view, index, moments_s, weight, model, config.solve) for index, view in others)


def find_rig(
    scene: Scenery, capture: Capture, keys: Int[Tensor, " keys"], smooth: FrameState, progress: Progress
) -> FoundRig:
    """Identity and cameras over key frames, first by landmarks alone, then by the pictures.

    Args:
        scene: of nobody, with all views.
        smooth: roughly how the head moves through the clip.
    """
    head, config = scene.head, scene.config
    states, _ = closed_form_pose(landmark_model(head), scene.observed.at(keys))
    start = rig_of(capture, head.identities)
    prior = rig_prior(capture, start, float(states.translation_m[:, 2].median()), config.solve.identity_prior)
    with progress.stage("identity", None):
        held = RigPrior(start, config.solve.identity_prior, 0.0, 0.0, 0.0, 0.0)
        terms = _landmark_terms(scene, keys, 1.0)
        rig, states = solve_person(terms, scene.prior, states, start, held, scene.bounds, _STEPS)
    scene = rebuilt(scene, rig, moving(scene, capture, smooth))
    if config.photometric.enabled:
        rig, states, scene = _adjusted(scene, capture, keys, states, rig, prior, progress)
    return FoundRig(rig, scene, states)


def moving(scene: Scenery, capture: Capture, states: FrameState) -> tuple[Sight, ...]:
    """The other views with cameras as their own pictures saw the moving heads.

    Args:
        states: of all frames, smooth over time.
    """
    moments_s = capture.views[0].times_s
    moved = []
    for sight in scene.others:
        between = moved_between(states, moments_s, capture.views[sight.view].times_s)
        moved.append(replace(sight, T_picture_world=sight.T_camera_world @ between))
    return tuple(moved)


def rebuilt(scene: Scenery, rig: Rig, others: tuple[Sight, ...]) -> Scenery:
    """The scene of a person before cameras."""
    observed = scene.observed.with_camera(rig.person(0).camera(scene.observed.K_px))
    sights = tuple(
        sight.with_camera(rig.person(sight.view).camera(sight.observed.K_px), rig.T_camera_world[sight.view])
        for sight in others
    )
    return replace(set_the_scene(scene.head, rig.identity, observed, scene.size_px, scene.config), others=sights)


def _adjusted(
    scene: Scenery,
    capture: Capture,
    keys: Int[Tensor, " keys"],
    states: FrameState,
    rig: Rig,
    prior: RigPrior,
    progress: Progress,
) -> tuple[Rig, FrameState, Scenery]:
    """`bundle.adjust` over all views."""
    config = scene.config.photometric
    with progress.stage("bundle adjustment", len(config.bundle_sizes_px) * config.bundle_rounds) as advance:
        around = [outside(capture, scene, keys, outlook) for outlook in scene.outlooks()]
        for size in config.bundle_sizes_px:
            pictures = contrasts(capture, scene, keys, size)
            for _ in range(config.bundle_rounds):
                terms = _landmark_terms(scene, keys, _LANDMARK_SHARE * config.landmark_share)
                terms += _picture_terms(scene, keys, states, pictures, around)
                steps = config.bundle_steps
                rig, states = solve_person(terms, scene.prior, states, rig, prior, scene.bounds, steps)
                scene = rebuilt(scene, rig, scene.others)
                advance(1)
    return rig, states, scene


def _landmark_terms(scene: Scenery, keys: Tensor, share: float) -> list[SharedTerm]:
    model = landmark_model(scene.head)
    seen = [(0, scene.observed), *((sight.view, sight.observed) for sight in scene.others)]
    return [rig_term(shared_landmark_term(model, found.at(keys).trusted_by(share)), view) for view, found in seen]


def _picture_terms(
    scene: Scenery, keys: Tensor, states: FrameState, pictures: list[Tensor], around: list[Outside | None]
) -> list[SharedTerm]:
    # The other views are laid over the first one's pattern: a mean of pictures that do not yet lie over each other
    # would hold every camera where it is.
    head, pattern = scene.head, learn(replace(scene, others=()), pictures[:1], states, keys)
    skin, outline = embed(head, scene.points.corners, scene.points.barycentric), outline_model(head, scene.config.seed)
    movements = [None, *(_movement(sight).index_select(0, keys) for sight in scene.others)]
    terms = []
    for outlook, contrast, edge, movement in zip(scene.outlooks(), pictures, around, movements, strict=True):
        comparison = compare(scene, pattern, contrast, states, keys, outlook)
        observed = outlook.observed.at(keys)
        terms.append(rig_term(shared_pull_term(skin, comparison, observed), outlook.view, movement))
        if edge is not None:
            terms.append(rig_term(shared_pull_term(outline, edge, observed), outlook.view, movement))
    return terms


def _movement(sight: Sight) -> Float[Tensor, "frames 4 4"]:
    return torch.linalg.inv(sight.T_camera_world) @ sight.T_picture_world


def begin_anywhere(scene: Scenery, states: FrameState) -> FrameState:
    """Start values from the first of the views that shows a face.

    Args:
        states: of the first view.
    """
    known = scene.observed.seen
    for sight in scene.others:
        own, _ = closed_form_pose(scene.landmarks, sight.observed)
        there = before(own, torch.linalg.inv(sight.T_camera_world))
        states = states.where(known | ~sight.observed.seen, there)
        known = known | sight.observed.seen
    return states
