"""Clean plates: given as pictures, found in the clip, and refused."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from headstudio.errors import HeadstudioError
from headstudio.methods.hybrid_head.plates import FILE, clean_plate, portrait
from support.tiny import tiny_source

FRAMES = 15


@pytest.fixture
def source(tmp_path):
    """A striped room, in every frame a little different, before which a bright square wanders."""
    source = tiny_source(tmp_path / "capture", frames=FRAMES)
    capture = source.capture
    for frame in range(FRAMES):
        picture, matte = room() + noise(frame), np.zeros((16, 16), np.uint8)
        left = frame % 8
        picture[6:12, left : left + 6] = 250
        matte[6:12, left : left + 6] = 255
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(capture.frame_path(frame), quality=100)
        Image.fromarray(matte).save(capture.matte_path(frame))
    return source


def room():
    return np.broadcast_to((40 + 10 * np.arange(16))[:, None, None], (16, 16, 3)).astype(float)


def noise(frame):
    return np.random.default_rng(frame).normal(0, 3, (16, 16, 3))


def test_the_room_is_found_behind_who_moves(source):
    found = clean_plate(source, 16, FRAMES)
    assert not found.given
    always = torch.zeros(16, 16, dtype=torch.bool)
    always[6:12, 7] = True  # covered whatever the frame, or nearly
    seen = found.seen[0] & ~always
    wanted = torch.from_numpy(room()).permute(2, 0, 1) / 255
    assert found.seen.float().mean() > 0.8
    # A median of 4 to 12 frames with noise of 3/255, stored as JPEG.
    assert (found.rgb - wanted).abs().mean(0)[seen].mean() < 3 / 255
    assert (found.rgb - wanted).abs().mean(0)[seen].max() < 20 / 255


def test_the_median_is_the_naive_one(source):
    found = clean_plate(source, 16, FRAMES)
    capture, frames = source.capture, list(source.capture.train_frames)
    for row, column in ((0, 0), (3, 9), (14, 4), (8, 15)):
        values = []
        for frame in frames:
            matte = capture.matte(frame)[0].float() / 255
            near = matte[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            if near.max() < 0.05:
                values.append(capture.image(frame)[:, row, column].float() / 255)
        assert len(values) >= 3 and found.seen[0, row, column]
        # torch's median is the lower of two middle ones
        wanted = torch.stack(values).sort(0).values[(len(values) - 1) // 2]
        torch.testing.assert_close(found.rgb[:, row, column], wanted, atol=1e-4, rtol=0)


def test_where_the_person_always_is_nothing_was_seen(source):
    for frame in range(FRAMES):
        matte = np.array(Image.open(source.capture.matte_path(frame)))
        matte[12:] = 255
        Image.fromarray(matte).save(source.capture.matte_path(frame))
    found = clean_plate(source, 16, FRAMES)
    assert not found.seen[0, 12:].any() and found.seen[0, :4].all()
    assert torch.isfinite(found.rgb).all() and found.rgb.min() >= 0 and found.rgb.max() <= 1


@pytest.mark.parametrize("side", [16, 32])
def test_a_given_plate_of_the_size_of_the_frames_is_taken(source, side):
    Image.fromarray(room().astype(np.uint8)).save(source.capture.path / FILE)
    found = clean_plate(source, side, FRAMES)
    assert found.given and found.seen.all() and found.rgb.shape == (3, side, side)
    wanted = torch.from_numpy(room()).permute(2, 0, 1)[:, :, :1].repeat_interleave(side // 16, 1) / 255
    torch.testing.assert_close(found.rgb, wanted.expand_as(found.rgb).float(), atol=0.01, rtol=0)


def test_a_given_plate_of_the_size_of_the_video_is_cut_like_its_frames(source):

    capture = source.capture
    wide = np.tile(np.arange(0, 200, 5, dtype=np.uint8)[None, :, None], (24, 1, 3))  # 24 x 40, brighter to the right
    Image.fromarray(wide).save(capture.path / FILE)
    view = capture.views[0]
    filmed = dataclasses.replace(view.source, width_px=40, height_px=24)
    crop = dataclasses.replace(view.crop, left_px=10.0, top_px=4.0, side_px=16.0)
    moved = dataclasses.replace(capture, views=(dataclasses.replace(view, source=filmed, crop=crop),))
    found = clean_plate(dataclasses.replace(source, capture=moved), 16, FRAMES)
    wanted = torch.from_numpy(wide[4:20, 10:26]).permute(2, 0, 1).float() / 255
    torch.testing.assert_close(found.rgb, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("content", [b"", b"no picture", "wrong size", "folder"])
def test_a_plate_that_does_not_fit_is_refused(source, content):
    where = source.capture.path / FILE
    if content == "folder":
        where.mkdir()
    elif content == "wrong size":
        Image.new("RGB", (20, 10)).save(where)
    else:
        where.write_bytes(content)
    with pytest.raises(HeadstudioError, match="clean plate"):
        clean_plate(source, 16, FRAMES)


def test_the_portrait_is_the_mean_of_training_frames(source):
    frames = list(source.capture.train_frames)
    wanted = torch.stack([source.capture.image(frame).float() / 255 for frame in frames]).mean(0)
    torch.testing.assert_close(portrait(source, 16, len(frames)), wanted, atol=1e-4, rtol=0)
