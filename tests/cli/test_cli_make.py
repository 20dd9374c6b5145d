"""The whole way from a video by one command, and what is kept when it runs again."""

import json
import shutil

import pytest

from headstudio.cli.main import main
from support.actor import film

pytestmark = pytest.mark.slow

PRODUCTS = {
    "ingest": ["capture", "preflight.html"],
    "track": ["capture/track", "track.mp4", "track.html"],
    "train": ["avatar", "training.html"],
    "evaluate": ["evaluation"],
    "re-enact": ["reenactment.mp4", "strip.png"],
    "export": ["avatar.glb"],
    "report": ["report.html"],
}


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return film(tmp_path_factory.mktemp("film"), seed=7)


def make(video, folder, capsys, *more):
    code = main(
        ["make", str(video), "-o", str(folder), "--method", "toy-plain", "--ingest.size", "128", "--json", *more]
    )
    return code, json.loads(capsys.readouterr().out)


def test_one_command_makes_everything_once(video, tmp_path, capsys):
    folder = tmp_path / "out"
    code, first = make(video, folder, capsys)
    assert code == 0 and first["kept"] == []
    assert first["products"] == {n: [str(folder / p) for p in products] for n, products in PRODUCTS.items()}
    assert all((folder / product).exists() for products in PRODUCTS.values() for product in products)
    assert first["seconds"].keys() == PRODUCTS.keys() and sum(first["seconds"].values()) > 0
    report = (folder / "report.html").read_text()
    assert all(name in report for name in PRODUCTS if name != "report") and "http://" not in report.replace(
        "http://www.w3.org", ""
    )

    stamps = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    assert make(video, folder, capsys)[1]["kept"] == list(PRODUCTS)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()} == stamps

    _, changed = make(video, folder, capsys, "--set", "steps=5")
    assert changed["kept"] == ["ingest", "track"]

    shutil.rmtree(folder / "capture" / "track")
    assert make(video, folder, capsys, "--set", "steps=5")[1]["kept"] == ["ingest"]


def test_a_stopped_training_goes_on_and_earlier_stages_are_kept(video, tmp_path, capsys, monkeypatch):
    from headstudio.training import train as training

    folder, calls, whole = tmp_path / "out", [], training.train

    def stopped(*arguments, **options):
        from support.stopping import StopAfter

        calls.append(arguments)
        return whole(*arguments, **{**options, "display": StopAfter(4) if len(calls) == 1 else options["display"]})

    monkeypatch.setattr(training, "train", stopped)
    code, told = make(video, folder, capsys)
    assert code == 1 and "stopped at step 4" in told["error"]
    assert not (folder / "avatar").exists()
    code, second = make(video, folder, capsys)
    assert code == 0 and second["kept"] == ["ingest", "track"]
    journal = [json.loads(line) for line in (folder / "avatar.training" / "journal.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in journal] == sorted({entry["step"] for entry in journal})
