"""The detectors on real faces: skipped where the clips are absent."""

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from headstudio.capture.config import IngestConfig
from headstudio.capture.decode import open_video
from headstudio.capture.detector import FaceDetector, HandDetector
from headstudio.capture.follow import FaceFollower, box_of
from headstudio.capture.ingest import ingest

VIDEOS = Path(__file__).parents[2].parent / "shared" / "data" / "videos"


def _video(name: str) -> Path:
    path = VIDEOS / name
    if not path.is_file():
        pytest.skip("../shared/data is absent")
    return path


def test_nothing_of_mediapipe_reaches_the_error_stream(capfd):
    with FaceDetector() as detector:
        assert detector.detect(np.zeros((64, 64, 3), np.uint8)) == []
        assert len(detector.find(np.zeros((64, 64, 3), np.uint8))) == 0
    HandDetector().close()
    assert capfd.readouterr().err == ""


def test_a_face_too_small_for_the_whole_picture_is_found_in_tiles():
    frame = next(open_video(_video("model_man_1080x1920p25_20s.mp4")).frames()).image
    small = cv2.resize(frame, (270, 480), interpolation=cv2.INTER_AREA)  # a face of about 100 px
    wide = np.full((1080, 1920, 3), 120, np.uint8)
    wide[500:980, 1500:1770] = small
    with FaceDetector() as detector:
        truth = FaceFollower(detector).look(small).landmarks_px
    with FaceDetector() as detector:
        found = FaceFollower(detector).look(wide).landmarks_px
    assert truth is not None and found is not None
    np.testing.assert_allclose(found[:, :2] - (1500, 500), truth[:, :2], atol=2.0)


def test_windows_give_the_landmarks_of_the_whole_picture():
    frames = [f.image for f in islice(open_video(_video("whgov_address_720p25_20s.mp4")).frames(), 20)]
    with FaceDetector() as whole, FaceDetector() as windowed:
        follower = FaceFollower(windowed)
        for image in frames:
            expected, found = whole.detect(image)[0], follower.look(image).landmarks_px
    assert found is not None
    size = box_of(expected)[2:].max()
    assert np.abs(found[:, :2] - expected[:, :2]).mean() < 0.01 * size


@pytest.mark.slow
@pytest.mark.parametrize("name", ["whgov_address_720p25_20s.mp4", "webcam_400x300p25_30s.mp4"])
def test_a_real_clip_becomes_a_capture(tmp_path, name):
    capture = ingest(_video(name), tmp_path / "capture", IngestConfig(end_s=4.0, size_px=256))
    quality = {k: v.numpy() for k, v in capture.views[0].quality.items()}
    assert capture.frames == 100
    assert np.isfinite(capture.views[0].landmarks_px.numpy()).all()
    assert (quality["confidence"] > 0.5).mean() > 0.97
    assert quality["occlusion"].max() < 0.1
    left, top, width, height = box_of(capture.views[0].landmarks_px.numpy()).T
    assert (left > 0).all() and (top > 10).all() and (left + width < 256).all() and (top + height < 246).all()
    for frame in (0, 99):
        matte = capture.matte(frame)[0].numpy()
        middle = capture.views[0].landmarks_px[frame, 4, :2].int()
        assert matte[middle[1], middle[0]] > 250 and 0.2 < (matte > 128).mean() < 0.8
