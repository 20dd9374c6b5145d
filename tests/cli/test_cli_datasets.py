"""`headstudio export CAPTURE --to gaussian-avatars` and `headstudio import`, by what they print and write."""

import functools
import json

import numpy as np
import pytest

from headstudio.capture.ingest import Tools
from headstudio.cli.main import main
from headstudio.datasets import importing
from headstudio.records.capture import Capture
from support.tiny import tiny_capture, tiny_track
from support.videos import DiskMatte, disk_landmarks


class AnywhereDetector:
    """Sees a face in the middle of everything."""

    def find(self, image_rgb):
        side = min(image_rgb.shape[:2])
        return np.array([[side / 4, side / 4, side / 2, side / 2]], float)

    def detect(self, image_rgb):
        side = len(image_rgb)
        return [disk_landmarks(np.array([side / 2, side / 2]), side / 4)]

    def close(self):
        pass


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets")
    tiny_track(tiny_capture(folder / "capture", frames=20, size_px=128)).save(folder / "capture" / "track")
    return folder


def test_a_capture_goes_out_and_a_dataset_comes_in(workshop, monkeypatch, capsys):
    monkeypatch.delenv("HEADSTUDIO_FLAME", raising=False)
    looking = functools.partial(importing.import_dataset, tools=lambda config: Tools(AnywhereDetector(), DiskMatte()))
    monkeypatch.setattr(importing, "import_dataset", looking)
    assert main(f"export {workshop}/capture --to gaussian-avatars -o {workshop}/out --json".split()) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["frames"] == 20 and said["flame"] is None and said["target"] == "gaussian-avatars"
    assert (workshop / "out" / "transforms_train.json").is_file()
    assert main(f"import {workshop}/out -o {workshop}/back --fps 50 --size 64 --json".split()) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["frames"], said["size_px"], said["tracked"]) == (20, 64, False) and len(said["notes"]) == 1
    back = Capture.load(workshop / "back")
    assert float(back.views[0].times_s[1]) == pytest.approx(0.02)
    assert (workshop / "back" / "preflight.html").is_file()


def test_what_is_missing_for_flame_is_said(workshop, monkeypatch, capsys):
    monkeypatch.delenv("HEADSTUDIO_FLAME", raising=False)
    assert main(f"export {workshop}/capture --to gaussian-avatars -o {workshop}/again".split()) == 0
    assert "HEADSTUDIO_FLAME" in capsys.readouterr().out
