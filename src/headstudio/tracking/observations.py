"""The detector's landmarks as the solver sees them: which count, how much, and a first closed-form pose."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headstudio.heads.base import HeadModel
from headstudio.tracking.config import SolveConfig
from headstudio.tracking.points import FrameState, PointModel
from headstudio.tracking.solver import NEAREST_M, Projected, Quadratic, Term, huber, see

# Indices of MediaPipe's face mesh (its published FACEMESH_* connection sets).
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
        78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415)  # fmt: skip
RIGHT_LIDS = (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173)
LEFT_LIDS = (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398)
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
IRISES = tuple(range(468, 478))
"""Right eye's iris (centre first), then the left eye's."""
_UNDER_LIDS = (470, 472, 475, 477)
"""Upper and lower points of the irises: the detector completes the circle behind the lids, the embedding, which was
found by looking, does not, and between them they would make eyes large and with them heads small."""
OUTER_EYE_CORNERS = (33, 263)


@dataclass(frozen=True)
class Observations:
    """Landmarks of some frames with everything that weighs them."""

    pixels: Float[Tensor, "frames landmarks 2"]
    """0 where there is no face."""
    depth_px: Float[Tensor, "frames landmarks"]
    """The detector's relative depth, away from the camera, in the scale of `pixels`."""
    seen: Bool[Tensor, " frames"]
    weight: Float[Tensor, " landmarks"]
    K_px: Float[Tensor, "frames 3 3"]
    noise_px: Float[Tensor, " frames"]
    """Standard deviation of one coordinate."""
    independence: float
    robust: float

    def at(self, frames: Tensor) -> "Observations":
        """Some of the frames."""
        return Observations(
            self.pixels[frames], self.depth_px[frames], self.seen[frames], self.weight, self.K_px[frames],
            self.noise_px[frames], self.independence, self.robust,
        )  # fmt: skip

    def with_pixels(self, pixels: Float[Tensor, "frames landmarks 2"]) -> "Observations":
        """The same landmarks in other places."""
        return replace(self, pixels=pixels)

    def trusted_by(self, share: float) -> "Observations":
        """The same landmarks with this share of their weight."""
        return replace(self, independence=self.independence * share)

    def at_depth(self, depth_m: Float[Tensor, " frames"], noise_m: float) -> "Observations":
        """The same landmarks with noise that is a length on faces so far away."""
        return replace(self, noise_px=noise_m * self.K_px[:, 0, 0] / depth_m.clamp_min(NEAREST_M))

    def with_camera(self, K_px: Float[Tensor, "frames 3 3"]) -> "Observations":
        """The same landmarks seen by another camera."""
        return replace(self, K_px=K_px)


def observe(
    landmarks_px: Float[Tensor, "frames 478 3"],
    weight: Float[Tensor, " 478"],
    K_px: Float[Tensor, "frames 3 3"],
    config: SolveConfig,
) -> Observations:
    """The detector's landmarks of some frames; their noise is a pixel until a depth is known (`at_depth`).

    Args:
        landmarks_px: not finite where there is no face.
    """
    seen = torch.isfinite(landmarks_px).flatten(1).all(1)
    landmarks = torch.where(seen[:, None, None], landmarks_px, 0.0).float()
    noise_px = torch.ones(len(landmarks))
    return Observations(
        landmarks[..., :2], landmarks[..., 2], seen, weight, K_px, noise_px, config.independence, config.robust
    )


def landmark_weights(head: HeadModel, config: SolveConfig) -> Float[Tensor, " landmarks"]:
    """Trust of the embedding times the importance of the region; 0 for what is withheld or lies under lids."""
    weight = head.landmark_weight.clone().float()
    for indices, factor in (
        (LIPS, config.lips),
        (RIGHT_LIDS + LEFT_LIDS, config.eyes),
        (IRISES, config.irises),
        (OVAL, config.contour),
    ):
        weight[list(indices)] *= factor
    weight[[*_UNDER_LIDS, *config.withheld]] = 0.0
    return weight


