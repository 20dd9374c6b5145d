"""What the head still lacks after its identity: a displacement of every vertex, smooth over the skin."""

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from jaxtyping import Bool, Float
from scipy.spatial import KDTree
from torch import Tensor

from headstudio.heads.base import HeadModel
from headstudio.render.closest import SurfaceIndex
from headstudio.render.normals import vertex_normals
from headstudio.scan.fitting import Fit, Target, fitted_skin
from headstudio.scan.registration_config import RegistrationConfig

_AT_REST = 1e-4
"""Pull to no displacement, which decides where nothing else does."""
_NEAR_EYE_M = 0.006
_CONE = 0.96
"""Cosine of the angle within which an eyeball's vertices tell its surface."""


def skin_offsets(
    head: HeadModel, posed_m: Float[Tensor, "vertices 3"], fit: Fit, target: Target, config: RegistrationConfig
) -> Float[Tensor, "vertices 3"]:
    """Displacements that lay the posed head's skin on the scan.

    Each round looks up the nearest places of the scan and minimises the squared distances from them plus the squared
    Laplacian of the displacement. Parts with a form of their own follow the skin around them as they are.
    """
    surface = SurfaceIndex(fit.to_head(target.vertices_m), target.triangles)
    scan_normals = vertex_normals(fit.to_head(target.vertices_m)[None], target.triangles)[0]
    skin = fitted_skin(head)
    smooth = _squared_laplacian(head)
    offsets = torch.zeros_like(posed_m)
    reach = config.cut * config.stages[-1].noise_m
    for turn in range(config.offset_rounds):
        moved = posed_m + offsets
        found = surface.nearest(moved)
        corners = target.triangles[found.triangle].long()
        normals = (scan_normals[corners] * found.barycentric[..., None]).sum(1)
        alike = (vertex_normals(moved[None], head.triangles)[0] * normals).sum(1) > config.normals
        miss = (found.positions - moved).norm(dim=1) / reach
        weight = (1 - miss.square()).clamp_min(0).square() * alike * skin
        weight = weight * (target.weight[corners] * found.barycentric).sum(1)
        stiffness = config.stiffness * 4.0 ** (config.offset_rounds - 1 - turn)
        offsets = _solved(smooth, weight, found.positions - posed_m, stiffness)
        offsets = _followed(head, offsets, skin)
    return offsets


def _squared_laplacian(head: HeadModel) -> scipy.sparse.csr_matrix:
    triangles = head.triangles.numpy()
    ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    ends = np.concatenate([ends, ends[:, ::-1]])
    ones = np.ones(len(ends))
    adjacent = scipy.sparse.coo_matrix((ones, ends.T), shape=(head.vertices,) * 2).tocsr()
    adjacent.data[:] = 1.0
    degree = np.maximum(np.asarray(adjacent.sum(1))[:, 0], 1.0)
    laplacian = scipy.sparse.identity(head.vertices) - scipy.sparse.diags(1 / degree) @ adjacent
    return (laplacian.T @ laplacian).tocsr()


def _solved(smooth: scipy.sparse.csr_matrix, weight: Tensor, wanted: Tensor, stiffness: float) -> Tensor:
    diagonal = weight.double().numpy()
    matrix = stiffness * smooth + scipy.sparse.diags(diagonal + _AT_REST)
    right = torch.where(weight[:, None] > 0, wanted, 0.0).double().numpy() * diagonal[:, None]
    return torch.from_numpy(scipy.sparse.linalg.splu(matrix.tocsc()).solve(right)).float()


def _followed(head: HeadModel, offsets: Tensor, skin: Tensor) -> Tensor:
    offsets = offsets.clone()
    for ball, around in eyes(head):
        offsets[ball] = offsets[around].mean(0)
    lips = head.region("lips") & skin
    for name in ("teeth", "tongue"):
        part = head.region(name)
        if bool(part.any()) and bool(lips.any()):
            offsets[part] = offsets[lips].mean(0)
    lashes, lids = head.region("eyelashes"), head.region("eyelids") & skin
    if bool(lashes.any()) and bool(lids.any()):
        _, nearest = KDTree(head.template_m[lids].numpy()).query(head.template_m[lashes].numpy())
        offsets[lashes] = offsets[lids][torch.from_numpy(nearest)]
    return offsets


def eyes(head: HeadModel) -> list[tuple[Bool[Tensor, " vertices"], Bool[Tensor, " vertices"]]]:
    """The vertices of each eyeball, the person's left first, and those of the skin around it."""
    places, balls = head.template_m, head.region("eyeballs")
    lids = head.region("eyelids") & ~head.region("eyelashes", "eyeballs")
    pairs = []
    for side in (places[:, 0] > 0, places[:, 0] <= 0):
        ball = balls & side
        if not bool(ball.any()):
            continue
        centre = places[ball].mean(0)
        distance = (places - centre).norm(dim=1)
        around = lids & side & (distance < distance[ball].max() + _NEAR_EYE_M)
        if bool(around.any()):
            pairs.append((ball, around))
    return pairs


def lids_outside(head: HeadModel, neutral_m: Float[Tensor, "vertices 3"], gap_m: float) -> Float[Tensor, "vertices 3"]:
    """Displacement that takes the lids' skin out of the eyeballs; nothing where it lies outside.

    Args:
        gap_m: least distance; a vertex that is nearer, or inside, in the mean head itself stays as it is there.
    """
    push = torch.zeros_like(neutral_m)
    for ball, around in eyes(head):
        usual = _clearance(head.template_m, ball, around)
        clearance = _clearance(neutral_m, ball, around)
        lacking = (usual.clamp_max(gap_m) - clearance).clamp_min(0)
        outward = torch.nn.functional.normalize(neutral_m[around] - neutral_m[ball].mean(0), dim=1)
        push[around] += lacking[:, None] * outward
    return push


def _clearance(vertices_m: Tensor, ball: Tensor, around: Tensor) -> Tensor:
    """How far vertices lie outside the eyeball, along rays from its middle."""
    middle = vertices_m[ball].mean(0)
    eye, lids = vertices_m[ball] - middle, vertices_m[around] - middle
    alike = torch.nn.functional.normalize(lids, dim=1) @ torch.nn.functional.normalize(eye, dim=1).T
    radius = torch.where(alike > _CONE, eye.norm(dim=1), 0.0).amax(1)
    return lids.norm(dim=1) - radius
