"""A head model laid over a surface: rigid by landmarks (paper 1, eq. 1a), then identity by the distances of each
surface from the other (eq. 1b; there from the head to the scan only), solved by Gauss-Newton between look-ups."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import rigid, transform
from headstudio.heads.base import HeadModel
from headstudio.render.closest import SurfaceIndex, SurfacePlaces
from headstudio.render.normals import vertex_normals
from headstudio.scan.alignment import LandmarkCloud, align
from headstudio.scan.registration_config import FitStage, RegistrationConfig
from headstudio.tracking.observations import IRISES, OVAL
from headstudio.tracking.surface import SurfacePoints, points_on

FITTED = ("face", "eyelids", "nose", "lips")
NOT_FITTED = ("mouth_cavity", "teeth", "tongue", "eyelashes", "eyeballs", "neck", "scalp", "ears")
_OVAL_TRUST = 0.1
"""The detector lets the oval slide along the silhouette."""
_POSE = 7
"""Rotation, translation and the logarithm of the scale, of the scan in the head frame."""
_LEAST_PAIRS = 100
_HELD = 1e12


@dataclass(frozen=True)
class Target:
    """What the head is laid over, in the scan frame."""

    vertices_m: Float[Tensor, "points 3"]
    triangles: Int[Tensor, "faces 3"]
    weight: Float[Tensor, " points"]
    """0 where the surface is not face, 1 where it is."""
    landmarks_m: Float[Tensor, "478 3"]
    """NaN where unknown."""


@dataclass(frozen=True)
class Fit:
    """Where the scan lies and what the head looks like."""

    T_head_scan: Float[Tensor, "4 4"]
    """For points of the scan times `scale`; rigid, float64."""
    scale: float
    identity: Float[Tensor, " identities"]
    """Of the head with its displacement fields."""
    expression: Float[Tensor, " expressions"]

    def to_head(self, points_m: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """Points of the scan frame in the head frame."""
        return transform(self.T_head_scan, points_m.double() * self.scale).float()

    def posed(self, free: HeadModel) -> Float[Tensor, "vertices 3"]:
        """The head as it is in the scan, in the head frame."""
        state = free.rest()._replace(expression=self.expression[None])
        return free(self.identity[None], state)[0]


def fitted_skin(head: HeadModel) -> Tensor:
    """Vertices that lie on the face's visible skin, (vertices,) booleans."""
    return head.region(*FITTED) & ~head.region(*NOT_FITTED)


def laid_on(free: HeadModel, head: HeadModel, target: Target, config: RegistrationConfig, deviation: float) -> Fit:
    """All stages.

    Args:
        free: the head with its displacement fields as further identity coefficients.
        deviation: of the scan's lengths, relative; the scale is solved for where it is above `config.unsure_scale`.

    Raises:
        HeadstudioError: where too few landmarks are known, or head and surface do not meet.
    """
    unsure = deviation > config.unsure_scale
    aligned = align(LandmarkCloud(target.landmarks_m.double(), 0.0, 0.0), head, None if unsure else 1.0)
    fit = Fit(aligned.T_head_world, aligned.metres, torch.zeros(free.identities), torch.zeros(free.expressions))
    problem = _Problem(free, head.identities, target, config, deviation if unsure else None)
    for stage in config.stages:
        for _ in range(stage.rounds):
            fit = problem.step(fit, stage)
    return fit


@dataclass(frozen=True)
class _Rows:
    """Weighted residuals in the head frame with their slopes by pose, identity and expression."""

    residual: Tensor
    slopes: Tensor
    weight: Tensor


