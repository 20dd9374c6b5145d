"""A whole session on a toy: what goes in comes out in order, everything ends, and nothing is left behind."""

import os
import threading
import time
from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from live_people import Filmed, Kept, Knowing, Script, painted_weights, performed, told, weights

from headstudio.errors import HeadstudioError
from headstudio.live.config import LiveConfig
from headstudio.live.faces import Still
from headstudio.live.outputs.film import Film
from headstudio.live.outputs.others import Telling, VirtualCamera, Window, parsed_address
from headstudio.live.personal import Personal
from headstudio.live.rendering import GraphConfig
from headstudio.live.session import Session
from headstudio.live.transfer import NeckConfig
from headstudio.motion.arkit import INDEX
from headstudio.protocols.codec import PROTOCOLS, codec
from headstudio.protocols.receiver import FaceReceiver
from headstudio.records.channels import ARKIT
from support.tiny import tiny_source

SMALL = LiveConfig(size_px=32, queue=400)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return painted_weights(tmp_path_factory.mktemp("toy") / "capture")


@pytest.fixture(autouse=True)
def nothing_is_left():
    threads = set(threading.enumerate())
    yield
    left = [thread.name for thread in threading.enumerate() if thread not in threads and thread.name != "QueueFeeder"]
    assert left == []


def ramp(count):
    return [weights(jawOpen=number / count, mouthSmileLeft=0.5) for number in range(count)]


def test_every_frame_comes_out_in_order_when_nothing_is_late(toy):
    kept = Kept()
    with Session(*toy, Script(ramp(40), fps=200), SMALL) as session:
        session.add(kept, 100)
        session.run(30)
        readings = {reading.stage: reading for reading in session.readings()}
    assert [parcel.number for parcel in kept.parcels] == list(range(40)) and kept.finished == 1
    jaws = [told(parcel.content.picture)[0] for parcel in kept.parcels]
    assert np.abs(np.array(jaws) - np.arange(40) / 40).max() < 0.01  # bytes of a picture: 1/255 is 0.004 here
    assert list(readings) == ["source", "listen", "drive", "paint", "draw", "kept"]
    assert all(reading.frames_out == 40 and reading.dropped == 0 for reading in readings.values())


def test_a_slow_output_drops_frames_and_does_not_hold_up_the_other(toy):
    class Slow(Kept):
        name = "slow"

        def __call__(self, parcel):
            time.sleep(0.2)
            return super().__call__(parcel)

    slow, swift = Slow(), Kept()
    with Session(*toy, Script(ramp(60), fps=100), SMALL) as session:
        session.add(slow)
        session.add(swift, 100)
        session.run(30)
        readings = {reading.stage: reading for reading in session.readings()}
    assert len(swift.parcels) == 60
    numbers = [parcel.number for parcel in slow.parcels]
    assert numbers == sorted(numbers) and numbers[-1] == 59 and len(numbers) < 30
    assert readings["slow"].dropped == 60 - len(numbers) and readings["kept"].dropped == 0


def test_sliders_and_the_exaggeration_change_the_next_frames(toy):
    kept = Kept()
    source = Script([weights(jawOpen=0.3)], fps=50, endless=True)
    with Session(*toy, source, replace(SMALL, exaggeration=2.0)) as session:
        session.add(kept, 100)
        changes = {10: {"exaggeration": 1.0}, 20: {"units": {"mouthSmileLeft": 0.8}}}

        def look():
            for count in [count for count in changes if len(kept.parcels) >= count]:
                session.controls.change(changes.pop(count))
            return len(kept.parcels) < 40

        session.run(30, look)
    first, last = told(kept.parcels[0].content.picture), told(kept.parcels[-1].content.picture)
    assert first[0] == pytest.approx(0.6, abs=0.01) and first[1] == pytest.approx(0.0, abs=0.01)
    assert last[0] == pytest.approx(0.3, abs=0.01) and last[1] == pytest.approx(0.8, abs=0.01)


def test_a_phone_is_calibrated_first_and_the_result_is_told(toy):
    kept, found = Kept(), []
    rest = [weights(jawOpen=0.2, browInnerUp=0.1)] * 60
    source = Script([*rest, *[weights(jawOpen=0.5, browInnerUp=0.1)] * 20], fps=50, neutral=False)
    with Session(*toy, source, replace(SMALL, neutral_s=1.0), met=found.append) as session:
        session.add(kept, 100)
        assert session.message.startswith("Look into the camera with a neutral face")
        session.run(30)
        assert session.message == ""
    assert told(kept.parcels[5].content.picture)[0] == pytest.approx(0.0, abs=0.01)
    assert told(kept.parcels[-1].content.picture)[0] == pytest.approx(0.3, abs=0.01)
    assert len(found) == 1 and float(found[0].neutral[ARKIT][INDEX["jawOpen"]]) == pytest.approx(0.2)


