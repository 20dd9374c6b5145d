"""Another head refitted to a tracked performance, without any table of corresponding points.

Both heads stand in the skull's frame with the origin between the eyes, so they nearly coincide from the start. First
the neutral faces: identity and a rigid motion by point-to-plane matching of nearest points whose normals agree, with
the eyeballs as anchors. Shape alone does not tell where the lips part, but opening the jaw does: how far it moves a
point counts as a further coordinate, so that lower lips match lower lips. What the basis cannot express becomes a
smooth displacement. The nearest points then stay together, and every frame's expression and jaw are those that
displace the one surface most like the other (least squares with the coefficients' standard normal prior).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import roma
import torch
from jaxtyping import Float, Int
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.spatial import KDTree
from torch import Tensor
from torch.nn.functional import normalize

from headstudio.geometry.rigid import from_rotation, transform
from headstudio.heads.arkit import ARKIT_NAMES, JAW_OPEN
from headstudio.heads.base import JOINTS, Articulation, HeadModel
from headstudio.progress import Progress
from headstudio.records.track import Track
from headstudio.render.normals import vertex_normals

_SKIN = ("face", "nose", "lips", "eyelids", "ears", "scalp", "neck")
_NO_SKIN = ("mouth_cavity", "teeth", "tongue", "eyelashes", "eyeballs")
_SAMPLES = 40_000
"""Points of the tracked surface among which the nearest is sought: about one a square millimetre of the face."""
_REACHES_M = (0.03, 0.03, 0.02, 0.02, 0.015, 0.015, 0.01, 0.01, 0.01, 0.008, 0.008, 0.008)
"""Largest distance between points that are taken for the same, round by round."""
_AGREEING = 0.5
"""Cosine between normals from which points may be the same."""
_SLIDING = 0.1
"""Weight of distances along the surface against those across it; 1 where the lips part."""
_JAW_REACH_M = 0.02
"""Distance that opening the jaw adds between the lips when nearest points are sought."""
_LIPS_M = 0.012
"""Points with both moving and resting points nearer than this lie where the lips part."""
_NOISE_M = 0.001
"""Standard deviation of one point's place."""
_INDEPENDENT_POINTS = 200
"""How many points' worth of news the surface holds: neighbours err together."""
_ANCHOR_WEIGHT = 20.0
_STIFFNESS = 3.0
"""Weight of the smoothness of what the basis cannot express."""
_JAW_PRIOR_RAD = 0.2
_FRAME_STEPS = 4
_FRAMES_AT_ONCE = 16
_JAW = JOINTS.index("jaw")
_EYES = [JOINTS.index("eye_left"), JOINTS.index("eye_right")]


@dataclass(frozen=True)
class Refit:
    """A tracked performance in another head's coefficients."""

    identity: Float[Tensor, " identities"]
    offsets_m: Float[Tensor, "vertices 3"]
    """Displacement beyond the basis."""
    expression: Float[Tensor, "frames expressions"]
    jaw_rad: Float[Tensor, "frames 3"]
    T_tracked_refitted: Float[Tensor, "4 4"]
    """From the refitted head's frame to the tracked head's."""
    neutral_error_m: Float[Tensor, " points"]
    """Distance across the surface at rest, for each point of the face."""
    error_m: Float[Tensor, "frames points"]
    """Distance between corresponding points in each frame, less what they are apart at rest."""

    def summary(self) -> dict[str, float]:
        """Median and 95th percentile of both errors, in millimetres."""
        figures = {}
        for name, errors in (("at rest", self.neutral_error_m), ("moving", self.error_m)):
            for label, share in (("median", 0.5), ("95 %", 0.95)):
                figures[f"{name}, {label} mm"] = round(1000 * float(np.quantile(errors.numpy(), share)), 2)
        return figures


class _Samples(NamedTuple):
    """Points on the triangles of the tracked head at rest."""

    corners: Int[Tensor, "samples 3"]
    barycentric: Float[Tensor, "samples 3"]
    places_m: Float[Tensor, "samples 3"]
    normals: Float[Tensor, "samples 3"]
    jaw_m: Float[Tensor, "samples 3"]
    """`_jaw_field` there."""

    def of(self, vertices: Tensor, chosen: Tensor) -> Tensor:
        """(..., chosen, 3) vertex values at some of the points."""
        return _between(vertices, self.corners[chosen], self.barycentric[chosen])


