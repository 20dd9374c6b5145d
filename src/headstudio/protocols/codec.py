"""What a protocol is to the rest: datagrams to frames and frames to datagrams."""

import abc
import importlib
from typing import ClassVar

from headstudio.errors import HeadstudioError
from headstudio.protocols.frame import FaceFrame

_HOMES = {
    "livelink": "headstudio.protocols.livelink:LiveLinkFace",
    "ifacialmocap": "headstudio.protocols.ifacialmocap:IFacialMocap",
    "vmc": "headstudio.protocols.vmc:Vmc",
}

PROTOCOLS = tuple(_HOMES)
"""The names by which `codec` knows them."""


class Codec(abc.ABC):
    """One protocol for one sender. It may remember what it was told, but never more than one frame's worth."""

    name: ClassVar[str]
    port: ClassVar[int]
    """Where receivers listen unless the user says otherwise."""

    @abc.abstractmethod
    def decode(self, datagram: bytes, received_s: float) -> FaceFrame | None:
        """The frame that a datagram completes; None where it is understood and completes none.

        Args:
            datagram: what came.
            received_s: when, on the receiver's clock; the frame's time where the sender tells none.

        Raises:
            MalformedPacketError: it does not follow the protocol; nothing of it was taken over.
            LatePacketError: a later one has come before it.
        """

    @abc.abstractmethod
    def encode(self, frame: FaceFrame) -> tuple[bytes, ...]:
        """The datagrams that tell a frame, each short enough to travel in one piece."""

    def reset(self) -> None:  # noqa: B027 - most protocols remember nothing
        """Forget the sender."""


def codec(name: str) -> Codec:
    """The codec of a protocol by its name."""
    if name not in _HOMES:
        raise HeadstudioError(f"no protocol is called {name}", next_step=f"choose one of: {', '.join(PROTOCOLS)}")
    module, _, kind = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), kind)()
