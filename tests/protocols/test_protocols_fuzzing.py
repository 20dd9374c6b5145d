"""Whatever comes, the intake gives a sound frame or none, and counts it; it never raises and never grows."""

import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstudio.protocols.codec import PROTOCOLS, codec
from headstudio.protocols.intake import Intake
from support.faces import damaged, livelink_packet, osc_bundle, osc_message, random_frame, sound, vmc_packet


def seeds(protocol):
    """Packets worth damaging."""
    own = [packet for seed in range(4) for packet in codec(protocol).encode(random_frame(seed, time_s=seed / 60))]
    return [*own, livelink_packet(JawOpen=0.5), vmc_packet(1.0, ok=(1,), bones={"Head": (0, 0, 0, 1)}, JawOpen=0.5)]


def check(intake, packets):
    for number, packet in enumerate(packets):
        frame = intake.accept(packet, "host", number / 1000)
        assert frame is None or sound(frame)
    counts = vars(intake.counts)
    assert counts["received"] == len(packets) == sum(counts.values()) - counts["received"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=100, deadline=None)
@given(packets=st.lists(st.binary(max_size=400), max_size=5))
def test_any_bytes(protocol, packets):
    check(Intake(codec(protocol)), packets)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=100, deadline=None)
@given(draw=st.randoms(use_true_random=False))
def test_damaged_packets(protocol, draw):
    known = seeds(protocol)
    packets = [known[draw.randrange(len(known))] for _ in range(4)]
    check(Intake(codec(protocol)), [damaged(packet, draw) if draw.random() < 0.7 else packet for packet in packets])


_NAMES = st.one_of(st.sampled_from(["JawOpen", "Head", "LeftEye", "Neck", ""]), st.text(max_size=8))
_FLOATS = st.floats(width=32)
_MESSAGES = st.one_of(
    st.builds(lambda name, value: ("/VMC/Ext/Blend/Val", "sf", name, value), _NAMES, _FLOATS),
    st.builds(
        lambda name, pose: ("/VMC/Ext/Bone/Pos", "sfffffff", name, *pose),
        _NAMES,
        st.lists(_FLOATS, min_size=7, max_size=7),
    ),
    st.builds(lambda value: ("/VMC/Ext/T", "f", value), _FLOATS),
    st.builds(lambda values: ("/VMC/Ext/OK", "i" * len(values), *values), st.lists(st.integers(-1, 3), max_size=5)),
    st.just(("/VMC/Ext/Blend/Apply", "")),
)


@settings(max_examples=120, deadline=None)
@given(bundles=st.lists(st.lists(_MESSAGES, max_size=6), max_size=4))
def test_any_messages_of_vmc(bundles):
    packets = [
        osc_bundle(
            *(osc_message(a, t, *(x.replace("\0", "") if isinstance(x, str) else x for x in r)) for a, t, *r in b)
        )
        for b in bundles
    ]
    check(Intake(codec("vmc")), packets)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(_FLOATS, min_size=61, max_size=61), part=_FLOATS, frame=st.integers(-(2**31), 2**31 - 1))
def test_any_values_of_live_link(values, part, frame):
    check(Intake(codec("livelink")), [livelink_packet(values, frame=frame, part=part)])


@settings(max_examples=120, deadline=None)
@given(
    shapes=st.lists(
        st.tuples(st.sampled_from(["jawOpen", "eyeBlink_L", "x"]), st.sampled_from("-&"), st.text(max_size=6))
    ),
    head=st.lists(st.one_of(st.floats().map(str), st.text(max_size=4)), min_size=5, max_size=7),
    eye=st.lists(st.floats(-400, 400).map(str), min_size=2, max_size=4),
)
def test_any_line_of_ifacialmocap(shapes, head, eye):
    line = "|".join("".join(shape) for shape in shapes)
    line += f"|=head#{','.join(head)}|rightEye#{','.join(eye)}|leftEye#{','.join(eye)}|"
    check(Intake(codec("ifacialmocap")), [line.encode("utf-8", "surrogatepass")])


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_million_datagrams_leave_nothing_behind(protocol):
    """A third of a million each: noise, noise behind a true beginning, damaged packets, and good ones between."""
    draw, known = random.Random(20240607), seeds(protocol)
    begins = [packet[: draw.randrange(1, 24)] for packet in known]
    pool = [draw.randbytes(draw.randrange(120)) for _ in range(400)]
    pool += [begin + draw.randbytes(draw.randrange(60)) for begin in begins for _ in range(30)]
    pool += [damaged(packet, draw) for packet in known for _ in range(4)] + known
    intake, received, frames = Intake(codec(protocol)), 0, 0
    for packet in draw.choices(pool, k=333_334):
        frame = intake.accept(packet, "host", received / 1e6)
        received += 1
        frames += frame is not None
    counts = vars(intake.counts)
    assert counts["received"] == received == sum(counts.values()) - received and counts["frames"] == frames
    assert counts["malformed"] > received / 2 and counts["partial"] + counts["frames"] + counts["late"] > 0
    used = []
    tracemalloc.start(1)
    try:
        for _ in range(3):
            for packet in pool:
                intake.accept(packet, "host", received / 1e6)
            used.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # What stays is one frame and some counts: a packet kept for each of a round would be a hundred times as much.
    assert max(used[1:]) - used[0] < 20_000
