"""Open Sound Control 1.0: the messages of a packet, and packets of messages.

Source: https://opensoundcontrol.stanford.edu/spec-1_0.html
"""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from headstudio.protocols.frame import MalformedPacketError

Argument: TypeAlias = float | int | str | bytes | bool | None

DEEPEST_BUNDLE = 4
"""Bundles within bundles; real senders have one."""

_BUNDLE = b"#bundle\0"
_IMMEDIATELY = b"\0\0\0\0\0\0\0\1"
_INT = struct.Struct("!i")
_FIXED = {
    "i": _INT,
    "f": struct.Struct("!f"),
    "h": struct.Struct("!q"),
    "d": struct.Struct("!d"),
    "t": struct.Struct("!Q"),
}
_CONSTANT = {"T": True, "F": False, "N": None}


class Message(NamedTuple):
    """An address and its arguments."""

    address: str
    arguments: tuple[Argument, ...]


def parse(packet: bytes) -> list[Message]:
    """All messages of a packet, in order, those of bundles included.

    Raises:
        MalformedPacketError: any part of the packet does not follow the format.
    """
    return list(_elements(packet, 0))


def message(address: str, *arguments: float | int | str) -> bytes:
    """A message of floats, integers and strings."""
    tags, data = ",", b""
    for argument in arguments:
        if isinstance(argument, str):
            tags, data = tags + "s", data + _padded(argument)
        elif isinstance(argument, int):
            tags, data = tags + "i", data + _INT.pack(argument)
        else:
            tags, data = tags + "f", data + _FIXED["f"].pack(argument)
    return _padded(address) + _padded(tags) + data


def bundles(messages: Sequence[bytes], most_bytes: int) -> tuple[bytes, ...]:
    """The messages in bundles of no more than so many bytes, in order; a longer message is alone."""
    empty = _BUNDLE + _IMMEDIATELY
    made, current = [], empty
    for data in messages:
        if current != empty and len(current) + 4 + len(data) > most_bytes:
            made.append(current)
            current = empty
        current += _INT.pack(len(data)) + data
    return (*made, current)


def _elements(packet: bytes, depth: int) -> Iterator[Message]:
    if not packet.startswith(_BUNDLE):
        yield _message(packet)
        return
    if depth == DEEPEST_BUNDLE or len(packet) < 16:
        raise MalformedPacketError("not a bundle")
    at = 16
    while at < len(packet):
        size, at = _int(packet, at), at + 4
        if size <= 0 or size % 4 or len(packet) < at + size:
            raise MalformedPacketError("an element longer than its bundle")
        yield from _elements(packet[at : at + size], depth + 1)
        at += size


def _message(packet: bytes) -> Message:
    if not packet.startswith(b"/") or len(packet) % 4:
        raise MalformedPacketError("not a message")
    address, at = _string(packet, 0)
    tags, at = _string(packet, at)
    if not tags.startswith(","):
        raise MalformedPacketError("no types")
    arguments: list[Argument] = []
    for tag in tags[1:]:
        if tag in _FIXED:
            arguments += _fixed(_FIXED[tag], packet, at)
            at += _FIXED[tag].size
        elif tag == "s":
            text, at = _string(packet, at)
            arguments.append(text)
        elif tag == "b":
            data, at = _blob(packet, at)
            arguments.append(data)
        elif tag in _CONSTANT:
            arguments.append(_CONSTANT[tag])
        else:
            raise MalformedPacketError("an unknown type")
    if at != len(packet):
        raise MalformedPacketError("more data than types")
    return Message(address, tuple(arguments))


def _fixed(form: struct.Struct, packet: bytes, at: int) -> tuple[Argument, ...]:
    if len(packet) < at + form.size:
        raise MalformedPacketError("truncated")
    return form.unpack_from(packet, at)


def _int(packet: bytes, at: int) -> int:
    return int.from_bytes(packet[at : at + 4], "big", signed=True)


def _string(packet: bytes, at: int) -> tuple[str, int]:
    end = packet.find(b"\0", at)
    if end < 0:
        raise MalformedPacketError("a string without end")
    try:
        return packet[at:end].decode("utf-8"), at + (end - at) // 4 * 4 + 4
    except UnicodeDecodeError:
        raise MalformedPacketError("a string that is no text") from None


def _blob(packet: bytes, at: int) -> tuple[bytes, int]:
    size, start = _int(packet, at), at + 4
    if size < 0 or len(packet) < start + size:
        raise MalformedPacketError("a blob longer than its message")
    return packet[start : start + size], start + (size + 3) // 4 * 4


def _padded(text: str) -> bytes:
    data = text.encode("utf-8").replace(b"\0", b"")
    return data + b"\0" * (4 - len(data) % 4)