class _Matched(NamedTuple):
    """Vertices of the refitted head and the samples that correspond to them."""

    vertices: Int[Tensor, " points"]
    samples: Int[Tensor, " points"]


class _Refitted(NamedTuple):
    """The refitted head at rest as it stands."""

    head: HeadModel
    jaw_m: Float[Tensor, "vertices 3"]
    """`_jaw_field` of its vertices."""
    parting: Float[Tensor, " vertices"]
    """1 where the lips part, 0 elsewhere."""
    identity: Float[Tensor, " identities"]
    pose: Float[Tensor, "4 4"]
    """From its frame to the tracked head's."""

    def places_m(self, offsets_m: Tensor | None = None) -> Float[Tensor, "vertices 3"]:
        """Its vertices in the tracked head's frame."""
        rest = self.head.neutral(self.identity[None], None if offsets_m is None else offsets_m[None])
        return transform(self.pose, rest[0])


def refit(source: HeadModel, track: Track, target: HeadModel, progress: Progress) -> Refit:
    """Fit the identity, expressions and jaw of `target` to the surface that `source` has in a track."""
    offsets = track.identity.offsets_m
    neutral_m = source.neutral(track.identity.coefficients[None], None if offsets is None else offsets[None])[0]
    samples = _sampled(source, neutral_m)
    with progress.stage("refitting the face at rest"):
        fitted = _identity(source, neutral_m, samples, target)
        matched = _nearest(samples, fitted, _REACHES_M[-1])
        offsets_m = _beyond_the_basis(samples, fitted, matched)
        matched = _of_the_face(matched, target)
    rest_m = target.neutral(fitted.identity[None], offsets_m[None])[0]
    states, errors = [], []
    with progress.stage("refitting the frames", track.frames) as advance:
        for start in range(0, track.frames, _FRAMES_AT_ONCE):
            part = slice(start, start + _FRAMES_AT_ONCE)
            state = Articulation(
                track.expression[part], track.neck_rad[part], track.jaw_rad[part], track.gaze_rad[part]
            )
            moved = samples.of(source.pose(neutral_m[None], state), matched.samples)
            displaced = (moved - samples.places_m[matched.samples]) @ fitted.pose[:3, :3]
            goal = rest_m[matched.vertices] + displaced
            expression, jaw_rad, error_m = _frames(target, rest_m, matched.vertices, goal)
            states.append((expression, jaw_rad))
            errors.append(error_m)
            advance(len(displaced))
    expressions, jaws = zip(*states, strict=True)
    apart = fitted.places_m(offsets_m)[matched.vertices] - samples.places_m[matched.samples]
    left_m = (apart * samples.normals[matched.samples]).sum(1).abs()
    return Refit(
        fitted.identity, offsets_m, torch.cat(expressions), torch.cat(jaws), fitted.pose, left_m, torch.cat(errors)
    )


def _sampled(source: HeadModel, neutral_m: Tensor) -> _Samples:
    """Evenly by area, with the same numbers every time."""
    triangles = source.triangles
    skin = (source.region(*_SKIN) & ~source.region(*_NO_SKIN))[triangles].all(1)
    corners = neutral_m[triangles]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    draw = torch.Generator().manual_seed(0)
    chosen = torch.multinomial(normals.norm(dim=1) * skin, _SAMPLES, replacement=True, generator=draw)
    a, b = torch.rand(2, _SAMPLES, generator=draw).unbind(0)
    a, b = torch.where(a + b > 1, 1 - a, a), torch.where(a + b > 1, 1 - b, b)
    where = triangles[chosen], torch.stack([1 - a - b, a, b], dim=1)
    jaw_m = _jaw_field(source, neutral_m)
    facing = normalize(normals[chosen], dim=1, eps=1e-20)
    return _Samples(*where, _between(neutral_m, *where), facing, _between(jaw_m, *where))


def _between(vertices: Tensor, corners: Tensor, barycentric: Tensor) -> Tensor:
    return (vertices[..., corners, :] * barycentric[..., None]).sum(-2)


