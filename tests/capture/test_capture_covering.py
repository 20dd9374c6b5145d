"""What lies over a painted face whose truth is known: blobs in the colour of the skin, turns, light, blinks."""

import cv2
import numpy as np
import pytest

from headstudio.capture.covering import EXPLAINING, POINTS, REGIONS, Covering, covering, face_colours

FRAMES, TRAIN_END, SIZE_PX = 300, 240, 160
SKIN, HAND = np.array([205, 150, 125]), np.array([165, 105, 85])
PLACES = {
    "forehead": (0.0, -0.75), "right_eye": (-0.4, -0.3), "left_eye": (0.4, -0.3), "nose": (0.0, 0.0),
    "right_cheek": (-0.55, 0.2), "left_cheek": (0.55, 0.2), "mouth": (0.0, 0.45), "chin": (0.0, 0.85),
}  # fmt: skip
"""Where the parts of the painted face lie, in half face sizes."""


def shape() -> np.ndarray:
    """468 points spread over a disk, those that name a part in their places, and the irises."""
    index = np.arange(478)
    radius, angle = np.sqrt((index + 0.5) / 478), index * 2.399963
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    draw = np.random.default_rng(0)
    for name, ids in REGIONS.items():
        points[list(ids)] = np.array(PLACES[name]) + draw.normal(0, 0.05, (len(ids), 2))
    return points


def paint(light: float, side: float, mouth: float, blink: float) -> np.ndarray:
    """A face with brows, eyes and lips under light that may come from one side."""
    image = np.full((SIZE_PX, SIZE_PX, 3), 60, np.uint8)
    grid = (np.mgrid[:SIZE_PX, :SIZE_PX][::-1].transpose(1, 2, 0) - SIZE_PX / 2) / 50
    inside = (grid**2).sum(-1) < 1.1
    shade = light * (1 + 0.15 * side * grid[..., 0])
    image[inside] = (SKIN * shade[inside, None]).clip(0, 255)
    for x in (-0.4, 0.4):
        cv2.ellipse(image, at(x, -0.5), (10, 2), 0, 0, 360, (60, 40, 30), -1)
        cv2.ellipse(image, at(x, -0.3), (8, max(round(4 * (1 - blink)), 1)), 0, 0, 360, (230, 230, 230), -1)
        cv2.circle(image, at(x, -0.3), round(3 * (1 - blink)), (30, 20, 20), -1)
    cv2.ellipse(image, at(0, 0.45), (14, 4 + round(8 * mouth)), 0, 0, 360, (150, 60, 70), -1)
    cv2.ellipse(image, at(0, 0.05), (3, 12), 0, 0, 360, (170, 115, 95), -1)
    return image


def at(x: float, y: float) -> tuple[int, int]:
    return round(SIZE_PX / 2 + 50 * x), round(SIZE_PX / 2 + 50 * y)


class Clip:
    """A painted performance."""

    def __init__(self, seed: int = 0) -> None:
        draw, time = np.random.default_rng(seed), np.arange(FRAMES) / 25
        self.measures = {name: 0.01 * draw.normal(size=FRAMES) for name in EXPLAINING}
        self.measures["yaw_deg"] = 25 * np.sin(1.1 * time)
        self.measures["mouth_open"] = np.maximum(np.sin(4 * time), 0)
        blink = (np.arange(FRAMES) % 50 < 4).astype(float)
        self.measures["eye_open_left"] = self.measures["eye_open_right"] = 1 - blink
        exposure = 1 + 0.1 * np.sin(0.5 * time)
        self.images = [
            paint(e, yaw / 25, mouth, b)
            for e, yaw, mouth, b in zip(
                exposure, self.measures["yaw_deg"], self.measures["mouth_open"], blink, strict=True
            )
        ]
        noise = draw.normal(0, 2, (FRAMES, SIZE_PX, SIZE_PX, 3))
        self.images = [(i + n).clip(0, 255).astype(np.uint8) for i, n in zip(self.images, noise, strict=True)]
        points = SIZE_PX / 2 + 50 * shape() + draw.normal(0, 0.3, (FRAMES, 478, 2))
        self.landmarks = np.concatenate([points, np.zeros((FRAMES, 478, 1))], 2)

    def cover(self, frames: range, part: str, radius: float, colour: np.ndarray = HAND) -> np.ndarray:
        """Paint a blob and return its true share of the points."""
        share = np.zeros(FRAMES)
        centre = np.array(at(*PLACES[part]))
        for frame in frames:
            blob = tuple(int(c) for c in colour)
            cv2.circle(self.images[frame], tuple(int(c) for c in centre), round(50 * radius), blob, -1)
            distance = np.linalg.norm(self.landmarks[frame, :POINTS, :2] - centre, axis=1)
            share[frame] = (distance < 50 * radius).mean()
        return share

    def judged(self) -> Covering:
        colours = np.stack([face_colours(i, p) for i, p in zip(self.images, self.landmarks, strict=True)])
        return covering(colours, self.landmarks, self.measures, TRAIN_END)


