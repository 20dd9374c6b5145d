"""The .glb as a game engine reads it: Godot imports it and tells what arrived."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from headstudio.export.clip import with_clip
from headstudio.export.gltf import write_glb
from headstudio.export.sequence import BakeOptions
from headstudio.export.targets import ExportOptions, export_avatar
from headstudio.heads import load_head
from headstudio.motion.arkit import NAMES
from headstudio.records.channels import ARKIT, HEAD_ROTATION
from headstudio.records.motion import Motion
from headstudio.texture.mesh_asset import mesh_asset
from support.web_avatar import painting_avatar

GODOT = shutil.which("godot3-server")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(GODOT is None, reason="Godot is not here: see docs/engines.md"),
]

PROJECT = 'config_version=4\n[application]\nconfig/name="head"\n'
LISTING = """
extends SceneTree

func _init():
    var found = {"meshes": [], "bones": [], "clips": {}}
    look(load("res://head.glb").instance(), found)
    print("FOUND " + to_json(found))
    quit()

func look(node, found):
    if node is MeshInstance:
        var shapes = []
        for i in range(node.mesh.get_blend_shape_count()):
            shapes.append(node.mesh.get_blend_shape_name(i))
        var box = AABB(node.mesh.surface_get_arrays(0)[Mesh.ARRAY_VERTEX][0], Vector3())
        for place in node.mesh.surface_get_arrays(0)[Mesh.ARRAY_VERTEX]:
            box = box.expand(place)
        found["meshes"].append({"shapes": shapes, "size": [box.size.x, box.size.y, box.size.z]})
    if node is Skeleton:
        for i in range(node.get_bone_count()):
            found["bones"].append(node.get_bone_name(i))
    if node is AnimationPlayer:
        for name in node.get_animation_list():
            found["clips"][name] = [node.get_animation(name).length, node.get_animation(name).get_track_count()]
    for child in node.get_children():
        look(child, found)
"""


@pytest.fixture(scope="module")
def asset():
    head = load_head("makehuman")
    rest = mesh_asset(head, head.template_m, torch.full((3, 8, 8), 128, dtype=torch.uint8))
    times = torch.arange(5, dtype=torch.float64) / 10
    turn = torch.linspace(0, 0.4, 5)[:, None] * torch.tensor([0.0, 1.0, 0.0])
    weights = torch.rand(5, 52, generator=torch.Generator().manual_seed(0))
    return with_clip(rest, Motion(times, {ARKIT: weights, HEAD_ROTATION: turn}))


def import_files(project, run, files=1):
    """Let the editor import so many files, and end it then: with --quit, version 3.2 hangs after it has done so."""
    with (project / "log").open("w") as log:
        editor = subprocess.Popen([GODOT, "--path", ".", "--editor", "--quit"], stdout=log, stderr=log, **run)
        try:
            until = time.monotonic() + 120
            while (
                editor.poll() is None and time.monotonic() < until and len(list(project.glob(".import/*.md5"))) < files
            ):
                time.sleep(0.2)
        finally:
            editor.kill()
            editor.wait()
    assert list(project.glob(".import/*.scn")), (project / "log").read_text()


@pytest.fixture(scope="module")
def found(asset, tmp_path_factory):
    project = tmp_path_factory.mktemp("godot")
    (project / "project.godot").write_text(PROJECT)
    (project / "list.gd").write_text(LISTING)
    write_glb(project / "head.glb", asset)
    import_files(project, surroundings(project))
    return told_by(project, "list.gd")


def surroundings(project):
    return {"cwd": project, "env": {**os.environ, "HOME": str(project), "LC_ALL": "C.UTF-8"}}


def told_by(project, script):
    command = [GODOT, "--path", ".", "-s", script]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, **surroundings(project))
    lines = [line for line in told.stdout.splitlines() if line.startswith("FOUND ")]
    assert lines, told.stdout + told.stderr
    return json.loads(lines[0].removeprefix("FOUND "))


def test_all_blend_shapes_arrive_by_name(found):
    (mesh,) = found["meshes"]
    assert mesh["shapes"] == list(NAMES)


def test_metres_stay_metres(found, asset):
    drawn = asset.vertices_m[asset.triangles[asset.parts[0].triangles].unique()]
    size = (drawn.amax(0) - drawn.amin(0)).tolist()
    assert found["meshes"][0]["size"] == pytest.approx(size, abs=1e-3)  # Godot's own compression rounds


def test_the_skeleton_and_the_performance_arrive(found, asset):
    assert set(found["bones"]) >= set(asset.joint_names)
    ((length, tracks),) = found["clips"].values()
    assert length == pytest.approx(0.4, abs=0.01) and tracks >= 52


STEPPING = """
extends SceneTree

func _idle(_delta):
    var scene = load("res://me.glb").instance()
    get_root().add_child(scene)
    var flipper = load("res://flip.gd").new()
    flipper.folder = "res://me.baked"
    scene.add_child(flipper)
    var player = flipper.player
    player.playback_process_mode = AnimationPlayer.ANIMATION_PROCESS_MANUAL
    player.play(flipper.clock.animation)
    var found = []
    for step in range(25):
        player.advance(0.02 if step else 0.01)
        flipper.show_at(player.current_animation_position)
        var shown = flipper._mesh(scene)
        found.append([
            player.current_animation_position, shown.get("blend_shapes/jawOpen"),
            shown.mesh.surface_get_material(0).albedo_texture.resource_path
        ])
    print("FOUND " + to_json(found))
    quit()
"""


def test_baked_pictures_keep_time_with_the_animation(tmp_path):
    """The script of docs/engines.md, word for word."""
    times_s, jaw = [0.0, 0.1, 0.26, 0.3, 0.5], [0.0, 0.8, 0.1, 0.9, 0.3]
    arkit = torch.zeros(5, 52)
    arkit[:, NAMES.index("jawOpen")] = torch.tensor(jaw)
    motion = Motion(torch.tensor(times_s, dtype=torch.float64) + 7, {ARKIT: arkit})
    avatar = painting_avatar(tmp_path / "avatar")
    project = tmp_path / "project"
    project.mkdir()
    export_avatar(avatar, "glb", project / "me.glb", motion, ExportOptions(bake=BakeOptions(largest_px=64)))
    assert len(list((project / "me.baked").glob("*.png"))) == 5
    (project / "project.godot").write_text(PROJECT)
    (project / "step.gd").write_text(STEPPING)
    told = Path(__file__).parents[2].joinpath("docs", "engines.md").read_text()
    (project / "flip.gd").write_text(told.split("```gdscript\n")[1].split("```")[0])
    import_files(project, surroundings(project), files=6)
    found = told_by(project, "step.gd")
    assert len(found) == 25
    for step, (time_s, weight, picture) in enumerate(found):
        assert time_s == pytest.approx(0.01 + 0.02 * step, abs=1e-5)
        assert weight == pytest.approx(float(np.interp(time_s, times_s, jaw)), abs=2e-3)
        frame = int(np.searchsorted(times_s, time_s, side="right"))
        assert picture == f"res://me.baked/{frame:05d}.png"
