"""What is computed once from the training frames: the static texture and its light, the blend mask."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from headstudio.geometry.easing import ease
from headstudio.heads.base import HeadModel
from headstudio.methods.dynamic_texture.config import Canvas, DynamicTextureConfig
from headstudio.records.scan import LightMode, Scan, SkinTexture
from headstudio.render.light import turned
from headstudio.render.mesh import MeshTopology
from headstudio.texture.frames import observe, spread_over_turns
from headstudio.texture.regions import soft_mask
from headstudio.texture.static import StaticTexture, Surface, known_skin, static_texture
from headstudio.texture.texels import TexelMap
from headstudio.texture.unproject import Observation, Unprojected, unproject
from headstudio.training.batches import usable_training_frames
from headstudio.training.contract import Source

PAINTED_REGIONS = ("eyelids", "eyeballs", "eyelashes", "lips", "mouth_cavity", "teeth", "tongue")
"""The regions where a static texture fails (sec. 3.3.2)."""


@dataclass(frozen=True)
class Baked:
    """The constant part of an avatar."""

    static: Float[Tensor, "3 size size"]
    """Static texture, sRGB in [0, 1], filled everywhere; albedo where the light was taken off."""
    blend: Float[Tensor, "1 size size"]
    """1 where the painted texture shows."""
    light_sh: Float[Tensor, "9 3"] | None = None
    """Of the clip, in world axes; None where it is left in the texture."""
    harmonics: Float[Tensor, "vertices 9"] | None = None
    """What of a light in head axes reaches each vertex at rest."""


def topology(head: HeadModel) -> MeshTopology:
    """The head's mesh for the renderer."""
    return MeshTopology(head.data.triangles, head.data.uv, head.data.uv_triangles)


@torch.no_grad()
def bake(
    source: Source, head: HeadModel, neutral_m: Float[Tensor, "1 vertices 3"], config: DynamicTextureConfig
) -> Baked:
    """Static texture, light and blend mask of one person; those of the source's scan where it brings them."""
    surface = Surface(neutral_m[0], topology(head), head.data.regions)
    capture, track, usable = source.capture, source.track, usable_training_frames(source)
    frames = spread_over_turns(track, usable, _frame_quality(source), config.texture_frames)
    observations = [observe(capture, track, head, neutral_m, frame) for frame in frames]
    blend = _blend_mask(source.scan, head, surface, config)
    if not config.relight:
        found = static_texture(observations, surface, LightMode.TURNING, replace(config.static, delight=None))
        return _on_canvas(Baked(found.albedo, blend), found.seen, config.canvas)
    skin = None if source.scan is None else source.scan.texture
    if skin is None:
        found = static_texture(observations, surface, LightMode.TURNING, config.static)
    else:
        found = _with_own(skin, observations, surface, blend, config)
    assert found.light_sh is not None
    T_camera_world = track.view(torch.tensor(frames[:1])).T_camera_world
    light_sh = turned(found.light_sh[None], T_camera_world[:, :3, :3].transpose(1, 2))[0]
    return _on_canvas(Baked(found.albedo, blend, light_sh, found.harmonics), found.seen, config.canvas)


def _with_own(
    skin: SkinTexture, observations: list[Observation], surface: Surface, blend: Tensor, config: DynamicTextureConfig
) -> StaticTexture:
    """The scan's skin, the light of this clip on it, and over it what this clip shows itself: what the mask covers,
    eyes that may have been closed in clip A and an inner mouth that it never saw, and skin that is seen well."""
    size = (config.static.size_px, config.static.size_px)
    albedo = F.interpolate(skin.albedo[None].float() / 255, size, mode="area")[0]
    light_sh, lit = known_skin(observations, surface, LightMode.TURNING, albedo, config.static)
    mesh = surface.mesh
    texels = TexelMap.build(mesh.triangles, mesh.uv, mesh.uv_triangles, size[0])
    own = unproject(lit, mesh, texels, config.static.unprojection)
    share = blend * ease(own.weight / config.static.synthesis.good_weight)
    if config.own_skin:
        share = share.maximum(_well_seen(own))
    mixed = albedo + share * (own.texture.clamp(0, 1) - albedo)
    seen = F.interpolate(skin.seen[None, None].float(), size)[0] > 0.5
    return StaticTexture(mixed, light_sh, seen, lit[0].harmonics, {})


def _well_seen(own: Unprojected) -> Float[Tensor, "1 size size"]:
    """1 where a texel is seen as well as most, falling to 0 where it is seen a third as well."""
    if not bool(own.seen.any()):
        return torch.zeros_like(own.weight)
    usual = own.weight[own.seen].median()
    return ease(1.5 * own.weight / usual - 0.5)


def _on_canvas(baked: Baked, seen: Tensor, canvas: Canvas) -> Baked:
    if canvas == "mask":
        return baked
    everywhere = torch.ones_like(baked.blend)
    if canvas == "everywhere":
        return replace(baked, blend=everywhere)
    flat = baked.static[:, seen[0]].mean(1)[:, None, None].expand_as(baked.static).contiguous()
    return replace(baked, static=flat, blend=everywhere)


def _blend_mask(
    scan: Scan | None, head: HeadModel, surface: Surface, config: DynamicTextureConfig
) -> Float[Tensor, "1 size size"]:
    size = config.static.size_px
    if scan is not None and scan.fit is not None:
        mask = scan.fit.blend_mask[None, None].float() / 255
        return F.interpolate(mask, (size, size), mode="bilinear", align_corners=False, antialias=True)[0]
    mesh = surface.mesh
    texels = TexelMap.build(mesh.triangles, mesh.uv, mesh.uv_triangles, size)
    return soft_mask(texels, head.region(*PAINTED_REGIONS), surface.rest_m, mesh.triangles, config.margin_m)


def _frame_quality(source: Source) -> Tensor:
    sharpness = source.capture.views[0].quality.get("sharpness")
    confidence = source.track.confidence
    if sharpness is None:
        return confidence
    return confidence * (sharpness / sharpness.nanmedian().clamp_min(1e-8)).nan_to_num(0).clamp(0, 2)
