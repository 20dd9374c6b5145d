"""Overlays: on the head, in the right place, frame by frame at the right time."""

from dataclasses import replace
from pathlib import Path

import av
import pytest
import torch
from tracking_actor import SIZE_PX, perform, write_capture

from headstudio.records.capture import Capture
from headstudio.records.track import Track
from headstudio.tracking.config import PhotometricConfig, SmoothingConfig, TrackingConfig
from headstudio.tracking.overlay import contact_sheet, overlay_image, write_overlay
from headstudio.tracking.tracker import track

FRAMES = 5


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Capture, Track]:
    landmarks = perform_landmarks()
    capture = write_capture(tmp_path_factory.mktemp("overlay") / "c", landmarks, fps=12.5)
    config = TrackingConfig(
        focal_px=500.0, photometric=PhotometricConfig(enabled=False), smoothing=SmoothingConfig(enabled=False)
    )
    return capture, track(capture, config)


def perform_landmarks() -> torch.Tensor:
    from headstudio.heads import load_head

    landmarks = perform(load_head("makehuman"), frames=FRAMES).landmarks_px
    landmarks[3] = torch.nan
    return landmarks


def test_the_mesh_lies_where_the_landmarks_are(pair: tuple[Capture, Track]) -> None:
    capture, found = pair
    picture = overlay_image(capture, found, 0)
    changed = (picture.float() - capture.image(0).float()).abs().sum(0) > 12
    x, y = capture.views[0].landmarks_px[0, :, :2].long().unbind(1)
    assert changed[y, x].float().mean() > 0.9
    assert not changed[:8].any() and changed.float().mean() < 0.9


def test_a_frame_without_a_face_has_no_detected_dots(pair: tuple[Capture, Track]) -> None:
    capture, found = pair

    def red(frame: int) -> int:
        r, g, b = overlay_image(capture, found, frame).int()
        return int(((r > 200) & (g < 100) & (b < 100)).sum())

    assert red(3) == 0
    # Where the fit is exact its green dots cover the red ones, so a shifted detection is drawn here.
    moved = replace(capture.views[0], landmarks_px=capture.views[0].landmarks_px + 7)
    capture = replace(capture, views=(moved,))
    assert red(0) > 50


def test_a_skipped_frame_has_a_border(pair: tuple[Capture, Track]) -> None:
    capture, found = pair
    skipped = replace(found, usable=torch.zeros_like(found.usable))
    used = replace(found, usable=torch.ones_like(found.usable))
    bordered, plain = overlay_image(capture, skipped, 0), overlay_image(capture, used, 0)
    different = (bordered != plain).any(0)
    assert different[0].all() and different[-1].all() and different[:, 0].all() and different[:, -1].all()
    assert not different[16:-16, 16:-16].any()


def test_video_has_every_frame_at_its_time(pair: tuple[Capture, Track], tmp_path: Path) -> None:
    capture, found = pair
    write_overlay(capture, found, tmp_path / "o.mp4")
    with av.open(str(tmp_path / "o.mp4")) as container:
        frames = list(container.decode(video=0))
    assert [float(f.pts * f.time_base) for f in frames] == pytest.approx(capture.views[0].times_s.tolist(), abs=1e-3)
    shown = torch.from_numpy(frames[1].to_ndarray(format="rgb24")).permute(2, 0, 1).float()
    assert float((shown - overlay_image(capture, found, 1).float()).abs().mean()) < 8


def test_contact_sheet_has_one_tile_per_frame(pair: tuple[Capture, Track]) -> None:
    capture, found = pair
    sheet = contact_sheet(capture, found, [0, 2, 4], columns=2)
    assert sheet.shape == (3, 2 * SIZE_PX, 2 * SIZE_PX)
    assert torch.equal(sheet[:, :SIZE_PX, SIZE_PX:], overlay_image(capture, found, 2))
    assert not sheet[:, SIZE_PX:, SIZE_PX:].any()
