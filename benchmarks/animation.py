"""Paper 3's claims as numbers: which features, which network and which window animate a head best, driven by strangers.

    HEADSTUDIO_ICT=ict_facekit.npz HEADSTUDIO_WEIGHTS=weights python benchmarks/animation.py OUTPUT --encoder ENCODER
    python benchmarks/animation.py OUTPUT --encoder ENCODER --real A_CAPTURE B_CAPTURE     # tracked clips of two people

The head's person is learned from their own film alone; five strangers of another head model then act, and what the head
does is compared with the same ARKit weights on its own rig. Signal: `predicted`. A row is one network and one seed;
those that are there are kept. Rows named "copied" have no network: weights are carried over relative to rest.
"""

import argparse
import dataclasses
import hashlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from animation_films import FPS, Acted, films
from animation_scores import Animated, Scores, alike
from headstudio import storage
from headstudio.cli.sources import load_source
from headstudio.drivers.drive import predicted
from headstudio.drivers.sequence import SequenceConfig, SequenceDriver
from headstudio.drivers.sequence.config import FeatureConfig
from headstudio.drivers.sequence.networks import AnimationNetwork
from headstudio.heads import load_head
from headstudio.motion.articulation import mesh_channels
from headstudio.motion.neutral import find_neutral
from headstudio.records.avatar import Avatar
from headstudio.records.channels import ARKIT, BLENDSHAPES, FACE_CROP, FACE_LANDMARKS, Channels
from headstudio.records.motion import Motion
from headstudio.records.track import HeadIdentity
from headstudio.training.avatars import build
from headstudio.training.contract import AvatarModel, Source, Sources
from headstudio.training.train import Recipe, train
from headstudio.training.trainer import TrainerConfig
from tracking_signals import apertures

SCHEMA, VERSION = "headstudio.benchmark.animation", 1
_USUAL = SequenceConfig(steps=1000)
SHOWN = (
    "face_mm", "lips_mm", "eyelids_mm", "code", "velocity_mm_s", "jitter", "lips_correlation", "lips_lag_ms",
    "lips_amplitude", "lids_correlation", "lids_lag_ms", "lids_amplitude",
)  # fmt: skip
FOLLOWED = SHOWN[6:]


class Person(AvatarModel):
    """A head without a picture: enough for a driver that says the coefficients of its mesh."""

    capabilities = frozenset()
    Config, presets = SequenceConfig, {}

    def __init__(self, identity: HeadIdentity) -> None:
        super().__init__(None)
        self._identity = identity

    @property
    def driven_by(self) -> tuple:
        """The tracker's channels."""
        return mesh_channels(self._identity.head)

    @property
    def identity(self) -> HeadIdentity:
        """Whose head."""
        return self._identity

    def setup(self, sources: Sources) -> None:
        """Nothing learns."""

    def stages(self) -> tuple:
        """None."""
        return ()

    losses = render = runtime = setup


def variants(encoder: str) -> dict[str, SequenceConfig]:
    """Every network that is learned, by the name of its row."""
    features = {kind: FeatureConfig(kind, encoder if kind.startswith("encoder") else "", False) for kind in _KINDS}
    rows = {
        f"{_KINDS[kind]}{', residual' if residual else ''}": dataclasses.replace(
            _USUAL, features=chosen, residual=residual
        )
        for kind, chosen in features.items()
        for residual in (0, _USUAL.residual)
    }
    relative = dataclasses.replace(features["encoder"], relative=True)
    seen = dataclasses.replace(_USUAL, features=relative, residual=0)
    size = _parameters(seen)
    for kind in ("cnn", "mlp"):
        like = (dataclasses.replace(seen, network=kind, width=width) for width in range(16, 400, 2))
        rows[kind] = min(like, key=lambda config: abs(_parameters(config) - size))
    rows |= {
        f"{_KINDS[kind]}, relative": dataclasses.replace(
            _USUAL, features=dataclasses.replace(chosen, relative=True), residual=0
        )
        for kind, chosen in features.items()
    }
    rows |= {f"window {window}": dataclasses.replace(seen, window=window) for window in (1, 4, 16)}
    rows["codes as they are"] = dataclasses.replace(seen, whiten=False)
    return rows


