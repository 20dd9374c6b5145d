"""`headstudio motion`: what the verbs do, and what users do wrong."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch

from headstudio.cli.main import main
from headstudio.cli.motion import VERBS
from headstudio.protocols.files import read_motion, write_motion
from headstudio.protocols.recording import write_packets
from headstudio.records.channels import ARKIT, GAZE, HEAD_ROTATION, expression_of
from headstudio.records.motion import Motion


def performance(seed=0, frames=120):
    """Two seconds of smooth weights that are at rest in the middle."""
    times_s = torch.arange(frames, dtype=torch.float64) / 60
    make = torch.Generator().manual_seed(seed)
    swing = (1 - torch.cos(torch.pi * times_s)).abs()[:, None].float() / 2
    turn = 0.2 * torch.randn(1, 3, generator=make) + 0.1 * swing
    return Motion(
        times_s,
        {ARKIT: 0.5 * swing * torch.rand(1, 52, generator=make), HEAD_ROTATION: turn, GAZE: torch.zeros(frames, 2, 3)},
    )


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with motions in all formats and with things that are none."""
    folder = tmp_path_factory.mktemp("desk")
    motion = performance()
    for name, kind in (("own", None), ("a.csv", None), ("take", "take"), ("a.vmc", None), ("a.livelink", None)):
        write_motion(folder / name, motion, kind)
    write_motion(folder / "b.csv", performance(1))
    Motion(motion.times_s, {expression_of("makehuman"): torch.zeros(120, 5)}).save(folder / "other-rig")
    write_packets(folder / "noise.vmc", "vmc", [(0.0, b"noise")])
    (folder / "cut.vmc").write_bytes((folder / "a.vmc").read_bytes()[:-5])
    (folder / "text.txt").write_text("no motion")
    (folder / "wrong.csv").write_text("Timecode,jawOpen\n00:00:00:00,1\n")
    (folder / "broken-take").mkdir()
    (folder / "broken-take" / "take.json").write_text("{")
    (folder / "newer").mkdir()
    (folder / "newer" / "motion.json").write_text('{"schema": "headstudio.motion", "schema_version": 99}')
    return folder


def run(line):
    return main(["motion", *line.split()])


def told(line, capsys):
    assert run(line + " --json") == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", ["own", "a.csv", "take", "a.vmc", "a.livelink"])
def test_info_tells_what_a_motion_holds(name, desk, capsys):
    found = told(f"info {desk}/{name}", capsys)
    assert found["frames"] == 120 and found["fps"] == pytest.approx(60, rel=1e-3)
    assert found["duration_s"] == pytest.approx(119 / 60, rel=1e-3)
    assert found["channels"][str(ARKIT)] == [52] and found["channels"][str(GAZE)] == [2, 3]
    assert run(f"info {desk}/{name}") == 0
    assert "120 frames, 1.98 s at 60/s" in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["", ".csv", ".vmc", ".livelink", ".ifacialmocap"])
def test_convert_chooses_the_format_by_the_ending(ending, desk, tmp_path, capsys):
    found = told(f"convert {desk}/a.csv -o {tmp_path}/new{ending}", capsys)
    assert found["format"] == (ending[1:] or "headstudio") and found["frames"] == 120
    back = read_motion(tmp_path / f"new{ending}").motion
    torch.testing.assert_close(back.channels[ARKIT], performance().channels[ARKIT], atol=6e-3, rtol=0)


def test_convert_writes_takes(desk, tmp_path, capsys):
    assert told(f"convert {desk}/a.vmc -o {tmp_path}/new --to take", capsys)["format"] == "take"
    assert read_motion(tmp_path / "new").format == "take"


EDITS = [
    ("trim {d}/a.csv --start 0.5 --end 1.0", 30, 29 / 60),
    ("loop {d}/a.csv --seam 0.5 --times 2", 178, None),
    ("blend {d}/a.csv --with {d}/b.csv --share 0.25", 120, 119 / 60),
    ("resample {d}/a.csv --fps 30", 60, 59 / 30),
    ("smooth {d}/a.csv --width 0.05", 120, 119 / 60),
    ("retarget {d}/a.csv --onto {d}/b.csv --expression-gain 0.5", 120, 119 / 60),
]


@pytest.mark.parametrize(("line", "frames", "duration_s"), EDITS, ids=[line.split()[0] for line, _, _ in EDITS])
def test_an_edit_writes_its_result(line, frames, duration_s, desk, tmp_path, capsys):
    found = told(line.format(d=desk) + f" -o {tmp_path}/new.csv", capsys)
    assert found["frames"] == frames == len(read_motion(tmp_path / "new.csv").motion)
    assert duration_s is None or found["duration_s"] == pytest.approx(duration_s, abs=1e-3)


def test_a_blend_is_between_both(desk, tmp_path):
    assert run(f"blend {desk}/a.csv --with {desk}/b.csv --share 0.25 -o {tmp_path}/new") == 0
    mixed = read_motion(tmp_path / "new").motion.channels[ARKIT]
    wanted = 0.75 * performance().channels[ARKIT] + 0.25 * performance(1).channels[ARKIT]
    torch.testing.assert_close(mixed, wanted, atol=1e-5, rtol=0)


