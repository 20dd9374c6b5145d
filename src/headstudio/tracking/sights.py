"""Further views of the frames: the same heads before other cameras.

A head that stands at `T_world_head` stands at `T_camera_world @ T_world_head` before another camera, so every cost of
one view is a cost of any other once pose and derivatives are carried over; costs of all views add up. World is the
first view's camera, and frames are its moments.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.geometry.rigid import from_rotation, invert
from headstudio.records.capture import CaptureView
from headstudio.tracking.config import SolveConfig
from headstudio.tracking.gaps import gap_term
from headstudio.tracking.observations import Observations, closed_form_pose, landmark_term, observe
from headstudio.tracking.points import FrameState, PointModel
from headstudio.tracking.solver import Quadratic, Term

_POSE = 6
_SAME_MOMENT_S = 1e-6


@dataclass(frozen=True)
class Sight:
    """What one view but the first saw of the frames."""

    view: int
    """Index in the capture."""
    observed: Observations
    """Landmarks carried to the frames' moments, on straight lines between the view's own pictures."""
    T_camera_world: Float[Tensor, "frames 4 4"]
    """The still camera."""
    T_picture_world: Float[Tensor, "frames 4 4"]
    """The camera as it sees the head in the view's own pictures, which were taken a fraction of a frame before or
    after: the head's movement in between counts as the camera's."""

    def states(self, states: FrameState) -> FrameState:
        """Heads of all frames before the still camera."""
        return before(states, self.T_camera_world)

    def at(self, frames: Tensor) -> "Sight":
        """Some of the frames."""
        return Sight(self.view, self.observed.at(frames), self.T_camera_world[frames], self.T_picture_world[frames])

    def with_camera(self, K_px: Float[Tensor, "frames 3 3"], T_camera_world: Float[Tensor, "4 4"]) -> "Sight":
        """The same through another camera."""
        moved = T_camera_world @ invert(self.T_camera_world)
        return replace(
            self,
            observed=self.observed.with_camera(K_px),
            T_camera_world=moved @ self.T_camera_world,
            T_picture_world=moved @ self.T_picture_world,
        )

    def landmark_terms(self, model: PointModel, solve: SolveConfig) -> Iterator[Term]:
        """What the landmarks of these frames ask for."""
        for term in (landmark_term(model, self.observed), gap_term(model, self.observed, solve)):
            yield in_view(term, self.T_camera_world)


def sight_of(
    view: CaptureView,
    index: int,
    moments_s: Tensor,
    weight: Float[Tensor, " 478"],
    model: PointModel,
    solve: SolveConfig,
) -> Sight:
    """A view with its calibrated camera, as if all pictures had been taken at these moments.

    Args:
        weight: of the landmarks.
        model: the landmarks of an average person, from which the depth is guessed.
    """
    if view.K_px is None or view.T_camera_world is None:
        raise ValueError(f"view {view.name} has no camera")
    landmarks_px = at_moments(view.landmarks_px, view.times_s, moments_s)
    observed = observe(landmarks_px, weight, view.K_px, solve)
    _, scale = closed_form_pose(model, observed)
    T = view.T_camera_world.expand(len(moments_s), 4, 4)
    return Sight(index, replace(observed, noise_px=solve.noise_m * scale), T, T)


def at_moments(
    landmarks_px: Float[Tensor, "frames 478 3"], times_s: Float[Tensor, " frames"], moments_s: Float[Tensor, " frames"]
) -> Float[Tensor, "frames 478 3"]:
    """Landmarks between pictures; not finite where a picture beside the moment shows no face."""
    if len(times_s) < 2 or float((times_s - moments_s).abs().max()) < _SAME_MOMENT_S:
        return landmarks_px
    right = torch.searchsorted(times_s, moments_s).clamp(1, len(times_s) - 1)
    span_s = times_s[right] - times_s[right - 1]
    share = ((moments_s - times_s[right - 1]) / span_s).float()[:, None, None]
    return landmarks_px[right - 1] + share * (landmarks_px[right] - landmarks_px[right - 1])


def moved_between(
    states: FrameState, moments_s: Float[Tensor, " frames"], times_s: Float[Tensor, " frames"]
) -> Float[Tensor, "frames 4 4"]:
    """How each head moves from its moment to another time nearby, in world axes: steadily towards its neighbour.

    Args:
        states: smooth over time.
    """
    frames = len(moments_s)
    if frames < 2:
        return torch.eye(4).expand(frames, 4, 4)
    left = (torch.arange(frames) - (times_s < moments_s).long()).clamp(0, frames - 2)
    share = ((times_s - moments_s) / (moments_s[left + 1] - moments_s[left])).float()[:, None]
    turn = roma.rotmat_to_rotvec(states.rotation[left + 1] @ states.rotation[left].transpose(1, 2))
    rotation = roma.rotvec_to_rotmat(share * turn)
    there = states.translation_m + share * (states.translation_m[left + 1] - states.translation_m[left])
    return from_rotation(rotation, there - (rotation @ states.translation_m[..., None])[..., 0])


def before(states: FrameState, T_camera_world: Float[Tensor, "batch 4 4"]) -> FrameState:
    """The same heads in the axes of other cameras."""
    rotation = T_camera_world[:, :3, :3]
    place_m = (rotation @ states.translation_m[..., None])[..., 0] + T_camera_world[:, :3, 3]
    return states._replace(rotation=rotation @ states.rotation, translation_m=place_m)


def in_view(term: Term, T_camera_world: Float[Tensor, "frames 4 4"]) -> Term:
    """A cost before another camera as a cost of heads in the world."""

    def carried(states: FrameState, frames: Tensor, derivatives: bool) -> Quadratic:
        T = T_camera_world[frames]
        found = term(before(states, T), frames, derivatives)
        return turned_back(found, T[:, :3, :3]) if derivatives else found

    return carried


def turned_back(found: Quadratic, rotation: Float[Tensor, "batch 3 3"]) -> Quadratic:
    """The same cost by steps of rotation and translation in the axes of the world."""
    back = carrier(rotation, found.descent.shape[1])
    hessian = back.transpose(1, 2) @ found.hessian @ back
    return Quadratic(hessian, (back.transpose(1, 2) @ found.descent[..., None])[..., 0], found.cost)


def carrier(rotation: Float[Tensor, "batch 3 3"], unknowns: int) -> Float[Tensor, "batch unknowns unknowns"]:
    """What a step in the world is before a camera."""
    matrix = torch.eye(unknowns).to(rotation).repeat(len(rotation), 1, 1)
    matrix[:, :3, :3] = matrix[:, 3:_POSE, 3:_POSE] = rotation
    return matrix
