"""How well the parser without a network labels the pixels of synthetic actors: intersection over union per region.

    HEADSTUDIO_ICT=ict_facekit.npz python benchmarks/parsing.py FOLDER --size 256

FOLDER holds the films of `neural_head_actors.py`, which are made where they are not there; their captures are tracked
by the default head, which is of another family than the actors. Two rows an actor: with the true matte, and with that
of the default segmenter. Only held-out frames are scored; colours were learned from training frames.
"""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from headstudio.capture.head_parsing import HeadParser
from headstudio.capture.matte import MatteRefiner, MediaPipeMatte
from headstudio.capture.store import write_png
from headstudio.cli.console import Display
from headstudio.cli.sources import many_hands, track_folder
from headstudio.heads import load_head
from headstudio.heads.parsing import SEMANTIC_REGIONS, Label
from headstudio.records.capture import Capture
from headstudio.records.track import Track
from headstudio.synth.cast import CAST
from headstudio.synth.surface_truth import colours_of_labels
from headstudio.tracking.config import TrackingConfig
from headstudio.tracking.tracker import track
from neural_head_actors import filmed_actor

REGIONS = {**SEMANTIC_REGIONS, "mouth": (Label.MOUTH,), "cloth": (Label.CLOTH,), "background": (Label.BACKGROUND,)}
_CREDITED = {"truth": "true", "mediapipe": "estimated"}


def main() -> None:
    """Film, track, parse, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--actors", nargs="+", default=list(CAST), choices=list(CAST))
    parser.add_argument("--head", default="ict", help="the head model that the actors are made from")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--scored", type=int, default=42, help="held-out frames that are scored")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of truth and labels")
    options = parser.parse_args()
    print("| actor | matte | " + " | ".join(REGIONS) + " |")
    print("|---|---|" + "---:|" * len(REGIONS))
    for name in options.actors:
        with Display() as display:
            actor = filmed_actor(options.folder, name, options.head, options.size, display=display)
            capture = actor.capture
            tracked = _tracked(capture, display)
        for matte in _CREDITED:
            seen = capture if matte == "truth" else _with_estimated_mattes(capture, actor.folder / "segmented")
            ious, picture = score(seen, capture, tracked, options.scored)
            print(f"| {name} | {_CREDITED[matte]} | " + " | ".join(f"{value:.3f}" for value in ious.values()) + " |")
            if options.pictures is not None:
                options.pictures.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(options.pictures / f"{name}_{matte}.png")


def score(seen: Capture, truth: Capture, tracked: Track, count: int) -> tuple[dict[str, float], np.ndarray]:
    """IoU of every region over all scored frames together, and a picture of some of them."""
    head_parser = HeadParser(seen, tracked, load_head(tracked.identity.head))
    held_out = list(truth.held_out_frames)
    frames = [held_out[index] for index in np.linspace(0, len(held_out) - 1, count).astype(int)]
    both, either = np.zeros(len(REGIONS)), np.zeros(len(REGIONS))
    palette, strips = np.concatenate([colours_of_labels(), np.full((248, 3), 128, np.uint8)]), []
    for number, frame in enumerate(frames):
        found, true = head_parser.parse(frame), truth.parsing(frame)[0].numpy()
        for index, labels in enumerate(REGIONS.values()):
            here, there = np.isin(found, labels), np.isin(true, labels)
            both[index] += (here & there).sum()
            either[index] += (here | there).sum()
        if number % (count // 4) == 0:
            strips.append(np.concatenate([truth.image(frame).permute(1, 2, 0).numpy(), palette[true], palette[found]]))
    return dict(zip(REGIONS, both / np.maximum(either, 1), strict=True)), np.concatenate(strips, 1)


def _tracked(capture: Capture, display: Display) -> Track:
    folder = track_folder(capture.path)
    if not (folder / "track.json").exists():
        track(capture, many_hands(TrackingConfig(), capture.frames), display).save(folder)
    return Track.load(folder)


def _with_estimated_mattes(capture: Capture, folder: Path) -> Capture:
    """The same capture with the mattes that ingest would have made."""
    if not (folder / "capture.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        left_out = shutil.ignore_patterns("capture.json", "track", "normals", "cache")
        shutil.copytree(capture.path, folder, ignore=left_out)
        matte, refiner = MediaPipeMatte(), MatteRefiner()
        for frame in range(capture.frames):
            image = np.ascontiguousarray(capture.image(frame).permute(1, 2, 0).numpy())
            path = folder / capture.matte_path(frame).relative_to(capture.path)
            write_png(path, refiner.refine(image, matte.estimate(image)))
        matte.close()
        shutil.copy(capture.path / "capture.json", folder / "capture.json")
    return replace(capture, path=folder)


if __name__ == "__main__":
    main()
