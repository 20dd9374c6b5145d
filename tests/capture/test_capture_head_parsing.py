"""Parsing without a network, on a head painted in plain colours whose labels are known at every pixel."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter
from torch.nn.functional import one_hot

from headstudio.capture.colour_models import ColourModel
from headstudio.capture.head_parsing import HeadParser
from headstudio.capture.head_zones import HeadProjector, away_from
from headstudio.capture.painters import HeadLabels
from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import rigid, transform
from headstudio.heads import load_head
from headstudio.heads.base import Articulation
from headstudio.heads.parsing import NAMED, Label, vertex_labels
from headstudio.records.capture import Annotation, Capture
from headstudio.records.track import HeadIdentity
from headstudio.render.labels import triangle_labels
from headstudio.render.normals import vertex_normals
from headstudio.render.rasterise import rasterise
from headstudio.training.contract import Source
from support.tiny import tiny_capture, tiny_track

SIZE, FRAMES = 128, 6
COLOURS = {
    Label.BACKGROUND: (120, 150, 120),
    Label.SKIN: (214, 160, 130),
    Label.NECK: (196, 144, 116),
    Label.EARS: (214, 150, 124),
    Label.EYES: (235, 235, 235),
    Label.MOUTH: (90, 20, 30),
    Label.HAIR: (60, 40, 28),
    Label.CLOTH: (40, 70, 160),
}
HAIR_M = 0.012


@pytest.fixture(scope="module")
def head():
    return load_head("makehuman")


@pytest.fixture(scope="module")
def haired(head, tmp_path_factory):
    return _painted(head, tmp_path_factory.mktemp("haired") / "capture", hair_m=HAIR_M)


@pytest.fixture(scope="module")
def bald(head, tmp_path_factory):
    return _painted(head, tmp_path_factory.mktemp("bald") / "capture", hair_m=0.0)


def _painted(head, path, hair_m):
    """The capture, its true track, and its true labels: a head with a cap of hair over a blue shirt."""
    capture = tiny_capture(path, FRAMES, SIZE)
    track = tiny_track(capture, head.name, head.identities, head.expressions)
    turns = torch.linspace(-0.5, 0.5, FRAMES)[:, None] * torch.tensor([0.15, 1.0, 0.1])
    facing = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    poses = facing @ rigid(turns, torch.zeros(FRAMES, 3))
    poses[:, :3, 3] = torch.tensor([0.0, 0.01, 0.62])
    # Some frames smile, all are closer to the middle of the family than random persons.
    track = replace(
        track,
        identity=HeadIdentity(head.name, torch.zeros(head.identities)),
        expression=0.2 * track.expression,
        T_world_head=poses,
    )
    truth = np.stack([_paint(head, capture, track, frame, hair_m) for frame in range(FRAMES)])
    return Source(Capture.load(path), track), truth


def _paint(head, capture, track, frame, hair_m):
    index = torch.tensor([frame])
    labels = vertex_labels(head, scalp=Label.HAIR if hair_m else Label.SKIN)
    state = Articulation(*(v[index] for v in (track.expression, track.neck_rad, track.jaw_rad, track.gaze_rad)))
    posed = head.pose(head.neutral(track.identity.coefficients[None]), state)
    lifted = vertex_normals(posed, head.triangles) * hair_m * head.region("scalp")[:, None]
    view = track.view(index)
    fragments = rasterise(transform(track.T_world_head[index], posed + lifted), head.triangles, view.camera, True)
    triangles = triangle_labels(one_hot(labels, len(NAMED)).float(), head.triangles)
    truth = torch.cat([triangles, triangles.new_zeros(1)])[fragments.triangle[0].long()].numpy()
    rows, columns = np.mgrid[:SIZE, :SIZE]
    shirt = (rows > 0.8 * SIZE) & (np.abs(columns - SIZE / 2) < 0.45 * SIZE) & (truth == 0)
    shirt |= (rows > 0.86 * SIZE) & (truth == Label.NECK)
    truth[shirt] = Label.CLOTH
    noise = np.random.default_rng(frame).normal(0, 4, (SIZE, SIZE, 3))
    shade = 0.75 + 0.4 * columns[..., None] / SIZE
    flat = np.array([COLOURS[label] for label in NAMED])[truth] * shade
    image = cv2.GaussianBlur(np.clip(flat + noise, 0, 255).astype(np.uint8), (0, 0), 0.5)
    Image.fromarray(image).save(capture.frame_path(frame), quality=95, subsampling=0)
    Image.fromarray(((truth > 0) * 255).astype(np.uint8)).save(capture.matte_path(frame))
    return truth


def _iou(found, truth, *labels):
    here, there = np.isin(found, labels), np.isin(truth, labels)
    return (here & there).sum() / (here | there).sum()


def test_the_regions_of_a_painted_head_are_found(head, haired):
    source, truth = haired
    parser = HeadParser(source.capture, source.track, head)
    found = np.stack([parser.parse(frame) for frame in range(FRAMES)])
    assert not parser.bald
    # Between teeth of the mesh's hairline that are two pixels wide nothing can be told: borders are left out.
    settled = np.stack([minimum_filter(labels, 3) == maximum_filter(labels, 3) for labels in truth])
    for labels in ((Label.SKIN, Label.NECK), (Label.HAIR,), (Label.CLOTH,), (Label.BACKGROUND,)):
        assert _iou(found[settled], truth[settled], *labels) > 0.9, labels
    # One pixel of border all round costs a region that is some pixels wide a third.
    assert _iou(found, truth, Label.EYES) > 0.6


def test_hair_is_found_beyond_the_bare_head(head, haired):
    """What the head alone, without colours and matte, could not know."""
    source, truth = haired
    projector = HeadProjector(head, source.track, SIZE)
    projected = np.stack([projector.zones(frame).projected for frame in range(FRAMES)])
    parser = HeadParser(source.capture, source.track, head)
    found = np.stack([parser.parse(frame) for frame in range(FRAMES)])
    beyond = (truth == Label.HAIR) & (projected == 0)
    assert beyond.sum() > 300 and (found[beyond] == Label.HAIR).mean() > 0.9
    assert _iou(found, truth, Label.HAIR) > _iou(projected, truth, Label.HAIR) + 0.05


def test_a_bald_head_has_no_hair(head, bald):
    source, truth = bald
    parser = HeadParser(source.capture, source.track, head)
    found = np.stack([parser.parse(frame) for frame in range(FRAMES)])
    assert parser.bald and (found == Label.HAIR).mean() < 0.01
    assert _iou(found, truth, Label.SKIN, Label.NECK, Label.EARS) > 0.93
    assert _iou(found, truth, Label.EARS) > 0.6


def test_only_training_frames_teach_colours(head, haired, tmp_path):
    import shutil

    source, _ = haired
    shutil.copytree(source.capture.path, tmp_path / "capture")
    other = Capture.load(tmp_path / "capture")
    for frame in other.held_out_frames:
        Image.fromarray(np.full((SIZE, SIZE, 3), (255, 0, 255), np.uint8)).save(other.frame_path(frame))
    before, after = (HeadParser(c, source.track, head).colours[Label.SKIN].means for c in (source.capture, other))
    assert np.array_equal(before, after)


def test_padding_is_unknown_and_a_matte_is_needed(head, haired):
    source, _ = haired
    view = source.capture.views[0]
    valid = view.valid.clone()
    valid[:, :10] = False
    padded = replace(source.capture, views=(replace(view, valid=valid),))
    labels = HeadParser(padded, source.track, head).parse(1)
    assert (labels[:, :10] == Label.UNKNOWN).all() and (labels[:, 10:] != Label.UNKNOWN).all()
    bare = replace(source.capture, annotations=frozenset({Annotation.LANDMARKS}))
    with pytest.raises(HeadstudioError, match="needs mattes"):
        HeadParser(bare, source.track, head)


def test_the_key_follows_the_track(head, haired):
    source, _ = haired
    first = HeadLabels(source.capture, source.track, head).key
    assert HeadLabels(source.capture, source.track, head).key == first
    moved = replace(source.track, expression=source.track.expression + 0.1)
    assert HeadLabels(source.capture, moved, head).key != first


def test_a_mixture_tells_its_own_colours_from_others():
    draw = np.random.default_rng(0)
    dark, light = draw.normal((60, 130, 130), 4, (500, 3)), draw.normal((180, 140, 150), 6, (500, 3))
    model = ColourModel.fit(np.concatenate([dark, light]))
    own, other = model.log_likelihood(dark), model.log_likelihood(draw.normal((120, 90, 90), 4, (500, 3)))
    assert own.min() > other.max()
    # A density: its sum over a grid that holds all of it is one.
    axes = np.meshgrid(*(np.arange(20, 240, 4.0),) * 3, indexing="ij")
    assert np.exp(model.log_likelihood(np.stack(axes, -1))).sum() * 4**3 == pytest.approx(1, abs=0.02)
    assert ColourModel.fit(dark[:10]) is None


def test_distances_from_a_region_are_signed():
    region = np.zeros((20, 20), bool)
    region[5:15, 5:15] = True
    distance = away_from(region, 10.0)
    assert distance[10, 0] == pytest.approx(0.5, abs=0.06) and distance[10, 9] == pytest.approx(-0.5, abs=0.06)
