"""Recordings of Live Link Face: the app's folder, and what may be wrong with it."""

import json

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.motion.csv import write_csv
from headstudio.motion.take import Take, is_take, read_take, write_take
from headstudio.records.channels import ARKIT
from headstudio.records.motion import Motion

SAMPLE = {
    "frames": 3,
    "appVersion": "v1.3.0 (build 99)",
    "slate": "Laugh",
    "calibrated": False,
    "subject": "iPhone",
    "identifier": "20240102_Laugh_4",
    "date": "2024-01-02T03:04:05Z",
    "version": 1,
    "take": 4,
    "deviceModel": "iPhone13,3",
}


def performance(value: float = 0.5, frames: int = 3, fps: float = 60) -> Motion:
    return Motion(torch.arange(frames, dtype=torch.float64) / fps, {ARKIT: torch.full((frames, 52), value)})


def recorded(folder, sample=SAMPLE, **tables: float):
    """A folder as the app leaves it; tables are constant performances by name."""
    folder.mkdir()
    (folder / "take.json").write_text(sample if isinstance(sample, str) else json.dumps(sample))
    (folder / "frame_log.csv").write_text("V,0,1,2\n")
    for name, value in tables.items():
        write_csv(folder / f"{name}.csv", performance(value))
    return folder


def test_a_take_is_read(tmp_path):
    motion, take = read_take(recorded(tmp_path / "a", Laugh_4_iPhone=0.25))
    assert is_take(tmp_path / "a") and not is_take(tmp_path)
    assert take == Take("Laugh", 4, "iPhone", "iPhone13,3", "v1.3.0 (build 99)", "2024-01-02T03:04:05Z")
    assert motion.channels[ARKIT].unique().tolist() == [0.25]


def test_of_a_calibrated_take_the_calibrated_table_is_read(tmp_path):
    tables = {"Laugh_4_iPhone_raw": 0.1, "Laugh_4_iPhone_cal": 0.2, "Laugh_4_iPhone_neutral": 0.3}
    motion, take = read_take(recorded(tmp_path / "a", {**SAMPLE, "calibrated": True}, **tables))
    assert take.calibrated and motion.channels[ARKIT].unique().tolist() == [pytest.approx(0.2)]


def test_the_only_table_is_taken_whatever_its_name(tmp_path):
    motion, _ = read_take(recorded(tmp_path / "a", renamed=0.75))
    assert motion.channels[ARKIT].unique().tolist() == [0.75]


def test_time_codes_count_in_the_rate_of_the_video(tmp_path):
    folder = recorded(tmp_path / "a")
    write_csv(folder / "Laugh_4_iPhone.csv", performance(frames=40, fps=30), frame_rate=30)
    (folder / "video_metadata.json").write_text('{"FrameRate": 30}')
    motion, _ = read_take(folder)
    torch.testing.assert_close(motion.times_s, torch.arange(40, dtype=torch.float64) / 30, atol=1e-4, rtol=0)


@pytest.mark.parametrize("calibrated", [False, True])
def test_a_take_survives_the_way(tmp_path, calibrated):
    take = Take("Slate", 7, "Who", date="2024-01-02T03:04:05Z", calibrated=calibrated)
    write_take(tmp_path / "a", performance(), take)
    motion, back = read_take(tmp_path / "a")
    assert back == take and len(motion) == 3
    content = json.loads((tmp_path / "a" / "take.json").read_text())
    assert content.keys() == SAMPLE.keys() and content["identifier"] == "20240102_Slate_7" and content["frames"] == 3
    write_take(tmp_path / "a", performance(0.1), take)  # a take may replace a take
    assert read_take(tmp_path / "a")[0].channels[ARKIT][0, 0] == pytest.approx(0.1)


BROKEN = {
    "no json": ("{", "cannot be read"),
    "a list": ("[]", "no take"),
    "no slate": ({k: v for k, v in SAMPLE.items() if k != "slate"}, "slate is missing"),
    "a number that is none": ({**SAMPLE, "take": "four"}, "wrong type"),
    "a table elsewhere": ({**SAMPLE, "slate": "../../secret"}, "none is called"),
}


@pytest.mark.parametrize(("sample", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_take_is_told(tmp_path, sample, message):
    write_csv(tmp_path / "secret_4_iPhone.csv", performance())
    with pytest.raises(HeadstudioError, match=message):
        read_take(recorded(tmp_path / "a", sample, first=0.1, second=0.2))


def test_what_cannot_be_a_take_is_told(tmp_path):
    with pytest.raises(HeadstudioError, match="cannot be read"):
        read_take(tmp_path)
    with pytest.raises(HeadstudioError, match="0 tables"):
        read_take(recorded(tmp_path / "a"))
    (tmp_path / "a" / "video_metadata.json").write_text('{"FrameRate": "fast"}')
    with pytest.raises(HeadstudioError, match="no rate"):
        read_take(tmp_path / "a")
    with pytest.raises(HeadstudioError, match="file's name"):
        write_take(tmp_path / "b", performance(), Take(slate="../up"))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "letter.txt").write_text("dear")
    with pytest.raises(HeadstudioError, match="something else"):
        write_take(tmp_path / "c", performance())
    assert (tmp_path / "c" / "letter.txt").exists() and not (tmp_path / "b").exists()
