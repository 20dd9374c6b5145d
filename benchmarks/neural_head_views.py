"""Novel views of paper 4's avatar against the truth: an actor seen from 30 and 60 degrees to either side of its film.

    HEADSTUDIO_ICT=ict_facekit.npz python benchmarks/neural_head_views.py \\
        out/neural_head/ict-female-1/avatar female-1 --films out/neural_head/films --output out/neural_head_views

The avatar is one of `neural_head.py`; the actor is filmed again in frames of the held-out take by cameras that went
round the head, and the avatar, driven by the track, is seen by the same cameras. A track knows lengths up to its head
model's size, so what the cameras moved is scaled by the one number that brings the tracked eyes to the true ones.
L1, PSNR and SSIM are told of the true head's pixels and a margin about them, over black; neck and clothes are left out.
Truth that is there is kept; OUTPUT has table.md and strip.jpg, truth above ours.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import max_pool2d

from headstudio import storage
from headstudio.cli.sources import load_source, load_subject
from headstudio.evaluation.metrics import L1, PSNR, SSIM, scores
from headstudio.geometry.rigid import transform
from headstudio.heads import load_head
from headstudio.heads.base import JOINTS
from headstudio.heads.parsing import Label
from headstudio.records.channels import Scene, View
from headstudio.render.composite import over
from headstudio.synth.cast import CAST, cast_config, cast_stage
from headstudio.synth.frames import FrameRenderer
from headstudio.synth.orbit import orbited
from headstudio.synth.stage import Stage
from headstudio.synth.surface_truth import TruthMaps
from headstudio.training.contract import AvatarModel, Source
from neural_head_actors import SCHEMA as FILM_SCHEMA
from neural_head_actors import VERSION as FILM_VERSION

YAWS_DEG = (-60, -30, 0, 30, 60)
HEAD = (Label.SKIN, Label.EARS, Label.EYES, Label.MOUTH, Label.HAIR)
BODY = (Label.NECK, Label.CLOTH)
MARGIN = 0.04
"""About the head's pixels, as a share of the picture."""
EYES = [JOINTS.index("eye_left"), JOINTS.index("eye_right")]
"""Whose middle tells how far away a head is."""


def film(member: str, head: str, told: Path, frames: Sequence[int] | None, count: int, place: Path) -> None:
    """Render the truth of all views unless it is there: pictures over black, head masks and cameras."""
    if (place / "truth.safetensors").exists():
        return
    filmed = storage.read_json(told, FILM_SCHEMA, FILM_VERSION)["film"]
    takes, size_px = (filmed["frames"][0], filmed["frames"][1]), filmed["size_px"]
    chosen = list(frames or torch.linspace(takes[0], sum(takes) - 1, count).long().tolist())
    renderer = FrameRenderer(cast_stage(CAST[member], cast_config(CAST[member], head, size_px), load_head(head), takes))
    maps, stage = TruthMaps(renderer), renderer.stage
    pictures, masks, cameras = [], [], []
    for yaw_deg in YAWS_DEG:
        for frame in chosen:
            renderer.stage, T_camera_world = orbited(stage, frame, yaw_deg)
            picture = renderer.render(frame)
            alpha = picture.alpha[None, None]
            pictures.append(over(picture.rgb.permute(2, 0, 1)[None].float() / 255, alpha, torch.zeros(3, 1, 1))[0])
            masks.append(judged_pixels(maps.render(frame)[0]))
            cameras.append(T_camera_world)
    storage.write_tensors(
        place / "truth.safetensors",
        {
            "frames": torch.tensor(chosen),
            "pictures": (torch.stack(pictures) * 255).round().to(torch.uint8),
            "masks": torch.stack(masks),
            "T_camera_world": torch.stack(cameras),
            "eyes_m": torch.stack([true_eyes_m(stage, frame) for frame in chosen]),
        },
    )


def judged_pixels(labels: Tensor) -> Tensor:
    """The head and what lies about it, but no neck and no clothes."""
    head, body = (torch.isin(labels, torch.tensor([int(label) for label in part])) for part in (HEAD, BODY))
    reach = round(MARGIN * len(labels))
    return (max_pool2d(head[None, None].float(), 2 * reach + 1, 1, reach)[0, 0] > 0) & ~body


