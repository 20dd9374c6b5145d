"""Recordings of packets: what a protocol sent, as it came, each datagram with its time.

A line of JSON with schema, version and protocol, then for each datagram its time in seconds (float64), its length
(uint32), both big-endian, and its bytes. Written and read by this package; what is in it is checked like the network.
"""

import itertools
import json
import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.protocols.codec import PROTOCOLS, codec
from headstudio.protocols.frame import FaceFrame
from headstudio.protocols.intake import Counts, Intake
from headstudio.protocols.motions import to_frames, to_motion
from headstudio.records.motion import Motion

SCHEMA, VERSION = "headstudio.packets", 1
_LONGEST_HEADER, _LONGEST_DATAGRAM = 4096, 65535
_HEAD = struct.Struct("!dI")


@dataclass(frozen=True)
class Recording:
    """Datagrams of one protocol with their times."""

    protocol: str
    """livelink, ifacialmocap or vmc."""
    packets: tuple[tuple[float, bytes], ...]
    """Time in seconds and datagram, in the order in which they came."""

    def frames(self, subject: str | None = None) -> tuple[list[FaceFrame], Counts]:
        """The frames that a receiver would have had, and what became of the datagrams."""
        intake = Intake(codec(self.protocol), subject)
        found = [intake.accept(datagram, "", time_s) for time_s, datagram in self.packets]
        return [frame for frame in found if frame is not None], intake.counts

    def motion(self, subject: str | None = None) -> tuple[Motion, Counts]:
        """The motion of those frames, and what became of the datagrams."""
        frames, counts = self.frames(subject)
        if not frames:
            raise HeadstudioError(
                f"none of the {counts.received} packets of {self.protocol} completes a face",
                next_step="record again while the face is seen",
            )
        return to_motion(frames), counts


def is_recording(path: Path) -> bool:
    """Whether a file begins like one of ours."""
    try:
        with path.open("rb") as file:
            return file.read(len(SCHEMA) + 32).find(SCHEMA.encode()) > 0
    except OSError:
        return False


def write_packets(path: Path, protocol: str, packets: Iterable[tuple[float, bytes]]) -> int:
    """Write datagrams with their times, and return how many."""
    count = 0
    header = {"schema": SCHEMA, "schema_version": VERSION, "protocol": protocol}
    with storage.replacing_file(path) as building, building.open("wb") as file:
        file.write(json.dumps(header).encode() + b"\n")
        for time_s, datagram in packets:
            file.write(_HEAD.pack(time_s, len(datagram)) + datagram)
            count += 1
    return count


def read_packets(path: Path) -> Recording:
    """Read what `write_packets` wrote.

    Raises:
        HeadstudioError: it is not a recording of packets, of a later version, or cut off.
    """
    try:
        with path.open("rb") as file:
            protocol = _protocol(file.readline(_LONGEST_HEADER), path)
            return Recording(protocol, tuple(_packets(file, path)))
    except OSError as error:
        raise HeadstudioError(
            f"the recording cannot be read: {error.strerror}", where=path, next_step="check the path"
        ) from None


def write_recording(path: Path, motion: Motion, protocol: str, subject: str = "headstudio") -> int:
    """Write a motion as the packets that a sender of the protocol would send, and return how many."""
    teller = codec(protocol)
    frames = to_frames(motion, subject)
    first = next(frames)  # tells what is missing before anything is written
    told = itertools.chain([first], frames)
    return write_packets(
        path, protocol, ((frame.time_s, datagram) for frame in told for datagram in teller.encode(frame))
    )


def _protocol(line: bytes, path: Path) -> str:
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or header.get("schema") != SCHEMA:
        raise HeadstudioError("this file is not a recording of packets", where=path, next_step="check the path")
    if header.get("schema_version") != VERSION:
        raise HeadstudioError(
            f"the recording has schema version {header.get('schema_version')}, this program reads {VERSION}",
            where=path,
            next_step="update headstudio",
        )
    if header.get("protocol") not in PROTOCOLS:
        raise HeadstudioError(
            "the recording is of an unknown protocol", where=path, next_step=f"record {', '.join(PROTOCOLS)}"
        )
    return header["protocol"]


def _packets(file: BinaryIO, path: Path) -> Iterator[tuple[float, bytes]]:
    while head := file.read(_HEAD.size):
        time_s, length = _HEAD.unpack(head) if len(head) == _HEAD.size else (math.nan, 0)
        datagram = file.read(length) if math.isfinite(time_s) and length <= _LONGEST_DATAGRAM else b""
        if len(datagram) != length or not math.isfinite(time_s):
            raise HeadstudioError("the recording is cut off or damaged", where=path, next_step="record again")
        yield time_s, datagram
