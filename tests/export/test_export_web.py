"""The folder of `export --to web`, read back with the standard libraries alone."""

import json
import math
import re
import stat
import sys

import numpy as np
import onnxruntime
import pytest
import roma
import torch
from PIL import Image
from safetensors.numpy import load_file

from headstudio.errors import HeadstudioError
from headstudio.export import web
from headstudio.export.accessories import accessories
from headstudio.export.clip import mesh_clip
from headstudio.export.measure import measure_head
from headstudio.export.targets import export_avatar
from headstudio.geometry.camera import Camera
from headstudio.motion.arkit import NAMES
from headstudio.records.channels import ARKIT, HEAD_POSE, NECK, View
from headstudio.records.motion import Motion
from support.web_avatar import StillAvatar, painting_avatar, untyped

FACING = torch.diag(torch.tensor([1.0, -1.0, -1.0]))


@pytest.fixture(scope="module")
def avatar(tmp_path_factory):
    return painting_avatar(tmp_path_factory.mktemp("painting"))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A stand-in for the built page."""
    folder = tmp_path_factory.mktemp("page")
    for name in ("index.html", "page.js", "page.css", "ort.wasm", "THIRD_PARTY.txt"):
        (folder / name).write_text(name)
    return folder


@pytest.fixture(autouse=True)
def built(monkeypatch, page):
    monkeypatch.setattr(web, "PAGE", page)


@pytest.fixture(scope="module")
def motion():
    make = torch.Generator().manual_seed(1)
    pose = torch.eye(4).repeat(5, 1, 1)
    pose[:, :3, :3] = FACING @ roma.rotvec_to_rotmat(0.4 * torch.randn(5, 3, generator=make))
    pose[:, :3, 3] = torch.tensor([0.0, 0.0, 0.6]) + 0.02 * torch.randn(5, 3, generator=make)
    neck = 0.2 * torch.randn(5, 3, generator=make)
    times = torch.tensor([2.0, 2.1, 2.15, 2.4, 2.5], dtype=torch.float64)
    return Motion(times, {ARKIT: torch.rand(5, 52, generator=make), HEAD_POSE: pose, NECK: neck})


@pytest.fixture(scope="module")
def folder(avatar, motion, page, tmp_path_factory):
    with untyped(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(web, "PAGE", page)
        return export_avatar(avatar, "web", tmp_path_factory.mktemp("out") / "page", motion)


def described(folder):
    return json.loads((folder / "avatar.json").read_text())


def test_everything_named_is_there_and_anybody_may_read_it(folder):
    record = described(folder)
    network = record["repainting"]["network"]
    named = {record["head"], record["texture"], record["motion"], record["repainting"]["blend"]}
    named |= {network["file"], network["engine"], "avatar.json", record["accessories"]["file"]}
    assert {path.name for path in folder.iterdir()} == named | {"index.html", "page.js", "page.css", "THIRD_PARTY.txt"}
    modes = {path.name: path.stat().st_mode for path in folder.iterdir()}
    usual = (folder / "index.html").stat().st_mode  # whatever the umask leaves
    assert all(mode & stat.S_IROTH == usual & stat.S_IROTH for mode in modes.values()), modes
    assert (record["schema"], record["schema_version"]) == ("headstudio.web_avatar", 2)
    assert network["arkit_names"] == list(NAMES)


def test_it_names_no_place_on_this_machine_or_another(folder):
    for path in folder.glob("*.json"):
        text = path.read_text()
        assert not re.search(r"https?:|//|file:", text) and str(folder.parent) not in text


def test_the_network_is_small(folder):
    assert (folder / "network.onnx").stat().st_size <= 2 * 2**20


def test_the_network_is_prepare_and_graph(avatar, folder):
    session = onnxruntime.InferenceSession(folder / "network.onnx")
    runtime, make = avatar.runtime(), torch.Generator().manual_seed(2)
    turns = [torch.zeros(3), torch.tensor([0.0, 3.14, 0.0]), torch.tensor([1.6, 0.0, 0.0]), torch.tensor([0, 0, -2.0])]
    turns += list(torch.randn(20, 3, generator=make))
    seen = []
    for turn in turns:
        arkit, pose = torch.rand(1, 52, generator=make), torch.eye(4)[None].clone()
        pose[0, :3, :3] = FACING @ roma.rotvec_to_rotmat(turn)
        pose[0, :3, 3] = torch.tensor([0.1, 0.0, 0.7])
        view = View(Camera(torch.eye(3)[None], 8, 8), torch.eye(4)[None])
        inputs = runtime.prepare({ARKIT: arkit, HEAD_POSE: pose}, view)
        with torch.no_grad():
            (truth,) = runtime.graph()(*inputs.values())
        (found,) = session.run(None, {"arkit": arkit.numpy(), "T_camera_head": pose.numpy()})
        assert np.abs(found - truth.numpy()).max() < 1e-4
        seen.append(found)
    assert np.std(seen, axis=0).mean() > 1e-2  # it does listen


def test_the_mesh_is_the_surface(avatar, folder):
    asset, arrays = avatar.surface(), load_file(folder / "head.safetensors")
    assert np.array_equal(arrays["vertices_m"], asset.vertices_m.numpy())
    # All triangles are drawn, corner for corner at their own place in the atlas.
    assert np.array_equal(arrays["corner_vertex"][arrays["opaque"]], asset.triangles.numpy())
    assert np.array_equal(arrays["corner_uv"][arrays["opaque"]], asset.uv.numpy()[asset.uv_triangles])
    assert not len(arrays["transparent"])
    dense = np.zeros(asset.target_displacements_m.shape, np.float32)
    for target in range(len(dense)):
        rows = slice(*arrays["target_start"][target : target + 2])
        dense[target, arrays["target_vertex"][rows]] = arrays["target_displacement_m"][rows]
    assert np.abs(dense - asset.target_displacements_m.numpy()).max() <= 5e-7
    assert described(folder)["target_names"] == list(asset.target_names)


def test_the_pictures_and_the_light_are_the_avatars(avatar, folder):
    static, blend = (np.asarray(Image.open(folder / name)) for name in ("static.png", "blend.png"))
    assert np.array_equal(static, avatar.static.permute(1, 2, 0).numpy())
    assert np.array_equal(blend, avatar.blend[0].numpy())
    assert np.allclose(described(folder)["light_sh"], avatar.light_sh.numpy())
    assert described(folder)["repainting"]["residual"] is True


def test_the_accessories_are_the_one_table_fitted_to_this_head(avatar, folder):
    size = measure_head(avatar.surface())
    record, arrays = described(folder), load_file(folder / "accessories.safetensors")
    assert record["look_at_m"] == pytest.approx([size.middle, size.eye_y - 0.02, size.centre])
    worn = accessories(size)
    told = record["accessories"]["surfaces"]
    assert {name: [part["name"] for part in parts] for name, parts in told.items()} == {
        name: [surface.name for surface in surfaces] for name, surfaces in worn.items()
    }
    assert len(arrays) == 3 * sum(map(len, worn.values()))
    for name, surfaces in worn.items():
        for surface, part in zip(surfaces, told[name], strict=True):
            assert part["opacity"] == surface.opacity
            place = f"{name}/{surface.name}"
            assert np.allclose(arrays[f"{place}/vertices_m"], surface.vertices_m, atol=1e-7)
            assert np.array_equal(arrays[f"{place}/triangles"], surface.triangles)
            colours = arrays[f"{place}/colours"] / 255
            assert colours.shape == surface.vertices_m.shape
            assert np.abs(colours.mean(axis=0) - surface.colour).max() < 0.01
            assert (np.ptp(colours, axis=0).max() > 0.05) == (surface.shade is not None)
    assert any(surface.shade is not None for surfaces in worn.values() for surface in surfaces)


def test_the_performance_is_the_clip(avatar, folder, motion):
    asset, record = avatar.surface(), json.loads((folder / "motion.json").read_text())
    clip = mesh_clip(asset, motion)
    assert record["schema"] == "headstudio.web_motion"
    assert np.allclose(record["times_s"], [0, 0.1, 0.15, 0.4, 0.5], atol=1e-6)
    assert np.allclose(record["weights"], clip.target_weights, atol=1e-4)
    scene = clip.T_parent_joint[:, 0].double()
    for key, joint, chain in (("shoulders", 0, scene), ("skull", 1, scene @ clip.T_parent_joint[:, 1].double())):
        rows = torch.tensor(record[key], dtype=torch.float64)
        there = roma.unitquat_to_rotmat(rows[:, 3:]) @ asset.joint_positions_m[joint].double() + rows[:, :3]
        assert (there - chain[:, :3, 3]).abs().max() < 1e-5


def test_without_a_network_the_surface_is_shown(tmp_path):
    folder = export_avatar(StillAvatar(), "web", tmp_path / "still")
    record = described(folder)
    assert (record["repainting"], record["light_sh"], record["motion"]) == (None, None, None)
    absent = {"ort.wasm", "network.onnx", "blend.png", "motion.json"}
    assert not absent & {path.name for path in folder.iterdir()}
    asset, arrays = StillAvatar().surface(), load_file(folder / "head.safetensors")
    assert len(arrays["opaque"]) == int(asset.parts[0].triangles.sum())


def test_lashes_with_an_alpha_are_drawn_apart(tmp_path):
    asset = StillAvatar(4).surface()
    arrays = load_file(export_avatar(StillAvatar(4), "web", tmp_path / "still") / "head.safetensors")
    transparent = sum(int(part.triangles.sum()) for part in asset.parts if part.transparent)
    opaque = sum(int(part.triangles.sum()) for part in asset.parts if not part.transparent)
    assert (len(arrays["opaque"]), len(arrays["transparent"])) == (opaque, transparent)


def test_an_avatar_that_wants_other_channels_is_shown_still(avatar, tmp_path, monkeypatch):
    monkeypatch.setattr(type(avatar), "driven_by", (frozenset({ARKIT, NECK}),))
    assert described(export_avatar(avatar, "web", tmp_path / "page"))["repainting"] is None


def test_an_earlier_export_is_replaced_but_not_the_users_webcam_files(tmp_path):
    folder = export_avatar(StillAvatar(), "web", tmp_path / "page")
    (folder / "webcam").mkdir()
    (folder / "webcam" / "face_landmarker.task").write_text("mine")
    (folder / "old.txt").write_text("old")
    again = export_avatar(StillAvatar(), "web", folder)
    assert (again / "webcam" / "face_landmarker.task").read_text() == "mine"
    assert not (again / "old.txt").exists()


@pytest.mark.parametrize("content", [{"notes.txt": "mine"}, {"avatar.json": "{}"}, {"avatar.json": "no json"}])
def test_what_is_not_an_export_is_left_alone(tmp_path, content):
    place = tmp_path / "documents"
    place.mkdir()
    for name, text in content.items():
        (place / name).write_text(text)
    with pytest.raises(HeadstudioError, match="something else is here"):
        export_avatar(StillAvatar(), "web", place)
    assert {path.name: path.read_text() for path in place.iterdir()} == content


def test_a_file_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "page").write_text("mine")
    with pytest.raises(HeadstudioError, match="something else is here"):
        export_avatar(StillAvatar(), "web", tmp_path / "page")
    assert (tmp_path / "page").read_text() == "mine"


def test_a_page_that_was_never_built_is_said_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(web, "PAGE", tmp_path / "nowhere")
    with pytest.raises(HeadstudioError, match=r"not built.*make web"):
        export_avatar(StillAvatar(), "web", tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_a_missing_onnx_is_said_and_leaves_nothing(avatar, tmp_path, monkeypatch):
    def export(*_, **__):
        raise ModuleNotFoundError("No module named 'onnx'")

    monkeypatch.setattr(torch.onnx, "export", export)
    with pytest.raises(HeadstudioError, match=r"headstudio\[onnx\]"):
        export_avatar(avatar, "web", tmp_path / "page")
    assert not list(tmp_path.iterdir())


def test_an_empty_performance_is_refused(avatar, tmp_path):
    none = Motion(torch.zeros(0, dtype=torch.float64), {ARKIT: torch.zeros(0, 52)})
    with pytest.raises(HeadstudioError, match="no frame"):
        export_avatar(avatar, "web", tmp_path / "page", none)
    with pytest.raises(HeadstudioError, match="expression@arkit"):
        export_avatar(avatar, "web", tmp_path / "page", Motion(torch.zeros(1, dtype=torch.float64), {}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("times", "weight", "told"),
    [([0.0, 0.1], math.nan, "not finite"), ([0.0, 0.1], math.inf, "not finite"), ([0.1, 0.1], 0.5, "clock")],
)
def test_a_performance_that_nothing_can_play_is_refused(tmp_path, times, weight, told):
    broken = Motion(torch.tensor(times, dtype=torch.float64), {ARKIT: torch.full((2, 52), weight)})
    with pytest.raises(HeadstudioError, match=told):
        export_avatar(StillAvatar(), "web", tmp_path / "page", broken)
    assert not list(tmp_path.iterdir())


def test_a_model_whose_light_is_broken_leaves_nothing(avatar, tmp_path, monkeypatch):
    monkeypatch.setattr(avatar, "light_sh", torch.full((9, 3), math.nan))
    with untyped(), pytest.raises(HeadstudioError, match="not finite"):
        export_avatar(avatar, "web", tmp_path / "page")
    assert not list(tmp_path.iterdir())


def test_without_onnx_nothing_breaks_for_avatars_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert (export_avatar(StillAvatar(), "web", tmp_path / "page") / "index.html").is_file()
