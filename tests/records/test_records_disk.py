"""Every record comes back from disk as it was, is replaced whole or not at all, and tells what is wrong with it."""

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.records.capture import Capture
from headstudio.records.channels import ARKIT, HEAD_POSE, Channel
from headstudio.records.motion import Motion
from headstudio.records.track import Track, check_pair
from headstudio.records.track_quality import Flaw, TrackQuality
from support.tiny import tiny_capture, tiny_track


@pytest.fixture
def capture(tmp_path):
    return tiny_capture(tmp_path / "capture")


def test_capture_comes_back(capture):
    again = Capture.load(capture.path)
    assert again.size_px == capture.size_px and again.split == capture.split
    assert again.views[0].source == capture.views[0].source and again.views[0].crop == capture.views[0].crop
    assert torch.equal(again.views[0].landmarks_px, capture.views[0].landmarks_px)
    assert again.image(3).shape == (3, 16, 16) and again.matte(3).shape == (1, 16, 16)
    assert set(again.train_frames).isdisjoint(again.held_out_frames) and again.frames == 12


def test_track_and_motion_come_back(tmp_path, capture):
    track = tiny_track(capture)
    track = replace(
        track, seams=(4,), training_clock=(0.0, 0.3), identity=replace(track.identity, offsets_m=torch.ones(5, 3))
    )
    track.save(tmp_path / "track")
    again = Track.load(tmp_path / "track")
    for name, value in vars(track).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, getattr(again, name)), name
    assert again.seams == (4,) and again.training_clock == (0.0, 0.3) and again.texture is None
    assert torch.equal(again.identity.offsets_m, torch.ones(5, 3))
    check_pair(again, capture.identifier, tmp_path)
    with pytest.raises(HeadstudioError, match="another capture"):
        check_pair(again, "someone", tmp_path)
    motion = again.motion()
    motion.save(tmp_path / "motion")
    back = Motion.load(tmp_path / "motion")
    assert back.channels.keys() == motion.channels.keys()
    assert all(torch.equal(back.channels[c], v) for c, v in motion.channels.items())


def test_what_went_wrong_in_a_track_comes_back(tmp_path, capture):
    track = tiny_track(capture)
    flaws = {Flaw.HAND: torch.arange(12) < 3, Flaw.BLURRED: torch.arange(12) % 2 == 0}
    quality = TrackQuality(flaws, 0.625, ("9 of 12 frames can be used.", "frames 0-2: a hand"), 0.0011)
    replace(track, quality=quality).save(tmp_path / "track")
    again = Track.load(tmp_path / "track").quality
    assert again is not None and again.flaws.keys() == flaws.keys()
    assert all(torch.equal(again.flaws[flaw], frames) for flaw, frames in flaws.items())
    assert (again.score, again.sentences, again.usual_error_m) == (0.625, quality.sentences, 0.0011)
    assert [again.main(frame) for frame in (0, 3, 4)] == [Flaw.HAND, None, Flaw.BLURRED]


def test_a_track_from_before_flaws_were_told_still_loads(tmp_path, capture):
    tiny_track(capture).save(tmp_path / "track")
    where = tmp_path / "track" / "track.json"
    content = json.loads(where.read_text())
    del content["quality"]
    where.write_text(json.dumps(content))
    assert Track.load(tmp_path / "track").quality is None


@pytest.mark.parametrize("quality", [5, "good", [], {}, {"flaws": ["sleepy"]}, {"flaws": ["hand"], "score": 1}])
def test_a_damaged_account_of_flaws_is_told(tmp_path, capture, quality):
    tiny_track(capture).save(tmp_path / "track")
    where = tmp_path / "track" / "track.json"
    where.write_text(json.dumps({**json.loads(where.read_text()), "quality": quality}))
    with pytest.raises(HeadstudioError, match="the track is damaged"):
        Track.load(tmp_path / "track")


