"""Write an MP4: H.264 with exact presentation times, perhaps a rotation tag, perhaps a voice."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.synth.voice import RATE_HZ
from headstudio.video import CLOCK_HZ, picture_stream, video_frame


@dataclass(frozen=True)
class VideoFormat:
    """How a clip is written."""

    width_px: int
    """Width as seen, after the rotation tag was obeyed."""
    height_px: int
    fps: float
    """Nominal rate."""
    crf: int = 18
    rotation_deg: int = 0
    """Clockwise rotation that players apply."""


def quantised(times_s: torch.Tensor) -> torch.Tensor:
    """The times that the stream's clock can tell, in float64 seconds."""
    return (times_s.double() * CLOCK_HZ).round() / CLOCK_HZ


def write_video(
    path: Path,
    frames: Iterable[UInt8[Tensor, "height width 3"]],
    times_s: torch.Tensor,
    form: VideoFormat,
    voice: np.ndarray | None = None,
) -> None:
    """Encode upright pictures; `voice` is mono sound at `voice.RATE_HZ`."""
    import av
    import av.error

    try:
        with av.open(str(path), "w", format="mp4") as container:
            picture = _picture_stream(container, form)
            sound = None if voice is None else container.add_stream("aac", rate=RATE_HZ, layout="mono")
            ticks = (quantised(times_s) * CLOCK_HZ).round().long().tolist()
            for frame, tick in zip(frames, ticks, strict=True):
                container.mux(picture.encode(_stored(frame, tick, form.rotation_deg)))
            container.mux(picture.encode(None))
            if sound is not None and voice is not None:
                _encode_sound(container, sound, voice)
    except (av.error.FFmpegError, OSError) as error:
        raise HeadstudioError(
            f"the video cannot be written: {error}", where=path, next_step="free some space or choose another place"
        ) from error
    if form.rotation_deg:
        tag_rotation(path, form.rotation_deg)


def tag_rotation(path: Path, clockwise_deg: int) -> None:
    """Write a clockwise display rotation into the track headers of an MP4 (ISO/IEC 14496-12, section 8.3.2)."""
    content = bytearray(path.read_bytes())
    cosine, sine = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[clockwise_deg]
    one = 1 << 16
    matrix = (cosine * one, sine * one, 0, -sine * one, cosine * one, 0, 0, 0, 1 << 30)
    place = content.find(b"tkhd")
    while place >= 0:
        # Version 0 of the box has 40 bytes between its name and the matrix, version 1 has 52; then come the sizes.
        start = place + 4 + (52 if content[place + 4] == 1 else 40)
        if int.from_bytes(content[start + 36 : start + 40], "big"):
            content[start : start + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
        place = content.find(b"tkhd", place + 4)
    path.write_bytes(content)


def _picture_stream(container: Any, form: VideoFormat) -> Any:
    turned = form.rotation_deg in (90, 270)
    width, height = (form.height_px, form.width_px) if turned else (form.width_px, form.height_px)
    return picture_stream(container, width, height, form.crf, form.fps, preset="veryfast")


def _stored(frame: Tensor, tick: int, rotation_deg: int) -> Any:
    # Stored against the tag: a picture to be turned clockwise is laid down turned counter-clockwise.
    return video_frame(torch.rot90(frame, rotation_deg // 90, (0, 1)).numpy(), tick)


def _encode_sound(container: Any, stream: Any, voice: np.ndarray) -> None:
    import av

    block = 1024
    for start in range(0, len(voice), block):
        frame = av.AudioFrame.from_ndarray(voice[None, start : start + block], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, start, Fraction(1, RATE_HZ)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
