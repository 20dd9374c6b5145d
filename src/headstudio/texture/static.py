"""The static texture of clip A (paper 1, section 3.3.1): unprojected, without its light, complete."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from headstudio.records.scan import LightMode
from headstudio.render.colour import srgb_to_linear
from headstudio.render.light import spherical_harmonics
from headstudio.render.mesh import MeshTopology
from headstudio.render.normals import vertex_normals
from headstudio.render.transfer import shadowed_harmonics
from headstudio.texture.delight import (
    DelightConfig,
    Delit,
    TexelTable,
    delight,
    group_map,
    light_turns,
)
from headstudio.texture.known_light import light_over
from headstudio.texture.synthesis import SynthesisConfig, complete
from headstudio.texture.texels import TexelMap
from headstudio.texture.unproject import Observation, UnprojectionConfig, sample, unproject

MOVING = ("eyelids", "eyeballs", "eyelashes", "lips", "mouth_cavity", "teeth", "tongue")
"""Regions whose shadow at rest says nothing of how they are lit when the face moves."""
GROUPS = (("face", "nose", "ears"), ("lips",), ("eyelids",))
"""Regions whose texels tell of the light, those of near one colour together; a neck may be a collar."""


@dataclass(frozen=True)
class Surface:
    """A head at rest, in head axes."""

    rest_m: Float[Tensor, "vertices 3"]
    mesh: MeshTopology
    regions: Mapping[str, Bool[Tensor, " vertices"]]
    """By the names of `heads.base.REGIONS`; any may be missing."""


@dataclass(frozen=True)
class StaticTextureConfig:
    """How the static texture is made."""

    size_px: int = 2048
    """Side of the texture."""
    unprojection: UnprojectionConfig = field(default_factory=UnprojectionConfig)
    """How the pictures are averaged."""
    sharpness_power: float = 1.0
    """Pictures count with this power of their sharpness over the sharpest's; the paper has 0."""
    light_px: int = 160
    """Side of the texture in which the light is looked for."""
    delight: DelightConfig | None = field(default_factory=DelightConfig)
    """How the light is taken off; None leaves it in."""
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    """How the rest is made up."""

    @classmethod
    def draft(cls) -> "StaticTextureConfig":
        """For any laptop."""
        return cls(size_px=512, light_px=128)

    @classmethod
    def standard(cls) -> "StaticTextureConfig":
        """All defaults."""
        return cls()

    @classmethod
    def paper(cls) -> "StaticTextureConfig":
        """The paper's plain mean and bare harmonics, at its largest size."""
        return cls(
            size_px=4096,
            unprojection=UnprojectionConfig(angle_power=0.0, robust_passes=0),
            sharpness_power=0.0,
            delight=DelightConfig(shadow_directions=0),
        )


@dataclass(frozen=True)
class StaticTexture:
    """A texture for any light."""

    albedo: Float[Tensor, "3 size size"]
    """sRGB in [0, 1], no texel empty; with its light where none was taken off."""
    light_sh: Float[Tensor, "9 3"] | None
    """Light of the pictures: in camera axes where it turned about the head, else in head axes; None: not looked for."""
    seen: Bool[Tensor, "1 size size"]
    """Texels whose colour comes from pictures."""
    harmonics: Float[Tensor, "vertices 9"] | None
    """What of a light in head axes reaches each vertex at rest; None where none was looked for."""
    log: dict[str, float]
    """Measures of what was done."""


@torch.no_grad()
def static_texture(
    observations: Sequence[Observation],
    surface: Surface,
    light_mode: LightMode,
    config: StaticTextureConfig,
) -> StaticTexture:
    """The texture of a still head from pictures all round.

    Args:
        observations: the pictures, with their light in them, and the head before each camera.
        surface: the head at rest.
        light_mode: what the light did (`Scan.light`); the cameras of a turning light all stand still in the room.
        config: sizes and weights.

    Raises:
        HeadstudioError: there is no picture, or too little skin in them to find the light.
    """
    mesh = surface.mesh
    observations = _weighed(observations, config.sharpness_power)
    texels = TexelMap.build(mesh.triangles, mesh.uv, mesh.uv_triangles, config.size_px)
    log: dict[str, float] = {}
    light = harmonics = None
    if config.delight is not None:
        found, observations = without_light(observations, surface, light_mode, config)
        harmonics = observations[0].harmonics
        light, log = found.light_sh, {f"light_{name}": value for name, value in found.losses.items()}
    unprojected = unproject(observations, mesh, texels, config.unprojection)
    whole = complete(unprojected, surface.rest_m, mesh, surface.regions, texels, config.synthesis)
    log["seen_share"] = float(unprojected.seen[0][texels.mask].float().mean())
    return StaticTexture(whole.clamp(0.0, 1.0), light, unprojected.seen & texels.mask, harmonics, log)


