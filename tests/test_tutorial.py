"""The tutorial, run as it is written, at toy size: two clips in, Blender picture out (`make test-blender`)."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstudio.export import blender
from headstudio.synth.actor import make_actor
from headstudio.synth.config import SynthConfig
from headstudio.synth.sweep import SweepConfig, make_sweep

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.md"
SMALL = {
    "-o me\n": "-o me --ingest.size-px 128 --set steps=20 --set texture_frames=8 --scanning.registration draft\n",
    "frame_set(10)": "frame_set(10); bpy.context.scene.render.resolution_percentage = 20;"
    " bpy.context.scene.cycles.samples = 4",
}
"""What makes a step a toy: in place of these words."""
FILM = SynthConfig(
    seed=7, seconds=14.0, fps=2.5, width_px=512, height_px=512, head_share=0.66, texture_px=1024, audio=False
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        blender.VARIABLE not in os.environ, reason=f"{blender.VARIABLE} names no Blender: see docs/blender.md"
    ),
]


def commands():
    """Every line of every shell block, made small."""
    page = TUTORIAL.read_text(encoding="utf-8")
    for whole, small in SMALL.items():
        assert page.count(whole) == 1, whole
        page = page.replace(whole, small)
    return [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.strip().splitlines()]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder with both clips of one actor."""
    folder = tmp_path_factory.mktemp("tutorial")
    shutil.copyfile(make_sweep(folder / "a", FILM, SweepConfig(reach_deg=60.0)).video, folder / "clip-a.mp4")
    performance = SynthConfig(**{**vars(FILM), "seconds": 4.0, "fps": 12.5})
    shutil.copyfile(make_actor(folder / "b", performance).video, folder / "clip-b.mp4")
    return folder


@pytest.mark.timeout(1800)
def test_every_command_does_what_the_page_says(clips):
    pytest.importorskip("pycolmap", reason="the scan extra is not installed")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in commands():
        done = subprocess.run(
            command, shell=True, cwd=clips, env={**os.environ, "PATH": path}, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    made = ["me/scan/report.html", "me/report.html", "me/avatar.glb", "me.blend", "me-web/index.html"]
    assert [name for name in made if not (clips / name).is_file()] == []
    picture = np.array(Image.open(clips / "me.png").convert("RGB")).astype(float)
    assert picture.std() > 10  # a lit head before a background, not a black frame


def test_the_page_has_commands():
    assert len(commands()) >= 5 and any("--to blender" in command for command in commands())
