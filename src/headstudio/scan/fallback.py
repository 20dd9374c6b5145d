"""Cameras from a track: when structure from motion fails, the tracked poses of the head stand for them."""

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.progress import Progress
from headstudio.records.capture import Capture
from headstudio.records.track import Track, check_pair
from headstudio.tracking.config import TrackingConfig
from headstudio.tracking.tracker import track

_LEAST_VIEWS = 3


def tracked(capture: Capture, given: Track | None, head: str, progress: Progress) -> Track:
    """The track of a capture: the one that is given, or a new one."""
    if given is None:
        return track(capture, TrackingConfig(head=head), progress)
    check_pair(given, capture.identifier, capture.path)
    if given.frames != capture.frames or given.size_px != capture.size_px:
        raise HeadstudioError(
            "the track does not fit the capture", where=capture.path, next_step="track this capture again"
        )
    return given


def trackable(
    capture: Capture, known: Track, largest_yaw_deg: float, yaw_deg: Float[np.ndarray, " frames"]
) -> Bool[np.ndarray, " frames"]:
    """Frames whose tracked pose can stand for a camera: a face was found, and is not turned too far away."""
    seen = np.isfinite(capture.views[0].landmarks_px.numpy()).all((1, 2))
    good = seen & (np.abs(yaw_deg) <= largest_yaw_deg) & (known.confidence.numpy() > 0)
    if good.sum() < _LEAST_VIEWS:
        raise HeadstudioError(
            f"only {int(good.sum())} frames could be tracked",
            where=capture.path,
            next_step="film the face from near, in even light",
        )
    return good


def cameras_of(
    known: Track, frames: Float[Tensor, " keys"] | Tensor
) -> tuple[Float[Tensor, "keys 3 3"], Float[Tensor, "keys 4 4"]]:
    """`K_px` and `T_camera_head` of some frames: the head is the world that stands still."""
    view = next(iter(known.views.values()))
    return view.K_px[frames].double(), (view.T_camera_world[frames] @ known.T_world_head[frames]).double()
