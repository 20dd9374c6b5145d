"""Refinement against the pictures: the colours under surface points must be those that the points always have.

Every point pulls its projection along the slope of the picture, so the same Gauss-Newton solver that moves landmarks
moves the surface (forward-additive alignment, Lucas and Kanade 1981), without a rendered image in the loop: the
z-buffer only says which points are seen.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headstudio.geometry.camera import Camera
from headstudio.heads.base import HeadModel
from headstudio.progress import Progress
from headstudio.records.capture import Capture
from headstudio.render.colour import linear_to_srgb
from headstudio.tracking.appearance import Appearance, frame_gain, learn_appearance, unproject_texture
from headstudio.tracking.config import TrackingConfig
from headstudio.tracking.observations import Observations, landmark_term
from headstudio.tracking.points import FrameState, PointModel, embed, join
from headstudio.tracking.priors import prior_term
from headstudio.tracking.quality import landmark_error_m
from headstudio.tracking.solver import CHUNK, Bounds, Quadratic, Term, huber, minimise, see
from headstudio.tracking.surface import SurfacePoints, load_frames, look, sample, skin_points, slopes


@dataclass(frozen=True)
class Scenery:
    """What does not change while frames are refined."""

    head: HeadModel
    neutral_m: Float[Tensor, "1 vertices 3"]
    landmarks: PointModel
    """Landmarks of this person."""
    points: SurfacePoints
    skin: PointModel
    """The same surface points in closed form, of this person."""
    camera: Camera
    """Of all stored frames."""
    observed: Observations
    prior: Term
    """Of a frame's unknowns."""
    bounds: Bounds
    config: TrackingConfig

    def camera_at(self, frames: Tensor, size_px: int) -> Camera:
        """The camera of some frames at the size of a level."""
        return self.camera[frames].resized(size_px, size_px)


class Refined(NamedTuple):
    """The outcome for all frames."""

    states: FrameState
    kept: Bool[Tensor, " frames"]
    """Frames whose refinement was accepted."""
    light_sh: Float[Tensor, "frames 9 3"]
    """The clip's light times each frame's exposure."""


def set_the_scene(
    head: HeadModel,
    identity: Tensor,
    landmarks: PointModel,
    observed: Observations,
    size_px: int,
    bounds: Bounds,
    config: TrackingConfig,
) -> Scenery:
    """Choose the surface points and bake the person into them."""
    points = skin_points(head, config.photometric.samples, config.seed)
    skin = embed(head, points.corners, points.barycentric).personal(identity)
    camera = Camera(observed.K_px, size_px, size_px)
    neutral_m, prior = head.neutral(identity[None]), prior_term(head, config.solve)
    return Scenery(head, neutral_m, landmarks, points, skin, camera, observed, prior, bounds, config)


def refine(
    scene: Scenery,
    capture: Capture,
    states: FrameState,
    train: Int[Tensor, " chosen"],
    size_px: int,
    progress: Progress,
    frozen: Bool[Tensor, " unknowns"] | None = None,
) -> Refined:
    """Refine all frames that show a face at one resolution.

    Args:
        train: indices of the training frames that the appearance is learned from.
        frozen: True for what must stay as it is.
    """
    with progress.stage(f"photometric {size_px} px", capture.frames) as advance:
        appearance = learn(scene, capture, states, train, size_px)
        parts = []
        for first in range(0, capture.frames, CHUNK):
            frames = torch.arange(first, min(first + CHUNK, capture.frames))
            images = load_frames(capture, frames, size_px)
            parts.append(_refine_chunk(scene, appearance, images, states.at(frames), frames, frozen))
            advance(len(frames))
    refined, kept, gain = zip(*parts, strict=True)
    light = appearance.light_sh * torch.cat(gain)[:, None, None]
    return Refined(join(list(refined)), torch.cat(kept), light)


