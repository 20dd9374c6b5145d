"""What can be chosen about an import. Light to import: the command line reads its help from here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImportConfig:
    """How a peer's dataset becomes a capture."""

    camera: int | None = None
    """Index of the camera to take, where the dataset has several."""
    fps: float = 25.0
    """Frames a second, which the layouts do not tell (INSTA's tracker: 25)."""
    size_px: int | None = None
    """Side of the stored square frames; the longer side of the pictures when not given."""
