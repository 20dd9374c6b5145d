"""The .blend, opened again in Blender: runs where HEADSTUDIO_BLENDER names one (`make test-blender` makes it)."""

import json
import os
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import roma
import torch
from PIL import Image

from headstudio.export import blender
from headstudio.export.blender import find_blender
from headstudio.export.clip import mesh_clip, with_clip
from headstudio.export.gltf import write_glb
from headstudio.export.targets import export_avatar
from headstudio.motion.arkit import NAMES
from headstudio.records.channels import ARKIT, HEAD_POSE
from headstudio.records.mesh import MeshPart
from headstudio.records.motion import Motion
from support.gltf_player import GltfPlayer
from support.web_avatar import painting_avatar

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        blender.VARIABLE not in os.environ, reason=f"{blender.VARIABLE} names no Blender: see docs/blender.md"
    ),
]

FPS = 24
TURNED = 3
"""The frame, from 1, whose head is turned; the jaw opens in frame 2 alone."""

LOOK = """
import json, pathlib, sys
import bpy
import numpy as np
blend, out = map(pathlib.Path, sys.argv[-2:])
bpy.ops.wm.open_mainfile(filepath=str(blend))
scene = bpy.context.scene
head = next(o for o in bpy.data.objects if o.type == "MESH" and o.data.shape_keys)
found = {
    "keys": [key.name for key in head.data.shape_keys.key_blocks],
    "actions": {action.name: list(action.frame_range) for action in bpy.data.actions},
    "frames": [scene.frame_start, scene.frame_end], "rate": scene.render.fps / scene.render.fps_base,
    "bones": [bone.name for o in bpy.data.objects if o.type == "ARMATURE" for bone in o.data.bones],
    "worn": {o.name: [o.parent_bone, o.hide_render, len(o.data.polygons)]
             for o in bpy.data.collections["accessories"].objects},
    "others": sorted(o.type for o in bpy.data.objects), "materials": [m.name for m in head.data.materials],
    "eyes": sum(p.material_index == len(head.data.materials) - 1 for p in head.data.polygons),
    "images": {i.name: [i.source, i.filepath, i.colorspace_settings.name, bool(i.packed_file)]
               for i in bpy.data.images if i.source in ("FILE", "SEQUENCE")},
    "poses": [], "carried": [],
}
scene.render.resolution_x = scene.render.resolution_y = 128
scene.cycles.samples, scene.cycles.use_denoising, scene.render.dither_intensity = 8, False, 0
scene.render.threads_mode, scene.render.threads = "FIXED", 1
for frame in range(scene.frame_start, scene.frame_end + 1):
    scene.frame_set(frame)
    posed = head.evaluated_get(bpy.context.evaluated_depsgraph_get())
    places = np.empty(3 * len(posed.data.vertices), np.float32)
    posed.data.vertices.foreach_get("co", places)
    world = np.array(posed.matrix_world)
    found["poses"].append((places.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]).tolist())
    bpy.data.objects["hat"].hide_viewport = False
    bpy.context.view_layer.update()
    found["carried"].append(np.array(bpy.data.objects["hat"].matrix_world).tolist())
    scene.render.filepath = str(out / f"{frame}.png")
    bpy.ops.render.render(write_still=True)
(out / "found.json").write_text(json.dumps(found))
"""


@pytest.fixture(scope="module")
def avatar(tmp_path_factory):
    return painting_avatar(tmp_path_factory.mktemp("painting"))


@pytest.fixture(scope="module")
def motion():
    arkit = torch.zeros(3, 52)
    arkit[1, NAMES.index("jawOpen")] = 1.0
    pose = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0])).repeat(3, 1, 1)
    pose[TURNED - 1, :3, :3] @= roma.rotvec_to_rotmat(torch.tensor([0.1, 0.6, -0.2]))
    pose[:, :3, 3] = torch.tensor([[0.0, 0, 0.6], [0.0, 0, 0.6], [0.01, -0.02, 0.63]])
    return Motion(torch.arange(3, dtype=torch.float64) / FPS, {ARKIT: arkit, HEAD_POSE: pose})


def looked_at(blend, folder):
    """What Blender finds in the file, and its pictures."""
    folder.mkdir()
    (folder / "look.py").write_text(LOOK)
    command = [str(folder / "look.py") if part == str(blender.SCRIPT) else part for part in find_blender(None)]
    done = subprocess.run([*command, str(blend), str(folder)], capture_output=True, text=True)
    assert (folder / "found.json").is_file(), done.stderr[-2000:]
    found = json.loads((folder / "found.json").read_text())
    pictures = [np.asarray(Image.open(folder / f"{frame}.png").convert("RGB"), float) for frame in (1, 2, 3)]
    return found, pictures


