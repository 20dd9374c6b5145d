"""Label images whose borders inside the surface are soft, so that a label loss moves vertices."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

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
    """Coverage of every pixel by each label, in [0, 1] but for spikes (see `antialias`); the sum is that of the mask.

    A border between two labels is antialiased as a silhouette is: each pixel it cuts is shared out by area, and the
    gradient reaches the ends of the border's edges.

    Args:
        fragments: what `rasterise` found.
        labels: one label in [0, count) per triangle.
        count: number of labels.
    """
    # Index -1, where nothing is seen, reads the label appended at the end.
    seen = torch.cat([labels.long(), labels.new_full((1,), -1, dtype=torch.int64)])[fragments.triangle.long()]
    hard = seen[:, None] == torch.arange(count, device=seen.device)[:, None, None]
    return antialias(hard.float(), fragments, find_crossings(fragments, labels))
