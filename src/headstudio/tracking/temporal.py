"""What runs over a clip's time once its frames are solved: bridging and smoothing, so that held-out frames tell the
training part nothing."""

from collections.abc import Callable

from jaxtyping import Bool
from torch import Tensor

from headstudio.records.capture import Capture
from headstudio.tracking.config import SmoothingConfig
from headstudio.tracking.points import FrameState
from headstudio.tracking.seam import looking_back
from headstudio.tracking.smoothing import fill, fill_rotations, smooth, smooth_rotations
from headstudio.tracking.solver import Bounds


def in_parts(capture: Capture, states: FrameState, work: Callable[[FrameState, slice], FrameState]) -> FrameState:
    """Treat the training frames alone and all others with them, so that nothing leaks from what is held out; the seam
    is blended in the gap between them."""
    return looking_back(states, capture.split, work)


def smooth_pose(
    capture: Capture, states: FrameState, seen: Bool[Tensor, " frames"], times_s: Tensor, config: SmoothingConfig
) -> FrameState:
    """Rotation and translation of the head."""

    def work(states: FrameState, part: slice) -> FrameState:
        trust, times = seen[part].float(), times_s[part]
        return states._replace(
            rotation=smooth_rotations(states.rotation, trust, times, *config.rotation),
            translation_m=smooth(states.translation_m, trust, times, *config.translation, together=True),
        )

    return in_parts(capture, states, work)


def smooth_face(
    capture: Capture,
    states: FrameState,
    seen: Bool[Tensor, " frames"],
    times_s: Tensor,
    config: SmoothingConfig,
    bounds: Bounds,
) -> FrameState:
    """Everything but the pose, with fast movements left alone."""

    def work(states: FrameState, part: slice) -> FrameState:
        trust, times = seen[part].float(), times_s[part]
        expression = smooth(states.expression, trust, times, *config.expression)
        gaze = smooth(states.gaze_rad.flatten(1), trust, times, *config.gaze)
        jaw = smooth(states.jaw_rad, trust, times, *config.expression) if states.jaw_rad.shape[1] else states.jaw_rad
        return states._replace(
            expression=expression.clamp(bounds.lower, bounds.upper), gaze_rad=gaze.unflatten(1, (2, 2)), jaw_rad=jaw
        )

    return in_parts(capture, states, work)


def bridged(capture: Capture, states: FrameState, seen: Tensor, times_s: Tensor) -> FrameState:
    """Frames without a face follow from their neighbours; a part of the clip without any keeps its start values."""

    def work(states: FrameState, part: slice) -> FrameState:
        known, times = seen[part], times_s[part]
        if known.all() or not known.any():
            return states
        return FrameState(
            fill_rotations(states.rotation, known, times),
            fill(states.translation_m, known, times),
            fill(states.expression, known, times),
            fill(states.gaze_rad.flatten(1), known, times).unflatten(1, (2, 2)),
            fill(states.jaw_rad, known, times),
        )

    return in_parts(capture, states, work)
