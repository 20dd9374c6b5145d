"""Who it is and through which cameras, for several views: identity, lenses and places of the cameras over key frames.

`identity.solve_person` eliminates the frames as it does for one view. A view's evidence is told by steps of the head
before its camera; here it is carried over to steps of the head in the world, of the view's lens and of its place.
"""

from dataclasses import dataclass
from typing import NamedTuple

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headstudio.geometry.rigid import from_rotation
from headstudio.tracking.identity import LENS, Evidence, Person, SharedTerm, along
from headstudio.tracking.points import FrameState, skew
from headstudio.tracking.sights import before, carrier, turned_back

_POSE = 6
_LARGEST_STEP = 0.1
"""Of the logarithm of a focal length."""


class Rig(NamedTuple):
    """What all frames share."""

    identity: Float[Tensor, " identities"]
    log_focal: Float[Tensor, " views"]
    """Of the stored frames' focal lengths in pixels."""
    principal_px: Float[Tensor, "views 2"]
    T_camera_world: Float[Tensor, "views 4 4"]
    """Identity for the first view."""

    def person(self, view: int) -> Person:
        """Who is seen through one lens."""
        return Person(self.identity, self.log_focal[view], self.principal_px[view])

    def stepped(self, states: FrameState, move: Float[Tensor, " shared"]) -> tuple["Rig", FrameState]:
        """The rig after a step, and the heads that recede as the first lens grows longer.

        Where a lens changes, its camera moves along (`receding`), so that only the perspective changes.
        """
        views, identities = len(self.log_focal), len(self.identity)
        lenses = move[identities : identities + LENS * views].unflatten(0, (views, LENS))
        zoom, shift_px = lenses[:, 0].clamp(-_LARGEST_STEP, _LARGEST_STEP), lenses[:, 1:]
        poses = move[identities + LENS * views :].unflatten(0, (views - 1, _POSE))
        depths_m, focal_px = self.depths_m(states), self.log_focal.exp()
        kept = torch.cat([zoom[:, None], shift_px], dim=1)
        back = torch.einsum("vij,vj->vi", receding(depths_m, focal_px), kept)
        T = [self.T_camera_world[0]]
        for view in range(1, views):
            here = self.T_camera_world[view]
            turn = roma.rotvec_to_rotmat(poses[view - 1, :3])
            place = poses[view - 1, 3:] + back[view] - here[:3, :3] @ back[0]
            T.append(from_rotation(turn, place) @ here)
        moved = along(states, focal_px[0], zoom[0], shift_px[0])
        rig = Rig(
            self.identity + move[:identities], self.log_focal + zoom, self.principal_px + shift_px, torch.stack(T)
        )
        return rig, moved

    def depths_m(self, states: FrameState) -> Float[Tensor, " views"]:
        """Mean distance of the heads from each camera along its axis."""
        frames = len(states.translation_m)
        seen = [before(states, T.expand(frames, 4, 4)).translation_m[:, 2].mean() for T in self.T_camera_world]
        return torch.stack(seen)


