"""The base colours of a performance as numbered pictures beside a .glb, for engines that flip them in time with it."""

import hashlib
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.export.clip import frame_rate, with_clip
from headstudio.export.gltf import GltfOptions, glb_bytes
from headstudio.export.repaint import (
    LARGEST_PX,
    baked_frames,
    painted_frames,
    picture_size,
    repainted_surface,
    resized,
    steerable_baker,
    steerable_repainting,
)
from headstudio.progress import Advance, Progress
from headstudio.records.motion import Motion
from headstudio.training.contract import AvatarModel, Repainting

SCHEMA, VERSION = "headstudio.texture_sequence", 1
CLOCK = "sequence.json"
"""The file that tells when each picture is shown."""
FORMATS = MappingProxyType({"png": {}, "jpg": {"quality": 95, "subsampling": 0}})
"""Of pictures, with what is told to their writer."""
Rectangle = tuple[int, int, int, int]
"""Left, upper, width and height in texels."""
_BLOCK_TEXELS = 4  # engines compress textures in blocks of so many


@dataclass(frozen=True)
class BakeOptions:
    """How the pictures are written."""

    form: str = "png"
    """png, or jpg, which is smaller and not exact."""
    largest_px: int = LARGEST_PX
    """Of a side of the whole texture; the .glb's own texture gets the same size."""
    crop: bool = False
    """Only the rectangle that ever changes, for engines that copy it into the texture; where a mask tells it."""
    once: bool = False
    """Write equal pictures once; numbers are then missing, and the clock names a picture again."""

    def __post_init__(self) -> None:
        if self.form not in FORMATS:
            raise HeadstudioError(
                f"no pictures are written as {self.form!r}", next_step=f"choose one of: {', '.join(FORMATS)}"
            )
        if self.largest_px < _BLOCK_TEXELS:
            raise HeadstudioError(
                f"pictures of {self.largest_px} texels show nothing", next_step=f"give at least {_BLOCK_TEXELS}"
            )


def sequence_folder(path: Path) -> Path:
    """Where the pictures of a .glb are."""
    return path.with_name(f"{path.stem}.baked")


def check_place(folder: Path, suffixes: Container[str], others: Iterable[str] = ()) -> None:
    """A folder of numbered pictures is replaced only if it holds nothing else."""
    others = set(others)
    if not folder.exists():
        return
    if folder.is_dir() and all(
        path.name in others or (path.suffix in suffixes and path.stem.isdigit()) for path in folder.iterdir()
    ):
        return
    raise HeadstudioError("something else is here already", where=folder, next_step="choose another name for the file")


def write_baked_glb(
    avatar: AvatarModel, path: Path, motion: Motion, options: BakeOptions, gltf: GltfOptions, progress: Progress
) -> None:
    """Write the .glb with the performance as its animation, and beside it the folder of pictures.

    The .glb's own texture, the face at rest, gets the size of the pictures, so that one can stand for the other.
    """
    asset = avatar.surface()
    painting = _painting(avatar, motion, asset.texture.shape[1:], options)
    size, rectangle = painting.size_px, painting.rectangle
    at_rest = (resized(asset.texture[:3], size) * 255).round().to(torch.uint8)
    asset = with_clip(repainted_surface(asset, at_rest), motion)
    content = glb_bytes(asset, gltf)
    assert asset.clip is not None
    clock = {
        "animation": asset.clip.name,
        "material": asset.parts[0].name,
        "texture_px": [size[1], size[0]],
        "rectangle_px": list(rectangle),
        "rate_fps": round(frame_rate(motion), 6),
        "times_s": [round(time_s, 6) for time_s in asset.clip.times_s.tolist()],
    }
    folder = sequence_folder(path)
    check_place(folder, {f".{form}" for form in FORMATS}, {CLOCK})
    # The pictures first, so that nobody finds an animation without them.
    with storage.replacing_folder(folder) as place, progress.stage("baking pictures", len(motion)) as advance:
        clock["pictures"] = _write_pictures(place, painting.pictures, rectangle, options, advance)
        storage.write_json(place / CLOCK, SCHEMA, VERSION, clock)
    with storage.replacing_file(path) as building:
        building.write_bytes(content)


class _Painting(NamedTuple):
    """The pictures of a performance, not yet made."""

    size_px: tuple[int, int]
    """Rows and columns of the whole texture."""
    rectangle: Rectangle
    """What of it is written."""
    pictures: Iterator[UInt8[Tensor, "3 height width"]]
    """Whole textures."""


def _painting(avatar: AvatarModel, motion: Motion, texture_px: Sequence[int], options: BakeOptions) -> _Painting:
    """By the network's graph where it repaints the texture, else by the avatar's baker, which may change all of it."""
    runtime, repainting = steerable_repainting(avatar)
    if repainting is not None:
        size = picture_size(repainting, options.largest_px)
        rectangle = _rectangle(repainting, size) if options.crop else (0, 0, size[1], size[0])
        return _Painting(size, rectangle, painted_frames(runtime, repainting, motion, options.largest_px, mixed=True))
    baker = steerable_baker(avatar)
    if baker is None:
        raise HeadstudioError(
            "this avatar has no network that paints its texture", next_step="export it without baked pictures"
        )
    size = (min(texture_px[0], options.largest_px), min(texture_px[1], options.largest_px))
    return _Painting(size, (0, 0, size[1], size[0]), baked_frames(baker, motion, size))


def _write_pictures(
    folder: Path, pictures: Iterable[Tensor], rectangle: Rectangle, options: BakeOptions, advance: Advance
) -> list[str]:
    """Names of the pictures, one a frame; one picture is held at a time."""
    names, known = [], {}
    left, upper, width, height = rectangle
    for number, picture in enumerate(pictures, 1):
        content = _encoded(picture[:, upper : upper + height, left : left + width], options.form)
        name = f"{number:05d}.{options.form}"
        if options.once:
            name = known.setdefault(hashlib.sha256(content).digest(), name)
        if not (folder / name).exists():
            (folder / name).write_bytes(content)
        names.append(name)
        advance(1)
    return names


def _rectangle(repainting: Repainting, size_px: Sequence[int]) -> Rectangle:
    """Left, upper, width and height of the texels that the mask lets change, on borders of blocks."""
    shown = resized(repainting.blend, size_px)[0] > 0
    sides = []
    for across, length in ((0, size_px[1]), (1, size_px[0])):
        places = shown.any(across).nonzero()[:, 0]
        first, last = (int(places[0]), int(places[-1])) if len(places) else (0, 0)
        start = first // _BLOCK_TEXELS * _BLOCK_TEXELS
        sides.append((start, min(last // _BLOCK_TEXELS * _BLOCK_TEXELS + _BLOCK_TEXELS, length) - start))
    (left, width), (upper, height) = sides
    return left, upper, width, height


def _encoded(picture: UInt8[Tensor, "3 height width"], form: str) -> bytes:
    content = BytesIO()
    values: np.ndarray = picture.permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(values).save(content, format={"jpg": "JPEG"}.get(form, form.upper()), **FORMATS[form])
    return content.getvalue()
