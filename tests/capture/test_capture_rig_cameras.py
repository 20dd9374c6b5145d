"""The file of cameras: what is written is what is read, and a dozen ways to write it wrong."""

import json
from pathlib import Path

import numpy as np
import pytest

from headstudio.capture.rig_cameras import RigCamera, from_first, read_cameras, write_cameras
from headstudio.errors import HeadstudioError

GOOD = {
    "width_px": 640,
    "height_px": 480,
    "K_px": [[900, 0, 320], [0, 900, 240], [0, 0, 1]],
    "T_camera_world": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
}


def written(path: Path, *entries: object, **top: object) -> Path:
    content = {"schema": "headstudio.cameras", "schema_version": 1, "cameras": list(entries), **top}
    path.write_text(json.dumps(content))
    return path


def test_what_is_written_is_what_is_read(tmp_path):
    turn = np.array([[0.0, 0, 1, 0.5], [0, 1, 0, 0], [-1, 0, 0, 1.5], [0, 0, 0, 1]])
    cameras = [
        RigCamera(640, 480, np.array(GOOD["K_px"], float), np.eye(4)),
        RigCamera(1920, 1080, np.array([[1500.5, 0, 960], [0, 1501, 540], [0, 0, 1]]), turn, -0.081),
    ]
    write_cameras(tmp_path / "cameras.json", cameras)
    for camera, told in zip(cameras, read_cameras(tmp_path / "cameras.json", 2), strict=True):
        np.testing.assert_allclose(told.K_px, camera.K_px)
        np.testing.assert_allclose(told.T_camera_world, camera.T_camera_world, atol=1e-12)
        assert (told.width_px, told.height_px) == (camera.width_px, camera.height_px)
        assert told.clock_offset_s == camera.clock_offset_s
    np.testing.assert_allclose(from_first(cameras, 1)[1], np.eye(4), atol=1e-12)


def without(name: str) -> dict:
    return {key: value for key, value in GOOD.items() if key != name}


STRETCHED = [[1.2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
MIRRORED = [[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("front", "no object"),
        (without("width_px"), "no width_px"),
        ({**GOOD, "height_px": -480}, "no width_px"),
        ({**GOOD, "width_px": "640"}, "no width_px"),
        (without("K_px"), "K_px"),
        ({**GOOD, "K_px": [[900, 0, 320], [0, 900, 240]]}, "3 x 3"),
        ({**GOOD, "K_px": [[0, 0, 320], [0, 900, 240], [0, 0, 1]]}, "intrinsics"),
        ({**GOOD, "K_px": [[900, 0, 320], [0, 900, 240], [0, 0, 2]]}, "intrinsics"),
        ({**GOOD, "K_px": [["a", 0, 320], [0, 900, 240], [0, 0, 1]]}, "3 x 3"),
        ({**GOOD, "K_px": None}, "3 x 3"),
        (without("T_camera_world"), "4 x 4"),
        ({**GOOD, "T_camera_world": STRETCHED}, "not rigid"),
        ({**GOOD, "T_camera_world": MIRRORED}, "mirrors"),
        ({**GOOD, "T_camera_world": np.zeros((4, 4)).tolist()}, "not rigid"),
        ({**GOOD, "distortion": [0.1, 0, 0, 0, 0]}, "distortion"),
        ({**GOOD, "k1": -0.2}, "distortion"),
        ({**GOOD, "clock_offset_s": "soon"}, "clock_offset_s"),
        ({**GOOD, "clock_offset_s": 1e9}, "clock_offset_s"),
    ],
)
def test_a_bad_camera_is_told_in_one_sentence(tmp_path, entry, told):
    with pytest.raises(HeadstudioError, match=told) as refused:
        read_cameras(written(tmp_path / "cameras.json", GOOD, entry), 2)
    assert "\n" not in str(refused.value).strip() and str(tmp_path) in str(refused.value)


def test_no_distortion_may_be_said(tmp_path):
    read_cameras(written(tmp_path / "cameras.json", {**GOOD, "distortion": [0, 0, 0, 0, 0]}, GOOD), 2)


@pytest.mark.parametrize("films", [1, 3])
def test_each_film_has_a_camera(tmp_path, films):
    with pytest.raises(HeadstudioError, match=f"2 cameras for {films} films"):
        read_cameras(written(tmp_path / "cameras.json", GOOD, GOOD), films)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"schema": "headstudio.capture", "schema_version": 1}', "\x00\x01"]
)
def test_a_file_of_something_else_is_refused(tmp_path, content):
    (tmp_path / "cameras.json").write_text(content)
    with pytest.raises(HeadstudioError):
        read_cameras(tmp_path / "cameras.json", 2)


@pytest.mark.parametrize("cameras", [None, 3, {}])
def test_a_list_of_cameras_is_needed(tmp_path, cameras):
    with pytest.raises(HeadstudioError, match="no cameras"):
        read_cameras(written(tmp_path / "cameras.json", cameras=cameras), 2)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(HeadstudioError, match=r"cameras\.json"):
        read_cameras(tmp_path / "cameras.json", 2)
