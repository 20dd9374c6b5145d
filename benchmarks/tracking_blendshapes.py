"""How MediaPipe's own blendshape network answers on the judged actors: the field's usual way to ARKit weights.

    python benchmarks/tracking_blendshapes.py --output out/tracking     # the films of benchmarks/tracking.py

needs `face_landmarker.task` (Apache-2.0), which is not part of the package. Correlations as in benchmarks/tracking.py;
a clip's row is kept in OUTPUT/blendshapes.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from headstudio import storage
from headstudio.capture.detector import import_mediapipe, quiet
from headstudio.heads.arkit import ARKIT_INDEX
from headstudio.records.capture import Capture
from tracking_actors import Filmed, filmed, is_filmed, name_of, sets
from tracking_scores import CHANNELS, agreement

DATA = Path(__file__).parents[2] / "shared" / "data"
SCHEMA, VERSION = "headstudio.benchmark.blendshapes", 1


def blendshapes(capture: Capture, model: Path) -> torch.Tensor:
    """(frames, 52) ARKit weights; NaN where no face was found."""
    with quiet():
        mediapipe = import_mediapipe()
        vision, base = mediapipe.tasks.vision, mediapipe.tasks.BaseOptions(model_asset_path=str(model))
        video = vision.RunningMode.VIDEO
        options = vision.FaceLandmarkerOptions(base_options=base, output_face_blendshapes=True, running_mode=video)
        landmarker = vision.FaceLandmarker.create_from_options(options)
    weights = torch.full((capture.frames, 52), torch.nan, dtype=torch.float64)
    for frame, time_s in enumerate(capture.views[0].times_s.tolist()):
        pixels = np.asarray(Image.open(capture.frame_path(frame)).convert("RGB"))
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
        found = landmarker.detect_for_video(image, round(time_s * 1000)).face_blendshapes
        for shape in found[0] if found else ():
            if shape.category_name in ARKIT_INDEX:
                weights[frame, ARKIT_INDEX[shape.category_name]] = shape.score
    landmarker.close()
    return weights


def scores(clip: Filmed, model: Path) -> dict[str, float | None]:
    """Correlation and slope of each scored channel."""
    found, told = blendshapes(clip.capture, model), {}
    truth = clip.actor.truth()
    view = clip.capture.views[0]
    rows = (view.times_s[:, None] + view.source.start_s - truth.times_s).abs().argmin(1)
    seen = torch.isfinite(found).any(1)
    for name in CHANNELS:
        column = ARKIT_INDEX[name]
        true = truth.arkit[rows, column].double()
        told[f"correlation_{name}"], told[f"amplitude_{name}"] = agreement(found[seen, column], true[seen])
    return told


def main() -> None:
    """Score every judged clip that is filmed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("out/tracking"))
    parser.add_argument("--model", type=Path, default=DATA / "weights" / "face_landmarker.task")
    options = parser.parse_args()
    rows = []
    for config in sets()["judged"]:
        folder = options.output / "actors"
        if not is_filmed(folder, config):
            print(f"{name_of(config)} is left out: benchmarks/tracking.py --film-only makes it")
            continue
        place = options.output / "blendshapes" / f"{name_of(config)}.json"
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            storage.write_json(place, SCHEMA, VERSION, scores(filmed(folder, config), options.model))
        rows.append(storage.read_json(place, SCHEMA, VERSION))
    for kind in ("correlation", "amplitude"):
        for name in CHANNELS:
            values = [row[f"{kind}_{name}"] for row in rows if row[f"{kind}_{name}"] is not None]
            if values:
                print(f"{kind} {name:18s} median clip {np.median(values):.2f}, least {min(values):.2f} ({len(values)})")


if __name__ == "__main__":
    main()
