"""Classic photogrammetry on the pictures of a scan: COLMAP's points with known cameras, and surfaces through them.

COLMAP's dense stereo needs a graphics card with CUDA; without one there are its sparse points, from which a cut through
their tetrahedra (scan_delaunay.py) or Poisson's reconstruction (Kazhdan and Hoppe 2013, in pycolmap) makes a surface.
Features are as many as the scan's own calibration looks for, at the full size of its pictures.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycolmap
import torch
import trimesh
from PIL import Image
from scipy.spatial import KDTree
from torch import Tensor

from headstudio.records.scan import RawMesh, Scan
from headstudio.scan.calibration_config import StructureConfig
from scan_delaunay import delaunay_surface

_NEIGHBOURS = 12
"""Points about each point, whose plane gives its normal."""
_DEPTH, _TRIM = 13, 0.0
"""Of Poisson's reconstruction: COLMAP's depth; but its trimming is for dense points, and would leave nothing here."""


@dataclass(frozen=True)
class Cloud:
    """COLMAP's points before known cameras."""

    folder: Path
    """Holds COLMAP's model."""
    points: Tensor
    normals: Tensor
    """Unit, towards the cameras."""
    rgb: Tensor
    eyes: Tensor
    """(sightings, 3): where a camera stood that saw a point."""
    seen: Tensor
    """(sightings,): which."""
    reprojection_px: float

    def told(self) -> dict:
        """How much there is."""
        return {"points": len(self.points), "reprojection_px": round(self.reprojection_px, 3)}


def cloud_of(scan: Scan, folder: Path) -> Cloud:
    """Match the scan's pictures, within its masks, and triangulate with its cameras as they are."""
    pycolmap.logging.minloglevel = pycolmap.logging.stderrthreshold = 3
    model = folder / "model"
    if not (model / "points3D.bin").exists():
        _pictures(scan, folder)
        _matched(scan, folder)
        model.mkdir(exist_ok=True)
        options = pycolmap.IncrementalPipelineOptions()
        options.num_threads = 1
        options.min_num_matches = 15
        pycolmap.triangulate_points(
            _posed(scan, folder), folder / "database.db", folder / "images", model, options=options
        ).write(model)
    return _read(model, scan)


def delaunay(cloud: Cloud) -> RawMesh:
    """A cut through the points' Delaunay tetrahedra."""
    return delaunay_surface(*(x.double().numpy() for x in (cloud.points, cloud.eyes)), cloud.seen.numpy())


def poisson(cloud: Cloud) -> RawMesh:
    """Poisson's surface through the points."""
    written = cloud.folder / "poisson.ply"
    _write_ply(cloud.folder / "oriented.ply", cloud)
    options = pycolmap.PoissonMeshingOptions()
    options.depth, options.trim, options.num_threads, options.color = _DEPTH, _TRIM, 1, False
    pycolmap.poisson_meshing(cloud.folder / "oriented.ply", written, options)
    return _mesh(written)


def _pictures(scan: Scan, folder: Path) -> None:
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    equal = cv2.createCLAHE(StructureConfig.equalised, (8, 8))
    for view in range(scan.views):
        grey = equal.apply(cv2.cvtColor(scan.images[view].permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY))
        Image.fromarray(grey).save(folder / "images" / f"{view:04d}.png")
        inside = (scan.masks[view].numpy() > 127) & scan.valid.numpy()
        Image.fromarray(inside.astype(np.uint8) * 255).save(folder / "masks" / f"{view:04d}.png.png")


