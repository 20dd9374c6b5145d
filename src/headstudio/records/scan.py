"""`Scan`: who a person is, from clip A: calibrated cameras in metres, key pictures, and what was made of them."""

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera
from headstudio.records.channels import View
from headstudio.records.track import HeadIdentity

SCHEMA, VERSION = "headstudio.scan", 1
IMAGES_FOLDER, MASKS_FOLDER, TEXTURE_FOLDER = "images", "masks", "texture"
ALBEDO_FILE, SEEN_FILE = "albedo.png", "seen.png"
_AGAIN = "scan the clip again"


class LightMode(str, enum.Enum):
    """What the light did while the head was seen from all round."""

    FIXED_TO_HEAD = "fixed-to-head"
    """A hand carried the camera about a still head."""
    TURNING = "turning"
    """The head turned on a chair, so the light turned about it."""


class CameraSource(str, enum.Enum):
    """How the cameras were found."""

    STRUCTURE_FROM_MOTION = "sfm"
    TRACKED = "tracked"
    """Poses of the tracked head model stand for cameras."""


class ScaleSource(str, enum.Enum):
    """Where the metres come from."""

    IRIS = "iris"
    HEAD_MODEL = "head-model"


@dataclass(frozen=True)
class MetricScale:
    """How long a metre of the scan is."""

    source: ScaleSource
    deviation: float
    """Standard deviation of all lengths, relative: the true length is the scan's times 1 +- deviation."""
    measurements: int
    """Single measurements that it rests on."""

    def interval(self) -> tuple[float, float]:
        """Factors between which the true length of a unit of the scan lies, with 95 % probability (log-normal)."""
        reach = 1.96 * np.log1p(self.deviation)
        return float(np.exp(-reach)), float(np.exp(reach))


@dataclass(frozen=True)
class Residuals:
    """How well everything fits together."""

    reprojection_px: float
    """Mean distance of the sparse points from where they were seen; NaN where there are none."""
    landmarks_px: float
    """Median distance of the triangulated landmarks from the detected ones in the views turned less than 45 degrees."""
    alignment_m: float
    """Root mean square distance of the triangulated landmarks from the mean head."""
    offered: int
    """Key frames that were to be calibrated."""


@dataclass(frozen=True)
class RawMesh:
    """The reconstructed surface in the scan frame."""

    vertices_m: Float[Tensor, "vertices 3"]
    triangles: Int[Tensor, "triangles 3"]
    """Counter-clockwise seen from outside."""


@dataclass(frozen=True)
class SparsePoints:
    """Points of structure from motion in the scan frame."""

    points_m: Float[Tensor, "points 3"]
    rgb: UInt8[Tensor, "points 3"]


@dataclass(frozen=True)
class FaceFit:
    """How the registered head lies on the mesh."""

    expression: Float[Tensor, " expressions"]
    """Units of the head model that the person showed while scanned (closed lids); the identity is without them."""
    residual_m: Float[Tensor, " vertices"]
    """Distance of each vertex of the head's face from the mesh; NaN elsewhere."""
    mesh_residual_m: Float[Tensor, " points"]
    """Distance of each vertex of the mesh's face from the head; NaN elsewhere."""
    blend_mask: UInt8[Tensor, "size size"]
    """Eyes and mouth in the head's atlas, 255 = inside: where a dynamic texture goes over the static one."""


@dataclass(frozen=True)
class SkinTexture:
    """How the person looks in any light, in the atlas of the registered head."""

    albedo: UInt8[Tensor, "3 size size"]
    """sRGB, no texel empty; with the light of the pictures where none was taken off."""
    seen: Bool[Tensor, "size size"]
    """Texels whose colour comes from pictures."""
    light_sh: Float[Tensor, "9 3"] | None = None
    """The light that was taken off: in head axes where it stayed with the head, else in the cameras'."""


