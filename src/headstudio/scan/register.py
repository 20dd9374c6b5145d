"""The head model registered to the surface of a scan (paper 1, section 3.1, eq. 1 and Fig. 9)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.heads.base import HeadModel
from headstudio.records.track import HeadIdentity
from headstudio.render.closest import SurfaceIndex
from headstudio.scan.fitting import Fit, Target, fitted_skin, laid_on
from headstudio.scan.offsets import lids_outside, skin_offsets
from headstudio.scan.registration_config import RegistrationConfig
from headstudio.tracking.freeform import told_apart, with_freedom


@dataclass(frozen=True)
class Registration:
    """Who it is, and how well that fits."""

    identity: HeadIdentity
    """The neutral face: expression is taken off."""
    expression: Float[Tensor, " expressions"]
    """What the person showed in the scan."""
    T_head_scan: Float[Tensor, "4 4"]
    """Of scan points times `scale`; rigid."""
    scale: float
    """True metres per metre of the scan; 1 where the scan's scale is believed."""
    posed_m: Float[Tensor, "vertices 3"]
    """The head as it is in the scan, in the head frame."""
    residual_m: Float[Tensor, " vertices"]
    """Distance of every vertex of the face's skin from the scan; NaN elsewhere, and where the scan is no face."""
    scan_residual_m: Float[Tensor, " points"]
    """Distance of every vertex of the scan's face from the head; NaN elsewhere. The larger of both maps' greatest
    values is the Hausdorff distance (paper 1, Fig. 9)."""


def register(
    head: HeadModel, target: Target, config: RegistrationConfig | None = None, deviation: float = 0.0
) -> Registration:
    """Lay the head over the surface.

    Args:
        deviation: of the scan's lengths, relative (`MetricScale.deviation`).

    Raises:
        HeadstudioError: where there is no surface or no face, or where they do not meet.
    """
    config = config or RegistrationConfig()
    _check(target, config)
    free = with_freedom(head, config.freeform)
    fit = laid_on(free, head, target, config, deviation)
    own = told_apart(free, head, fit.identity)
    posed = fit.posed(free)
    offsets = torch.zeros_like(posed) if own.offsets_m is None else own.offsets_m
    if config.offset_rounds:
        offsets = offsets + skin_offsets(head, posed, fit, target, config)
    neutral = head.neutral(own.coefficients[None], offsets[None])[0]
    offsets = offsets + lids_outside(head, neutral, config.lid_gap_m)
    kept = None if not bool(offsets.any()) else offsets
    identity = HeadIdentity(head.name, own.coefficients, kept)
    state = head.rest()._replace(expression=fit.expression[None])
    posed = head(own.coefficients[None], state, offsets[None])[0]
    return Registration(
        identity, fit.expression, fit.T_head_scan.float(), fit.scale, posed, *residual_maps(head, posed, fit, target)
    )


def residual_maps(
    head: HeadModel, posed_m: Float[Tensor, "vertices 3"], fit: Fit, target: Target
) -> tuple[Float[Tensor, " vertices"], Float[Tensor, " points"]]:
    """Distances from the head's skin to the scan and back, in metres."""
    in_head = fit.to_head(target.vertices_m)
    skin = fitted_skin(head)
    found = SurfaceIndex(in_head, target.triangles).nearest(posed_m)
    counted = (target.weight[target.triangles[found.triangle].long()] * found.barycentric).sum(1)
    there = torch.where(skin & (counted > 0.5), (found.positions - posed_m).norm(dim=1), torch.nan)
    triangles = head.triangles[skin[head.triangles].all(1)]
    back = SurfaceIndex(posed_m, triangles).nearest(in_head)
    on_rim = (back.barycentric <= 1e-4).any(1)
    distance = (back.positions - in_head).norm(dim=1)
    return there, torch.where((target.weight > 0.5) & ~on_rim, distance, torch.nan)


def _check(target: Target, config: RegistrationConfig) -> None:
    if not bool(torch.isfinite(target.vertices_m).all()):
        raise HeadstudioError("a vertex of the mesh is not a number", next_step="make the mesh again")
    if not len(target.triangles):
        raise HeadstudioError("the mesh has no surface", next_step="make the mesh again")
    wrong = {
        "stages": not config.stages,
        "points": config.points < 100,
        "independent": config.independent <= 0,
        "cut": config.cut <= 0,
        "stiffness": config.stiffness <= 0,
        "identity_prior": config.identity_prior < 0,
        "offset_rounds": config.offset_rounds < 0,
        "normals": not -1 <= config.normals < 1,
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise HeadstudioError(
                f"{name} cannot be {getattr(config, name)}", where="registration", next_step="see the option's help"
            )
