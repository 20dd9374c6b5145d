"""The registration on a scan: landmarks projected back, the crop, hair by its colour, the blend mask, the record."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import from_rotation, invert, rigid, transform
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.progress import Silent
from headstudio.records.scan import CameraSource, LightMode, MetricScale, RawMesh, Residuals, ScaleSource, Scan
from headstudio.render.closest import SurfaceIndex
from headstudio.render.rasterise import interpolate, rasterise
from headstudio.scan.blend_mask import blend_mask
from headstudio.scan.face_part import (
    Sight,
    face_crop,
    face_frame,
    landmarks_on_mesh,
    looks_like_hair,
    vertex_colours,
)
from headstudio.scan.fitting import fitted_skin
from headstudio.scan.registering import face_part, with_registration
from headstudio.scan.registration_config import REGISTRATION_PRESETS, CropConfig, FitStage, RegistrationConfig
from headstudio.scan.texturing import with_texture
from headstudio.texture.delight import DelightConfig
from headstudio.texture.static import StaticTextureConfig
from headstudio.texture.synthesis import SynthesisConfig
from headstudio.texture.texels import TexelMap
from headstudio.tracking.config import FreeformConfig

SIZE_PX, DISTANCE_M = 320, 0.55
SKIN, HAIR = torch.tensor([0.75, 0.55, 0.45]), torch.tensor([0.12, 0.08, 0.06])
YAWS_DEG = (-25.0, 0.0, 25.0)
QUICK = RegistrationConfig(
    stages=(FitStage(3, 0.003, 0.003, False, False), FitStage(2, 0.0015, 0.004, True)),
    points=500,
    freeform=FreeformConfig(fields=10),
    offset_rounds=1,
    mask_px=128,
)


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head("makehuman")


@pytest.fixture(scope="module")
def scan(head: HeadModel) -> Scan:
    """Three pictures of the mean head with black hair on its scalp and down over the left half of its forehead."""
    camera = Camera.from_focal(SIZE_PX * DISTANCE_M / 0.34, SIZE_PX, SIZE_PX)
    facing = rigid(torch.tensor([torch.pi, 0.0, 0.0]), torch.tensor([0.0, 0.0, DISTANCE_M]))
    turns = torch.tensor([[0.0, yaw, 0.0] for yaw in YAWS_DEG]).deg2rad()
    T_camera_head = facing @ rigid(turns, torch.zeros(3, 3))
    colours = SKIN.repeat(head.vertices, 1)
    colours[hairy(head, head.template_m)] = HAIR
    visible = head.triangles[~head.region("eyelashes")[head.triangles].any(1)]
    images, masks, landmarks = [], [], []
    for T in T_camera_head:
        local = transform(T, head.template_m)[None]
        fragments = rasterise(local, visible, camera)
        images.append((interpolate(fragments, colours[None], visible)[0] * 255).byte())
        masks.append((fragments.mask[0, 0] * 255).byte())
        pixels = camera.project(head.landmark_points(local))[0][0]
        landmarks.append(torch.cat([pixels, torch.zeros(478, 1)], dim=1))
    outside = torch.zeros(head.vertices, dtype=torch.bool)
    for name in ("eyelashes", "teeth", "tongue", "mouth_cavity"):
        outside |= head.region(name)
    T_camera_world = T_camera_head @ invert(T_camera_head[:1])
    mesh = RawMesh(transform(T_camera_head[0], head.template_m), head.triangles[~outside[head.triangles].any(1)])
    return Scan(
        "a", torch.arange(3), 1, torch.stack(images), torch.stack(masks), torch.ones(SIZE_PX, SIZE_PX) > 0,
        torch.stack(landmarks), camera.K_px.expand(3, 3, 3).clone(), T_camera_world, invert(T_camera_head[0]),
        "makehuman", CameraSource.STRUCTURE_FROM_MOTION, LightMode.FIXED_TO_HEAD,
        MetricScale(ScaleSource.IRIS, 0.04, 6), Residuals(0.5, 0.5, 0.001, 3), mesh=mesh,
    )  # fmt: skip


def hairy(head: HeadModel, points: Tensor) -> Tensor:
    fringe = (points[:, 1] > 0.045) & (points[:, 0] > 0.02)
    return fringe | (points[:, 1] > 0.085) | (points[:, 2] < -0.06)


def surface(scan: Scan) -> SurfaceIndex:
    assert scan.mesh is not None
    return SurfaceIndex(scan.mesh.vertices_m, scan.mesh.triangles)


def sight(scan: Scan) -> Sight:
    return Sight(scan.K_px, scan.T_camera_world, scan.landmarks_px, scan.images.float() / 255)


def in_world(head: HeadModel, scan: Scan) -> Tensor:
    return transform(invert(scan.T_head_scan), head.landmark_points(head.template_m[None])[0])


@pytest.mark.parametrize("views", [[1], [0, 1, 2]])
def test_landmarks_come_back_to_where_they_were(head: HeadModel, scan: Scan, views: list[int]) -> None:
    found = landmarks_on_mesh(surface(scan), sight(scan), torch.tensor(views), 0.006)
    miss = (found - in_world(head, scan)).norm(dim=1)[head.landmark_weight > 0]
    known = miss[~miss.isnan()]
    # a few lie behind the rim of nose or cheek in a view, or under lids
    assert len(known) > 300 and float(known.median()) < 1e-4 and float(known.quantile(0.9)) < 2e-3


def test_a_landmark_on_which_views_disagree_is_left_out(scan: Scan) -> None:
    moved = scan.landmarks_px.clone()
    moved[0, 4, 0] += 40
    moved[2, 4, 0] -= 40
    found = landmarks_on_mesh(surface(scan), replace(sight(scan), landmarks_px=moved), torch.arange(3), 0.006)
    assert bool(found[4].isnan().all()) and bool(torch.isfinite(found[5]).all())


def test_rays_beside_the_head_are_no_landmarks(scan: Scan) -> None:
    beside = replace(sight(scan), landmarks_px=torch.zeros(3, 478, 3))
    assert bool(landmarks_on_mesh(surface(scan), beside, torch.arange(3), 0.006).isnan().all())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_nose_points_where_it_points_in_any_frame(head: HeadModel, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    T = rigid(3 * torch.rand(3, generator=draw) - 1.5, torch.randn(3, generator=draw))
    frame = face_frame(transform(T, head.landmark_points(head.template_m[None])[0]))
    axes = (frame.T_face_scan[:3, :3].float() @ T[:3, :3]).diagonal()
    assert float(axes.min()) > 0.95  # the plane through a face leans a little against the skull's axes
    assert 0.12 < frame.height < 0.2


def test_too_few_landmarks_make_no_face() -> None:
    with pytest.raises(HeadstudioError, match="0 of the face's landmarks"):
        face_frame(torch.full((478, 3), torch.nan))


def test_the_crop_holds_the_face_and_not_the_nape(head: HeadModel) -> None:
    landmarks = head.landmark_points(head.template_m[None])[0]
    inside = face_crop(head.template_m, landmarks, face_frame(landmarks), CropConfig())
    for part in ("nose", "lips"):
        assert bool(inside[head.region(part)].all())
    back = head.template_m[:, 2] < -0.1
    assert not bool(inside[back].any()) and not bool(inside[head.template_m[:, 1] < -0.15].any())


def test_colours_are_those_of_the_pictures(head: HeadModel, scan: Scan) -> None:
    assert scan.mesh is not None
    found = vertex_colours(scan.mesh.vertices_m, scan.mesh.triangles.int(), sight(scan))
    cheek = fitted_skin(head) & ~hairy(head, head.template_m + torch.tensor([0.01, 0.01, 0.0]))
    cheek &= (head.template_m[:, 2] > 0) & ~head.region("eyelids", "lips", "nose")
    known = ~found.isnan().any(1)
    assert float(known[cheek].float().mean()) > 0.9
    assert float((found[cheek & known] - SKIN).abs().median()) < 0.01
    assert not bool(known[head.template_m[:, 2] < -0.14].any())  # the nape faces no camera


def test_hair_is_told_by_its_colour_and_a_beard_stays(head: HeadModel) -> None:
    landmarks = head.landmark_points(head.template_m[None])[0]
    colours = SKIN.repeat(head.vertices, 1) * (0.7 + 0.6 * torch.rand(head.vertices, 1))
    hair = hairy(head, head.template_m)
    beard = (head.template_m[:, 1] < -0.06) & (head.template_m[:, 0].abs() < 0.02)
    colours[hair | beard] = HAIR
    frame = face_frame(landmarks)
    found = looks_like_hair(head.template_m, colours, landmarks, frame, CropConfig())
    crop = face_crop(head.template_m, landmarks, frame, CropConfig())
    assert float(found[hair & crop & (head.template_m[:, 1] > 0.06)].float().mean()) > 0.9
    assert not bool(found[~hair & ~beard].any())
    assert not bool(found[beard & head.region("lips")].any())
    blind = looks_like_hair(head.template_m, colours * torch.nan, landmarks, frame, CropConfig())
    assert not bool(blind.any())


def test_the_face_part_leaves_the_fringe_out(head: HeadModel, scan: Scan) -> None:
    assert scan.mesh is not None
    part = face_part(scan, scan.mesh, CropConfig())
    fringe = (head.template_m[:, 1] > 0.05) & (head.template_m[:, 0] > 0.025) & (head.template_m[:, 2] > -0.03)
    fringe &= head.template_m[:, 1] < 0.075
    # its lower end hangs into the inner face, where nothing is taken for hair
    assert float(part.hair[fringe].float().mean()) > 0.4
    assert not bool(part.hair[~hairy(head, head.template_m + 0.01 * torch.tensor([1.0, 1.0, -1.0]))].any())
    assert float(part.target.weight[head.region("nose")].mean()) > 0.95


@pytest.fixture(scope="module")
def registered(scan: Scan) -> Scan:
    return with_registration(scan, QUICK)


def test_a_registered_scan_comes_back_from_disk(registered: Scan, tmp_path) -> None:
    registered.save(tmp_path / "scan")
    again = Scan.load(tmp_path / "scan")
    assert again.identity is not None and registered.identity is not None
    assert torch.equal(again.identity.coefficients, registered.identity.coefficients)
    assert again.fit is not None and registered.fit is not None
    for name, tensor in vars(registered.fit).items():
        assert torch.equal(torch.nan_to_num(getattr(again.fit, name).float()), torch.nan_to_num(tensor.float()))


def test_the_head_lies_where_it_was(head: HeadModel, scan: Scan, registered: Scan) -> None:
    assert registered.fit is not None
    known = registered.fit.residual_m[~registered.fit.residual_m.isnan()]
    assert float(known.median()) < 0.0005 and len(known) > 500
    between = registered.T_head_scan @ invert(scan.T_head_scan)
    assert float((between - torch.eye(4))[:3, 3].norm()) < 0.005
    assert registered.told == ()


def test_eyes_and_mouth_are_in_the_blend_mask_and_cheeks_are_not(head: HeadModel, registered: Scan) -> None:
    assert registered.fit is not None
    mask = registered.fit.blend_mask
    texels = TexelMap.build(head.triangles, head.uv, head.uv_triangles, len(mask))
    for names, low, high in ((("lips",), 0.9, 1.0), (("eyeballs", "teeth"), 0.9, 1.0), (("nose",), 0.0, 0.15)):
        part = texels.spread(head.region(*names).float()[:, None])[0] > 0.999
        assert low <= float(mask[part].float().mean()) / 255 <= high, names
    cheek = (head.template_m[:, 1] < -0.02) & (head.template_m[:, 1] > -0.045) & (head.template_m[:, 0].abs() > 0.04)
    part = texels.spread((cheek & head.region("face")).float()[:, None])[0] > 0.999
    assert bool(part.any()) and float(mask[part].max()) == 0


def test_an_outline_that_reaches_further_enlarges_the_mask(head: HeadModel, scan: Scan) -> None:
    view, pose = scan.frontal, scan.T_camera_head[scan.frontal]
    camera = scan.camera[torch.tensor([view])]
    landmarks = scan.landmarks_px[view]
    wide = landmarks.clone()
    wide[17, 1] += 12.0
    usual, wider, alone = (
        blend_mask(head, head.template_m, points, camera, pose, 128, 0.006)
        for points in (landmarks, wide, landmarks * torch.nan)
    )
    assert float(wider.sum()) > float(usual.sum()) >= float(alone.sum())
    assert float(alone.max()) == 1.0 and bool(((usual > 0.05) & (usual < 0.95)).any())


def test_no_mesh_no_registration(scan: Scan) -> None:
    with pytest.raises(HeadstudioError, match="no mesh"):
        with_registration(replace(scan, mesh=None), QUICK)


def test_a_mesh_beside_the_cameras_is_refused(scan: Scan) -> None:
    assert scan.mesh is not None
    away = replace(scan, mesh=replace(scan.mesh, vertices_m=scan.mesh.vertices_m + 5.0))
    with pytest.raises(HeadstudioError, match="landmarks lie on the mesh"):
        with_registration(away, QUICK)


def test_residuals_of_another_mesh_are_refused(registered: Scan, tmp_path) -> None:
    assert registered.mesh is not None
    other = replace(registered, mesh=RawMesh(registered.mesh.vertices_m[:100], registered.mesh.triangles[:0]))
    with pytest.raises(ValueError, match="another mesh"):
        other.save(tmp_path / "scan")


def test_an_unsure_scale_scales_cameras_and_mesh_alike(scan: Scan) -> None:
    assert scan.mesh is not None
    T = scan.T_camera_world.clone()
    T[:, :3, 3] *= 1.25
    away = scan.T_head_scan[:3, :3] @ (invert(scan.T_head_scan)[:3, 3] * 1.25)
    large = replace(
        scan,
        T_camera_world=T,
        T_head_scan=from_rotation(scan.T_head_scan[:3, :3], -away),
        mesh=replace(scan.mesh, vertices_m=scan.mesh.vertices_m * 1.25),
        scale=MetricScale(ScaleSource.HEAD_MODEL, 0.3, 0),
    )
    found = with_registration(large, QUICK)
    assert found.mesh is not None
    factor = found.mesh.vertices_m.norm() / large.mesh.vertices_m.norm()  # type: ignore[union-attr]
    assert float(factor) * 1.25 == pytest.approx(1.0, abs=0.08)
    torch.testing.assert_close(found.T_camera_world[:, :3, 3], large.T_camera_world[:, :3, 3] * factor)


def test_the_draft_is_no_heavier_than_the_standard() -> None:
    assert REGISTRATION_PRESETS["draft"].points <= REGISTRATION_PRESETS["standard"].points


def test_the_texture_is_the_skin_of_the_pictures(head: HeadModel, registered: Scan, tmp_path) -> None:
    config = StaticTextureConfig(
        size_px=128, light_px=64, delight=DelightConfig(shadow_directions=0), synthesis=SynthesisConfig(64, 2)
    )
    textured = with_texture(registered, config, Silent())
    texture = textured.texture
    assert texture is not None and texture.light_sh is not None
    texels = TexelMap.build(head.triangles, head.uv, head.uv_triangles, 128)
    nose = (texels.spread(head.region("nose").float()[:, None])[0] > 0.99) & texture.seen
    found = texture.albedo[:, nose].float().median(1).values / 255
    assert nose.sum() > 20
    # Light may be brighter or warmer in all, so hue is compared between skin and hair, not absolutely.
    hair = hairy(head, head.template_m)
    crown = (texels.spread(hair.float()[:, None])[0] > 0.99) & texture.seen
    assert found.mean() > 3 * texture.albedo[:, crown].float().median(1).values.mean() / 255
    assert (found / found.mean() - SKIN / SKIN.mean()).abs().max() < 0.15
    textured.save(tmp_path / "scan")
    again = Scan.load(tmp_path / "scan").texture
    assert again is not None and torch.equal(again.albedo, texture.albedo) and torch.equal(again.seen, texture.seen)


def test_no_registered_head_no_texture(scan: Scan) -> None:
    with pytest.raises(HeadstudioError, match="no registered head"):
        with_texture(scan, StaticTextureConfig.draft(), Silent())