def test_retargeting_to_oneself_changes_nothing(desk, tmp_path):
    assert run(f"retarget {desk}/own --onto {desk}/own -o {tmp_path}/new") == 0
    back = read_motion(tmp_path / "new").motion
    for channel, values in performance().channels.items():
        torch.testing.assert_close(back.channels[channel], values, atol=1e-5, rtol=0)


BAD = [
    ("info {d}/absent", "nothing here"),
    ("info {d}/text.txt", "no motion"),
    ("info {d}", "no motion"),
    ("info {d}/wrong.csv", "columns are missing"),
    ("info {d}/noise.vmc", "none of the 1 packets"),
    ("info {d}/cut.vmc", "cut off"),
    ("info {d}/broken-take", "cannot be read"),
    ("info {d}/newer", "update headstudio"),
    ("info {d}/a.csv --timecode-fps 0", "rate from 1 to 1000"),
    ("info {d}/a.csv --timecode-fps 30", "frame rate of the recording"),
    ("convert {d}/absent -o {d}/new", "nothing here"),
    ("convert {d}/a.csv -o {d}/new.mp4", "says nothing"),
    ("convert {d}/a.csv -o {d}/new --to hologram", "no format is called hologram"),
    ("convert {d}/a.csv -o {d}/text.txt/new", "text.txt"),
    ("convert {d}/a.csv -o {d}/text.txt --to headstudio", "something else"),
    ("convert {d}/a.csv -o {d} --to headstudio", "something else"),
    ("convert {d}/a.csv -o {d}/own --to take", "something else"),
    ("convert {d}/other-rig -o {d}/new.csv", "expression@arkit-52"),
    ("convert {d}/other-rig -o {d}/new.vmc", "expression@arkit-52"),
    ("trim {d}/a.csv -o {d}/new --start 5", "no frame lies"),
    ("trim {d}/a.csv -o {d}/new --start 1 --end 1", "no time from 1 s to 1 s"),
    ("trim {d}/a.csv -o {d}/new --start -1", "not negative"),
    ("loop {d}/a.csv -o {d}/new --seam 1", "does not fit"),
    ("loop {d}/a.csv -o {d}/new --times 0", "impossible"),
    ("blend {d}/a.csv --with {d}/absent -o {d}/new", "nothing here"),
    ("blend {d}/a.csv --with {d}/b.csv --share 2 -o {d}/new", "from 0 to 1"),
    ("blend {d}/a.csv --with {d}/other-rig -o {d}/new", "no channel in common"),
    ("resample {d}/a.csv --fps 0 -o {d}/new", "impossible"),
    ("resample {d}/a.csv --fps nan -o {d}/new", "impossible"),
    ("smooth {d}/a.csv --width 0 -o {d}/new", "impossible"),
    ("smooth {d}/a.csv --width 100 -o {d}/new", "impossible"),
    ("retarget {d}/a.csv --onto {d}/text.txt -o {d}/new", "no motion"),
    ("retarget {d}/a.csv --onto {d}/b.csv --head nobody -o {d}/new", "no head named nobody"),
]


@pytest.mark.parametrize(("line", "message"), BAD, ids=[line.format(d="") for line, _ in BAD])
def test_a_mistake_costs_one_sentence_and_nothing_else(line, message, desk, capsys):
    before = contents(desk)
    assert run(line.format(d=desk)) == 1
    said = capsys.readouterr()
    sentence = said.err.strip().splitlines()[-1]
    assert said.out == "" and sentence.startswith("error: ") and sentence.endswith(".")
    assert message in sentence and "Traceback" not in said.err
    assert contents(desk) == before


def contents(folder):
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    "line", ["fly", "info", "convert x", "trim x -o y --start soon", "info x --bogus 1", "blend x -o y"]
)
def test_a_wrong_command_line_is_a_usage_error(line, capsys):
    assert run(line) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err and "Traceback" not in said.err


def test_help_names_every_verb(capsys):
    assert main(["motion"]) == main(["motion", "--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {verb} " in said for verb in VERBS)
    for verb in VERBS:
        assert run(f"{verb} --help") == 0
        assert "--json" in capsys.readouterr().out


def test_a_failure_is_json_too(desk, capsys):
    assert run(f"info {desk}/absent --json") == 1
    assert json.loads(capsys.readouterr().out)["exit_code"] == 1


PAGE = Path(__file__).parents[2] / "docs" / "motion.md"


def test_what_the_page_shows_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_motion("take.csv", performance(frames=300))
    write_motion("other.csv", performance(1))
    write_motion("MySlate_1_iPhone", performance(frames=300), "take")
    text = PAGE.read_text(encoding="utf-8")
    commands = [line.partition("#")[0].split()[2:] for line in text.splitlines() if line.startswith("$ headstudio")]
    assert len(commands) == 1 + len(VERBS)
    for command in commands:
        assert main(command) == 0, capsys.readouterr().err
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(snippet, {})
    assert read_motion("idle.vmc").format == "vmc"
