"""The face crop against a picture whose every colour is known, a naive twin of its algebra, and bad landmarks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay

from headstudio.capture import face_crop
from headstudio.capture.face_crop import ALIGNED_MM, CROP_PX, crop_face, face_crops, face_transform
from headstudio.heads import load_head
from headstudio.heads.arkit import ARKIT_INDEX
from headstudio.records.capture import Capture
from support.tiny import tiny_capture

BROWS, EYES, LIPS, CHIN = (70, 105, 107, 336, 334, 300), (468, 473), (61, 291, 13, 14), 152


@pytest.fixture(scope="module")
def face_mm():
    """Landmarks of the default head seen from the front, y down, by expression."""
    head = load_head()

    def of(**units):
        arkit = torch.zeros(1, 52)
        for name, weight in units.items():
            arkit[0, ARKIT_INDEX[name]] = weight
        points = head.landmark_points(head(torch.zeros(1, head.identities), head.from_arkit(arkit)))[0]
        return points.double().numpy() * (1000, -1000, 1000)

    return of


def placed(points_mm, px_per_mm, angle_deg, centre_px):
    """Landmarks of a face that is scaled, turned in the picture and moved."""
    angle = np.radians(angle_deg)
    turn = px_per_mm * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.concatenate([points_mm[:, :2] @ turn.T + centre_px, points_mm[:, 2:] * px_per_mm], 1), turn


def painted(turn, centre_px, width, height):
    """A picture of smooth waves that are fixed to the face."""
    y, x = np.mgrid[:height, :width] + 0.5
    return np.round(colour((np.stack([x, y], -1) - centre_px) @ np.linalg.inv(turn).T)).astype(np.uint8)


def colour(places_mm):
    x, y = places_mm[..., 0] / 17, places_mm[..., 1] / 17
    waves = np.stack([np.sin(x) * np.cos(y), np.sin(x + 0.7 * y), np.cos(0.8 * x - y)], -1)
    return 128 + 100 * waves


def crop_places_mm():
    """Where on the face the centres of the crop's pixels lie, by a least-squares fit of the two known tables."""
    points = np.array(list(ALIGNED_MM.values()))
    landmarks = np.zeros((478, 3))
    landmarks[list(ALIGNED_MM), :2] = points
    to_crop = face_transform(landmarks)
    axis = np.arange(CROP_PX) + 0.5
    grid = np.stack(np.meshgrid(axis, axis), -1)
    return (grid - to_crop[:, 2]) @ np.linalg.inv(to_crop[:, :2]).T


def into(T, points):
    return points[..., :2] @ T[:, :2].T + T[:, 2]


def test_the_canonical_face_is_the_default_head(face_mm):
    rest = face_mm()[list(ALIGNED_MM), :2]
    assert np.abs(rest - np.array(list(ALIGNED_MM.values()))).max() < 0.5


def test_the_transform_is_the_least_squares_similarity():
    draw = np.random.default_rng(4)
    landmarks = draw.normal(300, 80, (478, 3)).astype(np.float32)
    T = face_transform(landmarks)
    assert np.allclose(T[:, :2] @ T[:, :2].T, np.eye(2) * np.linalg.det(T[:, :2])) and np.linalg.det(T[:, :2]) > 0
    source = landmarks[list(ALIGNED_MM), :2].astype(np.float64)
    at_home = np.zeros((478, 3))
    at_home[list(ALIGNED_MM), :2] = list(ALIGNED_MM.values())
    target = into(face_transform(at_home), at_home)[list(ALIGNED_MM)]
    rows, right = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        right += [u, v]
    a, b, c, d = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    assert np.allclose(T, [[a, -b, c], [b, a, d]], atol=1e-9)


@pytest.mark.parametrize(
    ("px_per_mm", "angle_deg", "centre_px", "size"),
    [
        (0.55, 0, (64, 60), (128, 130)),
        (0.55, 35, (150, 90), (321, 180)),
        (1.0, -20, (200, 260), (400, 520)),
        (2.3, 90, (310, 300), (640, 615)),
        (6.1, 180, (800, 700), (1500, 1500)),
        (0.2, 10, (31.3, 29.9), (64, 62)),
    ],
)
def test_the_same_face_gives_the_same_crop_wherever_it_lies(face_mm, px_per_mm, angle_deg, centre_px, size):
    landmarks, turn = placed(face_mm(), px_per_mm, angle_deg, centre_px)
    crop = crop_face(painted(turn, centre_px, *size), landmarks)
    truth = colour(crop_places_mm())
    shown = (crop.mask[0] == 255).numpy()
    error = np.abs(crop.rgb.permute(1, 2, 0).numpy() - truth)[shown]
    # Enlarging 0.2 pixels per millimetre interpolates waves of 21 pixels linearly over 5 pixels of the crop.
    assert shown.sum() > 3000
    assert error.mean() < (1.0 if px_per_mm > 0.5 else 4.0)
    assert error.max() < (4.0 if px_per_mm > 0.5 else 16.0)


