"""The procedural albedo and gloss of a person, painted in space and baked into the head's atlas.

Everything is decided by regions and by measures of the face, so any `HeadModel` can be painted.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.heads.base import HeadModel
from headstudio.synth.atlas import Atlas, bake
from headstudio.synth.eyes import paint_eyes
from headstudio.synth.fields import Canvas, blend_between, diffuse, measure
from headstudio.synth.mouth import paint_mouth
from headstudio.synth.person import Looks, SyntheticPerson
from headstudio.synth.skin import paint_skin

_SOFT = {"lips": 1, "nose": 3, "ears": 3, "eyelids": 2, "scalp": 4, "neck": 4}
"""Rounds of diffusion of each region's border on the skin."""
_HARD = ("eyeballs", "eyelashes", "mouth_cavity", "teeth", "tongue")
"""Regions that are painted by their own rules."""

_LASHES_M = (0.003, 0.0015)
"""Distances from lashes at which the line that they draw on the lid ends and is whole."""


@dataclass(frozen=True)
class Appearance:
    """A person's material in the head's atlas."""

    albedo: Float[Tensor, "3 size size"]
    """sRGB in [0, 1]."""
    gloss: Float[Tensor, "2 size size"]
    """Specular strength and sharpness (1 is a mirror), both in [0, 1]."""


def paint(head: HeadModel, person: SyntheticPerson, size_px: int) -> Appearance:
    """Paint a person."""
    neutral = person.neutral(head)
    names, fields = _region_fields(head)
    atlas = bake(head, neutral, fields, size_px)
    canvas = Canvas(measure(head, neutral), atlas.points_m, dict(zip(names, atlas.fields.T, strict=True)), person.seed)
    colour, gloss = torch.zeros(len(atlas.points_m), 3), torch.zeros(len(atlas.points_m), 2)
    skin = canvas.regions["skin"] > 0.0
    colour[skin], gloss[skin] = paint_skin(canvas.part(skin), person.looks)
    inner = torch.stack([canvas.regions[name] for name in _HARD]).sum(0) > 0.0
    colour[inner], gloss[inner] = _overpainted(canvas.part(inner), colour[inner], gloss[inner], person.looks)
    return _assembled(atlas, colour, gloss)


def _overpainted(canvas: Canvas, colour: Tensor, gloss: Tensor, looks: Looks) -> tuple[Tensor, Tensor]:
    """Mouth and eyes over the skin, where their regions have any weight."""
    for colours, glosses, weight in (*paint_mouth(canvas), *paint_eyes(canvas, looks)):
        colour = torch.lerp(colour, colours, weight[:, None])
        gloss = torch.lerp(gloss, glosses, weight[:, None])
    return colour, gloss


def _region_fields(head: HeadModel) -> tuple[tuple[str, ...], Tensor]:
    own = head.region(*_HARD).float()[:, None]
    soft = [diffuse(head.region(name).float()[:, None], head.triangles, rounds) for name, rounds in _SOFT.items()]
    hard = [head.region(name).float()[:, None] for name in _HARD]
    skin = blend_between(own, 1.0, 0.0)
    return (*_SOFT, *_HARD, "skin", "lash_line"), torch.cat([*soft, *hard, skin, _lash_line(head)], dim=-1)


def _lash_line(head: HeadModel) -> Float[Tensor, "vertices 1"]:
    """Where lashes are rooted: near them. What an open lid folds away is near the eyeball too, but bears none."""
    lashes = head.template_m[head.region("eyelashes")]
    if not len(lashes):
        return torch.ones(head.vertices, 1)
    distance_m = torch.cdist(head.template_m, lashes).amin(dim=1, keepdim=True)
    return blend_between(distance_m, *_LASHES_M)


def _assembled(atlas: Atlas, colour: Tensor, gloss: Tensor) -> Appearance:
    picture = atlas.picture(torch.cat([colour.clamp(0.0, 1.0), gloss.clamp(0.0, 1.0)], dim=-1))
    return Appearance(picture[:3], picture[3:])
