"""The OBJ folder, read back with a parser written from the format's description."""

import math
import re

import numpy as np
import pytest
import torch
from PIL import Image

from headstudio.cli.main import main
from headstudio.errors import HeadstudioError
from headstudio.export.obj import write_obj
from headstudio.export.targets import ExportOptions, export_avatar
from headstudio.records.channels import ARKIT
from headstudio.records.motion import Motion
from headstudio.texture.mesh_asset import mesh_asset
from support.small_head import small_head
from support.web_avatar import StillAvatar


def asset(channels=4):
    head = small_head()
    texture = torch.randint(0, 255, (channels, 8, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return mesh_asset(head, head.template_m, texture)


def parsed(folder):
    """Vertices, texture coordinates, and the faces (vertex row, uv row) of each material."""
    vertices, coordinates, faces, material = [], [], {}, None
    for line in (folder / "head.obj").read_text().splitlines():
        key, *values = line.split()
        if key == "v":
            vertices.append([float(value) for value in values])
        elif key == "vt":
            coordinates.append([float(value) for value in values])
        elif key == "usemtl":
            material = faces.setdefault(values[0], [])
        elif key == "f":
            material.append([[int(row) - 1 for row in corner.split("/")] for corner in values])
    return np.array(vertices), np.array(coordinates), {name: np.array(rows) for name, rows in faces.items()}


def test_what_is_read_back_is_the_mesh(tmp_path):
    mesh = asset()
    write_obj(tmp_path / "me", mesh)
    vertices, coordinates, faces = parsed(tmp_path / "me")
    assert np.abs(vertices - mesh.vertices_m.numpy()).max() < 1e-7
    # v counts from below in OBJ and from above in glTF.
    assert np.abs(coordinates - [[0, 1]] - mesh.uv.numpy() * [[1, -1]]).max() < 1e-6
    assert faces.keys() == {part.name for part in mesh.parts} == {"head", "eyelashes"}
    for part in mesh.parts:
        assert np.array_equal(faces[part.name][..., 0], mesh.triangles[part.triangles])
        assert np.array_equal(faces[part.name][..., 1], mesh.uv_triangles[part.triangles])


def test_a_pose_moves_what_its_units_move_and_nothing_else(tmp_path):
    mesh, pose = asset(), {"jawOpen": 0.6, "browInnerUp": 1.0}
    write_obj(tmp_path / "me", mesh, pose)
    wanted = mesh.vertices_m.clone()
    for name, weight in pose.items():
        wanted += weight * mesh.target_displacements_m[mesh.target_names.index(name)]
    assert np.abs(parsed(tmp_path / "me")[0] - wanted.numpy()).max() < 1e-6
    assert not torch.equal(wanted, mesh.vertices_m)


def test_files_name_each_other_by_relative_names(tmp_path):
    mesh = asset()
    write_obj(tmp_path / "me", mesh)
    materials = (tmp_path / "me" / "head.mtl").read_text()
    maps = re.findall(r"^map_\w+ (.*)$", materials, re.MULTILINE)
    assert set(maps) == {"head.png", "head_alpha.png"}
    assert re.findall(r"^mtllib (.*)$", (tmp_path / "me" / "head.obj").read_text(), re.MULTILINE) == ["head.mtl"]
    assert re.findall(r"^newmtl (.*)$", materials, re.MULTILINE) == ["head", "eyelashes"]
    assert {path.name for path in (tmp_path / "me").iterdir()} == {"head.obj", "head.mtl", *maps}
    pictures = [np.asarray(Image.open(tmp_path / "me" / name)) for name in ("head.png", "head_alpha.png")]
    assert np.array_equal(np.dstack(pictures), mesh.texture.permute(1, 2, 0))


def test_without_an_alpha_there_are_no_lashes(tmp_path):
    write_obj(tmp_path / "me", asset(3))
    assert not (tmp_path / "me" / "head_alpha.png").exists()
    assert parsed(tmp_path / "me")[2].keys() == {"head"}


def test_an_earlier_export_is_replaced_and_anything_else_left_alone(tmp_path):
    for _ in range(2):
        export_avatar(StillAvatar(), "obj", tmp_path / "me")
    (tmp_path / "me" / "notes.txt").write_text("mine")
    with pytest.raises(HeadstudioError, match="something else is here"):
        export_avatar(StillAvatar(), "obj", tmp_path / "me")
    assert (tmp_path / "me" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("pose", "told"),
    [
        ({"jawClosed": 0.5}, "no morph target 'jawClosed'"),
        ({"jawOpen": 1.5}, r"not in \[0, 1\]"),
        ({"jawOpen": -0.1}, r"not in \[0, 1\]"),
        ({"jawOpen": math.nan}, r"not in \[0, 1\]"),
    ],
)
def test_a_pose_that_no_face_can_make_is_refused(tmp_path, pose, told):
    with pytest.raises(HeadstudioError, match=told):
        export_avatar(StillAvatar(), "obj", tmp_path / "me", options=ExportOptions(pose))
    assert not list(tmp_path.iterdir())


def test_a_target_says_what_it_does_not_take(tmp_path):
    motion = Motion(torch.tensor([0.0, 0.1], dtype=torch.float64), {ARKIT: torch.zeros(2, 52)})
    with pytest.raises(HeadstudioError, match="obj stands still"):
        export_avatar(StillAvatar(), "obj", tmp_path / "me", motion)
    with pytest.raises(HeadstudioError, match="glb takes no pose"):
        export_avatar(StillAvatar(), "glb", tmp_path / "me", options=ExportOptions({"jawOpen": 0.5}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("typed", ["jawOpen", "jawOpen=wide", "=0.5="])
def test_a_mistyped_weight_is_said_before_anything_is_loaded(tmp_path, typed, capsys):
    assert main(["export", str(tmp_path), "--to", "obj", "-o", str(tmp_path / "me"), "--pose", typed]) == 1
    assert "write it like jawOpen=0.5" in capsys.readouterr().err
