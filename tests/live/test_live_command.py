"""The verb: what people do wrong, and how it ends when it is told to."""

import json
import signal
import subprocess
import sys
import time
from functools import partial

import av
import pytest
import torch

from headstudio.cli.main import main
from headstudio.live.personal import Personal, known_neutral
from headstudio.motion.arkit import NAMES
from headstudio.protocols.files import write_motion
from headstudio.records.channels import ARKIT
from headstudio.records.motion import Motion
from support.tiny import tiny_source


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    source = tiny_source(folder / "capture")
    source.track.save(folder / "capture" / "track")
    assert main(f"train toy-plain {folder}/capture -o {folder}/avatar".split()) == 0
    weights = torch.rand(60, len(NAMES), generator=torch.Generator().manual_seed(0))
    write_motion(folder / "take.csv", Motion(torch.arange(60, dtype=torch.float64) / 60, {ARKIT: weights}))
    (folder / "text.txt").write_text("no video")
    (folder / "profile").mkdir()
    (folder / "profile" / "driver.json").write_text("{")
    (folder / "folder").mkdir()
    (folder / "folder" / "precious").write_text("x")
    known_neutral({ARKIT: torch.zeros(52)}).save(folder / "phone")
    return folder


def test_a_take_drives_a_film(workshop, tmp_path, capsys):
    line = f"live {workshop}/avatar --source {workshop}/take.csv -o {tmp_path}/a.mp4 --size 32 --queue 100 --json"
    assert main(line.split()) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["video"] == f"{tmp_path}/a.mp4" and told["stages"][-1]["stage"] == "film"
    assert told["stages"][0]["frames_out"] + told["stages"][0]["dropped"] == 60
    with av.open(f"{tmp_path}/a.mp4") as film:
        assert sum(1 for _ in film.decode(video=0)) == told["stages"][-1]["frames_out"]


def test_a_phone_profile_is_kept_and_read_again(workshop, tmp_path, capsys):
    profile = tmp_path / "me"
    line = f"live {workshop}/avatar --source still --for 0.5 -o {tmp_path}/a.mp4 --size 32 --profile {profile}"
    assert main(line.split()) == 0 and not profile.exists()  # a face that knows its rest is not calibrated
    assert isinstance(Personal.load(workshop / "phone"), Personal)
    again = (
        f"live {workshop}/avatar --source livelink --port 0 --for 0.5 -o {tmp_path}/b.mp4 --profile {workshop}/phone"
    )
    assert main(again.split()) == 0
    assert "listen" in capsys.readouterr().out


BAD = [
    ("live {w}/absent", "no headstudio.avatar here"),
    ("live {w}/capture --source still", "no headstudio.avatar here"),
    ("live {w}/text.txt --source still", "avatar"),
    ("live {w}/avatar --source {w}/absent.mp4", "is no source"),
    ("live {w}/avatar --source {w}/text.txt", "not a video"),
    ("live {w}/avatar --source {w}/folder", "this is a folder"),
    ("live {w}/avatar --source nonsense", "is no source"),
    ("live {w}/avatar --source 77", "there is no camera here"),
    ("live {w}/avatar --source rtsp://127.0.0.1:9/x", "cannot be read"),
    ("live {w}/avatar --source vmc --port 70000", "is no port"),
    ("live {w}/avatar --source vmc --port 0 --listen 203.0.113.7", "cannot listen here"),
    ("live {w}/avatar --source still --for 0", "must be positive"),
    ("live {w}/avatar --source still --for nan", "must be positive"),
    ("live {w}/avatar --source still --for -1", "must be positive"),
    ("live {w}/avatar --source still --size 5", "out of range"),
    ("live {w}/avatar --source still --neutral 0", "out of range"),
    ("live {w}/avatar --source still --background nocolour", "neither a colour nor a picture"),
    ("live {w}/avatar --source still -o {w}/new.avi", "not written"),
    ("live {w}/avatar --source still -o {w}/text.txt/new.mp4", "cannot write"),
    ("live {w}/avatar --source still --send osc:1", "no address"),
    ("live {w}/avatar --source still --send vmc:0", "no address"),
    ("live {w}/avatar --source still --page-port 70000", "cannot be served"),
    ("live {w}/avatar --source still --virtual-camera", "no virtual camera"),
    ("live {w}/avatar --source still --profile {w}/profile", "cannot be read"),
    ("live {w}/avatar --source still --profile {w}/folder", "something else here"),
    ("live {w}/avatar --source still --profile {w}/text.txt", "something else here"),
    ("live {w}/avatar --source still --driver {w}/avatar", "no driver"),
    ("live {w}/avatar --source still --driver {w}/absent", "no headstudio.avatar here"),
]


@pytest.mark.parametrize(("line", "sentence"), BAD, ids=range(len(BAD)))
def test_a_mistake_costs_one_sentence(workshop, capsys, line, sentence):
    before = sorted(path for path in workshop.rglob("*") if path.is_file())
    assert main(line.format(w=workshop).split()) in (1, 2)
    told = capsys.readouterr().err
    assert sentence in told and "Traceback" not in told
    errors = [one for one in told.splitlines() if one.startswith("error:")]
    assert len(errors) == 1
    assert sorted(path for path in workshop.rglob("*") if path.is_file()) == before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_it_is_told_to_and_keeps_the_film(workshop, tmp_path, how):
    command = [
        sys.executable, "-m", "headstudio", "live", str(workshop / "avatar"), "--source", "still",
        "-o", str(tmp_path / "a.mp4"), "--size", "32", "--page", "--json",
    ]  # fmt: skip
    hears_it = partial(signal.signal, how, signal.SIG_DFL)  # tests that run in the background ignore Ctrl-C
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"PYTHONPATH": ":".join(sys.path)},
        preexec_fn=hears_it,
    ) as run:  # fmt: skip
        assert run.stderr is not None
        told = []
        while not told or not told[-1].startswith("Open http://127.0.0.1:"):
            told.append(run.stderr.readline())
            assert told[-1], "".join(told)
        time.sleep(2)
        run.send_signal(how)
        out, _ = run.communicate(timeout=60)
    assert run.returncode == 0
    frames = json.loads(out)["stages"][-2]["frames_out"]
    with av.open(str(tmp_path / "a.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == frames > 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
