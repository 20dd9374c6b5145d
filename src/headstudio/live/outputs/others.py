"""A window, a virtual camera, and ARKit over the network."""

import os
import sys
import threading
from typing import Any

import numpy as np
import torch

from headstudio.errors import HeadstudioError
from headstudio.live.pipeline import Parcel
from headstudio.protocols.codec import PROTOCOLS, codec
from headstudio.protocols.motions import to_frames
from headstudio.protocols.receiver import LOOPBACK, FaceSender
from headstudio.records.channels import ARKIT, GAZE, HEAD_POSE
from headstudio.records.motion import Motion

_TITLE = "headstudio live"
_QUIT = (27, ord("q"))
_SUBJECT = "headstudio"


class Window:
    """A window of the system. Frames come from a thread; drawing is for the main thread, as macOS wants it.

    Raises:
        HeadstudioError: there is no screen, or OpenCV was built without windows.
    """

    name = "window"

    def __init__(self) -> None:
        import cv2

        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise HeadstudioError("there is no screen for a window", next_step="use --page")
        try:
            cv2.namedWindow(_TITLE, cv2.WINDOW_AUTOSIZE)
        except cv2.error:
            raise HeadstudioError("OpenCV has no windows here", next_step="use --page") from None
        self._newest: np.ndarray | None = None
        self._lock = threading.Lock()

    def __call__(self, parcel: Parcel) -> bool:
        """Keep the frame for the main thread."""
        with self._lock:
            self._newest = parcel.content.picture
        return True

    def show(self) -> bool:
        """Show the newest frame, in the main thread; False once the window was closed."""
        import cv2

        with self._lock:
            newest, self._newest = self._newest, None
        if newest is not None:
            cv2.imshow(_TITLE, cv2.cvtColor(newest, cv2.COLOR_RGB2BGR))
        pressed = cv2.waitKey(1) & 0xFF
        return pressed not in _QUIT and cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1

    def finish(self) -> None:
        """Nothing to do in the stage's thread."""

    def close(self) -> None:
        """Close the window, in the main thread."""
        import cv2

        cv2.destroyAllWindows()


class VirtualCamera:
    """A camera that other programs see, where pyvirtualcam is installed and the system has a device for it.

    Args:
        size_px: side of the pictures.
        fps: that other programs are told.
    """

    name = "virtual camera"

    def __init__(self, size_px: int, fps: float = 25.0) -> None:
        try:
            import pyvirtualcam  # type: ignore[import-not-found]  # optional, and a device has to be there too
        except ImportError:
            raise HeadstudioError(
                "there is no virtual camera: the Python package pyvirtualcam is not installed",
                next_step="pip install pyvirtualcam, and v4l2loopback on Linux or OBS elsewhere",
            ) from None
        try:
            self._camera: Any = pyvirtualcam.Camera(size_px, size_px, fps)
        except (RuntimeError, OSError, ValueError) as error:
            raise HeadstudioError(
                f"there is no virtual camera: {' '.join(str(error).split())[:120]}",
                next_step="load v4l2loopback on Linux, or install OBS elsewhere",
            ) from None

    def __call__(self, parcel: Parcel) -> bool:
        """Hand one frame over."""
        self._camera.send(np.ascontiguousarray(parcel.content.picture))
        return True

    def finish(self) -> None:
        """Give the device back."""
        self._camera.close()


class Telling:
    """The channels that drive the avatar, told over the network.

    Args:
        address: PROTOCOL, PROTOCOL:PORT or PROTOCOL:HOST:PORT.
    """

    def __init__(self, address: str) -> None:
        protocol, host, port = parsed_address(address)
        self.name = f"send {protocol}"
        self._sender = FaceSender(codec(protocol), host, port)

    def __call__(self, parcel: Parcel) -> bool:
        """Tell one frame."""
        told = {c: v for c, v in parcel.content.channels.items() if c in (ARKIT, HEAD_POSE, GAZE)}
        motion = Motion(torch.tensor([parcel.time_s], dtype=torch.float64), told)
        for frame in to_frames(motion, _SUBJECT):
            self._sender.send(frame)
        return True

    def finish(self) -> None:
        """Give the socket back."""
        self._sender.close()


def parsed_address(text: str) -> tuple[str, str, int | None]:
    """Protocol, host and port (None for the protocol's own) of PROTOCOL[:HOST][:PORT]."""
    protocol, _, place = text.partition(":")
    host, colon, port = place.rpartition(":")
    if place and not colon:  # one part: a port if it is a number
        host, port = ("", place) if place.isascii() and place.isdigit() else (place, "")
    wrong = port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)
    if protocol not in PROTOCOLS or wrong or (colon and not (host and port)):
        raise HeadstudioError(
            f"{text} is no address for ARKit",
            next_step=f"give PROTOCOL, PROTOCOL:PORT or PROTOCOL:HOST:PORT with one of {', '.join(PROTOCOLS)}",
        )
    return protocol, host.strip("[]") or LOOPBACK, int(port) if port else None
