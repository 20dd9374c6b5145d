"""GLB files read back and moved by an evaluator of our own; the Khronos validator is the second opinion."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headstudio.errors import HeadstudioError
from headstudio.export.clip import with_clip
from headstudio.export.gltf import GltfOptions, write_glb
from headstudio.geometry.rigid import rigid
from headstudio.heads.arkit import ARKIT_INDEX, ARKIT_NAMES
from headstudio.heads.makehuman import load as load_makehuman
from headstudio.records.channels import ARKIT, HEAD_POSE, HEAD_ROTATION, NECK
from headstudio.records.mesh import MeshAsset, MeshClip
from headstudio.records.motion import Motion
from headstudio.texture.mesh_asset import mesh_asset
from support.gltf_player import GltfPlayer
from support.node import validated
from support.small_head import SmallHead, small_head


@pytest.fixture(scope="module")
def head() -> SmallHead:
    return small_head()


@pytest.fixture(scope="module")
def neutral_m(head: SmallHead) -> torch.Tensor:
    return head.neutral(torch.tensor([[0.7, -1.2]]))[0]


def _texture(channels: int) -> torch.Tensor:
    return torch.randint(0, 256, (channels, 32, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def asset(head: SmallHead, neutral_m: torch.Tensor) -> MeshAsset:
    return mesh_asset(head, neutral_m, _texture(4), {"copyright": "nobody", "method": "toy"})


def _motion(frames: int = 7) -> Motion:
    make = torch.Generator().manual_seed(3)
    turn = torch.tensor([torch.pi, 0.0, 0.0]) + 0.3 * torch.randn(frames, 3, generator=make)
    place = torch.tensor([0.02, -0.01, 0.6]) + 0.05 * torch.randn(frames, 3, generator=make)
    expression = torch.rand(frames, 52, generator=make)
    expression[:, [i for i, name in enumerate(ARKIT_NAMES) if name.startswith("eyeLook") or name == "jawOpen"]] = 0
    return Motion(
        2.0 + torch.arange(frames, dtype=torch.float64) / 25,
        {ARKIT: expression, HEAD_POSE: rigid(turn, place), NECK: 0.2 * torch.randn(frames, 3, generator=make)},
    )


def _written(path: Path, asset: MeshAsset, **options: bool) -> GltfPlayer:
    write_glb(path / "head.glb", asset, GltfOptions(**options))
    return GltfPlayer(path / "head.glb")


def _nearest(points: np.ndarray, cloud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    distance = np.linalg.norm(points[:, None] - cloud[None], axis=-1)
    return distance.argmin(1), distance.min(1)


@pytest.mark.parametrize("sparse", [True, False])
def test_targets_by_name_reproduce_what_each_unit_does_alone(tmp_path, head, neutral_m, asset, sparse):
    player = _written(tmp_path, asset, sparse_targets=sparse)
    vertex, distance = _nearest(player.positions, neutral_m.numpy())
    assert distance.max() < 1e-7 and set(vertex) == set(range(len(neutral_m)))
    assert player.names == list(ARKIT_NAMES) and player.mesh.weights == [0.0] * 52
    for name in ("jawOpen", "mouthSmileLeft", "eyeLookOutLeft", "eyeLookUpRight", "tongueOut"):
        one = torch.zeros(1, 52)
        one[0, ARKIT_INDEX[name]] = 1.0
        wanted = (head.pose(neutral_m[None], head.from_arkit(one))[0] - neutral_m).numpy()
        found = player.targets[player.names.index(name)]
        assert np.abs(wanted).max() > 1e-3
        np.testing.assert_allclose(found, wanted[vertex], atol=1e-6)


def test_sparse_targets_hold_the_same_numbers_in_less_space(tmp_path, asset):
    write_glb(tmp_path / "dense.glb", asset, GltfOptions(sparse_targets=False))
    write_glb(tmp_path / "sparse.glb", asset, GltfOptions(sparse_targets=True))
    np.testing.assert_array_equal(
        GltfPlayer(tmp_path / "dense.glb").targets, GltfPlayer(tmp_path / "sparse.glb").targets
    )
    assert (tmp_path / "sparse.glb").stat().st_size < 0.7 * (tmp_path / "dense.glb").stat().st_size


def test_eyeball_targets_turn_the_right_eye_to_the_right_side(tmp_path, head, neutral_m, asset):
    player = _written(tmp_path, asset)
    vertex, _ = _nearest(player.positions, neutral_m.numpy())
    count = len(neutral_m) // 3
    left, right = (vertex >= count) & (vertex < 2 * count), vertex >= 2 * count
    front = {side: chosen & (player.positions[:, 2] > 0.1) for side, chosen in (("left", left), ("right", right))}
    outward = player.targets[player.names.index("eyeLookOutLeft")]
    assert player.positions[left, 0].mean() > 0.02  # the person's left is +x
    assert outward[front["left"], 0].min() > 0.002 and not outward[right].any()
    upward = player.targets[player.names.index("eyeLookUpRight")]
    assert upward[front["right"], 1].min() > 0.002 and not upward[left].any()


def test_skin_at_rest_leaves_the_vertices(tmp_path, asset):
    player = _written(tmp_path, asset)
    np.testing.assert_allclose(player.frame(), player.positions, atol=1e-7)
    weights = player.read(player.mesh.primitives[0].attributes.WEIGHTS_0)
    joints = player.read(player.mesh.primitives[0].attributes.JOINTS_0)
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-6)
    assert not joints[weights == 0].any()


def test_every_corner_keeps_its_texture_coordinate(tmp_path, asset):
    player = _written(tmp_path, asset)
    for index, part in enumerate(asset.parts):
        rows = player.triangles(index)
        np.testing.assert_allclose(player.positions[rows], asset.vertices_m[asset.triangles[part.triangles]], atol=1e-7)
        np.testing.assert_allclose(player.uv[rows], asset.uv[asset.uv_triangles[part.triangles]], atol=1e-7)
    assert len(player.positions) > len(asset.vertices_m)  # there is a seam


def test_normals_are_unit_point_outward_and_agree_across_the_seam(tmp_path, head):
    player = _written(tmp_path, mesh_asset(head, head.template_m, _texture(4)))
    np.testing.assert_allclose(np.linalg.norm(player.normals, axis=1), 1.0, atol=1e-5)
    vertex, _ = _nearest(player.positions, head.template_m.numpy())
    ball = vertex < len(head.template_m) // 3
    outward = player.positions[ball] / np.linalg.norm(player.positions[ball], axis=1, keepdims=True)
    inside = np.abs(player.positions[ball, 1]) < 0.09  # the ball is open at its poles
    assert (player.normals[ball] * outward).sum(1)[inside].min() > 0.99
    keys = [tuple(row) for row in player.positions]
    for key in {key for key in keys if keys.count(key) > 1}:
        rows = [row for row, other in enumerate(keys) if other == key]
        assert np.ptp(player.normals[rows], axis=0).max() < 1e-6


def test_clip_moves_the_mesh_as_the_head_model_does(tmp_path, head, neutral_m, asset):
    motion = _motion()
    player = _written(tmp_path, with_clip(asset, motion))
    vertex, _ = _nearest(player.positions, neutral_m.numpy())
    state = head.from_arkit(motion.channels[ARKIT])._replace(neck_rad=motion.channels[NECK])
    posed = head.pose(neutral_m[None], state).double()
    poses = motion.channels[HEAD_POSE].double()
    place = poses[:, :3, 3] - poses[:, :3, 3].median(0).values
    camera = posed @ poses[:, :3, :3].transpose(1, 2) + place[:, None]
    wanted = (camera * torch.tensor([1.0, -1.0, -1.0])).numpy()
    assert np.abs(wanted[0] - wanted[1]).max() > 0.01
    for frame in range(len(motion)):
        np.testing.assert_allclose(player.frame(frame), wanted[frame, vertex], atol=2e-6)


def test_clip_times_start_at_zero_and_still_joints_have_no_channel(tmp_path, asset):
    motion = _motion()
    player = _written(tmp_path, with_clip(asset, motion))
    animation = player.document.animations[0]
    times = player.read(animation.samplers[0].input)[:, 0]
    np.testing.assert_allclose(times, (motion.times_s - 2.0).numpy(), atol=1e-6)
    names = [player.document.nodes[channel.target.node].name for channel in animation.channels]
    assert set(names) == {asset.name, "neck", "head"}
    rotations = [
        player.read(animation.samplers[c.sampler].output) for c in animation.channels if c.target.path == "rotation"
    ]
    assert all(((turn[1:] * turn[:-1]).sum(1) >= 0).all() for turn in rotations)


def test_relative_head_rotation_turns_to_the_persons_left(tmp_path, asset):
    motion = Motion(
        torch.tensor([0.0, 1.0], dtype=torch.float64),
        {ARKIT: torch.zeros(2, 52), HEAD_ROTATION: torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.4, 0.0]])},
    )
    player = _written(tmp_path, with_clip(asset, motion))
    nose = player.positions[:, 2].argmax()
    assert player.frame(1)[nose, 0] > player.frame(0)[nose, 0] + 0.02


def test_picture_materials_and_origin_are_in_the_file(tmp_path, asset):
    player = _written(tmp_path, asset)
    document = player.document
    view = document.bufferViews[document.images[0].bufferView]
    picture = np.array(Image.open(BytesIO(player.blob[view.byteOffset : view.byteOffset + view.byteLength])))
    np.testing.assert_array_equal(picture, asset.texture.permute(1, 2, 0).numpy())
    head, lashes = document.materials
    assert (head.alphaMode, lashes.alphaMode, lashes.doubleSided) == ("OPAQUE", "BLEND", True)
    assert head.pbrMetallicRoughness.metallicFactor == 0.0 and "KHR_materials_unlit" not in head.extensions
    assert document.asset.copyright == "nobody" and document.asset.extras["provenance"]["method"] == "toy"
    assert all(len(primitive.targets) == 52 for primitive in player.mesh.primitives)


def test_lashes_need_an_alpha_channel(tmp_path, head, neutral_m):
    opaque = mesh_asset(head, neutral_m, _texture(3))
    player = _written(tmp_path, opaque, unlit=True)
    assert [part.name for part in opaque.parts] == ["head"] and len(player.mesh.primitives) == 1
    lashes = head.region("eyelashes")[opaque.triangles].all(1)
    assert len(player.triangles(0)) == len(opaque.triangles) - int(lashes.sum())
    assert player.document.extensionsUsed == ["KHR_materials_unlit"]


def test_bad_meshes_are_refused_before_anything_is_written(tmp_path, asset):
    broken = asset.vertices_m.clone()
    broken[3, 1] = float("nan")
    poses = torch.eye(4).expand(2, len(asset.joint_names), 4, 4)
    still = MeshClip("still", torch.zeros(2), torch.zeros(2, 52), poses)
    (tmp_path / "head.glb").write_text("precious")
    for bad, message in (
        (replace(asset, vertices_m=broken), "not finite"),
        (replace(asset, parts=()), "no triangle"),
        (replace(asset, clip=still), "does not advance"),
    ):
        with pytest.raises(HeadstudioError, match=message):
            write_glb(tmp_path / "head.glb", bad)
    assert (tmp_path / "head.glb").read_text() == "precious"
    with pytest.raises(HeadstudioError, match="arkit"):
        with_clip(asset, Motion(torch.zeros(1), {}))


def test_contradictory_assets_cannot_be_made(asset):
    for change, message in (
        ({"skin_weights": asset.skin_weights[1:]}, "skin.weights"),
        ({"target_names": asset.target_names[:-1]}, "target displacements"),
        ({"joint_parents": (-1, 2, 0, 1, 1)}, "tree"),
        ({"texture": asset.texture[:2]}, "channels"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):  # the tests' type checker may be first
            replace(asset, **change)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"sparse_targets": False}, {"unlit": True}], ids=["default", "dense", "unlit"])
def test_khronos_validator_has_nothing_to_say(tmp_path, asset, options):
    moving = with_clip(asset, _motion())
    write_glb(tmp_path / "head.glb", moving, GltfOptions(**options))
    issues = validated(tmp_path / "head.glb")
    assert issues["messages"] == [], issues


@pytest.mark.slow
def test_makehuman_head_moves_in_the_file_as_it_does_here(tmp_path):
    head = load_makehuman()
    neutral_m = head.neutral(torch.randn(1, head.identities, generator=torch.Generator().manual_seed(2)))
    asset, motion = mesh_asset(head, neutral_m[0], _texture(4)), _motion()
    motion.channels[ARKIT][:, ARKIT_INDEX["eyeLookUpLeft"]] = 0.5  # a turn, which a morph target cuts short
    player = _written(tmp_path, with_clip(asset, _still(motion)))
    state = head.from_arkit(motion.channels[ARKIT])
    corners = torch.cat([head.data.triangles[part.triangles].flatten() for part in asset.parts])
    rows = np.concatenate([player.triangles(index).reshape(-1) for index in range(len(asset.parts))])
    for frame, wanted in enumerate(head.pose(neutral_m, state)[:, corners].numpy()):
        error = np.linalg.norm(player.frame(frame)[rows] - wanted, axis=1)
        assert error.max() < 5e-4 and np.quantile(error, 0.5) < 2e-6
    assert validated(tmp_path / "head.glb")["messages"] == []


def _still(motion: Motion) -> Motion:
    return Motion(motion.times_s, {ARKIT: motion.channels[ARKIT]})
