"""A page on this machine that shows the avatar and moves it: MJPEG, and sliders.

It is bound to loopback and answers only to who knows the token in its address; a page of another origin can neither
read it nor steer it, also where its name was made to lead here.
"""

import contextlib
import hmac
import json
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from headstudio.errors import HeadstudioError
from headstudio.live.controls import Controls
from headstudio.live.pipeline import Parcel
from headstudio.live.queues import ClosedQueueError, DroppingQueue

HOST = "127.0.0.1"
MOST_WATCHERS = 8
"""Streams at once; more are refused."""
MOST_BYTES = 65536
"""Of a request's body."""
_SILENT_S = 5.0
"""A client that takes nothing for so long is let go."""
_SEND_BUFFER = 1 << 17  # a large one would fill with old pictures before a slow client is noticed
_QUALITY = 85
_FOLDER = Path(__file__).parents[1] / "page"
_FILES = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
}
_BOUNDARY = "headstudio-frame"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Page:
    """A stage's work and its server, which runs from the beginning until `finish`.

    Args:
        controls: what the sliders change.
        state: tells plain data about everything else that is shown.
        port: 0 lets the system choose.

    Raises:
        HeadstudioError: somebody else listens at the port.
    """

    name = "page"

    def __init__(self, controls: Controls, state: Callable[[], Mapping[str, Any]], port: int = 0) -> None:
        self.controls, self.state = controls, state
        self.token = secrets.token_urlsafe(24)
        self._watchers: set[DroppingQueue[bytes]] = set()
        self._lock = threading.Lock()
        self._newest = b""
        try:
            self._server = _Server((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise HeadstudioError(
                f"the page cannot be served: {getattr(error, 'strerror', None) or error}",
                where=f"{HOST}:{port}",
                next_step="choose another --page-port, or 0 for any",
            ) from None
        self._server.page = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="live page", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Where to look, token included."""
        return f"http://{HOST}:{self._server.server_port}/{self.token}/"

    @property
    def hosts(self) -> frozenset[str]:
        """How a browser that was not led astray names this server."""
        return frozenset(f"{name}:{self._server.server_port}" for name in (HOST, "localhost"))

    def __call__(self, parcel: Parcel) -> bool:
        """Show a frame to everybody who watches; whoever is slow misses it."""
        with self._lock:
            watchers = list(self._watchers)
        if watchers:
            picture = jpeg(parcel.content.picture)
            for watcher in watchers:
                watcher.put(picture)
        return True

    @contextlib.contextmanager
    def watcher(self) -> Any:
        """A queue of pictures; None when there are too many already."""
        mine: DroppingQueue[bytes] = DroppingQueue(1)
        with self._lock:
            welcome = len(self._watchers) < MOST_WATCHERS
            if welcome:
                self._watchers.add(mine)
        try:
            yield mine if welcome else None
        finally:
            with self._lock:
                self._watchers.discard(mine)

    def finish(self) -> None:
        """Let everybody go and give the port back."""
        self._server.shutdown()
        with self._lock:
            watchers = list(self._watchers)
        for watcher in watchers:
            watcher.close(discard=True)
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()


def jpeg(picture: Any) -> bytes:
    """A picture (sRGB) as a JPEG file."""
    import cv2

    _, written = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return written.tobytes()


class _Server(ThreadingHTTPServer):
    page: Page
    daemon_threads = False  # so that closing waits for them
    block_on_close = True

    def __init__(self, *arguments: Any) -> None:
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End all connections."""
        with self._guard:
            still_open = list(self._open)
        for connection in still_open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients come and go; what they do wrong is theirs."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _SILENT_S
    server_version, sys_version = "headstudio", ""
    ROUTES: ClassVar = {"stream": "_stream", "state": "_state"}

    def setup(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        super().setup()

    def do_GET(self) -> None:
        wanted = self._wanted()
        if wanted in _FILES:
            name, kind = _FILES[wanted]
            self._answer(200, (_FOLDER / name).read_bytes(), kind)
        elif wanted in self.ROUTES:
            getattr(self, self.ROUTES[wanted])()
        elif wanted is not None:
            self._refuse(404)

    def do_POST(self) -> None:
        wanted = self._wanted()
        if wanted is None:
            return
        length = self.headers.get("Content-Length", "")
        if wanted != "controls":
            self._refuse(404)
        elif self.headers.get_content_type() != "application/json":  # what a foreign form cannot send
            self._refuse(415)
        elif not (length.isascii() and length.isdigit()):
            self._refuse(411)
        elif int(length) > MOST_BYTES:
            self._refuse(413)
        else:
            self._change(self.rfile.read(int(length)))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the token would stand in every line."""

    def _wanted(self) -> str | None:
        """What is asked for behind the token; None when nobody may ask, and that was told."""
        page = self.server.page
        token, _, wanted = self.path.removeprefix("/").partition("?")[0].partition("/")
        known = hmac.compare_digest(token.encode(), page.token.encode())
        origin = self.headers.get("Origin")
        at_home = self.headers.get("Host") in page.hosts
        if not known or not at_home or (origin is not None and origin.removeprefix("http://") not in page.hosts):
            self._refuse(403)
            return None
        return wanted

    def _stream(self) -> None:
        with self.server.page.watcher() as pictures:
            if pictures is None:
                self._refuse(503)
                return
            self._begin(200, f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
            with contextlib.suppress(ClosedQueueError, OSError):
                while True:
                    picture = pictures.take()
                    head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    self.wfile.write(head.encode() + picture + b"\r\n")

    def _state(self) -> None:
        page = self.server.page
        told = {**page.state(), "settings": _plain(page.controls)}
        self._answer(200, json.dumps(told).encode(), "application/json")

    def _change(self, body: bytes) -> None:
        try:
            self.server.page.controls.change(json.loads(body))
        except HeadstudioError as error:
            self._answer(400, json.dumps({"error": str(error)}).encode(), "application/json")
            return
        except (ValueError, RecursionError):
            self._refuse(400)
            return
        self._state()

    def _answer(self, code: int, body: bytes, kind: str) -> None:
        self._begin(code, kind, len(body))
        self.wfile.write(body)

    def _refuse(self, code: int) -> None:
        self.close_connection = True
        self._answer(code, HTTPStatus(code).phrase.encode(), "text/plain")

    def _begin(self, code: int, kind: str, length: int | None = None) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()


def _plain(controls: Controls) -> dict[str, Any]:
    settings = controls.settings
    return {**vars(settings), "units": dict(settings.units)}
