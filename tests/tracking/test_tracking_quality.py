"""Which frames are trusted, why others are not, and what is said about them."""

from dataclasses import replace

import pytest
import roma
import torch
from tracking_actor import FACING

from headstudio.records.capture import CaptureView, Crop, Source
from headstudio.records.track_quality import Flaw
from headstudio.tracking.config import QualityConfig
from headstudio.tracking.points import FrameState
from headstudio.tracking.quality import Judgement, judge, runs, sound, yaw_rad

FRAMES, LONG = 6, 100
ERROR_M = torch.full((FRAMES,), 0.001)
SEEN = torch.ones(FRAMES, dtype=torch.bool)


def turned(yaw_deg: list[float]) -> FrameState:
    angles = torch.deg2rad(torch.tensor(yaw_deg))[:, None] * torch.tensor([[0.0, 1.0, 0.0]])
    zeros = torch.zeros(len(yaw_deg), 3)
    return FrameState(FACING @ roma.rotvec_to_rotmat(angles), zeros, zeros, zeros[:, None, :2].repeat(1, 2, 1), zeros)


def view(frames: int = FRAMES, **quality: list[float] | torch.Tensor) -> CaptureView:
    measures = {name: torch.as_tensor(values, dtype=torch.float32) for name, values in quality.items()}
    return CaptureView(
        "main", Source("a.mp4", "0", 8, 8, 0, 0.0, "", False), Crop(0, 0, 8), torch.arange(frames).double() / 25,
        torch.zeros(frames, 478, 3), torch.ones(8, 8, dtype=torch.bool), measures,
    )  # fmt: skip


def during(*spans: tuple[int, int, float], rest: float = 0.0) -> torch.Tensor:
    """A measure of the long clip that has another value in spans of frames."""
    values = torch.full((LONG,), rest)
    for start, stop, value in spans:
        values[start:stop] = value
    return values


def judged(shown: CaptureView, yaw_deg: torch.Tensor | None = None, seen: torch.Tensor | None = None) -> Judgement:
    """The long clip with an even fit."""
    yaw = torch.zeros(LONG) if yaw_deg is None else yaw_deg
    there = torch.ones(LONG, dtype=torch.bool) if seen is None else seen
    learning = torch.arange(LONG) < 80
    return judge(shown, turned(yaw.tolist()), torch.full((LONG,), 0.001), there, learning, QualityConfig())


def frames_of(found: Judgement, flaw: Flaw) -> list[int]:
    return torch.nonzero(found.quality.flaws[flaw])[:, 0].tolist()


@pytest.mark.parametrize("yaw_deg", [-70.0, -20.0, 0.0, 45.0, 80.0])
def test_yaw_is_the_angle_to_the_camera(yaw_deg: float) -> None:
    found = torch.rad2deg(yaw_rad(turned([yaw_deg]).rotation))[0]
    assert abs(float(found)) == pytest.approx(abs(yaw_deg), abs=1e-3)


def test_turned_away_frames_are_not_usable() -> None:
    found = judge(view(), turned([0, 30, 59, 61, -61, -100]), ERROR_M, SEEN, SEEN, QualityConfig())
    assert found.usable.tolist() == [True, True, True, False, False, False]
    assert found.confidence[0] == found.confidence[1] > found.confidence[2] > found.confidence[3]
    assert found.quality.flaws[Flaw.TURNED].tolist() == (~found.usable).tolist()


def test_outliers_lose_confidence() -> None:
    error = ERROR_M * torch.tensor([1.0, 0.5, 1.0, 3.0, 8.0, 20.0])
    found = judge(view(), turned([0.0] * FRAMES), error, SEEN, SEEN, QualityConfig())
    assert (found.confidence[2:].diff() < 0).all()
    assert found.usable.tolist() == [True, True, True, True, False, False]
    assert found.quality.flaws[Flaw.UNSURE].tolist() == (~found.usable).tolist()


