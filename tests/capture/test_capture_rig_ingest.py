"""Films of several cameras as one capture. The pictures are grey; what a detector would see in them is told."""

import json
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rig_films import FOCAL, HEIGHT, WIDTH, Camera, filmed

from headstudio.capture import rig_ingest
from headstudio.capture.config import IngestConfig
from headstudio.capture.coverage import Preflight
from headstudio.capture.ingest import Tools
from headstudio.capture.rig_cameras import RigCamera, read_cameras, write_cameras
from headstudio.capture.rig_ingest import ingest_views, view_names
from headstudio.capture.survey import Survey
from headstudio.cli.main import main
from headstudio.errors import HeadstudioError
from headstudio.records.capture import Capture
from support.videos import DiskDetector, DiskMatte, write_video

SMALL = IngestConfig(size_px=64)
CAMERAS = {"left": Camera(-35, 0.237), "front": Camera(0, 0.1), "right": Camera(35, 0.019)}
FRAMES = 150
HALF_A_FRAME_S = 0.02
"""How well movement alone tells six seconds of landmarks that tremble; on rendered films it is a twentieth of that."""


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> list[Path]:
    """Grey films of three cameras, no two alike."""
    folder = tmp_path_factory.mktemp("films")
    grey = [np.full((HEIGHT, WIDTH, 3), 80 + 10 * index, np.uint8) for index in range(3)]
    return [write_video(folder / f"{name}.mp4", [grey[i]] * FRAMES) for i, name in enumerate(CAMERAS)]


@pytest.fixture
def seen(monkeypatch) -> dict[str, Any]:
    """Landmarks of each film, which tests may change; `surveys` counts how often a film was looked at."""
    told: dict[str, Any] = {name: filmed(camera, FRAMES / 25).landmarks_px for name, camera in CAMERAS.items()}

    def survey(video, config, detector, hands, progress):
        landmarks = told[video.path.stem].astype(np.float32)
        count = len(landmarks)
        told["surveys"] = told.get("surveys", 0) + 1
        times = [Fraction(index, 25) for index in range(count)]
        return Survey(times, list(landmarks), [(0.0, 0.0)] * count, [0.0] * count, 1)

    monkeypatch.setattr(rig_ingest, "survey_clip", survey)
    return told


def tools(config: IngestConfig) -> Tools:
    return Tools(DiskDetector(), DiskMatte())


def ingested(videos: list[Path], output: Path, cameras: Path | None = None) -> Capture:
    return ingest_views(videos, output, SMALL, cameras, tools=tools)


def known(path: Path, order: tuple[str, ...] = tuple(CAMERAS), width_px: int = WIDTH) -> Path:
    K_px = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1.0]])
    write_cameras(path, [RigCamera(width_px, HEIGHT, K_px, CAMERAS[name].T_camera_world) for name in order])
    return path


def test_three_films_become_three_views_of_one_capture(videos, seen, tmp_path):
    made = ingested(videos, tmp_path / "capture")
    loaded = Capture.load(tmp_path / "capture")
    assert [view.name for view in loaded.views] == ["front", "left", "right"], "the front view comes first"
    assert loaded.identifier == made.identifier and loaded.split == made.split
    assert len({len(view.times_s) for view in loaded.views}) == 1 and loaded.frames > 130
    front = loaded.views[0]
    assert float(front.times_s[0]) == 0.0
    for view in loaded.views:
        offset_s = view.clock_offset_s - view.source.start_s - (front.clock_offset_s - front.source.start_s)
        assert offset_s == pytest.approx(CAMERAS[view.name].starts_s - 0.1, abs=HALF_A_FRAME_S)
        assert float((view.times_s - front.times_s).abs().max()) <= 0.0205
        assert view.lens_estimated and view.K_px is not None and view.T_camera_world is not None
        focal_px = float(view.K_px[0, 0, 0]) * view.crop.side_px / 64
        assert focal_px == pytest.approx(FOCAL, rel=0.12)
        assert loaded.image(3, loaded.views.index(view)).shape == (3, 64, 64)
    torch.testing.assert_close(front.T_camera_world, torch.eye(4))
    assert Preflight.load(tmp_path / "capture").frames == loaded.frames
    assert sorted(p.name for p in tmp_path.iterdir()) == ["capture"], "nothing is left beside it"
    assert not (tmp_path / "capture" / "cache").exists()


def test_what_was_found_serves_the_next_films_of_the_rig(videos, seen, tmp_path):
    first = ingested(videos, tmp_path / "first")
    again = ingested(videos, tmp_path / "again", cameras=tmp_path / "first" / "cameras.json")
    for a, b in zip(first.views, again.views, strict=True):
        assert a.name == b.name and not b.lens_estimated
        assert a.T_camera_world is not None and b.T_camera_world is not None
        torch.testing.assert_close(a.T_camera_world, b.T_camera_world, atol=1e-5, rtol=0)
        torch.testing.assert_close(a.K_px, b.K_px)


def test_known_cameras_and_clocks_are_taken_as_they_are(videos, seen, tmp_path):
    path = known(tmp_path / "cameras.json")
    told = [
        replace(c, clock_offset_s=CAMERAS[n].starts_s - 0.237)
        for c, n in zip(read_cameras(path, 3), CAMERAS, strict=True)
    ]
    write_cameras(path, told)
    for view in ingested(videos, tmp_path / "capture", cameras=path).views:
        assert view.T_camera_world is not None
        wanted = torch.from_numpy(CAMERAS[view.name].T_camera_world).float()
        torch.testing.assert_close(view.T_camera_world, wanted, atol=1e-6, rtol=0)


