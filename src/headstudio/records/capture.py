"""`Capture`: one performance of one person, decoded once, with everything that was detected in it."""

import enum
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.records.normal_maps import decode_normals

SCHEMA, VERSION = "headstudio.capture", 1


class Annotation(str, enum.Enum):
    """What may be known about the frames of a capture; a method declares which it needs."""

    LANDMARKS = "landmarks"
    MATTE = "matte"
    PARSING = "parsing"
    NORMALS = "normals"


FRAMES_FOLDER = "frames"
PICTURE_FOLDERS = {Annotation.MATTE: "mattes", Annotation.PARSING: "parsing", Annotation.NORMALS: "normals"}
"""Annotations that are one PNG a frame, and the folders they lie in."""


@dataclass(frozen=True)
class Split:
    """Which frames may be learned from; fixed once, at ingest (docs/protocol.md)."""

    train_end: int
    """Frames [0, train_end) are for training."""
    held_out_start: int
    """Frames [held_out_start, n) are held out; what lies between is the gap and serves neither."""


@dataclass(frozen=True)
class Source:
    """Where the frames came from. Only the file's name is kept, never its path."""

    file_name: str
    sha256: str
    width_px: int
    """Upright width, after display rotation."""
    height_px: int
    """Upright height."""
    rotation_deg: int
    """Clockwise display rotation that was applied."""
    start_s: float
    """Presentation time of the first frame kept."""
    codec: str
    has_audio: bool


@dataclass(frozen=True)
class Crop:
    """The square window of the upright source picture that became the stored frame."""

    left_px: float
    top_px: float
    side_px: float


@dataclass(frozen=True)
class CaptureView:
    """One camera's frames. All per-frame tensors have the same length."""

    name: str
    source: Source
    crop: Crop
    times_s: Float[Tensor, " frames"]
    """Exact presentation times on the capture's clock, float64, strictly increasing."""
    landmarks_px: Float[Tensor, "frames 478 3"]
    """MediaPipe landmarks in pixels of the stored frame, z in the same scale; NaN where no face was found."""
    valid: Bool[Tensor, "height width"]
    """False in padding, where the crop leaves the source picture."""
    quality: Mapping[str, Float[Tensor, " frames"]]
    """Per-frame measures by name: sharpness, exposure, face_size_px, occlusion, confidence, ..."""
    clock_offset_s: float = 0.0
    """Added to the view's own clock, which is 0 at `source.start_s`, to reach the capture's clock."""
    K_px: Float[Tensor, "frames 3 3"] | None = None
    """Intrinsics in pixels of the stored frame, where they came with the pictures or were calibrated."""
    T_camera_world: Float[Tensor, "4 4"] | None = None
    """Where the still camera is, in a capture of several views; identity for the first."""
    lens_estimated: bool = False
    """Whether `K_px` and `T_camera_world` were found from the films themselves and may be refined."""