@pytest.fixture(scope="module")
def scene(avatar, motion, tmp_path_factory):
    return export_avatar(avatar, "blender", tmp_path_factory.mktemp("scene") / "me", motion)


@pytest.fixture(scope="module")
def seen(scene, tmp_path_factory):
    return looked_at(scene, tmp_path_factory.mktemp("look") / "first")


def test_everything_has_its_name(seen):
    found, _ = seen
    assert found["keys"] == ["Basis", *NAMES]
    assert found["bones"] == ["neck", "head", "jaw", "eye_left", "eye_right"]
    assert found["materials"] == ["head", "eyes"] and found["eyes"] > 100
    assert found["others"] == sorted(["ARMATURE", "CAMERA", *["LIGHT"] * 3, *["MESH"] * 4])


def test_the_performance_is_an_action_at_its_own_rate(seen):
    found, _ = seen
    assert found["actions"] and all(frames == [1, 3] for frames in found["actions"].values())
    assert found["frames"] == [1, 3] and found["rate"] == pytest.approx(FPS)


def test_accessories_hang_on_the_head_and_are_hidden(seen):
    worn = seen[0]["worn"]
    assert worn.keys() == {"glasses", "hat", "hair"}
    assert all(bone == "head" and hidden and polygons > 100 for bone, hidden, polygons in worn.values())


def test_pictures_are_inside_or_beside_the_file(seen, scene):
    images = seen[0]["images"]
    assert images["base colour"] == ["FILE", "//base colour.png", "sRGB", True]
    assert images["blend mask"] == ["FILE", "//blend.png", "Non-Color", True]
    assert images["painted"] == ["SEQUENCE", "//me.painted/0001.png", "sRGB", False]
    assert (scene.parent / "me.painted" / "0003.png").is_file()


def test_blender_moves_the_mesh_as_we_do(seen, avatar, motion, tmp_path):
    asset = avatar.surface()
    whole = MeshPart("head", torch.ones(len(asset.triangles), dtype=torch.bool))  # lashes too: they are painted
    write_glb(tmp_path / "head.glb", with_clip(replace(asset, parts=(whole,)), motion))
    player = GltfPlayer(tmp_path / "head.glb")
    for frame, found in enumerate(seen[0]["poses"]):
        wanted = torch.as_tensor(player.frame(frame)).float()
        places = torch.tensor(found)[:, [0, 2, 1]] * torch.tensor([1.0, 1.0, -1.0])  # z up to y up
        # Blender has joined the vertices at seams, so both are compared as sets.
        assert torch.cdist(wanted, places).min(1).values.max() < 1e-4
        assert torch.cdist(places, wanted).min(1).values.max() < 1e-4


def test_accessories_go_where_the_skull_goes(seen, avatar, motion):
    asset = avatar.surface()
    poses = mesh_clip(asset, motion).T_parent_joint.double()
    rest = torch.eye(4, dtype=torch.float64)
    rest[:3, 3] = asset.joint_positions_m[1]
    to_blender = torch.tensor([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=torch.float64)
    for frame, found in enumerate(seen[0]["carried"]):
        wanted = to_blender @ poses[frame, 0] @ poses[frame, 1] @ rest.inverse() @ to_blender.inverse()
        assert (wanted - torch.tensor(found)).abs().max() < 1e-4
    assert (torch.tensor(seen[0]["carried"][TURNED - 1]) - torch.eye(4)).abs().max() > 0.1


def test_the_face_moves_between_frames(seen):
    _, (rest, open_mouth, turned) = seen
    jaw = np.abs(open_mouth - rest).mean(axis=(1, 2))
    assert jaw[70:].mean() > 3 * jaw[:40].mean() and jaw.max() > 4  # of 255, in the lower half
    assert np.abs(turned - rest).mean() > 4


def test_each_frame_shows_its_own_painted_picture(seen, scene, tmp_path):
    """A picture that is replaced changes its frame and no other one."""
    _, before = seen
    picture = scene.parent / "me.painted" / "0002.png"
    kept = picture.read_bytes()
    Image.new("RGB", Image.open(picture).size, (0, 255, 0)).save(picture)
    try:
        _, after = looked_at(scene, tmp_path / "again")
    finally:
        picture.write_bytes(kept)
    changed = [np.abs(a - b).mean() for a, b in zip(after, before, strict=True)]
    assert changed[1] > 1 and max(changed[0], changed[2]) < 0.1