def test_a_clip_that_never_fits_is_not_saved_by_its_median() -> None:
    found = judge(view(), turned([0.0] * FRAMES), torch.full((FRAMES,), 0.02), SEEN, SEEN, QualityConfig())
    assert not found.usable.any() and found.quality.score == 0.0
    assert "badly throughout (20.0 mm)" in found.quality.sentences[0]


def test_measures_of_the_capture_count() -> None:
    quality = view(
        sharpness=[100, 100, 100, 35, 100, float("nan")],
        confidence=[1, 0.1, 1, 1, 1, 1],
        occlusion=[0, 0, 0.5, 0, 0, 0],
        hands=[0, 0, 0.5, 0, 0, 0],
    )
    found = judge(quality, turned([0.0] * FRAMES), ERROR_M, SEEN, SEEN, QualityConfig())
    assert found.usable.tolist() == [True, False, False, False, True, True]
    assert [found.quality.main(frame) for frame in range(4)] == [None, Flaw.UNSURE, Flaw.HAND, Flaw.BLURRED]
    assert bool(torch.isfinite(found.confidence).all())


def test_frames_without_a_face_have_no_confidence_and_do_not_shift_the_median() -> None:
    seen = torch.tensor([True, True, True, False, False, False])
    error = torch.tensor([0.001, 0.001, 0.001, 1.0, 1.0, 1.0])
    found = judge(view(), turned([0.0] * FRAMES), error, seen, SEEN, QualityConfig())
    assert torch.equal(found.usable, seen) and torch.equal(found.confidence > 0, seen)
    assert found.quality.usual_error_m == pytest.approx(0.001)


def test_what_is_usual_is_said_by_training_frames() -> None:
    learning = torch.arange(FRAMES) < 3
    error = torch.tensor([0.001, 0.001, 0.001, 0.004, 0.004, 0.004])
    found = judge(view(), turned([0.0] * FRAMES), error, SEEN, learning, QualityConfig())
    assert found.quality.usual_error_m == pytest.approx(0.001)
    assert float(found.confidence[:3].min()) > 2 * float(found.confidence[3:].max())


def test_limits_are_those_of_the_config() -> None:
    config = replace(QualityConfig(), largest_yaw_deg=20.0)
    found = judge(view(), turned([0, 10, 25, 0, 0, 0]), ERROR_M, SEEN, SEEN, config)
    assert found.usable.tolist() == [True, True, False, True, True, True]


def test_a_hand_is_named_with_what_it_covers_to_its_fringe() -> None:
    over = during((30, 33, 0.06), (33, 50, 0.3), (50, 53, 0.06))
    found = judged(
        view(LONG, occlusion=over, hands=during((40, 42, 0.2)), covered_mouth=over * 3, covered_left_eye=over / 10)
    )
    assert frames_of(found, Flaw.HAND) == list(range(30, 53))
    assert found.quality.sentences[1] == "frames 30-52 (1.2-2.1 s): a hand covers the mouth; skipped."
    assert found.quality.sentences[0].startswith("77 of 100 frames can be used; score 0.76")
    assert found.quality.sentences[2] == "For the next recording: keep the hands away from the face."


def test_what_is_no_hand_is_called_something() -> None:
    over = during((30, 50, 0.5))
    parts = {f"covered_{name}": over * 2 for name in ("right_eye", "left_eye", "nose")}
    found = judged(view(LONG, occlusion=over, **parts))
    assert frames_of(found, Flaw.COVERED) == list(range(30, 50))
    assert "something covers the eyes and the nose" in found.quality.sentences[1]


def test_a_flicker_of_colours_covers_nothing() -> None:
    found = judged(view(LONG, occlusion=during((40, 42, 0.4))))
    assert bool(found.usable.all())
    assert found.quality.sentences == ("100 of 100 frames can be used; score 0.98 of 1.",)


