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
_LEAST_FOR_PARABOLA, _LEAST_SPAN_RAD = 6, 0.2
"""Fewer measurements, or ones from nearly one side, are averaged as they are."""
_ROUNDS, _BEND, _LEAST_SPREAD = 10, 1.5, 1e-4


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
    yaw_deg: Float[Tensor, " views"],
    open_views: Bool[Tensor, "views 2"],
    config: ScaleConfig,
) -> IrisMeasure | None:
    """Diameter of the irises over all views and both eyes, or None where too few are seen.

    The centre is triangulated and gives the depth in every view; the diameter is the longer axis of the ellipse there,
    which is the iris's own diameter from wherever it is seen. The detector, however, draws irises smaller the further
    the face is turned, and differently on its two sides: a parabola over yaw tells what it would be from the front.

    Args:
        yaw_deg: of the head, positive to the person's left.
        open_views: whether the (right, left) eye of the view may be measured.
    """
    logarithms: list[np.ndarray] = []
    turns: list[np.ndarray] = []
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
        turns.append((1 - 2 * eye) * torch.deg2rad(yaw_deg[chosen].double()).numpy())
        logarithms.append((longest_px * depth / K[:, 0, 0]).clamp_min(1e-12).log().numpy())
    measured = np.concatenate(logarithms) if logarithms else np.zeros(0)
    if len(measured) < config.least_measurements:
        return None
    middle, error = _from_the_front(measured, np.concatenate(turns))
    return IrisMeasure(float(np.exp(middle)), error, len(measured))


def _from_the_front(logarithms: np.ndarray, turn_rad: np.ndarray) -> tuple[float, float]:
    """Value at no turn of a parabola through measurements, few outliers counting less, and its standard deviation."""
    few = len(logarithms) < _LEAST_FOR_PARABOLA or np.ptp(turn_rad) < _LEAST_SPAN_RAD
    design = np.stack([turn_rad**power for power in range(1 if few else 3)], axis=1)
    weight, solution, spread = np.ones(len(logarithms)), np.zeros(design.shape[1]), 0.0
    for _ in range(_ROUNDS):
        rows = design * weight[:, None]
        solution = np.linalg.lstsq(rows, logarithms * weight, rcond=None)[0]
        miss = np.abs(logarithms - design @ solution)
        freedom = np.sqrt(len(miss) / max(len(miss) - design.shape[1], 1))
        spread = 1.4826 * float(np.median(miss)) * freedom + _LEAST_SPREAD
        weight = np.sqrt(_BEND * spread / np.maximum(miss, _BEND * spread))
    covariance = np.linalg.inv((design * weight[:, None] ** 2).T @ design)
    # views of one eye err together, so half of them count
    return float(solution[0]), float(spread * np.sqrt(2 * covariance[0, 0]))


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
