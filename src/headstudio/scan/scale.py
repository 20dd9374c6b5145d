"""Metres: the iris is nearly as large in one adult as in another, so it is the ruler that everybody brings along."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headstudio.geometry.rigid import transform
from headstudio.records.scan import MetricScale, ScaleSource
from headstudio.scan.calibration_config import ScaleConfig
from headstudio.scan.triangulate import triangulate

# MediaPipe's irises: the person's right eye first; the centre, then the four ends of its diameters.
_IRISES = ((468, (469, 471), (470, 472)), (473, (474, 476), (475, 477)))


@dataclass(frozen=True)
class IrisMeasure:
    """The iris in the unit of the cameras."""

    diameter: float
    error: float
    """Relative standard deviation of the diameter that follows from the spread of the measurements."""
    measurements: int


def measure_irises(
    landmarks_px: Float[Tensor, "views 478 3"],
    K_px: Float[Tensor, "views 3 3"],
    T_camera_world: Float[Tensor, "views 4 4"],
    open_views: Bool[Tensor, "views 2"],
    config: ScaleConfig,
) -> IrisMeasure | None:
    """Diameter of the irises over all views and both eyes, or None where too few are seen.

    The centre is triangulated and gives the depth in every view; the diameter is the longer axis of the ellipse there,
    which is the iris's own diameter from wherever it is seen.

    Args:
        open_views: whether the (right, left) eye of the view may be measured.
    """
    logarithms: list[np.ndarray] = []
    for eye, (centre, level, upright) in enumerate(_IRISES):
        chosen = torch.nonzero(open_views[:, eye])[:, 0]
        if len(chosen) < 2:
            continue
        seen, K, T = landmarks_px[chosen].double(), K_px[chosen].double(), T_camera_world[chosen].double()
        weight = torch.ones(len(chosen), 1, dtype=torch.float64)
        point, _ = triangulate(seen[:, [centre], :2], K, T, weight)
        depth = transform(T, point.expand(len(T), 1, 3))[:, 0, 2]
        axes = torch.stack([seen[:, a, :2] - seen[:, b, :2] for a, b in (level, upright)], dim=-1)
        longest_px = torch.linalg.svdvals(axes)[:, 0]
        logarithms.append((longest_px * depth / K[:, 0, 0]).clamp_min(1e-12).log().numpy())
    measured = np.concatenate(logarithms) if logarithms else np.zeros(0)
    if len(measured) < config.least_measurements:
        return None
    middle = float(np.median(measured))
    spread = 1.4826 * float(np.median(np.abs(measured - middle)))
    # The median's standard error is 1.25 times the mean's; views of one eye err together, so half of them count.
    error = 1.2533 * spread / np.sqrt(len(measured) / 2)
    return IrisMeasure(float(np.exp(middle)), float(error), len(measured))


def metric_scale(measured: IrisMeasure | None, head_model_m: float, config: ScaleConfig) -> tuple[float, MetricScale]:
    """Metres per unit of the cameras, and how sure that is.

    Args:
        head_model_m: metres per unit by which the landmarks fit the mean head; serves where no iris is seen.
    """
    if measured is None:
        return head_model_m, MetricScale(ScaleSource.HEAD_MODEL, config.head_model_deviation, 0)
    population = config.iris_deviation_m / config.iris_m
    deviation = float(np.sqrt(population**2 + config.detector_deviation**2 + measured.error**2))
    return config.iris_m / measured.diameter, MetricScale(ScaleSource.IRIS, deviation, measured.measurements)