_KINDS = {
    "tracked": "tracked coefficients",
    "blendshapes": "MediaPipe blendshapes",
    "encoder_weights": "encoder's weights",
    "encoder": "encoder's features",
}


def _parameters(config: SequenceConfig) -> int:
    network = AnimationNetwork(config.network, 128, 61, config.width)
    return sum(parameter.numel() for parameter in network.parameters())


class Bench:
    """One person and the strangers who drive them."""

    def __init__(self, output: Path, encoder: str, seeds: int) -> None:
        self.output, self.encoder, self.seeds = output, encoder, seeds
        self.target, self.drivers = films(output / "films")
        self.person = Person(self.target.truth.identity)
        self.animated = Animated(load_head(self.target.truth.identity.head), self.target.truth.identity)

    def rows(self, only: str) -> Iterator[tuple[str, list[Mapping[str, Scores]]]]:
        """Name and scores by driver, one mapping a seed."""
        for name in ("at rest", *(f"{title}, copied" for kind, title in _KINDS.items() if kind != "encoder")):
            if only in name:
                yield name, [kept(self.place(name), lambda name=name: self.without_network(name))]
        for name, config in variants(self.encoder).items():
            if only in name:
                yield (
                    name,
                    [
                        kept(self.place(f"{name} {seed}"), lambda c=config, s=seed: self.learned(c, s))
                        for seed in range(self.seeds)
                    ],
                )

    def place(self, name: str) -> Path:
        """Where a row lies."""
        return self.output / "rows" / f"{name.replace(' ', '-')}.json"

    def learned(self, config: SequenceConfig, seed: int) -> Mapping[str, Scores]:
        """Train on the person, drive by everybody."""
        source = self.target.source
        driver = learned(config, source, self.person, seed, self.output / "work")
        scores = {film.name: self.driven(driver, film) for film in self.drivers}
        frames = list(source.capture.held_out_frames)
        own = source.motion_with(driver.consumes).select(frames)
        true = self.target.truth.motion().select(frames).channels
        return scores | {"own": self.judged(driver, own, true)}

    def driven(self, driver: SequenceDriver, film: Acted) -> Scores:
        """One stranger."""
        true = self.animated.channels_of(film.truth.arkit)
        return self.judged(driver, film.source.motion_with(driver.consumes), true)

    def judged(self, driver: SequenceDriver, motion: Motion, true: Channels) -> Scores:
        """What a driver makes of a motion against what it should."""
        started = time.process_time()
        said = predicted(driver, motion)
        spent_ms = (time.process_time() - started) / len(motion) * 1000
        rows = [torch.cat([c[channel].flatten(1) for channel in sorted(said)], 1) for c in (said, true)]
        white = [driver.whitening.white(values) for values in rows]
        code = float((white[0] - white[1]).square().mean().sqrt())
        return {**self.animated.score(said, true, FPS), "code": code, "cpu_ms": spent_ms}

    def without_network(self, name: str) -> Mapping[str, Scores]:
        """Weights carried over relative to rest, or nothing at all."""
        scores = {}
        for film in self.drivers:
            motion = Motion(film.truth.times_s, {ARKIT: self.weights(film, name)})
            neutral = find_neutral(motion).channels[ARKIT]
            said = self.animated.channels_of((motion.channels[ARKIT] - neutral).clamp(0, 1))
            scores[film.name] = self.animated.score(said, self.animated.channels_of(film.truth.arkit), FPS)
        return scores

    def weights(self, film: Acted, name: str) -> Tensor:
        """ARKit weights of a stranger as a row's name says."""
        kind = next((kind for kind, title in _KINDS.items() if name.startswith(title)), None)
        if kind == "tracked":
            return film.solved.arkit
        if kind == "blendshapes":
            return film.source.motion_with({BLENDSHAPES}).channels[BLENDSHAPES]
        if kind is None:
            return torch.zeros(film.capture.frames, 52)
        encoder = build(Avatar.load(self.encoder))
        with torch.no_grad():
            told = encoder.encode(film.source.motion_with({FACE_CROP, FACE_LANDMARKS}).channels)
        return told[ARKIT]