def _jaw_field(head: HeadModel, neutral_m: Tensor) -> Float[Tensor, "vertices 3"]:
    """How far opening the jaw carries each vertex, in units in which the chin goes `_JAW_REACH_M`."""
    arkit = torch.zeros(1, len(ARKIT_NAMES))
    arkit[0, JAW_OPEN] = 1.0
    moved = head.pose(neutral_m[None], head.from_arkit(arkit))[0] - neutral_m
    most = moved[head.region("face")].norm(dim=1).quantile(0.99).clamp_min(1e-6)
    return moved * (_JAW_REACH_M / most)


def _parting(head: HeadModel, jaw_m: Tensor) -> Float[Tensor, " vertices"]:
    """1 for the vertices of the face near which some move with the jaw and others do not."""
    points, share = head.template_m.numpy(), (jaw_m.norm(dim=1) / _JAW_REACH_M).numpy()
    face = head.region("face").numpy()
    distances = [
        KDTree(points[face & side]).query(points)[0] if (face & side).any() else np.full(len(points), np.inf)
        for side in (share > 0.6, share < 0.3)
    ]
    return torch.from_numpy((np.maximum(*distances) < _LIPS_M / 2) & face).float()


def _identity(source: HeadModel, neutral_m: Tensor, samples: _Samples, target: HeadModel) -> _Refitted:
    """Identity and rigid motion that bring the neutral faces together."""
    jaw_m = _jaw_field(target, target.template_m)
    fitted = _Refitted(target, jaw_m, _parting(target, jaw_m), torch.zeros(target.identities), torch.eye(4))
    eyes = source.joints(neutral_m[None])[0, _EYES].double()
    eye_basis = (target.joint_weights[_EYES] @ target.identity_basis_m).double()
    count = target.identities
    prior = torch.cat([torch.ones(count), torch.full((6,), 1e-6)]).double()
    for reach_m in _REACHES_M:
        matched = _nearest(samples, fitted, reach_m)
        rotation = fitted.pose[:3, :3].double()
        here = fitted.places_m()[matched.vertices].double()
        basis = (target.identity_basis_m[:, matched.vertices].double() @ rotation.T).permute(1, 2, 0)
        normals = samples.normals[matched.samples].double()
        sliding = _SLIDING + (1 - _SLIDING) * fitted.parting[matched.vertices].double()
        metric = normals[:, :, None] * normals[:, None] + sliding[:, None, None] * torch.eye(3).double()
        metric = metric * (_INDEPENDENT_POINTS / len(here) / _NOISE_M**2)
        apart = samples.places_m[matched.samples].double() - here
        hessian, descent = _normal_equations(basis, here, apart, metric)
        joints = transform(fitted.pose, target.joints(target.neutral(fitted.identity[None]))[0, _EYES]).double()
        anchor = torch.eye(3).double().expand(2, 3, 3) * (_ANCHOR_WEIGHT / _NOISE_M**2)
        more = _normal_equations((eye_basis @ rotation.T).permute(1, 2, 0), joints, eyes - joints, anchor)
        hessian, descent = hessian + more[0], descent + more[1]
        descent[:count] -= fitted.identity.double()
        step = torch.linalg.solve(hessian + torch.diag(prior), descent).float()
        turn, shift = step[count:].view(2, 3)
        pose = from_rotation(roma.rotvec_to_rotmat(turn), shift) @ fitted.pose
        fitted = fitted._replace(identity=fitted.identity + step[:count], pose=pose)
    return fitted


def _normal_equations(basis: Tensor, here: Tensor, residual: Tensor, metric: Tensor) -> tuple[Tensor, Tensor]:
    """Of points that move by identity (points, 3, n) and by a small rotation and translation."""
    jacobian = torch.cat([basis, -_crossing(here), torch.eye(3).double().expand(len(here), 3, 3)], dim=2)
    weighted = metric @ jacobian
    hessian = jacobian.flatten(0, 1).T @ weighted.flatten(0, 1)
    return hessian, (weighted * residual[..., None]).sum((0, 1))


def _nearest(samples: _Samples, fitted: _Refitted, reach_m: float) -> _Matched:
    """Vertices of the skin with the nearest samples, where these lie within reach and face the same way."""
    skin = torch.nonzero(~fitted.head.region("eyeballs"))[:, 0]
    rotation = fitted.pose[:3, :3]
    here = fitted.places_m()
    normals = vertex_normals(here[None], fitted.head.triangles)[0, skin]
    wanted = torch.cat([here[skin], fitted.jaw_m[skin] @ rotation.T], dim=1)
    known = KDTree(torch.cat([samples.places_m, samples.jaw_m], dim=1).numpy())
    distance, index = known.query(wanted.numpy(), distance_upper_bound=reach_m)
    found = torch.from_numpy(np.isfinite(distance))
    index = torch.from_numpy(np.where(np.isfinite(distance), index, 0))
    found &= (normals * samples.normals[index]).sum(1) > _AGREEING
    return _Matched(skin[found], index[found])