def without_light(
    observations: Sequence[Observation], surface: Surface, light_mode: LightMode, config: StaticTextureConfig
) -> tuple[Delit, list[Observation]]:
    """The light, and the same observations with what unprojection needs to take it off."""
    looked = _looked_at(observations, surface, light_mode, config)
    found = delight(looked.table, looked.turns, config.delight or DelightConfig())
    return found, looked.lit_by(found.light_sh)


def reaching_harmonics(surface: Surface, directions: int) -> Float[Tensor, "vertices 9"]:
    """What of a light in head axes reaches each vertex: the head shadows itself where it does not move.

    Args:
        surface: the head at rest.
        directions: as of `shadowed_harmonics`.
    """
    harmonics = shadowed_harmonics(surface.rest_m, surface.mesh.triangles, directions)
    known = [surface.regions[name] for name in MOVING if name in surface.regions]
    if not known:
        return harmonics
    moving = torch.stack(known).any(0).to(harmonics.device)[:, None]
    normals = vertex_normals(surface.rest_m[None], surface.mesh.triangles)[0]
    return torch.where(moving, spherical_harmonics(normals), harmonics)


def known_skin(
    observations: Sequence[Observation],
    surface: Surface,
    light_mode: LightMode,
    albedo: Float[Tensor, "3 rows columns"],
    config: StaticTextureConfig,
) -> tuple[Float[Tensor, "9 3"], list[Observation]]:
    """Light and lit observations of a head whose skin is known already: nothing has to be told apart.

    Args:
        albedo: sRGB in [0, 1], of any size.
    """
    looked = _looked_at(observations, surface, light_mode, config)
    small = F.interpolate(srgb_to_linear(albedo)[None], (config.light_px, config.light_px), mode="area")[0]
    light_sh = light_over(looked.table, small[:, looked.table.places].T, looked.turns)
    return light_sh, looked.lit_by(light_sh)


@dataclass(frozen=True)
class _LookedAt:
    """Observations as the search for their light sees them."""

    observations: Sequence[Observation]
    harmonics: Float[Tensor, "vertices 9"]
    table: TexelTable
    turns: Float[Tensor, "views 9 9"]

    def lit_by(self, light_sh: Float[Tensor, "9 3"]) -> list[Observation]:
        """The same with what unprojection needs to take this light off."""
        pairs = zip(self.observations, self.turns, strict=True)
        return [replace(o, light_sh=turn @ light_sh, harmonics=self.harmonics) for o, turn in pairs]


def _looked_at(
    observations: Sequence[Observation], surface: Surface, light_mode: LightMode, config: StaticTextureConfig
) -> _LookedAt:
    settings = config.delight or DelightConfig()
    harmonics = reaching_harmonics(surface, settings.shadow_directions)
    table = texel_table(observations, surface, harmonics, config)
    turns = light_turns(surface.rest_m, [o.vertices_camera_m for o in observations], light_mode is LightMode.TURNING)
    return _LookedAt(observations, harmonics, table, turns)


def texel_table(
    observations: Sequence[Observation],
    surface: Surface,
    harmonics: Float[Tensor, "vertices 9"],
    config: StaticTextureConfig,
) -> TexelTable:
    """What the observations say of the skin in a small texture."""
    mesh = surface.mesh
    small = TexelMap.build(mesh.triangles, mesh.uv, mesh.uv_triangles, config.light_px)
    group = group_map(surface.regions, mesh.triangles, small.fragments.triangle[0], GROUPS)
    seen = sample(observations, mesh, small, config.unprojection)
    return TexelTable.of(seen, small.spread(harmonics), group)


STATIC_TEXTURE_PRESETS: Mapping[str, StaticTextureConfig] = {
    "draft": StaticTextureConfig.draft(),
    "standard": StaticTextureConfig.standard(),
    "paper": StaticTextureConfig.paper(),
}


def _weighed(observations: Sequence[Observation], power: float) -> list[Observation]:
    sharpness = torch.tensor([_sharpness(o) for o in observations])
    share = (sharpness / sharpness.amax().clamp_min(1e-8)) ** power if len(observations) else sharpness
    return [replace(o, weight=o.weight * float(s)) for o, s in zip(observations, share, strict=True)]


def _sharpness(observation: Observation) -> float:
    """Mean size of the Laplacian well inside the person: the outline is the background's affair."""
    grey = observation.image.mean(0)
    trust = -F.max_pool2d(-observation.trust[None], _OUTLINE_PX, stride=1, padding=_OUTLINE_PX // 2)[0, 0, 1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    edges = (around - 4.0 * grey[1:-1, 1:-1]).abs()
    return float((edges * trust).sum() / trust.sum().clamp_min(1.0))


_OUTLINE_PX = 7
