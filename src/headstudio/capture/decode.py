"""Video decoding with PyAV: upright square-pixel RGB frames, each with its exact presentation time.

A frame's time is its presentation time stamp on the stream's own rational clock, so variable rates, B-frames and edit
lists need no special case: FFmpeg's demuxer has applied the edit list to the stamps already.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from headstudio.errors import HeadstudioError

RgbImage = UInt8[np.ndarray, "height width 3"]

_DISPLAY_MATRIX = "DISPLAYMATRIX"
_UNSPECIFIED = 2
_HIGH_DYNAMIC_RANGE = {16: "PQ", 18: "HLG"}
_HIGH_DEFINITION_LINES = 720


@dataclass(frozen=True)
class Frame:
    """One decoded picture."""

    image: RgbImage
    """Upright, with square pixels."""
    time_s: Fraction
    """Exact presentation time on the file's clock."""
    matte: UInt8[np.ndarray, "height width"] | None = None
    """The person matte, where one came with the picture."""


@dataclass
class Damage:
    """What the decoder met on its way; filled while `Video.frames` runs."""

    decoded: int = 0
    """Pictures that came out whole."""
    times_s: list[float] = field(default_factory=list)
    """Presentation times (or the last time before) of the pictures and packets that were damaged."""
    out_of_order: int = 0
    """Pictures dropped because their time did not lie after the one before."""
    last_s: float = 0.0
    """Time of the last whole picture."""

    def met(self, time_s: float | None) -> None:
        """Note one damaged picture or packet."""
        self.times_s.append(self.last_s if time_s is None else time_s)


