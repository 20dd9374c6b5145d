"""The benchmark of live runs, on a toy and a clip of a few grey frames."""

from argparse import Namespace

import pytest
import torch

from headstudio.live.following import Met
from headstudio.live.meters import Reading
from headstudio.live.personal import Personal
from headstudio.motion.arkit import NAMES
from headstudio.records.channels import ARKIT, HEAD_POSE
from headstudio.records.track import HeadIdentity
from headstudio.tracking.sitter import Sitter
from headstudio.training.train import Recipe, train
from headstudio.training.trainer import TrainerConfig
from live import costs_ms, rows, stages, steady, table
from support.tiny import tiny_source
from support.videos import grey_frames, write_video


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """A toy, a clip, and a driver who was met before."""
    folder = tmp_path_factory.mktemp("live")
    source = tiny_source(folder / "capture")
    train(Recipe("methods", "toy-plain"), {"target": (source,)}, folder / "avatar", TrainerConfig(device="cpu"))
    clip = write_video(folder / "clip.mp4", grey_frames(25))
    K_px = torch.tensor([[90.0, 0, 32], [0, 90, 24], [0, 0, 1]])
    met = Met(Sitter(HeadIdentity("makehuman", torch.zeros(80)), K_px, 64), 64, 48)
    Personal({ARKIT: torch.zeros(len(NAMES)), HEAD_POSE: torch.eye(4)}, torch.ones(52), met).save(
        folder / "out" / "drivers" / "clip"
    )
    return Namespace(
        clip=clip, avatars=[folder / "avatar"], output=folder / "out", sizes=[32], size_px=32, repeats=1, minutes=0.06
    )


@pytest.mark.slow
def test_rows_are_kept_and_told_again(options, capsys):
    first = rows(options)
    assert "toy-plain" in "\n".join(first) and len(list((options.output / "rows").iterdir())) == 1
    assert "in, " in capsys.readouterr().out
    assert rows(options) == first and capsys.readouterr().out == ""  # nothing was run again


@pytest.mark.slow
def test_a_steady_run_tells_rate_and_memory(options, monkeypatch):
    monkeypatch.setattr("live._SAMPLE_S", 0.5)
    monkeypatch.setattr("live._WARM_S", 1.0)
    told = "\n".join(steady(options))
    assert "bytes a frame" in told.replace("\n", " ") and "min of toy-plain" in told


def reading(stage, frames_in, processor_ms, dropped=0):
    return Reading(
        stage, frames_in, frames_in, dropped, 25.0, 2 * processor_ms, 3 * processor_ms, processor_ms, 1.0, 2.0
    )


def test_costs_add_up_by_stage_and_library():
    names = ("source", "detect", "track", "draw", "count")
    before = [reading(name, 10, 1.0) for name in names]
    after = [reading(name, 110, cost) for name, cost in zip(names, (0, 4, 12, 20, 0), strict=True)]
    costs = costs_ms([({"1": 1.0}, before, 10), ({"1": 1.25, "2": 0.25}, after, 110)])
    assert costs == {"detect": 4, "track": 12, "draw": 20, "MediaPipe's threads": pytest.approx(5.0)}


def test_a_row_says_whether_others_computed():
    told = {
        "method": "toy", "size_px": 256, "clip": "c.mp4", "seconds": 20.0, "frames_in": 500, "frames_out": 490,
        "stages": [vars(reading(name, 490, 5.0)) for name in ("source", "detect", "count")], "load_before": 0.1,
    }  # fmt: skip
    quiet, busy = table([told, {**told, "load_before": 4.2}])[2:]
    assert quiet.endswith("| no |") and busy.endswith("| yes (load 4.2) |") and "| 500 | 490 | 10 | 24.5 |" in quiet
    assert stages([told])[2].count("10 / 15") == 1
