"""The whole way from a video by one command, and what is kept when it runs again."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from headstudio.cli.main import main
from headstudio.cli.scanning import in_the_lens_of
from headstudio.heads import load_head
from headstudio.records.track import HeadIdentity, Track
from headstudio.tracking.config import TrackingConfig
from support.actor import film
from support.scanned import known_scan

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


def test_the_person_of_a_scan_is_tracked_and_another_scan_tracks_anew(video, tmp_path, capsys):
    head, folder, where = load_head("makehuman"), tmp_path / "out", tmp_path / "person"
    scan = known_scan(head, torch.full((3, 64, 64), 0.5))
    broad = replace(scan, identity=HeadIdentity("makehuman", 0.5 * torch.ones(head.identities), None))
    scan.save(where)
    code, first = make(video, folder, capsys, "--scan", str(where))
    assert code == 0 and "scan" not in first["products"]
    assert Track.load(folder / "capture" / "track").identity.coefficients.abs().max() == 0
    assert "Static texture" in (folder / "report.html").read_text()
    assert make(video, folder, capsys, "--scan", str(where))[1]["kept"] == list(PRODUCTS)
    broad.save(where)
    assert make(video, folder, capsys, "--scan", str(where))[1]["kept"] == ["ingest"]
    assert torch.allclose(Track.load(folder / "capture" / "track").identity.coefficients, broad.identity.coefficients)


def test_a_scan_brings_its_lens_to_the_track():
    scan = known_scan(load_head("makehuman"), torch.full((3, 64, 64), 0.5))
    config = TrackingConfig()
    assert in_the_lens_of(scan, config) == config
    solve = in_the_lens_of(replace(scan, relative_focal=0.9), config).solve
    assert solve.focal_prior == 0.9 and solve.focal_log_deviation < config.solve.focal_log_deviation
