"""What the web page reads: the head and its accessories as flat arrays, the performance as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headstudio.export.accessories import Surface
from headstudio.export.seams import split_seams
from headstudio.records.mesh import MeshAsset, MeshClip

_STILL_M = 5e-7  # displacements below half a micrometre are rounding
_DIGITS = 4
"""Decimals of weights; positions and quaternions have two more."""


def head_arrays(asset: MeshAsset, opaque: Bool[Tensor, " triangles"]) -> dict[str, Tensor]:
    """The mesh for a page that moves it on the CPU.

    Normals are those of the whole mesh before its seams are split, so all triangles go along; `opaque` ones and those
    of transparent parts are drawn.
    """
    hair = torch.zeros_like(opaque)
    for part in asset.parts:
        if part.transparent:
            hair |= part.triangles & ~opaque
    split = split_seams(asset, opaque | hair)
    position = torch.cumsum(opaque | hair, 0) - 1  # of each drawn triangle among the split ones
    start, vertex, displacement = _sparse_targets(asset.target_displacements_m)
    return {
        "vertices_m": asset.vertices_m.float(),
        "triangles": asset.triangles.int(),
        "corner_vertex": split.vertex.int(),
        "corner_uv": split.uv.float(),
        "opaque": split.triangles[position[opaque]].int(),
        "transparent": split.triangles[position[hair]].int(),
        "target_start": start,
        "target_vertex": vertex,
        "target_displacement_m": displacement,
        "shoulder_weight": asset.skin_weights[:, 0].float(),
        "joint_positions_m": asset.joint_positions_m.float(),
    }


def _sparse_targets(
    displacements_m: Float[Tensor, "targets vertices 3"],
) -> tuple[Int[Tensor, " bounds"], Int[Tensor, " moved"], Float[Tensor, "moved 3"]]:
    """Vertices that targets move, one target after another, with the bounds of each."""
    moved = displacements_m.abs().amax(2) > _STILL_M
    target, vertex = moved.nonzero(as_tuple=True)
    counts = moved.sum(1)
    start = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return start.int(), vertex.int(), displacements_m[target, vertex].float()


def accessory_arrays(worn: Mapping[str, Sequence[Surface]]) -> dict[str, np.ndarray]:
    """The meshes of accessories, each array named `accessory/surface/array`; colours are sRGB in 8 bits a vertex."""
    arrays = {}
    for accessory, surfaces in worn.items():
        for surface in surfaces:
            place = f"{accessory}/{surface.name}"
            arrays[f"{place}/vertices_m"] = surface.vertices_m.astype(np.float32)
            arrays[f"{place}/triangles"] = surface.triangles.astype(np.int32)
            shade = np.ones(len(surface.vertices_m)) if surface.shade is None else surface.shade
            colours = shade[:, None] * np.array(surface.colour)
            arrays[f"{place}/colours"] = np.clip(np.round(255 * colours), 0, 255).astype(np.uint8)
    return arrays


def performance(asset: MeshAsset, clip: MeshClip) -> dict[str, Any]:
    """A clip as plain data: weights of the targets, poses of skull and shoulders against rest as position and
    quaternion (x, y, z, w), frame by frame."""
    root, skull = clip.T_parent_joint[:, 0].double(), min(1, len(asset.joint_names) - 1)
    head = root @ clip.T_parent_joint[:, 1].double() if skull else root
    return {
        "name": clip.name,
        "times_s": _rounded(clip.times_s, _DIGITS + 2),
        "weights": _rounded(clip.target_weights, _DIGITS),
        "skull": _placed(head, asset.joint_positions_m[skull]),
        "shoulders": _placed(root, asset.joint_positions_m[0]),
    }


def _placed(T_scene_joint: Float[Tensor, "frames 4 4"], rest_m: Float[Tensor, "3"]) -> list[list[float]]:
    rotation = T_scene_joint[:, :3, :3]
    place = T_scene_joint[:, :3, 3] - rotation @ rest_m.double()
    return _rounded(torch.cat([place, roma.rotmat_to_unitquat(rotation)], dim=1), _DIGITS + 2)


def _rounded(values: Tensor, digits: int) -> list[Any]:
    return torch.round(values.double(), decimals=digits).tolist()
