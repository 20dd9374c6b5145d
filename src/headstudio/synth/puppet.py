"""The whole actor as one mesh: head, lashes, hair and shirt, each moving in its own way."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from headstudio.heads.arkit import ARKIT_INDEX, ARKIT_NAMES
from headstudio.render.colour import srgb_to_linear
from headstudio.render.normals import vertex_normals
from headstudio.render.occlusion import ambient
from headstudio.synth.stage import Stage
from headstudio.synth.torso import AROUND

SWATCH_ROWS = 8
"""The head's texture is followed by a strip of plain materials, one row for so many of the head's."""

HAIR_COLUMN, SHIRT_COLUMN = 0.25, 0.75
"""Where hair and shirt look up their gloss in that strip."""

_LASH_RGB = (0.035, 0.025, 0.022)
"""Linear colour of lashes."""


class Puppet:
    """Topology and constant attributes of an actor; `posed` gives its points at a moment.

    Attribute points are vertices split at the seams of the head's atlas.
    """

    triangles: Int[Tensor, "triangles 3"]
    """By vertex."""
    one_sided: int
    """So many of the first triangles are skin, seen from outside only; the others are hair and cloth."""
    corners: Int[Tensor, "triangles 3"]
    """The same triangles by attribute point."""
    point_vertex: Int[Tensor, " points"]
    """Vertex of each attribute point."""
    constant: Float[Tensor, "points 6"]
    """Place in the texture (2), open sky (1) and linear tint (3) of each attribute point."""

    def __init__(self, stage: Stage) -> None:
        head = stage.head
        self._stage = stage
        # Lashes are drawn as hairs instead of the strips that carry them.
        bare = ~head.region("eyelashes")[head.triangles].all(-1)
        if stage.undrawn is not None:
            bare = bare & ~stage.undrawn
        pairs = torch.stack([head.triangles, head.uv_triangles], dim=-1).long()
        split, index = torch.unique(pairs.reshape(-1, 2), dim=0, return_inverse=True)
        extras = self._extra_triangles()
        self._head_triangles = head.triangles
        self.triangles = _stacked(head.triangles[bare], extras, head.vertices)
        self.one_sided = int(bare.sum())
        self.corners = _stacked(index.reshape(-1, 3)[bare], extras, len(split))
        extra_count = sum(count for _, count in extras)
        self.point_vertex = torch.cat([split[:, 0], torch.arange(extra_count) + head.vertices])
        sky = self._open_sky()[self.point_vertex]
        uv, tint = self._materials(head.uv[split[:, 1]])
        self.constant = torch.cat([uv, sky[:, None], tint], dim=-1)

    def posed(
        self, head_m: Float[Tensor, "vertices 3"], shoulders: Callable[[Tensor], Tensor]
    ) -> tuple[Float[Tensor, "all 3"], Float[Tensor, "all 3"]]:
        """Points and unit normals of the whole actor in the skull's frame.

        Args:
            head_m: the posed head.
            shoulders: takes points that are rigid with the shoulders to the skull's frame.
        """
        stage = self._stage
        points, normals = [head_m], [vertex_normals(head_m[None], self._head_triangles)[0]]
        if stage.lashes is not None:
            points.append(stage.lashes.points(head_m))
            normals.append(_away_from_eyes(points[-1], stage.anatomy.eye_centre_m))
        if stage.hair is not None:
            points.append(stage.hair.points_m)
            normals.append(stage.hair.normals)
        points.append(shoulders(stage.shirt.points_m))
        normals.append(shoulders(stage.shirt.normals) - shoulders(torch.zeros(1, 3)))
        return torch.cat(points), torch.cat(normals)

    def _extra_triangles(self) -> list[tuple[Tensor, int]]:
        stage = self._stage
        extras = [(stage.lashes.triangles, len(stage.lashes.vertices))] if stage.lashes is not None else []
        return extras + [(mesh.triangles, len(mesh.points_m)) for mesh in (stage.hair, stage.shirt) if mesh is not None]

    def _materials(self, head_uv: Tensor) -> tuple[Tensor, Tensor]:
        stage = self._stage
        uv, tint = [head_uv * torch.tensor([1.0, SWATCH_ROWS / (SWATCH_ROWS + 1.0)])], [torch.ones(len(head_uv), 3)]
        if stage.lashes is not None:
            uv.append(_swatch(len(stage.lashes.vertices), HAIR_COLUMN))
            tint.append(torch.tensor(_LASH_RGB).expand(len(stage.lashes.vertices), 3))
        if stage.hair is not None:
            uv.append(_swatch(len(stage.hair.points_m), HAIR_COLUMN))
            tint.append(_hair_tint(stage.hair.uv, stage.person.looks.hair_rgb))
        uv.append(_swatch(len(stage.shirt.points_m), SHIRT_COLUMN))
        tint.append(_shirt_tint(stage.shirt.uv, stage.person.looks.shirt_rgb))
        return torch.cat(uv), torch.cat(tint)

    def _open_sky(self) -> Tensor:
        head, neutral = self._stage.head, self._stage.neutral_m
        sky = self._sky_of(neutral)
        # What an open lid folds away lies in the light once it is shut.
        shut = torch.zeros(1, len(ARKIT_NAMES))
        shut[:, [ARKIT_INDEX["eyeBlinkLeft"], ARKIT_INDEX["eyeBlinkRight"]]] = 1.0
        lids = head.region("eyelids").nonzero()[:, 0]
        sky[lids] = torch.maximum(sky, self._sky_of(head.pose(neutral[None], head.from_arkit(shut))[0]))[lids]
        # The mouth opens and the eyes turn after this was measured on the neutral face.
        for region, least in (("mouth_cavity", 0.1), ("tongue", 0.22), ("teeth", 0.4), ("eyeballs", 0.6)):
            inside = head.region(region).nonzero()[:, 0]
            sky[inside] = sky[inside].clamp_min(least)
        return 0.1 + 0.9 * sky

    def _sky_of(self, head_m: Tensor) -> Tensor:
        points, normals = self.posed(head_m, lambda values: values)
        return ambient(points, normals, self.triangles)


def _stacked(first: Tensor, extras: list[tuple[Tensor, int]], count: int) -> Tensor:
    parts = [first.int()]
    for triangles, points in extras:
        parts.append(triangles.int() + count)
        count += points
    return torch.cat(parts).contiguous()


def _away_from_eyes(points: Tensor, centres: Tensor) -> Tensor:
    nearest = (points[:, None] - centres).norm(dim=-1).argmin(-1)
    return normalize(points - centres[nearest], dim=-1)


def _swatch(points: int, column: float) -> Tensor:
    return torch.tensor([column, (SWATCH_ROWS + 0.5) / (SWATCH_ROWS + 1.0)]).expand(points, 2)


def _hair_tint(uv: Tensor, hair_rgb: tuple[float, float, float]) -> Tensor:
    # Roots lie in the shade of what covers them; tips are bleached a little.
    return srgb_to_linear(torch.tensor(hair_rgb)) * (0.55 + 0.9 * uv[:, :1]) * (0.75 + 0.45 * uv[:, 1:])


def _shirt_tint(uv: Tensor, shirt_rgb: tuple[float, float, float]) -> Tensor:
    # The collar is ribbed: every other column of the loft is a furrow.
    furrow = 0.5 - 0.5 * torch.cos(uv[:, :1] * AROUND * torch.pi)
    return srgb_to_linear(torch.tensor(shirt_rgb)) * (1.0 - 0.22 * furrow * (uv[:, 1:] < 0.3))