@dataclass(frozen=True)
class Scan:
    """A person's head from calibrated pictures. The scan frame is the world of its cameras: the axes of the first
    view's camera, in metres."""

    capture_identifier: str
    """`Capture.identifier` of clip A."""
    frames: Int[Tensor, " views"]
    """Frame of the capture that each view was taken from, ascending."""
    frontal: int
    """The view that looks most straight into the face."""
    images: UInt8[Tensor, "views 3 height width"]
    """Key frames without the lens's distortion, sRGB."""
    masks: UInt8[Tensor, "views height width"]
    """Person mattes of the same pictures, 255 = person."""
    valid: Bool[Tensor, "height width"]
    """False where the pictures show padding."""
    landmarks_px: Float[Tensor, "views 478 3"]
    """The detector's landmarks in the same pictures; NaN where it found no face."""
    K_px: Float[Tensor, "views 3 3"]
    T_camera_world: Float[Tensor, "views 4 4"]
    T_head_scan: Float[Tensor, "4 4"]
    """From the scan frame (the cameras' world) to the head frame of the named head model; rigid."""
    head: str
    """Registered name of the head model that the scan was aligned to."""
    cameras: CameraSource
    light: LightMode
    scale: MetricScale
    residuals: Residuals
    distortion: float = 0.0
    """Radial distortion k1 that was taken out of the pictures (Brown 1966)."""
    relative_focal: float | None = None
    """Focal length over the longer side of clip A's pictures, which clip B of the same phone shares; None: unknown."""
    told: tuple[str, ...] = ()
    """What went wrong or is uncertain, one sentence each."""
    points: SparsePoints | None = None
    mesh: RawMesh | None = None
    identity: HeadIdentity | None = None
    """The head model registered to the mesh."""
    fit: FaceFit | None = None
    """How well, where the head is registered."""
    texture: SkinTexture | None = None
    """The static texture of the registered head."""

    @property
    def views(self) -> int:
        """Number of calibrated views."""
        return len(self.frames)

    @property
    def camera(self) -> Camera:
        """All cameras, batched."""
        return Camera(self.K_px, self.images.shape[-1], self.images.shape[-2])

    @property
    def T_camera_head(self) -> Float[Tensor, "views 4 4"]:
        """Poses of the head before the cameras."""
        return self.T_camera_world @ torch.linalg.inv(self.T_head_scan)

    def view(self, views: Tensor) -> View:
        """Some of the views, to render from."""
        return View(self.camera[views], self.T_camera_world[views])

    def save(self, path: Path) -> None:
        """Write the scan folder, replacing what was there."""
        problem = _contradiction(self)
        if problem:
            raise ValueError(f"scan of {self.capture_identifier}: {problem}")
        with storage.replacing_folder(path) as folder:
            _write_pictures(folder / IMAGES_FOLDER, _numbered(self.images.permute(0, 2, 3, 1)))
            _write_pictures(folder / MASKS_FOLDER, _numbered(self.masks))
            if self.texture is not None:
                layers = {ALBEDO_FILE: self.texture.albedo.permute(1, 2, 0), SEEN_FILE: self.texture.seen.byte() * 255}
                _write_pictures(folder / TEXTURE_FOLDER, layers)
            storage.write_tensors(folder / "scan.safetensors", _tensors(self))
            storage.write_json(folder / "scan.json", SCHEMA, VERSION, _plain(self))

    @classmethod
    def load(cls, path: Path | str) -> "Scan":
        """Read what `save` wrote."""
        where = Path(path) / "scan.json"
        content = storage.read_json(where, SCHEMA, VERSION)
        tensors = storage.read_tensors(where.with_name("scan.safetensors"), _REQUIRED)
        try:
            scan = _assembled(content, tensors, where.parent)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise HeadstudioError(f"the scan is damaged: {error}", where=where, next_step=_AGAIN) from None
        problem = _contradiction(scan)
        if problem:
            raise HeadstudioError(f"the scan is damaged: {problem}", where=where, next_step=_AGAIN)
        return scan


_REQUIRED = frozenset({"frames", "valid", "landmarks_px", "K_px", "T_camera_world", "T_head_scan"})


def _tensors(scan: Scan) -> dict[str, Tensor]:
    tensors = {name: getattr(scan, name) for name in _REQUIRED}
    if scan.points is not None:
        tensors |= {"points/points_m": scan.points.points_m, "points/rgb": scan.points.rgb}
    if scan.mesh is not None:
        tensors |= {"mesh/vertices_m": scan.mesh.vertices_m, "mesh/triangles": scan.mesh.triangles}
    if scan.identity is not None:
        tensors["identity/coefficients"] = scan.identity.coefficients
        if scan.identity.offsets_m is not None:
            tensors["identity/offsets_m"] = scan.identity.offsets_m
    if scan.fit is not None:
        tensors |= {f"fit/{name}": tensor for name, tensor in vars(scan.fit).items()}
    if scan.texture is not None and scan.texture.light_sh is not None:
        tensors["texture/light_sh"] = scan.texture.light_sh
    return tensors


def _plain(scan: Scan) -> dict:
    residuals = {name: None if value != value else value for name, value in asdict(scan.residuals).items()}
    return {
        "capture": scan.capture_identifier,
        "views": scan.views,
        "frontal": scan.frontal,
        "head": scan.head,
        "identity_head": None if scan.identity is None else scan.identity.head,
        "cameras": scan.cameras.value,
        "light": scan.light.value,
        "scale": {**asdict(scan.scale), "source": scan.scale.source.value},
        "residuals": residuals,
        "distortion": scan.distortion,
        "relative_focal": scan.relative_focal,
        "told": list(scan.told),
    }


