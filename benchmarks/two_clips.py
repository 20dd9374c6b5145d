"""Both clips of one synthetic actor, and the avatar that they make.

    python benchmarks/two_clips.py --output out/two_clips
    python benchmarks/dynamic_texture.py out/two_clips/me/capture --scan out/two_clips/me/scan \\
        --rows dynamic clip-a-skin clip-b-skin lit --output out/two_clips/rows
    python benchmarks/relighting.py out/two_clips/clip-b out/two_clips/me/capture \\
        two-clips=out/two_clips/rows/me/dynamic/avatar clip-b=out/two_clips/rows/me/clip-b-skin/avatar \\
        lit=out/two_clips/rows/me/lit/avatar --output out/two_clips/relighting

Actor 22: clip A by a hand that sweeps round a still face, clip B twenty seconds of speech. What is there is kept.
"""

import argparse
from pathlib import Path

from headstudio.synth.actor import make_actor
from headstudio.synth.config import SynthConfig
from scan_films import actor
from score_rows import headstudio

SEED, SECONDS = 22, 20.0


def main() -> None:
    """Film and make."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("out/two_clips"))
    output = parser.parse_args().output
    clip_a = actor(output, SEED, "sweep").video
    if not (output / "clip-b" / "actor.mp4").exists():
        make_actor(output / "clip-b", SynthConfig(seed=SEED, seconds=SECONDS))
    headstudio("make", output / "clip-b" / "actor.mp4", "--scan", clip_a, "-o", output / "me")


if __name__ == "__main__":
    main()
