"""The follower, the process it lives in, and that turning all joints at once changes no bit."""

import os
import time

import numpy as np
import pytest
import roma
import torch
from live_people import SIZE_PX, performed

from headstudio.errors import HeadstudioError
from headstudio.heads import load_head
from headstudio.live.apart import Apart
from headstudio.live.following import Follower, Met
from headstudio.motion.arkit import INDEX
from headstudio.records.channels import ARKIT, HEAD_POSE
from headstudio.tracking.points import landmark_model


class Lodger:
    """Lives in another process."""

    def __init__(self, value, failing=False):
        if failing:
            raise HeadstudioError("nobody is at home", where="the house", next_step="ring again")
        self.value = value

    def add(self, more):
        self.value = self.value + more
        return self.value, os.getpid()

    def fail(self, kind):
        raise HeadstudioError("the stairs broke", next_step="mend them") if kind == "told" else ValueError("a step")

    def leave(self):
        os._exit(3)


def test_an_object_lives_in_another_process_and_remembers():
    lodger = Apart(Lodger, np.arange(3))
    try:
        first, there = lodger.call("add", 1)
        second, again = lodger.call("add", 1)
        assert second.tolist() == [2, 3, 4] and first.tolist() == [1, 2, 3] and there == again != os.getpid()
        with pytest.raises(HeadstudioError, match="the stairs broke: mend them"):
            lodger.call("fail", "told")
        with pytest.raises(HeadstudioError, match=r"the tracker failed: ValueError \(a step\)"):
            lodger.call("fail", "bug")
        assert lodger.call("add", 0)[0].tolist() == [2, 3, 4]
    finally:
        lodger.close()
    lodger.close()
    with pytest.raises(ProcessLookupError):
        os.kill(there, 0)


def test_what_fails_at_home_is_told_to_whoever_calls():
    lodger = Apart(Lodger, 0, True)
    for _ in range(2):
        with pytest.raises(HeadstudioError, match=r"nobody is at home \(the house\): ring again"):
            lodger.call("add", 1)
    lodger.close()


def test_a_process_that_dies_costs_a_sentence():
    lodger = Apart(Lodger, 0)
    with pytest.raises(HeadstudioError, match="the tracker's process has ended"):
        lodger.call("leave")
    with pytest.raises(HeadstudioError, match="the tracker's process has ended"):
        lodger.call("add", 1)
    lodger.close()


@pytest.fixture(scope="module")
def met():
    """A follower that has met somebody, its answers on the way, and the truth."""
    landmarks_px, jaw = performed(110, 80)
    follower = Follower(meeting_s=3.0)
    answers = [follower.step(points, frame / 25, SIZE_PX, SIZE_PX) for frame, points in enumerate(landmarks_px)]
    return landmarks_px, jaw, answers


def test_three_seconds_of_a_face_are_waited_for_and_told_at_once(met):
    _, _, answers = met
    assert [len(answer.signals) for answer in answers[:75]] == [0] * 75
    assert [answer.left_s for answer in answers[:75]] == pytest.approx([3 - frame / 25 for frame in range(75)])
    assert 10 < len(answers[75].signals) <= 76 and answers[75].signals[-1].time_s == 3.0
    assert answers[75].met is not None and all(len(answer.signals) == 1 for answer in answers[76:])


def test_who_was_met_is_followed(met):
    landmarks_px, jaw, answers = met
    person = Met.from_plain(answers[75].met)
    assert (person.width_px, person.height_px) == (SIZE_PX, SIZE_PX)
    seen = torch.stack([answer.signals[-1].tensors()[ARKIT][0] for answer in answers[80:]])
    rest = answers[79].signals[-1].tensors()[ARKIT][0]
    jaws = (seen - rest)[:, INDEX["jawOpen"]].numpy()
    assert np.corrcoef(jaws, jaw[80:].numpy())[0, 1] > 0.95
    again = Follower(answers[75].met)
    answer = again.step(landmarks_px[0], 0.0, SIZE_PX, SIZE_PX)
    assert len(answer.signals) == 1 and answer.met is None


def test_nobody_leaves_the_head_where_it_was(met):
    landmarks_px, _, answers = met
    follower = Follower(answers[75].met)
    seen = follower.step(landmarks_px[0], 0.0, SIZE_PX, SIZE_PX).signals[0]
    unseen = follower.step(None, 0.04, SIZE_PX, SIZE_PX).signals[0]
    assert unseen.confidence == 0.0 < seen.confidence
    assert torch.equal(unseen.tensors()[HEAD_POSE], seen.tensors()[HEAD_POSE])


def test_pictures_of_another_size_are_of_the_same_person(met):
    landmarks_px, _, answers = met
    follower = Follower(answers[75].met)
    small = follower.step(landmarks_px[0], 0.0, SIZE_PX, SIZE_PX).signals[0].tensors()
    large = follower.step(2 * landmarks_px[0], 1.0, 2 * SIZE_PX, 2 * SIZE_PX).signals[0].tensors()
    assert torch.allclose(small[HEAD_POSE], large[HEAD_POSE], atol=0.005)


def test_somebody_who_leaves_before_they_are_known_is_forgotten():
    landmarks_px, _ = performed(3, 1)
    follower = Follower(meeting_s=3.0)
    follower.step(landmarks_px[0], 0.0, SIZE_PX, SIZE_PX)
    assert follower.step(None, 2.9, SIZE_PX, SIZE_PX).left_s == 3.0
    assert follower.step(landmarks_px[1], 10.0, SIZE_PX, SIZE_PX).left_s == 3.0
    assert follower.step(np.full((478, 3), np.nan), 10.1, SIZE_PX, SIZE_PX).left_s == 3.0


@pytest.mark.parametrize("frames", [1, 5])
def test_turning_all_joints_at_once_changes_no_bit(frames):
    model = landmark_model(load_head("makehuman"))
    gaze_rad = 0.3 * torch.randn(frames, 2, 2, generator=torch.Generator().manual_seed(frames))
    state = model.rest(frames)._replace(gaze_rad=gaze_rad)
    one_by_one = [roma.rotvec_to_rotmat(angles) for angles in model._angles(state)]
    assert all(torch.equal(a, b) for a, b in zip(model._rotations(state), one_by_one, strict=True))


def test_a_process_ends_with_its_owner():
    """The connection is all that keeps it: an owner that is gone without a word leaves nothing behind."""
    lodger = Apart(Lodger, 0)
    _, there = lodger.call("add", 1)
    lodger._connection.close()
    until = time.monotonic() + 20
    while lodger._process.is_alive():
        assert time.monotonic() < until
        time.sleep(0.05)
    lodger.close()
    assert there