@pytest.mark.slow
def test_a_face_in_pictures_is_met_followed_and_carried_over(toy):
    """The whole way: landmarks of a person who rests for four seconds and then opens the jaw, in another process."""
    landmarks_px, jaw = performed(160, 105)
    kept, found, detector = Kept(), [], Knowing(landmarks_px, hidden={150, 151})
    with Session(
        *toy, Filmed(160, step_s=0.002), replace(SMALL, neutral_s=3.0), met=found.append, detector=detector
    ) as session:
        session.add(kept, 200)
        session.run(120)
    assert detector.closed and len(found) == 1 and found[0].met.sitter.size_px == 256
    by_number = {parcel.number: told(parcel.content.picture)[0] for parcel in kept.parcels}
    assert list(by_number) == sorted(by_number) and len(by_number) == 160
    assert max(by_number[number] for number in range(60, 100)) < 0.1
    later = np.array([by_number[number] for number in range(105, 150)])
    assert np.corrcoef(later, jaw[105:150].numpy())[0, 1] > 0.95 and later.max() > 0.4
    assert by_number[150] == by_number[149] == by_number[151]  # nobody is seen: the face stays


@pytest.mark.slow
def test_a_known_driver_needs_no_calibration(toy):
    landmarks_px, _ = performed(100, 50)
    found = []
    with Session(*toy, Filmed(100), SMALL, met=found.append, detector=Knowing(landmarks_px)) as session:
        session.run(120)
    kept = Kept()
    source = Filmed(100)
    with Session(*toy, source, SMALL, personal=found[0], met=pytest.fail, detector=Knowing(landmarks_px)) as session:
        assert session.message == ""
        session.add(kept, 200)
        session.run(120)
    assert max(told(parcel.content.picture)[0] for parcel in kept.parcels) > 0.4


def test_a_profile_of_a_phone_does_not_fit_a_camera(toy):
    phone = Personal({ARKIT: torch.zeros(52)}, torch.ones(52))
    with pytest.raises(HeadstudioError, match="without a camera"):
        Session(*toy, Filmed(3), SMALL, personal=phone, detector=Knowing(None))


def test_a_film_has_the_frames_and_their_times(toy, tmp_path):
    for name in ("a.mp4", "b.mkv"):
        film = Film(tmp_path / name)
        with Session(*toy, Script(ramp(25), fps=50), SMALL) as session:
            session.add(film, 100)
            session.run(30)
        with av.open(str(tmp_path / name)) as opened:
            frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in opened.decode(video=0)]
        assert len(frames) == film.frames == 25 and frames[0][0] == 0.0
        assert frames[-1][0] > 0.4 and all(picture.shape == (32, 32, 3) for _, picture in frames)
        assert frames[-1][1][..., 0].mean() > frames[0][1][..., 0].mean() + 100


def test_a_session_without_a_frame_leaves_no_film(toy, tmp_path):
    (tmp_path / "kept.mp4").write_bytes(b"old")
    with Session(*toy, Script([]), SMALL) as session:
        session.add(Film(tmp_path / "kept.mp4"))
        session.run(5)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.mp4"] and (tmp_path / "kept.mp4").read_bytes() == b"old"


def test_a_film_that_was_never_begun_leaves_nothing(tmp_path):
    film = Film(tmp_path / "x.mp4")
    film.finish()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_drives_the_avatar_is_told(toy, protocol):
    with FaceReceiver(codec(protocol), port=0) as receiver:
        with Session(*toy, Script([weights(jawOpen=0.4)], fps=50, endless=True), SMALL) as session:
            session.add(Telling(f"{protocol}:{receiver.address.port}"))
            heard = []

            def look():
                heard.extend(receiver.drain())
                return not heard

            session.run(30, look)
        assert heard[0].weights[INDEX["jawOpen"]] == pytest.approx(0.4, abs=0.006)
        assert receiver.counts.malformed == 0


def test_an_output_that_fails_ends_the_session_with_its_sentence(toy):
    class Broken(Kept):
        name = "broken"

        def __call__(self, parcel):
            raise HeadstudioError("the disk is full", next_step="free some space")

    broken, kept = Broken(), Kept()
    with pytest.raises(HeadstudioError, match="disk is full"):  # noqa: SIM117
        with Session(*toy, Still(fps=50), SMALL) as session:
            session.add(broken)
            session.add(kept)
            session.run(30)
    assert broken.finished == kept.finished == 1


def test_an_interrupted_session_ends_cleanly(toy):
    kept = Kept()

    def look():
        if len(kept.parcels) > 3:
            raise KeyboardInterrupt
        return True

    with pytest.raises(KeyboardInterrupt):  # noqa: SIM117
        with Session(*toy, Still(fps=50), SMALL) as session:
            session.add(kept)
            session.run(30, look)
    assert kept.finished == 1


