"""What `export --to blender` hands to Blender, and how it fails, on machines without one."""

import ast
import json
import stat
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import headstudio
from headstudio.errors import HeadstudioError
from headstudio.export import blender
from headstudio.export.accessories import accessories
from headstudio.export.blender import find_blender, on_grid
from headstudio.export.clip import frame_rate
from headstudio.export.measure import measure_head
from headstudio.export.targets import ExportOptions, export_avatar
from headstudio.geometry.camera import Camera
from headstudio.heads import load_head
from headstudio.motion.arkit import NAMES
from headstudio.records.channels import ARKIT, HEAD_POSE, View
from headstudio.records.motion import Motion
from headstudio.texture.mesh_asset import mesh_asset
from support.gltf_player import GltfPlayer
from support.web_avatar import StillAvatar, painting_avatar

RATE_FPS = 25
FRAMES = 4


@pytest.fixture(scope="module")
def avatar(tmp_path_factory):
    return painting_avatar(tmp_path_factory.mktemp("painting"))


@pytest.fixture
def motion():
    make = torch.Generator().manual_seed(1)
    pose = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0])).repeat(FRAMES, 1, 1)
    pose[:, 2, 3] = 0.6
    times = 5 + torch.arange(FRAMES, dtype=torch.float64) / RATE_FPS
    return Motion(times, {ARKIT: torch.rand(FRAMES, 52, generator=make), HEAD_POSE: pose})


def stand_in(folder, body, name="python-of-mine"):
    """A program that is called like a Python with bpy; `folder` is what it is given."""
    program = folder / name
    program.write_text(
        f"#!{sys.executable}\nimport pathlib, shutil, sys\nfolder = pathlib.Path(sys.argv[-1])\n{body}\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def keeping(folder):
    """A stand-in that keeps what it was given, and makes a scene."""
    body = f"shutil.copytree(folder, {str(folder / 'parts')!r})\n(folder / 'scene.blend').write_text('scene')"
    return stand_in(folder, body)


@pytest.fixture
def parts(avatar, motion, tmp_path):
    """All that Blender is given."""
    written = export_avatar(
        avatar, "blender", tmp_path / "out" / "me", motion, ExportOptions(blender=keeping(tmp_path))
    )
    assert written == tmp_path / "out" / "me.blend" and written.read_text() == "scene"
    assert sorted(path.name for path in written.parent.iterdir()) == ["me.blend", "me.painted"]
    assert len(list((written.parent / "me.painted").iterdir())) == FRAMES
    return tmp_path / "parts"


def test_the_recipe_says_everything_and_names_no_place(parts):
    recipe = json.loads((parts / "recipe.json").read_text())
    assert (recipe.pop("schema"), recipe.pop("schema_version")) == ("headstudio.blender_scene", 1)
    assert recipe.keys() == {
        "name", "provenance", "head", "frames", "fps", "fps_base", "head_joint", "eye_joints", "target_names",
        "look_at_m", "accessories", "painted",
    }  # fmt: skip
    assert (recipe["frames"], recipe["fps"], recipe["fps_base"]) == (FRAMES, RATE_FPS, 1.0)
    assert recipe["target_names"] == list(NAMES)
    assert (recipe["head_joint"], recipe["eye_joints"]) == ("head", ["eye_left", "eye_right"])
    assert recipe["accessories"].keys() == {"glasses", "hat", "hair"}
    for surface in chain(*recipe["accessories"].values()):
        assert surface.keys() == {"name", "vertices_m", "triangles", "colour", "roughness", "opacity", "shade"}
    assert (parts / recipe["head"]).is_file() and (parts / recipe["painted"]["blend"]).is_file()
    assert recipe["painted"]["final_folder"] == "me.painted"
    assert (parts / recipe["painted"]["folder"] / recipe["painted"]["first"]).is_file()
    assert str(parts.parent) not in (parts / "recipe.json").read_text()


def test_the_clip_falls_on_whole_frames_from_one(parts, motion):
    player = GltfPlayer(parts / "head.glb")
    times = player.read(player.document.animations[0].samplers[0].input)[:, 0]
    assert np.allclose(times * RATE_FPS, np.arange(FRAMES) + 1, atol=1e-5)
    assert player.names == list(NAMES)


def test_the_painted_pictures_are_what_the_renderer_mixes(avatar, motion, parts):
    runtime, static = avatar.runtime(), avatar.static.float() / 255
    shown = avatar.blend[0].numpy() > 0
    assert shown.any() and not shown.all()
    for frame in range(FRAMES):
        view = View(Camera(torch.eye(3)[None], 8, 8), torch.eye(4)[None])
        with torch.no_grad():
            (painted,) = runtime.graph()(*runtime.prepare(motion.at([frame]), view).values())
        painted = torch.nn.functional.interpolate(painted, static.shape[1:], mode="bilinear", antialias=True)[0]
        wanted = ((static + painted).clamp(0, 1) * 255).permute(1, 2, 0).numpy()
        found = np.asarray(Image.open(parts / "painted" / f"{frame + 1:04d}.png"))
        assert np.abs(found - wanted)[shown].max() <= 0.51
    assert (found[~shown] == 0).mean() > 0.5  # what the mask hides fills no files


def test_without_a_performance_the_head_stands_still(avatar, tmp_path):
    export_avatar(avatar, "blender", tmp_path / "me.blend", options=ExportOptions(blender=keeping(tmp_path)))
    recipe = json.loads((tmp_path / "parts" / "recipe.json").read_text())
    assert (recipe["frames"], recipe["painted"]) == (1, None)
    assert not GltfPlayer(tmp_path / "parts" / "head.glb").document.animations
    assert not (tmp_path / "me.painted").exists()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("sys.exit('No module named bpy.')", r"No module named bpy \(.*python-of-mine"),
        ("sys.exit(3)", "it said nothing"),
        ("pass", "wrote no scene"),
    ],
)
def test_a_blender_that_fails_is_quoted_and_leaves_nothing(tmp_path, body, told):
    options = ExportOptions(blender=stand_in(tmp_path, body))
    with pytest.raises(HeadstudioError, match=told):
        export_avatar(StillAvatar(), "blender", tmp_path / "out" / "me.blend", options=options)
    assert not (tmp_path / "out").exists()


