"""What no picture shows, or shows badly, made from what pictures show well (paper 1, section 3.3.1, "outpainting").

Colour and grain are parted: the smooth colour is harmonic on the mesh, which has no seams; the grain is copied patch
by patch from well-seen skin, coarse to fine, with patches that reach across the borders of charts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.easing import ease
from headstudio.render.mesh import MeshTopology
from headstudio.texture.charts import ChartLinks
from headstudio.texture.delight import group_map
from headstudio.texture.fill import pull_push
from headstudio.texture.patch_match import Canvas, Field, Matcher
from headstudio.texture.smooth import smooth_colours
from headstudio.texture.texels import TexelMap
from headstudio.texture.unproject import Unprojected

GRAINS = (("face", "nose"), ("ears",), ("neck",), ("scalp",), ("lips", "eyelids", "mouth_cavity"), ("eyelashes",))
"""Regions of one grain; the first three are skin, of which each may be made from any, the scalp only from itself where
enough of it is seen, and the last two are neither made nor copied from."""
_SKIN, _SCALP, _MADE = 2, 3, 3


@dataclass(frozen=True)
class SynthesisConfig:
    """How the unseen is made up."""

    work_px: int = 256
    """Side of the texture in which patches are matched; their finer detail comes along when they are copied."""
    levels: int = 3
    """Sizes at which patches are matched, each half the next."""
    patch_px: int = 5
    """Side of a patch, odd."""
    passes: int = 2
    """Rounds of matching and voting at each size."""
    searches: int = 3
    """Rounds of propagation and random search in each."""
    good_weight: float = 0.15
    """Weight of the unprojection from which on a texel keeps its own colour."""
    seed: int = 0
    """Of the random search."""

    def __post_init__(self) -> None:
        if self.patch_px < 3 or self.patch_px % 2 == 0 or min(self.levels, self.work_px >> self.levels) < 1:
            raise HeadstudioError(
                f"patches of {self.patch_px} px on {self.levels} levels up to {self.work_px} px do not work",
                next_step="choose an odd patch from 3 up and fewer levels",
            )


def complete(
    unprojected: Unprojected,
    rest_m: Float[Tensor, "vertices 3"],
    mesh: MeshTopology,
    regions: Mapping[str, Bool[Tensor, " vertices"]],
    texels: TexelMap,
    config: SynthesisConfig,
) -> Float[Tensor, "3 size size"]:
    """The texture with every texel filled, those between charts too; deterministic.

    Args:
        unprojected: what pictures show.
        rest_m: the head at rest.
        mesh: its topology.
        regions: vertex regions by the names of `heads.base.REGIONS`; any may be missing.
        texels: of the mesh, in the size of the texture.
        config: sizes and rounds.
    """
    texture, trust = unprojected.texture, _trust(unprojected, texels, config.good_weight)
    base = texels.spread(smooth_colours(texture, trust, rest_m, mesh, texels, regions))
    detail = (texture - base) * (trust > 0)
    made = _grain(detail, trust, base, mesh, regions, config)
    whole = base + made + trust * (texture - base - made)
    return _beyond_charts(whole, mesh, texels)


def _trust(unprojected: Unprojected, texels: TexelMap, good: float) -> Tensor:
    return ease(unprojected.weight / good) * texels.mask


def _grain(
    detail: Tensor,
    trust: Tensor,
    base: Tensor,
    mesh: MeshTopology,
    regions: Mapping[str, Tensor],
    config: SynthesisConfig,
) -> Tensor:
    size, field = detail.shape[-1], None
    work = min(config.work_px, size)
    if size % work or work % 2 ** (config.levels - 1):
        raise HeadstudioError(
            f"a texture of {size} px cannot be halved down from {work} px", next_step="choose powers of two"
        )
    generator = torch.Generator().manual_seed(config.seed)
    for level in reversed(range(config.levels)):
        canvas = _canvas(detail, trust, base, mesh, regions, work >> level, config.patch_px)
        if not bool(canvas.source.any()):
            return torch.zeros_like(detail)
        matcher = Matcher(canvas, config.patch_px, generator)
        field = matcher.run(matcher.start(field), config.passes, config.searches)
    return torch.zeros_like(detail) if field is None else _painted(detail, field)


def _canvas(
    detail: Tensor,
    trust: Tensor,
    base: Tensor,
    mesh: MeshTopology,
    regions: Mapping[str, Tensor],
    size: int,
    patch_px: int,
) -> Canvas:
    texels = TexelMap.build(mesh.triangles, mesh.uv, mesh.uv_triangles, size)
    grain = group_map(regions, mesh.triangles, texels.fragments.triangle[0], GRAINS)
    scale = detail.shape[-1] // size
    pooled = F.avg_pool2d(torch.cat([detail * trust, trust, base])[None], scale)[0]
    believed, colour = pooled[3], pooled[4:]
    picture = pooled[:3] / believed.clamp_min(1e-4) * (believed > 0)
    wanted = (grain >= 0) & (grain <= _MADE)
    source = wanted & (believed > _WHOLE) & _usual(picture, wanted & (believed > _WHOLE))
    if not bool(_whole_enough(source, patch_px)):
        source = torch.zeros_like(source)
    target = wanted & (believed < _WHOLE)
    spread = picture[:, source].var(1).sum().sqrt() if int(source.sum()) > 1 else torch.tensor(0.0)
    guide = _guide(grain, source, colour) * spread
    links = ChartLinks.build(mesh, texels, patch_px // 2 + 1.5)
    return Canvas(picture, target, source, guide, links)


_WHOLE = 0.95


def _whole_enough(source: Tensor, patch_px: int) -> Tensor:
    return F.avg_pool2d(source.float()[None, None], min(patch_px, len(source)), stride=1).amax() > 1 - 1e-4


def _usual(picture: Tensor, inside: Tensor) -> Tensor:
    """Texels of no unusual grain: brows, moles and the edge of the hair are not spread over the head."""
    size = picture.square().sum(0).sqrt()
    if not bool(inside.any()):
        return inside
    return size <= _UNUSUAL * size[inside].median() + 1e-6


_UNUSUAL = 4.0


def _guide(grain: Tensor, source: Tensor, colour: Tensor) -> Tensor:
    scalp_seen = int((source & (grain == _SCALP)).sum()) >= _ENOUGH
    scalp = (grain == _SCALP).float() * (_NEVER if scalp_seen else 0.0)
    sources = torch.where(source & (grain == _SCALP), _NEVER, 0.0)
    apart = scalp if scalp_seen else sources
    region = torch.stack([(grain == index).float() for index in range(_SKIN + 1)]) * _REGION
    return torch.cat([apart[None], region, colour.mean(0, keepdim=True) * _BRIGHTNESS])


_ENOUGH, _NEVER, _REGION, _BRIGHTNESS = 200, 30.0, 0.3, 2.0
"""Texels of scalp from which scalp is made, and the guide's weights in standard deviations of the grain."""


