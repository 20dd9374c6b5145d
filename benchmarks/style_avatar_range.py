"""Paper 2's table 4, its figure 4 with truth, and its figure 3: how far an avatar goes beyond its training frames.

    python benchmarks/style_avatar_range.py nearest CAPTURE [--driver CAPTURE]
    python benchmarks/style_avatar_range.py moved CAPTURE AVATAR [AVATAR ...] --output out/moved
    python benchmarks/style_avatar_range.py moments CAPTURE AVATAR --output out/moments

`nearest`: mean distance of held-out (or a driver's, carried over) translation, rotation and expression to the nearest
training frame, each in standard deviations of the training frames. `moved`: held-out frames with the person moved by
10, 20 and 30 % of the width, then with the background moved alone; the error against the truth so moved, which is
composed of the frame, its matte and the empty background, over pixels that were filmed. Give an avatar trained with
`--set sliding=false` beside one without. `moments`: one frame at nine moments of the clip; a picture and the deviation
of hair and face between them.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from headstudio.cli.sources import load_source
from headstudio.drivers.drive import Performance, transferred
from headstudio.evaluation.baselines import _deviation, _state
from headstudio.methods.style_avatar import StyleAvatar
from headstudio.methods.style_avatar.plates import empty_background
from headstudio.records.avatar import Avatar
from headstudio.records.channels import HEAD_POSE, Scene, View, expression_of
from headstudio.training.avatars import load_avatar
from headstudio.training.batches import FrameStore, usable_training_frames
from headstudio.training.contract import Source

SHARES = (0.1, 0.2, 0.3)
MOMENTS = 9
PAPER = {"held-out": (0.052, 0.058, 0.316), "driven": (2.002, 0.054, 0.294)}
"""Table 4: translation, rotation, expression."""


def nearest(source: Source, states: list[Tensor], frames: Tensor) -> tuple[float, ...]:
    """Mean distance to the nearest training frame, group by group."""
    own, training = _state(source.track), torch.tensor(usable_training_frames(source))
    found = []
    for group, asked in zip(own, states, strict=True):
        scale = _deviation(group[training])
        found.append(float(torch.cdist(asked[frames] / scale, group[training] / scale).min(1).values.mean()))
    return tuple(found)


def shifted(layer: Float[Tensor, "channels rows columns"], by_px: int) -> Float[Tensor, "channels rows columns"]:
    """A picture moved to the right; zeros come in."""
    moved = torch.zeros_like(layer)
    width = layer.shape[-1]
    if by_px >= 0:
        moved[..., by_px:] = layer[..., : width - by_px]
    else:
        moved[..., :by_px] = layer[..., -by_px:]
    return moved


def moved_truths(
    picture: Float[Tensor, "4 rows columns"], empty: Float[Tensor, "3 rows columns"], by_px: int
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """What the two displacements should show, and where that is known."""
    rgb, matte = picture[:3], picture[3:]
    front, share = shifted(rgb * matte, by_px), shifted(matte, by_px)
    known = torch.ones_like(matte)
    yield "foreground", front + (1 - share) * empty, known
    yield "background", rgb * matte + (1 - matte) * shifted(empty, by_px), shifted(known, by_px)


@torch.no_grad()
def moved_errors(avatar: StyleAvatar, source: Source, every: int) -> dict[tuple[str, float], tuple[float, float]]:
    """L1 over the picture and over the person, by what is moved and how far."""
    size_px = avatar.covered_cells * avatar.config.sizes.picture_px
    store = FrameStore(source, size_px)
    beyond = (avatar.config.sizes.crop_cells - avatar.covered_cells) * avatar.config.sizes.picture_px // 2
    empty = (empty_background(source, avatar.config.sizes, avatar.covered_cells) + 1) / 2
    empty = empty[:, beyond : beyond + size_px, beyond : beyond + size_px]
    sums: dict[tuple[str, float], list[tuple[float, float]]] = {}
    frames = [f for f in source.capture.held_out_frames if bool(source.track.usable[f])][::every]
    for frame in frames:
        picture, index = store[frame].float() / 255, torch.tensor([frame])
        channels, view = source.motion.at(index), source.track.view(index, size_px=size_px)
        for share in (0.0, *SHARES):
            by_px = round(share * size_px)
            offset = torch.tensor([[float(by_px), 0.0]])
            for kind, wanted, known in moved_truths(picture, empty, by_px):
                displaced = (offset, None) if kind == "foreground" else (None, offset)
                seen = View(view.camera, view.T_camera_world, *displaced)
                found = avatar.render(channels, seen, Scene()).maps["whole"][0]
                person = shifted(picture[3:], by_px if kind == "foreground" else 0) * known
                difference = (found - wanted).abs().mean(0, keepdim=True)
                whole, inside = (float((difference * w).sum() / w.sum().clamp_min(1)) for w in (known, person))
                sums.setdefault((kind, share), []).append((whole, inside))
    return {key: tuple(np.mean(values, axis=0)) for key, values in sums.items()}  # pyright: ignore[reportReturnType]


@torch.no_grad()
def moments(avatar: StyleAvatar, source: Source, frame: int) -> tuple[Tensor, float, float]:
    """A strip of one frame at moments of the clip; mean deviation between them on the face and on the rest."""
    index, first, last = torch.tensor([frame]), source.track.times_s[0], source.track.times_s[-1]
    size_px = avatar.covered_cells * avatar.config.sizes.picture_px
    channels, view = source.motion.at(index), source.track.view(index, size_px=size_px)
    times_s = first + (last - first) * torch.linspace(0, 1, MOMENTS, dtype=torch.float64)
    shown = [avatar.render(channels, view, Scene(time_code=t.float()[None])) for t in times_s]
    pictures = torch.cat([one.maps["whole"] for one in shown])
    mask = avatar.inputs(channels, view).mask
    face = torch.nn.functional.interpolate(mask, (size_px, size_px))[0]
    rest = (shown[0].alpha[0] * (1 - face)).clamp(0, 1)
    spread = pictures.std(0).mean(0, keepdim=True)
    on, beside = (float((spread * where).sum() / where.sum().clamp_min(1)) for where in (face, rest))
    return torch.cat(list(pictures), dim=2), on, beside


def show_nearest(options: argparse.Namespace) -> None:
    """Table 4."""
    source = load_source(options.capture)
    held_out = torch.tensor([f for f in source.capture.held_out_frames if bool(source.track.usable[f])])
    rows = {"held-out": nearest(source, _state(source.track), held_out)}
    if options.driver is not None:
        rows["driven"] = nearest(source, *_driven(source, load_source(options.driver), options.avatar))
    print("| frames | translation | rotation | expression | paper |\n|---|---|---|---|---|")
    for name, found in rows.items():
        paper = " / ".join(map(str, PAPER[name]))
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in found)} | {paper} |")


def _driven(source: Source, driver: Source, avatar_path: Path) -> tuple[list[Tensor], Tensor]:
    avatar, record = load_avatar(avatar_path), Avatar.load(avatar_path)
    assert record.at_rest is not None
    performance = Performance(driver.motion, driver.track.identity)
    motion, _ = transferred(performance, avatar, record.at_rest)
    from headstudio.heads import load_head
    from headstudio.motion.retarget import adapt

    own = adapt(motion, avatar.driven_by, load_head(avatar.identity.head)).at(range(len(motion)))
    pose = own[HEAD_POSE].float()
    from headstudio.geometry.rigid import relative_orientation
    from headstudio.motion.articulation import articulation

    state = articulation(load_head(avatar.identity.head), own)
    assert expression_of(source.track.identity.head) in own
    expression = torch.cat([state.expression, state.jaw_rad, state.gaze_rad.flatten(1)], dim=1)
    return [pose[:, :3, 3], relative_orientation(pose), expression], torch.arange(len(motion))


def show_moved(options: argparse.Namespace) -> None:
    """Errors of displaced frames."""
    source = load_source(options.capture)
    head = " | ".join(f"{kind} {share:.0%}" for kind in ("foreground", "background") for share in (0.0, *SHARES))
    lines = [f"| avatar | L1 of | {head} |", "|---|---|" + "---|" * 8]
    for path in options.avatars:
        avatar = load_avatar(path)
        assert isinstance(avatar, StyleAvatar), "only style-avatar has windows"
        errors = moved_errors(avatar, source, options.every)
        for number, where in enumerate(("picture", "person")):
            cells = " | ".join(f"{value[number]:.4f}" for _, value in sorted(errors.items(), key=_order))
            lines.append(f"| {path} | {where} | {cells} |")
    _write(options.output / "moved.md", "\n".join(lines) + "\n")


def _order(item: tuple[tuple[str, float], object]) -> tuple[bool, float]:
    return item[0][0] == "background", item[0][1]


def show_moments(options: argparse.Namespace) -> None:
    """The sweep."""
    source, avatar = load_source(options.capture), load_avatar(options.avatars[0])
    assert isinstance(avatar, StyleAvatar), "only style-avatar has moments"
    frame = options.frame if options.frame >= 0 else source.capture.held_out_frames[0]
    strip, face, rest = moments(avatar, source, frame)
    options.output.mkdir(parents=True, exist_ok=True)
    picture = (strip.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(picture).save(options.output / "moments.png")
    _write(options.output / "moments.md", f"Deviation over {MOMENTS} moments: face {face:.4f}, beside it {rest:.4f}.\n")


def _write(where: Path, text: str) -> None:
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_text(text, encoding="utf-8")
    print(text)


def main() -> None:
    """One of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    one = verbs.add_parser("nearest")
    one.add_argument("capture", type=Path)
    one.add_argument("--driver", type=Path)
    one.add_argument("--avatar", type=Path, help="of the capture's person, whom the driver is carried over to")
    one.set_defaults(run=show_nearest)
    for name, run in (("moved", show_moved), ("moments", show_moments)):
        other = verbs.add_parser(name)
        other.add_argument("capture", type=Path)
        other.add_argument("avatars", type=Path, nargs="+")
        other.add_argument("--output", type=Path, default=Path("out/style_avatar"))
        other.add_argument("--every", type=int, default=5, help="score every n-th held-out frame")
        other.add_argument("--frame", type=int, default=-1)
        other.set_defaults(run=run)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
