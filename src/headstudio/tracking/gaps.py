"""How far lids and lips are apart, which is seen more sharply than where they are.

Paper 4's lid term (section 3.4, E_lid) ties the distance between the lids; the inner lips are treated alike, so that a
mouth that closes is closed. What the detector gets wrong for both edges together drops out of their distance.
"""

import torch
from torch import Tensor

from headstudio.tracking.config import SolveConfig
from headstudio.tracking.observations import Observations
from headstudio.tracking.points import FrameState, PointModel
from headstudio.tracking.solver import Quadratic, Term, huber, see

# Upper and lower edge, indices of MediaPipe's face mesh.
LIDS = ((159, 145), (158, 153), (160, 144), (157, 154), (161, 163),
        (386, 374), (385, 380), (387, 373), (384, 381), (388, 390))  # fmt: skip
LIPS = ((13, 14), (82, 87), (312, 317), (81, 178), (311, 402), (80, 88), (310, 318))


def gap_term(model: PointModel, observed: Observations, config: SolveConfig) -> Term:
    """Squared (beyond a bend linear) errors of the distances in standard deviations.

    Args:
        model: the landmarks.
    """
    upper, lower = (torch.tensor(side) for side in zip(*LIDS, *LIPS, strict=True))
    strength = torch.tensor([config.lid_gap] * len(LIDS) + [config.lip_gap] * len(LIPS))
    strength = strength * torch.minimum(observed.weight[upper], observed.weight[lower]).clamp(max=1.0)
    edges = model.some(torch.cat([upper, lower]))
    gaps_px = observed.pixels[:, upper] - observed.pixels[:, lower]
    noise_px = observed.noise_px * (config.gap_noise_m / config.noise_m)
    pairs = len(upper)

    def term(state: FrameState, frames: Tensor, derivatives: bool) -> Quadratic:
        seen = see(edges, state, observed.K_px[frames], derivatives)
        residual = gaps_px[frames] - (seen.pixels[:, :pairs] - seen.pixels[:, pairs:])
        noise = noise_px[frames, None]
        cost, bend = huber(residual.norm(dim=-1) / noise, observed.robust)
        share = strength * observed.seen[frames, None]
        cost = (cost * share).sum(1)
        if seen.jacobian is None:
            return Quadratic(cost.new_zeros(()), cost.new_zeros(()), cost)
        slopes = seen.jacobian[:, :pairs] - seen.jacobian[:, pairs:]
        weighted = (slopes * (bend * share / noise**2)[..., None, None]).flatten(1, 2)
        descent = (weighted.transpose(1, 2) @ residual.flatten(1)[..., None])[..., 0]
        return Quadratic(weighted.transpose(1, 2) @ slopes.flatten(1, 2), descent, cost)

    return term
