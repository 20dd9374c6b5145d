"""Synthetic people to learn expressions from: each makes many unrelated faces, every one turned and lit anew.

A person is an ordinary capture with a track that is the truth, so an encoder learns from them as from filmed people.
Their landmarks are the detector's own, with its errors, since those are what the encoder will be given.
"""

import hashlib
import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from headstudio import storage
from headstudio.capture.detector import FaceDetector
from headstudio.encoders.expression.faces import posed_faces
from headstudio.heads import load_head
from headstudio.progress import Progress
from headstudio.records.capture import Annotation, Capture, CaptureView, Crop, Source, Split
from headstudio.records.track import HeadIdentity, Track, TrackView
from headstudio.synth.config import SynthConfig
from headstudio.synth.frames import FrameRenderer
from headstudio.synth.light import Light
from headstudio.synth.stage import Stage

VIEW = "main"
_FOCAL_MM = (28.0, 90.0)
_HEAD_SHARE = (0.5, 0.8)
_JPEG_QUALITY = 92
_REVISION = 1
"""To be counted up when the same configuration gives other pictures."""


@dataclass(frozen=True)
class PeopleConfig:
    """How many people, and how they are seen."""

    people: int = 120
    """How many; more people teach more than more faces of each."""
    faces: int = 24
    """Pictures of each."""
    seed: int = 1000
    """Seed of the first; the others follow."""
    size_px: int = 192
    """Side of the pictures; the face crop has 128."""
    head: str = "makehuman"
    """Registered head model that they are made from."""
    processes: int = 1
    """Processes that film at once."""


def film_people(folder: Path, config: PeopleConfig, progress: Progress) -> tuple[Path, ...]:
    """The captures of the people, each with its track inside; those that are there already are kept.

    Args:
        folder: where the captures lie, one folder a person.
        config: who.
        progress: who is told how far it is.
    """
    places = [folder / f"{config.head}-{seed}-{_digest(config)}" for seed in _seeds(config)]
    missing = [index for index, place in enumerate(places) if not (place / "track" / "track.json").is_file()]
    seeds = [_seeds(config)[index] for index in missing]
    with progress.stage("filming people", len(places)) as advance:
        advance(len(places) - len(missing))
        if config.processes == 1 or len(missing) < 2:
            for index, seed in zip(missing, seeds, strict=True):
                film_person(places[index], seed, config)
                advance(1)
        else:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(config.processes, context) as pool:
                todo = [pool.submit(film_person, places[i], s, config) for i, s in zip(missing, seeds, strict=True)]
                for done in as_completed(todo):
                    done.result()
                    advance(1)
    return tuple(places)


def film_person(place: Path, seed: int, config: PeopleConfig) -> None:
    """One person's capture with the true track inside; it appears whole or not at all."""
    lights = tuple(Light.sample(seed * 1000 + frame) for frame in range(config.faces))
    film_stage(place, _stage(seed, config), config.faces, lights)


def film_stage(place: Path, stage: Stage, training_frames: int, lights: Sequence[Light] = ()) -> None:
    """Film a stage into a capture with the detector's landmarks, without mattes, and with the true track inside.

    Args:
        place: the capture's folder, which appears whole or not at all.
        stage: who, and what they do.
        training_frames: so many frames are for training, the others are held out without a gap.
        lights: of each frame; the stage's own light when not given.
    """
    pictures = _pictures(stage, lights)
    landmarks = _detected(pictures)
    found = torch.isfinite(landmarks).all(-1).all(-1)
    side, name = stage.config.width_px, f"{stage.head.name}-{stage.config.seed}"
    view = CaptureView(
        name=VIEW,
        source=Source(name, _checksum(stage), side, side, 0, 0.0, "none", False),
        crop=Crop(0.0, 0.0, float(side)),
        times_s=stage.performance.times_s.double(),
        landmarks_px=landmarks,
        valid=torch.ones(side, side, dtype=torch.bool),
        quality={"confidence": found.float()},
    )
    with storage.replacing_folder(place) as building:
        split = Split(training_frames, training_frames)
        capture = Capture(building, side, (view,), split, frozenset({Annotation.LANDMARKS}))
        for frame, picture in enumerate(pictures):
            path = capture.frame_path(frame)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path, quality=_JPEG_QUALITY)
        capture.save_tables()
        true_track(stage, capture.identifier, found).save(building / "track")


def true_track(stage: Stage, capture_identifier: str, usable: Tensor) -> Track:
    """The truth of a stage as a track of the capture that shows it."""
    frames = len(stage.performance)
    pose, state = stage.T_camera_head, stage.articulation
    return Track(
        capture_identifier=capture_identifier,
        size_px=stage.config.width_px,
        identity=HeadIdentity(stage.head.name, stage.person.identity, stage.person.offsets_m),
        times_s=stage.performance.times_s.double(),
        expression=state.expression,
        arkit=stage.performance.arkit,
        neck_rad=state.neck_rad,
        jaw_rad=state.jaw_rad,
        gaze_rad=state.gaze_rad,
        T_world_head=pose,
        views={VIEW: TrackView(stage.lens.camera.K_px.expand(frames, 3, 3).clone(), torch.eye(4).repeat(frames, 1, 1))},
        light_sh=stage.light.harmonics().expand(frames, 9, 3).clone(),
        confidence=usable.float(),
        usable=usable,
    )


def _seeds(config: PeopleConfig) -> range:
    return range(config.seed, config.seed + config.people)


def _stage(seed: int, config: PeopleConfig) -> Stage:
    draw = np.random.default_rng([seed, 11])
    filmed = SynthConfig(
        seed=seed,
        head=config.head,
        width_px=config.size_px,
        height_px=config.size_px,
        focal_mm=float(draw.uniform(*_FOCAL_MM)),
        head_share=float(draw.uniform(*_HEAD_SHARE)),
        identity_spread=1.0,
        texture_px=512,
        strands=1500,
        audio=False,
    )
    stage = Stage.build(replace(filmed, seconds=1.0), load_head(config.head))
    return stage.performing(posed_faces(seed, config.faces))


def _pictures(stage: Stage, lights: Sequence[Light]) -> list[np.ndarray]:
    renderer, shown = FrameRenderer(stage), []
    for frame in range(len(stage.performance)):
        renderer.stage = replace(stage, light=lights[frame]) if lights else stage
        shown.append(renderer.render(frame).rgb.numpy())
    return shown


def _detected(pictures: Sequence[np.ndarray]) -> Float[Tensor, "faces 478 3"]:
    """Landmarks of each picture; NaN where the detector sees no face."""
    rows = []
    with FaceDetector(still=True) as detector:
        for picture in pictures:
            # Twice the size: the detector was made for faces that are larger than an encoder needs them.
            large = cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
            found = detector.detect(large)
            rows.append(torch.from_numpy(found[0]).float() / 2 if found else torch.full((478, 3), torch.nan))
    return torch.stack(rows)


def _digest(config: PeopleConfig) -> str:
    told = {**asdict(config), "people": 0, "seed": 0, "processes": 0, "revision": _REVISION}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]


def _checksum(stage: Stage) -> str:
    """Of everything that decides the pictures but the lights."""
    told = json.dumps(asdict(stage.config), sort_keys=True).encode() + stage.performance.arkit.numpy().tobytes()
    return hashlib.sha256(told).hexdigest()
