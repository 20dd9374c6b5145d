"""A live session: source, tracker, driver, avatar and outputs put together, run and taken apart again."""

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.capture.detector import Detector, FaceDetector
from headstudio.drivers.drive import orbit_view, size_ratio
from headstudio.errors import HeadstudioError
from headstudio.live.config import LiveConfig
from headstudio.live.controls import Controls, Settings
from headstudio.live.feeding import Feed
from headstudio.live.introduction import Introduction, Listening, Looking, Tracking
from headstudio.live.meters import Reading
from headstudio.live.personal import Calibration, Personal, known_neutral
from headstudio.live.pipeline import Parcel, Pipeline, Stage
from headstudio.live.queues import DroppingQueue, Tickets
from headstudio.live.rendering import LEAST_PX, MOST_PX, LiveRenderer, Painted
from headstudio.live.sources import LiveSource
from headstudio.live.transfer import Transfer
from headstudio.motion.arkit import NAMES
from headstudio.records.avatar import AtRest
from headstudio.records.channels import Channel, Channels
from headstudio.training.contract import AvatarModel, Driver

_AWAKE_S, _DRAWING_S = 0.1, 0.01
"""How often the main thread looks around: without a window, and with one."""

_FITTED_EVERY = 8
"""Frames after which it is found out anew how many should be on their way."""
_SWITCH_S = 0.0005
"""How long one thread may keep Python from the others; at the usual 5 ms, each of a stage's hundred small calls into
PyTorch may wait so long for another stage."""


class Session:
    """Used in a `with`: everything that it opens is closed at its end, whatever happened.

    Args:
        avatar: declares REALTIME.
        at_rest: the avatar's person at rest.
        source: not yet open.
        config: how.
        personal: of a driver who is known; a source that knows its own neutral needs none.
        driver: a trained driver.
        background: behind the head, sRGB in [0, 1].
        met: called once with the result of a calibration, in another thread.
        tell: is told in sentences what happens to the source, in another thread.
        detector: what finds faces; MediaPipe's when None.

    Raises:
        HeadstudioError: the avatar, the driver or the source cannot do this.
    """

    def __init__(
        self,
        avatar: AvatarModel,
        at_rest: AtRest,
        source: LiveSource,
        config: LiveConfig | None = None,
        *,
        personal: Personal | None = None,
        driver: Driver | None = None,
        background: Float[Tensor, "3 height width"] | None = None,
        met: Callable[[Personal], None] = lambda personal: None,
        tell: Callable[[str], None] = lambda sentence: None,
        detector: Detector | None = None,
    ) -> None:
        self.config = config or LiveConfig()
        _check(self.config)
        read = _read_off(driver, source)
        self.controls = Controls(Settings(exaggeration=self.config.exaggeration))
        self.source = source
        self._avatar, self._tell, self._message = avatar, tell, ""
        neutral = getattr(source, "neutral", None)
        personal = personal if neutral is None else known_neutral(neutral)
        calibration = Calibration(self.config.neutral_s, self.config.range_s)
        self._introduction = Introduction(personal, calibration, met)
        self._outputs: list[Stage] = []
        self._outboxes: list[DroppingQueue[Parcel]] = []
        self._pipeline: Pipeline | None = None
        with contextlib.ExitStack() as opened:
            opened.callback(source.close)
            source.open()
            perceiving = self._perceiving(opened, detector, read)
            # Meanwhile the tracker's process starts.
            self._transfer = Transfer(avatar, at_rest, neck=self.config.neck, driver=driver)
            self._fit_to(personal)
            self._renderer = self._rendered(at_rest, background)
            for work in perceiving:
                work.get_ready()
            self._opened = opened.pop_all()
        self._chain = self._stages(perceiving)
        self._feed = Feed(source, [self._chain[0].inbox], self.config.reconnect_s, self._hear_of_source)

    def add(self, output: Any, capacity: int = 1) -> None:
        """Send the frames there too.

        Args:
            output: has a name, is called with a parcel of `Shown` in a thread of its own, and ends with `finish`.
            capacity: frames that may wait for it.
        """
        stage = Stage(output.name, output, capacity=capacity, finish=output.finish)
        self._opened.callback(stage.end)
        self._outputs.append(stage)
        self._outboxes.append(stage.inbox)

    @property
    def message(self) -> str:
        """What the driver should know now; empty when nothing."""
        return self._message or self._introduction.message

    def state(self) -> Mapping[str, Any]:
        """Everything that a page shows, as plain data."""
        meters = [vars(reading) for reading in self.readings()]
        told = {"source": self.source.name, "message": self.message, "names": list(NAMES), "meters": meters}
        return {**told, **self.source.facts()}

    def readings(self) -> list[Reading]:
        """What the meters show, from the source to the outputs."""
        return [] if self._pipeline is None else self._pipeline.readings()

    @property
    def reconnected(self) -> int:
        """How often the source was lost and came back."""
        return self._feed.reconnected

    def run(
        self,
        seconds: float | None = None,
        look: Callable[[], bool] | None = None,
        report: Callable[[], None] = lambda: None,
        report_every_s: float = 5.0,
    ) -> None:
        """Run until the source ends, the time is over, somebody interrupts, or `look` says that it is enough.

        Args:
            seconds: how long at most.
            look: called often in this thread; False ends the session.
            report: called now and then in this thread.
            report_every_s: how often.
        """
        threads, interval_s = torch.get_num_threads(), sys.getswitchinterval()
        torch.set_num_threads(1)  # the stages share the cores already
        sys.setswitchinterval(_SWITCH_S)
        begun_s = told_s = time.perf_counter()
        try:
            with Pipeline([self._feed, *self._chain, *self._outputs]) as pipeline:
                self._pipeline = pipeline
                while not pipeline.wait(_AWAKE_S if look is None else _DRAWING_S):
                    now_s = time.perf_counter()
                    if look is not None and not look():
                        break
                    if seconds is not None and now_s - begun_s >= seconds:
                        break
                    if now_s - told_s >= report_every_s:
                        told_s = now_s
                        report()
            pipeline.check()
        finally:
            torch.set_num_threads(threads)
            sys.setswitchinterval(interval_s)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _perceiving(
        self, opened: contextlib.ExitStack, detector: Detector | None, read: Collection[Channel]
    ) -> list[Any]:
        """What makes signals of what the source gives; closed with `opened`."""
        if not self.source.pictures:
            return [Listening(self._introduction)]
        tracking = Tracking(self._introduction, self.config.neutral_s, self.config.head_model)
        opened.callback(tracking.finish)
        looking = Looking(detector or FaceDetector(), read)
        opened.callback(looking.finish)
        return [looking, tracking]

    def _rendered(self, at_rest: AtRest, background: Tensor | None) -> LiveRenderer:
        config = self.config
        resting = self._transfer(None, None, self.controls.settings)
        view = orbit_view(at_rest, config.size_px, config.yaw_deg, config.pitch_deg)
        return LiveRenderer(self._avatar, view, resting, background, config.graph)

    def _stages(self, perceiving: Sequence[Any]) -> list[Stage]:
        """The stages between source and outputs, in the order of the flow."""
        works = [(work.name, work) for work in perceiving]
        works += [("drive", self._drive), ("paint", self._paint), ("draw", self._draw)]
        tickets = Tickets(self.config.on_the_way)

        def arrived(passed_on: bool, last: bool) -> None:
            if last and stages[-1].meter.frames % _FITTED_EVERY == 0:
                tickets.limit(frames_on_the_way([stage.reading() for stage in stages], self.config.on_the_way))
            if last or not passed_on:
                tickets.give_back()

        stages: list[Stage] = []
        outboxes: Sequence[DroppingQueue[Parcel]] = self._outboxes
        for index, (name, work) in reversed(list(enumerate(works))):
            first, last = index == 0, index == len(works) - 1
            # Only the first queue drops: behind it there is room for as many as have tickets.
            room = self.config.queue if first else self.config.on_the_way
            tell = functools.partial(arrived, last=last)
            stages.insert(0, Stage(name, work, outboxes, room, tickets=tickets if first else None, arrived=tell))
            outboxes = [stages[0].inbox]
        return stages

    def _drive(self, parcel: Parcel) -> Channels:
        if self._introduction.personal is not self._fitted:
            self._fit_to(self._introduction.personal)
        return self._transfer(parcel.content.signals, self._introduction.personal, self.controls.settings)

    def _paint(self, parcel: Parcel) -> Painted:
        return self._renderer.paint(parcel.content)

    def _draw(self, parcel: Parcel) -> Any:
        return self._renderer.draw(parcel.content)

    def _fit_to(self, personal: Personal | None) -> None:
        self._fitted = personal
        if personal is not None and personal.met is not None:
            self._transfer.size_ratio = size_ratio(self._avatar.identity, personal.met.sitter.identity)

    def _hear_of_source(self, sentence: str) -> None:
        self._message = "" if sentence.endswith("is back") else sentence
        self._tell(sentence)


