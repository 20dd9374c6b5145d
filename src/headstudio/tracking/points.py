"""A head reduced to some of its surface points: their positions and derivatives, in closed form.

Points are linear in identity and expression; only eyes (and the jaw, where it is a joint) rotate. This is what makes
eq. 2 of paper 2 a small linear system. The neck leaves the face alone (see `heads.base`) and does not appear.
"""

from dataclasses import dataclass
from typing import NamedTuple

import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor

from headstudio.heads.base import JOINTS, Articulation, HeadModel

_JAW, _LEFT, _RIGHT = JOINTS.index("jaw"), JOINTS.index("eye_left"), JOINTS.index("eye_right")
_SIDEWAYS, _GLANCE = ("jaw", "mouth"), "eyeLook"
_PITCH_YAW = 2
"""An eye turns about x and y of the head frame; it has no roll of its own."""


class FrameState(NamedTuple):
    """Everything that moves, for a batch of frames."""

    rotation: Float[Tensor, "batch 3 3"]
    """Of `T_camera_head`."""
    translation_m: Float[Tensor, "batch 3"]
    expression: Float[Tensor, "batch expressions"]
    gaze_rad: Float[Tensor, "batch 2 2"]
    """Rotation about x and y of the left and the right eye."""
    jaw_rad: Float[Tensor, "batch jaw"]
    """Three angles, or none where the jaw is a blendshape."""

    def at(self, frames: Tensor | slice) -> "FrameState":
        """Some of the frames."""
        return FrameState(*(part[frames] for part in self))

    def replaced(self, frames: Int[Tensor, " chosen"], others: "FrameState") -> "FrameState":
        """The same with other values for some frames."""
        return FrameState(*(mine.index_copy(0, frames, theirs) for mine, theirs in zip(self, others, strict=True)))

    def where(self, chosen: Tensor, other: "FrameState") -> "FrameState":
        """These values where `chosen`, those of `other` elsewhere."""
        pairs = zip(self, other, strict=True)
        return FrameState(*(torch.where(chosen.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs))

    def flat(self) -> Float[Tensor, "batch unknowns"]:
        """Coefficients without the pose, in the order of the unknowns."""
        return torch.cat([self.expression, self.gaze_rad.flatten(1), self.jaw_rad], dim=1)

    def moved(self, step: Float[Tensor, "batch unknowns"]) -> "FrameState":
        """The state after a step: rotation (left-multiplied), translation, expression, gaze, jaw."""
        end = 6 + self.expression.shape[1]
        return FrameState(
            roma.rotvec_to_rotmat(step[:, :3]) @ self.rotation,
            self.translation_m + step[:, 3:6],
            self.expression + step[:, 6:end],
            self.gaze_rad + step[:, end : end + 4].unflatten(1, (2, 2)),
            self.jaw_rad + step[:, end + 4 :],
        )


def join(states: list[FrameState]) -> FrameState:
    """One batch of several."""
    return FrameState(*(torch.cat(parts) for parts in zip(*states, strict=True)))


def articulation(states: FrameState) -> Articulation:
    """States in the head model's words."""
    zeros = states.translation_m.new_zeros(len(states.expression), 3)
    gaze = torch.nn.functional.pad(states.gaze_rad, (0, 1))
    return Articulation(states.expression, zeros, states.jaw_rad if states.jaw_rad.shape[1] else zeros, gaze)


@dataclass(frozen=True)
class _Joint:
    """A rotating joint and the points that it moves."""

    dims: int
    points: Int[Tensor, " moved"]
    mean_m: Float[Tensor, "moved 3"]
    """Skin-weighted lever arms against the pivot, likewise the bases below."""
    identity_m: Float[Tensor, "identities moved 3"]
    expression_m: Float[Tensor, "expressions moved 3"]


class IdentityGroup(NamedTuple):
    """How some points move in the head frame with identity: lever @ basis."""

    points: Int[Tensor, " group"]
    basis: Float[Tensor, "group rows identities"]
    """The same in every frame."""
    lever: Float[Tensor, "batch 1 3 rows"]


@dataclass(frozen=True)
class PointModel:
    """Chosen surface points of a head."""

    mean_m: Float[Tensor, "points 3"]
    identity_m: Float[Tensor, "identities points 3"]
    expression_m: Float[Tensor, "expressions points 3"]
    joints: tuple[_Joint, ...]
    """Left eye, right eye, and the jaw where it is a joint."""
    twins: tuple[tuple[int, int], ...] = ()
    """Expression units that mirror each other, left and right."""

    @property
    def points(self) -> int:
        """Number of points."""
        return len(self.mean_m)

    @property
    def unknowns(self) -> int:
        """Unknowns of one frame."""
        return 6 + len(self.expression_m) + sum(joint.dims for joint in self.joints)

    def rest(self, batch: int) -> FrameState:
        """Neutral heads at the camera."""
        zeros = self.mean_m.new_zeros
        jaw = sum(joint.dims for joint in self.joints[2:])
        rotation = torch.eye(3).to(self.mean_m).expand(batch, 3, 3)
        return FrameState(
            rotation, zeros(batch, 3), zeros(batch, len(self.expression_m)), zeros(batch, 2, 2), zeros(batch, jaw)
        )

    def personal(self, identity: Float[Tensor, " identities"]) -> "PointModel":
        """The same points on one person: identity becomes part of the mean."""

        def baked(mean: Tensor, basis: Tensor) -> Tensor:
            return mean + torch.einsum("i,ipc->pc", identity, basis)

        joints = tuple(
            _Joint(j.dims, j.points, baked(j.mean_m, j.identity_m), j.identity_m[:0], j.expression_m)
            for j in self.joints
        )
        mean = baked(self.mean_m, self.identity_m)
        return PointModel(mean, self.identity_m[:0], self.expression_m, joints, self.twins)

    def some(self, points: Int[Tensor, " chosen"]) -> "PointModel":
        """Only these points, in this order."""

        def reduced(joint: _Joint) -> _Joint:
            where, which = torch.nonzero(points[:, None] == joint.points, as_tuple=True)
            tables = joint.mean_m[which], joint.identity_m[:, which], joint.expression_m[:, which]
            return _Joint(joint.dims, where, *tables)

        joints = tuple(reduced(joint) for joint in self.joints)
        tables = self.mean_m[points], self.identity_m[:, points], self.expression_m[:, points]
        return PointModel(*tables, joints, self.twins)

    def positions(
        self, state: FrameState, identity: Float[Tensor, " identities"] | None = None
    ) -> Float[Tensor, "batch points 3"]:
        """Points in the head frame."""
        points = self.mean_m + (state.expression @ self.expression_m.flatten(1)).unflatten(1, (-1, 3))
        if identity is not None:
            points = points + torch.einsum("i,ipc->pc", identity, self.identity_m)
        for joint, rotation in zip(self.joints, self._rotations(state), strict=True):
            arms = _arms(joint, state.expression, identity)
            turned = arms @ rotation.transpose(1, 2)
            points = points.index_add(1, joint.points, turned - arms)
        return points

    def derivatives(
        self, state: FrameState, identity: Float[Tensor, " identities"] | None = None
    ) -> Float[Tensor, "batch points 3 articulation"]:
        """Derivatives of `positions` by expression, gaze and jaw, in the head frame."""
        batch, expressions = state.expression.shape
        result = self.mean_m.new_zeros(batch, self.points, 3, self.unknowns - 6)
        result[..., :expressions] = self.expression_m.permute(1, 2, 0)
        start = expressions
        for joint, angles, rotation in zip(self.joints, self._angles(state), self._rotations(state), strict=True):
            turned = _arms(joint, state.expression, identity) @ rotation.transpose(1, 2)
            # d(R(a) y)/da = (J_l(a) e) x (R y)
            axes = _left_jacobian(angles)[:, :, : joint.dims]
            result[:, joint.points, :, start : start + joint.dims] = torch.linalg.cross(
                axes[:, None].expand(-1, len(joint.points), -1, -1), turned[..., None], dim=2
            )
            excess = rotation - torch.eye(3).to(rotation)
            result[:, joint.points, :, :expressions] += torch.einsum("bij,epj->bpie", excess, joint.expression_m)
            start += joint.dims
        return result

    def identity_groups(self, state: FrameState) -> list["IdentityGroup"]:
        """Derivatives of `positions` by identity, as lever @ basis for points that turn with the same joints."""
        turns = self._rotations(state)
        eye = torch.eye(3).to(self.mean_m)
        with_joint = torch.zeros(self.points, len(self.joints), dtype=torch.bool)
        for column, joint in enumerate(self.joints):
            with_joint[joint.points, column] = True
        groups = []
        for pattern in with_joint.unique(dim=0):
            points = torch.nonzero((with_joint == pattern).all(1))[:, 0]
            bases, levers = [self.identity_m[:, points]], [eye.expand(len(state.expression), 3, 3)]
            for joint, turn in ((self.joints[i], turns[i]) for i in torch.nonzero(pattern)[:, 0].tolist()):
                bases.append(joint.identity_m[:, torch.searchsorted(joint.points, points)])
                levers.append(turn - eye)
            basis = torch.cat(bases, dim=2).permute(1, 2, 0)
            groups.append(IdentityGroup(points, basis.contiguous(), torch.cat(levers, dim=2)[:, None]))
        return groups

    def _angles(self, state: FrameState) -> list[Float[Tensor, "batch 3"]]:
        eyes = torch.nn.functional.pad(state.gaze_rad, (0, 1))
        return [eyes[:, 0], eyes[:, 1], state.jaw_rad][: len(self.joints)]

    def _rotations(self, state: FrameState) -> list[Float[Tensor, "batch 3 3"]]:
        # All at once: of a single frame, a call costs more than what it computes.
        return list(roma.rotvec_to_rotmat(torch.stack(self._angles(state))).unbind())


def embed(
    head: HeadModel,
    corners: Int[Tensor, "points 3"],
    barycentric: Float[Tensor, "points 3"],
    offsets_m: Float[Tensor, "vertices 3"] | None = None,
) -> PointModel:
    """The points with these barycentric coordinates between these vertices of a head."""
    template = head.template_m if offsets_m is None else head.template_m + offsets_m
    tables = (template[None], head.identity_basis_m, head.expression_basis_m)
    mean, identity, expression = (_weighted(table, corners, barycentric) for table in tables)
    joints = [_LEFT, _RIGHT] + ([_JAW] if head.data.jaw_open_rad else [])
    rotating = tuple(_joint(head, joint, corners, barycentric, template) for joint in joints)
    return PointModel(mean[0], identity, expression, rotating, _twins(head.data.expression_names))


def landmark_model(head: HeadModel, offsets_m: Float[Tensor, "vertices 3"] | None = None) -> PointModel:
    """The detector's landmarks."""
    return embed(head, head.landmark_vertices, head.landmark_barycentric, offsets_m)


def _twins(names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Pairs of unit names that differ by Left and Right (or _L and _R) alone.

    Sideways units are the two ends of one movement, and glances are opposite in the two eyes: neither has a twin.
    """
    pairs = []
    for index, name in enumerate(names):
        for left, right in (("Left", "Right"), ("_L", "_R")):
            stem = name.removesuffix(left)
            if stem != name and stem not in _SIDEWAYS and not stem.startswith(_GLANCE) and stem + right in names:
                pairs.append((index, names.index(stem + right)))
    return tuple(pairs)


def _weighted(table: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
    return sum(
        (table[:, corners[:, c]] * weights[:, c, None] for c in range(1, 3)), table[:, corners[:, 0]] * weights[:, :1]
    )


def _joint(head: HeadModel, joint: int, corners: Tensor, barycentric: Tensor, template: Tensor) -> _Joint:
    weights = barycentric * head.skin_weights[corners, joint]
    moved = torch.nonzero(weights.sum(1) > 0)[:, 0]
    corners, weights = corners[moved], weights[moved]
    mass = weights.sum(1)[:, None]
    pivot = head.joint_weights[joint]

    def arms(table: Tensor) -> Tensor:
        return _weighted(table, corners, weights) - mass * torch.einsum("v,nvc->nc", pivot, table)[:, None]

    dims = 3 if joint == _JAW else _PITCH_YAW
    # The pivot belongs to the neutral face (`HeadModel.pose`): expression moves the points, not the joint.
    expression = _weighted(head.expression_basis_m, corners, weights)
    return _Joint(dims, moved, arms(template[None])[0], arms(head.identity_basis_m), expression)


def _arms(joint: _Joint, expression: Tensor, identity: Tensor | None) -> Float[Tensor, "batch moved 3"]:
    arms = joint.mean_m + (expression @ joint.expression_m.flatten(1)).unflatten(1, (-1, 3))
    return arms if identity is None else arms + torch.einsum("i,ipc->pc", identity, joint.identity_m)


def _left_jacobian(angles: Float[Tensor, "batch 3"]) -> Float[Tensor, "batch 3 3"]:
    """Left Jacobian of SO(3) to third order: angles of eyes and jaws stay below 0.7 rad, where it errs by 0.3 %."""
    cross = skew(angles)
    return torch.eye(3).to(cross) + cross / 2 + cross @ cross / 6


def skew(vectors: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Matrices of the cross product with the vectors."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
