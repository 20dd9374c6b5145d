"""The surface where a field on a grid passes zero, by marching tetrahedra.

Every cube of the grid is cut into the six tetrahedra round its diagonal (Kuhn's division), alike in all cubes, so that
neighbours share their faces and the surface is closed and manifold whatever the values.
"""

import itertools

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import max_pool3d

from headstudio.errors import HeadstudioError


def marching_tetrahedra(
    field: Float[Tensor, "columns rows layers"],
) -> tuple[Float[Tensor, "vertices 3"], Int[Tensor, "triangles 3"]]:
    """The closed surface round all grid points with a positive value.

    Args:
        field: positive inside; its border must not be, or the surface would be open.

    Returns:
        Vertices in units of the grid (point [i, j, k] at (i, j, k)) and triangles, counter-clockwise from outside;
        none where nothing is positive.

    Raises:
        HeadstudioError: where the border of the field is positive or a value is not finite.
    """
    if not bool(field.isfinite().all()):
        raise HeadstudioError("the field has values that are not finite", next_step="replace them")
    inside = field > 0
    border = torch.ones_like(inside)
    border[1:-1, 1:-1, 1:-1] = False
    if bool((inside & border).any()):
        raise HeadstudioError("the field is positive at its border", next_step="pad it with negative values")
    tetrahedra = _crossed_tetrahedra(inside)
    triangles = _triangles(tetrahedra, inside.reshape(-1)[tetrahedra])
    return _place(field, triangles)


def _crossed_tetrahedra(inside: Tensor) -> Tensor:
    """Corners of the tetrahedra that the surface passes through, flat grid indices, positively oriented."""
    strides = (inside.shape[1] * inside.shape[2], inside.shape[2], 1)
    values = inside[None].float()
    place = torch.nonzero((max_pool3d(values, 2, 1) + max_pool3d(-values, 2, 1))[0])
    origin = place @ torch.tensor(strides, device=place.device)
    found = []
    for order in itertools.permutations(range(3)):
        steps = torch.tensor([0, *(strides[axis] for axis in order)], device=origin.device).cumsum(0)
        # An odd order of the axes mirrors the tetrahedron.
        if order not in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            steps = steps[[0, 2, 1, 3]]
        found.append(origin[:, None] + steps)
    corners = torch.cat(found)
    count = inside.reshape(-1)[corners].sum(1)
    return corners[(count > 0) & (count < 4)]


_CASES = {
    # Corners inside -> triangles, each of three edges (corner inside, corner outside), counter-clockwise from outside
    # in a tetrahedron whose corners 1, 2, 3 are counter-clockwise seen from the side away from corner 0.
    (0,): (((0, 1), (0, 2), (0, 3)),),
    (1,): (((1, 0), (1, 3), (1, 2)),),
    (2,): (((2, 0), (2, 1), (2, 3)),),
    (3,): (((3, 0), (3, 2), (3, 1)),),
    (1, 2, 3): (((1, 0), (3, 0), (2, 0)),),
    (0, 2, 3): (((0, 1), (2, 1), (3, 1)),),
    (0, 1, 3): (((0, 2), (3, 2), (1, 2)),),
    (0, 1, 2): (((0, 3), (1, 3), (2, 3)),),
    (0, 1): (((0, 2), (0, 3), (1, 3)), ((0, 2), (1, 3), (1, 2))),
    (0, 2): (((0, 1), (2, 1), (2, 3)), ((0, 1), (2, 3), (0, 3))),
    (0, 3): (((0, 1), (0, 2), (3, 2)), ((0, 1), (3, 2), (3, 1))),
    (1, 2): (((1, 0), (1, 3), (2, 3)), ((1, 0), (2, 3), (2, 0))),
    (1, 3): (((1, 0), (3, 0), (3, 2)), ((1, 0), (3, 2), (1, 2))),
    (2, 3): (((2, 0), (2, 1), (3, 1)), ((2, 0), (3, 1), (3, 0))),
}


def _triangles(tetrahedra: Tensor, inside: Tensor) -> Tensor:
    """Triangles as three edges of two grid points each, (triangles, 3, 2)."""
    code = (inside.long() * torch.tensor([1, 2, 4, 8], device=inside.device)).sum(1)
    found = [tetrahedra.new_empty(0, 3, 2)]
    for corners, triangles in _CASES.items():
        chosen = tetrahedra[code == sum(1 << corner for corner in corners)]
        found += [chosen[:, torch.tensor(edges, device=chosen.device)] for edges in triangles]
    return torch.cat(found)


def _place(field: Tensor, triangles: Tensor) -> tuple[Tensor, Tensor]:
    size = field.numel()
    low, high = triangles.amin(2), triangles.amax(2)
    keys, index = torch.unique(low * size + high, return_inverse=True)
    ends = torch.stack([keys // size, keys % size], 1)
    values = field.reshape(-1)[ends]
    # A value of exactly zero, or one far from the other, would put many vertices into one place.
    share = (values[:, 0] / (values[:, 0] - values[:, 1])).clamp(0.02, 0.98)[:, None]
    rows, layers = field.shape[1:]
    points = torch.stack([ends // (rows * layers), ends // layers % rows, ends % layers], -1).to(field.dtype)
    return points[:, 0] + share * (points[:, 1] - points[:, 0]), index.reshape(-1, 3)
