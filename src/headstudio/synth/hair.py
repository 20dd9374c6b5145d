"""Hair: a shell lifted off the scalp, and thousands of ribbons that lie on it. All of it is rigid with the skull."""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from torch import Tensor
from torch.nn.functional import normalize

from headstudio.heads.base import HeadModel
from headstudio.render.normals import vertex_normals
from headstudio.synth.fields import Anatomy, blend_between, diffuse
from headstudio.synth.noise import smooth_noise
from headstudio.synth.rigid import RigidMesh

POINTS = 7
"""Points along a ribbon."""

_THICKNESS_M = {"short": 0.009, "medium": 0.013}
_LENGTH_M = {"short": 0.032, "medium": 0.075}
_WIDTH_M = 0.0014


def grow(
    head: HeadModel, neutral_m: Float[Tensor, "vertices 3"], anatomy: Anatomy, style: str, strands: int, seed: int
) -> RigidMesh | None:
    """The hair of a neutral head, or None for a bald one.

    In `uv`, x is the shade of the strand and y runs from root (0) to tip (1).
    """
    if style == "bald":
        return None
    field = _scalp_field(head, neutral_m, anatomy, seed)
    shell = _shell(head, neutral_m, field, _THICKNESS_M[style], seed)
    ribbons = _ribbons(shell, head, neutral_m, field, anatomy, style, strands, seed)
    return RigidMesh.joined(_visible(shell, head, field), ribbons)


def _scalp_field(head: HeadModel, neutral_m: Tensor, anatomy: Anatomy, seed: int) -> Tensor:
    field = diffuse(head.region("scalp").float()[:, None], head.triangles, 3)[:, 0]
    # The noise moves the hairline and leaves the rest of the skin bare.
    return (field + 0.3 * field * (1.0 - field) * smooth_noise(neutral_m, 0.012, seed + 41)).clamp(0.0, 1.0)


def _shell(head: HeadModel, neutral_m: Tensor, field: Tensor, thickness_m: float, seed: int) -> RigidMesh:
    normals = diffuse(vertex_normals(neutral_m[None], head.triangles)[0], head.triangles, 4)
    normals = normalize(normals, dim=-1)
    volume = 1.0 + 0.12 * smooth_noise(neutral_m, 0.03, seed + 42)
    # Below the hairline the shell dives under the skin, so its border is where it meets the face, not a mesh edge.
    lift = thickness_m * volume * blend_between(field, 0.25, 1.0) - 0.003 * blend_between(field, 0.5, 0.15)
    points = neutral_m + normals * lift[:, None]
    uv = torch.stack([torch.full_like(field, 0.1), torch.full_like(field, 0.1)], dim=-1)
    return RigidMesh(points, head.triangles.int(), normals, uv)


def _visible(shell: RigidMesh, head: HeadModel, field: Tensor) -> RigidMesh:
    kept = head.triangles[field[head.triangles].amin(dim=-1) > 0.15]
    return RigidMesh(shell.points_m, kept.int(), shell.normals, shell.uv)


def _ribbons(
    shell: RigidMesh,
    head: HeadModel,
    neutral_m: Tensor,
    field: Tensor,
    anatomy: Anatomy,
    style: str,
    strands: int,
    seed: int,
) -> RigidMesh:
    generator = np.random.default_rng([seed, 4])
    roots, normals = _roots(shell, field, head.triangles, strands, generator)
    lengths = torch.from_numpy(generator.uniform(0.6, 1.15, strands)).float() * _LENGTH_M[style]
    lift = torch.from_numpy(generator.uniform(0.0, 0.004, strands)).float()
    paths, ups = _paths(roots, normals, lengths, lift, shell, field, anatomy, style, seed)
    shade = torch.from_numpy(generator.uniform(0.05, 0.95, strands)).float()
    return _as_ribbons(paths, ups, shade)


def _roots(
    shell: RigidMesh, field: Tensor, triangles: Tensor, strands: int, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    corners = shell.points_m[triangles]
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=-1)
    # Low in the neck hair is short, and ribbons would hang from nothing.
    grown = blend_between(field[triangles].mean(-1), 0.25, 0.5) * blend_between(corners[..., 1].mean(-1), -0.07, -0.03)
    density = (area * grown).double().numpy()
    chosen = torch.from_numpy(generator.choice(len(density), strands, p=density / density.sum()))
    weights = torch.from_numpy(generator.dirichlet((1.0, 1.0, 1.0), strands)).float()[..., None]
    roots = (corners[chosen] * weights).sum(1)
    return roots, normalize((shell.normals[triangles[chosen]] * weights).sum(1), dim=-1)