def _painted(detail: Tensor, field: Field) -> Tensor:
    """The field's copies at full size, with the finer detail of their sources; where copies meet they are blended."""
    size = detail.shape[-1]
    scale = size // field.size
    table, flat = field.table(), detail.flatten(1)
    total, weights = torch.zeros_like(flat), torch.zeros_like(flat[:1])
    axis = (torch.arange(size, device=detail.device) + 0.5) / scale - 0.5
    low, share = axis.floor().long(), axis - axis.floor()
    own = torch.arange(size, device=detail.device)
    for down in (0, 1):
        for right in (0, 1):
            rows, columns = (low + down).clamp(0, field.size - 1), (low + right).clamp(0, field.size - 1)
            weight = (share if down else 1 - share)[:, None] * (share if right else 1 - share)[None]
            cell = rows[:, None] * field.size + columns[None]
            found = table[cell]
            row = (found // field.size - rows[:, None]) * scale + own[:, None]
            column = (found % field.size - columns[None]) * scale + own[None]
            inside = (found >= 0) & (row >= 0) & (row < size) & (column >= 0) & (column < size)
            place = row.clamp(0, size - 1) * size + column.clamp(0, size - 1)
            # The fourth power leaves a narrow seam between copies instead of a wide blur.
            share_here = (weight**4 * inside).flatten()
            total += flat[:, place.flatten()] * share_here
            weights += share_here
    return (total / weights.clamp_min(1e-12)).reshape(detail.shape)


def _beyond_charts(texture: Tensor, mesh: MeshTopology, texels: TexelMap) -> Tensor:
    """Texels between charts: what lies on the surface there, else what is near."""
    links = ChartLinks.build(mesh, texels, _GUTTER_PX)
    target = links.target.flatten()
    known = (target >= 0)[None]
    flat = torch.where(known, texture.flatten(1)[:, target.clamp_min(0)], 0.0).reshape(texture.shape)
    return pull_push(flat, known.reshape(1, *texture.shape[1:]).float())


_GUTTER_PX = 6.0
"""How far the surface beyond a seam is painted; look-ups blend only two texels."""
