"""From what is seen to what drives: who it is, how they look at rest, and the signals of every frame after that."""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from headstudio.capture.detector import Detector
from headstudio.capture.follow import FaceFollower
from headstudio.errors import HeadstudioError
from headstudio.live.apart import Apart
from headstudio.live.following import Answer, Follower, Met
from headstudio.live.personal import Calibration, Personal
from headstudio.live.pipeline import Parcel
from headstudio.records.channels import ARKIT, Channel, Channels

_NOWHERE = np.full((478, 3), np.nan)
"""Landmarks of no face."""


class Seen(NamedTuple):
    """What a picture showed."""

    landmarks_px: Float[np.ndarray, "478 3"] | None
    width_px: int
    height_px: int
    read: Channels
    """What a driver reads off the face in the picture; one frame of each channel."""


class Heard(NamedTuple):
    """What drives, after the driver is known."""

    signals: Channels | None
    """None while nobody is known, or nothing new was told by a source that never told anything."""
    confidence: float
    """In [0, 1]; 0 where no face was seen."""


class Looking:
    """The detector's stage.

    Args:
        detector: finds faces and their landmarks.
        wanted: channels that a driver reads off the picture of a face (`headstudio.capture.face_signals`).
    """

    name = "detect"

    def __init__(self, detector: Detector, wanted: Collection[Channel] = ()) -> None:
        self._detector = detector
        self._follower = FaceFollower(detector)
        self._readers: dict[Channel, Any] = {}
        if wanted:
            from headstudio.capture.face_signals import face_reader

            self._readers = {channel: face_reader(channel) for channel in wanted}

    def __call__(self, parcel: Parcel) -> Seen:
        """Find the followed face."""
        picture = parcel.content.picture
        landmarks_px = self._follower.look(picture).landmarks_px
        where = _NOWHERE if landmarks_px is None else landmarks_px
        read = {channel: reader.read(picture, where)[None] for channel, reader in self._readers.items()}
        return Seen(landmarks_px, picture.shape[1], picture.shape[0], read)

    def get_ready(self) -> None:
        """Nothing to wait for."""

    def finish(self) -> None:
        """Give the models back."""
        self._detector.close()
        for reader in self._readers.values():
            reader.close()


class Introduction:
    """Waits until there is a calibration, and tells what is still to be done for it.

    Args:
        personal: of a driver who is known already.
        calibration: what a new one goes through.
        met: called with the result of a calibration, for example to store it.
    """

    def __init__(
        self,
        personal: Personal | None,
        calibration: Calibration,
        met: Callable[[Personal], None] = lambda personal: None,
    ) -> None:
        self.personal = personal
        self._calibration, self._tell = calibration, met
        self.meeting_s: float | None = None
        """Seconds of a face until the tracker knows the person; None where it does or where nobody is tracked here."""

    @property
    def message(self) -> str:
        """What the driver should do now; empty when nothing."""
        if self.personal is not None:
            return ""
        if self._calibration.moving:
            return (
                "Move everything as far as it goes (eyes, brows, cheeks, lips, jaw): "
                f"{self._calibration.left_s:.0f} s left."
            )
        left_s = self._calibration.left_s if self.meeting_s is None else self.meeting_s
        return f"Look into the camera with a neutral face: {left_s:.1f} s left."

    def see(self, signals: Channels, time_s: float, confidence: float, who: Met | None = None) -> None:
        """Take a frame into account; nothing happens once the driver is known."""
        if self.personal is not None:
            return
        found = self._calibration.see(signals, time_s, confidence)
        if found is not None:
            self.personal = replace(found, met=who)
            self._tell(self.personal)


class Tracking:
    """The stage that follows the face in pictures; the tracker itself lives in a process of its own.

    Args:
        introduction: what to do with its first answers.
        config: seconds and head model for new persons.
    """

    name = "track"

    def __init__(self, introduction: Introduction, meeting_s: float, head: str) -> None:
        self.introduction = introduction
        self.met = None if introduction.personal is None else introduction.personal.met
        if introduction.personal is not None and self.met is None:
            raise HeadstudioError(
                "this driver's profile was made without a camera", next_step="calibrate again with --recalibrate"
            )
        self.elsewhere_s = 0.0
        """Processor time that the last frame took in the other process."""
        self._follower = Apart(Follower, None if self.met is None else self.met.plain(), meeting_s, head)

    def get_ready(self) -> None:
        """Wait until the tracker's process can follow."""
        self._follower.call("size")

    def __call__(self, parcel: Parcel) -> Heard:
        """Follow the face of one picture."""
        seen: Seen = parcel.content
        answer: Answer = self._follower.call("step", seen.landmarks_px, parcel.time_s, seen.width_px, seen.height_px)
        self.elsewhere_s = answer.processor_s
        if answer.met is not None:
            self.met = Met.from_plain(answer.met)
        self.introduction.meeting_s = None if self.met is not None else answer.left_s
        told = [(signals.tensors(), signals) for signals in answer.signals]
        for channels, signals in told:
            self.introduction.see(channels, signals.time_s, signals.confidence, self.met)
        if not told:
            return Heard(None, 0.0)
        channels, last = told[-1]
        return Heard({**channels, **seen.read}, last.confidence)

    def finish(self) -> None:
        """End the tracker's process."""
        self._follower.close()


class Listening:
    """The stage that takes signals of others as they are; between two of them the last one holds."""

    name = "listen"

    def __init__(self, introduction: Introduction) -> None:
        self.introduction = introduction
        self._last: Channels | None = None

    def __call__(self, parcel: Parcel) -> Heard:
        """Take the signals of one frame."""
        told = parcel.content.signals
        if told is None:
            return Heard(self._last, 0.0)
        signals = {channel: torch.as_tensor(values) for channel, values in told.items()}
        self._last = signals
        self.introduction.see(signals, parcel.time_s, 1.0 if ARKIT in signals else 0.0)
        return Heard(signals, 1.0)

    def get_ready(self) -> None:
        """Nothing to wait for."""

    def finish(self) -> None:
        """Nothing to give back."""
