"""Label images whose borders inside the surface are soft, so that a label loss moves vertices."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from headstudio.render.antialias import antialias, find_crossings
from headstudio.render.rasterise import Fragments


def triangle_labels(
    vertex_labels: Float[Tensor, "vertices labels"], triangles: Int[Tensor, "triangles 3"]
) -> Int[Tensor, " triangles"]:
    """The label that weighs most over the three corners of each triangle; the first one of equals."""
    return vertex_labels[triangles.long()].sum(1).argmax(-1).to(torch.int32)


def label_image(
    fragments: Fragments, labels: Int[Tensor, " triangles"], count: int
) -> Float[Tensor, "batch labels height width"]:
    """Coverage of every pixel by each label, in [0, 1]; the labels sum to the antialiased mask.

    A border between two labels is antialiased as a silhouette is: each pixel it cuts is shared out by area, and the
    gradient reaches the ends of the border's edges.

    Args:
        fragments: what `rasterise` found.
        labels: one label in [0, count) per triangle.
        count: number of labels.
    """
    hard = one_hot(labels.long(), count).float()
    seen = torch.cat([hard, hard.new_zeros(1, count)])[fragments.triangle.long()]
    return antialias(seen.movedim(-1, 1), fragments, find_crossings(fragments, labels))
