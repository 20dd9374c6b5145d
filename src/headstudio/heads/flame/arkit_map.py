"""What FLAME's expressions mean in ARKit's terms, through the landmarks that both heads' surfaces share.

FLAME has no ARKit shapes. MakeHuman has, and both know where the same 478 landmarks lie: the expression that moves
FLAME's landmarks most like an ARKit unit moves MakeHuman's is that unit's counterpart. It is only a likeness; eyes and
jaw, which FLAME rotates, are exact.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from headstudio.heads.arkit import ARKIT_NAMES, JAW_OPEN
from headstudio.heads.base import LandmarkEmbedding

_DAMPING = 0.02
"""Ridge weight relative to the mean square of the landmarks' motion: keeps coefficients within their prior."""


def arkit_maps(
    template_m: Float[Tensor, "vertices 3"],
    triangles: Int[Tensor, "triangles 3"],
    basis_m: Float[Tensor, "expressions vertices 3"],
    embedding: LandmarkEmbedding,
) -> tuple[Float[Tensor, "52 expressions"], Float[Tensor, "expressions 52"]]:
    """Linear maps from expressions to ARKit and back; zero where the head has no landmarks to compare by.

    jawOpen and eyeLook have no part in them: they are rotations.
    """
    count = len(basis_m)
    if not bool((embedding.weight > 0).any()):
        return torch.zeros(len(ARKIT_NAMES), count), torch.zeros(count, len(ARKIT_NAMES))
    from headstudio.heads.makehuman import load

    model = load()
    units = _landmark_motion(model.expression_basis_m, model.triangles, model.data.landmarks)
    shapes = _landmark_motion(basis_m, triangles, embedding)
    weight = (embedding.weight * model.landmark_weight).sqrt().repeat_interleave(3)
    size = _size(template_m, triangles, embedding) / _size(model.template_m, model.triangles, model.data.landmarks)
    units, shapes = units * weight * size, shapes * weight
    rotated = torch.tensor([name.startswith("eyeLook") or index == JAW_OPEN for index, name in enumerate(ARKIT_NAMES)])
    units[rotated] = 0
    return _regression(shapes, units).T, _regression(units, shapes).T


def _landmark_motion(basis_m: Tensor, triangles: Tensor, embedding: LandmarkEmbedding) -> Tensor:
    """(shapes, 3 landmarks) by how much each shape moves the landmarks."""
    corners = basis_m[:, triangles[embedding.triangle]]
    return (corners * embedding.barycentric[..., None]).sum(2).flatten(1)


def _size(template_m: Tensor, triangles: Tensor, embedding: LandmarkEmbedding) -> Tensor:
    corners = template_m[triangles[embedding.triangle]]
    points = (corners * embedding.barycentric[..., None]).sum(1)[embedding.weight > 0.5]
    return (points - points.mean(0)).norm(dim=1).mean()


def _regression(given: Tensor, wanted: Tensor) -> Tensor:
    """(given, wanted) coefficients of the wanted shapes that make up each given one, by ridge regression."""
    gram = wanted @ wanted.T
    damping = _DAMPING * gram.diagonal().mean() * torch.eye(len(gram))
    return torch.linalg.solve(gram + damping, wanted @ given.T).T
