"""Queues and stages: late frames are dropped, order is kept, bounds hold, and nothing is left behind."""

import threading
import time

import pytest

from headstudio.errors import HeadstudioError
from headstudio.live.meters import Meter, Reading, quantile, table
from headstudio.live.pipeline import Parcel, Pipeline, Stage
from headstudio.live.queues import ClosedQueueError, DroppingQueue, Tickets
from headstudio.live.session import frames_on_the_way


def live_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("live ")]


class Numbers:
    """A source that hands out numbers as fast as its gate lets it."""

    name = "numbers"

    def __init__(self, outbox, count, gate=lambda number: None):
        self.outbox, self.count, self.gate, self.stopped = outbox, count, gate, False

    def run(self):
        for number in range(self.count):
            if self.stopped:
                break
            self.gate(number)
            self.outbox.put(Parcel(number, time.perf_counter(), float(number), number))
        self.outbox.close()

    def stop(self):
        self.stopped = True

    def reading(self):
        return Meter(self.name).reading()


def test_a_full_queue_drops_the_oldest():
    queue = DroppingQueue(2)
    for number in range(5):
        queue.put(number)
        assert len(queue) <= 2
    assert (queue.take(), queue.take(), queue.dropped) == (3, 4, 3)
    assert queue.take(timeout_s=0.01) is None


def test_a_closed_queue_gives_what_waits_and_takes_nothing():
    queue = DroppingQueue(3)
    queue.put(1)
    queue.close()
    queue.put(2)
    assert queue.take() == 1
    with pytest.raises(ClosedQueueError):
        queue.take()


def test_a_discarded_queue_wakes_who_waits():
    queue, ended = DroppingQueue(), []

    def wait():
        try:
            queue.take()
        except ClosedQueueError:
            ended.append(True)

    waiting = threading.Thread(target=wait)
    waiting.start()
    queue.close(discard=True)
    waiting.join(5)
    assert ended == [True]


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_queue_holds_something(capacity):
    with pytest.raises(ValueError):
        DroppingQueue(capacity)


def test_nothing_is_lost_between_stages_that_keep_up():
    got, taken = [], threading.Semaphore(0)

    def keep(parcel):
        got.append(parcel.content)
        taken.release()

    last = Stage("last", keep)
    double = Stage("double", lambda parcel: 2 * parcel.content, [last.inbox])
    source = Numbers(double.inbox, 50, lambda number: number == 0 or taken.acquire(timeout=10))
    with Pipeline([source, double, last]) as pipeline:
        assert pipeline.wait(20)
        pipeline.check()
        readings = {reading.stage: reading for reading in pipeline.readings()}
    assert got == [2 * number for number in range(50)]
    assert readings["double"].frames_in == readings["double"].frames_out == 50 and readings["double"].dropped == 0
    assert live_threads() == []


def test_a_slow_stage_drops_late_frames_and_keeps_their_order():
    """The source gives three frames while one is worked on: the newest of them must be the next."""
    got, begun, go_on = [], threading.Semaphore(0), threading.Semaphore(0)

    def slow(parcel):
        begun.release()
        assert go_on.acquire(timeout=10)
        got.append(parcel.content)

    stage = Stage("slow", slow)

    def gate(number):
        if number == 0:
            return
        if number == 1:
            assert begun.acquire(timeout=10)
        elif number % 3 == 1:
            go_on.release()
            assert begun.acquire(timeout=10)

    def let_the_last_go(number):
        gate(number)
        if number == 15:
            go_on.release(2)

    with Pipeline([Numbers(stage.inbox, 16, let_the_last_go), stage]) as pipeline:
        assert pipeline.wait(20)
        pipeline.check()
    assert got == [0, 3, 6, 9, 12, 15]
    assert stage.reading().dropped == 10 and stage.reading().frames_in == 6


def test_a_kept_back_frame_reaches_nobody():
    got = []
    last = Stage("last", lambda parcel: got.append(parcel.number), capacity=10)
    odd = Stage("odd", lambda parcel: parcel.number if parcel.number % 2 else None, [last.inbox], capacity=10)
    with Pipeline([Numbers(odd.inbox, 6), odd, last]) as pipeline:
        assert pipeline.wait(10)
    assert got == [1, 3, 5] and odd.reading().frames_out == 3


def test_the_first_failure_ends_all_and_is_told():
    def fail(parcel):
        if parcel.number >= 2:
            raise HeadstudioError("the third frame is cursed", next_step="pray")

    stage = Stage("cursed", fail)
    endless = Numbers(stage.inbox, 10**9, lambda number: time.sleep(0.001))
    with Pipeline([endless, stage]) as pipeline:
        assert pipeline.wait(20)
        with pytest.raises(HeadstudioError, match="cursed"):
            pipeline.check()
    assert live_threads() == []