@pytest.mark.parametrize("coming", [True, False])
def test_a_fast_turn_is_no_hand(coming: bool) -> None:
    """Colours do not fit while the landmarks have not found back to the face."""
    yaw, over = during((30, 40, 75.0)), during((40, 48, 0.4))
    if coming:
        yaw, over = yaw.flip(0), over.flip(0)
    found = judged(view(LONG, occlusion=over), yaw)
    assert not frames_of(found, Flaw.HAND) and not frames_of(found, Flaw.COVERED)
    assert len(frames_of(found, Flaw.MISPLACED)) == 8 and len(frames_of(found, Flaw.TURNED)) == 10
    assert any("turned away by up to 75 degrees" in sentence for sentence in found.quality.sentences)
    assert any("landmarks do not lie on the face" in sentence for sentence in found.quality.sentences)


def test_landmarks_that_come_back_are_not_trusted_at_once() -> None:
    seen = torch.ones(LONG, dtype=torch.bool)
    seen[20:30] = False
    over = during((20, 30, float("nan")), (30, 34, 0.3))
    found = judged(view(LONG, occlusion=over), seen=seen)
    assert frames_of(found, Flaw.NO_FACE) == list(range(20, 30))
    assert frames_of(found, Flaw.MISPLACED) == list(range(30, 34))


def test_stretches_are_told_in_order_and_the_longest_first_when_there_are_many() -> None:
    sharpness = torch.ones(LONG)
    for start in range(2, 98, 6):
        sharpness[start : start + (3 if start == 50 else 1)] = 0.1
    found = judged(view(LONG, sharpness=sharpness)).quality.sentences
    assert len(found) == 1 + 12 + 1
    assert any("frames 50-52" in sentence for sentence in found)
    assert found[-1] == "4 shorter stretches of 4 frames in all are skipped as well."
    told_frames = [int(sentence.split()[1].split("-")[0]) for sentence in found[1:13]]
    assert told_frames == sorted(told_frames)


def test_a_good_frame_or_two_do_not_part_a_stretch() -> None:
    sharpness = torch.ones(LONG)
    sharpness[[10, 11, 13, 16, 30]] = 0.1
    found = judged(view(LONG, sharpness=sharpness)).quality.sentences
    assert found[1].startswith("frames 10-16 (0.4-0.6 s): the face is blurred")
    assert found[2].startswith("frame 30 (1.2 s): the face is blurred")


def test_a_frame_of_another_flaw_does_not_part_a_stretch() -> None:
    over = during((30, 60, 0.3))
    hidden = view(LONG, occlusion=over, hands=over, confidence=during((40, 42, 0.01), rest=1.0), covered_chin=over * 3)
    seen = torch.ones(LONG, dtype=torch.bool)
    seen[50:52] = False
    found = judged(hidden, seen=seen).quality.sentences
    assert found[1] == "frames 30-59 (1.2-2.4 s): a hand covers the chin; skipped."


def test_the_larger_of_the_fitted_and_the_detected_yaw_counts() -> None:
    found = judged(view(LONG, yaw_deg=during((20, 30, -64.0))), during((60, 70, 64.0)))
    assert frames_of(found, Flaw.TURNED) == [*range(20, 30), *range(60, 70)]
    assert "turned away by up to 64 degrees" in found.quality.sentences[1]


def test_sound_frames_are_chosen_before_anything_is_fitted() -> None:
    learning = torch.arange(FRAMES) < 5
    shown = view(
        occlusion=[0, 0.5, 0, 0, 0, 0], yaw_deg=[0, 0, 70, 0, 0, 0], sharpness=[1, 1, 1, 0.1, 1, 1]
    )  # fmt: skip
    seen = torch.tensor([True, True, True, True, True, False])
    assert sound(shown, seen, learning, QualityConfig()).tolist() == [True, False, False, False, True, False]
    assert torch.equal(sound(view(), seen, learning, QualityConfig()), seen)
    covered = view(occlusion=[1.0] * FRAMES)
    assert torch.equal(sound(covered, seen, learning, QualityConfig()), seen)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [([0, 0], []), ([1, 1], [(0, 2)]), ([1, 0, 1, 1, 0], [(0, 1), (2, 4)]), ([0, 1], [(1, 2)]), ([1], [(0, 1)])],
)
def test_runs_are_stretches_of_true(flags: list[int], expected: list[tuple[int, int]]) -> None:
    assert [(run.start, run.stop) for run in runs(torch.tensor(flags).bool())] == expected
