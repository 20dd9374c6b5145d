"""Known pictures under the painted one: the face's colours on the atlas and the empty background.

The paper's networks find both from nothing in hours. Here they start as what the training frames show and go on
learning, and the image network paints what is missing: hair, shoulders, mouth, eyes, and all that moves.
"""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from headstudio.methods.style_avatar.people import People
from headstudio.methods.style_avatar.sizes import StyleAvatarSizes
from headstudio.methods.style_avatar.windows import Windows
from headstudio.texture.fill import pull_push
from headstudio.texture.regions import soft_mask
from headstudio.texture.texels import TexelMap
from headstudio.training.batches import FrameStore, usable_training_frames
from headstudio.training.contract import Source

_LOOKED_AT = 32
_PERSON = 0.05
"""Matte above which a pixel may show the person."""
_SOFT_M = 0.01
_FADING = 32
"""The face's colours fade towards the outline of the mesh over such a part of the picture's side: seen edge-on they are
smears, and the outline of a fitted head is never that of the person."""
_TRUSTED = 4.0
"""Frames that must have seen a pixel of the background."""


class Plates(nn.Module):
    """The colours of every person's face, with their opacity, and background, in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.skins, self.backgrounds = nn.Parameter(torch.zeros(0)), nn.Parameter(torch.zeros(0))

    def take(
        self, skins: Float[Tensor, "persons 4 side side"], backgrounds: Float[Tensor, "persons 3 rows columns"]
    ) -> None:
        """Start from these."""
        self.skins, self.backgrounds = nn.Parameter(skins), nn.Parameter(backgrounds)


def underpainting(
    skin: Float[Tensor, "1 4 side side"],
    background: Float[Tensor, "1 3 _ _"],
    uv: Float[Tensor, "batch 2 rows columns"],
    mask: Float[Tensor, "batch 1 rows columns"],
    back_cells: Float[Tensor, "batch 2"],
    windows: Windows,
) -> Float[Tensor, "batch 3 rows columns"]:
    """The face's colours where the head is, before the background under its window."""
    grid = (2.0 * uv - 1.0).permute(0, 2, 3, 1)
    face = F.grid_sample(
        skin.expand(uv.shape[0], -1, -1, -1), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    behind = windows.cut(background, back_cells).features
    wide = 2 * (uv.shape[-1] // _FADING) + 1
    soft = (2.0 * F.avg_pool2d(mask, wide, stride=1, padding=wide // 2) - 1.0).clamp(0.0, 1.0)
    return behind + soft * face[:, 3:].clamp(0.0, 1.0) * (face[:, :3] - behind)


def first_skins(people: People) -> Float[Tensor, "persons 4 side side"]:
    """The trackers' textures; opaque but for the neck, whose mesh ends where shoulders would begin, the ears, which are
    thin and stand elsewhere than a fitted head's, and what of the scalp no frame showed."""
    textures, mesh, head = people.textures, people.mesh, people.head
    texels = TexelMap.build(mesh.triangles, mesh.uv, mesh.uv_triangles, int(textures.shape[-1]))

    def region(*names: str) -> Tensor:
        return soft_mask(texels, head.region(*names), head.data.template_m, mesh.triangles, _SOFT_M)

    unseen = torch.stack([_flat(texture) for texture in textures]) * region("scalp")
    opacity = 1.0 - region("neck", "ears").maximum(unseen)
    return torch.cat([textures.float() / 127.5 - 1.0, opacity], dim=1)


def _flat(texture: UInt8[Tensor, "3 side side"]) -> Float[Tensor, "1 side side"]:
    """1 where a texture has the colour that most of its texels have: there the tracker filled it."""
    _, numbers, counts = torch.unique(texture.flatten(1).T, dim=0, return_inverse=True, return_counts=True)
    return (numbers == counts.argmax()).float().reshape(1, *texture.shape[1:])


@torch.no_grad()
def empty_background(
    source: Source, sizes: StyleAvatarSizes, covered_cells: int
) -> Float[Tensor, "3 crop_rows crop_columns"]:
    """What training frames show beside the person, averaged, and continued where the person always stood."""
    side = covered_cells * sizes.picture_px
    store, frames = FrameStore(source, side), usable_training_frames(source)
    total, seen = torch.zeros(3, side, side), torch.zeros(1, side, side)
    for frame in frames[:: max(len(frames) // _LOOKED_AT, 1)]:
        stored = store[frame].float() / 255
        free = (_widened(stored[3:]) < _PERSON) * store.valid[0]
        total += stored[:3] * free
        seen += free
    beyond = (sizes.crop_cells - covered_cells) * sizes.picture_px // 2
    known = F.pad(total / seen.clamp_min(1.0), (beyond,) * 4)
    filled = pull_push(known, F.pad(seen, (beyond,) * 4) / _TRUSTED)
    return 2.0 * filled - 1.0


def _widened(matte: Tensor) -> Tensor:
    reach = max(matte.shape[-1] // 64, 1)
    return F.max_pool2d(matte[None], 2 * reach + 1, stride=1, padding=reach)[0]
