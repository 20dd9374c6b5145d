"""The door of the command line: help, JSON, exit codes and what goes wrong in ways nobody planned."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import headstudio
from headstudio.cli import failures
from headstudio.cli.main import VERBS, main
from headstudio.errors import HeadstudioError
from support.tiny import tiny_source

TESTS = Path(__file__).parents[1]


def test_the_help_names_every_verb(capsys):
    for arguments in ([], ["--help"], ["-h"], ["help"]):
        assert main(arguments) == 0
        said = capsys.readouterr().out
        assert all(f"  {verb} " in said for verb in VERBS)
    assert main(["--version"]) == 0
    assert headstudio.__version__ in capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_and_has_the_common_options(verb, capsys):
    assert main([verb, "--help"]) == 0
    said = capsys.readouterr().out
    assert "--json" in said and "--debug" in said


def test_a_methods_help_lists_its_configuration(capsys):
    assert main(["train", "toy-plain", "--preset", "paper", "--help"]) == 0
    said = capsys.readouterr().out
    assert "steps = 48" in said and "Training steps." in said
    assert main(["train", "--help"]) == 0
    assert "toy-gan" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        (HeadstudioError("it broke", where="there", next_step="mend it"), 1, "it broke (there): mend it."),
        (KeyboardInterrupt(), 130, "go on"),
        (MemoryError(), 1, "memory ran out"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), 1, "memory ran out"),
        (OSError(errno.ENOSPC, "No space left on device", "x.mp4"), 1, "the disk is full (x.mp4)"),
        (PermissionError(errno.EACCES, "Permission denied", "x.mp4"), 1, "Permission denied (x.mp4)"),
        (ModuleNotFoundError("no", name="onnxscript"), 1, "onnxscript"),
        (ZeroDivisionError("division by zero\nand more"), 70, "please report it"),
    ],
)
def test_every_failure_is_one_sentence(failure, code, message, capsys):
    def work():
        raise failure

    assert failures.guarded(work) == code
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and message in said and "Traceback" not in said
    assert failures.guarded(work, debug=True) == code
    assert "Traceback" in capsys.readouterr().err


def test_termination_ends_the_work_as_ctrl_c_does(capsys):
    before = signal.getsignal(signal.SIGTERM)
    cleaned = []

    def work():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            cleaned.append(True)

    assert failures.guarded(work) == 130
    assert cleaned == [True] and signal.getsignal(signal.SIGTERM) is before


def command(*arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS / "toys"), *sys.path])}
    return subprocess.run(
        [sys.executable, "-m", "headstudio", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
    )


def test_stdout_holds_one_json_object_and_nothing_else(tmp_path):
    source = tiny_source(tmp_path / "capture")
    source.track.save(tmp_path / "capture" / "track")
    for line in (
        "train toy-plain capture -o avatar --json --budget 1m",
        "drive avatar --with capture --own -o video.mp4 --json",
        "export avatar --with capture -o head.glb --json",
    ):
        run = command(*line.split(), cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        assert isinstance(json.loads(run.stdout), dict)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "avatar",
        "avatar.training",
        "capture",
        "head.glb",
        "video.mp4",
    ]


def test_the_doctor_tells_what_works(tmp_path):
    run = command("doctor", "--json", cwd=tmp_path)
    found = json.loads(run.stdout)
    states = {finding["name"]: finding["state"] for finding in found["findings"]}
    assert states["python"] == states["torch"] == states["head makehuman"] == "good"
    assert all(finding["mend"] for finding in found["findings"] if finding["state"] == "missing")
    assert run.returncode == (0 if found["works"] else 1)
