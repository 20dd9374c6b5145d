"""The energies, each a function of what it needs and a scalar. Lengths in the picture count in half its width."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from headstudio.geometry.graph import graph_laplacian
from headstudio.tracking.gaps import LIDS

LID_MIDDLES = tuple(sorted({index for pair in LIDS for index in pair}))
"""Landmarks along the lids that E_lmk leaves to the lid term, as the published code does."""
_SCALES = 5
_LONGEST = 1.5


def landmark_energy(
    found_px: Float[Tensor, "batch landmarks 2"],
    wanted_px: Float[Tensor, "batch landmarks 2"],
    weight: Float[Tensor, "batch landmarks"],
    size_px: int,
) -> Float[Tensor, ""]:
    """E_lmk: L1 distance of landmarks in the picture."""
    kept = weight.clone()
    kept[:, list(LID_MIDDLES)] = 0
    distance = (found_px - wanted_px).abs().sum(-1) / (size_px / 2)
    return torch.where(kept > 0, kept * distance, 0.0).sum() / kept.sum().clamp_min(1e-6)


def lid_energy(
    found_px: Float[Tensor, "batch landmarks 2"],
    wanted_px: Float[Tensor, "batch landmarks 2"],
    weight: Float[Tensor, "batch landmarks"],
    size_px: int,
) -> Float[Tensor, ""]:
    """L1 distance of the vectors from lower to upper lid."""
    upper, lower = torch.tensor(LIDS, device=found_px.device).unbind(1)
    kept = weight[:, upper] * weight[:, lower]
    difference = (found_px[:, upper] - found_px[:, lower]) - (wanted_px[:, upper] - wanted_px[:, lower])
    distance = difference.abs().sum(-1) / (size_px / 2)
    return torch.where(kept > 0, kept * distance, 0.0).sum() / kept.sum().clamp_min(1e-6)


def normal_energy(
    found: Float[Tensor, "batch 3 height width"],
    wanted: Float[Tensor, "batch 3 height width"],
    skin: Float[Tensor, "batch 1 height width"],
) -> Float[Tensor, ""]:
    """E_normal: L1 of the difference of the normals' Laplacians (a normal less the mean of those about it) on skin."""
    size = max(found.shape[-2:])
    skin = skin * (wanted.abs().sum(1, keepdim=True) > 0)
    ours, theirs = (normals - _masked_blur(normals, skin, size / 50) for normals in (found, wanted))
    # Where the window is mostly empty the mean says little.
    inner = skin * (_blur(skin, size / 50) > 0.5)
    return _mean_difference(ours, theirs, inner)


def orientation_energy(
    found: Float[Tensor, "batch 3 height width"],
    wanted: Float[Tensor, "batch 3 height width"],
    head: Float[Tensor, "batch 1 height width"],
) -> Float[Tensor, ""]:
    """L1 of the difference of the normals themselves where both show the head."""
    shown = head * (wanted.abs().sum(1, keepdim=True) > 0)
    return _mean_difference(found, wanted, shown)


def region_energy(
    found: Float[Tensor, "batch regions height width"],
    wanted: Float[Tensor, "batch regions height width"],
    trust: Float[Tensor, "batch 1 height width"],
) -> Float[Tensor, ""]:
    """The exclusive or of regions with soft borders: squared differences at halved and halved sizes.

    Only borders have a gradient; at the coarser sizes they feel what lies farther away.
    """
    difference, total = (found - wanted) * trust, found.new_zeros(())
    for _ in range(_SCALES):
        total = total + difference.square().sum(1).mean()
        if min(difference.shape[-2:]) < 4:
            break
        difference = F.avg_pool2d(difference, 2)
    return total


def laplacian_energy(
    offsets: Float[Tensor, "batch vertices 3"], edges: Int[Tensor, "edges 2"], rigidity: Float[Tensor, " vertices"]
) -> Float[Tensor, ""]:
    """Squared uniform Laplacian of the offsets (in mean edge lengths), weighted by region."""
    return (rigidity[:, None] * graph_laplacian(offsets, edges).square()).sum(-1).mean()


def thickness_energy(
    offsets: Float[Tensor, "batch vertices 3"],
    normals: Float[Tensor, "vertices 3"],
    edges: Int[Tensor, "edges 2"],
) -> Float[Tensor, ""]:
    """Squared differences of the offsets along the normals, in mean edge lengths, across edges."""
    if not len(edges):
        return offsets.sum() * 0
    thickness = (offsets * normals).sum(-1)
    return (thickness.index_select(1, edges[:, 0]) - thickness.index_select(1, edges[:, 1])).square().mean()


def edge_energy(neutral: Float[Tensor, "batch vertices 3"], edges: Int[Tensor, "edges 2"]) -> Float[Tensor, ""]:
    """How far edges are longer than 1.5 times their mean, in means."""
    if not len(edges):
        return neutral.sum() * 0
    lengths = (neutral.index_select(1, edges[:, 0]) - neutral.index_select(1, edges[:, 1])).norm(dim=-1)
    mean = lengths.detach().mean().clamp_min(1e-9)
    return F.relu(lengths / mean - _LONGEST).mean()


def consistency_energy(
    offsets: Float[Tensor, "batch vertices 3"], others: Float[Tensor, "batch vertices 3"]
) -> Float[Tensor, ""]:
    """L1 between the offsets of two poses, of which only the first learns."""
    return (offsets - others.detach()).abs().sum(-1).mean()


def colour_energy(
    found: Float[Tensor, "batch 3 height width"],
    wanted: Float[Tensor, "batch 3 height width"],
    weight: Float[Tensor, "batch 1 height width"],
) -> Float[Tensor, ""]:
    """E_phot: mean absolute difference where both show the head."""
    return _mean_difference(found, wanted, weight)


def _mean_difference(found: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    return ((found - wanted).abs() * weight).sum() / (3 * weight.sum()).clamp_min(1.0)


def _masked_blur(values: Tensor, mask: Tensor, sigma_px: float) -> Tensor:
    both = _blur(torch.cat([values * mask, mask], 1), sigma_px)
    return both[:, :-1] / both[:, -1:].clamp_min(1e-4)


def _blur(values: Tensor, sigma_px: float) -> Tensor:
    radius = max(round(2 * sigma_px), 1)
    place = torch.arange(-radius, radius + 1, device=values.device, dtype=values.dtype)
    kernel = torch.exp(-(place**2) / (2 * sigma_px**2))
    kernel = (kernel / kernel.sum()).expand(values.shape[1], 1, -1)
    across = F.conv2d(values, kernel[:, :, None], padding=(0, radius), groups=values.shape[1])
    return F.conv2d(across, kernel[..., None], padding=(radius, 0), groups=values.shape[1])
