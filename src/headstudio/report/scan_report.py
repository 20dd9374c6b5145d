"""How a scan went: cameras, key pictures, the mesh and the registered head, and how far they lie apart."""

from pathlib import Path

import roma
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import normalize

from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import from_rotation, invert, relative_orientation, transform
from headstudio.heads import load_head
from headstudio.records.scan import Scan, SkinTexture
from headstudio.records.track import HeadIdentity
from headstudio.render.mesh import MeshTopology, render_surface
from headstudio.render.normals import vertex_normals
from headstudio.render.rasterise import interpolate, rasterise
from headstudio.report.markup import Markup, bullets, element, facts, figure, joined
from headstudio.report.page import Section, write_page
from headstudio.report.pictures import contact_sheet, inline

_SIDES_DEG = (("from the right", -60.0), ("from the front", 0.0), ("from the left", 60.0))
_AWAY_M, _WIDE_M, _PIXELS = 0.9, 0.34, 320
_WORST_M = 0.003
"""Distance that is painted wholly red."""
_GREY, _UNKNOWN, _RED = (0.8, 0.8, 0.8), (0.55, 0.62, 0.72), (0.85, 0.1, 0.1)
_LIGHT = (-0.4, 0.5, 0.8)
_COLUMNS, _ARC_PX = 6, 300


def scan_sections(scan: Scan) -> list[Section]:
    """What was found, as text, and from three sides."""
    sections = [
        Section("Scan", (_summary(scan), _words(scan))),
        Section("Cameras", (figure(_arc(scan), "The cameras from above, about the head, which looks downwards."),)),
        Section("Key frames", (inline(_key_frames(scan), "key frames"),)),
    ]
    if scan.mesh is not None:
        sections.append(Section("Surface", tuple(_surfaces(scan))))
    if scan.texture is not None and scan.identity is not None:
        sections.append(Section("Static texture", tuple(_textures(scan, scan.texture, scan.identity))))
    return sections


def write_scan_report(path: Path, scan: Scan) -> None:
    """Write the report of a scan."""
    write_page(path, f"Scan of {scan.capture_identifier}", scan_sections(scan))


def _summary(scan: Scan) -> Markup:
    low, high = scan.scale.interval()
    told: dict[str, object] = {
        "key frames": f"{scan.views} of {scan.residuals.offered}",
        "cameras": scan.cameras.value,
        "light": scan.light.value,
        "focal length": f"{float(scan.K_px[0, 0, 0]):.0f} px",
        "scale": f"from {scan.scale.source.value}; true lengths are {low:.3f} to {high:.3f} of the scan's (95 %)",
        "landmarks": f"{scan.residuals.landmarks_px:.2f} px from where they were seen (median)",
    }
    if scan.mesh is not None:
        told["mesh"] = f"{len(scan.mesh.vertices_m):,} vertices"
    if scan.fit is not None:
        pairs = (("head to mesh", scan.fit.residual_m), ("mesh to head", scan.fit.mesh_residual_m))
        told |= {name: _distances(distance) for name, distance in pairs}
    return facts(told)


def _distances(distance_m: Tensor) -> str:
    known = 1000 * distance_m[~distance_m.isnan()]
    if not len(known):
        return "nowhere near"
    half, most = known.median(), known.quantile(0.95)
    return f"{float(half):.2f} mm (median), {float(most):.2f} mm (95 %), {float(known.max()):.1f} mm (largest)"


def _words(scan: Scan) -> Markup:
    if not scan.told:
        return element("p", "Nothing was noticed that went wrong.", class_="quiet")
    return bullets([f"{sentence[:1].upper()}{sentence[1:]}." for sentence in scan.told])


def _arc(scan: Scan) -> Markup:
    eyes = transform(scan.T_head_scan, invert(scan.T_camera_world)[:, :3, 3])
    reach = float(eyes[:, [0, 2]].abs().max()) * 1.15
    half = _ARC_PX / 2
    places = half + half * eyes[:, [0, 2]] / reach * torch.tensor([-1.0, 1.0])
    dots = [
        element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=4, fill="var(--b)" if i == scan.frontal else "var(--a)")
        for i, (x, y) in enumerate(places.tolist())
    ]
    head = element("circle", cx=half, cy=half, r=f"{half * 0.09 / reach:.1f}", fill="none", stroke="var(--quiet)")
    label = element("text", f"{reach:.2f} m to the edge", x=4, y=_ARC_PX - 4)
    return element("svg", joined(head, *dots, label), viewBox=f"0 0 {_ARC_PX} {_ARC_PX}", width=_ARC_PX, height=_ARC_PX)


def _key_frames(scan: Scan) -> UInt8[Tensor, "3 height width"]:
    yaw_deg = relative_orientation(scan.T_camera_head)[:, 1].rad2deg()
    labels = [f"frame {int(f)}, {float(y):+.0f} deg" for f, y in zip(scan.frames, yaw_deg, strict=True)]
    return contact_sheet(list(scan.images), labels, _COLUMNS)