class _Problem:
    """What does not change between rounds."""

    def __init__(
        self, free: HeadModel, own: int, target: Target, config: RegistrationConfig, deviation: float | None
    ) -> None:
        self.free, self.own, self.target, self.config = free, own, target, config
        self.log_deviation = deviation
        names = free.data.expression_names
        self.units = [names.index(name) for name in config.units if name in names]
        basis = [free.identity_basis_m, free.expression_basis_m[self.units]]
        self.basis = torch.cat(basis)  # coefficients, vertices, 3
        skin = fitted_skin(free)
        self.skin_triangles = free.triangles[skin[free.triangles].all(1)]
        self.points: SurfacePoints = points_on(free, skin, config.points, seed=0)
        self.point_basis = self._at(self.points.corners, self.points.barycentric)
        self.scan = SurfaceIndex(target.vertices_m, target.triangles)
        self.scan_normals = vertex_normals(target.vertices_m[None].float(), target.triangles)[0]
        self.samples = self._samples()
        self.landmarks = self._landmarks()
        self.landmark_basis = self._at(
            free.landmark_vertices[self.landmarks], free.landmark_barycentric[self.landmarks]
        )

    def _samples(self) -> Tensor:
        chance = _vertex_areas(self.target) * self.target.weight
        if not float(chance.sum()) > 0:
            raise HeadstudioError(
                "no part of the mesh is face", next_step="look at the mesh and at the landmarks of the key frames"
            )
        count = min(self.config.points, int((chance > 0).sum()))
        draw = torch.Generator().manual_seed(0)
        return torch.multinomial(chance, count, generator=draw)

    def _landmarks(self) -> Tensor:
        trust = self.free.landmark_weight.clone()
        trust[list(IRISES)] = 0.0
        known = torch.isfinite(self.target.landmarks_m).all(1)
        return torch.nonzero(known & (trust > 0))[:, 0]

    def _at(self, corners: Tensor, barycentric: Tensor) -> Float[Tensor, "points 3 coefficients"]:
        parts = (self.basis[:, corners[:, c]] * barycentric[None, :, c, None] for c in range(3))
        first, second, third = parts
        return (first + second + third).permute(1, 2, 0)

    def step(self, fit: Fit, stage: FitStage) -> Fit:
        """Look up the nearest points, and solve."""
        posed = fit.posed(self.free)
        there, back = self._from_head(fit, stage, posed), self._from_scan(fit, stage, posed)
        pairs = float((there.weight > 0).sum() + (back.weight > 0).sum())
        if pairs < _LEAST_PAIRS:
            raise HeadstudioError(
                "the head model and the scan's face do not meet",
                next_step="look at the mesh and at the landmarks of the key frames",
            )
        share = self.config.independent / stage.noise_m**2 / float(there.weight.sum() + back.weight.sum())
        parts = [(there, share), (back, share), (self._from_landmarks(fit, stage, posed), 1.0)]
        hessian, descent = self._prior(fit, stage)
        for rows, strength in parts:
            slopes, weight = rows.slopes.double(), (rows.weight * strength).double()
            hessian = hessian + slopes.T @ (slopes * weight[:, None])
            descent = descent - slopes.T @ (weight * rows.residual.double())
        return self._bounded(fit, hessian, descent)

    def _from_head(self, fit: Fit, stage: FitStage, posed: Tensor) -> _Rows:
        points = self.points.gather(posed[None])[0]
        normals = normalize(self.points.gather(vertex_normals(posed[None], self.free.triangles))[0], dim=1)
        found = self.scan.nearest(_to_scan(fit, points))
        corners = self.target.triangles[found.triangle].long()
        counted = (self.target.weight[corners] * found.barycentric).sum(1)
        return self._rows(
            fit, stage, points, normals, self._turned(fit, found), found.positions, self.point_basis, counted
        )

    def _from_scan(self, fit: Fit, stage: FitStage, posed: Tensor) -> _Rows:
        scan_points = self.target.vertices_m[self.samples].float()
        found = SurfaceIndex(posed, self.skin_triangles).nearest(fit.to_head(scan_points))
        corners = self.skin_triangles[found.triangle]
        normals = vertex_normals(posed[None], self.free.triangles)[0]
        own = normalize((normals[corners] * found.barycentric[..., None]).sum(1), dim=1)
        other = self.scan_normals[self.samples] @ fit.T_head_scan[:3, :3].T.float()
        basis = self._at(corners, found.barycentric)
        inside = (found.barycentric > 1e-4).all(1)  # what lies beyond the skin's rim has its foot on the rim
        weight = self.target.weight[self.samples] * inside
        return self._rows(fit, stage, found.positions, own, other, scan_points, basis, weight)

    def _turned(self, fit: Fit, found: SurfacePlaces) -> Tensor:
        corners = self.target.triangles[found.triangle].long()
        normals = normalize((self.scan_normals[corners] * found.barycentric[..., None]).sum(1), dim=1)
        return normals @ fit.T_head_scan[:3, :3].T.float()

    def _rows(
        self, fit: Fit, stage: FitStage, own: Tensor, own_normals: Tensor, normals: Tensor, scan_m: Tensor,
        basis: Tensor, counted: Tensor,
    ) -> _Rows:  # fmt: skip
        """Distances along the scan's normals; nearest points slide over the surface."""
        other = fit.to_head(scan_m)
        miss = (own - other).norm(dim=1) / (self.config.cut * stage.noise_m)
        near = (1 - miss.square()).clamp_min(0).square()
        alike = ((own_normals * normals).sum(1) > self.config.normals).float()
        pose = torch.cat([-torch.linalg.cross(other, normals), -normals, -(normals * other).sum(1, keepdim=True)], 1)
        slopes = torch.cat([pose, torch.einsum("pc,pck->pk", normals, basis)], dim=1)
        return _Rows((normals * (own - other)).sum(1), slopes, near * alike * counted)

    def _from_landmarks(self, fit: Fit, stage: FitStage, posed: Tensor) -> _Rows:
        own = self.free.landmark_points(posed[None])[0, self.landmarks]
        other = fit.to_head(self.target.landmarks_m[self.landmarks])
        miss = own - other
        axes = torch.eye(3).expand(len(own), 3, 3)
        turn = torch.linalg.cross(axes, other[:, None].expand(-1, 3, -1), dim=2)  # rows: axis x point
        pose = torch.cat([turn, -axes, -other[..., None]], dim=2)
        trust = self.free.landmark_weight[self.landmarks].clone()
        trust[torch.isin(self.landmarks, torch.tensor(OVAL))] *= _OVAL_TRUST
        robust = 1 / (1 + (miss.norm(dim=1) / (2 * stage.landmark_m)) ** 2)
        # Neighbouring landmarks err together: all of them count as many as their square root.
        strength = trust * robust / stage.landmark_m**2 / max(float(trust.sum()), 1.0) ** 0.5
        slopes = torch.cat([pose, self.landmark_basis], dim=2)
        return _Rows(miss.flatten(), slopes.flatten(0, 1), strength.repeat_interleave(3))

    def _prior(self, fit: Fit, stage: FitStage) -> tuple[Tensor, Tensor]:
        identities, units = self.free.identities, len(self.units)
        amount = torch.full((_POSE + identities + units,), 1e-6, dtype=torch.float64)
        amount[_POSE : _POSE + identities] = self.config.identity_prior
        amount[_POSE + identities :] = self.config.unit_prior if stage.expressed else _HELD
        if not stage.free:
            amount[_POSE + self.own : _POSE + identities] = _HELD
        log_scale = torch.tensor([fit.scale]).double().log()
        amount[_POSE - 1] = _HELD if self.log_deviation is None else self.log_deviation**-2
        sure = torch.zeros(1, dtype=torch.float64) if self.log_deviation is None else log_scale
        place = torch.zeros(_POSE - 1, dtype=torch.float64)
        at = torch.cat([place, sure, fit.identity.double(), fit.expression[self.units].double()])
        return torch.diag(amount), -amount * at

    def _bounded(self, fit: Fit, hessian: Tensor, descent: Tensor) -> Fit:
        """The least cost with units between 0 and 1: those that would leave stay at their bound."""
        first = _POSE + self.free.identities
        low, high = self.free.data.expression_range
        held: dict[int, float] = {}
        step = torch.linalg.solve(hessian, descent)
        for _ in range(len(self.units)):
            moved = fit.expression[self.units].double() + step[first:]
            outside = [i for i in range(len(self.units)) if i not in held and not low <= float(moved[i]) <= high]
            if not outside:
                break
            held |= {i: float(moved[i].clamp(low, high) - fit.expression[self.units[i]]) for i in outside}
            fixed = torch.tensor([first + i for i in held])
            rest = torch.tensor([i for i in range(len(step)) if i - first not in held])
            step[fixed] = torch.tensor(list(held.values()), dtype=torch.float64)
            right = descent[rest] - hessian[rest][:, fixed] @ step[fixed]
            step[rest] = torch.linalg.solve(hessian[rest][:, rest], right)
        return self._moved(fit, step)

    def _moved(self, fit: Fit, step: Tensor) -> Fit:
        first = _POSE + self.free.identities
        growth = 1.0 if self.log_deviation is None else float(step[_POSE - 1].exp())
        T = fit.T_head_scan.clone()
        T[:3, 3] *= growth
        turned = rigid(step[:3], step[3:6]) @ T
        expression = fit.expression.clone()
        if self.units:
            low, high = self.free.data.expression_range
            expression[self.units] = (expression[self.units] + step[first:].float()).clamp(low, high)
        return Fit(turned, fit.scale * growth, fit.identity + step[_POSE:first].float(), expression)


def _to_scan(fit: Fit, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
    rotation, shift = fit.T_head_scan[:3, :3], fit.T_head_scan[:3, 3]
    return ((points.double() - shift) @ rotation / fit.scale).float()


def _vertex_areas(target: Target) -> Float[Tensor, " points"]:
    a, b, c = target.vertices_m[target.triangles.long()].float().unbind(1)
    area = torch.linalg.cross(b - a, c - a).norm(dim=1)
    sums = torch.zeros(len(target.vertices_m))
    return sums.index_add(0, target.triangles.long().flatten(), area.repeat_interleave(3))