def true_eyes_m(stage: Stage, frame: int) -> Tensor:
    """The middle between the eyes in the film's camera."""
    eyes = stage.head.joints(stage.neutral_m[None])[0, EYES]
    return transform(stage.T_camera_head[frame], eyes).mean(0)


def tracked_eyes_m(source: Source, frames: Tensor) -> Tensor:
    """The same of the tracked head."""
    track = source.track
    head, identity = load_head(track.identity.head), track.identity
    offsets_m = None if identity.offsets_m is None else identity.offsets_m[None]
    eyes = head.joints(head.neutral(identity.coefficients[None], offsets_m))[:, EYES]
    return transform(track.T_world_head[frames], eyes.expand(len(frames), -1, -1)).mean(1)


@torch.no_grad()
def shown(avatar: AvatarModel, source: Source, frames: Tensor, T_camera_world: Tensor) -> Tensor:
    """The avatar at the track's signals before moved cameras, over black."""
    parts = []
    for frame, T in zip(frames, T_camera_world, strict=True):
        index = frame[None]
        view = View(source.track.view(index).camera, T[None])
        parts.append(avatar.render(source.motion.at(index), view, Scene()).rgb)
    return torch.cat(parts).clamp(0, 1)


def table(rows: dict[str, Tensor], truth: dict[str, Tensor]) -> str:
    """Scores by row and angle."""
    count = len(truth["frames"])
    lines = [
        "| row | score | " + " | ".join(f"{yaw:+d}" for yaw in YAWS_DEG) + " |",
        "|---|---|" + "---|" * len(YAWS_DEG),
    ]
    for name, pictures in rows.items():
        found = scores(pictures, truth["pictures"].float() / 255, truth["masks"][:, None])
        for metric in (L1, PSNR, SSIM):
            means = found[metric][:, 0].view(len(YAWS_DEG), count).nanmean(1)
            lines.append(f"| {name} | {metric.name} | " + " | ".join(f"{mean:.3f}" for mean in means.tolist()) + " |")
    return "\n".join(lines) + "\n"


def strip(truth: Tensor, ours: Tensor) -> Image.Image:
    """Truth above ours, an angle a column."""
    both = torch.cat([torch.cat(list(pictures), dim=2) for pictures in (truth.float() / 255, ours)], dim=1)
    return Image.fromarray((both * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())


def main() -> None:
    """Film, show, score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("avatar", type=Path)
    parser.add_argument("actor", choices=list(CAST))
    parser.add_argument("--films", type=Path, required=True, help="the folder of `neural_head_actors.py`")
    parser.add_argument("--head", default="ict", help="the head model that the actor is made from")
    parser.add_argument("--output", type=Path, default=Path("out/neural_head_views"))
    parser.add_argument("--count", type=int, default=12, help="frames of the held-out take")
    parser.add_argument("--frames", type=int, nargs="+", help="these frames instead")
    parser.add_argument("--strip", type=int, default=0, help="which of the frames the strip shows, counted from 0")
    options = parser.parse_args()
    filmed, place = options.films / f"{options.head}-{options.actor}", options.output / options.actor
    film(options.actor, options.head, filmed / "film.json", options.frames, options.count, place)
    truth = storage.read_tensors(
        place / "truth.safetensors", {"frames", "pictures", "masks", "T_camera_world", "eyes_m"}
    )
    source, avatar = load_source(filmed / "capture"), load_subject(options.avatar).avatar.eval()
    tracked_m, true_m = tracked_eyes_m(source, truth["frames"]), truth["eyes_m"]
    scale = float((tracked_m * true_m).sum() / true_m.square().sum())
    frames, cameras = truth["frames"].repeat(len(YAWS_DEG)), truth["T_camera_world"].clone()
    cameras[:, :3, 3] *= scale
    models = {"neural-head": avatar, "tracked mesh": avatar.baselines()["tracked"]}
    rows = {name: shown(model, source, frames, cameras) for name, model in models.items()}
    told = f"Lengths of the track are {scale:.3f} of the true ones.\n\n{table(rows, truth)}"
    (place / "table.md").write_text(told, encoding="utf-8")
    chosen = slice(options.strip, None, len(truth["frames"]))
    strip(truth["pictures"][chosen], rows["neural-head"][chosen]).save(place / "strip.jpg", quality=88)
    print(told)


if __name__ == "__main__":
    main()
