"""The synthetic actors that the tracker is judged on: who they are, and their films and captures in a cache folder.

Judged people are never looked at while the tracker is made; the development set is for that. Seed 71 is left alone,
because the landmark tables were made on its people.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import Tensor

from headstudio import storage
from headstudio.capture.ingest import ingest
from headstudio.records.capture import Capture
from headstudio.records.track import Track
from headstudio.synth.actor import SyntheticActor, make_actor
from headstudio.synth.config import SynthConfig
from headstudio.tracking.config import TrackingConfig
from tracking_rows import Heads, Scores
from tracking_scores import Pair, score

SCHEMA, VERSION = "headstudio.benchmark.actor", 1

_REVISION = 2
"""Of the synthetic actor; a change of how it looks asks for new films. 2: closed lids cover the eyes and are lit."""
_FILM = SynthConfig(seconds=10.0, fps=25.0, width_px=512, height_px=512, crf=23, audio=False)
"""Ten seconds as a messenger would send them; noise, displacement and hair as they come."""
_DISTORTION = {35.0: -0.03, 50.0: -0.01, 85.0: 0.03}
"""Barrel for the wide lens and cushion for the long one, as lenses have it."""

JUDGED_SEEDS = (401, 402, 404, 405)
"""The first people with hair, counted from 401, whose script moves every scored channel by 0.3 (403 never puckers)."""
LIGHT_SEEDS = (25, 27)
"""A key light from either side."""
SANITY_SEEDS = (406, 407, 409)


@dataclass(frozen=True)
class Filmed:
    """One actor of a set, on disk."""

    name: str
    actor: SyntheticActor
    capture: Capture

    def judge(self, found: Track, heads: Heads, config: TrackingConfig) -> tuple[Scores, dict[str, Tensor]]:
        """Against the truth."""
        fitted, own = heads[found.identity.head], heads[self.actor.config.head]
        return score(Pair(found, self.actor.truth(), self.capture, fitted, own))


def _people(head: str, seeds: tuple[int, ...], lights: tuple[int, ...], focals_mm: tuple[float, ...]) -> list:
    return [
        replace(_FILM, head=head, seed=seed, light_seed=light, focal_mm=focal, distortion=_DISTORTION[focal])
        for seed in seeds
        for light in lights
        for focal in focals_mm
    ]


def _sanity() -> list[SynthConfig]:
    places = zip(SANITY_SEEDS, (35.0, 50.0, 85.0), (*LIGHT_SEEDS, LIGHT_SEEDS[0]), strict=True)
    return [
        replace(_FILM, seed=seed, light_seed=light, focal_mm=focal, distortion=_DISTORTION[focal])
        for seed, focal, light in places
    ]


def sets() -> dict[str, list[SynthConfig]]:
    """Configurations by the name of their set."""
    return {
        "development": [
            replace(_FILM, head="ict", seed=301, focal_mm=50.0),
            replace(_FILM, head="ict", seed=302, focal_mm=35.0),
            replace(_FILM, head="makehuman", seed=303, focal_mm=50.0),
        ],
        "judged": _people("ict", JUDGED_SEEDS, LIGHT_SEEDS, (35.0, 50.0, 85.0)),
        "sanity": _sanity(),
    }


def name_of(config: SynthConfig) -> str:
    """Head, person, light and lens."""
    light = "" if config.light_seed is None else f"_light{config.light_seed}"
    return f"{config.head}{config.seed}{light}_{config.focal_mm:.0f}mm"


def is_filmed(folder: Path, config: SynthConfig) -> bool:
    """Whether film and capture of just this configuration are there."""
    place = folder / name_of(config) / "config.json"
    if not place.exists():
        return False
    told, wanted = storage.read_json(place, SCHEMA, VERSION), asdict(config)
    # A choice that was unknown when the film was made did not exist then.
    same = all(wanted.get(key) == value for key, value in told["config"].items())
    return same and told.get("revision") == _REVISION


def filmed(folder: Path, config: SynthConfig) -> Filmed:
    """The actor's film and capture, made where they are not there yet; both appear whole or not at all."""
    place = folder / name_of(config)
    if not is_filmed(folder, config):
        with storage.replacing_folder(place) as building:
            actor = make_actor(building / "actor", config)
            ingest(actor.video, building / "capture")
            storage.write_json(
                building / "config.json", SCHEMA, VERSION, {"config": asdict(config), "revision": _REVISION}
            )
    return Filmed(place.name, SyntheticActor(place / "actor", config), Capture.load(place / "capture"))
