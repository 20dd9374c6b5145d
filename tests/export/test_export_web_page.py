"""The exported page in a real browser: what it loads, paints and draws, against PyTorch."""

import contextlib
import json
import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion

from headstudio.export import web
from headstudio.export.targets import export_avatar
from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import rigid
from headstudio.motion.arkit import NAMES
from headstudio.records.channels import ARKIT, HEAD_POSE, Scene, View
from headstudio.records.motion import Motion
from headstudio.render.light import turned
from support.browser import Page, chromium, served
from support.web_avatar import StillAvatar, painting_avatar, untyped

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (web.PAGE / "index.html").is_file(), reason="the web page is not built: run `make web`"),
]

FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
"""Between the page's axes (y up, z to the viewer) and OpenCV's."""
JAW_OPEN = NAMES.index("jawOpen")


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


def performance(frames: int = 6) -> Motion:
    """The jaw opens while the head turns."""
    arkit = torch.zeros(frames, 52)
    arkit[:, JAW_OPEN] = torch.linspace(0, 0.8, frames)
    turn = torch.zeros(frames, 3)
    turn[:, 1] = torch.linspace(0, 0.4, frames)
    pose = FLIP @ rigid(turn, torch.zeros(frames, 3))
    pose[:, 2, 3] = 0.6
    return Motion(torch.arange(frames, dtype=torch.float64) / 10, {ARKIT: arkit, HEAD_POSE: pose})


@pytest.fixture(scope="module")
def shown(browser, tmp_path_factory):
    """An avatar whose network adds to the static texture, and its page, which draws only when it is asked to."""
    with opened(browser, tmp_path_factory.mktemp("adding"), residual=True) as found:
        yield found


@contextlib.contextmanager
def opened(browser, work, residual):
    avatar = painting_avatar(work, residual)
    with untyped():
        folder = export_avatar(avatar, "web", work / "page", performance())
    with served(folder) as address:
        page = Page(browser, address)
        assert page.state == "ready", page.complaints
        page.still()
        yield SimpleNamespace(avatar=avatar, page=page, folder=folder, address=address)
        page.close()


@pytest.fixture
def page(shown):
    """The page at rest, seen from the front."""
    shown.page.run("() => { headstudio._rest(); headstudio.light.turn(0); }")
    return shown.page


def same_view(page) -> tuple[View, torch.Tensor]:
    """What the page's camera sees, as the Python renderer takes it, and T_world_head."""
    view, skull, focal, size = page.run(
        """() => [headstudio.camera.matrixWorldInverse.toArray(), headstudio.pose.skull.toArray(),
            headstudio.camera.projectionMatrix.toArray()[5],
            [headstudio.renderer.domElement.width, headstudio.renderer.domElement.height]]"""
    )
    matrices = [torch.tensor(values).reshape(4, 4).T.float() for values in (view, skull)]
    width, height = size
    focal_px = focal * height / 2
    K = torch.tensor([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1.0]])
    return View(Camera(K[None], width, height), (FLIP @ matrices[0] @ FLIP)[None]), (FLIP @ matrices[1])[None]


@torch.no_grad()
def in_python(shown, weights, scene=None):
    """The Python renderer's picture of the page's present view, and where it is all head."""
    view, pose = same_view(shown.page)
    arkit = torch.zeros(1, 52)
    for name, value in weights.items():
        arkit[0, NAMES.index(name)] = value
    drawn = shown.avatar.render({ARKIT: arkit, HEAD_POSE: pose}, view, scene or Scene())
    inside = binary_erosion(drawn.alpha[0, 0].numpy() > 0.999, iterations=2)
    return drawn.rgb[0].permute(1, 2, 0).numpy(), inside