def test_motion_selects_and_refuses_ragged_channels():
    motion = Motion(torch.arange(5).double(), {ARKIT: torch.rand(5, 52), HEAD_POSE: torch.eye(4).expand(5, 4, 4)})
    assert len(motion.select([0, 2])) == 2 and motion.at(range(3))[HEAD_POSE].shape == (3, 4, 4)
    with pytest.raises(ValueError, match="rows"):
        motion.with_channels({ARKIT: torch.rand(4, 52)})


@pytest.mark.parametrize("channel", [ARKIT, HEAD_POSE, Channel("latent", "a@b[c]", "code")])
def test_channel_names_round_trip(channel):
    assert Channel.parse(str(channel)) == channel


@pytest.mark.parametrize("text", ["", "a", "a@b", "a@[c]", "@b[c]", "a@b[c"])
def test_what_is_no_channel_is_refused(text):
    with pytest.raises(ValueError, match="not a channel"):
        Channel.parse(text)


DAMAGE = {
    "capture.json is gone": lambda p: (p / "capture.json").unlink(),
    "tables are gone": lambda p: (p / "annotations.safetensors").unlink(),
    "tables are garbage": lambda p: (p / "annotations.safetensors").write_bytes(b"\x00" * 40),
    "tables are empty": lambda p: (p / "annotations.safetensors").write_bytes(b""),
    "json is garbage": lambda p: (p / "capture.json").write_text("{"),
    "json is not text": lambda p: (p / "capture.json").write_bytes(b"\xff\xfe\x00"),
    "json is a list": lambda p: (p / "capture.json").write_text("[]"),
    "a frame is gone": lambda p: next((p / "frames" / "front").iterdir()).unlink(),
    "all frames are gone": lambda p: shutil.rmtree(p / "frames"),
    "newer": lambda p: edit(p, "schema_version", 99),
    "no version": lambda p: edit(p, "schema_version", "1"),
    "another record": lambda p: edit(p, "schema", "headstudio.track"),
    "no views": lambda p: edit(p, "views", []),
    "views of a wrong type": lambda p: edit(p, "views", 3),
    "unknown annotation": lambda p: edit(p, "annotations", ["aura"]),
    "negative split": lambda p: edit(p, "split", {"train_end": -1, "held_out_start": 2}),
    "split beyond the end": lambda p: edit(p, "split", {"train_end": 5, "held_out_start": 50}),
    "split without a field": lambda p: edit(p, "split", {"train_end": 5}),
    "size edited": lambda p: edit(p, "size_px", 17),
    "size lost": lambda p: edit(p, "size_px", None),
}


def edit(path: Path, key: str, value: object) -> None:
    content = json.loads((path / "capture.json").read_text())
    content[key] = value
    (path / "capture.json").write_text(json.dumps(content))


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_capture_says_what_is_wrong(capture, name):
    DAMAGE[name](capture.path)
    with pytest.raises(HeadstudioError) as told:
        Capture.load(capture.path)
    assert "\n" not in str(told.value) and told.value.next_step


def test_a_damaged_picture_is_told_when_it_is_read(capture):
    capture.frame_path(2).write_bytes(b"not a picture")
    with pytest.raises(HeadstudioError, match="000002"):
        capture.image(2)


def test_a_failed_write_leaves_what_was_there(tmp_path):
    target = tmp_path / "record"
    with storage.replacing_folder(target) as folder:
        (folder / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), storage.replacing_folder(target) as folder:
        (folder / "a.txt").write_text("new")
        raise RuntimeError
    assert (target / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["record"]


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(HeadstudioError, match="No space left"):
        storage.write_json(tmp_path / "a.json", "x", 1, {})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_replaces_a_file_or_folder_of_its_name(tmp_path):
    (tmp_path / "record").write_text("a file")
    for content in ("one", "two"):
        with storage.replacing_folder(tmp_path / "record") as folder:
            (folder / "a.txt").write_text(content)
        assert (tmp_path / "record" / "a.txt").read_text() == content


def test_infinite_numbers_are_refused(tmp_path):
    storage.write_tensors(tmp_path / "a.safetensors", {"x": torch.tensor([1.0, float("inf")])})
    with pytest.raises(HeadstudioError, match="infinite"):
        storage.read_tensors(tmp_path / "a.safetensors")
