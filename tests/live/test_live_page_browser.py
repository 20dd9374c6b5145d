"""The page in a real browser: the stream shows, sliders move the face, and a wrong token sees nothing."""

import threading

import numpy as np
import pytest
from live_people import painted_weights

from headstudio.live.config import LiveConfig
from headstudio.live.faces import Still
from headstudio.live.outputs.page import Page
from headstudio.live.session import Session
from support.browser import PATIENCE_MS, chromium

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A running session with a page, and a tab of a browser that looks at it."""
    avatar, at_rest = painted_weights(tmp_path_factory.mktemp("toy") / "capture")
    with chromium() as browser, Session(avatar, at_rest, Still(fps=20), LiveConfig(size_px=64)) as session:
        page = Page(session.controls, session.state)
        session.add(page)
        over = threading.Event()
        running = threading.Thread(target=session.run, kwargs={"look": lambda: not over.is_set()})
        running.start()
        tab = browser.new_page()
        complaints = []
        tab.set_default_timeout(PATIENCE_MS)
        tab.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(page.address)
        tab.wait_for_selector("body[data-state=ready]", state="attached")
        try:
            yield tab, page, session, complaints, browser
        finally:
            tab.close()
            over.set()
            running.join(20)


COLOUR = """() => {
    const image = document.getElementById("stream"), canvas = document.createElement("canvas");
    if (!image.naturalWidth) return null;
    canvas.width = canvas.height = 1;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0, 1, 1);
    return [image.naturalWidth, ...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}"""


def wait_for_colour(tab, fits):
    """The colour of the stream once it fits; the browser decides when it draws."""
    for _ in range(200):
        seen = tab.evaluate(COLOUR)
        if seen is not None and fits(np.array(seen[1:])):
            return seen
        tab.wait_for_timeout(50)
    raise AssertionError(f"the stream shows {tab.evaluate(COLOUR)}")


def slide(tab, name, value):
    tab.evaluate(
        """([name, value]) => {
            const input = document.querySelector(`input[name=${name}]`);
            input.value = value;
            input.dispatchEvent(new Event("input"));
        }""",
        [name, value],
    )


def test_the_stream_shows_and_sliders_move_the_face(shown):
    tab, _, session, complaints, _ = shown
    rest = wait_for_colour(tab, lambda colour: True)
    assert rest[0] == 64
    dark = 255 / (1 + np.exp(2))  # what the toy paints at rest
    assert np.abs(np.array(rest[1:]) - dark).max() < 8
    slide(tab, "jawOpen", 1)
    wait_for_colour(tab, lambda colour: colour[0] > 200 and colour[1] < 60 and colour[2] < 60)
    slide(tab, "eyeBlinkLeft", 1)
    wait_for_colour(tab, lambda colour: colour[0] > 200 and colour[1] < 60 and colour[2] > 200)
    assert dict(session.controls.settings.units) == {"jawOpen": 1.0, "eyeBlinkLeft": 1.0}
    tab.get_by_role("button", name="Reset").click()
    wait_for_colour(tab, lambda colour: np.abs(colour - dark).max() < 8)
    assert tab.locator("input[name=jawOpen]").input_value() == "0"
    assert complaints == []


def test_the_exaggeration_slider_and_the_meters(shown):
    tab, _, session, _, _ = shown
    slide(tab, "exaggeration", 2.5)
    for _ in range(200):
        if session.controls.settings.exaggeration == 2.5:
            break
        tab.wait_for_timeout(50)
    assert session.controls.settings.exaggeration == 2.5
    rows = tab.locator("#meters tbody tr").all_inner_texts()
    assert [row.split()[0] for row in rows] == ["source", "listen", "drive", "paint", "draw", "page"]
    assert tab.locator("#gains input").count() == 3 and tab.locator("#units input").count() == 52


def test_a_wrong_token_sees_nothing(shown):
    _, page, _, _, browser = shown
    other = browser.new_page()
    answer = other.goto(page.address.replace(page.token, "x" * len(page.token)))
    assert answer.status == 403 and other.locator("img").count() == 0
    other.close()


def test_another_site_can_neither_watch_nor_steer(shown):
    """A page that knows the whole address but comes from elsewhere: what a browser sends for it is refused."""
    _, page, session, _, browser = shown
    before = session.controls.settings
    other = browser.new_page()
    other.goto("about:blank")
    outcome = other.evaluate(
        """async address => {
            const image = new Image();
            const watched = new Promise(done => {
                image.onload = () => done("seen");
                image.onerror = () => done("refused");
            });
            image.src = address + "stream";
            const steered = await fetch(address + "controls", { method: "POST", mode: "no-cors", body: '{"head": 0}' })
                .then(answer => answer.type, () => "refused");
            return [await watched, steered];
        }""",
        page.address,
    )
    assert outcome[0] == "refused" and session.controls.settings == before
    other.close()