def check_same(shown, picture, weights, scene=None):
    truth, inside = in_python(shown, weights, scene)
    assert inside.mean() > 0.1
    error = np.abs(picture - truth).max(axis=2)[inside]
    # Eight bits round by 0.002. The mip levels are chosen a little differently where the atlas is seen aslant, and
    # occlusion edges inside the head are antialiased by other means.
    assert np.median(error) < 0.003, np.median(error)
    assert np.quantile(error, 0.95) < 0.012, np.quantile(error, 0.95)


def test_it_loads_without_a_complaint_and_from_its_own_folder_alone(browser, shown):
    page = Page(browser, shown.address)
    kinds = {response.url.rsplit("/", 1)[1]: response.headers["content-type"] for response in page.responses}
    assert page.complaints == []
    assert page.message == ""
    local = [url for url in page.requests if not url.startswith(("data:", "blob:"))]
    assert local and all(url.startswith(shown.address) for url in local)
    assert kinds["page.js"].startswith("text/javascript") and kinds["ort.wasm"] == "application/wasm"
    page.close()


def test_the_network_in_the_browser_is_pytorchs(shown, page):
    make = torch.Generator().manual_seed(4)
    for turn in ([0.0, 0.0, 0.0], [0.2, 0.7, -0.1], [-0.3, -1.2, 0.4]):
        arkit = torch.rand(1, 52, generator=make)
        pose = FLIP @ rigid(torch.tensor([turn]), torch.zeros(1, 3))
        pose[:, 2, 3] = 0.7
        view = View(Camera(torch.eye(3)[None], 8, 8), torch.eye(4)[None])
        runtime = shown.avatar.runtime()
        with torch.no_grad():
            (truth,) = runtime.graph()(*runtime.prepare({ARKIT: arkit, HEAD_POSE: pose}, view).values())
        found = page.run(
            "async ([a, p]) => Array.from((await headstudio.network.run(a, p)).data)",
            [arkit[0].tolist(), pose[0].flatten().tolist()],
        )
        assert truth.std() > 0.05
        assert (torch.tensor(found).reshape(truth.shape) - truth).abs().max() < 1e-3


def test_what_the_network_is_told_follows_the_looking_camera(shown, page):
    seen = []
    for yaw_deg in (0, 45):
        page.run("yaw => headstudio.look(yaw)", yaw_deg)
        page.shot()
        view, pose = same_view(page)
        told = torch.tensor(page.run("() => Array.from(headstudio.network.pose)")).reshape(4, 4)
        assert (told - (view.T_camera_world @ pose)[0]).abs().max() < 1e-5
        seen.append(told)
    # Seen from the picture's right, the face looks to its left.
    assert abs(seen[1][0, 2] + math.sin(math.pi / 4)) < 1e-4 and abs(seen[0][0, 2]) < 1e-6


@pytest.mark.parametrize(
    ("weights", "turn", "yaw_deg"),
    [({}, {}, 0), ({"jawOpen": 0.6, "mouthSmileLeft": 0.5}, {}, 0), ({}, {}, 45), ({}, {"yaw": 20, "roll": 10}, -30)],
    ids=["neutral", "expression", "orbit", "turned"],
)
def test_its_pixels_are_the_python_renderers(shown, page, weights, turn, yaw_deg):
    page.run("yaw => headstudio.look(yaw)", yaw_deg)
    # The page's neck holds the shoulders still, which Python is not told here.
    page.run(
        "() => { const h = headstudio.head; h.kept = h.shoulder_weight; h.shoulder_weight = h.kept.map(() => 0); }"
    )
    picture = page.shot(weights, turn)
    page.run("() => { headstudio.head.shoulder_weight = headstudio.head.kept; }")
    check_same(shown, picture, weights)


def test_a_network_that_replaces_is_blended_as_in_python(browser, tmp_path):
    with opened(browser, tmp_path, residual=False) as replacing:
        check_same(replacing, replacing.page.shot(), {})