def learn(scene: Scenery, capture: Capture, states: FrameState, train: Tensor, size_px: int) -> Appearance:
    """The appearance at the sharpness of a level."""
    images = load_frames(capture, train, size_px)
    surface = look(scene.head, scene.neutral_m, scene.points, states.at(train), scene.camera[train])
    pixels = scene.camera_at(train, size_px).project(surface.camera_m)[0]
    return learn_appearance(sample(images, pixels), surface)


def texture_of(
    scene: Scenery, capture: Capture, states: FrameState, train: Tensor, light_sh: Float[Tensor, "frames 9 3"]
) -> Tensor:
    """The by-product texture, from full-size training frames."""
    images = load_frames(capture, train, capture.size_px)
    size = scene.config.photometric.texture_size_px
    return unproject_texture(
        scene.head, scene.neutral_m, states.at(train), images, scene.camera[train], light_sh[train], size
    )


def _refine_chunk(
    scene: Scenery, appearance: Appearance, images: Tensor, start: FrameState, frames: Tensor, frozen: Tensor | None
) -> tuple[FrameState, Tensor, Tensor]:
    config = scene.config.photometric
    observed = scene.observed.at(frames)
    term, gain = photometric_term(scene, appearance, images, start, frames)
    terms = [landmark_term(scene.landmarks, observed), scene.prior, term]
    states = minimise(start, terms, scene.bounds, config.iterations, frozen)
    everyone = torch.arange(len(frames))
    before, after = (term(s, everyone, False).cost for s in (start, states))
    error_before, error_after = (landmark_error_m(scene.landmarks, s, observed) for s in (start, states))
    kept = (after < before) & (error_after <= (1.0 + config.landmark_slack) * error_before) & observed.seen
    return states.where(kept, start), kept, gain


def photometric_term(
    scene: Scenery, appearance: Appearance, images: Tensor, states: FrameState, frames: Tensor
) -> tuple[Term, Float[Tensor, " frames"]]:
    """The photometric cost of a chunk of frames, with visibility, shading and exposure as they are at `states`.

    Returns:
        The term, and the exposure of each frame.
    """
    config = scene.config.photometric
    size = images.shape[-1]
    camera = scene.camera_at(frames, size)
    surface = look(scene.head, scene.neutral_m, scene.points, states, camera)
    weight = surface.weight * appearance.seen * scene.observed.seen[frames, None]
    predicted = appearance.predict(surface.normals)
    gain = frame_gain(predicted, sample(images, camera.project(surface.camera_m)[0]), weight)
    expected = linear_to_srgb(predicted * gain[:, None, None])
    layers = torch.cat([images, slopes(images)], dim=1)
    share = weight * config.independence

    def term(now: FrameState, chosen: Tensor, derivatives: bool) -> Quadratic:
        seen = see(scene.skin, now, camera.K_px[chosen], derivatives)
        found = sample(layers[chosen], seen.pixels)
        residual = expected[chosen] - found[..., :3]
        cost, bend = huber(residual.norm(dim=-1) / config.noise, scene.config.solve.robust)
        cost = (cost * share[chosen]).sum(1)
        if seen.jacobian is None:
            return Quadratic(cost.new_zeros(()), cost.new_zeros(()), cost)
        return _pull(seen.jacobian, found[..., 3:], residual, bend * share[chosen] / config.noise**2, cost)

    return term, gain


def _pull(jacobian: Tensor, slope: Tensor, residual: Tensor, weight: Tensor, cost: Tensor) -> Quadratic:
    """Normal equations through each point's 2x2 structure tensor, which sums the three colours."""
    x, y = slope[..., :3], slope[..., 3:]
    root = weight[..., None]
    tensor = torch.stack([(x * x).sum(-1), (x * y).sum(-1), (x * y).sum(-1), (y * y).sum(-1)], dim=-1) * root
    force = torch.stack([(x * residual).sum(-1), (y * residual).sum(-1)], dim=-1) * root
    weighted = (tensor.unflatten(-1, (2, 2)) @ jacobian).flatten(1, 2)
    rows = jacobian.flatten(1, 2)
    return Quadratic(
        rows.transpose(1, 2) @ weighted, (rows.transpose(1, 2) @ force.flatten(1)[..., None])[..., 0], cost
    )
