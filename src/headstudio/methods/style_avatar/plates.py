"""Known pictures under the painted one: the empty background, the average person, the face's colours on the atlas.

The paper's networks find both from nothing in hours. Here they start as what the training frames show and go on
learning, and the image network paints what is missing: hair, shoulders, mouth, eyes, and all that moves.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from headstudio.methods.style_avatar.people import People
from headstudio.methods.style_avatar.renderings import FixedLightConfig
from headstudio.methods.style_avatar.sizes import StyleAvatarSizes
from headstudio.methods.style_avatar.windows import Windows
from headstudio.texture.fill import pull_push
from headstudio.texture.regions import soft_mask
from headstudio.texture.texels import TexelMap
from headstudio.training.batches import FrameStore, spread_out, usable_training_frames
from headstudio.training.contract import Source

_LOOKED_AT = 32
_PERSON = 0.05
"""Matte above which a pixel may show the person."""
_SOFT_M, _JAW_M = 0.02, 0.03
_FADING = 128
"""The face's colours fade towards the outline of the mesh over such a part of the picture's side: seen edge-on they are
smears, and the outline of a fitted head is never that of the person."""
_TRUSTED = 4.0
"""Frames that must have seen a pixel of the background."""


class Plate(NamedTuple):
    """What is known of one person's pictures, in [-1, 1]; opacities about in [0, 1]."""

    skin: Float[Tensor, "1 4 side side"]
    """Colours in the atlas, and their opacity."""
    background: Float[Tensor, "1 3 crop_rows crop_columns"]
    """The empty background under the crop."""
    person: Float[Tensor, "1 4 rows columns"]
    """The average person in a window, and its matte."""
    home: Float[Tensor, "1 2"]
    """Where the head stands in it, in shares of its sides."""


class Plates(nn.Module):
    """The plates of every person."""

    homes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.skins, self.backgrounds = nn.Parameter(torch.zeros(0)), nn.Parameter(torch.zeros(0))
        self.persons = nn.Parameter(torch.zeros(0))
        self.register_buffer("homes", torch.zeros(0))

    def take(self, plates: Sequence[Plate]) -> None:
        """Start from these, one a person."""
        skins, backgrounds, persons, homes = (torch.cat(each) for each in zip(*plates, strict=True))
        self.skins, self.backgrounds = nn.Parameter(skins), nn.Parameter(backgrounds)
        self.persons, self.homes = nn.Parameter(persons), homes

    def of(self, person: int) -> Plate:
        """The plates of one person."""
        one = slice(person, person + 1)
        return Plate(self.skins[one], self.backgrounds[one], self.persons[one], self.homes[one])


