"""Identity beyond a basis: smooth displacements of the skin as further coefficients.

A Gaussian process over displacement fields (Lüthi et al. 2018, Gaussian process morphable models) is a Laplacian-like
prior with a length in metres: its leading eigenfunctions, scaled to one prior standard deviation, are appended to the
head's identity basis, so that everything that solves for identity solves for them too.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.heads.base import HeadModel
from headstudio.records.track import HeadIdentity
from headstudio.tracking.config import FreeformConfig

_ANCHORS = 700
"""Vertices between which the process is interpolated (Nyström's method)."""
_SHAPED = ("face", "eyelids", "nose", "lips", "ears")
_RIGID = ("eyeballs", "teeth", "tongue")
"""Parts that keep their form: each side moves by the mean displacement of its own vertices."""


def with_freedom(head: HeadModel, config: FreeformConfig) -> HeadModel:
    """The head with smooth displacement fields as additional identity coefficients of unit prior deviation."""
    if not config.fields:
        return head
    fields = _stiffened(head, _eigenfields(head, config))
    eye = torch.eye(3)
    basis = _held_still(head, torch.einsum("vk,cd->kcvd", fields, eye).flatten(0, 1))
    return HeadModel(replace(head.data, identity_basis_m=torch.cat([head.identity_basis_m, basis])))


def of_person(head: HeadModel, known: HeadIdentity) -> HeadModel:
    """The head of one person, with nothing left to find out about identity."""
    offsets_m = None if known.offsets_m is None else known.offsets_m[None]
    neutral_m = head.neutral(known.coefficients[None], offsets_m)[0]
    return HeadModel(replace(head.data, template_m=neutral_m, identity_basis_m=head.identity_basis_m[:0]))


def told_apart(free: HeadModel, head: HeadModel, identity: Float[Tensor, " identities"]) -> HeadIdentity:
    """Coefficients of `with_freedom(head)` as the head's own and the displacement beyond them."""
    own, beyond = identity[: head.identities], identity[head.identities :]
    if not len(beyond):
        return HeadIdentity(head.name, own)
    offsets_m = torch.einsum("i,ivc->vc", beyond, free.identity_basis_m[head.identities :])
    return HeadIdentity(head.name, own, offsets_m)


def _eigenfields(head: HeadModel, config: FreeformConfig) -> Float[Tensor, "vertices fields"]:
    points = head.template_m.double()
    anchors = points[_spread(points, head.region(*_SHAPED), _ANCHORS)]
    within, across = _covariance(anchors, anchors, config), _covariance(points, anchors, config)
    values, vectors = torch.linalg.eigh(within)
    values, vectors = values[-config.fields :].flip(0), vectors[:, -config.fields :].flip(1)
    return (across @ vectors * values.clamp_min(1e-12).rsqrt()).float()


def _covariance(a: Tensor, b: Tensor, config: FreeformConfig) -> Tensor:
    squared = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist") ** 2
    scales = zip(config.deviations_m, config.lengths_m, strict=True)
    smooth = torch.stack([d**2 * torch.exp(-squared / (2 * length**2)) for d, length in scales]).sum(0)
    return smooth + config.proportion**2 * (a @ b.T)


def _spread(points: Tensor, eligible: Tensor, count: int) -> Tensor:
    """Farthest-point sampling among the eligible."""
    candidates = torch.nonzero(eligible)[:, 0]
    if len(candidates) <= count:
        return candidates
    places, chosen = points[candidates], [0]
    distance = (places - places[0]).norm(dim=1)
    for _ in range(count - 1):
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (places - places[chosen[-1]]).norm(dim=1))
    return candidates[chosen]


def _held_still(head: HeadModel, basis: Float[Tensor, "fields vertices 3"]) -> Float[Tensor, "fields vertices 3"]:
    """Without what moves or turns the face as a whole: that is pose, and the head frame belongs to the skull."""
    face = head.region("face")
    axes = torch.eye(3).expand(head.vertices, 3, 3)
    turning = torch.linalg.cross(axes, head.template_m[:, None].expand(-1, 3, 3), dim=2)
    rigid = torch.cat([axes, turning], dim=1)  # vertices, six motions, three directions
    on_face = rigid[face].transpose(1, 2).flatten(0, 1).double()
    amount = torch.linalg.lstsq(on_face, basis[:, face].flatten(1).T.double()).solution
    return basis - torch.einsum("mf,vmc->fvc", amount.float(), rigid)


def _stiffened(head: HeadModel, fields: Float[Tensor, "vertices fields"]) -> Float[Tensor, "vertices fields"]:
    fields = fields.clone()
    left = head.template_m[:, 0] > 0
    for name in _RIGID:
        part = head.region(name)
        sides = (part & left, part & ~left) if name == "eyeballs" else (part,)
        for side in sides:
            if side.any():
                fields[side] = fields[side].mean(0)
    return fields
