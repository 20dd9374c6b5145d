"""The frame renderer: a lit, shadowed, antialiased picture of the stage at one moment."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import avg_pool2d

from headstudio.geometry.rigid import transform
from headstudio.render.colour import linear_to_srgb, srgb_to_linear
from headstudio.render.composite import over
from headstudio.render.light import shade
from headstudio.render.normals import unit
from headstudio.render.occlusion import visibility
from headstudio.render.rasterise import Fragments, interpolate, rasterise
from headstudio.render.texture import MipPyramid, build_pyramid, sample_texture
from headstudio.synth.appearance import Appearance, paint
from headstudio.synth.puppet import SWATCH_ROWS, Puppet
from headstudio.synth.room import paint_room
from headstudio.synth.stage import Stage

_HAIR_GLOSS, _SHIRT_GLOSS = (0.22, 0.32), (0.06, 0.1)


@dataclass(frozen=True)
class Picture:
    """One rendered frame."""

    rgb: UInt8[Tensor, "height width 3"]
    """sRGB with the sensor's noise."""
    alpha: Float[Tensor, "height width"]
    """Coverage by the person, hair and shirt included."""


class FrameRenderer:
    """Renders the frames of a stage; what does not change is prepared once."""

    def __init__(self, stage: Stage) -> None:
        config = stage.config
        self.stage = stage
        """May be replaced by one of the same person: another pose, light or camera."""
        self.appearance: Appearance = paint(stage.head, stage.person, config.texture_px)
        self._pyramid = _material(self.appearance, config.texture_px)
        self.puppet = Puppet(stage)
        self._room = srgb_to_linear(paint_room(config.seed, config.width_px, config.height_px))[None]

    def render(self, frame: int) -> Picture:
        """Render one frame."""
        with torch.inference_mode():
            points, normals = self.moved(frame)
            fragments = self._fragments(points)
            key = visibility(points, normals, self.puppet.triangles, self.stage.light.towards_key)
            colour, alpha = self._lit(fragments, points, normals, key)
            return self._exposed(colour, alpha, frame)

    def moved(self, frame: int) -> tuple[Float[Tensor, "points 3"], Float[Tensor, "points 3"]]:
        """All points and normals, as they are lit, in camera axes."""
        stage = self.stage
        T = stage.T_camera_head[frame]
        points, normals = self.puppet.posed(stage.head_vertices(frame), lambda values: stage.shoulders(frame, values))
        return transform(T, points), normals @ T[:3, :3].T

    def _fragments(self, points: Tensor) -> Fragments:
        config = self.stage.config
        scale = config.supersampling
        camera = self.stage.lens.camera.resized(config.width_px * scale, config.height_px * scale)
        return rasterise(points[None], self.facing(points), camera)

    def facing(self, points: Float[Tensor, "points 3"]) -> Int[Tensor, "triangles 3"]:
        """The puppet's triangles, with those of the skin that are seen from inside collapsed to nothing.

        A mouth's cavity is wider than the mouth and touches the cheeks from within when they move.
        """
        skin = self.puppet.triangles[: self.puppet.one_sided]
        a, b, c = (points[skin[:, corner].long()] for corner in range(3))
        outside = (torch.linalg.cross(b - a, c - a) * a).sum(-1) < 0.0
        triangles = self.puppet.triangles.clone()
        triangles[: len(skin)] *= outside[:, None].int()
        return triangles

    def _lit(self, fragments: Fragments, points: Tensor, normals: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Linear colour, premultiplied, and coverage."""
        # Attributes belong to points that are split at the atlas's seams; positions and light do not.
        moving = torch.cat([normals, points, key[:, None]], dim=-1)[self.puppet.point_vertex]
        maps = interpolate(fragments, torch.cat([moving, self.puppet.constant], dim=-1)[None], self.puppet.corners)
        mask = fragments.mask
        material = sample_texture(self._pyramid, maps[:, 7:9].contiguous(), mask)
        seen = mask[0, 0] > 0
        light = self.stage.light
        environment = shade(unit(maps[0, :3], 0)[None], light.environment_sh[None])
        index = seen.flatten().nonzero()[:, 0]
        pixels = torch.cat([part[0].flatten(1).index_select(1, index) for part in (maps, environment, material)])
        colour = torch.zeros(1, 4, *seen.shape)
        colour[0, :3].flatten(1).index_copy_(1, index, _reflected(pixels, self.stage))
        colour[0, 3] = mask[0, 0]
        bent = self.stage.lens.bend(colour)
        small = avg_pool2d(bent, self.stage.config.supersampling)
        return small[:, :3], small[:, 3:]

    def _exposed(self, colour: Tensor, alpha: Tensor, frame: int) -> Picture:
        config = self.stage.config
        straight = colour / alpha.clamp_min(1e-3)
        linear = over(straight, alpha, self._room)
        generator = torch.Generator().manual_seed(config.seed * 100_003 + frame)
        grain = torch.randn(linear.shape, generator=generator)
        # Photon noise grows with the square root of the light, read-out noise does not.
        linear = linear + grain * config.noise * (0.3 + 1.65 * linear.clamp_min(0.0).sqrt())
        rgb = linear_to_srgb(linear.clamp_min(0.0)).clamp(0.0, 1.0)
        return Picture((rgb[0].permute(1, 2, 0) * 255.0).round().to(torch.uint8), alpha[0, 0])


def _reflected(pixels: Float[Tensor, "21 pixels"], stage: Stage) -> Float[Tensor, "3 pixels"]:
    """Linear colour that visible surface points send to the camera.

    Args:
        pixels: normal, place, key visibility, uv, open sky, tint, environment, albedo, gloss.
        stage: whose light it is.
    """
    normals, view = unit(pixels[:3], 0), -unit(pixels[3:6], 0)
    key, open_sky, tint = pixels[6], pixels[9], pixels[10:13]
    environment, albedo, strength, sharpness = pixels[13:16], pixels[16:19] * tint, pixels[19], pixels[20]
    facing = (normals * view).sum(0)
    # Ribbons and open meshes are seen from both sides.
    normals, facing = normals * torch.sign(facing + 0.25), facing.abs()
    light = stage.light
    ambient_light = environment.clamp_min(0.0) * open_sky
    colour = albedo * (ambient_light + light.irradiance(normals, key))
    exponent = torch.exp2(2.0 + 8.5 * sharpness)
    # Energy normalisation of Blinn-Phong (Akenine-Moller et al., Real-Time Rendering, section 9.8).
    lobe = 0.04 * strength * (exponent + 8.0) / 8.0
    for towards, rgb, reach in ((light.towards_key, light.key_rgb, key), (light.towards_fill, light.fill_rgb, 1.0)):
        half = unit(view + towards[:, None], 0)
        gleam = lobe * (normals * half).sum(0).clamp_min(0.0) ** exponent * reach
        colour = colour + gleam * rgb[:, None]
    # Schlick 1994: everything mirrors its surroundings at grazing angles.
    return colour + 0.35 * strength * (1.0 - facing.clamp(0.0, 1.0)) ** 5 * ambient_light


def _material(appearance: Appearance, size: int) -> MipPyramid:
    """Linear albedo and gloss of head, hair and shirt in one texture."""
    head = torch.cat([srgb_to_linear(appearance.albedo), appearance.gloss])
    swatches = torch.ones(5, size // SWATCH_ROWS, size)
    swatches[3:, :, : size // 2] = torch.tensor(_HAIR_GLOSS)[:, None, None]
    swatches[3:, :, size // 2 :] = torch.tensor(_SHIRT_GLOSS)[:, None, None]
    return build_pyramid(torch.cat([head, swatches], dim=1)[None])