def _matched(scan: Scan, folder: Path) -> None:
    reader, extraction = pycolmap.ImageReaderOptions(), pycolmap.FeatureExtractionOptions()
    K = scan.K_px[0].double()
    reader.camera_model, reader.mask_path = "PINHOLE", str(folder / "masks")
    reader.camera_params = ",".join(repr(float(x)) for x in (K[0, 0], K[1, 1], K[0, 2], K[1, 2]))
    extraction.num_threads, extraction.sift.peak_threshold = 1, StructureConfig.contrast
    (folder / "database.db").unlink(missing_ok=True)
    pycolmap.extract_features(
        folder / "database.db", folder / "images", camera_mode=pycolmap.CameraMode.SINGLE, reader_options=reader,
        extraction_options=extraction, device=pycolmap.Device.cpu,
    )  # fmt: skip
    matching, verification = pycolmap.FeatureMatchingOptions(), pycolmap.TwoViewGeometryOptions()
    matching.num_threads, matching.guided_matching = 1, True
    verification.ransac.max_error, verification.ransac.random_seed = StructureConfig.epipolar_px, 0
    pycolmap.match_exhaustive(
        folder / "database.db", matching_options=matching, verification_options=verification,
        device=pycolmap.Device.cpu,
    )  # fmt: skip


def _posed(scan: Scan, folder: Path) -> Any:
    database, model = pycolmap.Database.open(folder / "database.db"), pycolmap.Reconstruction()
    (camera,) = database.read_all_cameras()
    model.add_camera_with_trivial_rig(camera)
    for known in database.read_all_images():
        image = pycolmap.Image(name=known.name, camera_id=camera.camera_id, image_id=known.image_id)
        pose = scan.T_camera_world[int(Path(known.name).stem)].double().numpy()
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(pose[:3]))
    database.close()
    return model


def _read(folder: Path, scan: Scan) -> Cloud:
    model = pycolmap.Reconstruction(folder)
    found = [point for point in model.points3D.values() if point.track.length() >= 2]
    places = np.array([point.xyz for point in found])
    eyes = {key: image.projection_center() for key, image in model.images.items()}
    seen = np.repeat(np.arange(len(found)), [point.track.length() for point in found])
    stood = np.array([eyes[sighting.image_id] for point in found for sighting in point.track.elements])
    towards = np.zeros_like(places)
    np.add.at(towards, seen, stood - places[seen])
    near = places[KDTree(places).query(places, k=_NEIGHBOURS)[1]]
    normals = np.linalg.svd(near - near.mean(1, keepdims=True))[2][:, 2]
    normals *= np.sign((normals * towards).sum(1, keepdims=True))
    rgb = np.array([_colour(point, model, scan) for point in found])
    error = float(model.compute_mean_reprojection_error())
    told = (torch.from_numpy(x).float() for x in (places, normals, rgb, stood))
    return Cloud(folder, *told, torch.from_numpy(seen), error)


def _colour(point: Any, model: Any, scan: Scan) -> np.ndarray:
    sighting = point.track.elements[0]
    image = model.images[sighting.image_id]
    column, row = (int(x) for x in image.points2D[sighting.point2D_idx].xy)
    return scan.images[int(Path(image.name).stem), :, row, column].numpy()


def _write_ply(path: Path, cloud: Cloud) -> None:
    names = ("x", "y", "z", "nx", "ny", "nz")
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(cloud.points)}"]
    header += [f"property float {name}" for name in names]
    header += [f"property uchar {name}" for name in ("red", "green", "blue")]
    kinds = [(name, "<f4") for name in names] + [(name, "u1") for name in ("r", "g", "b")]
    columns = torch.cat([cloud.points, cloud.normals, cloud.rgb], 1).numpy()
    rows = np.rec.fromarrays(columns.T, dtype=np.dtype(kinds))
    path.write_bytes(("\n".join([*header, "end_header"]) + "\n").encode() + rows.tobytes())


def _mesh(path: Path) -> RawMesh:
    read = trimesh.load(path, process=False)
    assert isinstance(read, trimesh.Trimesh)
    vertices, triangles = np.array(read.vertices, np.float32), np.array(read.faces, np.int64)
    return RawMesh(torch.from_numpy(vertices), torch.from_numpy(triangles))
