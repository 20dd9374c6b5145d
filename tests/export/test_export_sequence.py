"""Baked pictures of a performance beside a .glb: what they show, when, and what is refused."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from headstudio.errors import HeadstudioError
from headstudio.export import sequence
from headstudio.export.sequence import BakeOptions, sequence_folder
from headstudio.export.targets import ExportOptions, export_avatar
from headstudio.geometry.camera import Camera
from headstudio.progress import Silent
from headstudio.records.channels import ARKIT, HEAD_POSE, View
from headstudio.records.motion import Motion
from support.gltf_player import GltfPlayer
from support.web_avatar import StillAvatar, painting_avatar

FRAMES = 4
TIMES_S = [3.0, 3.04, 3.1, 3.2]


@pytest.fixture(scope="module", params=[True, False], ids=["adds", "replaces"])
def avatar(request, tmp_path_factory):
    return painting_avatar(tmp_path_factory.mktemp("painting"), residual=request.param)


@pytest.fixture(scope="module")
def adding(tmp_path_factory):
    return painting_avatar(tmp_path_factory.mktemp("adding"))


def performance(arkit=None) -> Motion:
    make = torch.Generator().manual_seed(1)
    pose = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0])).repeat(FRAMES, 1, 1)
    pose[:, 2, 3] = 0.6
    arkit = torch.rand(FRAMES, 52, generator=make) if arkit is None else arkit
    return Motion(torch.tensor(TIMES_S, dtype=torch.float64), {ARKIT: arkit, HEAD_POSE: pose})


def baked(avatar, folder, motion=None, progress=None, **options):
    """The .glb, its clock and its pictures by name, (height, width, 3) in 0..255."""
    extras = ExportOptions(bake=BakeOptions(**options), progress=progress or Silent())
    path = export_avatar(avatar, "glb", folder / "me", motion or performance(), extras)
    place = sequence_folder(path)
    clock = json.loads((place / "sequence.json").read_text())
    pictures = {file.name: np.asarray(Image.open(file)) for file in place.iterdir() if file.suffix != ".json"}
    return path, clock, pictures


def texture_of(path) -> np.ndarray:
    player = GltfPlayer(path)
    view = player.document.bufferViews[player.document.images[0].bufferView]
    return np.asarray(Image.open(BytesIO(player.blob[view.byteOffset : view.byteOffset + view.byteLength])))


@torch.no_grad()
def as_rendered(avatar, motion, frame) -> np.ndarray:
    """The texture that the Python renderer looks up in a frame."""
    view = View(Camera(torch.eye(3)[None], 8, 8), torch.eye(4)[None])
    runtime = avatar.runtime()
    (painted,) = runtime.graph()(*runtime.prepare(motion.at([frame]), view).values())
    return (avatar._blended_texture(painted)[0] * 255).permute(1, 2, 0).numpy()


def test_each_frame_is_the_texture_that_the_renderer_looks_up(avatar, tmp_path):
    motion = performance()
    path, clock, pictures = baked(avatar, tmp_path)
    assert clock["pictures"] == [f"{frame:05d}.png" for frame in (1, 2, 3, 4)] == sorted(pictures)
    for frame, name in enumerate(clock["pictures"]):
        assert np.abs(pictures[name] - as_rendered(avatar, motion, frame)).max() <= 0.51
    assert len({picture.tobytes() for picture in pictures.values()}) == FRAMES
    # The file's own texture is the face at rest, of the same size.
    assert np.array_equal(texture_of(path), avatar.surface().texture.permute(1, 2, 0).numpy())


def test_the_clock_is_the_animations(adding, tmp_path):
    path, clock, _ = baked(adding, tmp_path)
    assert (clock["schema"], clock["schema_version"]) == ("headstudio.texture_sequence", 1)
    player = GltfPlayer(path)
    (animation,) = player.document.animations
    assert clock["animation"] == animation.name
    times = player.read(animation.samplers[0].input)[:, 0]
    assert np.allclose(times, clock["times_s"], atol=1e-6) and np.allclose(times, np.array(TIMES_S) - 3, atol=1e-6)
    assert clock["rate_fps"] == pytest.approx(1 / 0.06)
    assert [material.name for material in player.document.materials] == [clock["material"]]
    assert clock["rectangle_px"] == [0, 0, *clock["texture_px"]] == [0, 0, 256, 256]
    assert str(tmp_path) not in json.dumps(clock)


def test_smaller_pictures_come_with_a_smaller_texture(adding, tmp_path):
    motion = performance()
    path, clock, pictures = baked(adding, tmp_path, largest_px=100)
    assert clock["texture_px"] == [100, 100] and texture_of(path).shape == (100, 100, 3)
    whole = torch.as_tensor(as_rendered(adding, motion, 2)).permute(2, 0, 1)[None]
    wanted = interpolate(whole, (100, 100), mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
    assert np.abs(pictures["00003.png"] - wanted).max() <= 0.51


def test_a_cropped_picture_put_into_the_texture_is_the_whole_one(adding, tmp_path):
    _, _, whole = baked(adding, tmp_path / "whole")
    path, clock, cropped = baked(adding, tmp_path / "cropped", crop=True)
    left, upper, width, height = clock["rectangle_px"]
    assert 0 < width * height < 0.9 * 256 * 256 and not any(side % 4 for side in clock["rectangle_px"])
    assert not adding.blend[0, :upper].any() and not adding.blend[0, :, :left].any()
    for name, picture in cropped.items():
        texture = texture_of(path).copy()
        texture[upper : upper + height, left : left + width] = picture
        assert np.array_equal(texture, whole[name])


def test_equal_pictures_are_written_once_if_that_is_asked(adding, tmp_path):
    arkit = torch.zeros(FRAMES, 52)
    arkit[1] = 0.5
    _, clock, pictures = baked(adding, tmp_path, performance(arkit), once=True)
    assert clock["pictures"] == ["00001.png", "00002.png", "00001.png", "00001.png"]
    assert sorted(pictures) == ["00001.png", "00002.png"]
    _, clock, pictures = baked(adding, tmp_path, performance(arkit))
    assert len(pictures) == FRAMES == len(set(clock["pictures"]))


def test_jpeg_is_smaller_and_near(adding, tmp_path):
    _, _, exact = baked(adding, tmp_path / "png")
    _, clock, near = baked(adding, tmp_path / "jpg", form="jpg")
    assert clock["pictures"][0] == "00001.jpg"
    assert np.abs(near["00001.jpg"].astype(float) - exact["00001.png"]).mean() < 4

    def size(form):
        return sum(file.stat().st_size for file in (tmp_path / form / "me.baked").glob(f"*.{form}"))

    assert size("jpg") < 0.6 * size("png")


def test_pictures_are_streamed_and_told(adding, tmp_path, monkeypatch):
    """When a picture is painted, all earlier ones are on the disk."""
    told, written = [], []

    class Listener:
        @contextmanager
        def stage(self, name: str, total: int | None = None) -> Iterator:
            told.append((name, total))
            yield told.append

    real = sequence.painted_frames

    def watched(*arguments, **named):
        for picture in real(*arguments, **named):
            written.append(len(list(tmp_path.glob("*/*.png"))))
            yield picture

    monkeypatch.setattr(sequence, "painted_frames", watched)
    baked(adding, tmp_path, progress=Listener())
    assert written == [0, 1, 2, 3]
    assert told == [("baking pictures", FRAMES), 1, 1, 1, 1]


def test_a_failure_half_way_leaves_what_was_there(adding, tmp_path, monkeypatch):
    baked(adding, tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    real = sequence._encoded
    calls = []

    def failing(picture, form):
        calls.append(form)
        if len(calls) == 3:
            raise OSError("the disk is full")
        return real(picture, form)

    monkeypatch.setattr(sequence, "_encoded", failing)
    with pytest.raises(HeadstudioError, match="full"):
        baked(adding, tmp_path, performance(torch.ones(FRAMES, 52)))
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("name", ["notes.txt", "cover.png", "sequence.txt"])
def test_a_folder_of_somebody_elses_is_left_alone(adding, tmp_path, name):
    (tmp_path / "me.baked").mkdir()
    (tmp_path / "me.baked" / name).write_text("mine")
    with pytest.raises(HeadstudioError, match="something else is here"):
        baked(adding, tmp_path)
    assert (tmp_path / "me.baked" / name).read_text() == "mine" and not (tmp_path / "me.glb").exists()


def test_what_cannot_be_baked_is_refused_in_one_sentence(adding, tmp_path):
    for change, message in (({"form": "gif"}, "png, jpg"), ({"largest_px": 0}, "at least 4")):
        with pytest.raises(HeadstudioError, match=message):
            BakeOptions(**change)
    bake = ExportOptions(bake=BakeOptions())
    with pytest.raises(HeadstudioError, match="no performance to bake"):
        export_avatar(adding, "glb", tmp_path / "me", None, bake)
    with pytest.raises(HeadstudioError, match=r"web bakes no pictures.*glb"):
        export_avatar(adding, "web", tmp_path / "me", performance(), bake)
    with pytest.raises(HeadstudioError, match="no network that paints"):
        export_avatar(StillAvatar(), "glb", tmp_path / "me", performance(), bake)
    broken = performance(torch.full((FRAMES, 52), float("nan")))
    with pytest.raises(HeadstudioError, match="not finite"):
        export_avatar(adding, "glb", tmp_path / "me", broken, bake)
    assert not list(tmp_path.iterdir())