def test_the_light_turns_as_in_python(shown, page):
    page.run("() => headstudio.light.turn(Math.PI / 2)")
    turn = rigid(torch.tensor([[0.0, math.pi / 2, 0.0]]), torch.zeros(1, 3))
    around = (FLIP @ turn @ FLIP)[:, :3, :3]
    light = turned(shown.avatar.light_sh[None], around)
    check_same(shown, page.shot(), {}, Scene(light_sh=light))


def test_sliders_move_pixels(page):
    before = page.shot()
    for name, value in (("jawOpen", "0.8"), ("yaw", "20"), ("brightness", "0.5"), ("turn", "120")):
        page.run(
            """([name, value]) => {
                const slider = document.querySelector(`input[name="${name}"]`);
                slider.value = value;
                slider.dispatchEvent(new Event("input"));
            }""",
            [name, value],
        )
        after = page.shot()
        assert np.abs(after - before).max(axis=2).mean() > 2e-3, name
        before = after
    page.run("() => { headstudio.light.brightness = 1; }")


@pytest.mark.parametrize("name", ["glasses", "hat", "hair"])
def test_accessories_come_and_go(page, name):
    bare = page.shot()
    box = f'input[name="{name}"]'
    page.run("box => document.querySelector(box).click()", box)
    dressed = page.shot()
    page.run("box => document.querySelector(box).click()", box)
    assert (np.abs(dressed - bare).max(axis=2) > 0.05).mean() > 0.003
    assert np.abs(page.shot() - bare).max() < 0.01


def test_the_recorded_motion_plays_and_loops(shown, page):
    record = json.loads((shown.folder / "motion.json").read_text())
    half = "time => { const m = headstudio.motion; m.time = time; const s = m.state(); return [s.weights.jawOpen, s.skull.toArray()]; }"  # noqa: E501
    opened, skull = page.run(half, 0.25)
    assert opened == pytest.approx(0.4, abs=1e-3)  # between two frames
    assert skull[8] == pytest.approx(math.sin(0.2), abs=1e-3)  # the face looks to the person's left
    ran = page.run(
        """() => { const m = headstudio.motion; m.time = 0; m.playing = true; const times = [];
            for (let i = 0; i < 4; i++) { m.advance(0.2); times.push(m.time); }
            m.loop = false; m.advance(9); m.loop = true; return [times, m.time, m.playing]; }"""
    )
    assert ran[0] == pytest.approx([0.2, 0.4, 0.1, 0.3], abs=1e-6)
    assert ran[1:] == [record["times_s"][-1], False]


def test_frames_a_second(browser, shown, record_property, capsys):
    """Measured where this runs, without a GPU; no bound, because it says more of the machine than of the page."""
    page = Page(browser, shown.address)
    page.tab.get_by_role("button", name="Play").click()
    page.tab.get_by_role("button", name="Pause").wait_for()
    before = page.run("() => headstudio.network.runs")
    page.tab.wait_for_timeout(4000)
    rate, milliseconds, runs = page.run(
        "() => [headstudio.rate, headstudio.network.milliseconds, headstudio.network.runs]"
    )
    page.close()
    assert runs > before + 2 and rate > 0
    record_property("frames_a_second", rate)
    with capsys.disabled():
        told = f"{rate:.1f} frames a second at 400 x 400 pixels in software, network {milliseconds:.0f} ms"
        print(f"\n{told}")  # noqa: T201


def test_dragging_orbits_and_paints_anew(browser, shown):
    page = Page(browser, shown.address)
    paints = "() => [headstudio.network.runs, Array.from(headstudio.network.pose)]"
    runs, pose = page.run(paints)
    page.tab.wait_for_timeout(500)
    assert page.run(paints) == [runs, pose]  # nothing moves, nothing is painted
    mouse = page.tab.mouse
    mouse.move(200, 200)
    mouse.down()
    for x in (180, 160, 140, 120):
        mouse.move(x, 200)
    mouse.up()
    page.tab.wait_for_timeout(1500)
    after, turned_pose = page.run(paints)
    assert after > runs
    # The hand moves to the left, the camera to the right around the head.
    assert turned_pose[2] < pose[2] - 0.1
    page.close()


