"""The report of a scan says what was found and what went wrong, with and without mesh and head."""

from dataclasses import replace

import pytest
import torch

from headstudio.geometry.rigid import invert, rigid, transform
from headstudio.heads import load_head
from headstudio.records.scan import (
    CameraSource,
    FaceFit,
    LightMode,
    MetricScale,
    RawMesh,
    Residuals,
    ScaleSource,
    Scan,
    SkinTexture,
)
from headstudio.records.track import HeadIdentity
from headstudio.report.scan_report import _made_up, clay, write_scan_report


@pytest.fixture(scope="module")
def scan() -> Scan:
    head = load_head("makehuman")
    turns = torch.tensor([[0.0, yaw, 0.0] for yaw in (-0.6, 0.0, 0.6)])
    facing = rigid(torch.tensor([torch.pi, 0.0, 0.0]), torch.tensor([0.0, 0.0, 0.6]))
    T_camera_head = facing @ rigid(turns, torch.zeros(3, 3))
    mesh = RawMesh(transform(T_camera_head[0], head.template_m), head.triangles)
    T_camera_world = T_camera_head @ invert(T_camera_head[:1])
    residual = torch.full((head.vertices,), torch.nan)
    residual[head.region("nose")] = 0.002
    return Scan(
        "clip <a>", torch.tensor([3, 9, 20]), 1, torch.full((3, 3, 32, 32), 90, dtype=torch.uint8),
        torch.full((3, 32, 32), 255, dtype=torch.uint8), torch.ones(32, 32) > 0, torch.zeros(3, 478, 3),
        torch.tensor([[60.0, 0, 16], [0, 60, 16], [0, 0, 1]]).expand(3, 3, 3), T_camera_world,
        invert(T_camera_head[0]), "makehuman", CameraSource.TRACKED, LightMode.TURNING,
        MetricScale(ScaleSource.IRIS, 0.05, 6), Residuals(float("nan"), 0.5, 0.002, 7),
        told=("the eyes are closed in the scan",), mesh=mesh,
        identity=HeadIdentity("makehuman", torch.zeros(head.identities)),
        fit=FaceFit(torch.zeros(head.expressions), residual, residual, torch.zeros(8, 8, dtype=torch.uint8)),
    )  # fmt: skip


def test_it_tells_scale_parts_and_what_went_wrong(scan: Scan, tmp_path) -> None:
    write_scan_report(tmp_path / "report.html", scan)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "clip &lt;a&gt;" in page and "<a>" not in page
    assert "3 of 7" in page and "The eyes are closed in the scan." in page
    assert "2.00 mm (median)" in page and "0.909 to 1.100" in page
    assert page.count("data:image/jpeg") == 5 and page.count("<circle") == 4


def test_the_texture_is_shown_with_what_was_made_up(scan: Scan, tmp_path) -> None:
    albedo = torch.full((3, 16, 16), 128, dtype=torch.uint8)
    for seen in (True, False):
        texture = SkinTexture(albedo, torch.full((16, 16), seen), torch.zeros(9, 3) if seen else None)
        write_scan_report(tmp_path / "report.html", replace(scan, texture=texture))
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert page.count("data:image/jpeg") == 6 and "texture of 16 px" in page
        assert ("taken off" in page) == seen and ("left in" in page) != seen
    assert (_made_up(replace(texture, seen=texture.seen | True)) == albedo).all()
    assert (_made_up(texture).float().mean((1, 2)) - torch.tensor([181.0, 66.0, 66.0])).abs().max() < 3


def test_it_does_without_what_is_not_there(scan: Scan, tmp_path) -> None:
    bare = replace(scan, mesh=None, identity=None, fit=None, told=())
    write_scan_report(tmp_path / "bare.html", bare)
    page = (tmp_path / "bare.html").read_text(encoding="utf-8")
    assert "Nothing was noticed" in page and page.count("data:image/jpeg") == 1


def test_a_residual_that_is_nowhere_is_said(scan: Scan, tmp_path) -> None:
    assert scan.fit is not None
    lost = replace(scan, fit=replace(scan.fit, residual_m=scan.fit.residual_m * torch.nan))
    write_scan_report(tmp_path / "lost.html", lost)
    assert "nowhere near" in (tmp_path / "lost.html").read_text(encoding="utf-8")


def test_the_left_is_seen_from_the_left() -> None:
    """A camera at the person's left sees the nose point to the left of the picture."""
    head = load_head("makehuman")
    red = torch.zeros(head.vertices, 3)
    red[head.region("nose"), 0] = 1.0
    for yaw, side in ((60.0, -1), (-60.0, 1)):
        picture = clay(head.template_m, head.triangles, red, yaw).float()
        nose = (picture[0] > 30) & (picture[1] < 10)
        head_pixels = picture[1] < 250
        columns = torch.arange(picture.shape[-1]).float()
        middle = (head_pixels * columns).sum() / head_pixels.sum()
        assert float((nose * columns).sum() / nose.sum() - middle) * side > 20
