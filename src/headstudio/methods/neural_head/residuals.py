"""What training adds to the track: identity once, expression, pose and gaze in every training frame."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from headstudio.geometry.rigid import rigid
from headstudio.heads.base import Articulation, HeadModel
from headstudio.training.frame_table import FrameTable

EXPRESSION_UNIT, ROTATION_UNIT_RAD, TRANSLATION_UNIT_M, IDENTITY_UNIT = 0.1, 0.02, 0.002, 0.1
"""What 1 of a learned number stands for, so that one learning rate serves all (the paper's authors give the translation
a tenth of the rate)."""


class Correction(NamedTuple):
    """What is added in some frames, in the learned units."""

    expression: Float[Tensor, "batch expressions"]
    pose: Float[Tensor, "batch 9"]
    """Rotation and translation in the head's frame, jaw rotation."""
    gaze: Float[Tensor, "batch 4"]


class Residuals(nn.Module):
    """Learned tables; frames that were not trained read zero, the mean of each table over its frames."""

    def __init__(self, head: HeadModel, train_frames: Mapping[str, Sequence[int]], centred: bool = True) -> None:
        """`centred`: False also adds what all frames have in common, for frames that no shape is learned from."""
        super().__init__()
        self._centred = centred
        self.identity = nn.Parameter(torch.zeros(head.identities))
        self.expression = FrameTable(train_frames, torch.zeros(head.expressions))
        self.pose = FrameTable(train_frames, torch.zeros(9))
        self.gaze = FrameTable(train_frames, torch.zeros(4))

    def at(self, source_key: str, frames: Int[Tensor, " batch"]) -> Correction:
        """What is added in frames of a source."""
        # A change that all frames share belongs to the shape; left in the tables it would be missing in new frames.
        # No gradient goes through the mean: it would reach all rows, and steps of one size would drag along those of
        # frames not seen.
        tables = (self.expression, self.pose, self.gaze)
        share = 1.0 if self._centred else 0.0
        return Correction(*(table(source_key, frames) - share * table.rows.detach().mean(0) for table in tables))


def corrected(state: Articulation, correction: Correction) -> Articulation:
    """The state with what is added to it."""
    gaze = torch.nn.functional.pad(correction.gaze.unflatten(1, (2, 2)), (0, 1))
    return state._replace(
        expression=state.expression + EXPRESSION_UNIT * correction.expression,
        jaw_rad=state.jaw_rad + ROTATION_UNIT_RAD * correction.pose[:, 6:],
        gaze_rad=state.gaze_rad + ROTATION_UNIT_RAD * gaze,
    )


def corrected_pose(T_world_head: Float[Tensor, "batch 4 4"], correction: Correction) -> Float[Tensor, "batch 4 4"]:
    """The head's place with what is added to it, in the head's own axes."""
    added = rigid(ROTATION_UNIT_RAD * correction.pose[:, :3], TRANSLATION_UNIT_M * correction.pose[:, 3:6])
    return T_world_head @ added.to(T_world_head)