def press_webcam(page):
    page.tab.get_by_role("button", name="webcam").click()


def test_without_the_detectors_files_the_webcam_says_what_to_do(page):
    press_webcam(page)
    page.tab.get_by_text("face_landmarker.task").wait_for()
    assert "webcam/vision_bundle.mjs" in page.message and "@mediapipe/tasks-vision" in page.message


DETECTOR = """
export class FilesetResolver { static forVisionTasks(folder) { return Promise.resolve({ folder }); } }
export class FaceLandmarker {
  static async createFromOptions(fileset, options) {
    const model = await (await fetch(options.baseOptions.modelAssetPath)).text();
    if (model !== "model" || !options.outputFaceBlendshapes) throw new Error("not as it should be");
    return new FaceLandmarker();
  }
  detectForVideo(video) {
    const categories = [{ categoryName: "_neutral", score: 1 }, { categoryName: "jawOpen", score: 0.7 }];
    const turn = [0.8, 0, -0.6, 0, 0, 1, 0, 0, 0.6, 0, 0.8, 0, 1, 2, -30, 1];
    return { faceBlendshapes: [{ categories }], facialTransformationMatrixes: [{ data: turn }] };
  }
  close() {}
}
"""


def test_the_webcam_moves_the_head(browser, shown, tmp_path):
    """With a detector that answers as MediaPipe's does, because its model is in no package."""
    folder = tmp_path / "page"
    shutil.copytree(shown.folder, folder)
    (folder / "webcam").mkdir()
    (folder / "webcam" / "vision_bundle.mjs").write_text(DETECTOR)
    (folder / "webcam" / "face_landmarker.task").write_text("model")
    with served(folder) as address:
        page = Page(browser, address)
        press_webcam(page)
        page.tab.get_by_text("Stop the webcam").wait_for()
        page.tab.wait_for_timeout(1500)
        jaw, skull = page.run("() => [headstudio.weights.jawOpen, headstudio.pose.skull.toArray()]")
        assert (jaw, page.message, page.complaints) == (0.7, "", [])
        assert skull[8] == pytest.approx(0.6)
        press_webcam(page)
        page.tab.get_by_text("Use the webcam").wait_for()
        assert page.run("() => document.getElementById('webcam').srcObject") is None
        page.close()


@pytest.mark.parametrize(
    "lost", ["head.safetensors", "accessories.safetensors", "network.onnx", "static.png", "ort.wasm"]
)
def test_an_incomplete_folder_says_which_file_is_missing(browser, shown, tmp_path, lost):
    folder = tmp_path / "page"
    shutil.copytree(shown.folder, folder)
    (folder / lost).unlink()
    with served(folder) as address:
        page = Page(browser, address)
        assert (page.state, lost in page.message) == ("failed", True)
        page.close()


def test_a_newer_folder_is_refused(browser, shown, tmp_path):
    folder = tmp_path / "page"
    shutil.copytree(shown.folder, folder)
    record = json.loads((folder / "avatar.json").read_text())
    (folder / "avatar.json").write_text(json.dumps({**record, "schema_version": 99}))
    with served(folder) as address:
        page = Page(browser, address)
        assert page.state == "failed" and "export the avatar again" in page.message
        page.close()


def test_an_avatar_without_a_network_is_shown(browser, tmp_path):
    folder = export_avatar(StillAvatar(), "web", tmp_path / "still")
    with served(folder) as address:
        page = Page(browser, address)
        assert (page.state, page.complaints) == ("ready", [])
        page.still()
        picture = page.shot()
        # The grey of the texture under no light of its own.
        assert (np.abs(picture - 99 / 255).max(axis=2) < 0.01).mean() > 0.01
        page.close()
