"""Four-way subdivision: every triangle becomes four, and what its points carried goes along by linear interpolation."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headstudio.errors import HeadstudioError


@dataclass(frozen=True)
class Subdivided:
    """A mesh (or its atlas: the same triangles over other points) after one step."""

    triangles: Int[Tensor, "triangles 3"]
    """In the order of the triangles they come from; of a divided one first its three corners, then its middle."""
    parents: Int[Tensor, "points 2"]
    """The two old points that each point lies midway between; twice the same for old ones, which keep their numbers."""
    origin: Int[Tensor, " triangles"]
    """The old triangle that each one comes from."""
    first_child: Int[Tensor, " before"]
    """The first new triangle of each old one."""
    divided: Bool[Tensor, " before"]
    """Which old triangles became four."""

    def carry(self, attributes: Float[Tensor, "points *channels"]) -> Float[Tensor, "after *channels"]:
        """Attributes of the old points at all points."""
        first, second = (attributes.index_select(0, self.parents[:, end]) for end in (0, 1))
        return (first + second) / 2

    def matrix(self) -> Float[Tensor, "after before"]:
        """What `carry` does, as a sparse matrix whose rows sum to 1."""
        rows = torch.arange(len(self.parents), device=self.parents.device).repeat_interleave(2)
        before = int(self.parents.max()) + 1
        values = torch.full((len(rows),), 0.5, device=rows.device)
        places = torch.stack([rows, self.parents.reshape(-1)])
        return torch.sparse_coo_tensor(places, values, (len(self.parents), before), check_invariants=False).coalesce()

    def locate(
        self, triangle: Int[Tensor, " places"], barycentric: Float[Tensor, "places 3"]
    ) -> tuple[Int[Tensor, " places"], Float[Tensor, "places 3"]]:
        """The new triangle and the coordinates in it of places on the old mesh."""
        largest, corner = barycentric.max(1)
        in_corner = largest > 0.5
        # A corner's child has that corner at its own place, and the middle's first point lies opposite corner 2.
        cornered = 2 * barycentric - torch.nn.functional.one_hot(corner, 3)
        middle = (1 - 2 * barycentric)[:, [2, 0, 1]]
        inside = torch.where(in_corner[:, None], cornered, middle)
        child = self.first_child[triangle] + torch.where(in_corner, corner, 3)
        divided = self.divided[triangle]
        return (
            torch.where(divided, child, self.first_child[triangle]),
            torch.where(divided[:, None], inside, barycentric),
        )


def subdivide(
    triangles: Int[Tensor, "triangles 3"],
    points: int,
    divided: Bool[Tensor, " triangles"] | None = None,
    atlas: bool = False,
) -> Subdivided:
    """Cut triangles at the middles of their edges; an edge that two of them share gets one new point.

    Args:
        triangles: point indices; give an atlas's own triangles to cut it alike, seams and all.
        points: number of points, used or not.
        divided: which triangles become four; None all.
        atlas: the points are places in a texture, where different parts may lie on each other and nothing can tear.

    Raises:
        HeadstudioError: where a divided triangle has an edge in common with one that is not: the mesh would tear.
    """
    triangles = triangles.long()
    divided = torch.ones(len(triangles), dtype=torch.bool, device=triangles.device) if divided is None else divided
    sides = _sides(triangles)
    keys = sides[..., 0] * points + sides[..., 1]
    if not atlas and bool(torch.isin(keys[divided], keys[~divided]).any()):
        raise HeadstudioError(
            "a subdivided triangle shares an edge with one that stays whole, so the mesh would tear",
            next_step="choose whole parts of the mesh",
        )
    cut, middle = torch.unique(keys[divided], return_inverse=True)
    old = torch.arange(points, device=triangles.device)
    parents = torch.cat([old[:, None].expand(-1, 2), torch.stack([cut // points, cut % points], 1)])
    children = torch.where(divided, 4, 1)
    first_child = children.cumsum(0) - children
    origin = torch.repeat_interleave(torch.arange(len(triangles), device=triangles.device), children)
    result = triangles.new_empty(len(origin), 3)
    result[first_child[~divided]] = triangles[~divided]
    place = first_child[divided][:, None] + torch.arange(4, device=triangles.device)
    result[place] = _children(triangles[divided], middle + points)
    return Subdivided(result, parents, origin, first_child, divided)


def _sides(triangles: Tensor) -> Int[Tensor, "triangles 3 2"]:
    """The ends of the sides 01, 12 and 20, the lower index first."""
    ends = torch.stack([triangles, triangles.roll(-1, 1)], -1)
    return torch.stack([ends.amin(-1), ends.amax(-1)], -1)


def _children(corners: Tensor, middle: Tensor) -> Int[Tensor, "divided 4 3"]:
    a, b, c = corners.unbind(1)
    ab, bc, ca = middle.unbind(1)
    # Corner i stays at position i, so that orientation and barycentric coordinates follow their parent's.
    parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return torch.stack([torch.stack(part, 1) for part in parts], 1)