def underpainting(
    plate: Plate,
    uv: Float[Tensor, "batch 2 rows columns"],
    mask: Float[Tensor, "batch 1 rows columns"],
    back_cells: Float[Tensor, "batch 2"],
    windows: Windows,
) -> Float[Tensor, "batch 4 rows columns"]:
    """The face's colours where the head is, before the average person, who goes with it, before the background under
    its window; then the matte. All in [-1, 1]."""
    grid = (2.0 * uv - 1.0).permute(0, 2, 3, 1)
    face = F.grid_sample(
        plate.skin.expand(uv.shape[0], -1, -1, -1), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    wide = 2 * max(int(uv.shape[-1]) // _FADING, 1) + 1
    soft = (2.0 * F.avg_pool2d(mask, wide, stride=1, padding=wide // 2) - 1.0).clamp(0.0, 1.0)
    person = _following(plate, mask, windows)
    behind, shown = windows.cut(plate.background, back_cells).features, person[:, 3:].clamp(0.0, 1.0)
    covers = soft * face[:, 3:].clamp(0.0, 1.0)
    picture = behind + shown * (person[:, :3] - behind)
    picture = picture + covers * (face[:, :3] - picture)
    return torch.cat([picture, 1.0 - 2.0 * (1.0 - shown) * (1.0 - covers)], dim=1)


def standing(mask: Float[Tensor, "batch 1 rows columns"], home: Float[Tensor, "#batch 2"]) -> Float[Tensor, "batch 2"]:
    """Where the middle of a mask lies, in shares of its sides; `home` where it is empty.

    In single precision: a sum over a picture is more than half precision holds.
    """
    mask, home = mask.float(), home.float()
    rows, columns = ((torch.arange(int(side), device=mask.device) + 0.5) / int(side) for side in mask.shape[2:])
    shares = torch.stack([(mask[:, 0] * columns).sum((1, 2)), (mask[:, 0] * rows[:, None]).sum((1, 2))], dim=1)
    total = mask.sum((1, 2, 3))[:, None]
    return torch.where(total > 0, shares / total.clamp_min(1.0), home)


def _following(plate: Plate, mask: Tensor, windows: Windows) -> Float[Tensor, "batch 4 rows columns"]:
    """The average person, moved to where the head stands."""
    cells, side = windows.sizes.window_cells, plate.person.shape[-1] // windows.sizes.picture_px
    places = (torch.arange(int(mask.shape[-1]), device=mask.device) + 0.5) / int(mask.shape[-1])
    window = torch.stack(torch.meshgrid(places, places, indexing="xy"), dim=-1)
    away = window - standing(mask, plate.home)[:, None, None]
    grid = 2.0 * (away * (cells / side) + plate.home.float()[:, None, None]) - 1.0
    wide = plate.person.expand(mask.shape[0], -1, -1, -1)
    return F.grid_sample(wide, grid.to(wide), mode="bilinear", padding_mode="border", align_corners=False)


def first_plates(sources: Sequence[Source], people: People, sizes: StyleAvatarSizes, covered_cells: int) -> list[Plate]:
    """What the training frames of every person show."""
    found = []
    for number, (source, skin) in enumerate(zip(sources, first_skins(people), strict=True)):
        person, home = average_person(source, people, number, covered_cells * sizes.picture_px)
        background = empty_background(source, sizes, covered_cells)
        found.append(Plate(skin[None], background[None], person[None], home))
    return found


@torch.no_grad()
def average_person(
    source: Source, people: People, number: int, side_px: int
) -> tuple[Float[Tensor, "4 side_px side_px"], Float[Tensor, "1 2"]]:
    """Colours in [-1, 1] and matte of the person, averaged with the head in one place, and that place."""
    store = FrameStore(source, side_px)
    frames = torch.tensor(spread_out(usable_training_frames(source), _LOOKED_AT))
    seen = torch.stack([store[int(frame)] for frame in frames]).float() / 255
    masks = torch.cat([_mask(source, people, number, side_px, one) for one in frames.split(1)])
    middle = torch.full((1, 2), 0.5)
    places = standing(masks, middle)
    home = places.mean(0, keepdim=True)
    moved = affine_moved(torch.cat([seen[:, :3] * seen[:, 3:], seen[:, 3:]], 1), places - home)
    total = moved.sum(0)
    colours = pull_push(total[:3] / total[3:].clamp_min(1e-3), total[3:] / _TRUSTED)
    return torch.cat([2.0 * colours - 1.0, total[3:] / len(frames)]), home


def affine_moved(
    pictures: Float[Tensor, "batch channels side side"], by: Float[Tensor, "batch 2"]
) -> Float[Tensor, "batch channels side side"]:
    """What lies `by` (shares of the sides, x and y) from each place; borders continue."""
    turn = torch.eye(2).expand(len(by), 2, 2)
    grid = F.affine_grid(torch.cat([turn, 2.0 * by[..., None]], dim=2), list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _mask(source: Source, people: People, number: int, side_px: int, frames: Tensor) -> Tensor:
    view = source.track.view(frames, size_px=side_px)
    unmoved = torch.zeros(len(frames), 2)
    return people.renderings(number, source.motion.at(frames), view, FixedLightConfig(), unmoved).mask


def first_skins(people: People) -> Float[Tensor, "persons 4 side side"]:
    """The trackers' textures; opaque but for the neck, whose mesh ends where shoulders would begin, the ears, which are
    thin and stand elsewhere than a fitted head's, and the scalp, which is hair at no fixed place."""
    textures, mesh, head = people.textures, people.mesh, people.head
    texels = TexelMap.build(mesh.triangles, mesh.uv, mesh.uv_triangles, int(textures.shape[-1]))

    def region(*names: str, margin_m: float) -> Tensor:
        return soft_mask(texels, head.region(*names), head.data.template_m, mesh.triangles, margin_m)

    # The edge of the jaw stands before the collar in some frames, and a tracker's texture has a streak of it.
    jaw = (2.0 * region("neck", margin_m=_JAW_M)).clamp(max=1.0)
    opacity = (1.0 - region("ears", "scalp", margin_m=_SOFT_M).maximum(jaw)).expand(len(textures), -1, -1, -1)
    skins = torch.cat([textures.float() / 127.5 - 1.0, opacity], dim=1)
    # What lies between the charts is looked up with their borders, and would be a dotted line along every seam.
    charts = texels.mask[None].float()
    return torch.stack([pull_push(skin, charts) for skin in skins])


@torch.no_grad()
def empty_background(
    source: Source, sizes: StyleAvatarSizes, covered_cells: int
) -> Float[Tensor, "3 crop_rows crop_columns"]:
    """What training frames show beside the person, averaged, and continued where the person always stood."""
    side = covered_cells * sizes.picture_px
    store, frames = FrameStore(source, side), usable_training_frames(source)
    total, seen = torch.zeros(3, side, side), torch.zeros(1, side, side)
    for frame in spread_out(frames, _LOOKED_AT):
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
