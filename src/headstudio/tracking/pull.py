"""Costs that pictures put on where points project: by skin patterns, by outlines."""

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from headstudio.tracking.points import FrameState, PointModel
from headstudio.tracking.solver import Quadratic, Term, see


class Pull(NamedTuple):
    """Second and negative first derivative of the cost by each point's pixel, and the cost of each frame."""

    metric: Float[Tensor, "frames points 2 2"]
    force: Float[Tensor, "frames points 2"]
    cost: Float[Tensor, " frames"]


@runtime_checkable
class Puller(Protocol):
    """What pictures of a chunk of frames say of points."""

    def pull(self, pixels: Float[Tensor, "chosen points 2"], frames: Int[Tensor, " chosen"]) -> Pull:
        """The cost of points at these pixels of the stored frames.

        Args:
            frames: indices in the chunk.
        """
        ...


def pull_term(points: PointModel, puller: Puller, K_px: Float[Tensor, "frames 3 3"]) -> Term:
    """The cost of a chunk of frames.

    Args:
        points: of this person.
        K_px: of the stored frames.
    """

    def term(now: FrameState, chosen: Tensor, derivatives: bool) -> Quadratic:
        seen = see(points, now, K_px[chosen], derivatives)
        metric, force, cost = puller.pull(seen.pixels, chosen)
        if seen.jacobian is None:
            return Quadratic(cost.new_zeros(()), cost.new_zeros(()), cost)
        rows, weighted = seen.jacobian.flatten(1, 2), (metric @ seen.jacobian).flatten(1, 2)
        descent = rows.transpose(1, 2) @ force.flatten(1)[..., None]
        return Quadratic(rows.transpose(1, 2) @ weighted, descent[..., 0], cost)

    return term
