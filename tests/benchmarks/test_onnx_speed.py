"""The run-time benchmark, on a method of any kind."""

import os
import sys
from argparse import Namespace

import pytest

from headstudio.training.train import Recipe, train
from headstudio.training.trainer import TrainerConfig
from onnx_speed import PAPER_MB, compared, measured, tables, timed

pytestmark = pytest.mark.slow


def test_ways_take_turns_and_warm_up():
    calls = []
    ways = {name: lambda frame, name=name: calls.append((frame, name)) for name in ("graph", "whole")}
    wall, own = timed(ways, 8)
    assert calls == [(frame, name) for frame in range(8) for name in ways]
    for times in (wall, own):
        assert {name: len(found) for name, found in times.items()} == {"graph": 3, "whole": 3}


def test_ratios_are_of_medians():
    times = {"first": [1.0, 2.0, 9.0], "second": [3.0, 1.0, 1.0]}
    assert compared(times, "second", "first") == ("1.0 (2.8)", "0.50")
    assert compared(times, "third", "first") == ("-", "-")


def test_a_method_with_a_runtime_is_measured(actor_source, tmp_path, monkeypatch):
    name = "toy-plain"  # of a package that nobody here knows
    train(Recipe("methods", name), {"target": (actor_source,)}, tmp_path / "avatar", TrainerConfig(device="cpu"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # its fresh processes know the toys, too
    row = measured(tmp_path / "avatar", Namespace(repeats=3, threads=1, size_px=64, page=False))
    assert len(row["wall_ms"]) == 4
    assert all(len(found) == 3 and min(found) > 0 for found in row["wall_ms"].values())
    assert row["difference"] < 1e-3
    eager, onnx = row["peak_mb"].values()
    assert 10 < onnx < eager  # without PyTorch
    text = "\n".join(tables([row]))
    assert name in text and f"({row['file_mb'] / PAPER_MB:.2f})" in text
    assert row["frames_a_second"] is None
