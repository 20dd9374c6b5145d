"""Which training frames identity and focal length are learned from."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_OUTLIERS = 0.95
"""Quantile of the distance to the neighbours in time beyond which a frame is not trusted."""


def choose_key_frames(
    features: Float[Tensor, "frames features"], eligible: Bool[Tensor, " frames"], count: int
) -> Int[Tensor, " chosen"]:
    """Frames spread over pose and expression: farthest-point sampling from the most typical frame on.

    Args:
        features: describe pose and expression; their unit is the spread that counts as different.
        eligible: frames that may be chosen.
    """
    candidates = torch.nonzero(eligible & ~_sudden(features, eligible))[:, 0]
    if len(candidates) == 0:
        candidates = torch.nonzero(eligible)[:, 0]
    points = features[candidates]
    typical = (points - points.median(0).values).norm(dim=1).argmin()
    chosen = [int(typical)]
    distance = (points - points[typical]).norm(dim=1)
    while len(chosen) < min(count, len(candidates)) and float(distance.max()) > 0:
        farthest = int(distance.argmax())
        chosen.append(farthest)
        distance = torch.minimum(distance, (points - points[farthest]).norm(dim=1))
    return candidates[chosen].sort().values


def frame_features(
    rotation: Float[Tensor, "frames 3 3"], aligned_m: Float[Tensor, "frames landmarks 3"]
) -> Float[Tensor, "frames features"]:
    """Direction of the face (0.2 rad count as different) and landmarks in its own axes (2 mm, root mean square)."""
    direction = rotation[..., 2] / 0.2
    shape = aligned_m[..., :2].flatten(1)
    return torch.cat([direction, shape / (0.002 * shape.shape[1] ** 0.5)], dim=1)


def _sudden(features: Tensor, eligible: Tensor) -> Bool[Tensor, " frames"]:
    """Frames unlike both of their neighbours: misdetections would otherwise be the farthest points."""
    if len(features) < 3:
        return torch.zeros_like(eligible)
    step = (features[1:] - features[:-1]).norm(dim=1)
    alone = torch.minimum(torch.cat([step[:1], step]), torch.cat([step, step[-1:]]))
    return alone > torch.quantile(alone[eligible], _OUTLIERS)
