"""Work on a clip of which one part may not look at the rest: training frames see training frames alone, all others
may look back.

Smoothed apart, the two parts would meet with the jump that the ends of any smoother have: about the jitter that was
there before. The difference is faded out inside the gap, which serves neither side.
"""

from collections.abc import Callable

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.geometry.easing import ease
from headstudio.records.capture import Split
from headstudio.tracking.points import FrameState, join

Work = Callable[[FrameState, slice], FrameState]
"""Something done to consecutive frames: (their states, which frames they are) to as many states."""


def looking_back(states: FrameState, split: Split, work: Work) -> FrameState:
    """Do `work` to the training frames alone, and to the others with the training frames before them.

    Without a gap the two meet as they are, because a held-out frame is not to be pulled towards an answer that did
    not know it.
    """
    frames, end = len(states.rotation), split.train_end
    alone = work(states.at(slice(0, end)), slice(0, end))
    if end >= frames:
        return alone
    together = work(states, slice(0, frames))
    last = slice(end - 1, end)
    share = _fade(split.held_out_start - end, frames - end)
    return join([alone, _bent(together.at(slice(end, frames)), together.at(last), alone.at(last), share)])


def _bent(rest: FrameState, was: FrameState, shall: FrameState, share: Float[Tensor, " frames"]) -> FrameState:
    """Frames that begin as if their predecessor had not been what it was but what it shall be."""
    share = share[:, None].to(rest.rotation)
    turn = roma.rotmat_to_rotvec(shall.rotation @ was.rotation.transpose(1, 2))
    return FrameState(
        roma.rotvec_to_rotmat(share * turn) @ rest.rotation,
        rest.translation_m + share * (shall.translation_m - was.translation_m),
        _ranged(rest.expression, share * (shall.expression - was.expression), shall.expression),
        rest.gaze_rad + share[..., None] * (shall.gaze_rad - was.gaze_rad),
        rest.jaw_rad + share * (shall.jaw_rad - was.jaw_rad),
    )


def _ranged(values: Tensor, change: Tensor, also: Tensor) -> Tensor:
    """The changed values within the range of what there is: their sum may leave what coefficients are allowed."""
    seen = torch.cat([values, also])
    return (values + change).clamp(seen.min(), seen.max())


def _fade(gap: int, frames: int) -> Float[Tensor, " frames"]:
    """From 1 just before the gap to 0 where it ends, level at both ends."""
    done = ease(torch.arange(1, frames + 1) / (gap + 1))
    return torch.where(torch.arange(frames) < gap, 1.0 - done, 0.0)
