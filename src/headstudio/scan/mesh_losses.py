"""What neural deferred shading minimises, as named terms (Worchel et al. 2022, section 3.3).

Silhouette, Laplacian and normal consistency reach the vertices only; shading reaches vertices and shader.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from headstudio.geometry.topology import ClosedMesh, face_normals, uniform_laplacian


def silhouette(
    coverage: Float[Tensor, "height width"],
    mask: Float[Tensor, "height width"],
    valid: Bool[Tensor, "height width"],
) -> Float[Tensor, ""]:
    """Mean squared difference over the valid pixels."""
    return ((coverage - mask).square() * valid).sum() / valid.sum().clamp_min(1)


def shading(colours: Float[Tensor, "pixels 3"], seen: Float[Tensor, "pixels 3"]) -> Float[Tensor, ""]:
    """Mean absolute difference; 0 where no pixel is inside both masks."""
    return (colours - seen).abs().sum() / max(colours.numel(), 1)


def laplacian(vertices: Float[Tensor, "vertices 3"], mesh: ClosedMesh) -> Float[Tensor, ""]:
    """Mean squared distance from a vertex to the mean of its neighbours."""
    return uniform_laplacian(vertices, mesh).square().sum(1).mean()


def normal_consistency(vertices: Float[Tensor, "vertices 3"], mesh: ClosedMesh) -> Float[Tensor, ""]:
    """Mean squared (1 - cos) of the angle between the normals on either side of an edge."""
    # The areas of fine meshes are about 1e-5, hence the small divisor.
    normals = normalize(face_normals(vertices, mesh.triangles), dim=1, eps=1e-20)
    ahead, back = (normals.index_select(0, mesh.sides[:, side]) for side in (0, 1))
    return (1 - (ahead * back).sum(1)).square().mean()


def shaded_pixels(
    shown: Bool[Tensor, "height width"], share: float, most: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Rows and columns of a random share of the pixels, in no order."""
    rows, columns = torch.nonzero(shown, as_tuple=True)
    count = min(round(share * len(rows)), most)
    chosen = torch.randperm(len(rows), generator=generator)[:count].to(rows.device)
    return rows[chosen], columns[chosen]
