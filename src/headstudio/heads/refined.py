"""A parametric head with a finer mesh: every table carried to four times the triangles, alien parts left out."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headstudio.geometry.subdivision import Subdivided, subdivide
from headstudio.heads.base import HeadData, HeadModel, LandmarkEmbedding

WHOLE = ("eyeballs", "teeth", "tongue")
"""Rigid or hidden parts of their own, of which a finer mesh would show nothing more."""
NECK_BELOW_FACE_M = 0.02
"""The neck ends so far below the lowest point of the face: what follows belongs to shoulders and cloth."""


def refined_head(head: HeadModel, steps: int = 1) -> HeadModel:
    """The same head with its skin four-way subdivided, without lower neck and eyelash cards.

    Vertices of the coarse head keep their numbers and stay, used by a triangle or not, because joints are regressed
    from them; those between them follow. Only the last row of the neck moves, up to the height of the cut, so that its
    hem is straight. Identity, expression, skinning, regions and landmarks mean what they meant.

    Args:
        head: the coarse head.
        steps: how often; 0 only leaves parts out.
    """
    data = _hemmed(_without(head.data, _left_out(head.data)))
    for _ in range(steps):
        data = _subdivided(data)
    return HeadModel(data)


def refined_values(
    coarse: HeadModel, values: Float[Tensor, "vertices channels"], steps: int
) -> Float[Tensor, "after channels"]:
    """Values of the coarse head's vertices, such as offsets, at all vertices of `refined_head(coarse, steps)`."""
    data = _without(coarse.data, _left_out(coarse.data))
    for _ in range(steps):
        cut = subdivide(data.triangles, len(data.template_m), _skin(data))
        values, data = cut.carry(values), _subdivided(data)
    return values


def _cut_height_m(data: HeadData) -> Float[Tensor, ""]:
    return data.template_m[data.regions["face"], 1].min() - NECK_BELOW_FACE_M


def _left_out(data: HeadData) -> Bool[Tensor, " triangles"]:
    low = data.regions["neck"] & (data.template_m[:, 1] < _cut_height_m(data))
    lashes = data.regions["eyelashes"] & ~data.regions["eyelids"]
    return low[data.triangles].all(1) | lashes[data.triangles].any(1)


def _hemmed(data: HeadData) -> HeadData:
    template_m, height_m = data.template_m.clone(), _cut_height_m(data)
    used = torch.zeros(len(template_m), dtype=torch.bool)
    used[data.triangles.reshape(-1)] = True
    hem = used & data.regions["neck"] & (template_m[:, 1] < height_m)
    template_m[hem, 1] = height_m
    return replace(data, template_m=template_m)


def _without(data: HeadData, left_out: Bool[Tensor, " triangles"]) -> HeadData:
    kept = ~left_out
    number = kept.cumsum(0) - 1
    there = kept[data.landmarks.triangle]
    landmarks = replace(
        data.landmarks,
        triangle=torch.where(there, number[data.landmarks.triangle], 0),
        weight=data.landmarks.weight * there,
    )
    return replace(data, triangles=data.triangles[kept], uv_triangles=data.uv_triangles[kept], landmarks=landmarks)


def _skin(data: HeadData) -> Bool[Tensor, " triangles"]:
    """Triangles to divide."""
    return ~torch.stack([data.regions[name] for name in WHOLE]).any(0)[data.triangles].all(1)


def _subdivided(data: HeadData) -> HeadData:
    divided = _skin(data)
    mesh = subdivide(data.triangles, len(data.template_m), divided)
    atlas = subdivide(data.uv_triangles, len(data.uv), divided, atlas=True)
    added = len(mesh.parents) - len(data.template_m)
    return replace(
        data,
        template_m=mesh.carry(data.template_m),
        triangles=mesh.triangles,
        uv=atlas.carry(data.uv),
        uv_triangles=atlas.triangles,
        identity_basis_m=_carried(mesh, data.identity_basis_m),
        expression_basis_m=_carried(mesh, data.expression_basis_m),
        joint_weights=torch.nn.functional.pad(data.joint_weights, (0, added)),
        skin_weights=mesh.carry(data.skin_weights),
        # A new vertex belongs to a region where both ends of its edge do.
        regions={name: mask[mesh.parents].all(1) for name, mask in data.regions.items()},
        landmarks=_relocated(mesh, data.landmarks),
    )


def _carried(mesh: Subdivided, basis: Float[Tensor, "columns vertices 3"]) -> Float[Tensor, "columns after 3"]:
    return mesh.carry(basis.transpose(0, 1)).transpose(0, 1).contiguous()


def _relocated(mesh: Subdivided, landmarks: LandmarkEmbedding) -> LandmarkEmbedding:
    triangle, barycentric = mesh.locate(landmarks.triangle, landmarks.barycentric)
    return LandmarkEmbedding(triangle, barycentric, landmarks.weight)