def learned(config: SequenceConfig, source: Source, person: Person, seed: int, folder: Path) -> SequenceDriver:
    """A driver of a person, trained on their own film."""
    place = folder / hashlib.sha256(f"{config} {seed} {source.key}".encode()).hexdigest()[:12]
    recipe = Recipe("drivers", "sequence", config=config)
    record = train(recipe, {"target": (source,)}, place, TrainerConfig(seed=seed, device="cpu"), person)
    driver = build(record, person)
    assert isinstance(driver, SequenceDriver)
    return driver


def real_rows(output: Path, encoder: str, captures: list[Path], only: str) -> Iterator[str]:
    """Each person of two animated by the other: how well lips and lids follow what the detector saw of the driver."""
    people = [load_source(path) for path in captures]
    for index, (target, actor) in enumerate(itertools.permutations(people, 2)):
        for name, config in variants(encoder).items():
            if only in name:
                place = output / "rows" / f"real-{index}-{name.replace(' ', '-')}.json"
                scores = kept(place, lambda c=config, t=target, a=actor: followed(output, c, t, a))
                shown = [f"{scores[key]:.2f}" for key in FOLLOWED]
                yield f"| {captures[1 - index].parent.name} | {name} | {' | '.join(shown)} |"


def followed(output: Path, config: SequenceConfig, target: Source, actor: Source) -> Scores:
    """One real person animated by another."""
    person = Person(target.track.identity)
    animated = Animated(load_head(target.track.identity.head), target.track.identity)
    driver = learned(config, target, person, 0, output / "work")
    said = animated.opening(animated.meshes(predicted(driver, actor.motion_with(driver.consumes))))
    seen = dict(zip(("lids", "lips"), apertures(actor.capture.views[0].landmarks_px[..., :2].double()), strict=True))
    fps = 1 / float(actor.capture.views[0].times_s.diff().median())
    return {f"{part}_{key}": v for part in seen for key, v in alike(said[part], seen[part], fps).items()}


def kept(place: Path, make: Callable[[], Mapping]) -> Mapping:
    """Scores that were made before, or are made now."""
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        storage.write_json(place, SCHEMA, VERSION, {"scores": make()})
    return storage.read_json(place, SCHEMA, VERSION)["scores"]


def line(name: str, seeds: list[Mapping[str, Scores]]) -> str:
    """A row of the table: means over strangers and seeds; for the face, the range of the strangers too."""
    drivers = [scores for by_driver in seeds for film, scores in by_driver.items() if film != "own"]
    cells = [f"{np.mean([scores[key] for scores in drivers]):.2f}" if key in drivers[0] else "" for key in SHOWN]
    faces = [scores["face_mm"] for scores in drivers]
    own = [by_driver["own"]["face_mm"] for by_driver in seeds if "own" in by_driver]
    cells[0] += f" ({min(faces):.2f} to {max(faces):.2f})"
    return f"| {name} | {' | '.join(cells)} | {np.mean(own):.2f} |" if own else f"| {name} | {' | '.join(cells)} | |"


def main() -> None:
    """Make the rows that are missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--encoder", required=True, help="what `headstudio train-encoder` wrote")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--real", type=Path, nargs=2, default=(), help="tracked captures of two people")
    options = parser.parse_args()
    if options.real:
        print(f"| driver | row | {' | '.join(FOLLOWED)} |")
        for row in real_rows(options.output, options.encoder, list(options.real), options.only):
            print(row, flush=True)
        return
    bench = Bench(options.output, options.encoder, options.seeds)
    print(f"| row | {' | '.join(SHOWN)} | own person: face_mm |")
    for name, seeds in bench.rows(options.only):
        print(line(name, seeds), flush=True)


if __name__ == "__main__":
    main()
