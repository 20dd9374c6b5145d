"""The smooth part of a texture, carried by the mesh's vertices, which know no seams."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu
from torch import Tensor

from headstudio.render.mesh import MeshTopology
from headstudio.texture.texels import TexelMap

USUAL_COLOURS = {
    "eyeballs": (0.86, 0.83, 0.8),
    "eyelashes": (0.1, 0.08, 0.07),
    "teeth": (0.82, 0.77, 0.68),
    "tongue": (0.62, 0.33, 0.31),
    "mouth_cavity": (0.35, 0.16, 0.15),
}
"""sRGB of parts of which no picture shows anything."""

_WELL_KNOWN = 0.9


def smooth_colours(
    texture: Float[Tensor, "3 size size"],
    trust: Float[Tensor, "1 size size"],
    rest_m: Float[Tensor, "vertices 3"],
    mesh: MeshTopology,
    texels: TexelMap,
    regions: Mapping[str, Bool[Tensor, " vertices"]],
) -> Float[Tensor, "vertices 3"]:
    """Mean colour about each vertex, harmonic on the surface where the texture is not trusted.

    Hair ends where the scalp does, so that an unseen nape is skin and the back of the head is hair.

    A separate part of the mesh (a tooth) of which nothing is known has the usual colour of its region, or else the
    mean of all that is known.
    """
    colours, known = _about_vertices(texture, trust, texels, len(rest_m))
    colours[~known] = _defaults(colours, known, regions)[~known]
    laplacian, part = _graph(rest_m, mesh, _haired(colours, known, regions))
    told = np.zeros(part.max() + 1, dtype=bool)
    told[part[known.numpy()]] = True
    free = ~known.numpy() & told[part]
    if free.any():
        right = -laplacian[free][:, ~free] @ colours.numpy()[~free]
        solved = splu(laplacian[free][:, free].tocsc()).solve(right)
        colours[torch.from_numpy(free)] = torch.from_numpy(solved).to(colours)
    return colours.to(texture)


def _about_vertices(texture: Tensor, trust: Tensor, texels: TexelMap, count: int) -> tuple[Tensor, Tensor]:
    on = texels.mask
    corners = texels.triangles.long()[texels.fragments.triangle[0][on].long()].cpu()
    share = texels.fragments.barycentric[0][on].cpu()
    believed, colour = trust[0][on].cpu(), texture[:, on].T.cpu()
    sums = torch.zeros(count, 5, dtype=torch.float64)
    for corner in range(3):
        weight = share[:, corner, None].double()
        told = torch.cat([colour * believed[:, None], believed[:, None], torch.ones_like(believed)[:, None]], dim=1)
        sums.index_add_(0, corners[:, corner], weight * told)
    known = sums[:, 3] > _WELL_KNOWN * sums[:, 4].clamp_min(1e-3)
    return sums[:, :3] / sums[:, 3:4].clamp_min(1e-9), known


def _defaults(colours: Tensor, known: Tensor, regions: Mapping[str, Tensor]) -> Tensor:
    usual = colours[known].mean(0) if known.any() else torch.full((3,), 0.5, dtype=colours.dtype)
    found = usual.expand(len(colours), 3).clone()
    for name, colour in USUAL_COLOURS.items():
        if name in regions:
            found[regions[name].cpu()] = torch.tensor(colour, dtype=colours.dtype)
    return found


def _haired(colours: Tensor, known: Tensor, regions: Mapping[str, Tensor]) -> Bool[Tensor, " vertices"] | None:
    """The scalp without what of it was seen to be skin: a high forehead, or all that is left of a bald head's scalp
    when nothing of it differs from the face."""
    if "scalp" not in regions or "face" not in regions:
        return regions.get("scalp")
    scalp, face = regions["scalp"].cpu(), regions["face"].cpu()
    if not bool((face & known).any()) or not bool((scalp & known).any()):
        return scalp
    skin = colours[face & known].median(0).values
    apart = (colours - skin).norm(dim=1)
    hair = apart[scalp & known].quantile(_HAIR_SHARE)
    return scalp if hair < _BALD else scalp & ~(known & (apart < hair / 2))


_HAIR_SHARE, _BALD = 0.9, 0.2
"""The quantile of the seen scalp's distances (sRGB) from the colour of the face that stands for hair, and the distance
below which it is skin."""

_ACROSS_HAIRLINE = 1e-4
"""Weight of an edge across the border of the scalp against others: what nothing else tells still comes from there."""


def _graph(rest_m: Tensor, mesh: MeshTopology, scalp: Tensor | None) -> tuple[csr_matrix, np.ndarray]:
    """Graph Laplacian with edges weighing inversely with their length, and the part that each vertex belongs to."""
    corners, points = mesh.triangles.cpu().numpy().astype(np.int64), rest_m.detach().cpu().numpy().astype(np.float64)
    edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    weight = 1.0 / np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1).clip(1e-6)
    if scalp is not None:
        inside = scalp.cpu().numpy()[edges]
        weight = np.where(inside[:, 0] == inside[:, 1], weight, _ACROSS_HAIRLINE * weight)
    shape = (len(points), len(points))
    joined = coo_matrix((weight, (edges[:, 0], edges[:, 1])), shape=shape).tocsr()
    joined = joined + joined.T
    part = connected_components(joined, directed=False)[1]
    return (diags(np.asarray(joined.sum(1))[:, 0]) - joined).tocsr(), part
