"""What stands between a network and a codec: one sender is followed, everything else is dropped and counted."""

from dataclasses import dataclass

from headstudio.protocols.codec import Codec
from headstudio.protocols.frame import FaceFrame, LatePacketError, MalformedPacketError

MOST_BYTES = 16384
"""Longer datagrams are dropped unread; the longest of real senders, a VMC bundle of face and body, has about 6000."""
SILENCE_S = 1.0
"""After so long without a word from the followed sender, another one is followed."""
_BACK_S = 1.0
"""A clock that steps back further than this was set anew."""


@dataclass(frozen=True)
class Counts:
    """What became of the datagrams; `received` is the sum of the others."""

    received: int = 0
    """All."""
    frames: int = 0
    """Those that completed a frame."""
    partial: int = 0
    """Understood, but no frame: the rest is still to come, or no face is seen."""
    malformed: int = 0
    """Not of this protocol, truncated, or with impossible numbers."""
    oversized: int = 0
    """Longer than any sender's."""
    foreign: int = 0
    """Of another sender or subject than the one that is followed."""
    late: int = 0
    """Repeated, or overtaken by a later one."""


class Intake:
    """Datagrams in, frames out; never raises, whatever comes, and remembers no more than one sender."""

    def __init__(self, codec: Codec, subject: str | None = None, only_from: str | None = None) -> None:
        """Follow one sender.

        Args:
            codec: the protocol; used by this intake alone.
            subject: follow only who is called so; by default whoever comes first.
            only_from: listen only to this address; by default to whoever comes first.
        """
        self._codec, self._subject, self._only_from = codec, subject, only_from
        self._host: str | None = None
        self._heard_s = 0.0
        self._last: FaceFrame | None = None
        self._counts = dict.fromkeys(vars(Counts()), 0)

    @property
    def counts(self) -> Counts:
        """What became of the datagrams so far."""
        return Counts(**self._counts)

    def accept(self, datagram: bytes, host: str, received_s: float) -> FaceFrame | None:
        """The frame that a datagram completes.

        Args:
            datagram: what came.
            host: the sender's address.
            received_s: when, on a clock that only goes forward.
        """
        frame, fate = self._judged(datagram, host, received_s)
        self._counts["received"] += 1
        self._counts[fate] += 1
        return frame

    def _judged(self, datagram: bytes, host: str, received_s: float) -> tuple[FaceFrame | None, str]:
        if len(datagram) > MOST_BYTES:
            return None, "oversized"
        if (self._only_from or host) != host or not self._may_speak(host, received_s):
            return None, "foreign"
        try:
            frame = self._codec.decode(datagram, received_s)
        except MalformedPacketError:
            return None, "malformed"
        except LatePacketError:
            return None, "late"
        if frame is not None and not self._is_followed(frame, received_s):
            return None, "foreign"
        if frame is not None and self._last is not None and -_BACK_S <= frame.time_s - self._last.time_s <= 0:
            return None, "late"
        self._host, self._heard_s = host, received_s
        self._last = frame or self._last
        return frame, "partial" if frame is None else "frames"

    def _may_speak(self, host: str, received_s: float) -> bool:
        if self._host is None or host == self._host:
            return True
        if received_s - self._heard_s < SILENCE_S:
            return False
        self._codec.reset()
        self._host, self._last = None, None
        return True

    def _is_followed(self, frame: FaceFrame, received_s: float) -> bool:
        if self._subject is not None:
            return frame.subject == self._subject
        if self._last is None or frame.subject == self._last.subject:
            return True
        if received_s - self._heard_s < SILENCE_S:
            return False
        self._last = None
        return True
