"""Small videos made on the spot, and detectors that see a red disk as a face."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from headstudio.capture.config import IngestConfig
from headstudio.capture.face_measures import STABLE_CM
from headstudio.capture.ingest import Tools


def write_video(
    path: Path,
    images: Sequence[np.ndarray],
    times_ms: Sequence[int] | None = None,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
    audio: np.ndarray | None = None,
    matrix: tuple[int, int, int, int] | None = None,
) -> Path:
    """Encode pictures at the given times (25 a second otherwise); `audio` is mono float at 16 kHz from time 0."""
    times_ms = [40 * i for i in range(len(images))] if times_ms is None else times_ms
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {"crf": "8", "preset": "ultrafast"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = Fraction(1, 1000)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        sound = container.add_stream("aac", rate=16000, layout="mono") if audio is not None else None
        for image, time_ms in zip(images, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None and audio is not None:
            frame = av.AudioFrame.from_ndarray(audio[None].astype(np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16000, 0, Fraction(1, 16000)
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    if matrix is not None:
        _patch_matrix(path, matrix)
    return path


def _patch_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write a display matrix (a b, c d) into the first track header, where phones put it (ISO 14496-12, 8.3.2)."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", content, start + 40, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(content))


def grey_frames(count: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Pictures whose brightness tells their number."""
    return [np.full((height, width, 3), 30 + 5 * i, np.uint8) for i in range(count)]


def disk_frame(
    centre: tuple[float, float], radius: float, width: int = 320, height: int = 240, background: int = 90
) -> np.ndarray:
    """A red disk, which the fake detector takes for a face, before a grey wall."""
    image = np.full((height, width, 3), background, np.uint8)
    cv2.circle(image, (round(centre[0]), round(centre[1])), round(radius), (220, 20, 20), -1)
    return image


class DiskDetector:
    """Sees every red disk as a frontal face of twice its radius."""

    def find(self, image_rgb: np.ndarray) -> np.ndarray:
        count, _, facts, _ = cv2.connectedComponentsWithStats(_red(image_rgb))
        return facts[1:count, :4].astype(float)[np.argsort(-facts[1:count, cv2.CC_STAT_AREA], kind="stable")]

    def detect(self, image_rgb: np.ndarray) -> list[np.ndarray]:
        return [disk_landmarks(box[:2] + box[2:] / 2, float(box[2:].max()) / 2) for box in self.find(image_rgb)[:1]]

    def close(self) -> None:
        pass


def disk_landmarks(centre: np.ndarray, radius: float) -> np.ndarray:
    """Landmarks of a frontal face inside a disk; the stable points lie as on the canonical face."""
    angles = np.linspace(0, 50 * np.pi, 478)
    shape = np.stack([np.cos(angles), np.sin(angles)], 1) * np.linspace(1, 0.1, 478)[:, None]
    for index, (x, y, _) in STABLE_CM.items():
        shape[index] = x / 9.5, -y / 9.5
    return np.concatenate([centre + radius * shape, np.zeros((478, 1))], 1)


class DiskMatte:
    """Takes the disk for the person."""

    def estimate(self, image_rgb: np.ndarray) -> np.ndarray:
        return _red(image_rgb).astype(np.float32)

    def close(self) -> None:
        pass


def _red(image_rgb: np.ndarray) -> np.ndarray:
    red, green = image_rgb[..., 0].astype(int), image_rgb[..., 1].astype(int)
    return (red - green > 80).astype(np.uint8)


def disk_tools(config: IngestConfig) -> Tools:
    """Stands in for MediaPipe."""
    return Tools(DiskDetector(), DiskMatte())


def disk_video(path: Path, count: int = 60) -> Path:
    """A disk that drifts to the right by a pixel a frame, with sound."""
    images = [disk_frame((120 + i, 110), 40) for i in range(count)]
    return write_video(path, images, audio=np.sin(np.arange(640 * count) * 0.2) * 0.3)
