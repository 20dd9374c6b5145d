"""How much nearer the truth a texture comes when its light is taken off.

    python benchmarks/delighting.py --output out/delighting

Synthetic actors with a known albedo, lit by an environment, a lamp with shadows and a fill, with gloss, sensor noise
and compression, filmed once on a chair (the light turns about the head) and once with the camera carried about them
(it stays with the head); 16 pictures each, with true geometry, poses and cameras.

Errors are mean absolute differences in percent of full scale (sRGB) over the texels of face, nose, lips and lids that
the raw unprojection sees, after one gain a channel in linear light for each texture (docs/protocol.md):
`raw` is the weighted robust mean, `plain` the paper's plain mean, `bare` de-lit without the head's own shadow,
`delit` with it. The bar: `delit` at least 40 % below `raw`. `away_from_hair` leaves out
2.5 cm about scalp and ears, where hair hangs over the skin in all textures alike. A row is kept when it is done.

    python benchmarks/delighting.py --output out/delighting --tracked FILM CAPTURE TRACK [--tracked ...]

scores one talking clip with its tracked geometry instead: FILM of an actor of the head model that the TRACK of its
CAPTURE fits; `tracked light` is the unprojection with the light that the tracker found taken off.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d

from headstudio import storage
from headstudio.capture.decode import open_video
from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import transform
from headstudio.heads import load_head
from headstudio.records.capture import Capture
from headstudio.records.scan import LightMode
from headstudio.records.track import Track
from headstudio.render.colour import linear_to_srgb, srgb_to_linear
from headstudio.render.mesh import MeshTopology
from headstudio.synth.config import SynthConfig
from headstudio.synth.sweep import SweepConfig, SweepMode, make_sweep
from headstudio.synth.truth import Truth
from headstudio.texture.delight import DelightConfig
from headstudio.texture.frames import observe, spread_over_turns
from headstudio.texture.regions import soft_mask
from headstudio.texture.static import StaticTextureConfig, Surface, static_texture, without_light
from headstudio.texture.texels import TexelMap
from headstudio.texture.unproject import Observation, UnprojectionConfig, unproject

SCHEMA, VERSION = "headstudio.benchmark.delighting", 1
ACTORS = (21, 22)
MODES: tuple[SweepMode, ...] = ("chair", "sweep")
SIZE_PX, PICTURES, ALBEDO_PX = 512, 16, 1024
TRACKED_PICTURES = 40
_HAIR_M = 0.025
SCORED = ("face", "nose", "lips", "eyelids")


def main() -> None:
    """Make the rows that are not there yet and print all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("out/delighting"))
    parser.add_argument("--tracked", type=Path, nargs=3, action="append", metavar=("FILM", "CAPTURE", "TRACK"))
    parser.add_argument("--whole", action="store_true", help="also make the whole static texture, as a picture")
    options = parser.parse_args()
    for film, capture, track in options.tracked or ():
        print(f"{film.parent.name} {json.dumps(_tracked_row(film, capture, track))}", flush=True)
    if options.tracked:
        return
    for seed in ACTORS:
        for mode in MODES:
            name = f"actor{seed}-{mode}"
            place = options.output / "rows" / f"{name}.json"
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                film = _film(options.output / "films" / name, seed, mode)
                scores = _row(film, mode, options.output / "pictures" / name)
                storage.write_json(place, SCHEMA, VERSION, {"scores": scores})
            print(f"{name:14s} {json.dumps(storage.read_json(place, SCHEMA, VERSION)['scores'])}", flush=True)
            if options.whole:
                _whole(options.output / "films" / name, mode, options.output / "pictures" / name)