@dataclass(frozen=True)
class Video:
    """What a file says about its first video stream."""

    path: Path
    width_px: int
    """Upright width with square pixels."""
    height_px: int
    rotation_deg: int
    """Clockwise turn that makes the stored picture upright."""
    mirrored: bool
    """Whether the stored picture is flipped left to right before it is turned."""
    start_s: Fraction
    """Presentation time of the stream's first frame."""
    duration_s: float | None
    """As declared by the file; None when it does not say."""
    expected_frames: int | None
    """As declared by the file or from duration and rate; None when neither is known."""
    codec: str
    has_audio: bool
    high_dynamic_range: str | None
    """PQ or HLG when the file is tagged so."""

    def frames(
        self,
        start_s: float | None = None,
        end_s: float | None = None,
        only: Collection[Fraction] | None = None,
        damage: Damage | None = None,
    ) -> Iterator[Frame]:
        """Decode the frames with start <= time < end, seconds after the first frame of the stream.

        Args:
            only: exact times (`Frame.time_s`) to convert; others are decoded and passed over.
            damage: filled with what was broken.
        """
        damage = Damage() if damage is None else damage
        after, before = self._limits(start_s, end_s)
        for picture, time_s in _pictures(self.path, after, damage):
            if before is not None and time_s >= before:
                return
            if (after is None or time_s >= after) and (only is None or time_s in only):
                yield Frame(self._upright(picture), time_s)

    def sha256(self) -> str:
        """A checksum of the content."""
        return sha256_of(self.path)

    def _limits(self, start_s: float | None, end_s: float | None) -> tuple[Fraction | None, Fraction | None]:
        after = None if start_s is None else self.start_s + Fraction(start_s).limit_denominator(1_000_000)
        before = None if end_s is None else self.start_s + Fraction(end_s).limit_denominator(1_000_000)
        return after, before

    def _upright(self, picture: Any) -> RgbImage:
        turned = self.rotation_deg % 180 == 90
        width, height = (self.height_px, self.width_px) if turned else (self.width_px, self.height_px)
        image = picture.reformat(width, height, "rgb24", src_colorspace=_colour_matrix(picture)).to_ndarray()
        if self.mirrored:
            image = image[:, ::-1]
        return np.ascontiguousarray(np.rot90(image, -self.rotation_deg // 90))


def open_video(path: Path) -> Video:
    """Read the facts of a video file; whatever stands in the way of decoding it is told in one sentence."""
    path = Path(path)
    with _container(path) as container:
        stream = _video_stream(container, path)
        first = next((f for f in _tolerant(container, stream, Damage()) if f.pts is not None), None)
        if first is None:
            raise HeadstudioError("no picture can be decoded from this video", where=path, next_step="record it again")
        return _facts(path, container, stream, first)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def orientation(matrix: bytes | None) -> tuple[int, bool]:
    """Clockwise turn in degrees (a multiple of 90) and whether a left-right flip comes before it.

    Args:
        matrix: FFmpeg's display matrix, nine native-endian int32 `(a b u, c d v, x y w)` that map a stored point
            (p, q) to the shown point (a p + c q + x, b p + d q + y), y down (libavutil/display.h).
    """
    if matrix is None:
        return 0, False
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].astype(float)
    mirrored = a * d - b * c < 0
    if mirrored:  # flipping the stored picture first negates the first column
        a, b = -a, -b
    return round(float(np.degrees(np.arctan2(b, a))) / 90) * 90 % 360, bool(mirrored)


def _facts(path: Path, container: Any, stream: Any, first: Any) -> Video:
    rotation_deg, mirrored = orientation(_display_matrix(first))
    aspect = stream.sample_aspect_ratio or Fraction(1)
    width, height = max(round(first.width * aspect), 1), first.height
    if rotation_deg % 180 == 90:
        width, height = height, width
    duration_s = _duration_s(container, stream)
    rate = stream.average_rate or stream.guessed_rate
    expected = stream.frames or (round(duration_s * rate) if duration_s and rate else None)
    return Video(
        path=path,
        width_px=width,
        height_px=height,
        rotation_deg=rotation_deg,
        mirrored=mirrored,
        start_s=first.pts * first.time_base,
        duration_s=duration_s,
        expected_frames=expected,
        codec=stream.codec_context.name,
        has_audio=bool(container.streams.audio),
        high_dynamic_range=_HIGH_DYNAMIC_RANGE.get(int(first.color_trc)),
    )


def _duration_s(container: Any, stream: Any) -> float | None:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None  # FFmpeg's AV_TIME_BASE is microseconds


def _display_matrix(picture: Any) -> bytes | None:
    return next((bytes(data) for data in iter(picture.side_data) if data.type.name == _DISPLAY_MATRIX), None)


def _colour_matrix(picture: Any) -> int | None:
    """Untagged pictures follow the usual rule of players: BT.709 from 720 lines on, BT.601 below."""
    from av.video.reformatter import Colorspace

    if int(picture.colorspace) != _UNSPECIFIED:
        return None
    return Colorspace.ITU709 if min(picture.width, picture.height) >= _HIGH_DEFINITION_LINES else Colorspace.ITU601


def _container(path: Path) -> Any:
    import av
    from av.error import FFmpegError

    if path.is_dir():
        raise HeadstudioError("this is a folder, not a video", where=path, next_step="name a video file")
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise HeadstudioError(
            f"the video cannot be opened: {reason}", where=path, next_step="check the path and its permissions"
        ) from None
    try:
        return av.open(str(path))
    except (FFmpegError, ValueError, OSError):
        raise HeadstudioError(
            "this is not a video that can be read",
            where=path,
            next_step="check that it plays, or copy it again from the camera",
        ) from None


def _video_stream(container: Any, path: Path) -> Any:
    """The first video stream that moves: a cover picture of an audio file is none."""
    from av.stream import Disposition

    moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not moving or moving[0].codec_context is None:
        raise HeadstudioError("the file has no video stream", where=path, next_step="choose a file with pictures")
    moving[0].thread_type = "AUTO"
    return moving[0]


def _pictures(path: Path, after: Fraction | None, damage: Damage) -> Iterator[tuple[Any, Fraction]]:
    """Whole pictures with strictly increasing times, from the key frame before `after` on."""
    last = None
    with _container(path) as container:
        stream = _video_stream(container, path)
        if after is not None and stream.time_base:
            container.seek(int(after / stream.time_base), stream=stream, backward=True)
        for picture in _tolerant(container, stream, damage):
            time_s = None if picture.pts is None else picture.pts * picture.time_base
            if picture.is_corrupt or time_s is None:
                damage.met(None if time_s is None else float(time_s))
            elif last is not None and time_s <= last:
                damage.out_of_order += 1
            else:
                last = time_s
                damage.decoded, damage.last_s = damage.decoded + 1, float(time_s)
                yield picture, time_s


def _tolerant(container: Any, stream: Any, damage: Damage) -> Iterator[Any]:
    """Decode packet by packet, so that a broken one costs only itself."""
    from av.error import FFmpegError

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except FFmpegError:
            damage.met(None)
            return
        if packet is None:
            return
        try:
            pictures = packet.decode()
        except FFmpegError:
            damage.met(None if packet.pts is None else float(packet.pts * packet.time_base))
            continue
        yield from pictures


def nearest_in_time(frames: Iterable[Frame], fps: float) -> Iterator[Frame]:
    """Thin frames out to a rate: for each tick the frame whose time lies nearest; none is used twice.

    Ticks start at the first frame; the frames keep their own exact times.
    """
    step = 1 / Fraction(fps).limit_denominator(1_000_000)
    before: Frame | None = None
    given: Frame | None = None
    tick = Fraction(0)
    for frame in frames:
        tick = frame.time_s if before is None else tick
        while tick <= frame.time_s:
            nearer = before if before and tick - before.time_s < frame.time_s - tick else frame
            if given is None or nearer.time_s > given.time_s:
                yield nearer
                given = nearer
            tick += step
        before = frame
    if before and given and given.time_s < before.time_s and tick - before.time_s < step / 2:
        yield before