@dataclass(frozen=True)
class Capture:
    """A performance on disk; pictures are read when asked for.

    Views that were filmed together have the same number of frames: frame `i` of each is the picture that was taken
    nearest to frame `i` of the first, at its own exact time.
    """

    path: Path
    size_px: int
    """Side of the stored square frames."""
    views: tuple[CaptureView, ...]
    split: Split
    annotations: frozenset[Annotation] = field(default_factory=frozenset)
    """What was found at ingest."""

    @property
    def frames(self) -> int:
        """Number of frames (of the first view, whose clock is the capture's)."""
        return len(self.views[0].times_s)

    @property
    def identifier(self) -> str:
        """A short name that follows from the content of the sources and how they were cut."""
        view = self.views[0]
        cut = repr((view.source.start_s, view.crop, self.size_px)).encode() + view.times_s.double().numpy().tobytes()
        for other in self.views[1:]:
            cut += repr((other.source.sha256, other.crop)).encode() + other.times_s.double().numpy().tobytes()
        return f"{view.source.sha256[:12]}-{self.frames}-{self.size_px}-{zlib.crc32(cut):08x}"

    @property
    def train_frames(self) -> range:
        """Indices of the frames that may be learned from."""
        return range(self.split.train_end)

    @property
    def held_out_frames(self) -> range:
        """Indices of the frames that score."""
        return range(self.split.held_out_start, self.frames)

    def image(self, frame: int, view: int = 0) -> UInt8[Tensor, "3 height width"]:
        """One stored frame."""
        return _picture(self.frame_path(frame, view), 3)

    def matte(self, frame: int, view: int = 0) -> UInt8[Tensor, "1 height width"]:
        """The person matte of one frame, 255 = person."""
        return _picture(self.matte_path(frame, view), 1)

    def parsing(self, frame: int, view: int = 0) -> UInt8[Tensor, "1 height width"]:
        """What every pixel of one frame shows, in the numbering of `headstudio.heads.parsing.Label`."""
        return _picture(self.picture_path(Annotation.PARSING, frame, view), 1)

    def normals(self, frame: int, view: int = 0) -> Float[Tensor, "3 height width"]:
        """Unit normals of one frame in camera axes, pointing out of the surface; 0 where nothing is known."""
        return decode_normals(_picture(self.picture_path(Annotation.NORMALS, frame, view), 3))

    def frame_path(self, frame: int, view: int = 0) -> Path:
        """Where a stored frame lies."""
        return self.path / FRAMES_FOLDER / self.views[view].name / f"{frame:06d}.jpg"

    def matte_path(self, frame: int, view: int = 0) -> Path:
        """Where a matte lies."""
        return self.picture_path(Annotation.MATTE, frame, view)

    def picture_path(self, annotation: Annotation, frame: int, view: int = 0) -> Path:
        """Where an annotation that is a picture lies."""
        return self.path / PICTURE_FOLDERS[annotation] / self.views[view].name / f"{frame:06d}.png"

    def save_tables(self) -> None:
        """Write everything but the pictures into `path` (which `storage.replacing_folder` provides)."""
        tensors: dict[str, Tensor] = {}
        for view in self.views:
            tensors[f"{view.name}/times_s"] = view.times_s.double()
            tensors[f"{view.name}/landmarks_px"] = view.landmarks_px.float()
            tensors[f"{view.name}/valid"] = view.valid
            tensors |= {f"{view.name}/quality/{key}": value.float() for key, value in view.quality.items()}
            if view.K_px is not None:
                tensors[f"{view.name}/K_px"] = view.K_px.float()
            if view.T_camera_world is not None:
                tensors[f"{view.name}/T_camera_world"] = view.T_camera_world.float()
        storage.write_tensors(self.path / "annotations.safetensors", tensors)
        storage.write_json(
            self.path / "capture.json",
            SCHEMA,
            VERSION,
            {
                "size_px": self.size_px,
                "split": vars(self.split),
                "annotations": sorted(a.value for a in self.annotations),
                "views": [_view_json(view) for view in self.views],
            },
        )

    @classmethod
    def load(cls, path: Path | str) -> "Capture":
        """Read a capture folder; a missing or damaged file is told by name."""
        path = Path(path)
        where = path / "capture.json"
        content = storage.read_json(where, SCHEMA, VERSION)
        views_json = storage.field(content, "views", list, where)
        required = {f"{v.get('name')}/{key}" for v in views_json for key in ("times_s", "landmarks_px", "valid")}
        tensors = storage.read_tensors(path / "annotations.safetensors", required)
        try:
            capture = cls(
                path,
                int(content["size_px"]),
                tuple(_view_from_json(v, tensors) for v in views_json),
                Split(**content["split"]),
                frozenset(Annotation(a) for a in content["annotations"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise HeadstudioError(
                f"capture.json is damaged: {error}", where=where, next_step="ingest the video again"
            ) from None
        _check(capture)
        return capture


def _view_json(view: CaptureView) -> dict:
    return {
        "name": view.name,
        "source": vars(view.source),
        "crop": vars(view.crop),
        "clock_offset_s": view.clock_offset_s,
        "frames": len(view.times_s),
        "lens_estimated": view.lens_estimated,
    }


def _view_from_json(content: dict, tensors: Mapping[str, Tensor]) -> CaptureView:
    name = content["name"]
    prefix = f"{name}/quality/"
    return CaptureView(
        name=name,
        source=Source(**content["source"]),
        crop=Crop(**content["crop"]),
        times_s=tensors[f"{name}/times_s"],
        landmarks_px=tensors[f"{name}/landmarks_px"],
        valid=tensors[f"{name}/valid"].bool(),
        quality={key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)},
        clock_offset_s=float(content["clock_offset_s"]),
        K_px=tensors.get(f"{name}/K_px"),
        T_camera_world=tensors.get(f"{name}/T_camera_world"),
        lens_estimated=bool(content.get("lens_estimated", False)),
    )


def _check(capture: Capture) -> None:
    again = "ingest the video again"
    if not capture.views:
        raise HeadstudioError("the capture has no view", where=capture.path, next_step=again)
    for index, view in enumerate(capture.views):
        tables = [view.landmarks_px, *view.quality.values(), *([] if view.K_px is None else [view.K_px])]
        lengths = {len(view.times_s), *map(len, tables)}
        if len(lengths) != 1:
            raise HeadstudioError(f"tables of view {view.name} differ in length", where=capture.path, next_step=again)
        if view.T_camera_world is not None and view.T_camera_world.shape != (4, 4):
            raise HeadstudioError(f"the camera of view {view.name} is damaged", where=capture.path, next_step=again)
        if view.valid.shape != (capture.size_px, capture.size_px):
            raise HeadstudioError(
                f"validity mask of view {view.name} has the wrong size", where=capture.path, next_step=again
            )
        missing = next((path for path in _pictures(capture, index) if not path.is_file()), None)
        if missing is not None:
            raise HeadstudioError("a picture of the capture is missing", where=missing, next_step=again)
    if not 0 < capture.split.train_end <= capture.split.held_out_start <= capture.frames:
        raise HeadstudioError("the train/held-out split does not fit the frames", where=capture.path, next_step=again)


def _pictures(capture: Capture, view: int) -> Iterator[Path]:
    """Where every picture of a view should lie."""
    for frame in range(len(capture.views[view].times_s)):
        yield capture.frame_path(frame, view)
        for annotation in sorted(capture.annotations & PICTURE_FOLDERS.keys()):
            yield capture.picture_path(annotation, frame, view)


def _picture(path: Path, channels: int) -> Tensor:
    try:
        with Image.open(path) as picture:
            array = np.array(picture.convert("RGB" if channels == 3 else "L"))
    except (OSError, UnidentifiedImageError) as error:
        raise HeadstudioError(
            f"picture cannot be read: {error}", where=path, next_step="ingest the video again"
        ) from None
    return torch.from_numpy(array.reshape(array.shape[0], array.shape[1], channels)).permute(2, 0, 1).contiguous()
