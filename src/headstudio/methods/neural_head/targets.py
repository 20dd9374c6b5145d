"""What the pictures say of the head's outline and regions, and where that may be believed."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.geometry.camera import Camera
from headstudio.heads.parsing import Label, is_known, region_masks
from headstudio.training.contract import Batch

_HEAD = (Label.SKIN, Label.NECK, Label.EARS, Label.EYES, Label.MOUTH, Label.HAIR)


@dataclass(frozen=True)
class Targets:
    """Masks of some frames."""

    head: Float[Tensor, "batch 1 height width"]
    """The head against all else, in [0, 1]."""
    regions: Float[Tensor, "batch 4 height width"] | None
    """`SEMANTIC_REGIONS`; None without labels."""
    skin: Float[Tensor, "batch 1 height width"]
    """Where normals are compared."""
    trust: Float[Tensor, "batch 1 height width"]
    """1 where outline and regions say something of this mesh."""
    visible: Float[Tensor, "batch 1 height width"]
    """Where the picture shows the head and nothing before it."""


def targets_of(
    batch: Batch,
    neck_end_m: Float[Tensor, "batch rim 3"],
    chin_m: Float[Tensor, "batch 3"],
    up: Float[Tensor, "batch 3"],
) -> Targets:
    """Masks of a batch.

    The mesh ends at the neck. Where labels tell neck from cloth the outline is believed down to that end, and with a
    matte, whose person has shoulders, down to the chin.

    Args:
        batch: pictures with labels or at least a matte.
        neck_end_m: the mesh's open border in camera axes.
        chin_m: the chin in camera axes.
        up: the head's upward direction in camera axes.
    """
    assert batch.valid is not None and batch.image is not None
    camera, valid = batch.view.camera, batch.valid.float()
    everywhere = torch.ones_like(batch.image[:, :1])
    if batch.parsing is not None:
        trust = _above(camera, neck_end_m, up) * valid * is_known(batch.parsing)
        head = sum(((batch.parsing == int(label)).float() for label in _HEAD), torch.zeros_like(everywhere))
        skin = (batch.parsing == int(Label.SKIN)).float()
        return Targets(head, region_masks(batch.parsing), skin, trust, head * valid)
    head = everywhere if batch.matte is None else batch.matte
    trust = _above(camera, chin_m[:, None], up) * valid * (batch.matte is not None)
    return Targets(head, None, everywhere, trust, head * valid)


def _above(camera: Camera, points_m: Tensor, up: Tensor) -> Float[Tensor, "batch 1 height width"]:
    """1 for pixels that lie higher, in the head's sense, than all the points."""
    step_m = 0.01
    ends, _ = camera.project(torch.cat([points_m, points_m + step_m * up[:, None]], 1))
    low, high = ends.chunk(2, dim=1)
    direction = torch.nn.functional.normalize((high - low).mean(1), dim=1)
    least = (low * direction[:, None]).sum(-1).amax(1)
    rows = torch.arange(camera.height_px, device=up.device) + 0.5
    columns = torch.arange(camera.width_px, device=up.device) + 0.5
    height = direction[:, 1, None, None] * rows[:, None] + direction[:, 0, None, None] * columns
    return (height > least[:, None, None]).float()[:, None]