def test_outputs_of_a_session_that_never_ran_are_ended(toy):
    kept = Kept()
    with Session(*toy, Still(), SMALL) as session:
        session.add(kept)
    assert kept.finished == 1


def resident_mb():
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is read as Linux tells it")  # noqa: PTH110
def test_memory_and_rate_stay_as_they_are(toy):
    """Seconds instead of the ten minutes of `benchmarks/live.py steady`; 30 kB a frame would show as 9 MB."""
    kept, sizes = Kept(most=0), []
    config = replace(SMALL, queue=1, size_px=128)
    with Session(*toy, Script(ramp(50), fps=100, endless=True), config) as session:
        session.add(kept)
        passed = lambda: session.readings()[-1].frames_out if session.readings() else 0  # noqa: E731

        def look():
            if len(sizes) < 4 and passed() >= 100 * (len(sizes) + 1):
                sizes.append(resident_mb())
            return len(sizes) < 4

        session.run(60, look)
    assert len(sizes) == 4 and sizes[3] - sizes[0] < 9


@pytest.mark.parametrize(
    "wrong",
    [
        {"size_px": 0}, {"size_px": 15}, {"size_px": 10**6}, {"neutral_s": 0.0}, {"neutral_s": -1.0},
        {"neutral_s": 1e9}, {"neutral_s": float("nan")},
        {"range_s": -1.0}, {"range_s": float("nan")}, {"exaggeration": -1.0}, {"exaggeration": 9.0}, {"queue": 0},
        {"queue": 10**6}, {"on_the_way": 0}, {"neck": NeckConfig(-0.1)}, {"neck": NeckConfig(1.1)},
        {"graph": GraphConfig(0)},
    ],
)  # fmt: skip
def test_what_is_out_of_range_costs_a_sentence(toy, wrong):
    with pytest.raises(HeadstudioError, match="out of range"):
        Session(*toy, Still(), replace(SMALL, **wrong))


def test_an_avatar_that_is_not_for_real_time_is_refused(toy):
    from headstudio.training.contract import Capability

    class Slow(type(toy[0])):
        capabilities = frozenset({Capability.SURFACE})

    avatar, at_rest = toy
    slow = Slow(avatar.config)
    slow.head, slow.identity_coefficients = avatar.head, avatar.identity_coefficients
    with pytest.raises(HeadstudioError, match="does not declare"):
        Session(slow, at_rest, Still(), SMALL)


def test_outputs_that_cannot_be_had_cost_a_sentence(tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(HeadstudioError, match="no screen"):
        Window()
    with pytest.raises(HeadstudioError, match="no virtual camera"):
        VirtualCamera(64)
    for name in ("a.avi", "a", "a.mp3"):
        with pytest.raises(HeadstudioError, match="not written"):
            Film(tmp_path / name)


def test_addresses_of_listeners():
    assert parsed_address("vmc") == ("vmc", "127.0.0.1", None)
    assert parsed_address("livelink:4000") == ("livelink", "127.0.0.1", 4000)
    assert parsed_address("vmc:10.0.0.2:39540") == ("vmc", "10.0.0.2", 39540)
    assert parsed_address("vmc:studio") == ("vmc", "studio", None)
    assert parsed_address("vmc:[::1]:39540") == ("vmc", "::1", 39540)


@pytest.mark.parametrize("text", ["", "osc", "vmc:0", "vmc:70000", "vmc:a:b", "vmc::1", "vmc:a:", ":1", "vmc:1:٣"])
def test_what_is_no_address(text):
    with pytest.raises(HeadstudioError, match="no address"):
        parsed_address(text)


def test_a_driver_that_looks_needs_pictures(toy):
    from headstudio.records.channels import FACE_CROP

    class Looks:
        consumes = produces = frozenset({FACE_CROP})

    with pytest.raises(HeadstudioError, match="has no pictures"):
        Session(*toy, Still(), SMALL, driver=Looks())  # type: ignore[arg-type]


def test_a_trained_driver_gives_the_avatar_what_it_takes(toy, tmp_path):
    from headstudio_toys.latent import LatentConfig, LatentToy

    avatar, at_rest = toy
    driver = LatentToy(LatentConfig())
    driver.bind(avatar)
    driver.setup({"target": (tiny_source(tmp_path / "a"),), "actor": (tiny_source(tmp_path / "b", seed=1),)})
    kept = Kept()
    with Session(avatar, at_rest, Script(ramp(10), fps=50), SMALL, driver=driver.eval()) as session:
        session.add(kept, 100)
        session.run(30)
    assert len(kept.parcels) == 10 and driver.produces <= set(kept.parcels[0].content.channels)
