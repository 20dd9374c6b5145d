"""An avatar in light that it was never filmed in, against the truth: a lamp and its room go round a synthetic actor.

    python benchmarks/relighting.py FILM CAPTURE albedo=AVATAR lit=AVATAR2 --output out/relighting

FILM is the folder of the actor (`headstudio.synth`), CAPTURE its tracked capture, each AVATAR one that was trained on
it. One held-out frame is drawn at its tracked pose in eight lights, the actor's own turned about the vertical in steps
of 45 degrees (environment, lamp with shadows, fill), and compared with the actor filmed again in that light: mean
absolute error in percent of full scale and PSNR over face and nose, after one gain a channel in linear light that all
eight pictures of a row share, since neither colour nor strength of the light can be told from the skin's. `unmoved`
shows the first avatar in its own light all the way, which is what a lit map does. `turntable.png` is the contact sheet,
`table.md` the numbers.
"""

import argparse
import math
from dataclasses import dataclass, fields, replace
from pathlib import Path

import roma
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from headstudio import storage
from headstudio.cli.sources import load_source, load_subject
from headstudio.evaluation.regions import REGIONS, RegionMasker
from headstudio.evaluation.tracked_mesh import TrackedMesh
from headstudio.heads import load_head
from headstudio.records.capture import Crop
from headstudio.records.channels import Scene
from headstudio.render.colour import linear_to_srgb, srgb_to_linear
from headstudio.render.light import turned
from headstudio.report.pictures import contact_sheet
from headstudio.synth.config import SynthConfig
from headstudio.synth.frames import FrameRenderer
from headstudio.synth.light import Light
from headstudio.synth.stage import Stage
from headstudio.training.contract import AvatarModel, Source

ANGLES_DEG = tuple(range(0, 360, 45))


@dataclass(frozen=True)
class Turntable:
    """The truth in every light, and where it is scored."""

    pictures: Float[Tensor, "angles 3 size size"]
    lights_sh: Float[Tensor, "angles 9 3"]
    inside: Bool[Tensor, "size size"]


def light_at(light: Light, angle_deg: float) -> Light:
    """The light turned about the vertical."""
    rotation = roma.rotvec_to_rotmat(torch.tensor([0.0, math.radians(angle_deg), 0.0]))
    return replace(
        light,
        environment_sh=turned(light.environment_sh[None], rotation[None])[0],
        towards_key=rotation @ light.towards_key,
        towards_fill=rotation @ light.towards_fill,
    )


def filmed(film: Path, source: Source, frame: int) -> Turntable:
    """The actor in every light, cropped as the capture is."""
    content = storage.read_json(film / "truth.json", "headstudio.truth", 1)["config"]
    known = {field.name for field in fields(SynthConfig)}
    stage = Stage.build(SynthConfig(**{name: value for name, value in content.items() if name in known}))
    renderer, light = FrameRenderer(stage), stage.light
    lights = [light_at(light, angle) for angle in ANGLES_DEG]
    size_px, crop = source.capture.size_px, source.capture.views[0].crop
    pictures = []
    for found in lights:
        renderer.stage = replace(stage, light=found)
        pictures.append(cropped(renderer.render(frame).rgb, crop, size_px))
    mesh = TrackedMesh(load_head(source.track.identity.head), source.track)
    matte = source.capture.matte(frame)[None].float() / 255
    valid = source.capture.views[0].valid[None, None]
    inside = RegionMasker(mesh).masks(torch.tensor([frame]), size_px, matte, valid)[0, REGIONS.index("face")]
    return Turntable(torch.stack(pictures), torch.stack([found.harmonics() for found in lights]), inside)


def cropped(rgb: Tensor, crop: Crop, size_px: int) -> Float[Tensor, "3 size size"]:
    """The crop's window of an upright picture."""
    left, top, side = (round(value) for value in (crop.left_px, crop.top_px, crop.side_px))
    height, width = rgb.shape[:2]
    picture = rgb.permute(2, 0, 1).float() / 255
    padded = F.pad(picture, (max(-left, 0), max(left + side - width, 0), max(-top, 0), max(top + side - height, 0)))
    window = padded[:, max(top, 0) : max(top, 0) + side, max(left, 0) : max(left, 0) + side]
    return F.interpolate(window[None], (size_px, size_px), mode="bilinear", antialias=True)[0].clamp(0, 1)


@torch.inference_mode()
def shown(avatar: AvatarModel, source: Source, frame: int, light_sh: Tensor | None) -> Float[Tensor, "3 size size"]:
    """The avatar at the tracked pose of a frame."""
    index = torch.tensor([frame])
    light = None if light_sh is None else light_sh[None]
    return avatar.render(source.motion.at(index), source.track.view(index), Scene(light_sh=light)).rgb[0].clamp(0, 1)


def aligned(row: Float[Tensor, "angles 3 size size"], table: Turntable) -> Float[Tensor, "angles 3 size size"]:
    """The row after the one gain a channel of the least squared error in linear light."""
    ours, truth = srgb_to_linear(row), srgb_to_linear(table.pictures)
    weight = table.inside.float()
    gain = (ours * truth * weight).sum((0, 2, 3)) / (ours * ours * weight).sum((0, 2, 3)).clamp_min(1e-8)
    return linear_to_srgb(ours * gain[None, :, None, None]).clamp(0, 1)


def scores(row: Float[Tensor, "angles 3 size size"], table: Turntable) -> tuple[list[float], float]:
    """Error in percent at each angle, and PSNR over all."""
    difference = (row - table.pictures)[:, :, table.inside]
    return (100 * difference.abs().mean((1, 2))).tolist(), float(-10 * difference.square().mean().log10())


def main() -> None:
    """Film, relight, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film", type=Path)
    parser.add_argument("capture", type=Path)
    parser.add_argument("avatars", nargs="+", metavar="NAME=AVATAR")
    parser.add_argument("--output", type=Path, default=Path("out/relighting"))
    options = parser.parse_args()
    source = load_source(options.capture)
    frame = source.capture.held_out_frames[len(source.capture.held_out_frames) // 2]
    table = filmed(options.film, source, frame)
    rows: dict[str, Tensor] = {}
    for named in options.avatars:
        name, _, path = named.partition("=")
        avatar = load_subject(Path(path)).avatar.eval()
        rows[name] = torch.stack([shown(avatar, source, frame, light) for light in table.lights_sh])
        rows.setdefault("unmoved", shown(avatar, source, frame, None).expand(len(ANGLES_DEG), -1, -1, -1))
    rows = {name: aligned(row, table) for name, row in rows.items()}
    lines = [f"| row | {' | '.join(f'{angle}' for angle in ANGLES_DEG)} | mean | PSNR |"]
    lines.append("|---|" + "---|" * (len(ANGLES_DEG) + 2))
    for name, row in rows.items():
        errors, psnr = scores(row, table)
        cells = " | ".join(f"{error:.2f}" for error in errors)
        lines.append(f"| {name} | {cells} | {sum(errors) / len(errors):.2f} | {psnr:.2f} |")
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    pictures, labels = [], []
    for name, row in {"truth": table.pictures, **rows}.items():
        pictures += [(picture * 255).round().byte() for picture in row]
        labels += [f"{name} {angle}" for angle in ANGLES_DEG]
    sheet = contact_sheet(pictures, labels, len(ANGLES_DEG))
    Image.fromarray(sheet.permute(1, 2, 0).numpy()).save(options.output / "turntable.png")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