def _surfaces(scan: Scan) -> list[Markup]:
    assert scan.mesh is not None
    vertices, triangles = transform(scan.T_head_scan, scan.mesh.vertices_m), scan.mesh.triangles
    apart = scan.fit.mesh_residual_m if scan.fit is not None else None
    drawn = [figure(_three(vertices, triangles, None), "The mesh.")]
    if scan.identity is None or scan.fit is None:
        return drawn
    head = load_head(scan.identity.head)
    offsets = None if scan.identity.offsets_m is None else scan.identity.offsets_m[None]
    state = head.rest()._replace(expression=scan.fit.expression[None])
    posed = head(scan.identity.coefficients[None], state, offsets)[0]
    skin = head.triangles[~head.region("eyelashes")[head.triangles].any(1)]
    limit = f"white: 0, red: {1000 * _WORST_M:.0f} mm and more; blue: not compared"
    return [
        *drawn,
        figure(_three(vertices, triangles, apart), f"Distance of the mesh's face from the head; {limit}."),
        figure(_three(posed, skin, None), "The registered head, as the person looked in the scan."),
        figure(_three(posed, skin, scan.fit.residual_m), f"Distance of the head's face from the mesh; {limit}."),
    ]  # fmt: skip


def _three(vertices_m: Tensor, triangles: Tensor, distance_m: Tensor | None) -> Markup:
    colours = torch.tensor(_GREY).repeat(len(vertices_m), 1) if distance_m is None else _tints(distance_m)
    pictures = [clay(vertices_m, triangles, colours, yaw) for _, yaw in _SIDES_DEG]
    return inline(contact_sheet(pictures, [name for name, _ in _SIDES_DEG], 3, _PIXELS), "the surface from three sides")


def _tints(distance_m: Float[Tensor, " vertices"]) -> Float[Tensor, "vertices 3"]:
    share = (distance_m.nan_to_num(0.0) / _WORST_M).clamp(0, 1)[:, None]
    tint = (1 - share) * torch.ones(3) + share * torch.tensor(_RED)
    return torch.where(distance_m.isnan()[:, None], torch.tensor(_UNKNOWN), tint)


def _textures(scan: Scan, texture: SkinTexture, identity: HeadIdentity) -> list[Markup]:
    head = load_head(identity.head)
    offsets = None if identity.offsets_m is None else identity.offsets_m[None]
    rest = head.neutral(identity.coefficients[None], offsets)[0]
    mesh = MeshTopology(head.triangles, head.uv, head.uv_triangles)
    layers = {"in even light": texture.albedo, "red: made up": _made_up(texture)}
    pictures, labels = [], []
    for name, layer in layers.items():
        for side, yaw in _SIDES_DEG:
            local, camera = _from_aside(rest, yaw)
            drawn = render_surface(local[None], mesh, camera, layer[None].float() / 255)
            assert drawn.image is not None  # a texture was given
            pictures.append(((drawn.image[0] * drawn.mask[0] + 1 - drawn.mask[0]) * 255).clamp(0, 255).byte())
            labels.append(f"{side}, {name}")
    taken = "whose light was taken off" if texture.light_sh is not None else "whose light was left in"
    said = f"The head at rest with its texture of {texture.albedo.shape[-1]} px, {taken}."
    return [figure(inline(contact_sheet(pictures, labels, 3, _PIXELS), "the textured head from three sides"), said)]


def _made_up(texture: SkinTexture) -> UInt8[Tensor, "3 size size"]:
    red = (torch.tensor(_RED) * 255)[:, None, None]
    mixed = 0.4 * texture.albedo.float() + 0.6 * red
    return torch.where(texture.seen[None], texture.albedo.float(), mixed).byte()


def _from_aside(vertices_m: Tensor, yaw_deg: float) -> tuple[Float[Tensor, "vertices 3"], Camera]:
    turn = roma.rotvec_to_rotmat(torch.tensor([0.0, -yaw_deg, 0.0]).deg2rad())
    facing = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    local = transform(from_rotation(facing @ turn, torch.tensor([0.0, 0.0, _AWAY_M])), vertices_m.float())
    return local, Camera.from_focal(_PIXELS * _AWAY_M / _WIDE_M, _PIXELS, _PIXELS)


def clay(
    vertices_m: Float[Tensor, "vertices 3"],
    triangles: Int[Tensor, "triangles 3"],
    colours: Float[Tensor, "vertices 3"],
    yaw_deg: float,
) -> UInt8[Tensor, "3 height width"]:
    """A surface of the head frame in plain light, seen from the side.

    Args:
        yaw_deg: of the camera about the head, positive to the person's left.
    """
    local, camera = _from_aside(vertices_m, yaw_deg)
    normals = vertex_normals(local[None], triangles.int())[0]
    towards = torch.tensor(_LIGHT) * torch.tensor([1.0, -1.0, -1.0])
    shade = 0.3 + 0.7 * (normals @ normalize(towards, dim=0)).clamp_min(0)
    fragments = rasterise(local[None], triangles, camera)
    picture = interpolate(fragments, (colours * shade[:, None])[None], triangles)[0]
    return ((picture + (1 - fragments.mask[0])) * 255).clamp(0, 255).byte()
