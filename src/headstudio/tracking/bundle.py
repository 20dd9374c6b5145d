"""Photometric bundle adjustment over the key frames: who it is and through which lens, by what the pictures show.

Landmarks slide over the skin as the head turns; the skin's own colours do not. Poses, expressions, identity and lens
of all key frames are solved together, in turns with the appearance that they imply, from coarse to fine.
"""

import torch
from jaxtyping import Int
from torch import Tensor

from headstudio.progress import Progress
from headstudio.records.capture import Capture
from headstudio.tracking.identity import (
    Evidence,
    Person,
    SharedPrior,
    SharedTerm,
    evidence,
    shared_landmark_term,
    solve_person,
)
from headstudio.tracking.observations import Observations
from headstudio.tracking.photometric import compare, learn
from headstudio.tracking.points import FrameState, PointModel, embed, landmark_model
from headstudio.tracking.pull import Puller
from headstudio.tracking.scene import Scenery, outline_model, set_the_scene
from headstudio.tracking.silhouette import Outside, outside
from headstudio.tracking.solver import see
from headstudio.tracking.surface import load_frames, local_contrast


def adjust(
    scene: Scenery,
    capture: Capture,
    keys: Int[Tensor, " keys"],
    states: FrameState,
    person: Person,
    prior: SharedPrior,
    progress: Progress,
) -> tuple[Person, FrameState]:
    """Refine a person over the key frames.

    Args:
        scene: built for the person's start values.
        states: of the key frames.
    """
    config = scene.config.photometric
    with progress.stage("bundle adjustment", len(config.bundle_sizes_px) * config.bundle_rounds) as advance:
        around = outside(capture, scene, keys)
        for size in config.bundle_sizes_px:
            contrast = local_contrast(load_frames(capture, keys, size))
            for _ in range(config.bundle_rounds):
                now = _rebuilt(scene, person)
                person, states = _one_round(now, contrast, around, keys, states, person, prior)
                advance(1)
    return person, states


def _rebuilt(scene: Scenery, person: Person) -> Scenery:
    observed = scene.observed.with_camera(person.camera(scene.observed.K_px))
    return set_the_scene(scene.head, person.identity, observed, scene.size_px, scene.config)


def _one_round(
    scene: Scenery,
    contrast: Tensor,
    around: Outside | None,
    keys: Tensor,
    states: FrameState,
    person: Person,
    prior: SharedPrior,
) -> tuple[Person, FrameState]:
    head, config = scene.head, scene.config
    comparison = compare(scene, learn(scene, [contrast], states, keys), contrast, states, keys)
    observed = scene.observed.at(keys).trusted_by(config.photometric.landmark_share)
    skin = embed(head, scene.points.corners, scene.points.barycentric)
    terms = [shared_landmark_term(landmark_model(head), observed), shared_pull_term(skin, comparison, observed)]
    if around is not None:
        terms.append(shared_pull_term(outline_model(head, config.seed), around, observed))
    steps = config.photometric.bundle_steps
    return solve_person(terms, scene.prior, states, person, prior, scene.bounds, steps)


def shared_pull_term(points: PointModel, puller: Puller, observed: Observations) -> SharedTerm:
    """`pull.pull_term` with identity and lens unknown.

    Args:
        points: of nobody yet.
        observed: of the key frames.
    """
    everyone = torch.arange(len(observed.pixels))

    def term(states: FrameState, person: Person) -> Evidence:
        K_px = person.camera(observed.K_px)
        seen = see(points, states, K_px, True, person.identity)
        metric, force, cost = puller.pull(seen.pixels, everyone)
        return evidence(points, states, K_px, seen, metric, force, cost)

    return term
