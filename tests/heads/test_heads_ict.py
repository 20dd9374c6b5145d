"""ICT-FaceKit: parts, sides, atlas and bad files."""

import numpy as np
import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.heads import load_head
from headstudio.heads.arkit import ARKIT_INDEX, ARKIT_NAMES


def test_split_shapes_join_to_arkits(ict):
    arkit = torch.zeros(1, 52)
    arkit[0, ARKIT_INDEX["browInnerUp"]] = 0.8
    state = ict.from_arkit(arkit)
    raised = {name for name, value in zip(ict.data.expression_names, state.expression[0], strict=True) if value > 0}
    assert raised == {"browInnerUp_L", "browInnerUp_R"}
    one_sided = state.expression.clone()
    one_sided[0, ict.data.expression_names.index("browInnerUp_R")] = 0
    half = ict.to_arkit(state._replace(expression=one_sided))
    assert half[0, ARKIT_INDEX["browInnerUp"]] == pytest.approx(0.4)


def test_every_arkit_unit_but_the_tongue_is_reached(ict):
    states = ict.from_arkit(torch.eye(52))
    moves = states.expression.abs().sum(1) > 0
    assert [name for name, moved in zip(ARKIT_NAMES, moves, strict=True) if not moved] == ["tongueOut"]


def test_left_is_the_persons_left(ict):
    for name, unit in zip(ict.data.expression_names, ict.expression_basis_m, strict=True):
        if name.endswith(("_L", "_R")):
            strength = unit.norm(dim=1) ** 2
            across = (ict.template_m[:, 0] * strength).sum() / strength.sum()
            assert across * (1 if name.endswith("_L") else -1) > 0.005, name


def test_it_measures_like_a_head_and_its_parts_are_inside(ict):
    skull = ict.template_m[ict.region("face", "scalp", "ears")]
    width, height, depth = (skull.max(0).values - skull.min(0).values).tolist()
    assert 0.20 < height < 0.30 and 0.14 < width < 0.22 and 0.16 < depth < 0.25
    lips, teeth, tongue = (ict.template_m[ict.region(name)] for name in ("lips", "teeth", "tongue"))
    assert lips[:, 2].max() > teeth[:, 2].max() > tongue[:, 2].max()


def test_no_two_charts_of_the_atlas_overlap(ict):
    from headstudio.geometry.camera import Camera
    from headstudio.render.rasterise import rasterise

    size = 512
    corners = ict.uv[ict.uv_triangles].flatten(0, 1) * size
    points = torch.cat([corners, torch.ones(len(corners), 1)], 1)[None]
    order = torch.arange(len(corners)).reshape(-1, 3)
    depth = 1 + torch.randperm(len(order), generator=torch.Generator().manual_seed(0)).float() / len(order)
    camera = Camera(torch.eye(3), size, size)
    near, far = (
        rasterise(points * d.repeat_interleave(3)[None, :, None], order, camera).triangle for d in (depth, 3 - depth)
    )
    covered = near >= 0
    assert (near != far)[covered].float().mean() < 0.005
    assert covered.float().mean() > 0.6


def test_bad_files_are_told(tmp_path, monkeypatch):
    monkeypatch.delenv("HEADSTUDIO_ICT", raising=False)
    with pytest.raises(HeadstudioError, match="HEADSTUDIO_ICT"):
        load_head("ict")
    with pytest.raises(HeadstudioError, match="cannot be read"):
        load_head("ict", path=tmp_path / "nowhere.npz")
    (tmp_path / "noise.npz").write_bytes(b"PK noise")
    with pytest.raises(HeadstudioError, match="cannot be read"):
        load_head("ict", path=tmp_path / "noise.npz")
    np.savez(tmp_path / "other.npz", vertices=np.zeros((3, 3)))
    monkeypatch.setenv("HEADSTUDIO_ICT", str(tmp_path / "other.npz"))
    with pytest.raises(HeadstudioError, match="lacks uv"):
        load_head("ict")
    np.savez(tmp_path / "objects.npz", vertices=np.array([print], dtype=object))
    with pytest.raises(HeadstudioError):
        load_head("ict", path=tmp_path / "objects.npz")
