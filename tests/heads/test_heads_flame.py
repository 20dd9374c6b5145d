"""FLAME files: layout, what is refused, texture coordinates, masks, and the likeness to ARKit."""

import builtins
import os
import pickle

import numpy as np
import pytest
import torch
from flame_file import EXPRESSIONS, IDENTITIES, flame_arrays

from headstudio.errors import HeadstudioError
from headstudio.heads import load_head
from headstudio.heads.arkit import ARKIT_INDEX
from headstudio.heads.base import LandmarkEmbedding
from headstudio.heads.flame.arkit_map import arkit_maps
from headstudio.heads.flame.files import read_arrays
from headstudio.heads.flame.model import JAW_OPEN_RAD


def test_pickle_and_npz_give_the_same_head(flame, tmp_path):
    arrays = flame_arrays()
    np.savez(tmp_path / "flame.npz", **arrays)
    other = load_head("flame", path=tmp_path / "flame.npz")
    assert flame.identities == IDENTITIES and flame.expressions == EXPRESSIONS
    for name in ("template_m", "identity_basis_m", "expression_basis_m", "joint_weights", "skin_weights", "uv"):
        torch.testing.assert_close(getattr(flame, name), getattr(other, name))
    np.testing.assert_allclose(flame.expression_basis_m[1], arrays["shapedirs"][:, :, -1], atol=1e-8)


def test_jaw_open_is_a_rotation_that_lowers_the_chin(flame):
    arkit = torch.zeros(1, 52)
    arkit[0, ARKIT_INDEX["jawOpen"]] = 1
    state = flame.from_arkit(arkit)
    assert state.jaw_rad[0].tolist() == pytest.approx([JAW_OPEN_RAD, 0, 0])
    moved = flame.pose(flame.template_m[None], state)[0] - flame.template_m
    jaw = flame.skin_weights[:, 2] > 0
    front = jaw & (flame.template_m[:, 2] > flame.joints(flame.template_m[None])[0, 2, 2] + 0.002)
    assert moved[front, 1].max() < 0 and moved[~jaw].abs().max() < 1e-7


class _Malice:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.system, ("echo",)),
        (os.mkdir, ("made",)),
        (builtins.eval, ("__import__('os').mkdir('made')",)),
        (builtins.getattr, (os, "mkdir")),
        (builtins.__import__, ("os",)),
        (np.load, ("made",)),
        (np.array, ([1.0],)),
    ],
)
def test_pickles_that_call_anything_are_refused(tmp_path, monkeypatch, function, arguments):
    monkeypatch.chdir(tmp_path)
    if function is builtins.getattr:
        arguments = ("text", "upper")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"v_template": _Malice(function, *arguments)}, protocol=2))
    with pytest.raises(HeadstudioError, match="refused: it asks for"):
        load_head("flame", path=tmp_path / "evil.pkl")
    assert not (tmp_path / "made").exists()


def test_admitted_names_cannot_be_turned_against_us(tmp_path):
    foreign = b"cnumpy.core.multiarray\n_reconstruct\n(c__builtin__\nobject\n(K\x00tU\x01btR."
    reconstructed = b"ccopy_reg\n_reconstructor\n(cnumpy\nndarray\nc__builtin__\nobject\nNtR."
    dotted = b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93."
    for number, program in enumerate((foreign, reconstructed, dotted)):
        path = tmp_path / f"{number}.pkl"
        path.write_bytes(program)
        with pytest.raises(HeadstudioError, match="refused"):
            read_arrays(path)


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps([1, 2]), pickle.dumps({"f": 3})])
def test_damaged_or_foreign_files_are_told(tmp_path, content):
    (tmp_path / "model.pkl").write_bytes(content)
    with pytest.raises(HeadstudioError):
        load_head("flame", path=tmp_path / "model.pkl")