def frames_on_the_way(readings: Sequence[Reading], most: int) -> int:
    """How many frames keep the slowest stage busy without waiting long before it: all work over the slowest's."""
    works_ms = [reading.work_p50_ms for reading in readings]
    return min(max(round(sum(works_ms) / max(*works_ms, 1e-9)), 1), most)


def _check(config: LiveConfig) -> None:
    if not LEAST_PX <= config.size_px <= MOST_PX:
        raise _wrong("size_px", f"{LEAST_PX} to {MOST_PX}")
    if not 0 < config.neutral_s <= 60:
        raise _wrong("neutral_s", "above 0 to 60")
    if not 0 <= config.range_s <= 600:
        raise _wrong("range_s", "0 to 600")
    if not 0 <= config.exaggeration <= 3:
        raise _wrong("exaggeration", "0 to 3")
    if not 0 <= config.neck.follow <= 1:
        raise _wrong("neck.follow", "0 to 1")
    if not 1 <= config.queue <= 1000:
        raise _wrong("queue", "1 to 1000")
    if not 1 <= config.on_the_way <= 100:
        raise _wrong("on_the_way", "1 to 100")
    if not 1 <= config.graph.threads <= 64:
        raise _wrong("graph.threads", "1 to 64")


def _read_off(driver: Driver | None, source: LiveSource) -> list[Channel]:
    """The channels that a driver reads off pictures of faces."""
    if driver is None:
        return []
    from headstudio.capture.face_signals import is_read

    read = [channel for channel in driver.consumes if is_read(channel)]
    if read and not source.pictures:
        raise HeadstudioError(
            f"this driver looks at {read[0]}, and {source.name} has no pictures",
            next_step="take a camera or a video as the source",
        )
    return read


def _wrong(name: str, allowed: str) -> HeadstudioError:
    return HeadstudioError(f"{name} is out of range", next_step=f"give a value from {allowed}")