def _tracked_row(film: Path, capture_path: Path, track_path: Path) -> dict[str, float]:
    capture, track = Capture.load(capture_path), Track.load(track_path)
    head = load_head(track.identity.head)
    offsets_m = None if track.identity.offsets_m is None else track.identity.offsets_m[None]
    neutral_m = head.neutral(track.identity.coefficients[None], offsets_m)
    frames = spread_over_turns(track, list(capture.train_frames), track.confidence, TRACKED_PICTURES)
    observations = [observe(capture, track, head, neutral_m, frame) for frame in frames]
    relit = [replace(o, light_sh=track.light_sh[f]) for o, f in zip(observations, frames, strict=True)]
    config = StaticTextureConfig.draft()
    mesh = MeshTopology(head.triangles, head.uv, head.uv_triangles)
    surface = Surface(neutral_m[0], mesh, head.data.regions)
    _, lit = without_light(observations, surface, LightMode.TURNING, config)
    texels = TexelMap.build(mesh.triangles, mesh.uv, mesh.uv_triangles, config.size_px)
    ways = {"raw": observations, "tracked light": relit, "delit": lit}
    found = {name: unproject(seen, mesh, texels, config.unprojection) for name, seen in ways.items()}
    albedo = srgb_to_linear(_picture(film / "albedo.png"))
    truth = avg_pool2d(albedo[None], albedo.shape[-1] // config.size_px)[0]
    scored = texels.mask & (found["raw"].weight[0] > 0.05) & _inside(surface, texels)
    aligned = {name: _aligned(made.texture, truth, scored) for name, made in found.items()}
    return {
        name: round(float(100 * (texture - linear_to_srgb(truth)).abs().mean(0)[scored].mean()), 3)
        for name, texture in aligned.items()
    }


def _film(place: Path, seed: int, mode: SweepMode) -> Path:
    config = SynthConfig(
        seed=seed, seconds=float(PICTURES), fps=1.0, width_px=SIZE_PX, height_px=SIZE_PX, head_share=0.62,
        texture_px=ALBEDO_PX, audio=False,
    )  # fmt: skip
    if not (place / "truth.json").exists():
        make_sweep(place, config, SweepConfig(mode=mode))
    return place


def _row(film: Path, mode: SweepMode, pictures: Path) -> dict[str, float]:
    observations, surface = _observed(film)
    config = StaticTextureConfig.draft()
    mesh, size = surface.mesh, config.size_px
    texels = TexelMap.build(mesh.triangles, mesh.uv, mesh.uv_triangles, size)
    truth = srgb_to_linear(_picture(film / "albedo.png"))
    truth = avg_pool2d(truth[None], ALBEDO_PX // size)[0]
    bare = replace(config, delight=DelightConfig(shadow_directions=0))
    plain = UnprojectionConfig(angle_power=0.0, robust_passes=0)
    light = _light_mode(mode)
    raw = unproject(observations, mesh, texels, config.unprojection)
    textures = {"raw": raw.texture, "plain": unproject(observations, mesh, texels, plain).texture}
    for name, variant in (("bare", bare), ("delit", config)):
        _, lit = without_light(observations, surface, light, variant)
        textures[name] = unproject(lit, mesh, texels, config.unprojection).texture
    scored = texels.mask & (raw.weight[0] > 0.05) & _inside(surface, texels)
    aligned = {name: _aligned(texture, truth, scored) for name, texture in textures.items()}
    _save(pictures, {**aligned, "truth": linear_to_srgb(truth)}, scored)
    errors = {name: 100 * (texture - linear_to_srgb(truth)).abs().mean(0) for name, texture in aligned.items()}
    scores = {name: float(error[scored].mean()) for name, error in errors.items()}
    near_hair = surface.regions["scalp"] | surface.regions["ears"]
    clear = scored & (soft_mask(texels, near_hair, surface.rest_m, mesh.triangles, _HAIR_M)[0] == 0)
    away = {f"{name}_away_from_hair": float(error[clear].mean()) for name, error in errors.items()}
    below = {"below_raw_percent": 100 * (1 - scores["delit"] / scores["raw"])}
    return {key: round(value, 3) for key, value in (scores | away | below).items()}


def _light_mode(mode: SweepMode) -> LightMode:
    return LightMode.TURNING if mode == "chair" else LightMode.FIXED_TO_HEAD


def _observed(film: Path) -> tuple[list[Observation], Surface]:
    truth = Truth.load(film)
    head = load_head(truth.head)
    surface = Surface(truth.neutral_m, MeshTopology(head.triangles, head.uv, head.uv_triangles), head.data.regions)
    pictures = [frame.image for frame in open_video(film / "actor.mp4").frames()]
    observations = []
    for index, picture in enumerate(pictures):
        vertices = transform(truth.T_camera_head[index], truth.vertices_m[index].float())
        camera = Camera(truth.K_px[index : index + 1], truth.width_px, truth.height_px)
        image = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 255
        observations.append(Observation(image, torch.ones_like(image[:1]), vertices, camera))
    return observations, surface


def _inside(surface: Surface, texels: TexelMap) -> Tensor:
    vertices = torch.stack([surface.regions[name] for name in SCORED]).any(0)
    triangles = vertices[surface.mesh.triangles.long()].all(1)
    return triangles[texels.fragments.triangle[0].clamp_min(0).long()]


def _aligned(texture: Tensor, truth: Tensor, scored: Tensor) -> Tensor:
    """The texture, sRGB, after the gain a channel of the least mean absolute error in linear light."""
    linear = srgb_to_linear(texture)
    inside, wanted = linear[:, scored], truth[:, scored]
    ratio, order = (wanted / inside.clamp_min(1e-4)).sort(dim=1)
    reached = inside.gather(1, order).cumsum(1)
    middle = (reached < 0.5 * reached[:, -1:]).sum(1, keepdim=True)
    gain = ratio.gather(1, middle)[:, 0]
    return linear_to_srgb(linear * gain[:, None, None]).clamp(0, 1)


def _picture(path: Path) -> Tensor:
    with Image.open(path) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).float() / 255


def _whole(film: Path, mode: SweepMode, pictures: Path) -> None:
    observations, surface = _observed(film)
    made = static_texture(observations, surface, _light_mode(mode), StaticTextureConfig.draft())
    _write(pictures / "whole.png", made.albedo)


def _save(folder: Path, textures: Mapping[str, Tensor], scored: Tensor) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, texture in textures.items():
        _write(folder / f"{name}.png", torch.where(scored, texture, 0.5 * texture))


def _write(path: Path, texture: Tensor) -> None:
    Image.fromarray((texture.permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()).save(path)


if __name__ == "__main__":
    main()
