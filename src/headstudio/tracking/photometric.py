"""Refinement against the pictures: the colours under surface points must be those that the points always have.

Every point pulls its projection along the slope of the picture, so the same Gauss-Newton solver that moves landmarks
moves the surface (forward-additive alignment, Lucas and Kanade 1981), without a rendered image in the loop: the
z-buffer only says which points are seen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headstudio.progress import Progress
from headstudio.records.capture import Capture
from headstudio.tracking.appearance import frame_gain, learn_appearance, unproject_texture
from headstudio.tracking.crew import Crew
from headstudio.tracking.pattern import Pattern, learn_pattern
from headstudio.tracking.points import FrameState, join
from headstudio.tracking.pull import Pull, pull_term
from headstudio.tracking.quality import landmark_error_m
from headstudio.tracking.scene import Outlook, Scenery
from headstudio.tracking.silhouette import outside
from headstudio.tracking.solver import CHUNK, huber, minimise
from headstudio.tracking.surface import load_frames, local_contrast, look, sample, slopes

_LIGHT_SIZE_PX = 160
"""Side of the frames from which the light is learned: it needs no detail."""


class Refined(NamedTuple):
    """The outcome for all frames."""

    states: FrameState
    kept: Bool[Tensor, " frames"]
    """Frames whose refinement was accepted."""


def refine(
    scene: Scenery,
    capture: Capture,
    crew: Crew,
    states: FrameState,
    train: Int[Tensor, " chosen"],
    size_px: int,
    progress: Progress,
    frozen: Bool[Tensor, " unknowns"] | None = None,
) -> Refined:
    """Refine all frames that show a face at one resolution.

    Args:
        train: indices of the training frames that the pattern is learned from.
        frozen: True for what must stay as it is.
    """
    with progress.stage(f"photometric {size_px} px", capture.frames) as advance:
        pattern = learn(scene, contrasts(capture, scene, train, size_px), states.at(train), train)
        parts = crew.work(partial(_refine_chunk, scene, pattern, capture, states, size_px, frozen), advance)
    refined, kept = zip(*parts, strict=True)
    return Refined(join(list(refined)), torch.cat(kept))


def solve(
    scene: Scenery,
    crew: Crew,
    states: FrameState,
    advance: Callable[[int], None],
    frozen: Bool[Tensor, " unknowns"] | None = None,
) -> FrameState:
    """All frames by their landmarks alone."""
    return join(crew.work(partial(_solve_chunk, scene, states, frozen), advance))


def light_of(scene: Scenery, capture: Capture, states: FrameState, train: Tensor) -> Float[Tensor, "frames 9 3"]:
    """The clip's light times each frame's exposure."""
    appearance = None
    gains = []
    for frames in (train, *torch.arange(capture.frames).split(CHUNK)):
        images, camera = load_frames(capture, frames, _LIGHT_SIZE_PX), scene.camera[frames]
        surface = look(scene.head, scene.neutral_m, scene.points, states.at(frames), camera)
        pixels = camera.project(surface.camera_m)[0] * (_LIGHT_SIZE_PX / camera.width_px)
        colours = sample(images, pixels)
        if appearance is None:
            appearance = learn_appearance(colours, surface)
        else:
            weight = surface.weight * appearance.seen * scene.observed.seen[frames, None]
            gains.append(frame_gain(appearance.predict(surface.normals), colours, weight))
    assert appearance is not None
    return appearance.light_sh * torch.cat(gains)[:, None, None]


def contrasts(capture: Capture, scene: Scenery, frames: Tensor, size_px: int) -> list[Tensor]:
    """Local contrast of some frames in every view."""
    views = (outlook.view for outlook in scene.outlooks())
    return [local_contrast(load_frames(capture, frames, size_px, view)) for view in views]


def learn(scene: Scenery, contrasts: list[Tensor], states: FrameState, frames: Tensor) -> Pattern:
    """The pattern at the sharpness of these pictures' local contrast, the same in all views.

    Args:
        contrasts: of every view.
    """
    found, weights = [], []
    for outlook, contrast in zip(scene.outlooks(), contrasts, strict=True):
        camera = outlook.camera[frames]
        surface = look(scene.head, scene.neutral_m, scene.points, outlook.states(states, frames), camera)
        pixels = camera.project(surface.camera_m)[0] * (contrast.shape[-1] / camera.width_px)
        found.append(sample(contrast, pixels))
        weights.append(surface.weight * outlook.observed.seen[frames, None])
    if len(found) == 1:  # a copy would be laid out otherwise in memory and be summed in another order
        return learn_pattern(found[0], weights[0])
    return learn_pattern(torch.cat(found), torch.cat(weights))


def texture_of(
    scene: Scenery, capture: Capture, states: FrameState, train: Tensor, light_sh: Float[Tensor, "frames 9 3"]
) -> Tensor:
    """The by-product texture, from full-size training frames."""
    images = load_frames(capture, train, capture.size_px)
    size = scene.config.photometric.texture_size_px
    return unproject_texture(
        scene.head, scene.neutral_m, states.at(train), images, scene.camera[train], light_sh[train], size
    )


@dataclass(frozen=True)
class Comparison:
    """What a chunk of frames is compared with, and the pictures it is found in."""

    layers: Float[Tensor, "frames 9 height width"]
    """Local contrast, then its slopes along x and along y."""
    pattern: Pattern
    share: Float[Tensor, "frames points"]
    """How much each point counts."""
    scale: float
    """Pixels of the pictures in a pixel of the stored frame, in which points are projected."""
    noise: float
    robust: float

    def pull(self, pixels: Float[Tensor, "chosen points 2"], frames: Int[Tensor, " chosen"]) -> Pull:
        """How the contrast found at these pixels of the stored frame pulls on them."""
        found = sample(self.layers[frames], pixels * self.scale)
        residual, share = self.pattern.mean - found[..., :3], self.share[frames]
        noise = (self.noise**2 + self.pattern.deviation**2).sqrt()
        cost, bend = huber(residual.norm(dim=-1) / noise, self.robust)
        weight = (bend * share / noise**2)[..., None]
        x, y = found[..., 3:6] * self.scale, found[..., 6:] * self.scale
        tensor = torch.stack([(x * x).sum(-1), (x * y).sum(-1), (x * y).sum(-1), (y * y).sum(-1)], dim=-1) * weight
        force = torch.stack([(x * residual).sum(-1), (y * residual).sum(-1)], dim=-1) * weight
        return Pull(tensor.unflatten(-1, (2, 2)), force, (cost * share).sum(1))


def compare(
    scene: Scenery,
    pattern: Pattern,
    contrast: Tensor,
    states: FrameState,
    frames: Int[Tensor, " frames"],
    outlook: Outlook | None = None,
) -> Comparison:
    """A chunk of frames with visibility as it is at `states`.

    Args:
        outlook: the view; the first when not given.
    """
    outlook, config = outlook or scene.outlooks()[0], scene.config
    camera = outlook.camera[frames]
    surface = look(scene.head, scene.neutral_m, scene.points, outlook.states(states, frames), camera)
    weight = surface.weight * pattern.seen * outlook.observed.seen[frames, None]
    return Comparison(
        layers=torch.cat([contrast, slopes(contrast)], dim=1),
        pattern=pattern,
        share=weight * config.photometric.independence,
        scale=contrast.shape[-1] / camera.width_px,
        noise=config.photometric.noise,
        robust=config.solve.robust,
    )


def _solve_chunk(scene: Scenery, states: FrameState, frozen: Tensor | None, frames: Tensor) -> FrameState:
    terms = scene.frame_terms(frames)
    return minimise(states.at(frames), terms, scene.bounds, scene.config.solve.iterations, frozen)


def _refine_chunk(
    scene: Scenery,
    pattern: Pattern,
    capture: Capture,
    all_states: FrameState,
    size_px: int,
    frozen: Tensor | None,
    frames: Tensor,
) -> tuple[FrameState, Tensor]:
    config, start = scene.config.photometric, all_states.at(frames)
    terms, pulls = scene.frame_terms(frames), []
    for outlook in scene.outlooks():
        contrast = local_contrast(load_frames(capture, frames, size_px, outlook.view))
        comparison, K_px = compare(scene, pattern, contrast, start, frames, outlook), outlook.observed.K_px[frames]
        pulls.append(outlook.term(pull_term(scene.skin, comparison, K_px), frames))
        terms.append(pulls[-1])
        around = outside(capture, scene, frames, outlook)
        if around is not None:
            terms.append(outlook.term(pull_term(scene.outline, around, K_px), frames))
    states = minimise(start, terms, scene.bounds, config.iterations, frozen)
    everyone = torch.arange(len(frames))
    before, after = (sum_of([pull(s, everyone, False).cost for pull in pulls]) for s in (start, states))
    error_before, error_after = (misfit_m(scene, s, frames) for s in (start, states))
    kept = (after < before) & (error_after <= (1.0 + config.landmark_slack) * error_before) & scene.seen[frames]
    return states.where(kept, start), kept


def misfit_m(scene: Scenery, states: FrameState, frames: Int[Tensor, " frames"]) -> Float[Tensor, " frames"]:
    """`landmark_error_m` of some frames: the mean over the views that show a face."""
    first = landmark_error_m(scene.landmarks, states, scene.observed.at(frames))
    if not scene.others:
        return first
    sights = [sight.at(frames) for sight in scene.others]
    errors = [first, *(landmark_error_m(scene.landmarks, s.states(states), s.observed) for s in sights)]
    seen = torch.stack([scene.observed.seen[frames], *(s.observed.seen for s in sights)]).float()
    return (torch.stack(errors) * seen).sum(0) / seen.sum(0).clamp_min(1.0)


def sum_of(parts: list[Tensor]) -> Tensor:
    """The sum, which of one part is that part."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
