"""The page's server: who gets in, what is answered to what is wrong, and that a slow watcher holds nobody up."""

import http.client
import json
import socket
import threading
import time

import numpy as np
import pytest

from headstudio.errors import HeadstudioError
from headstudio.live.controls import Controls
from headstudio.live.outputs import page as page_module
from headstudio.live.outputs.page import MOST_BYTES, MOST_WATCHERS, Page
from headstudio.live.pipeline import Parcel
from headstudio.live.rendering import Shown


@pytest.fixture
def page():
    made = Page(Controls(), lambda: {"message": "hello", "names": ["jawOpen"], "meters": []})
    yield made
    made.finish()
    assert [thread.name for thread in threading.enumerate() if "live page" in thread.name] == []


def port_of(page):
    return int(page.address.split(":")[2].split("/")[0])


def ask(page, path, method="GET", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port_of(page), timeout=10)
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def shown(number, value=100, size=64):
    return Parcel(number, time.perf_counter(), float(number), Shown({}, np.full((size, size, 3), value, np.uint8)))


def test_the_page_is_bound_to_this_machine_alone(page):
    assert page.address.startswith("http://127.0.0.1:") and page._server.server_address[0] == "127.0.0.1"
    assert len(page.token) >= 32 and Page(Controls(), dict).finish() is None


def test_two_pages_have_two_tokens(page):
    other = Page(Controls(), dict)
    other.finish()
    assert other.token != page.token


@pytest.mark.parametrize("name", ["", "page.js", "page.css", "state"])
def test_whoever_knows_the_token_gets_in(page, name):
    code, body, headers = ask(page, f"/{page.token}/{name}")
    assert code == 200 and body and headers["Cache-Control"] == "no-store" and "default-src 'none'" in str(headers)


WRONG = [
    "/",
    "/state",
    "//state",
    "/x/state",
    "/{cut}/state",
    "/{token}x/state",
    "/{upper}/state",
    "/%2e%2e/{token}/state",
]


@pytest.mark.parametrize("path", WRONG)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_wrong_token_is_refused(page, path, method):
    path = path.format(token=page.token, cut=page.token[:-1], upper=page.token.swapcase())
    code, body, _ = ask(page, path, method, "{}", Content_Type="application/json")
    assert code == 403 and body == b"Forbidden"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1:1"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_a_page_of_another_origin_is_refused(page, headers):
    for name in ("", "state", "stream"):
        assert ask(page, f"/{page.token}/{name}", **headers)[0] == 403
    assert (
        ask(page, f"/{page.token}/controls", "POST", '{"head": 0}', Content_Type="application/json", **headers)[0]
        == 403
    )
    assert page.controls.settings.head == 1.0


@pytest.mark.parametrize("name", ["absent", "../page.py", "page.py", "%2e%2e/x", "state/", "page.html", "controls"])
def test_there_is_nothing_else(page, name):
    assert ask(page, f"/{page.token}/{name}")[0] == 404


def test_sliders_reach_the_controls(page):
    body = json.dumps({"exaggeration": 2, "units": {"jawOpen": 0.5}})
    code, told, _ = ask(page, f"/{page.token}/controls", "POST", body, Content_Type="application/json")
    assert code == 200 and json.loads(told)["settings"]["units"] == {"jawOpen": 0.5}
    assert page.controls.settings.exaggeration == 2.0 and page.controls.settings.units == {"jawOpen": 0.5}


BODIES = [
    ("", 400), ("{", 400), ("[]", 400), ("null", 400), ('{"units": {"jaw": 1}}', 400), ('{"head": NaN}', 400),
    ('{"head": 1e999}', 400), ("[" * 30000, 400), ("\xff", 400), ('{"__class__": 1}', 400),
    ("x" * (MOST_BYTES + 1), 413),
]  # fmt: skip


@pytest.mark.parametrize(("body", "code"), BODIES, ids=range(len(BODIES)))
def test_bad_settings_are_refused(page, body, code):
    data = body.encode("latin-1")
    assert ask(page, f"/{page.token}/controls", "POST", data, Content_Type="application/json")[0] == code
    assert page.controls.settings == Controls().settings


