"""Sources: their own rate, their end, their loss and return, and what people type."""

import itertools
import threading
import time

import numpy as np
import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.live import feeding
from headstudio.live.cameras import Camera, FilmedFile, Stream
from headstudio.live.faces import Phone, Recording, Still
from headstudio.live.feeding import Feed
from headstudio.live.opening import source_of
from headstudio.live.queues import ClosedQueueError, DroppingQueue
from headstudio.live.sources import LiveSource, Pace, SourceEndedError, SourceLostError, Taken
from headstudio.motion.arkit import NAMES
from headstudio.protocols.codec import codec
from headstudio.protocols.files import write_motion
from headstudio.protocols.receiver import FaceSender
from headstudio.records.channels import ARKIT, HEAD_POSE, HEAD_ROTATION
from headstudio.records.motion import Motion
from support.faces import random_frame
from support.videos import grey_frames, write_video


class Fake(LiveSource):
    """Gives the numbers of its script; None is a loss, and some openings fail."""

    name, pictures = "fake", False

    def __init__(self, script, failing=()):
        super().__init__()
        self.script, self.failing, self.opened, self.closed = list(script), set(failing), 0, 0

    def open(self):
        self.opened += 1
        if self.opened in self.failing:
            raise HeadstudioError("not there", next_step="wait")

    def next(self):
        if not self.script:
            raise SourceEndedError
        found = self.script.pop(0)
        if found is None:
            raise SourceLostError
        return Taken(float(found))

    def close(self):
        self.closed += 1


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(feeding, "BACK_OFF_S", (0.001, 0.002))


def fed(source, **more):
    outbox = DroppingQueue(1000)
    feed = Feed(source, [outbox], **more)
    source.open()
    feed.run()
    found = []
    while True:
        try:
            found.append(outbox.take())
        except ClosedQueueError:
            return feed, found


def test_a_lost_source_is_opened_again_and_goes_on(at_once):
    told = []
    source = Fake([1, 2, None, 3, None, 4], failing={2, 3})
    feed, parcels = fed(source, tell=told.append)
    assert [parcel.time_s for parcel in parcels] == [1, 2, 3, 4]
    assert [parcel.number for parcel in parcels] == [0, 1, 2, 3]
    assert feed.reconnected == 2 and source.opened == 5
    assert told == ["fake is lost; trying to get it back", "fake is back"] * 2


def test_patience_ends(at_once):
    with pytest.raises(HeadstudioError, match="did not come back"):
        fed(Fake([1, None], failing=range(2, 10**6)), patience_s=0.05)


def test_a_lost_source_is_not_waited_for_when_all_ends():
    source = Fake([None], failing=range(2, 10**6))
    outbox = DroppingQueue()
    feed = Feed(source, [outbox])
    thread = threading.Thread(target=feed.run)
    thread.start()
    feed.stop()
    thread.join(5)
    assert not thread.is_alive() and outbox.closed and source.closed


@pytest.mark.parametrize("clock", [[5, 6, 1, 2], [5, 5, 5, 5], [5, 4, 3, 2]])
def test_the_clock_only_goes_forward(clock):
    _, parcels = fed(Fake(clock))
    times = [parcel.time_s for parcel in parcels]
    assert len(times) == 4 and all(after > before for before, after in itertools.pairwise(times))


def test_a_pace_begins_with_the_first_frame():
    pace = Pace()
    assert pace.until_due_s(100.0) == 0.0
    assert pace.until_due_s(100.5) == pytest.approx(0.5, abs=0.1)


def brightness(taken):
    return round((taken.picture.mean() - 30) / 5)


def test_a_video_plays_at_its_own_rate(tmp_path):
    source = FilmedFile(write_video(tmp_path / "clip.mp4", grey_frames(10)))
    source.open()
    begun = time.perf_counter()
    taken = []
    with pytest.raises(SourceEndedError):
        while True:
            taken.append(source.next())
    took = time.perf_counter() - begun
    assert took >= 9 / 25 - 0.01
    assert [brightness(one) for one in taken] == sorted(brightness(one) for one in taken)
    assert len(taken) + sum(one.skipped for one in taken) <= 10 and taken[0].picture.shape == (48, 64, 3)


def test_a_late_reader_finds_the_newest_frame_of_a_video(tmp_path):
    source = FilmedFile(write_video(tmp_path / "clip.mp4", grey_frames(20)))
    source.open()
    first = source.next()
    time.sleep(0.4)
    second = source.next()
    assert brightness(first) == 0 and brightness(second) >= 9 and second.skipped == brightness(second) - 1


def test_a_repeated_video_goes_on_in_time(tmp_path):
    source = FilmedFile(write_video(tmp_path / "clip.mp4", grey_frames(3)), repeat=True)
    source.open()
    times = [source.next().time_s for _ in range(7)]
    assert all(after > before for before, after in itertools.pairwise(times))


