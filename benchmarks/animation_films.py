"""Films of the animation benchmark: one person whose head is animated, and five strangers of another head model.

    HEADSTUDIO_ICT=ict_facekit.npz python benchmarks/animation_films.py OUTPUT

All with truth: coefficients and meshes are those that were rendered. Landmarks are the detector's; each capture also
has a folder `solved`, the tracker's closed-form solve of them, which is what coefficients in mean here.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from headstudio.encoders.expression.people import film_stage
from headstudio.heads import load_head
from headstudio.records.capture import Capture
from headstudio.records.track import Track
from headstudio.synth.config import SynthConfig
from headstudio.synth.performance import Performance
from headstudio.synth.stage import Stage
from headstudio.tracking.config import TrackingConfig
from headstudio.tracking.tracker import track
from headstudio.training.contract import Source

TARGET_SEED, TAKES, TAKE_S = 2001, 3, 14.0
"""The person, so many performances after one another, and how long each is; the last is held out."""
DRIVER_SEEDS, DRIVER_S = (2101, 2102, 2103, 2104, 2105), 8.0
FPS = 25.0
_SIZE_PX = 192
_FILM = SynthConfig(
    fps=FPS, width_px=_SIZE_PX, height_px=_SIZE_PX, head_share=0.7, texture_px=512, strands=1500, audio=False
)


@dataclass(frozen=True)
class Acted:
    """One film on disk."""

    name: str
    place: Path

    @property
    def capture(self) -> Capture:
        """The pictures and the detector's landmarks."""
        return Capture.load(self.place)

    @property
    def truth(self) -> Track:
        """What was rendered."""
        return Track.load(self.place / "track")

    @property
    def solved(self) -> Track:
        """What the tracker makes of the landmarks."""
        return Track.load(self.place / "solved")

    @property
    def source(self) -> Source:
        """Tracked ARKit weights beside the true coefficients of the rig: what is read, and what should be said."""
        return Source(self.capture, replace(self.truth, arkit=self.solved.arkit))


def films(folder: Path) -> tuple[Acted, tuple[Acted, ...]]:
    """The person and the strangers; whoever is not filmed yet is filmed."""
    target = _filmed(folder, f"makehuman-{TARGET_SEED}", _target)
    drivers = tuple(_filmed(folder, f"ict-{seed}", lambda seed=seed: (_driver(seed), 1)) for seed in DRIVER_SEEDS)
    return target, drivers


def _filmed(folder: Path, name: str, staged: Callable[[], tuple[Stage, int]]) -> Acted:
    place = folder / name
    if not (place / "track" / "track.json").is_file():
        film_stage(place, *staged())
    if not (place / "solved" / "track.json").is_file():
        usual = TrackingConfig()
        landmarks_only = replace(usual, photometric=replace(usual.photometric, enabled=False))
        track(Capture.load(place), landmarks_only).save(place / "solved")
    return Acted(name, place)


def _target() -> tuple[Stage, int]:
    takes = [Performance.sample(TARGET_SEED + take, TAKE_S, FPS) for take in range(TAKES)]
    config = replace(_FILM, seed=TARGET_SEED, head="makehuman", seconds=TAKE_S)
    stage = Stage.build(config, load_head("makehuman"))
    return stage.performing(_in_turn(takes)), sum(len(take) for take in takes[:-1])


def _driver(seed: int) -> Stage:
    return Stage.build(replace(_FILM, seed=seed, head="ict", seconds=DRIVER_S), load_head("ict"))


def _in_turn(takes: list[Performance]) -> Performance:
    frames = sum(len(take) for take in takes)
    return Performance(
        times_s=torch.arange(frames, dtype=torch.float64) / FPS,
        arkit=torch.cat([take.arkit for take in takes]),
        turn_rad=torch.cat([take.turn_rad for take in takes]),
        shift_m=torch.cat([take.shift_m for take in takes]),
        blinks_s=(),
        closures_s=(),
    )


def main() -> None:
    """Film whoever is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    target, drivers = films(parser.parse_args().output / "films")
    for film in (target, *drivers):
        print(film.place, film.capture.frames)


if __name__ == "__main__":
    main()
