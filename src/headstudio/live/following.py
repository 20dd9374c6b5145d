"""From landmarks to signals: who sits there is found in the first seconds, and then followed frame by frame."""

import time
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from headstudio.heads import load_head
from headstudio.records.channels import Channels
from headstudio.records.track import HeadIdentity
from headstudio.tracking.config import CausalConfig, TrackingConfig
from headstudio.tracking.live import CausalTracker
from headstudio.tracking.sitter import Sitter, calibrate

_MOST_FRAMES = 40
"""Frames of the first seconds that a person is found from; more take longer and tell little more."""


class Met(NamedTuple):
    """A person, and the size of the pictures through whose lens they were met."""

    sitter: Sitter
    width_px: int
    height_px: int

    def seen_at(self, width_px: int, height_px: int) -> Sitter:
        """The same person in pictures of the same camera at another size, cut in the middle where the shape differs."""
        scale = max(width_px, height_px) / max(self.width_px, self.height_px)
        K_px = self.sitter.K_px.clone()
        K_px[:2] *= scale
        K_px[0, 2] += (width_px - scale * self.width_px) / 2
        K_px[1, 2] += (height_px - scale * self.height_px) / 2
        return self.sitter._replace(K_px=K_px, size_px=max(width_px, height_px))

    def plain(self) -> dict[str, Any]:
        """The same as plain data and arrays, which travel between processes."""
        sitter = self.sitter
        arrays = {"coefficients": sitter.identity.coefficients, "offsets_m": sitter.identity.offsets_m}
        arrays |= {"K_px": sitter.K_px, "bias": sitter.bias}
        told = {name: None if value is None else value.numpy() for name, value in arrays.items()}
        sizes = {"size_px": sitter.size_px, "width_px": self.width_px, "height_px": self.height_px}
        return {**told, **sizes, "head": sitter.identity.head, "usual_error_m": sitter.usual_error_m}

    @classmethod
    def from_plain(cls, told: dict[str, Any]) -> "Met":
        """What `plain` took apart."""
        arrays = {name: None if told[name] is None else torch.as_tensor(told[name]) for name in _ARRAYS}
        coefficients, K_px = arrays["coefficients"], arrays["K_px"]
        assert coefficients is not None and K_px is not None
        identity = HeadIdentity(told["head"], coefficients, arrays["offsets_m"])
        sitter = Sitter(identity, K_px, told["size_px"], told["usual_error_m"], arrays["bias"])
        return cls(sitter, told["width_px"], told["height_px"])


_ARRAYS = ("coefficients", "offsets_m", "K_px", "bias")


class Signals(NamedTuple):
    """What one frame told, as arrays that travel between processes."""

    time_s: float
    channels: dict[str, np.ndarray]
    """One frame of each channel, by its name."""
    confidence: float
    """In [0, 1]; 0 where no face was seen."""

    def tensors(self) -> Channels:
        """The channels as the rest of the program knows them."""
        from headstudio.records.channels import Channel

        return {Channel.parse(name): torch.from_numpy(values) for name, values in self.channels.items()}


class Answer(NamedTuple):
    """What the follower has to say after a frame."""

    signals: list[Signals]
    """None while the person is not known; then those of the first seconds at once; then one a frame."""
    met: dict[str, Any] | None = None
    """The person, in the answer in which they were found (`Met.from_plain`)."""
    left_s: float = 0.0
    """Seconds of a face that are still needed to know the person."""
    processor_s: float = 0.0
    """Processor time that the answer took."""


class Follower:
    """Meets a person and follows them; made for a process of its own, so everything in and out is plain.

    Args:
        met: who it is (`Met.plain`); found in the first `meeting_s` seconds that show a face when None.
        meeting_s: seconds.
        head: registered name of the head model for a new person.
    """

    def __init__(self, met: dict[str, Any] | None = None, meeting_s: float = 3.0, head: str = "makehuman") -> None:
        self._met = None if met is None else Met.from_plain(met)
        self._head = load_head(head if self._met is None else self._met.sitter.identity.head)
        self._config = TrackingConfig(head=self._head.name)
        self._meeting_s = meeting_s
        self._waiting: list[tuple[np.ndarray, float]] = []
        self._tracker: CausalTracker | None = None
        self._size = (0, 0)

    def size(self) -> int:
        """Number of the head model's vertices; what somebody asks who wants to know whether it is there."""
        return self._head.vertices

    def step(
        self, landmarks_px: Float[np.ndarray, "478 3"] | None, time_s: float, width_px: int, height_px: int
    ) -> Answer:
        """The next frame.

        Args:
            landmarks_px: of the detector in pixels of the picture; None without a face.
            time_s: when it was taken.
            width_px: of the picture.
            height_px: likewise.
        """
        begun_s = time.process_time()
        answer = self._answer(landmarks_px, time_s, width_px, height_px)
        return answer._replace(processor_s=time.process_time() - begun_s)

    def _answer(self, landmarks_px: np.ndarray | None, time_s: float, width_px: int, height_px: int) -> Answer:
        if (width_px, height_px) != self._size:
            self._size, self._tracker, self._waiting = (width_px, height_px), None, []
        if self._met is not None:
            if self._tracker is None:
                sitter = self._met.seen_at(width_px, height_px)
                self._tracker = CausalTracker(sitter, CausalConfig(), self._head)
            return Answer([self._follow(landmarks_px, time_s)])
        if landmarks_px is not None and np.isfinite(landmarks_px).all():
            if self._waiting and time_s - self._waiting[-1][1] > self._meeting_s:
                self._waiting = []  # somebody else may have come meanwhile
            self._waiting.append((landmarks_px, time_s))
        seen_s = self._waiting[-1][1] - self._waiting[0][1] if self._waiting else 0.0
        if seen_s < self._meeting_s:
            return Answer([], left_s=self._meeting_s - seen_s)
        return self._meet()

    def _meet(self) -> Answer:
        waiting, self._waiting = self._waiting, []
        chosen = np.unique(np.linspace(0, len(waiting) - 1, _MOST_FRAMES).round().astype(int))
        landmarks = torch.stack([torch.from_numpy(waiting[index][0]).float() for index in chosen])
        sitter = calibrate(landmarks, *self._size, self._config, self._head)
        self._met = Met(sitter, *self._size)
        self._tracker = CausalTracker(sitter, CausalConfig(), self._head)
        return Answer([self._follow(*waiting[index]) for index in chosen], self._met.plain())

    def _follow(self, landmarks_px: np.ndarray | None, time_s: float) -> Signals:
        assert self._tracker is not None
        found = None if landmarks_px is None else torch.from_numpy(landmarks_px).float()
        with torch.inference_mode():
            followed = self._tracker.step(found, time_s)
            channels = self._tracker.record([followed], [time_s]).motion().channels
        confidence = followed.confidence if followed.seen else 0.0
        return Signals(time_s, {str(channel): values.numpy() for channel, values in channels.items()}, confidence)
