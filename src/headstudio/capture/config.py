"""What `ingest` can be told. Light to import: the command line reads its help from here."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class IngestConfig:
    """How a video becomes a capture."""

    fps: float | None = None
    """Keep this many frames a second, each the nearest in time to its tick; all frames when not given."""
    start_s: float | None = None
    """Begin this many seconds after the video's first frame."""
    end_s: float | None = None
    """End before this many seconds after the video's first frame."""
    size_px: int = 512
    """Side of the stored square frames (papers 1, 2 and 4: 512; paper 5: 256 and 512)."""
    crop_margin: float = 1.05
    """Side of the crop over the extent of the whole head with hair and upper neck in all frames. (Paper 2 enlarges the
    box of the face 1.5 times, which is about the same on a still head.)"""
    held_out_fraction: float = 0.2
    """Last part of the clip that scores and is never learned from (papers 2 and 5: 0.2 and 0.1)."""
    gap_s: float = 0.5
    """Seconds between the training part and the held-out part that serve neither."""
    min_face_px: int = 48
    """Smallest face, in pixels of the video, that is accepted."""
    allow_cuts: bool = False
    """Go on with a warning when the clip holds a cut."""
    matte: Path | None = None
    """ONNX file of a person matte; MediaPipe's selfie segmentation when not given."""
