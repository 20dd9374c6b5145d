"""From a video to a capture folder, with disks for faces; every refusal and what it leaves untouched."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from headstudio.capture import store
from headstudio.capture.config import IngestConfig
from headstudio.capture.coverage import Preflight
from headstudio.capture.follow import box_of
from headstudio.capture.ingest import Tools, ingest, split_of
from headstudio.errors import HeadstudioError
from headstudio.records.capture import Annotation, Capture
from support.videos import DiskDetector, DiskMatte, disk_frame, disk_tools, disk_video, write_video

SMALL = IngestConfig(size_px=128)


def _ingest(video: Path, output: Path, **options: object) -> Capture:
    return ingest(video, output, replace(SMALL, **options), tools=disk_tools)


def test_the_capture_holds_what_the_video_shows(tmp_path):
    capture = _ingest(disk_video(tmp_path / "disk.mp4"), tmp_path / "capture")
    assert capture.frames == 60 and capture.path == tmp_path / "capture"
    torch.testing.assert_close(capture.views[0].times_s, torch.arange(60, dtype=torch.float64) * 0.04)
    source, crop = capture.views[0].source, capture.views[0].crop
    assert (source.width_px, source.height_px, source.file_name) == (320, 240, "disk.mp4")
    for frame in (0, 30, 59):
        red = capture.image(frame)[0].numpy().astype(int) - capture.image(frame)[1].numpy() > 80
        seen = np.array([c.mean() + 0.5 for c in np.nonzero(red)[::-1]])
        scale = 128 / crop.side_px
        truth = (np.array([120.5 + frame, 110.5]) - (crop.left_px, crop.top_px)) * scale
        np.testing.assert_allclose(seen, truth, atol=1.0)
        left, top, width, height = box_of(capture.views[0].landmarks_px[frame].numpy())
        np.testing.assert_allclose((left + width / 2, top + height / 2), truth, atol=2.0)
        assert (capture.matte(frame)[0].numpy()[red] > 128).mean() > 0.95


def test_what_is_loaded_is_what_was_made(tmp_path):
    made = _ingest(disk_video(tmp_path / "disk.mp4"), tmp_path / "capture")
    loaded = Capture.load(tmp_path / "capture")
    assert loaded.identifier == made.identifier and loaded.split == made.split
    torch.testing.assert_close(loaded.views[0].landmarks_px, made.views[0].landmarks_px, equal_nan=True)
    assert loaded.views[0].quality.keys() == made.views[0].quality.keys()
    assert {"sharpness", "exposure", "face_size_px", "occlusion", "confidence", "yaw_deg"} <= made.views[
        0
    ].quality.keys()
    assert Preflight.load(tmp_path / "capture").frames == 60
    assert loaded.annotations == {Annotation.LANDMARKS, Annotation.MATTE}


def test_pictures_are_stored_without_chroma_subsampling(tmp_path):
    capture = _ingest(disk_video(tmp_path / "disk.mp4"), tmp_path / "capture")
    with Image.open(capture.frame_path(0)) as picture:
        assert picture.size == (128, 128)
        assert {layer[1:3] for layer in picture.layer} == {(1, 1)}


def test_padding_is_invalid_and_holds_no_person(tmp_path):
    images = [disk_frame((160, 120), 100) for _ in range(40)]
    capture = _ingest(write_video(tmp_path / "rim.mp4", images), tmp_path / "capture")
    crop, valid = capture.views[0].crop, capture.views[0].valid
    assert crop.side_px > 240 and 0 < (~valid).float().mean() < 0.7
    padded = capture.matte(5)[0][~valid]
    assert padded.max() == 0
    assert capture.matte(5)[0][valid].max() > 200


@pytest.mark.parametrize("count", [40, 61, 500])
def test_the_last_fifth_is_held_out_behind_half_a_second(count):
    times = np.arange(count) / 25
    split = split_of(times, 0.2, 0.5)
    assert (count - split.held_out_start) / count == pytest.approx(0.2, abs=1 / count)
    assert times[split.held_out_start] - times[split.train_end - 1] >= 0.5
    assert times[split.held_out_start] - times[split.train_end] < 0.5


def test_start_end_and_rate_choose_the_frames(tmp_path):
    capture = _ingest(disk_video(tmp_path / "disk.mp4", 100), tmp_path / "capture", start_s=0.8, end_s=3.2, fps=12.5)
    assert capture.views[0].source.start_s == pytest.approx(0.8)
    torch.testing.assert_close(capture.views[0].times_s, torch.arange(30, dtype=torch.float64) * 0.08)


def test_sound_begins_with_the_first_frame(tmp_path):
    loud_from_s, start_s = 1.2, 0.4
    samples = np.sin(np.arange(48000) * 0.3) * (np.arange(48000) > loud_from_s * 16000)
    images = [disk_frame((150, 110), 40) for _ in range(70)]
    video = write_video(tmp_path / "clip.mp4", images, audio=samples)
    capture = _ingest(video, tmp_path / "capture", start_s=start_s, end_s=2.4)
    assert capture.views[0].source.has_audio
    with av.open(str(capture.path / "audio.m4a")) as container:
        sound = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    assert len(sound) / 16000 == pytest.approx(2.0, abs=0.1)
    onset_s = np.argmax(np.abs(sound) > 0.3) / 16000
    assert onset_s == pytest.approx(loud_from_s - start_s, abs=0.03)


def test_two_faces_are_told_and_one_is_followed(tmp_path):
    images = [np.maximum(disk_frame((200 + 0.5 * i, 120), 40), disk_frame((50, 120), 30)) for i in range(60)]
    capture = _ingest(write_video(tmp_path / "two.mp4", images), tmp_path / "capture")
    assert any("2 faces" in f.message for f in Preflight.load(capture.path).findings)
    assert capture.views[0].quality["face_size_px"].numpy() == pytest.approx(80, abs=4)


def test_frames_without_a_face_are_unknown(tmp_path):
    empty = np.full((240, 320, 3), 90, np.uint8)
    images = [empty if 20 <= i < 26 else disk_frame((150, 110), 40) for i in range(60)]
    capture = _ingest(write_video(tmp_path / "gone.mp4", images), tmp_path / "capture")
    missing = torch.isnan(capture.views[0].landmarks_px).flatten(1).any(1)
    assert missing.nonzero().flatten().tolist() == list(range(20, 26))
    assert (capture.views[0].quality["confidence"][missing] == 0).all()


def _frames(count: int, **changes: object) -> list[np.ndarray]:
    return [disk_frame((150, 110), 40) for _ in range(count)]


def _cut() -> list[np.ndarray]:
    return [disk_frame((150 if i < 40 else 90, 110), 40, background=60 if i < 40 else 190) for i in range(100)]


@pytest.mark.parametrize(
    ("images", "options", "what", "next_step"),
    [
        (_frames(1), {}, "1 frame ", "seconds"),
        (_frames(20), {}, "too short", "seconds"),
        ([np.full((240, 320, 3), 90, np.uint8)] * 60, {}, "no face", "record"),
        ([disk_frame((150, 110), 14)] * 60, {}, "face is only 2", "third of the picture"),
        (_cut(), {}, r"cut at 1\.60 s", r"--start 1\.60"),
        (_frames(60), {"start_s": 9.0}, "--start lies", "earlier"),
        (_frames(60), {"start_s": 2.0, "end_s": 1.0}, "must lie after", "option"),
        (_frames(60), {"size_px": 33}, "--size", "option"),
        (_frames(60), {"fps": 0.0}, "--fps", "option"),
        (_frames(60), {"matte": Path("nowhere.onnx")}, "no model file", "path"),
    ],
)
def test_a_refusal_is_one_sentence_and_leaves_what_was_there(tmp_path, images, options, what, next_step):
    video = write_video(tmp_path / "clip.mp4", images)
    output = tmp_path / "capture"
    output.mkdir()
    (output / "precious.txt").write_text("old")
    tools = Tools.standard if "matte" in options else disk_tools
    with pytest.raises(HeadstudioError, match=what) as caught:
        ingest(video, output, replace(SMALL, **options), tools=tools)
    assert "\n" not in str(caught.value)
    assert caught.match(next_step)
    assert [p.name for p in output.iterdir()] == ["precious.txt"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["capture", "clip.mp4"]


def test_a_cut_can_be_allowed_and_is_told(tmp_path):
    capture = _ingest(write_video(tmp_path / "cut.mp4", _cut()), tmp_path / "capture", allow_cuts=True)
    assert any("jumps at 1.60 s" in f.message for f in Preflight.load(capture.path).findings)


def test_the_advised_part_of_a_cut_clip_is_accepted(tmp_path):
    capture = _ingest(write_video(tmp_path / "cut.mp4", _cut()), tmp_path / "capture", start_s=1.6, end_s=3.96)
    assert capture.frames == 59


def test_damage_is_skipped_and_told_when_small_and_refused_when_large(tmp_path):
    rng = np.random.default_rng(0)
    images = [disk_frame((150, 110), 40) for _ in range(200)]
    for image in images:
        image[200:] = rng.integers(60, 120, (40, 320, 3))
    video = write_video(tmp_path / "clip.mp4", images, options={"g": "4", "crf": "18", "preset": "ultrafast"})
    whole = video.read_bytes()
    for share, refused in ((0.004, False), (0.5, True)):
        content, start = bytearray(whole), len(whole) // 4
        length = int(share * len(whole))
        content[start : start + length] = rng.integers(0, 255, length, np.uint8).tobytes()
        video.write_bytes(bytes(content))
        if refused:
            with pytest.raises(HeadstudioError, match="pictures are damaged, the first at"):
                _ingest(video, tmp_path / "capture")
        else:
            capture = _ingest(video, tmp_path / "capture")
            assert 190 <= capture.frames < 200
            assert any("damaged" in f.message for f in Preflight.load(capture.path).findings)


def test_a_full_disk_is_told_and_leaves_the_old_capture(tmp_path, monkeypatch):
    video = disk_video(tmp_path / "disk.mp4")
    before = _ingest(video, tmp_path / "capture").identifier

    def full(path: Path, picture: np.ndarray) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(store, "write_png", full)
    with pytest.raises(HeadstudioError, match="No space left on device"):
        _ingest(video, tmp_path / "capture", start_s=0.2)
    monkeypatch.undo()
    assert Capture.load(tmp_path / "capture").identifier == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["capture", "disk.mp4"]


class _Interrupting(DiskMatte):
    def estimate(self, image_rgb: np.ndarray) -> np.ndarray:
        raise KeyboardInterrupt


def test_an_interruption_leaves_nothing_behind(tmp_path):
    import threading

    video = disk_video(tmp_path / "disk.mp4")
    with pytest.raises(KeyboardInterrupt):
        ingest(video, tmp_path / "capture", SMALL, tools=lambda config: Tools(DiskDetector(), _Interrupting()))
    assert [p.name for p in tmp_path.iterdir()] == ["disk.mp4"]
    assert not [t for t in threading.enumerate() if t.name.startswith(("run-ahead", "write-behind"))]


@pytest.mark.parametrize("victim", ["frames/main/000007.jpg", "mattes/main/000007.png", "annotations.safetensors"])
def test_a_missing_file_of_a_capture_is_named(tmp_path, victim):
    _ingest(disk_video(tmp_path / "disk.mp4"), tmp_path / "capture")
    (tmp_path / "capture" / victim).unlink()
    with pytest.raises(HeadstudioError, match=Path(victim).name):
        Capture.load(tmp_path / "capture")


def test_captures_of_other_parts_have_other_names(tmp_path):
    video = disk_video(tmp_path / "disk.mp4", 80)
    first = _ingest(video, tmp_path / "a", end_s=2.4)
    again = _ingest(video, tmp_path / "b", end_s=2.4)
    other = _ingest(video, tmp_path / "c", start_s=0.4, end_s=2.8)
    assert first.identifier == again.identifier != other.identifier
    assert first.frames == other.frames


def test_the_same_video_gives_the_same_capture(tmp_path):
    video = disk_video(tmp_path / "disk.mp4")
    first, second = (_ingest(video, tmp_path / name) for name in "ab")
    for path in sorted(first.path.rglob("*.*")):
        assert path.read_bytes() == (second.path / path.relative_to(first.path)).read_bytes(), path.name


def test_progress_hears_every_frame_of_both_passes(tmp_path):
    import contextlib

    heard: dict[str, list[int]] = {}

    class _Listener:
        @contextlib.contextmanager
        def stage(self, name, total=None):
            heard[name] = [total, 0]
            yield lambda units: heard[name].__setitem__(1, heard[name][1] + units)

    ingest(disk_video(tmp_path / "disk.mp4"), tmp_path / "capture", SMALL, _Listener(), tools=disk_tools)
    assert heard == {"finding the face": [60, 60], "cropping and matting": [60, 60]}


def test_variable_rate_times_are_kept(tmp_path):
    times_ms = np.cumsum([0, *([33, 41, 60, 20] * 15)]).tolist()
    images = [disk_frame((150, 110), 40) for _ in times_ms]
    capture = _ingest(write_video(tmp_path / "vfr.mp4", images, times_ms), tmp_path / "capture")
    expected = torch.tensor([float(Fraction(t, 1000)) for t in times_ms], dtype=torch.float64)
    torch.testing.assert_close(capture.views[0].times_s, expected)


def test_what_was_asked_for_lies_beside_the_capture(tmp_path):
    capture = _ingest(disk_video(tmp_path / "disk.mp4"), tmp_path / "capture")
    asked = json.loads((capture.path / "ingest.json").read_text())
    assert asked["sha256"] == capture.views[0].source.sha256
    assert asked["config"]["crop_margin"] == SMALL.crop_margin
