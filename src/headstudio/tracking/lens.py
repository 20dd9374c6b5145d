"""Intrinsics of every frame (paper 1, section 3.2, refines them while tracking): for lenses that breathe or zoom.

One step moves focal length and principal point of each frame while its head recedes and steps aside, so that only the
perspective changes; priors hold the lens near the clip's.
"""

import torch
from torch import Tensor

from headstudio.tracking.config import SolveConfig
from headstudio.tracking.identity import along, by_lens
from headstudio.tracking.observations import Observations, weigh
from headstudio.tracking.points import FrameState, PointModel
from headstudio.tracking.solver import see

_STEPS = 3


def refine_lenses(
    model: PointModel, states: FrameState, observed: Observations, config: SolveConfig
) -> tuple[FrameState, Observations]:
    """Lenses of all frames, and the heads moved along with them.

    Args:
        model: landmarks of this person.
        observed: with the clip's lens.
    """
    common = observed.K_px
    zoom, shift_px = torch.zeros(len(common)), torch.zeros(len(common), 2)
    deviations = torch.tensor([config.frame_focal_deviation] + 2 * [config.frame_principal_deviation])
    scale_px = torch.stack([torch.ones(len(common)), common[:, 0, 0], common[:, 0, 0]], dim=1)
    prior = (deviations * scale_px) ** -2
    for _ in range(_STEPS):
        seen = see(model, states, observed.K_px, True)
        residual = observed.pixels - seen.pixels
        _, weight = weigh(observed, residual)
        rows = by_lens(seen, states, observed.K_px)
        away = torch.cat([zoom[:, None], shift_px], dim=1)
        hessian = torch.einsum("fpcb,fp,fpcd->fbd", rows, weight, rows) + torch.diag_embed(prior)
        descent = torch.einsum("fpcb,fp,fpc->fb", rows, weight, residual) - prior * away
        step = torch.linalg.solve(hessian, descent)
        states = along(states, observed.K_px[:, 0, 0], step[:, 0], step[:, 1:])
        zoom, shift_px = zoom + step[:, 0], shift_px + step[:, 1:]
        observed = observed.with_camera(_lenses(common, zoom, shift_px))
    return states, observed


def _lenses(K_px: Tensor, zoom: Tensor, shift_px: Tensor) -> Tensor:
    K = K_px.clone()
    K[:, 0, 0], K[:, 1, 1] = K_px[:, 0, 0] * zoom.exp(), K_px[:, 1, 1] * zoom.exp()
    K[:, :2, 2] += shift_px
    return K
