"""Who is filmed, and through which lens: from a capture's landmarks and key frames to the scene of all its frames."""

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
from headstudio.records.capture import Capture, CaptureView
from headstudio.tracking.bundle import adjust
from headstudio.tracking.config import TrackingConfig
from headstudio.tracking.identity import Person, SharedPrior, shared_landmark_term, solve_person
from headstudio.tracking.keyframes import choose_key_frames, frame_features
from headstudio.tracking.observations import (
    Observations,
    aligned_landmarks,
    closed_form_pose,
    landmark_weights,
    observe,
)
from headstudio.tracking.points import FrameState, landmark_model
from headstudio.tracking.quality import sound
from headstudio.tracking.rig_person import find_rig, sights_of
from headstudio.tracking.scene import Scenery, set_the_scene
from headstudio.tracking.temporal import smooth_pose

_STEPS = 40
"""Most steps of the first joint solve, which starts from nobody."""


class Found(NamedTuple):
    """What the key frames of the training part told."""

    person: Person
    """Before the first view's camera."""
    scene: Scenery
    keys: Int[Tensor, " keys"]
    states: FrameState
    """Of the key frames."""


def find_person(
    head: HeadModel, capture: Capture, view: CaptureView, config: TrackingConfig, progress: Progress
) -> Found:
    """Identity and lens over key frames of the training part."""
    prior = shared_prior(capture, view, config)
    observed, keys = _observe(head, capture, view, config, prior)
    scene = set_the_scene(head, torch.zeros(head.identities), observed, capture.size_px, config)
    if len(capture.views) > 1:
        return _find_before_all(scene, capture, view, keys, progress)
    unknown = Person(torch.zeros(head.identities), torch.tensor(prior.log_focal), torch.tensor(prior.principal_px))
    with progress.stage("identity", None):
        model = landmark_model(head)
        term, (states, _) = shared_landmark_term(model, observed.at(keys)), closed_form_pose(model, observed.at(keys))
        person, states = solve_person([term], scene.prior, states, unknown, prior, scene.bounds, _STEPS)
    if config.photometric.enabled:
        person, states = adjust(scene, capture, keys, states, person, prior, progress)
    observed = observed.with_camera(person.camera(observed.K_px))
    return Found(person, set_the_scene(head, person.identity, observed, capture.size_px, config), keys, states)


def _find_before_all(
    scene: Scenery, capture: Capture, view: CaptureView, keys: Int[Tensor, " keys"], progress: Progress
) -> Found:
    """The same with every view."""
    others = sights_of(capture, scene.head, scene.observed.weight, scene.config)
    rough, _ = closed_form_pose(landmark_model(scene.head), scene.observed)
    rough = smooth_pose(capture, rough, scene.observed.seen, view.times_s, scene.config.smoothing)
    found = find_rig(replace(scene, others=others), capture, keys, rough, progress)
    return Found(found.rig.person(0), found.scene, keys, found.states)


def shared_prior(capture: Capture, view: CaptureView, config: TrackingConfig) -> SharedPrior:
    """What is believed of identity and lens, in pixels of the stored frame."""
    solve, source = config.solve, view.source
    known_focal_px, known_principal_px = _known_lens(capture, view, config)
    scale, longer = capture.size_px / view.crop.side_px, max(source.width_px, source.height_px)
    focal, focal_deviation = solve.focal_prior * longer, solve.focal_log_deviation
    if known_focal_px is not None:
        focal, focal_deviation = known_focal_px, 0.0
    # Unless told otherwise, the principal point is near the middle of the source picture, wherever the crop was cut.
    x, y = source.width_px / 2, source.height_px / 2
    principal_deviation = solve.principal_deviation * longer
    if known_principal_px is not None:
        (x, y), principal_deviation = known_principal_px, 0.0
    principal = (x - view.crop.left_px) * scale, (y - view.crop.top_px) * scale
    return SharedPrior(
        math.log(focal * scale), focal_deviation, principal, principal_deviation * scale, solve.identity_prior
    )


def _known_lens(
    capture: Capture, view: CaptureView, config: TrackingConfig
) -> tuple[float | None, tuple[float, float] | None]:
    """Focal length and principal point in pixels of the source picture: as the user says, else as they came with the
    pictures, which may differ from frame to frame and from axis to axis by less than tracking could tell."""
    if view.K_px is None:
        return config.focal_px, config.principal_px
    per_px = view.crop.side_px / capture.size_px
    focal_px, (x, y) = common_lens(view.K_px)
    principal_px = x * per_px + view.crop.left_px, y * per_px + view.crop.top_px
    return config.focal_px or focal_px * per_px, config.principal_px or principal_px


def _observe(
    head: HeadModel, capture: Capture, view: CaptureView, config: TrackingConfig, prior: SharedPrior
) -> tuple[Observations, Int[Tensor, " keys"]]:
    """A capture's landmarks with their weights and the camera to begin with, and its key frames."""
    K_px = _intrinsics(prior).expand(capture.frames, 3, 3)
    observed = observe(view.landmarks_px, landmark_weights(head, config.solve), K_px, config.solve)
    learning = torch.arange(capture.frames) < capture.split.train_end
    train = learning & sound(view, observed.seen, learning, config.quality)
    if not train.any():
        raise HeadstudioError(
            "no face was found in the training part",
            where=capture.path,
            next_step="film the face, or crop closer to it",
        )
    start, scale = closed_form_pose(landmark_model(head), observed)
    aligned_m = aligned_landmarks(start, observed, scale, torch.arange(capture.frames))
    keys = choose_key_frames(frame_features(start.rotation, aligned_m), train, config.key_frames)
    return replace(observed, noise_px=config.solve.noise_m * scale), keys


def _intrinsics(prior: SharedPrior) -> Float[Tensor, "3 3"]:
    focal, (x, y) = math.exp(prior.log_focal), prior.principal_px
    return torch.tensor([[focal, 0.0, x], [0.0, focal, y], [0.0, 0.0, 1.0]])