def test_a_run_that_was_stopped_goes_on(videos, seen, tmp_path, monkeypatch):
    whole = ingested(videos, tmp_path / "whole")
    write, written = rig_ingest.write_pictures, []

    def stopping(folder, view, *rest):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(view)
        return write(folder, view, *rest)

    seen["surveys"] = 0
    monkeypatch.setattr(rig_ingest, "write_pictures", stopping)
    with pytest.raises(KeyboardInterrupt):
        ingested(videos, tmp_path / "capture")
    assert seen["surveys"] == 3 and written == ["front", "left"]
    assert not (tmp_path / "capture").exists()
    monkeypatch.setattr(rig_ingest, "write_pictures", lambda *a: written.append(a[1]) or write(*a))
    capture = ingested(videos, tmp_path / "capture")
    assert seen["surveys"] == 3 and written == ["front", "left", "right"]
    assert capture.identifier == whole.identifier
    for a, b in zip(capture.views, whole.views, strict=True):
        assert a.quality.keys() == b.quality.keys()
        torch.testing.assert_close(a.quality["exposure"], b.quality["exposure"], equal_nan=True)
    Capture.load(tmp_path / "capture")


def _faceless(seen):
    seen["right"][:] = np.nan


def _elsewhen(seen):
    for index, name in enumerate(CAMERAS):
        seen[name] = filmed(CAMERAS[name], FRAMES / 25, seed=20 + index).landmarks_px


def _mirrored(seen):
    seen["right"] = filmed(CAMERAS["right"], FRAMES / 25, mirrored=True).landmarks_px


def _in_turns(seen):
    seen["front"][75:] = np.nan
    seen["left"][:70] = np.nan


def _tiny(seen):
    seen["left"] *= 0.1


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_faceless, "no face was found"),
        (_elsewhen, "share no moment"),
        (_mirrored, "mirrored"),
        (_in_turns, "share no moment|at the same time in only"),
        (_tiny, "px high"),
    ],
)
def test_films_that_cannot_be_used_are_refused_and_leave_nothing(videos, seen, tmp_path, spoil, told):
    spoil(seen)
    with pytest.raises(HeadstudioError, match=told):
        ingested(videos, tmp_path / "capture")
    assert list(tmp_path.iterdir()) == []


def test_one_film_is_no_rig(videos, seen, tmp_path):
    with pytest.raises(HeadstudioError, match="two films or more"):
        ingested(videos[:1], tmp_path / "capture")


def test_a_film_is_not_given_twice(videos, seen, tmp_path):
    with pytest.raises(HeadstudioError, match="given twice"):
        ingested([videos[0], videos[1], videos[0]], tmp_path / "capture")


@pytest.mark.parametrize(
    ("order", "width_px", "told"),
    [(("front", "left", "right"), WIDTH, "turned"), (tuple(CAMERAS), 1280, "order of the films")],
)
def test_cameras_that_do_not_belong_to_the_films_are_refused(videos, seen, tmp_path, order, width_px, told):
    path = known(tmp_path / "cameras.json", order, width_px)
    with pytest.raises(HeadstudioError, match=told):
        ingested(videos, tmp_path / "capture", cameras=path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cameras.json"]


def test_films_of_other_lengths_and_rates_are_thinned_to_what_they_share(videos, seen, tmp_path):
    seen["right"] = seen["right"][:110]
    seen["left"][140:] = np.nan
    capture = ingested(videos, tmp_path / "capture")
    assert 100 < capture.frames <= 112
    for view in capture.views:
        assert float((view.times_s - capture.views[0].times_s).abs().max()) <= 0.0205


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["a/LEFT Cam.mp4", "b/front.mov"], ("left-cam", "front")),
        (["a/clip.mp4", "b/clip.mp4", "c/clip.mp4"], ("clip", "clip--2", "clip--3")),
        (["a/..mp4", "b/日本.mp4"], ("view", "view--2")),
    ],
)
def test_views_are_named_after_their_files(names, wanted):
    assert view_names([Path(name) for name in names]) == wanted


def test_the_command_tells_all_views(videos, seen, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rig_ingest, "ingest_views", partial(ingest_views, tools=tools))
    line = ["ingest", "--views", *map(str, videos), "-o", str(tmp_path / "capture"), "--size", "64", "--json"]
    assert main(line) == 0
    content = json.loads(capsys.readouterr().out)
    assert [view["name"] for view in content["views"]] == ["front", "left", "right"]
    assert content["views"][1]["film_offset_s"] == pytest.approx(0.137, abs=HALF_A_FRAME_S)
    assert "<svg" in (tmp_path / "capture" / "preflight.html").read_text()


@pytest.mark.parametrize(
    "line", ["ingest -o {w}", "ingest a.mp4 --views b.mp4 c.mp4 -o {w}", "ingest a.mp4 --cameras c.json -o {w}"]
)
def test_options_that_contradict_each_other_are_refused(tmp_path, line, capsys):
    assert main(line.format(w=tmp_path / "new").split()) != 0
    assert not (tmp_path / "new").exists()