def closed_form_pose(model: PointModel, observed: Observations) -> tuple[FrameState, Float[Tensor, " frames"]]:
    """Eq. 1 of paper 2: the similarity that carries neutral landmarks onto detected ones (Umeyama 1991), batched.

    The detector's third coordinate stands for depth, so no start value is needed. The similarity's scale and centre
    become a translation in perspective.

    Returns:
        Neutral states, and the scale in pixels per metre.
    """
    target = torch.cat([observed.pixels, observed.depth_px[..., None]], dim=-1).double()
    share = (observed.weight / observed.weight.sum()).double()[:, None]
    source = model.mean_m.double()
    source_centre, target_centre = (share * source).sum(0), (share * target).sum(1)
    arms, spread = source - source_centre, target - target_centre[:, None]
    u, singular, vh = torch.linalg.svd(torch.einsum("pi,bpj->bji", share * arms, spread))
    sign = torch.linalg.det(u @ vh)
    flip = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], dim=-1)
    rotation = (u * flip[:, None]) @ vh
    scale = ((singular * flip).sum(1) / (share * arms**2).sum()).clamp_min(1e-6)
    focal, principal = observed.K_px[:, 0, 0].double(), observed.K_px[:, :2, 2].double()
    depth = focal / scale
    centre = torch.cat([(target_centre[:, :2] - principal) / scale[:, None], depth[:, None]], dim=-1)
    translation = centre - (rotation @ source_centre)
    rest = model.rest(len(scale))
    moved = rest._replace(rotation=rotation.to(rest.rotation), translation_m=translation.to(rest.rotation))
    return moved, scale.to(rest.rotation)


def landmark_term(model: PointModel, observed: Observations) -> Term:
    """Squared (beyond a bend linear) distances of landmarks in standard deviations."""

    def term(state: FrameState, frames: Tensor, derivatives: bool) -> Quadratic:
        own = observed.at(frames)
        return landmark_quadratic(own, see(model, state, own.K_px, derivatives))

    return term


def landmark_quadratic(own: Observations, seen: Projected) -> Quadratic:
    """The cost of landmarks that were seen where the model has them."""
    residual = own.pixels - seen.pixels
    cost, weight = weigh(own, residual)
    if seen.jacobian is None:
        return Quadratic(residual.new_zeros(()), residual.new_zeros(()), cost)
    return _normal_equations(seen.jacobian, weight, residual, cost)


def weigh(own: Observations, residual_px: Tensor) -> tuple[Float[Tensor, " frames"], Float[Tensor, "frames points"]]:
    """Cost of each frame, and the weights in 1 / px^2 that make it a weighted square."""
    cost, bend = huber(residual_px.norm(dim=-1) / own.noise_px[:, None], own.robust)
    share = own.weight * own.independence * own.seen[:, None]
    return (cost * share).sum(1), bend * share / own.noise_px[:, None] ** 2


def _normal_equations(jacobian: Tensor, weight: Tensor, residual: Tensor, cost: Tensor) -> Quadratic:
    rows = jacobian.flatten(1, 2)
    weighted = (jacobian * weight[..., None, None]).flatten(1, 2)
    descent = (weighted.transpose(1, 2) @ residual.flatten(1)[..., None])[..., 0]
    return Quadratic(weighted.transpose(1, 2) @ rows, descent, cost)


def aligned_landmarks(
    state: FrameState, observed: Observations, scale: Float[Tensor, " frames"], frames: Int[Tensor, " chosen"]
) -> Float[Tensor, "chosen landmarks 3"]:
    """Detected landmarks turned into the head's axes and metres: what is left is identity and expression."""
    points = torch.cat([observed.pixels, observed.depth_px[..., None]], dim=-1)[frames]
    centred = points - points.mean(1, keepdim=True)
    return (centred / scale[frames, None, None]) @ state.rotation[frames]