def _of_the_face(matched: _Matched, target: HeadModel) -> _Matched:
    face = target.region("face")[matched.vertices]
    return _Matched(matched.vertices[face], matched.samples[face])


def _beyond_the_basis(samples: _Samples, fitted: _Refitted, matched: _Matched) -> Float[Tensor, "vertices 3"]:
    """Smooth displacements that carry matched vertices onto the tracked surface, where the lips part onto their very
    samples; none on the eyeballs."""
    normals = samples.normals[matched.samples]
    apart = samples.places_m[matched.samples] - fitted.places_m()[matched.vertices]
    across = normals * (apart * normals).sum(1, keepdim=True)
    wanted_m = torch.where(fitted.parting[matched.vertices, None] > 0, apart, across) @ fitted.pose[:3, :3]
    target, known = fitted.head, matched.vertices
    count = target.vertices
    a, b, c = target.triangles.numpy().T
    rows, columns = np.concatenate([a, b, c, b, c, a]), np.concatenate([b, c, a, a, b, c])
    adjacent = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), (count, count)).minimum(1)
    degree = np.maximum(np.asarray(adjacent.sum(1))[:, 0], 1)
    laplacian = sparse.identity(count) - sparse.diags(1 / degree) @ adjacent
    weight = np.full(count, 1e-4)
    weight[known.numpy()] = 1.0
    weight[target.region("eyeballs").numpy()] = 1e3
    right = np.zeros((count, 3))
    right[known.numpy()] = wanted_m.numpy()
    right[target.region("eyeballs").numpy()] = 0
    system = sparse.diags(weight) + _STIFFNESS * laplacian.T @ laplacian
    solved = splu(sparse.csc_matrix(system)).solve(weight[:, None] * right)
    return torch.from_numpy(solved.astype(np.float32))


def _frames(
    target: HeadModel, rest_m: Tensor, chosen: Tensor, goal: Float[Tensor, "frames points 3"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Expression, jaw and remaining distances of some frames, by Gauss-Newton."""
    frames, units = len(goal), target.expressions
    basis = target.expression_basis_m[:, chosen].permute(1, 2, 0)  # points 3 units
    share = target.skin_weights[chosen, _JAW][:, None]
    pivot = target.joints(rest_m[None])[0, _JAW]
    precision = min(_INDEPENDENT_POINTS / len(chosen), 1.0) / _NOISE_M**2
    prior = torch.cat([torch.ones(units), torch.full((3,), _JAW_PRIOR_RAD**-2)]) / precision
    expression, jaw = torch.zeros(frames, units), torch.eye(3).repeat(frames, 1, 1)
    residual = goal
    for step in range(_FRAME_STEPS + 1):
        arm = rest_m[chosen] + (basis @ expression[:, None, :, None])[..., 0] - pivot
        turned = arm @ jaw.transpose(1, 2)
        residual = goal - (pivot + arm + share * (turned - arm))
        if step == _FRAME_STEPS:
            break
        mixed = basis + share[..., None] * ((jaw - torch.eye(3))[:, None] @ basis)
        jacobian = torch.cat([mixed, -share[..., None] * _crossing(turned)], dim=-1).flatten(1, 2)
        current = torch.cat([expression, roma.rotmat_to_rotvec(jaw)], dim=1)
        descent = (jacobian.transpose(1, 2) @ residual.flatten(1)[..., None])[..., 0] - prior * current
        change = torch.linalg.solve(jacobian.transpose(1, 2) @ jacobian + torch.diag(prior), descent)
        expression = (expression + change[:, :units]).clamp(*target.data.expression_range)
        jaw = roma.rotvec_to_rotmat(change[:, units:]) @ jaw
    return expression, roma.rotmat_to_rotvec(jaw), residual.norm(dim=-1)


def _crossing(vectors: Tensor) -> Tensor:
    """Matrices [v]x of the cross product."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
