"""The tiny synthetic actor that stands before the whole pipeline: filmed, ingested and tracked once a test session."""

from pathlib import Path

from headstudio.capture.config import IngestConfig
from headstudio.capture.ingest import ingest
from headstudio.records.capture import Capture
from headstudio.records.track import Track
from headstudio.synth.actor import make_actor
from headstudio.synth.config import SynthConfig
from headstudio.tracking.config import TrackingConfig
from headstudio.tracking.tracker import track
from headstudio.training.contract import Source


def film(folder: Path, seed: int) -> Path:
    """The actor's video."""
    return make_actor(folder / "actor", SynthConfig.tiny(seed)).video


def tracked_actor(folder: Path, seed: int) -> Source:
    """A tracked capture of a tiny actor, with the track inside the capture as the command line keeps it."""
    capture = ingest(film(folder, seed), folder / "capture", IngestConfig(size_px=128))
    track(capture, TrackingConfig()).save(folder / "capture" / "track")
    return Source(Capture.load(folder / "capture"), Track.load(folder / "capture" / "track"))
