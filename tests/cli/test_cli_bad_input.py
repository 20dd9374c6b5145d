"""What users do wrong: one sentence, an exit code, no traceback, and nothing that was there is changed."""

import hashlib
import json
import shutil

import pytest

from headstudio.cli.main import main
from support.tiny import tiny_source


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A folder with a tracked capture, an avatar, a driver and all kinds of things that are none of these."""
    folder = tmp_path_factory.mktemp("workshop")
    for name, seed in (("capture", 0), ("other", 1)):
        source = tiny_source(folder / name, seed=seed)
        source.track.save(folder / name / "track")
    assert run(f"train toy-plain {folder}/capture -o {folder}/avatar") == 0
    arguments = f"train-driver toy-latent {folder}/avatar {folder}/other --target {folder}/capture -o {folder}/driver"
    assert run(arguments) == 0
    for name, record in (("newer-avatar", "avatar/avatar.json"), ("newer-capture", "capture/capture.json")):
        shutil.copytree((folder / record).parent, folder / name)
        where = folder / name / record.split("/")[1]
        where.write_text(json.dumps({**json.loads(where.read_text()), "schema_version": 99}))
    for name in ("broken-json", "lost-frame", "untracked", "lost-weights"):
        shutil.copytree(folder / ("avatar" if name == "lost-weights" else "capture"), folder / name)
    shutil.copytree(folder / "avatar", folder / "alone" / "avatar")
    (folder / "broken-json" / "capture.json").write_text("{")
    next((folder / "lost-frame" / "frames").rglob("*.jpg")).unlink()
    shutil.rmtree(folder / "untracked" / "track")
    (folder / "lost-weights" / "weights.safetensors").unlink()
    (folder / "peer").mkdir()
    (folder / "peer" / "transforms.json").write_text(json.dumps({"frames": []}))
    (folder / "text.txt").write_text("not a video")
    (folder / "text.mp4").write_text("not a video either")
    (folder / "wrong.csv").write_text("Timecode,jawOpen\n00:00:00:00,1\n")
    return folder


def run(line):
    return main(line.split())


def contents(folder):
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


BAD = [
    ("ingest {w}/absent.mp4 -o {w}/new", "absent.mp4"),
    ("ingest {w}/text.txt -o {w}/new", "not a video"),
    ("ingest {w}/text.mp4 -o {w}/capture", "not a video"),
    ("ingest {w}/capture -o {w}/new", "capture"),
    ("ingest {w}/text.mp4 -o {w}/new --fps -3", "error"),
    ("import {w}/absent -o {w}/new", "no transforms.json"),
    ("import {w}/capture -o {w}/new", "no transforms.json"),
    ("import {w}/text.txt -o {w}/new", "no transforms.json"),
    ("import {w}/peer -o {w}/capture", "names no frame"),
    ("import {w}/peer -o {w}/new --fps 0", "--fps must be positive"),
    ("scan {w}/absent.mp4 -o {w}/new", "no clip here"),
    ("train dynamic-texture {w}/capture -o {w}/new --scan {w}/absent", "no headstudio.scan here"),
    ("train dynamic-texture {w}/capture -o {w}/new --scan {w}/avatar", "no headstudio.scan here"),
    ("make {w}/text.mp4 -o {w}/new --scan {w}/absent.mp4", "no clip here"),
    ("scan {w}/text.txt -o {w}/new", "not a video"),
    ("scan {w}/newer-capture -o {w}/new", "update headstudio"),
    ("scan {w}/lost-frame -o {w}/new", "is missing"),
    ("scan {w}/capture -o {w}/avatar --track {w}/absent", "no headstudio.track here"),
    ("scan {w}/capture -o {w}/avatar --mesh none", "shows no person"),
    ("scan {w}/capture -o {w}/avatar --head nobody", "error"),
    ("track {w}/absent", "no headstudio.capture here"),
    ("track {w}/capture --scan {w}/absent", "no headstudio.scan here"),
    ("track {w}/capture --scan {w}/absent --person {w}/absent", "give one of them"),
    ("track {w}/text.txt", "error"),
    ("track {w}/newer-capture", "update headstudio"),
    ("track {w}/broken-json", "cannot be read"),
    ("track {w}/lost-frame", "is missing"),
    ("track {w}/capture --head nobody", "no head named nobody"),
    ("annotate {w}/absent", "no headstudio.capture here"),
    ("annotate {w}/untracked", "not tracked yet"),
    ("annotate {w}/capture --parsing none", "neither parsing nor normals"),
    ("annotate {w}/capture --parsing {w}/absent.onnx", "no model file"),
    ("annotate {w}/capture --parsing {w}/text.txt", "unknown kind"),
    ("annotate {w}/capture --parsing none --normals {w}/peer", "0 pictures and the capture"),
    ("annotate {w}/capture --parsing none --normals {w}/text.txt", "unknown kind"),
    ("train nobody {w}/capture -o {w}/new", "choose one of"),
    ("train toy-plain {w}/capture -o {w}/new --preset huge", "draft, standard, paper"),
    ("train toy-plain {w}/capture -o {w}/new --preset huge --set steps=3", "draft, standard, paper"),
    ("train toy-plain {w}/capture -o {w}/new --set stepps=3", "no field stepps"),
    ("train toy-plain {w}/capture -o {w}/new --set steps=many", "do not fit"),
    ("train toy-plain {w}/capture -o {w}/new --set steps", "FIELD=VALUE"),
    ("train toy-plain {w}/absent -o {w}/new", "no headstudio.capture here"),
    ("train toy-plain {w}/untracked -o {w}/new", "headstudio track"),
    ("train toy-plain {w}/capture --track {w}/other/track -o {w}/new", "another capture"),
    ("train toy-plain {w}/capture {w}/other --track {w}/other/track -o {w}/new", "one capture"),
    ("train toy-plain {w}/capture -o {w}/avatar --set steps=99", "another config"),
    ("train toy-plain {w}/capture -o {w}/new --init {w}/driver", "same method"),
    ("train toy-plain {w}/capture -o {w}/text.txt/new", "text.txt"),
    ("train-driver nobody {w}/avatar {w}/other -o {w}/new", "no driver is called nobody"),
    ("train-driver toy-latent {w}/driver {w}/other -o {w}/new", "holds a driver"),
    ("train-driver toy-latent {w}/alone/avatar {w}/other -o {w}/new", "target"),
    ("evaluate {w}/absent {w}/capture", "no headstudio.avatar here"),
    ("evaluate {w}/newer-avatar {w}/capture", "update headstudio"),
    ("evaluate {w}/lost-weights {w}/capture", "missing"),
    ("evaluate {w}/avatar {w}/untracked", "headstudio track"),
    ("drive {w}/avatar --with {w}/absent", "check the path"),
    ("drive {w}/avatar --with {w}/wrong.csv", "columns are missing"),
    ("drive {w}/avatar --with {w}/text.txt -o {w}/new.mp4", "not a video"),
    ("drive {w}/avatar --with {w}/other --background nonsense -o {w}/new.mp4", "neither a colour nor a picture"),
    ("drive {w}/avatar --with {w}/other --driver {w}/avatar -o {w}/new.mp4", "no driver"),
    ("drive {w}/avatar --with {w}/other --device nowhere -o {w}/new.mp4", "no device nowhere"),
    ("drive {w}/driver --with {w}/other -o {w}/new.mp4", "holds a driver"),
    ("export {w}/avatar --to hologram -o {w}/new", "choose one of"),
    ("export {w}/avatar -o {w}/text.txt/new.glb", "text.txt"),
    ("export {w}/newer-avatar -o {w}/new.glb", "update headstudio"),
    ("export {w}/capture -o {w}/new", "choose one of: gaussian-avatars"),
    ("export {w}/untracked --to gaussian-avatars -o {w}/new", "headstudio track"),
    ("export {w}/broken-json --to gaussian-avatars -o {w}/new", "cannot be read"),
    ("export {w}/capture --to gaussian-avatars -o {w}/new --background beach", "white, black, keep"),
    ("export {w}/capture --to gaussian-avatars -o {w}/new --with {w}/other", "--with goes with an avatar"),
    ("export {w}/capture --to gaussian-avatars -o {w}/text.txt/new", "text.txt"),
    ("make {w}/absent.mp4 -o {w}/new", "absent.mp4"),
    ("make {w}/text.mp4 -o {w}/text.txt", "text.txt"),
    ("make {w}/text.mp4 -o {w}/new --method nobody", "choose one of"),
    ("make {w}/text.mp4 -o {w}/new --preset huge", "draft, standard, paper"),
]


@pytest.mark.parametrize(("line", "message"), BAD, ids=[line.format(w="") for line, _ in BAD])
def test_a_mistake_costs_one_sentence_and_nothing_else(line, message, workshop, capsys):
    before = contents(workshop)
    code = run(line.format(w=workshop))
    said = capsys.readouterr()
    assert code == 1
    assert said.out == ""
    sentence = said.err.strip().splitlines()[-1]
    assert sentence.startswith("error: ") and sentence.endswith(".")
    assert message in sentence
    assert "Traceback" not in said.err
    assert contents(workshop) == before


@pytest.mark.parametrize(
    "line", ["fly", "ingest", "train toy-plain", "track x --bogus 1", "drive x", "ingest x -o y --fps many"]
)
def test_a_wrong_command_line_is_a_usage_error(line, capsys):
    assert run(line) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err and "Traceback" not in said.err


def test_a_failure_is_json_too_where_json_was_asked_for(workshop, capsys):
    assert run(f"evaluate {workshop}/absent {workshop}/capture --json") == 1
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["exit_code"] == 1 and f"error: {found['error']}" in said.err