def test_an_interrupted_source_returns(tmp_path):
    source = FilmedFile(write_video(tmp_path / "clip.mp4", grey_frames(2), times_ms=[0, 60_000]))
    source.open()
    source.next()
    threading.Timer(0.05, source.interrupt).start()
    assert source.next() is None


def motion(frames=5, fps=50.0):
    weights = torch.zeros(frames, len(NAMES))
    weights[:, NAMES.index("jawOpen")] = torch.linspace(0, 1, frames)
    return Motion(torch.arange(frames, dtype=torch.float64) / fps, {ARKIT: weights})


def test_a_recording_plays_all_its_frames_and_knows_its_rest():
    source = Recording(motion(), "take")
    source.open()
    found = []
    with pytest.raises(SourceEndedError):
        while True:
            found.append(source.next())
    jaw = [float(taken.signals[ARKIT][0, NAMES.index("jawOpen")]) for taken in found]
    assert jaw == sorted(jaw) and jaw[0] == 0.0
    assert float(source.neutral[ARKIT][NAMES.index("jawOpen")]) <= 0.5


def test_a_recording_without_weights_is_refused():
    with pytest.raises(HeadstudioError, match="has no expression"):
        Recording(Motion(torch.zeros(1, dtype=torch.float64), {HEAD_POSE: torch.eye(4)[None]}), "take")


@pytest.mark.parametrize("protocol", ["livelink", "ifacialmocap", "vmc"])
def test_a_phone_is_heard_as_it_speaks(protocol):
    source = Phone(protocol, port=0)
    source.open()
    try:
        port = int(source.name.rpartition(":")[2])
        frame = random_frame(3, time_s=1.0)
        with FaceSender(codec(protocol), port=port) as sender:
            sender.send(frame)
            taken = next(t for t in (source.next() for _ in range(100)) if t.signals is not None)
        assert taken.signals[ARKIT][0].tolist() == pytest.approx(frame.weights, abs=0.006)
        assert (HEAD_POSE in taken.signals) != (HEAD_ROTATION in taken.signals)
        assert source.facts()["packets"]["frames"] == 1
    finally:
        source.close()
        source.close()


def test_a_silent_phone_says_so_and_noise_is_counted():
    source = Phone("livelink", port=0)
    source.open()
    try:
        assert source.next().signals is None
        with FaceSender(codec("vmc"), port=int(source.name.rpartition(":")[2])) as sender:
            sender.send(random_frame(1))
            source.next()
        assert source.facts()["packets"]["malformed"] > 0
    finally:
        source.close()


def test_a_face_at_rest_keeps_its_rate():
    source = Still(fps=100)
    source.open()
    begun = time.perf_counter()
    taken = [source.next() for _ in range(10)]
    assert time.perf_counter() - begun >= 0.095 and all(not one.signals[ARKIT].any() for one in taken)


def test_a_stream_is_lost_when_it_ends(tmp_path):
    """A file named as a stream: FFmpeg reads it to its end, which for a stream is a loss."""
    source = Stream(f"file:{write_video(tmp_path / 'clip.mp4', grey_frames(4))}")
    source.open()
    assert source.next().picture.shape == (48, 64, 3)
    with pytest.raises(SourceLostError):
        for _ in range(10):
            source.next()
    source.close()


def test_an_absent_stream_or_camera_costs_a_sentence():
    for source in (Stream("tcp://127.0.0.1:9"), Camera(99)):
        with pytest.raises(HeadstudioError, match="check that it is connected"):
            source.open()


def test_messages_keep_passwords_to_themselves():
    assert Stream("rtsp://me:secret@host:554/live?token=1").name == "rtsp://host:554/live"


def test_what_people_type(tmp_path):
    video = write_video(tmp_path / "clip.mp4", grey_frames(2))
    write_motion(tmp_path / "take.csv", motion())
    kinds = {
        "0": Camera, "12": Camera, str(video): FilmedFile, "rtsp://a/b": Stream, "https://a/b.m3u8": Stream,
        "livelink": Phone, "vmc": Phone, "ifacialmocap": Phone, "still": Still, str(tmp_path / "take.csv"): Recording,
    }  # fmt: skip
    assert {text: type(source_of(text)) for text in kinds} == kinds


@pytest.mark.parametrize(
    "text", ["", "-1", "0x1", "99999", "absent.mp4", "ftp://a/b", "rtsp:/a", "live link", "٣", "gopher://x", "\0", "~"]
)
def test_what_is_no_source(text):
    with pytest.raises(HeadstudioError, match="is no source"):
        source_of(text)


def test_a_text_is_no_video(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(HeadstudioError, match="not a video"):
        source_of(str(tmp_path / "text.mp4")).open()


def test_pictures_of_a_stream_are_in_colour(tmp_path):
    red = [np.full((48, 64, 3), (200, 30, 30), np.uint8)] * 3
    source = Stream(f"file:{write_video(tmp_path / 'red.mp4', red)}")
    source.open()
    colour = source.next().picture.reshape(-1, 3).mean(0)
    source.close()
    assert colour[0] > 150 > 90 > colour[1]
