"""What person-independent features know: their ARKit weights against the truth, on people nobody learned from.

    HEADSTUDIO_WEIGHTS=weights python benchmarks/animation_features.py OUTPUT --encoder ENCODER --people CAPTURE ...

The strangers are those of benchmarks/animation_films.py, of another head model than the encoder's people; `--people`
are more synthetic captures with true tracks, such as those of ENCODER-people that were filmed and not learned from.
Correlations are over all frames of a person, in units that move by more than a twentieth; the median unit is shown, and
the mean over people with their range.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from animation_films import films
from headstudio.cli.sources import load_source
from headstudio.motion.arkit import INDEX
from headstudio.records.avatar import Avatar
from headstudio.records.channels import ARKIT, BLENDSHAPES, FACE_CROP, FACE_LANDMARKS
from headstudio.training.avatars import build
from headstudio.training.contract import Encoder, Source

_MOVING = 0.05
UNITS = (
    "jawOpen", "mouthSmileLeft", "mouthPucker", "mouthFunnel", "mouthFrownLeft", "mouthRollLower", "eyeBlinkLeft",
    "eyeLookOutLeft", "browInnerUp", "browDownLeft", "cheekPuff", "jawLeft",
)  # fmt: skip


def told(source: Source, encoder: Encoder) -> Mapping[str, Tensor]:
    """ARKit weights of every frame, by who says them."""
    motion = source.motion_with({BLENDSHAPES, FACE_CROP, FACE_LANDMARKS})
    with torch.no_grad():
        ours = torch.cat([encoder.encode(motion.at([frame]))[ARKIT] for frame in range(len(motion))])
    return {"MediaPipe blendshapes": motion.channels[BLENDSHAPES], "encoder": ours}


def agreement(said: Tensor, true: Tensor) -> dict[str, float]:
    """Correlation of each unit that moves."""
    found = {}
    for name, column in INDEX.items():
        ours, theirs = said[:, column].double().numpy(), true[:, column].double().numpy()
        if theirs.std() > _MOVING:
            found[name] = float(np.corrcoef(ours, theirs)[0, 1]) if ours.std() > 1e-6 else 0.0
    return found


def rows(people: list[tuple[str, Mapping[str, Tensor], Tensor]], group: str) -> Iterator[str]:
    """A line for each who tells."""
    for name in people[0][1]:
        by_person = [agreement(said[name], true) for _, said, true in people]
        medians = [float(np.median(list(found.values()))) for found in by_person]
        cells = [f"{np.mean(medians):.2f} ({min(medians):.2f} to {max(medians):.2f})"]
        for unit in UNITS:
            values = [found[unit] for found in by_person if unit in found]
            cells.append(f"{np.mean(values):.2f}" if values else "")
        yield f"| {group} ({len(people)}) | {name} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--people", type=Path, nargs="*", default=())
    options = parser.parse_args()
    encoder = build(Avatar.load(options.encoder))
    assert isinstance(encoder, Encoder)
    print(f"| people | row | median unit | {' | '.join(UNITS)} |")
    near = [load_source(path) for path in options.people]
    if near:
        seen = [(s.key, told(s, encoder), s.track.arkit) for s in near]
        print("\n".join(rows(seen, "same head model")), flush=True)
    _, drivers = films(options.output / "films")
    strangers = [(d.name, {**told(d.source, encoder), "tracked": d.solved.arkit}, d.truth.arkit) for d in drivers]
    print("\n".join(rows(strangers, "another head model")), flush=True)


if __name__ == "__main__":
    main()