def _assembled(content: dict, tensors: dict[str, Tensor], folder: Path) -> Scan:
    views, scale, residuals = int(content["views"]), dict(content["scale"]), dict(content["residuals"])
    measured = {k: float("nan") if v is None else float(v) for k, v in residuals.items() if k != "offered"}
    points = mesh = identity = fit = None
    if "points/points_m" in tensors:
        points = SparsePoints(tensors["points/points_m"], tensors["points/rgb"])
    if "mesh/vertices_m" in tensors:
        mesh = RawMesh(tensors["mesh/vertices_m"], tensors["mesh/triangles"])
    if content["identity_head"] is not None:
        coefficients = tensors["identity/coefficients"]
        identity = HeadIdentity(content["identity_head"], coefficients, tensors.get("identity/offsets_m"))
    if "fit/blend_mask" in tensors:
        fit = FaceFit(**{name: tensors[f"fit/{name}"] for name in FaceFit.__dataclass_fields__})
    return Scan(
        capture_identifier=str(content["capture"]),
        frontal=int(content["frontal"]),
        images=_read_pictures(folder / IMAGES_FOLDER, views, "RGB").permute(0, 3, 1, 2).contiguous(),
        masks=_read_pictures(folder / MASKS_FOLDER, views, "L"),
        head=str(content["head"]),
        cameras=CameraSource(content["cameras"]),
        light=LightMode(content["light"]),
        scale=MetricScale(ScaleSource(scale["source"]), float(scale["deviation"]), int(scale["measurements"])),
        residuals=Residuals(offered=int(residuals["offered"]), **measured),
        distortion=float(content["distortion"]),
        relative_focal=None if content.get("relative_focal") is None else float(content["relative_focal"]),
        told=tuple(str(sentence) for sentence in content["told"]),
        points=points,
        mesh=mesh,
        identity=identity,
        fit=fit,
        texture=_read_texture(folder / TEXTURE_FOLDER, tensors.get("texture/light_sh")),
        **{name: tensors[name].bool() if name == "valid" else tensors[name] for name in _REQUIRED},
    )


def _contradiction(scan: Scan) -> str | None:
    views, height, width = scan.views, scan.images.shape[-2], scan.images.shape[-1]
    shapes = {
        "images": (scan.images.shape, (views, 3, height, width)),
        "masks": (scan.masks.shape, (views, height, width)),
        "validity mask": (scan.valid.shape, (height, width)),
        "landmarks": (scan.landmarks_px.shape, (views, 478, 3)),
        "intrinsics": (scan.K_px.shape, (views, 3, 3)),
        "camera poses": (scan.T_camera_world.shape, (views, 4, 4)),
        "T_head_scan": (scan.T_head_scan.shape, (4, 4)),
    }
    for name, (found, wanted) in shapes.items():
        if tuple(found) != wanted:
            return f"{name} have the shape {tuple(found)} instead of {wanted}"
    if views == 0 or not 0 <= scan.frontal < views:
        return f"there is no frontal view {scan.frontal} among {views}"
    if not all(bool(torch.isfinite(t).all()) for t in (scan.K_px, scan.T_camera_world, scan.T_head_scan)):
        return "a camera is not a number"
    if not 0.0 <= scan.scale.deviation < 1.0:
        return f"a scale with the deviation {scan.scale.deviation:g}"
    mesh = scan.mesh
    if mesh is not None and mesh.triangles.numel() and int(mesh.triangles.max()) >= len(mesh.vertices_m):
        return "a triangle of the mesh names a vertex that is not there"
    if scan.fit is not None and (mesh is None or len(scan.fit.mesh_residual_m) != len(mesh.vertices_m)):
        return "the residuals of the registered head belong to another mesh"
    if scan.texture is not None and scan.identity is None:
        return "a texture without the head that it is for"
    if scan.texture is not None and scan.texture.albedo.shape[1:] != scan.texture.seen.shape:
        return "texture and its mask differ in size"
    return None


def _numbered(pictures: UInt8[Tensor, "views height width *channels"]) -> dict[str, Tensor]:
    return {f"{index:03d}.png": picture for index, picture in enumerate(pictures)}


def _write_pictures(folder: Path, pictures: Mapping[str, UInt8[Tensor, "height width *channels"]]) -> None:
    folder.mkdir()
    for name, picture in pictures.items():
        Image.fromarray(picture.contiguous().cpu().numpy()).save(folder / name, compress_level=1)


def _read_pictures(folder: Path, views: int, mode: str) -> Tensor:
    return torch.stack([_read_picture(folder / f"{index:03d}.png", mode) for index in range(views)])


def _read_texture(folder: Path, light_sh: Tensor | None) -> SkinTexture | None:
    if not folder.is_dir():
        return None
    albedo, seen = _read_picture(folder / ALBEDO_FILE, "RGB"), _read_picture(folder / SEEN_FILE, "L")
    return SkinTexture(albedo.permute(2, 0, 1).contiguous(), seen > 127, light_sh)


def _read_picture(where: Path, mode: str) -> Tensor:
    try:
        with Image.open(where) as picture:
            return torch.from_numpy(np.array(picture.convert(mode)))
    except (OSError, UnidentifiedImageError) as error:
        raise HeadstudioError(f"picture cannot be read: {error}", where=where, next_step=_AGAIN) from None