def test_a_pipeline_that_is_stopped_leaves_no_thread_and_finishes_each_stage_once():
    finished = []
    last = Stage("last", lambda parcel: None, finish=lambda: finished.append("last"))
    first = Stage("first", lambda parcel: parcel.number, [last.inbox], finish=lambda: finished.append("first"))
    with Pipeline([Numbers(first.inbox, 10**9, lambda number: time.sleep(0.001)), first, last]):
        time.sleep(0.05)
    last.end()
    assert sorted(finished) == ["first", "last"] and live_threads() == []


def test_a_slow_output_does_not_hold_up_another():
    swift, gate = [], threading.Event()
    slow = Stage("slow", lambda parcel: gate.wait(10) and None)
    fast = Stage("fast", lambda parcel: swift.append(parcel.number), capacity=100)
    first = Stage("first", lambda parcel: parcel.number, [slow.inbox, fast.inbox], capacity=100)
    source = Numbers(first.inbox, 100)
    with Pipeline([source, first, slow, fast]) as pipeline:
        until = time.monotonic() + 10
        while len(swift) < 100 and time.monotonic() < until:
            time.sleep(0.01)
        assert swift == list(range(100)) and slow.reading().frames_out == 0
        gate.set()
        assert pipeline.wait(10)
    reading = slow.reading()
    assert reading.frames_in + reading.dropped == 100 and 1 <= reading.frames_in <= 2


def test_meters_tell_nearest_rank_quantiles_of_what_they_were_told():
    meter = Meter("x")
    for number in range(1, 101):
        meter.took(number / 1000, 2 * number / 1000, number % 2 == 0, number / 2000)
    meter.drop(3)
    reading = meter.reading(dropped_before=4)
    assert (reading.frames_in, reading.frames_out, reading.dropped) == (100, 50, 7)
    assert reading.work_p50_ms == pytest.approx(51) and reading.work_p95_ms == pytest.approx(96)
    assert reading.age_p95_ms == pytest.approx(192) and reading.processor_p50_ms == pytest.approx(25.5)
    assert quantile([], 0.5) == 0.0
    assert table([reading]).splitlines()[1].split()[:4] == ["x", "100", "50", "7"]


def test_meters_forget_what_is_long_past():
    meter = Meter("x")
    for _ in range(5000):
        meter.took(1.0, 1.0, True)
    for _ in range(1024):
        meter.took(0.001, 0.001, True)
    assert meter.reading().work_p95_ms == pytest.approx(1)
    assert meter.reading().frames_in == 6024


def test_tickets_keep_the_early_stages_from_working_on_what_the_late_one_drops():
    """The last stage is a hundred times slower: without tickets the first would work on every frame."""
    tickets, got = Tickets(2), []
    give_back = lambda passed_on: tickets.give_back()  # noqa: E731
    take = lambda parcel: time.sleep(0.02) or got.append(parcel.number)  # noqa: E731
    slow = Stage("slow", take, capacity=2, arrived=give_back)
    swift = Stage("swift", lambda parcel: parcel.number, [slow.inbox], capacity=1, tickets=tickets)
    with Pipeline([Numbers(swift.inbox, 500, lambda number: time.sleep(0.0005)), swift, slow]) as pipeline:
        assert pipeline.wait(30)
        pipeline.check()
    assert slow.reading().dropped == 0 and got == sorted(got)
    assert swift.reading().frames_in == slow.reading().frames_in == len(got)
    assert swift.reading().dropped == 500 - len(got) and len(got) <= 500 / 2
    assert live_threads() == []


def test_a_stage_that_waits_for_a_ticket_can_be_stopped():
    tickets = Tickets(1)
    first = Stage("first", lambda parcel: parcel.number, tickets=tickets)
    with Pipeline([Numbers(first.inbox, 10**9, lambda number: time.sleep(0.001)), first]):
        time.sleep(0.05)
    assert live_threads() == [] and first.reading().frames_in == 1


def test_a_new_limit_holds_at_once():
    tickets, taken = Tickets(1), []

    def take():
        for number in range(3):
            tickets.take()
            taken.append(number)

    taking = threading.Thread(target=take)
    taking.start()
    tickets.limit(3)
    taking.join(10)
    assert taken == [0, 1, 2]
    tickets.limit(1)  # three are out: two must come back before another one may go
    tickets.give_back()
    tickets.give_back()
    assert tickets._free == 0


@pytest.mark.parametrize(
    ("works_ms", "frames"),
    [((27, 12, 21, 5, 12), 3), ((4600, 900, 750, 4, 140), 1), ((10, 10), 2), ((5,) * 9, 3), ((0, 0), 1), ((7, 0), 1)],
)
def test_as_many_frames_as_keep_the_slowest_stage_busy(works_ms, frames):
    readings = [Reading("x", 1, 1, 0, 1.0, float(work), 0.0, 0.0, 0.0, 0.0) for work in works_ms]
    assert frames_on_the_way(readings, 3) == frames
