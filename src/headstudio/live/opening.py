"""From what people type to a source."""

from pathlib import Path

from headstudio.errors import HeadstudioError
from headstudio.live.cameras import STREAMS, Camera, FilmedFile, Stream
from headstudio.live.faces import Phone, Recording, Still
from headstudio.live.sources import LiveSource
from headstudio.protocols.codec import PROTOCOLS
from headstudio.protocols.files import format_of, read_motion
from headstudio.protocols.receiver import LOOPBACK

STILL = "still"


def source_of(
    text: str, repeat: bool = False, host: str = LOOPBACK, port: int | None = None, phone: str | None = None
) -> LiveSource:
    """The source that a text names; not yet open.

    Args:
        text: the number of a camera, a file (a video or any motion), an address that FFmpeg reads, a protocol's name,
            or `still`.
        repeat: play a file again and again.
        host: where a protocol is listened to.
        port: likewise; the protocol's own when None.
        phone: who alone is listened to.
    """
    if text in PROTOCOLS:
        if port is not None and not 0 <= port < 65536:
            raise HeadstudioError(f"{port} is no port", next_step="give one from 1 to 65535")
        return Phone(text, host, port, phone)
    if text == STILL:
        return Still()
    if text.isascii() and text.isdigit():
        if len(text) > 3:
            raise _unknown(text)
        return Camera(int(text))
    if text.lower().startswith(STREAMS):
        return Stream(text)
    path = Path(text)
    if "://" in text or not text or not path.exists():
        raise _unknown(text)
    if format_of(path) is not None:
        return Recording(read_motion(path).motion, path.name, repeat)
    return FilmedFile(path, repeat)


def _unknown(text: str) -> HeadstudioError:
    return HeadstudioError(
        f"{text!r} is no source",
        next_step=f"give a camera's number, a file, an address such as rtsp://..., {', '.join(PROTOCOLS)} or {STILL}",
    )
