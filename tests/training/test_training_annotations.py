"""Labels and normals reach the batch at its resolution: labels unblended, normals of unit length."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from headstudio.heads.parsing import Label
from headstudio.records.capture import Annotation, Capture
from headstudio.records.normal_maps import encode_normals
from headstudio.training.annotation_store import resized_labels, resized_normals
from headstudio.training.batches import BatchStream
from headstudio.training.contract import Source
from headstudio.training.stages import Player, Sampler, Stage
from support.tiny import tiny_capture, tiny_track

BOTH = frozenset({Annotation.PARSING, Annotation.NORMALS})


@pytest.fixture
def source(tmp_path):
    """The right half of frame f is hair, its normals are turned by f degrees about y."""
    capture = tiny_capture(tmp_path / "capture")
    size = capture.size_px
    capture = replace(capture, annotations=capture.annotations | BOTH)
    for frame in range(capture.frames):
        labels = np.full((size, size), Label.SKIN, np.uint8)
        labels[:, size // 2 :] = Label.HAIR
        normals = np.broadcast_to(_turned(frame), (size, size, 3)).copy()
        normals[0] = 0
        for kind, picture in ((Annotation.PARSING, labels), (Annotation.NORMALS, encode_normals(normals))):
            path = capture.picture_path(kind, frame)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
    capture.save_tables()
    loaded = Capture.load(capture.path)
    return Source(loaded, tiny_track(loaded))


def _turned(frame):
    return np.array([np.sin(np.deg2rad(frame)), 0.0, -np.cos(np.deg2rad(frame))])


def _batch(source, sampler):
    player = Player("all", ("*",), {"loss": 1.0})
    stream = BatchStream({"target": (source,)}, Stage("s", 5, (player,), sampler), 0, 0, torch.device("cpu"))
    try:
        return stream.batch(player, 0)
    finally:
        stream.close()


def test_batches_bring_what_was_asked_for(source):
    batch = _batch(source, Sampler(batch_size=4, annotations=BOTH))
    assert batch.parsing.dtype == torch.uint8
    assert batch.parsing[0, 0, 3].tolist() == [Label.SKIN] * 8 + [Label.HAIR] * 8
    for frame, normals in zip(batch.frames, batch.normals, strict=True):
        assert (normals[:, 0] == 0).all()
        assert torch.allclose(normals[:, 5, 5], torch.tensor(_turned(int(frame))).float(), atol=0.006)


def test_batches_bring_nothing_unasked_or_absent(source, tmp_path):
    assert _batch(source, Sampler()).parsing is None and _batch(source, Sampler()).normals is None
    bare = tiny_capture(tmp_path / "bare")
    batch = _batch(Source(bare, tiny_track(bare)), Sampler(annotations=BOTH))
    assert batch.parsing is None and batch.normals is None


def test_a_smaller_batch_has_no_label_that_is_not_in_the_picture(source):
    batch = _batch(source, Sampler(size_px=6, annotations=BOTH))
    assert set(batch.parsing.flatten().tolist()) == {int(Label.SKIN), int(Label.HAIR)}
    assert batch.parsing.shape == (1, 1, 6, 6)
    length = batch.normals.norm(dim=1)
    assert ((length - 1).abs() < 1e-5).logical_or(length == 0).all() and (length > 0).float().mean() > 0.7


def test_labels_are_taken_where_the_new_pixels_lie():
    labels = torch.arange(64, dtype=torch.uint8).reshape(1, 8, 8)
    # The middle of a pixel that covers 2 x 2 lies on their corner; the lower right one is the nearest by rounding.
    assert resized_labels(labels, 4)[0, 0].tolist() == [9, 11, 13, 15]
    assert torch.equal(resized_labels(labels, 8), labels)


def test_normals_are_averaged_over_what_is_known():
    normals = torch.zeros(3, 4, 4)
    normals[0, :, 0], normals[2, :, 1] = 1.0, -1.0  # columns 0 and 1 are known, 2 and 3 are not
    small = resized_normals(normals, 2)
    assert torch.allclose(small[:, 0, 0].norm(), torch.tensor(1.0)) and small[0, 0, 0] > 0 > small[2, 0, 0]
    assert (small[:, :, 1] == 0).all()
