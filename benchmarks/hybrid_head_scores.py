"""What is measured of `hybrid-head` beyond the protocol's pictures: its textures, its mesh, its mask."""

import shutil
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from headstudio import storage
from headstudio.methods.hybrid_head import HybridHead
from headstudio.methods.hybrid_head.blendshapes import articulated, weights_of
from headstudio.methods.hybrid_head.plates import clean_plate
from headstudio.records.capture import Capture
from headstudio.records.channels import Scene
from headstudio.training.batches import FrameStore, usable_training_frames
from headstudio.training.contract import Source

THRESHOLDS = tuple(step / 255 for step in range(4, 80, 4))
"""Differences from the plate of which plate differencing takes the best, told by the truth of training frames."""
_CLOSING_PX = 5


def texture_psnr(found: Float[Tensor, "3 side side"], wanted: Float[Tensor, "3 side side"], own: Tensor) -> float:
    """Peak signal-to-noise ratio in dB over the texels that the frame shows, sRGB in [0, 1]."""
    shown = own.expand_as(found) > 0.5
    error = (found - wanted)[shown].square().mean()
    return float(-10 * torch.log10(error.clamp_min(1e-12)))


def usable_held_out(source: Source, every: int = 1) -> list[int]:
    """Held-out frames that were tracked."""
    return [frame for frame in list(source.capture.held_out_frames)[::every] if bool(source.track.usable[frame])]


@torch.no_grad()
def code_scores(avatar: HybridHead, source: Source, frames: list[int]) -> dict[str, list[float]]:
    """Frame by frame: texture PSNR in dB, and the mean distance of the decoded mesh from the tracked one in mm, of
    frames encoded from themselves; and the PSNR of the clip's mean texture."""
    codes, head = avatar.codes(source)[avatar.latent], avatar.person.head
    textures = avatar.person.textures(source)
    mean = avatar.person.mean.float() / 255
    rows: dict[str, list[float]] = {"psnr": [], "mean_psnr": [], "vertices_mm": []}
    for frame in frames:
        extracted, code = textures[[frame]], codes[frame : frame + 1]
        wanted, own = extracted.rgb[0].float() / 255, extracted.own[0].float() / 255
        rows["psnr"].append(texture_psnr(avatar.texture(code)[0], wanted, own))
        rows["mean_psnr"].append(texture_psnr(mean, wanted, own))
        channels = source.motion.at([frame])
        decoded = avatar.weight_range.mean + avatar.weight_range.deviation * avatar.decoder.moved(code)
        meshes = [
            avatar.person.posed_m(articulated(head, weights, {})) for weights in (decoded, weights_of(head, channels))
        ]
        rows["vertices_mm"].append(1000 * float((meshes[0] - meshes[1])[:, avatar.person.moving].norm(dim=-1).mean()))
    return rows


def intersection_over_union(
    found: Bool[Tensor, "..."], wanted: Bool[Tensor, "..."], where: Bool[Tensor, "..."]
) -> float:
    """Of two masks, among the pixels that count; 1 where neither has any."""
    union = int(((found | wanted) & where).sum())
    return 1.0 if union == 0 else int((found & wanted & where).sum()) / union


@torch.no_grad()
def mask_scores(avatar: HybridHead, source: Source, truth: Capture, every: int) -> dict[str, list[float]]:
    """Intersection over union with the true matte of held-out frames, where the plate was ever seen, of the avatar's
    mask, of plain plate differencing at its best threshold, and of the same cleaned up.

    Args:
        truth: the capture whose mattes are the truth, frame on frame.
    """
    side = avatar.config.size_px
    plate = clean_plate(source, side, avatar.config.plate_frames)
    store = FrameStore(source, side)
    wanted = {f: _matte(truth, f, side) for f in (*usable_training_frames(source), *usable_held_out(source, every))}

    def difference(frame: int) -> Tensor:
        return (store[frame][:3].float() / 255 - plate.rgb).abs().amax(0, keepdim=True)

    trained = usable_training_frames(source)[::10]
    best = {
        clean: max(
            THRESHOLDS,
            key=lambda level, clean=clean: sum(
                intersection_over_union(_cut(difference(f), level, clean), wanted[f], plate.seen) for f in trained
            ),
        )
        for clean in (False, True)
    }
    rows: dict[str, list[float]] = {"avatar": [], "differencing": [], "differencing, cleaned": []}
    for frame in usable_held_out(source, every):
        index = torch.tensor([frame])
        view = source.track.view(index, size_px=side)
        alpha = avatar.render(source.motion.at(index), view, Scene()).alpha[0]
        rows["avatar"].append(intersection_over_union(alpha > 0.5, wanted[frame], plate.seen))
        for clean, name in ((False, "differencing"), (True, "differencing, cleaned")):
            found = _cut(difference(frame), best[clean], clean)
            rows[name].append(intersection_over_union(found, wanted[frame], plate.seen))
    return rows


def _cut(difference: Tensor, level: float, clean: bool) -> Tensor:
    found = (difference > level).float()[None]
    if clean:  # opening, then closing
        reach = _CLOSING_PX // 2
        found = 1 - F.max_pool2d(1 - found, _CLOSING_PX, 1, reach)
        found = F.max_pool2d(found, _CLOSING_PX, 1, reach)
        found = F.max_pool2d(found, _CLOSING_PX, 1, reach)
        found = 1 - F.max_pool2d(1 - found, _CLOSING_PX, 1, reach)
    return found[0] > 0.5


def _matte(capture: Capture, frame: int, side: int) -> Bool[Tensor, "1 side side"]:
    matte = capture.matte(frame).float()[None] / 255
    return F.interpolate(matte, (side, side), mode="area")[0] > 0.5


def spoiled(capture: Capture, folder: Path, noise: float, shadow: float) -> Path:
    """A copy of a capture whose pictures have sensor noise and, on the background, the person's shadow.

    The shadow is the matte, moved by a tenth of the picture to the right and down and blurred, which takes that part
    of the light away; the noise is normal, in sRGB. Mattes stay the true ones.

    Args:
        capture: with its track inside.
        folder: where the copy lies; what is there is kept.
        noise: standard deviation, sRGB in [0, 1].
        shadow: share of the light.
    """
    if (folder / "capture.json").exists():
        return folder
    make = torch.Generator().manual_seed(0)
    with storage.replacing_folder(folder) as building:
        shutil.copytree(capture.path, building, dirs_exist_ok=True, ignore=shutil.ignore_patterns("cache", "frames"))
        for frame in range(capture.frames):
            image, matte = capture.image(frame).float() / 255, capture.matte(frame).float() / 255
            dark = image * (1 - shadow * (1 - matte) * cast(matte))
            grain = noise * torch.randn(image.shape, generator=make)
            pixels = ((dark + grain).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
            where = building / capture.frame_path(frame).relative_to(capture.path)
            where.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.numpy()).save(where, quality=95)
    return folder


def cast(matte: Float[Tensor, "1 side side"]) -> Float[Tensor, "1 side side"]:
    """Where a shadow of the person falls."""
    side = matte.shape[-1]
    away, radius = side // 10, max(side // 32, 1)
    moved = torch.zeros_like(matte)
    moved[:, away:, away:] = matte[:, :-away, :-away]
    return F.avg_pool2d(moved[None], 2 * radius + 1, 1, radius, count_include_pad=False)[0]