def _paths(
    roots: Tensor,
    normals: Tensor,
    lengths: Tensor,
    lift: Tensor,
    shell: RigidMesh,
    field: Tensor,
    anatomy: Anatomy,
    style: str,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Walk along the shell in the direction in which the hair is combed."""
    tree = KDTree(shell.points_m.numpy())
    crown = torch.tensor([0.012, anatomy.crown_y_m, float(shell.points_m[:, 2].amin()) * 0.45])
    here, up, held = roots - 0.001 * normals, normals, torch.ones(len(roots))
    points, ups = [here], [up]
    for step in range(1, POINTS):
        direction = _combed(here, up, crown, style, seed)
        # Past the hairline nothing holds a strand: it hangs.
        direction = torch.lerp(_hanging(here), direction, held[:, None])
        here = here + direction * (lengths / (POINTS - 1))[:, None]
        nearest = torch.from_numpy(tree.query(here.numpy())[1])
        held = torch.minimum(held, blend_between(field[nearest], 0.1, 0.4))
        up = normalize(0.5 * up + 0.5 * shell.normals[nearest], dim=-1)
        height = ((here - shell.points_m[nearest]) * up).sum(-1)
        wanted = 0.001 + lift * (step / (POINTS - 1))
        # Hair may stand away from the shell but never sinks into it.
        here = (
            here
            + up
            * torch.where(held > 0.5, (wanted - height).clamp(min=-0.004), (0.003 - height).clamp(min=0.0))[:, None]
        )
        points.append(here)
        ups.append(up)
    return torch.stack(points, dim=1), torch.stack(ups, dim=1)


def _combed(here: Tensor, up: Tensor, crown: Tensor, style: str, seed: int) -> Tensor:
    """Combed from a parting to the sides and to the back: never over the face."""
    away = normalize(here - crown, dim=-1)
    front = blend_between(here[:, 2], -0.06, 0.0)[:, None]
    side = torch.sign(here[:, :1] - crown[0]) * torch.tensor([1.0, 0.0, 0.0])
    fall = torch.tensor([0.0, -1.1 if style == "medium" else -0.5, 0.0])
    clump = torch.stack([smooth_noise(here, 0.014, seed + 43 + axis) for axis in range(3)], dim=-1)
    back = torch.tensor([0.0, 0.25, -0.9])
    wanted = (1.0 - front) * (away + fall) + front * (0.9 * side + back + 0.4 * fall) + 0.22 * clump
    return normalize(wanted - up * (wanted * up).sum(-1, keepdim=True), dim=-1)


def _hanging(here: Tensor) -> Tensor:
    """Down and a little towards the neck."""
    inwards = torch.tensor([0.0, 0.0, -0.06]) - here * torch.tensor([1.0, 0.0, 1.0])
    return normalize(torch.tensor([0.0, -1.0, 0.0]) + 0.25 * normalize(inwards, dim=-1), dim=-1)


def _as_ribbons(paths: Float[Tensor, "strands points 3"], ups: Tensor, shade: Tensor) -> RigidMesh:
    strands = len(paths)
    along = normalize(torch.gradient(paths, dim=1)[0], dim=-1)
    across = normalize(torch.linalg.cross(along, ups), dim=-1)
    progress = torch.linspace(0.0, 1.0, POINTS)
    half = 0.5 * _WIDTH_M * (1.0 - 0.75 * progress**2)
    edges = torch.stack([paths + across * half[:, None], paths - across * half[:, None]], dim=2)
    uv = torch.stack([shade[:, None].expand(strands, POINTS), progress.expand(strands, POINTS)], dim=-1)
    doubled_uv = uv[:, :, None].expand(-1, -1, 2, -1).reshape(-1, 2)
    # Leaning the normal to the ribbon's side gives neighbouring strands different light.
    tilt = (shade[:, None, None] - 0.5) * across * 1.1
    doubled_normals = normalize(ups + tilt, dim=-1)[:, :, None].expand(-1, -1, 2, -1).reshape(-1, 3)
    return RigidMesh(edges.reshape(-1, 3), _strip(strands), doubled_normals, doubled_uv)


def _strip(strands: int) -> Int[Tensor, "triangles 3"]:
    step = torch.arange(POINTS - 1) * 2
    quads = torch.cat([torch.stack([step, step + 1, step + 2], -1), torch.stack([step + 1, step + 3, step + 2], -1)])
    first = torch.arange(strands) * (2 * POINTS)
    return (first[:, None, None] + quads).reshape(-1, 3).int()
