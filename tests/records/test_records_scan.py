"""A scan comes back from disk as it was, and tells what is wrong with it."""

import json
import math
from dataclasses import replace

import pytest
import torch
from PIL import Image

from headstudio.errors import HeadstudioError
from headstudio.records.scan import (
    CameraSource,
    LightMode,
    MetricScale,
    RawMesh,
    Residuals,
    ScaleSource,
    Scan,
    SkinTexture,
    SparsePoints,
)
from headstudio.records.track import HeadIdentity


def small_scan(views=3, size=8):
    draw = torch.Generator().manual_seed(0)
    return Scan(
        capture_identifier="someone",
        frames=torch.tensor([2, 5, 9])[:views],
        frontal=1,
        images=torch.randint(0, 255, (views, 3, size, size), generator=draw, dtype=torch.uint8),
        masks=torch.randint(0, 255, (views, size, size), generator=draw, dtype=torch.uint8),
        valid=torch.rand(size, size, generator=draw) > 0.2,
        landmarks_px=torch.full((views, 478, 3), torch.nan),
        K_px=torch.eye(3).repeat(views, 1, 1),
        T_camera_world=torch.eye(4).repeat(views, 1, 1),
        T_head_scan=torch.eye(4),
        head="makehuman",
        cameras=CameraSource.STRUCTURE_FROM_MOTION,
        light=LightMode.TURNING,
        scale=MetricScale(ScaleSource.IRIS, 0.05, 12),
        residuals=Residuals(math.nan, 1.0, 0.005, 4),
        distortion=-0.01,
        told=("something is uncertain",),
    )


def texture(light_sh=None):
    albedo = torch.randint(0, 255, (3, 16, 16), generator=torch.Generator().manual_seed(4), dtype=torch.uint8)
    return SkinTexture(albedo, torch.eye(16) > 0, light_sh)


def unlit_scan():
    return replace(full_scan(), texture=texture())


def full_scan():
    triangles = torch.tensor([[0, 1, 2]])
    return replace(
        small_scan(),
        points=SparsePoints(torch.rand(5, 3), torch.zeros(5, 3, dtype=torch.uint8)),
        mesh=RawMesh(torch.rand(3, 3), triangles),
        identity=HeadIdentity("makehuman", torch.rand(80), torch.rand(10, 3)),
        texture=texture(torch.rand(9, 3)),
        relative_focal=0.9,
    )


@pytest.mark.parametrize("make", [small_scan, full_scan, unlit_scan])
def test_it_comes_back_as_it_was(tmp_path, make):
    scan = make()
    scan.save(tmp_path / "scan")
    again = Scan.load(tmp_path / "scan")
    for name, value in vars(scan).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(torch.nan_to_num(value), torch.nan_to_num(getattr(again, name))), name
        elif name not in ("residuals", "points", "mesh", "identity", "texture"):
            assert getattr(again, name) == value, name
    assert math.isnan(again.residuals.reprojection_px) and again.residuals.offered == 4
    for part in ("points", "mesh", "identity", "texture"):
        ours, theirs = getattr(scan, part), getattr(again, part)
        assert (ours is None) == (theirs is None)
        if ours is not None:
            pairs = zip(vars(ours).values(), vars(theirs).values(), strict=True)
            assert all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)
    assert again.view(torch.tensor([0, 2])).batch == 2


def test_the_interval_of_a_scale_is_as_wide_as_it_says():
    low, high = MetricScale(ScaleSource.IRIS, 0.05, 3).interval()
    assert low * high == pytest.approx(1.0) and high == pytest.approx(1.05**1.96)


def test_the_pose_of_the_head_goes_through_the_world():
    turn = torch.eye(4)
    turn[:3, :3] = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    turn[:3, 3] = torch.tensor([0.1, 0.2, 0.3])
    camera = torch.eye(4)
    camera[2, 3] = 0.5
    scan = replace(small_scan(), T_head_scan=turn, T_camera_world=camera.repeat(3, 1, 1))
    point = torch.tensor([0.3, -0.1, 0.2, 1.0])  # in the scan frame
    assert torch.allclose(scan.T_camera_head[1] @ (turn @ point), camera @ point, atol=1e-6)


def rewritten(folder, **change):
    where = folder / "scan.json"
    where.write_text(json.dumps({**json.loads(where.read_text()), **change}))


DAMAGE = [
    (lambda f: (f / "scan.json").unlink(), "no headstudio.scan here"),
    (lambda f: (f / "scan.json").write_text("{"), "cannot be read"),
    (lambda f: rewritten(f, schema="headstudio.track"), "not a headstudio.scan"),
    (lambda f: rewritten(f, schema_version=99), "update headstudio"),
    (lambda f: rewritten(f, views="many"), "damaged"),
    (lambda f: rewritten(f, views=2), "damaged"),
    (lambda f: rewritten(f, views=4), "picture cannot be read"),
    (lambda f: rewritten(f, frontal=7), "no frontal view 7"),
    (lambda f: rewritten(f, cameras="guessed"), "guessed"),
    (lambda f: rewritten(f, light="dark"), "dark"),
    (lambda f: rewritten(f, scale={"source": "iris", "deviation": 3.0, "measurements": 1}), "deviation 3"),
    (lambda f: rewritten(f, scale=None), "damaged"),
    (lambda f: rewritten(f, residuals={"offered": 3}), "damaged"),
    (lambda f: rewritten(f, identity_head="makehuman"), "damaged"),
    (lambda f: (f / "scan.safetensors").unlink(), "is missing"),
    (lambda f: (f / "scan.safetensors").write_bytes(b"none"), "cannot be read"),
    (lambda f: (f / "images" / "001.png").unlink(), "picture cannot be read"),
    (lambda f: (f / "masks" / "001.png").write_text("none"), "picture cannot be read"),
]


@pytest.mark.parametrize(("damage", "told"), DAMAGE)
def test_damage_is_told_in_one_sentence(tmp_path, damage, told):
    small_scan().save(tmp_path / "scan")
    damage(tmp_path / "scan")
    with pytest.raises(HeadstudioError, match=told):
        Scan.load(tmp_path / "scan")


def test_a_lost_picture_of_the_texture_is_told(tmp_path):
    full_scan().save(tmp_path / "scan")
    (tmp_path / "scan" / "texture" / "seen.png").unlink()
    with pytest.raises(HeadstudioError, match="picture cannot be read"):
        Scan.load(tmp_path / "scan")
    Image.new("L", (4, 4)).save(tmp_path / "scan" / "texture" / "seen.png")
    with pytest.raises(HeadstudioError, match="damaged"):
        Scan.load(tmp_path / "scan")


@pytest.mark.parametrize(
    "change",
    [
        {"frontal": 3},
        {"K_px": torch.full((3, 3, 3), torch.nan)},
        {"scale": MetricScale(ScaleSource.IRIS, -0.1, 1)},
        {"mesh": RawMesh(torch.rand(2, 3), torch.tensor([[0, 1, 2]]))},
        {"texture": texture()},
    ],
)
def test_what_contradicts_itself_is_not_written(tmp_path, change):
    with pytest.raises(ValueError, match="scan of someone"):
        replace(small_scan(), **change).save(tmp_path / "scan")
    assert not (tmp_path / "scan").exists()