def test_no_blender_is_said_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.delenv(blender.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HeadstudioError, match=r"no Blender here.*-m venv.*pip install bpy==4\.5\.15"):
        export_avatar(StillAvatar(), "blender", tmp_path / "me.blend")
    with pytest.raises(HeadstudioError, match="no program that can be run"):
        find_blender(str(tmp_path / "absent"))
    assert not list(tmp_path.iterdir())


def test_where_blender_is_looked_for(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    on_path = stand_in(tmp_path / "bin", "", "blender")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv(blender.VARIABLE, raising=False)
    assert find_blender(None)[:2] == [on_path, "--background"]
    assert find_blender(None)[-2:] == [str(blender.SCRIPT), "--"]
    python = stand_in(tmp_path, "", "python3.11")
    monkeypatch.setenv(blender.VARIABLE, python)
    assert find_blender(None) == [python, "-I", str(blender.SCRIPT)]
    assert find_blender(on_path)[0] == on_path


@pytest.mark.parametrize("content", ["notes.txt", "cover.png"])
def test_a_folder_of_somebody_elses_is_left_alone(tmp_path, content):
    (tmp_path / "me.painted").mkdir()
    (tmp_path / "me.painted" / content).write_text("mine")
    with pytest.raises(HeadstudioError, match="something else is here"):
        export_avatar(StillAvatar(), "blender", tmp_path / "me", options=ExportOptions(blender=keeping(tmp_path)))
    assert (tmp_path / "me.painted" / content).read_text() == "mine"


@pytest.mark.parametrize(
    ("times", "rate_fps", "frames"),
    [
        ([0.0], 30, 1),
        ([0.0, 1 / 30, 2 / 30], 30, 3),
        ([1.0, 1.04, 1.08, 1.12], 25, 4),
        ([0.0, 0.033, 0.067, 0.1], 1 / 0.033, 4),
        ([k * 1001 / 30000 for k in range(7)], 30000 / 1001, 7),
        ([0.0, 0.1, 0.4], 10, 5),
        ([0.0, 10.0], 1.0, 11),
    ],
)
def test_frames_lie_evenly_at_the_motions_own_rate(times, rate_fps, frames):
    motion = Motion(torch.tensor(times, dtype=torch.float64), {ARKIT: torch.rand(len(times), 52)})
    assert frame_rate(motion) == pytest.approx(rate_fps, rel=0.02)
    even = on_grid(motion, frame_rate(motion))
    assert len(even) == frames
    assert torch.equal(even.channels[ARKIT][0], motion.channels[ARKIT][0])
    if len(times) > 1:
        assert even.times_s.diff().std(unbiased=False) < 1e-9


@pytest.fixture(scope="module")
def real_head():
    head = load_head("makehuman")
    return mesh_asset(head, head.template_m, torch.zeros(3, 4, 4, dtype=torch.uint8))


def test_accessories_sit_where_heads_wear_them(real_head):
    size = measure_head(real_head)
    assert size.back < size.centre < size.bridge and 0.05 < size.half_width < 0.11
    worn = accessories(size)
    glasses = np.concatenate([surface.vertices_m for surface in worn["glasses"]])
    assert glasses[:, 2].max() > size.bridge and np.abs(glasses[:, 1] - size.eye_y).max() < 0.04
    lenses = next(surface for surface in worn["glasses"] if surface.name == "lenses").vertices_m
    for eye in size.eyes:
        assert np.abs(lenses - eye)[:, :2].max(axis=1).min() < 0.003 and (lenses[:, 2] > eye[2]).all()
    hat, hair = (np.concatenate([surface.vertices_m for surface in worn[name]]) for name in ("hat", "hair"))
    assert hat[:, 1].max() > size.top and hat[:, 1].min() > size.eye_y
    assert hair[:, 1].max() > size.top and np.abs(hair[:, 0] - size.middle).max() > size.ears
    assert abs(hat[:, 0].mean() - size.middle) < 1e-3


def test_accessories_are_sound_meshes_that_face_outwards(real_head):
    size = measure_head(real_head)
    for surface in chain(*accessories(size).values()):
        corners = surface.vertices_m[surface.triangles]
        assert np.isfinite(surface.vertices_m).all()
        assert surface.triangles.min() >= 0 and surface.triangles.max() < len(surface.vertices_m)
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        if surface.name == "lenses":
            assert (normals[:, 2] > 0).all()
        elif surface.name == "frame":  # thin tubes: as a whole they enclose what they enclose
            assert np.einsum("tc,tc->t", corners[:, 0], normals).sum() > 0
        else:
            centre = np.array([size.middle, size.eye_y + 0.02, size.centre])
            outward = np.einsum("tc,tc->t", corners.mean(axis=1) - centre, normals)
            assert outward[outward > 0].sum() > 3 * -outward[outward < 0].sum(), surface.name


def test_a_head_with_nothing_to_measure_still_wears_a_hat():
    surfaces = chain(*accessories(measure_head(StillAvatar().surface())).values())
    assert all(np.isfinite(surface.vertices_m).all() for surface in surfaces)


def test_only_the_script_knows_bpy_and_it_knows_nothing_of_headstudio():
    package = Path(headstudio.__file__).parent
    importing = {}
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            importing.setdefault(path, set()).update(names)
    assert [
        path for path, names in importing.items() if {"bpy", "mathutils"} & {name.split(".")[0] for name in names}
    ] == [blender.SCRIPT]
    assert not any(name.startswith("headstudio") for name in importing[blender.SCRIPT])
    assert not any(name.endswith("blender_scene") for names in importing.values() for name in names)