def test_truncated_and_missing_files_are_told(flame_path, tmp_path):
    (tmp_path / "half.pkl").write_bytes(flame_path.read_bytes()[:5000])
    with pytest.raises(HeadstudioError, match="refused"):
        load_head("flame", path=tmp_path / "half.pkl")
    with pytest.raises(HeadstudioError, match="cannot be read"):
        load_head("flame", path=tmp_path / "nowhere.pkl")


def test_other_skeletons_are_told(tmp_path):
    arrays = flame_arrays()
    arrays["weights"] = arrays["weights"][:, :4]
    np.savez(tmp_path / "smplx.npz", **arrays)
    with pytest.raises(HeadstudioError, match="other joints"):
        load_head("flame", path=tmp_path / "smplx.npz")


def test_texture_coordinates_come_from_obj_or_npz_and_must_fit(flame, flame_path, tmp_path):
    faces = len(flame.triangles)
    vt = np.random.default_rng(0).random((3 * faces, 2))
    ft = np.arange(3 * faces).reshape(-1, 3)
    np.savez(tmp_path / "uv.npz", vt=vt, ft=ft)
    lines = [f"vt {u} {v}" for u, v in vt] + [f"f 1/{a} 2/{b} 3/{c}" for a, b, c in ft + 1]
    (tmp_path / "uv.obj").write_text("\n".join(lines))
    for name in ("uv.npz", "uv.obj"):
        uv = load_head("flame", path=flame_path, uv=tmp_path / name).uv
        np.testing.assert_allclose(uv, np.stack([vt[:, 0], 1 - vt[:, 1]], 1), atol=1e-6)
    np.savez(tmp_path / "short.npz", vt=vt, ft=ft[1:])
    with pytest.raises(HeadstudioError, match="another mesh"):
        load_head("flame", path=flame_path, uv=tmp_path / "short.npz")


def test_no_triangle_of_the_unwrap_runs_across_the_seam(flame):
    corners = flame.uv[flame.uv_triangles]
    assert (corners[..., 0].max(1).values - corners[..., 0].min(1).values).max() < 0.55


def test_masks_name_regions(flame_path, flame, tmp_path):
    names = ("face", "eye_region", "nose", "lips", "left_ear", "right_ear", "scalp", "neck", "boundary")
    masks = {name: np.array([number, number + 1]) for number, name in enumerate(names)}
    (tmp_path / "masks.pkl").write_bytes(pickle.dumps(masks, protocol=2))
    head = load_head("flame", path=flame_path, masks=tmp_path / "masks.pkl")
    assert torch.nonzero(head.region("ears"))[:, 0].tolist() == [4, 5, 6]
    torch.testing.assert_close(head.region("eyeballs"), flame.region("eyeballs"))


def test_likeness_to_arkit_finds_shapes_that_are_arkits_own(makehuman):
    """A FLAME whose expressions are some of MakeHuman's units must be told to be just these units."""
    chosen = [ARKIT_INDEX[name] for name in ("mouthSmileLeft", "browInnerUp", "eyeBlinkRight", "mouthPucker")]
    basis = makehuman.expression_basis_m[chosen]
    forth, back = arkit_maps(makehuman.template_m, makehuman.triangles, basis, makehuman.data.landmarks)
    for column, row in enumerate(chosen):
        assert forth[:, column].argmax() == row and forth[row, column] > 0.5
        assert back[:, row].argmax() == column and 0.7 < back[column, row] < 1.05
    nothing = LandmarkEmbedding(*(torch.zeros_like(value) for value in vars(makehuman.data.landmarks).values()))
    empty = arkit_maps(makehuman.template_m, makehuman.triangles, basis, nothing)
    assert all(not value.any() for value in empty)


def test_without_a_file_it_says_where_to_name_it(monkeypatch, tmp_path):
    monkeypatch.delenv("HEADSTUDIO_FLAME", raising=False)
    with pytest.raises(HeadstudioError, match="HEADSTUDIO_FLAME"):
        load_head("flame")
    monkeypatch.setenv("HEADSTUDIO_FLAME", str(tmp_path / "lost.pkl"))
    with pytest.raises(HeadstudioError, match=r"lost\.pkl"):
        load_head("flame")
