"""What glTF wants and a parametric head does not have: one texture coordinate a vertex."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headstudio.records.mesh import MeshAsset


class SplitMesh(NamedTuple):
    """A mesh whose vertices are pairs of a vertex and a texture coordinate."""

    vertex: Int[Tensor, " corners"]
    """The asset's vertex behind each split vertex."""
    uv: Float[Tensor, "corners 2"]
    triangles: Int[Tensor, "triangles 3"]
    """Rows of the two tables above, for all triangles kept, in the asset's order."""


def split_seams(asset: MeshAsset, kept: Bool[Tensor, " triangles"]) -> SplitMesh:
    """Duplicate the vertices on texture seams of the kept triangles; vertices that none of them uses disappear."""
    pairs = asset.triangles[kept].long() * len(asset.uv) + asset.uv_triangles[kept].long()
    unique, index = torch.unique(pairs, return_inverse=True)
    return SplitMesh(unique // len(asset.uv), asset.uv[unique % len(asset.uv)], index)