def test_a_foreign_form_cannot_steer(page):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert ask(page, f"/{page.token}/controls", "POST", '{"head": 0}', Content_Type=kind)[0] == 415


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "٣".encode(), ""])
def test_a_body_without_a_length_is_refused(page, length):
    told = length if isinstance(length, bytes) else length.encode()
    request = b"POST /%s/controls HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
    request += b"Content-Length: %s\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port_of(page)), timeout=10) as raw:
        raw.sendall(request % (page.token.encode(), port_of(page), told))
        assert b" 411 " in raw.recv(200)


def test_noise_does_not_bring_it_down(page):
    draw = np.random.default_rng(0)
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", port_of(page)), timeout=10) as raw:
            raw.sendall(draw.bytes(200) + b"\r\n\r\n")
    assert ask(page, f"/{page.token}/state")[0] == 200


def stream(page):
    raw = socket.create_connection(("127.0.0.1", port_of(page)), timeout=10)
    raw.sendall(f"GET /{page.token}/stream HTTP/1.1\r\nHost: 127.0.0.1:{port_of(page)}\r\n\r\n".encode())
    return raw


def wait_for(condition, seconds=10):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_the_stream_shows_what_is_painted(page):
    import cv2

    with stream(page) as raw:
        wait_for(lambda: len(page._watchers) == 1)
        page(shown(0, 180))
        received = b""
        while b"\xff\xd9" not in received:
            received += raw.recv(65536)
    assert b"multipart/x-mixed-replace" in received
    start, end = received.index(b"\xff\xd8"), received.index(b"\xff\xd9") + 2
    picture = cv2.imdecode(np.frombuffer(received[start:end], np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (64, 64, 3) and abs(float(picture.mean()) - 180) < 2


def test_nobody_watching_costs_no_encoding(page, monkeypatch):
    monkeypatch.setattr(page_module, "jpeg", lambda picture: pytest.fail("nobody looks"))
    assert page(shown(0)) is True


def test_a_slow_watcher_stalls_neither_the_page_nor_another_watcher(page):
    draw = np.random.default_rng(0)
    noise = draw.integers(0, 255, (512, 512, 3), dtype=np.uint8)  # about 300 kB each: no buffer holds many
    with stream(page), stream(page) as reading:  # the first never reads
        wait_for(lambda: len(page._watchers) == 2)
        got = bytearray()

        def read():
            while got.count(b"--headstudio-frame") < 30:
                got.extend(reading.recv(1 << 20))

        reader = threading.Thread(target=read)
        reader.start()
        number = 0
        while reader.is_alive() and number < 3000:
            page(Parcel(number, 0.0, 0.0, Shown({}, noise)))
            number += 1
            time.sleep(0.002)
        reader.join(1)
        assert not reader.is_alive()


def test_more_watchers_than_there_is_room_for_are_refused(page):
    streams = [stream(page) for _ in range(MOST_WATCHERS)]
    wait_for(lambda: len(page._watchers) == MOST_WATCHERS)
    assert ask(page, f"/{page.token}/stream")[0] == 503
    for raw in streams:
        raw.close()


def test_a_watcher_that_leaves_is_forgotten(page):
    stream(page).close()
    wait_for(lambda: not page._watchers or (page(shown(0)) and False))


def test_a_page_that_ends_lets_everybody_go():
    page = Page(Controls(), dict)
    with stream(page) as watching, socket.create_connection(("127.0.0.1", port_of(page))):  # the other says nothing
        wait_for(lambda: page._watchers)
        begun = time.monotonic()
        page.finish()
        assert time.monotonic() - begun < 4
        while watching.recv(65536):
            pass
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port_of(page)), timeout=1)


def test_a_port_that_is_taken_costs_a_sentence(page):
    for port in (port_of(page), -1, 70000):
        with pytest.raises(HeadstudioError, match="cannot be served"):
            Page(Controls(), dict, port)