def receding(depth_m: Float[Tensor, "*batch"], focal_px: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 3 3"]:
    """How a head has to move for a change of the lens (logarithm of the focal length, principal point) to leave it
    where it is in the picture."""
    aside, zero = -depth_m / focal_px, torch.zeros_like(depth_m)
    rows = [zero, aside, zero, zero, zero, aside, depth_m, zero, zero]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


@dataclass(frozen=True)
class RigPrior:
    """What is believed before the first frame."""

    start: Rig
    identity_weight: float
    focal_deviation: float
    """Of each logarithm; 0 for known lenses."""
    principal_deviation_px: float
    """0 for known principal points."""
    turn_deviation: float
    """Of each camera's rotation, radians; 0 for cameras whose places are known."""
    place_deviation_m: float

    def quadratic(self, person: Rig) -> tuple[Tensor, Tensor, Tensor]:
        """Hessian, descent and cost of the shared unknowns."""
        deviations = self._deviations(len(person.log_focal))
        precision = torch.where(deviations == 0, 0.0, deviations.clamp_min(1e-9) ** -2)
        weights = torch.cat([torch.full_like(person.identity, self.identity_weight), precision])
        lenses = torch.cat([person.log_focal[:, None], person.principal_px], dim=1) - torch.cat(
            [self.start.log_focal[:, None], self.start.principal_px], dim=1
        )
        away = torch.cat([person.identity, lenses.flatten(), self._moved(person).flatten()])
        return torch.diag(weights), -weights * away, 0.5 * (weights * away**2).sum()

    def known(self, identities: int) -> Bool[Tensor, " shared"]:
        """Which shared unknowns are none."""
        known = self._deviations(len(self.start.log_focal)) == 0
        return torch.cat([torch.zeros(identities, dtype=torch.bool), known])

    def _deviations(self, views: int) -> Tensor:
        lens = torch.tensor([self.focal_deviation, self.principal_deviation_px, self.principal_deviation_px])
        pose = torch.tensor(3 * [self.turn_deviation] + 3 * [self.place_deviation_m])
        return torch.cat([lens.repeat(views), pose.repeat(views - 1)])

    def _moved(self, rig: Rig) -> Float[Tensor, "others 6"]:
        """How far the cameras went: rotation vectors, and their centres in their own axes."""
        now, then = rig.T_camera_world[1:], self.start.T_camera_world[1:]
        turn = roma.rotmat_to_rotvec(now[:, :3, :3] @ then[:, :3, :3].transpose(1, 2))
        return torch.cat([turn, now[:, :3, 3] - (roma.rotvec_to_rotmat(turn) @ then[:, :3, 3:])[..., 0]], dim=1)


def rig_term(term: SharedTerm, view: int, movement: Float[Tensor, "frames 4 4"] | None = None) -> SharedTerm:
    """The evidence of one view by steps of the whole rig.

    Args:
        term: by steps of the head before that view's camera, of identity and of its lens with the head moving along.
        movement: of the heads between the frames' moments and the view's pictures; none where landmarks count.
    """

    def carried(states: FrameState, rig: Rig) -> Evidence:
        T = rig.T_camera_world[view].expand(len(states.rotation), 4, 4)
        T = T if movement is None else T @ movement
        found = term(before(states, T) if view else states, rig.person(view))
        return _carried(found, states, rig, view, T)

    return carried


def _carried(found: Evidence, states: FrameState, rig: Rig, view: int, T: Float[Tensor, "frames 4 4"]) -> Evidence:
    """The normal equations by other unknowns: own = direct @ shared, pose = back @ world pose + bent @ shared."""
    direct, bent = _direct(rig, view), _bent(states, rig, view, T)
    hessian, coupling = found.frames.hessian, found.coupling
    back = carrier(T[:, :3, :3], hessian.shape[1])
    pose_own = coupling[:, :_POSE] @ direct
    cross = torch.einsum("fpi,fpj->ij", bent, pose_own)
    shared = direct.T @ found.shared_hessian @ direct + cross + cross.T
    shared = shared + torch.einsum("fpi,fpq,fqj->ij", bent, hessian[:, :_POSE, :_POSE], bent)
    descent = direct.T @ found.shared_descent + torch.einsum("fpi,fp->i", bent, found.frames.descent[:, :_POSE])
    reached = coupling @ direct + hessian[:, :, :_POSE] @ bent
    return Evidence(turned_back(found.frames, T[:, :3, :3]), back.transpose(1, 2) @ reached, shared, descent)


def _direct(rig: Rig, view: int) -> Float[Tensor, "own shared"]:
    """A view's own shared unknowns (identity, its lens) among those of the rig."""
    views, identities = len(rig.log_focal), len(rig.identity)
    matrix = torch.zeros(identities + LENS, identities + LENS * views + _POSE * (views - 1))
    matrix[:identities, :identities] = torch.eye(identities)
    start = identities + LENS * view
    matrix[identities:, start : start + LENS] = torch.eye(LENS)
    return matrix


def _bent(states: FrameState, rig: Rig, view: int, T: Tensor) -> Float[Tensor, "frames 6 shared"]:
    """How the rig's unknowns move the head before a view's camera, beside what the view's lens moves by itself.

    The heads go along with the first lens one by one, the cameras go along with lenses as wholes: what is left is the
    difference.
    """
    views, identities, frames = len(rig.log_focal), len(rig.identity), len(states.rotation)
    bent = torch.zeros(frames, _POSE, identities + LENS * views + _POSE * (views - 1))
    if view == 0:
        return bent
    focal_px, depths_m = rig.log_focal.exp(), rig.depths_m(states)
    rotation, still, here = T[:, :3, :3], rig.T_camera_world[view, :3, :3], before(states, T)
    heads = rotation @ receding(states.translation_m[:, 2], focal_px[0].expand(frames))
    bent[:, 3:, identities : identities + LENS] = heads - still @ receding(depths_m[0], focal_px[0])
    own = receding(depths_m[view], focal_px[view]) - receding(here.translation_m[:, 2], focal_px[view].expand(frames))
    start = identities + LENS * view
    bent[:, 3:, start : start + LENS] = own
    start = identities + LENS * views + _POSE * (view - 1)
    bent[:, :3, start : start + 3] = bent[:, 3:, start + 3 : start + _POSE] = torch.eye(3)
    bent[:, 3:, start : start + 3] = -skew(here.translation_m)
    return bent