def test_a_bare_face_that_turns_speaks_and_blinks_is_not_covered() -> None:
    assert float(Clip().judged().share.max()) < 0.08


@pytest.mark.parametrize("part", ["mouth", "right_eye", "left_cheek", "forehead"])
def test_a_skin_coloured_blob_is_found_where_it_is(part: str) -> None:
    clip, hidden = Clip(), range(60, 85)
    truth = clip.cover(hidden, part, 0.45)
    found = clip.judged()
    bare = np.setdiff1d(np.arange(FRAMES), list(hidden))
    assert float(found.share[bare].max()) < 0.08
    np.testing.assert_allclose(found.share[60:85], truth[60:85], atol=0.08)
    means = {name: share[60:85].mean() for name, share in found.regions.items()}
    assert max(means, key=lambda name: means[name]) == part
    assert means[part] > 0.7


def test_up_to_a_third_of_the_clip_may_be_covered() -> None:
    clip = Clip()
    truth = sum(clip.cover(range(start, start + 13), "mouth", 0.5) for start in range(10, 290, 40))
    found = clip.judged().share
    assert found[truth > 0.1].min() > 0.1 and found[truth == 0].max() < 0.08


def test_training_frames_do_not_know_what_comes_later() -> None:
    clip, other = Clip(), Clip()
    other.cover(range(TRAIN_END, FRAMES), "nose", 0.6)
    one, two = clip.judged(), other.judged()
    np.testing.assert_array_equal(one.share[:TRAIN_END], two.share[:TRAIN_END])
    assert two.share[TRAIN_END:].min() > 0.1


def test_frames_without_a_face_are_unknown_and_harm_nothing() -> None:
    clip = Clip()
    clip.landmarks[20:30] = np.nan
    for name in clip.measures:
        clip.measures[name] = np.where(np.arange(FRAMES) // 10 == 2, np.nan, clip.measures[name])
    found = clip.judged()
    assert np.isnan(found.share[20:30]).all() and not np.isnan(np.delete(found.share, range(20, 30))).any()
    assert np.nanmax(found.share) < 0.08


def test_a_clip_too_short_to_know_the_face_says_nothing() -> None:
    clip = Clip()
    colours = np.stack([face_colours(i, p) for i, p in zip(clip.images, clip.landmarks, strict=True)])
    few = {name: values[:30] for name, values in clip.measures.items()}
    assert not covering(colours[:30], clip.landmarks[:30], few, 30).share.any()


def test_colours_are_those_under_the_landmarks_at_any_size() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    image[..., 0], image[..., 1] = np.linspace(0, 255, 300)[None], np.linspace(0, 255, 200)[:, None]
    landmarks = np.concatenate([np.array([150, 100]) + 60 * shape(), np.zeros((478, 1))], 1)
    found = face_colours(image, landmarks)[:, :2].astype(float)
    expected = (landmarks[:POINTS, :2] - 0.5) * (255 / np.array([299, 199]))
    assert np.abs(found - expected).max() < 3
    large = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    assert np.abs(face_colours(large, landmarks * 2)[:, :2] - found).max() < 4
    assert not face_colours(image, np.full((478, 3), np.nan)).any()
    assert face_colours(image, landmarks + np.array([400, 0, 0])).shape == (POINTS, 3)