def test_detail_finer_than_the_crop_becomes_its_mean(face_mm):
    landmarks, _ = placed(face_mm(), 4.0, 7, (500, 450))
    y, x = np.mgrid[:1000, :1000]
    image = np.repeat((((x // 2 + y // 2) % 2) * 255).astype(np.uint8)[..., None], 3, -1)
    crop = crop_face(image, landmarks)
    shown = crop.rgb[:, crop.mask[0] == 255].float()
    assert (shown - 127.5).abs().max() < 40 and shown.std() < 12  # point samples would be 0 and 255


@pytest.mark.parametrize("units", [{}, {"jawOpen": 1.0}, {"browInnerUp": 1.0, "browOuterUpLeft": 1.0}])
def test_the_mask_holds_brows_and_chin_and_nothing_beyond(face_mm, units):
    landmarks, _ = placed(face_mm(**units), 2.0, 12, (300, 280))
    T = face_transform(landmarks)
    mask = crop_face(np.full((600, 600, 3), 200, np.uint8), landmarks).mask[0].numpy()

    def at(points):
        column, row = np.floor(points).astype(int).T
        return mask[row, column]

    inside = into(T, landmarks)[[*BROWS, *EYES, *LIPS]]
    assert (at(inside) == 255).all()
    chin, nose = into(T, landmarks)[[CHIN, 4]]
    step = (chin - nose) / np.linalg.norm(chin - nose)
    assert (at(np.stack([chin - 1.5 * step])) == 255).all() and (at(np.stack([chin + 1.5 * step])) == 0).all()
    forehead = into(T, landmarks)[[10, 67, 297]]
    assert (at(forehead - (0, 2)) == 0).all()
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    assert (border == 0).all()


def test_the_mask_is_the_convex_hull(face_mm):
    landmarks, _ = placed(face_mm(jawOpen=0.5), 1.7, -30, (300, 280))
    mask = crop_face(np.full((600, 600, 3), 200, np.uint8), landmarks).mask[0].numpy()
    points = into(face_transform(landmarks), landmarks)[list(face_crop._OUTLINE)]
    hull = Delaunay(points)
    axis = np.arange(CROP_PX) + 0.5
    grid = np.stack(np.meshgrid(axis, axis), -1)
    corners = [hull.find_simplex(grid + offset) >= 0 for offset in ((0.8, 0.8), (0.8, -0.8), (-0.8, 0.8), (-0.8, -0.8))]
    assert (mask[np.all(corners, 0)] == 255).all()
    # A pixel all of whose surroundings lie outside is dark (the hull has no spikes thinner than a pixel).
    assert (mask[~np.any(corners, 0)] == 0).all()
    assert 0 < ((mask > 0) & (mask < 255)).sum() < 400


def test_opening_the_jaw_leaves_the_eyes_where_they_are(face_mm):
    rest = face_transform(placed(face_mm(), 2.0, 0, (300, 280))[0])
    for units in ({"jawOpen": 1.0}, {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0}, {"browInnerUp": 1.0}):
        landmarks, _ = placed(face_mm(**units), 2.0, 0, (300, 280))
        T = face_transform(landmarks)
        assert abs(np.linalg.det(T[:, :2]) / np.linalg.det(rest[:, :2])) ** 0.5 == pytest.approx(1, abs=0.035)
        assert np.abs(into(T, landmarks) - into(rest, landmarks))[list(EYES)].max() < 0.75


def no_face():
    whole = np.random.default_rng(0).uniform(10, 50, (478, 3))
    absent, one, far = whole.copy(), whole.copy(), whole.copy()
    absent[:], one[200, 2], far[33] = np.nan, np.nan, np.inf
    return {"absent": absent, "one value": one, "infinite": far, "one place": np.full((478, 3), 20.0)}


@pytest.mark.parametrize("landmarks", no_face().values(), ids=no_face())
def test_without_a_face_the_crop_is_black(landmarks):
    crop = crop_face(np.full((60, 60, 3), 200, np.uint8), landmarks)
    assert not crop.found and not crop.rgb.any() and not crop.mask.any()


def test_what_lies_outside_the_picture_is_masked(face_mm):
    landmarks, turn = placed(face_mm(), 2.0, 15, (20, 210))
    image = painted(turn, (20, 210), 320, 240)
    crop = crop_face(image, landmarks)
    T = face_transform(landmarks)
    axis = np.arange(CROP_PX) + 0.5
    grid = np.stack(np.meshgrid(axis, axis), -1)
    places = (grid - T[:, 2]) @ np.linalg.inv(T[:, :2]).T
    margin = 3.0  # pixels of the picture: more than a pixel of the crop reaches
    outside = ((places < -margin) | (places > np.array([320, 240]) + margin)).any(-1)
    within = ((places > margin) & (places < np.array([320, 240]) - margin)).all(-1)
    mask = crop.mask[0].numpy()
    whole = crop_face(painted(turn, (20, 210), 320, 240), landmarks, np.ones((240, 320), bool)).mask
    assert torch.equal(whole, crop.mask)
    assert (mask[outside] == 0).all() and (crop.rgb[:, torch.from_numpy(outside)] == 0).all()
    complete = crop_face(np.zeros((900, 900, 3), np.uint8), landmarks + np.array([300, 300, 0])).mask[0].numpy()
    assert (mask[within] == complete[within]).all() and mask[within].any() and complete[outside].any()
    # The same face in a larger picture whose border is declared as padding has the same mask, up to blended edges.
    larger = np.zeros((440, 520, 3), np.uint8)
    larger[100:340, 100:420] = image
    valid = np.zeros((440, 520), bool)
    valid[100:340, 100:420] = True
    padded = crop_face(larger, landmarks + np.array([100, 100, 0]), valid)
    assert (padded.mask.int() - crop.mask.int()).abs().max() <= 2


@pytest.mark.parametrize("px_per_mm", [1 / 150, 1e-3])
def test_a_face_of_one_pixel_is_still_cropped(face_mm, px_per_mm):
    landmarks, _ = placed(face_mm(), px_per_mm, 0, (7.5, 7.5))
    crop = crop_face(np.full((16, 12, 3), 77, np.uint8), landmarks)
    assert crop.found and (crop.rgb[:, crop.mask[0] == 255] == 77).all()


def test_a_face_far_larger_than_the_picture_is_still_cropped(face_mm):
    landmarks, _ = placed(face_mm(), 1e4, 0, (0, 0))
    assert crop_face(np.full((16, 12, 3), 77, np.uint8), landmarks).rgb.shape == (3, CROP_PX, CROP_PX)
    assert not crop_face(np.full((16, 12, 3), 77, np.uint8), landmarks + 1e9).found


def film(folder, face_mm):
    """A capture of noise in which the face drifts, is lost once and leaves the picture at the end."""
    capture = tiny_capture(folder, frames=9, size_px=64)
    landmarks = np.stack([placed(face_mm(jawOpen=i / 8), 0.3, 4 * i, (25 + 4 * i, 30))[0] for i in range(9)])
    landmarks[3] = np.nan
    valid = torch.ones(64, 64, dtype=torch.bool)
    valid[:10] = False
    moved = torch.from_numpy(landmarks.astype(np.float32))
    filmed = replace(capture, views=(replace(capture.views[0], landmarks_px=moved, valid=valid),))
    filmed.save_tables()
    return Capture.load(folder)


def test_crops_of_a_capture_are_those_of_its_frames_and_are_made_once(face_mm, tmp_path, monkeypatch):
    capture = film(tmp_path / "capture", face_mm)
    crops = face_crops(capture)
    assert crops.found.tolist() == [i != 3 for i in range(9)]
    for frame in range(9):
        image = capture.image(frame).permute(1, 2, 0).contiguous().numpy()
        landmarks = capture.views[0].landmarks_px[frame].double().numpy()
        alone = crop_face(image, landmarks, capture.views[0].valid.numpy())
        assert torch.equal(alone.rgb, crops.rgb[frame]) and torch.equal(alone.mask, crops.mask[frame])
    monkeypatch.setattr(face_crop, "crop_face", None)
    some = face_crops(capture, [5, 0, 5])
    assert torch.equal(some.rgb, crops.rgb[[5, 0, 5]]) and len(face_crops(capture, []).rgb) == 0
    assert [p.parent.name for p in (tmp_path / "capture").rglob("face-crops-*")] == ["cache"]
    signal = some.signal()
    assert signal.dtype == torch.float32 and signal.min() >= 0 and 0.2 < signal.max() <= 1


def test_other_landmarks_are_other_crops(face_mm, tmp_path):
    capture = film(tmp_path / "capture", face_mm)
    before = face_crops(capture)
    view = capture.views[0]
    moved = replace(capture, views=(replace(view, landmarks_px=view.landmarks_px + torch.tensor([3.0, 0, 0])),))
    assert not torch.equal(face_crops(moved).rgb, before.rgb)


def test_a_capture_that_cannot_be_written_to_still_gives_its_crops(face_mm, tmp_path):
    capture = film(tmp_path / "capture", face_mm)
    (capture.path / "cache").write_text("in the way")
    assert face_crops(capture, [0]).found.all()


def test_a_damaged_cache_is_made_again(face_mm, tmp_path):
    capture = film(tmp_path / "capture", face_mm)
    crops = face_crops(capture)
    (stored,) = (capture.path / "cache").iterdir()
    stored.write_bytes(stored.read_bytes()[:100])
    assert torch.equal(face_crops(capture).rgb, crops.rgb)
