"""The pictures of a dataset as a clip: what a video gives, from one file a frame, with masks where there are any."""

import enum
import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from headstudio.capture.decode import Damage, Frame, Video
from headstudio.errors import HeadstudioError

_FORMATS = ("PNG", "JPEG", "WEBP")
_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
_CLOTHES = 90
"""What INSTA's parsing paints clothes with; its own pictures are without them."""


class Part(enum.Enum):
    """What a frame is for, by the list that names it."""

    TRAIN = "train"
    HELD_OUT = "held out"
    NEITHER = "neither"


@dataclass(frozen=True)
class PeerFrame:
    """One picture of a dataset and what is known about it."""

    picture: Path
    mask: Path | None
    """Grey foreground mask."""
    parsing: Path | None
    """INSTA's coloured face parsing, black where there is nobody."""
    flame: Path | None
    """FLAME parameters (.npz)."""
    K_px: Float[np.ndarray, "3 3"]
    """In pixels of the picture."""
    T_camera_world: Float[np.ndarray, "4 4"]
    """OpenCV axes on the camera's side, the dataset's own on the other."""
    timestep: int
    part: Part


@dataclass(frozen=True)
class PictureClip(Video):
    """A dataset's pictures of one camera."""

    pictures: tuple[PeerFrame, ...]
    times_s: tuple[Fraction, ...]

    def frames(
        self,
        start_s: float | None = None,
        end_s: float | None = None,
        only: Collection[Fraction] | None = None,
        damage: Damage | None = None,
    ) -> Iterator[Frame]:
        """`Video.frames`; a picture that cannot be read ends it with an error."""
        damage = Damage() if damage is None else damage
        for picture, time_s in zip(self.pictures, self.times_s, strict=True):
            outside = (start_s is not None and time_s < start_s) or (end_s is not None and time_s >= end_s)
            if outside or (only is not None and time_s not in only):
                continue
            image, matte = read_picture(picture, (self.width_px, self.height_px))
            damage.decoded, damage.last_s = damage.decoded + 1, float(time_s)
            yield Frame(image, time_s, matte)

    def sha256(self) -> str:
        """A checksum of all pictures and masks."""
        digest = hashlib.sha256()
        for picture in self.pictures:
            for path in (picture.picture, picture.mask, picture.parsing):
                digest.update(b"" if path is None else hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height, from the file's head."""
    with _opened(path) as picture:
        return picture.size


def has_alpha(path: Path) -> bool:
    """Whether a picture says what is transparent in it."""
    with _opened(path) as picture:
        return _transparent(picture)


def read_picture(
    frame: PeerFrame, size_px: tuple[int, int]
) -> tuple[UInt8[np.ndarray, "height width 3"], UInt8[np.ndarray, "height width"] | None]:
    """A picture and its matte: the mask file, else the picture's alpha, else what the parsing takes for a person.

    Colours are left as they are where alpha hides them.
    """
    picture = _loaded(frame.picture, size_px)
    matte = None
    if _transparent(picture):
        matte = np.array(picture.convert("RGBA"))[..., 3]
    if frame.mask is not None:
        matte = np.array(_loaded(frame.mask, size_px).convert("L"))
    elif matte is None and frame.parsing is not None:
        painted = np.array(_loaded(frame.parsing, size_px).convert("RGB")).max(-1)
        matte = np.where((painted > 0) & (painted != _CLOTHES), np.uint8(255), np.uint8(0))
    return np.array(picture.convert("RGB")), matte


def _transparent(picture: Image.Image) -> bool:
    return picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info


def _loaded(path: Path, size_px: tuple[int, int]) -> Image.Image:
    with _opened(path) as picture:
        if picture.size != size_px:
            found, wanted = (" x ".join(map(str, size)) for size in (picture.size, size_px))
            _refuse(f"a picture has {found} px and another one {wanted}", path)
        if picture.mode not in _EIGHT_BITS:
            _refuse(f"a picture has samples of another kind ({picture.mode}) than eight bits", path)
        try:
            picture.load()
        except (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError) as error:
            _refuse(f"a picture cannot be read: {error}", path)
        return picture


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path, formats=_FORMATS)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        reason = "it is neither PNG nor JPEG nor WebP" if isinstance(error, Image.UnidentifiedImageError) else error
        raise HeadstudioError(
            f"a picture cannot be read: {reason}", where=path, next_step="fetch the dataset again"
        ) from None


def _refuse(what: str, where: Path) -> NoReturn:
    raise HeadstudioError(what, where=where, next_step="fetch the dataset again")
