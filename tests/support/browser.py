"""A folder behind a loopback server, looked at with a real browser."""

import base64
import contextlib
import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

FLAGS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
"""WebGL 2 without a GPU."""
FAKE_CAMERA = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
PATIENCE_MS = 120_000


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the folder on this machine alone."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def chromium() -> Iterator:
    """Chromium of the system, or the test is skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=executable, args=[*FLAGS, *FAKE_CAMERA])
        yield browser
        browser.close()


class Page:
    """A page, what it complained about and what it asked for. Beside the panel a square of 400 pixels is left."""

    def __init__(self, browser, address: str, size_px: tuple[int, int] = (672, 400)) -> None:
        self.address, self.complaints, self.responses, self.requests = address, [], [], []
        # The fake camera may be opened without a question.
        self.tab = browser.new_page(
            viewport={"width": size_px[0], "height": size_px[1]}, permissions=["camera"], reduced_motion="reduce"
        )
        self.tab.set_default_timeout(PATIENCE_MS)
        self.tab.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("response", lambda response: self.responses.append(response))
        self.tab.goto(address)
        ready = self.tab.wait_for_selector("body[data-state]", state="attached")
        self.state = ready.get_attribute("data-state")

    def run(self, script: str, value=None):
        return self.tab.evaluate(script, value)

    @property
    def message(self) -> str:
        return self.tab.text_content("#message")

    def still(self) -> None:
        """Stop the loop, so that only what a test asks for is drawn."""
        self.run("async () => { window.requestAnimationFrame = () => 0; await headstudio.drawing; }")

    def shot(self, weights=None, turn=None) -> np.ndarray:
        """The canvas after one frame: float (height, width, 3) in [0, 1]."""
        size, values = self.run(
            """async ([weights, turn]) => {
                await headstudio.show(weights, turn);
                const { renderer, scene, camera } = headstudio;
                renderer.render(scene, camera); // again, because the browser takes the first for itself
                const gl = renderer.getContext();
                const size = [gl.drawingBufferHeight, gl.drawingBufferWidth];
                const pixels = new Uint8Array(4 * size[0] * size[1]);
                gl.readPixels(0, 0, size[1], size[0], gl.RGBA, gl.UNSIGNED_BYTE, pixels);
                let text = "";
                for (let i = 0; i < pixels.length; i += 8192) {
                    text += String.fromCharCode(...pixels.subarray(i, i + 8192));
                }
                return [size, btoa(text)];
            }""",
            [weights or {}, turn or {}],
        )
        picture = np.frombuffer(base64.b64decode(values), np.uint8).reshape(*size, 4)[::-1, :, :3]
        return picture.astype(np.float32) / 255

    def close(self) -> None:
        self.tab.close()
