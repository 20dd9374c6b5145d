"""Faces from the network: a socket, a thread that empties it, and a short queue from which old frames fall."""

import contextlib
import socket
import threading
import time
from collections import deque
from typing import NamedTuple

from headstudio.errors import HeadstudioError
from headstudio.protocols.codec import Codec
from headstudio.protocols.frame import FaceFrame
from headstudio.protocols.intake import MOST_BYTES, Counts, Intake

LOOPBACK = "127.0.0.1"
QUEUE = 8
"""Frames that wait at most; a renderer that lags behind more than this shows the newest, not the oldest."""
_AWAKE_S = 0.1
"""How long the thread sleeps in the socket before it looks whether it should end."""


class Address(NamedTuple):
    """Where a socket listens or sends."""

    host: str
    port: int


class FaceReceiver:
    """Listens from `with` on until it is closed. What comes too fast is dropped, oldest first, and counted."""

    def __init__(
        self,
        codec: Codec,
        host: str = LOOPBACK,
        port: int | None = None,
        *,
        subject: str | None = None,
        only_from: str | None = None,
        queue: int = QUEUE,
    ) -> None:
        """Open the socket and start to listen.

        Args:
            codec: the protocol; used by this receiver alone.
            host: the address of this machine to listen at. The default hears only this machine; a phone is heard at the
                machine's address in its network, or at 0.0.0.0 for all of them.
            port: the protocol's own when None; 0 lets the system choose.
            subject: follow only who is called so.
            only_from: listen only to this address.
            queue: frames that wait at most.

        Raises:
            HeadstudioError: the address is not this machine's, or somebody else listens there.
        """
        self._intake = Intake(codec, subject, only_from)
        self._waiting: deque[FaceFrame] = deque(maxlen=queue)
        self._overrun = 0
        self._news = threading.Condition()
        self._closing = threading.Event()
        self._socket = _bound(host, codec.port if port is None else port)
        self._address = Address(*self._socket.getsockname()[:2])
        self._thread = threading.Thread(target=self._listen, name=f"{codec.name} receiver", daemon=True)
        self._thread.start()

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._address

    @property
    def counts(self) -> Counts:
        """What became of the datagrams so far."""
        return self._intake.counts

    @property
    def overrun(self) -> int:
        """Frames that nobody took in time."""
        return self._overrun

    def latest(self, timeout_s: float = 0.0) -> FaceFrame | None:
        """The newest frame that was not yet taken, waiting for one if need be; older ones are dropped and counted.

        None when none comes in time, or the receiver is closed.
        """
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._closing.is_set(), timeout_s)
            if not self._waiting:
                return None
            newest = self._waiting.pop()
            self._overrun += len(self._waiting)
            self._waiting.clear()
            return newest

    def drain(self) -> list[FaceFrame]:
        """All frames that wait, oldest first: what a recorder wants."""
        with self._news:
            frames = list(self._waiting)
            self._waiting.clear()
            return frames

    def say(self, datagram: bytes, host: str, port: int) -> None:
        """Send a datagram from the listening socket, as protocols want that answer the address which asks."""
        try:
            self._socket.sendto(datagram, (host, port))
        except OSError as error:
            raise _unreachable(Address(host, port), error) from None

    def close(self) -> None:
        """Stop to listen and give the port back; wakes whoever waits. Calling it again does nothing."""
        self._closing.set()
        with self._news:
            self._news.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._socket.close()

    def __enter__(self) -> "FaceReceiver":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        try:
            self._empty_the_socket()
        finally:  # whoever waits must not wait for ever
            self._closing.set()
            with self._news:
                self._news.notify_all()

    def _empty_the_socket(self) -> None:
        while not self._closing.is_set():
            try:
                datagram, sender = self._socket.recvfrom(MOST_BYTES + 1)
            except TimeoutError:
                continue
            except ConnectionError:  # Windows: what `say` sent last found nobody
                continue
            except OSError as error:
                if not _is_too_long(error):
                    break
                datagram, sender = b"\0" * (MOST_BYTES + 1), (LOOPBACK, 0)
            frame = self._intake.accept(datagram, str(sender[0]), time.perf_counter())
            if frame is not None:
                self._put(frame)

    def _put(self, frame: FaceFrame) -> None:
        with self._news:
            self._overrun += len(self._waiting) == self._waiting.maxlen
            self._waiting.append(frame)
            self._news.notify_all()


class FaceSender:
    """Tells frames to one address. UDP: whether anybody listens is not known."""

    def __init__(self, codec: Codec, host: str = LOOPBACK, port: int | None = None) -> None:
        """Prepare to send.

        Args:
            codec: the protocol.
            host: who is told.
            port: the protocol's own when None.
        """
        self._codec = codec
        self.address = Address(host, codec.port if port is None else port)
        self._socket = socket.socket(_family(host), socket.SOCK_DGRAM)

    def send(self, frame: FaceFrame) -> None:
        """Tell a frame.

        Raises:
            HeadstudioError: the network cannot be reached.
        """
        for datagram in self._codec.encode(frame):
            try:
                with contextlib.suppress(ConnectionError):  # nobody listens yet
                    self._socket.sendto(datagram, self.address)
            except OSError as error:
                raise _unreachable(self.address, error) from None

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def __enter__(self) -> "FaceSender":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _unreachable(address: Address, error: OSError) -> HeadstudioError:
    return HeadstudioError(
        f"nothing can be sent: {error.strerror or error}",
        where=f"{address.host}:{address.port}",
        next_step="check the address and the network",
    )


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _is_too_long(error: OSError) -> bool:
    return getattr(error, "winerror", None) == 10040  # WSAEMSGSIZE: other systems cut the datagram short instead


def _bound(host: str, port: int) -> socket.socket:
    opened = socket.socket(_family(host), socket.SOCK_DGRAM)
    try:
        opened.settimeout(_AWAKE_S)
        opened.bind((host, port))
    except (OSError, OverflowError) as error:
        opened.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise HeadstudioError(
            f"cannot listen here: {reason}",
            where=f"{host}:{port}",
            next_step="give an address of this machine and a port that nobody else uses",
        ) from None
    return opened
