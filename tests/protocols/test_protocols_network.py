"""Real sockets on loopback: latest-frame semantics, bounded queues, clean ends, enemies."""

import socket
import threading
import time

import pytest

from headstudio.errors import HeadstudioError
from headstudio.protocols.codec import PROTOCOLS, codec
from headstudio.protocols.ifacialmocap import START
from headstudio.protocols.intake import MOST_BYTES, Intake
from headstudio.protocols.livelink import LiveLinkFace
from headstudio.protocols.receiver import FaceReceiver, FaceSender
from headstudio.protocols.vmc import Vmc
from support.faces import livelink_packet, random_frame, vmc_packet

PATIENCE_S = 20.0
"""How long a busy machine may take for what takes a millisecond."""


def until(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.005)


def listening(codec, **options):
    return FaceReceiver(codec, port=0, **options)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_frame_goes_through_the_network(protocol):
    frame = random_frame(4, time_s=2.0)
    with listening(codec(protocol)) as receiver, FaceSender(codec(protocol), port=receiver.address.port) as sender:
        assert receiver.address.host == "127.0.0.1"
        sender.send(frame)
        back = receiver.latest(PATIENCE_S)
        assert back is not None and back.weights == pytest.approx(frame.weights, abs=0.006)
        assert back.head_rotation_rad == pytest.approx(frame.head_rotation_rad, abs=1e-5)
        assert receiver.latest() is None and receiver.counts.frames == 1
        assert receiver.counts.received == len(codec(protocol).encode(frame))


def test_the_newest_frame_is_given_and_the_queue_is_short():
    with (
        listening(LiveLinkFace(), queue=4) as receiver,
        FaceSender(LiveLinkFace(), port=receiver.address.port) as sender,
    ):
        for number in range(20):
            sender.send(random_frame(number, time_s=1 + number / 60))
        until(lambda: receiver.counts.received == 20)
        newest = receiver.latest()
        assert newest is not None and newest.time_s == pytest.approx(1 + 19 / 60, abs=1e-6)
        assert receiver.overrun == 19
        for number in range(20, 30):
            sender.send(random_frame(number, time_s=1 + number / 60))
        until(lambda: receiver.counts.received == 30)
        assert [frame.time_s for frame in receiver.drain()] == pytest.approx(
            [1 + n / 60 for n in range(26, 30)], abs=1e-6
        )
        assert receiver.drain() == []


def test_rubbish_between_frames_is_counted_and_nothing_else():
    with listening(LiveLinkFace()) as receiver, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as enemy:
        rubbish = [
            b"",
            b"\0",
            b"\x06" * 40,
            b"x" * 60000,
            livelink_packet()[:-1],
            livelink_packet(HeadYaw=float("nan")),
        ]
        for packet in [
            *rubbish,
            livelink_packet(frame=1),
            *rubbish,
            livelink_packet(frame=1),
            livelink_packet(frame=2),
        ]:
            enemy.sendto(packet, receiver.address)
        until(lambda: receiver.counts.received == 15)
        counts = receiver.counts
        assert (counts.frames, counts.late, counts.malformed, counts.oversized) == (2, 1, 10, 2)


def test_closing_ends_the_thread_frees_the_port_and_wakes_who_waits():
    before = threading.active_count()
    receiver = listening(Vmc())
    woken = []
    waiting = threading.Thread(target=lambda: woken.append(receiver.latest(PATIENCE_S)))
    waiting.start()
    receiver.close()
    receiver.close()
    waiting.join(PATIENCE_S)
    assert woken == [None] and threading.active_count() == before
    with FaceReceiver(Vmc(), port=receiver.address.port) as again:
        assert again.address == receiver.address


def test_it_listens_on_loopback_and_at_the_protocols_port_by_default(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "headstudio.protocols.receiver._bound", lambda host, port: asked.append((host, port)) or _free()
    )
    for protocol in PROTOCOLS:
        FaceReceiver(codec(protocol)).close()
    assert asked == [("127.0.0.1", 11111), ("127.0.0.1", 49983), ("127.0.0.1", 39539)]


def _free():
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.settimeout(0.01)
    opened.bind(("127.0.0.1", 0))
    return opened


def test_a_place_where_nobody_can_listen_is_told():
    with listening(Vmc()) as receiver, pytest.raises(HeadstudioError, match="nobody else uses"):
        FaceReceiver(Vmc(), port=receiver.address.port)
    for host, port in (("203.0.113.7", 0), ("127.0.0.1", 70000), ("127.0.0.1", -1)):
        with pytest.raises(HeadstudioError, match="cannot listen here"):
            FaceReceiver(Vmc(), host, port)


def test_a_phone_that_wants_to_be_asked_is_asked_from_the_listening_port():
    with listening(codec("ifacialmocap")) as receiver, _free() as phone:
        phone.settimeout(PATIENCE_S)
        receiver.say(START, *phone.getsockname())
        question, address = phone.recvfrom(100)
        assert question == START and address == receiver.address


def test_sending_to_nobody_is_no_failure():
    with _free() as gone:
        port = gone.getsockname()[1]
    with FaceSender(Vmc(), port=port) as sender:
        for number in range(5):
            sender.send(random_frame(number, time_s=number / 60))


def test_one_sender_is_followed_until_it_falls_silent():
    intake = Intake(Vmc())
    assert intake.accept(vmc_packet(1.0, JawOpen=0.5), "phone", 0.0) is not None
    assert intake.accept(vmc_packet(9.0, MouthClose=1.0), "enemy", 0.5) is None
    frame = intake.accept(vmc_packet(1.1), "phone", 0.9)
    assert frame is not None and sum(frame.weights) == 0.5  # nothing of the enemy's is in it
    other = intake.accept(vmc_packet(0.5, BrowInnerUp=0.25), "other phone", 2.0)
    assert other is not None and sum(other.weights) == 0.25  # and nothing of the first is in the second
    assert intake.counts.foreign == 1 and intake.counts.received == 4


def test_only_whom_one_asked_for_is_heard():
    intake = Intake(LiveLinkFace(), subject="Ada", only_from="10.0.0.7")
    assert intake.accept(livelink_packet(subject="Ada"), "10.0.0.8", 0.0) is None
    assert intake.accept(livelink_packet(subject="Eve"), "10.0.0.7", 0.1) is None
    assert intake.accept(livelink_packet(subject="Ada"), "10.0.0.7", 0.2) is not None
    assert intake.counts.foreign == 2


def test_reordered_packets_are_dropped_and_a_new_clock_is_followed():
    intake = Intake(LiveLinkFace())
    order = [10, 12, 11, 12, 13, 100, 20, 21]
    frames = [intake.accept(livelink_packet(frame=60 * 9 + n, part=0.0), "", n / 60) for n in order]
    kept = [round((frame.time_s - 9) * 60) for frame in frames if frame is not None]
    assert kept == [10, 12, 13, 100, 20, 21] and intake.counts.late == 2
    assert intake.accept(b"\x06" * (MOST_BYTES + 1), "", 3.0) is None and intake.counts.oversized == 1
