"""Cameras of key frames by structure from motion: COLMAP (Schoenberger and Frahm 2016) through pycolmap.

All key frames share one lens. Pixel centres at +0.5 are COLMAP's convention as well as ours.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.progress import Progress
from headstudio.scan.calibration_config import StructureConfig

_LEAST_MATCHES = 15
"""Matches that agree with one epipolar geometry, below which a pair of pictures is no pair."""
_FIRST_MATCHES, _FIRST_ANGLE_DEG, _LEAST_POSE_MATCHES = 40, 8.0, 15
"""What the first pair and each further picture need; COLMAP's defaults (100, 16, 30) are for larger pictures."""
_REFERENCE_PX = 512
_MINIMUM_PICTURES = 3
_TILES = 8
"""Tiles along each side within which contrast is equalised."""
_QUIET = 3


@dataclass(frozen=True)
class Lens:
    """What is believed of the one lens, in pixels of the pictures."""

    focal_px: float
    known: bool
    """Whether the focal length is kept as it is."""
    principal_px: tuple[float, float]


@dataclass(frozen=True)
class Structure:
    """What structure from motion found, in a frame and a unit of its own."""

    registered: Int[Tensor, " registered"]
    """Which pictures found their place, ascending."""
    T_camera_world: Float[Tensor, "registered 4 4"]
    """Double precision; the length of the translations is arbitrary."""
    focal_px: float
    distortion: float
    """Radial distortion k1."""
    points: Float[Tensor, "points 3"]
    rgb: UInt8[Tensor, "points 3"]
    reprojection_px: float
    """Mean over all observations."""


def calibrate(
    images: list[UInt8[np.ndarray, "height width 3"]],
    masks: list[Bool[np.ndarray, "height width"]] | None,
    lens: Lens,
    config: StructureConfig,
    progress: Progress,
) -> Structure:
    """Find the cameras of pictures of one rigid thing.

    Args:
        images: of one size.
        masks: where features may lie; everywhere when not given.

    Raises:
        HeadstudioError: pycolmap is not installed, or the pictures show nothing in common.
    """
    colmap = _pycolmap()
    if len(images) < _MINIMUM_PICTURES:
        raise _nothing_common(len(images))
    with tempfile.TemporaryDirectory(prefix="headstudio-") as folder:
        work = Path(folder)
        _write_pictures(work, [_equalised(image, config.equalised) for image in images], masks)
        with progress.stage("features and matches"):
            _match(colmap, work, lens, masks is not None, config)
        with progress.stage("structure from motion"):
            model = _largest(_mapped(colmap, work, lens, config), len(images))
            _refine(colmap, model, lens, config)
    return _told(model, images)


def accepted(found: Structure, offered: int, size_px: int, config: StructureConfig) -> str | None:
    """Why a structure is not to be believed, or None."""
    if len(found.registered) < config.least_registered * offered:
        return f"only {len(found.registered)} of {offered} key frames found their place"
    if found.reprojection_px > config.largest_error_px * size_px / _REFERENCE_PX:
        return f"its points miss by {found.reprojection_px:.2f} pixels"
    return None


def _pycolmap() -> ModuleType:
    try:
        import pycolmap
    except ImportError as error:
        raise HeadstudioError(
            f"structure from motion needs pycolmap: {error}", next_step="pip install 'headstudio[scan]'"
        ) from None
    pycolmap.logging.minloglevel = pycolmap.logging.stderrthreshold = _QUIET
    pycolmap.logging.alsologtostderr = False
    return pycolmap


def _equalised(image: np.ndarray, limit: float) -> np.ndarray:
    """Only brightness counts for features."""
    if limit <= 0:
        return image
    grey = cv2.createCLAHE(limit, (_TILES, _TILES)).apply(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    return np.repeat(grey[..., None], 3, axis=2)


def _write_pictures(work: Path, images: list[np.ndarray], masks: list[np.ndarray] | None) -> None:
    for folder in ("images", "masks", "models"):
        (work / folder).mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image).save(work / "images" / _name(index), compress_level=1)
        if masks is not None:
            mask = Image.fromarray(masks[index].astype(np.uint8) * 255)
            mask.save(work / "masks" / f"{_name(index)}.png", compress_level=1)


def _name(index: int) -> str:
    return f"{index:04d}.png"


def _match(colmap: Any, work: Path, lens: Lens, masked: bool, config: StructureConfig) -> None:
    colmap.set_random_seed(config.seed)
    reader, extraction = colmap.ImageReaderOptions(), colmap.FeatureExtractionOptions()
    reader.camera_model = "SIMPLE_RADIAL" if config.distortion else "SIMPLE_PINHOLE"
    parameters = [lens.focal_px, *lens.principal_px, *([0.0] if config.distortion else [])]
    reader.camera_params = ",".join(repr(float(value)) for value in parameters)
    if masked:
        reader.mask_path = str(work / "masks")
    extraction.num_threads, extraction.sift.peak_threshold = 1, config.contrast
    colmap.extract_features(
        work / "database.db",
        work / "images",
        camera_mode=colmap.CameraMode.SINGLE,
        reader_options=reader,
        extraction_options=extraction,
        device=colmap.Device.cpu,
    )
    matching, verification = colmap.FeatureMatchingOptions(), colmap.TwoViewGeometryOptions()
    # One thread, because the order in which pairs are verified would otherwise decide on their random numbers.
    matching.num_threads, matching.guided_matching = 1, True
    verification.min_num_inliers = _LEAST_MATCHES
    verification.ransac.random_seed, verification.ransac.max_error = config.seed, config.epipolar_px
    colmap.match_exhaustive(
        work / "database.db",
        matching_options=matching,
        verification_options=verification,
        device=colmap.Device.cpu,
    )


def _mapped(colmap: Any, work: Path, lens: Lens, config: StructureConfig) -> list[Any]:
    options = colmap.IncrementalPipelineOptions()
    options.num_threads, options.random_seed = 1, config.seed
    options.min_num_matches, options.min_model_size = _LEAST_MATCHES, _MINIMUM_PICTURES
    options.ba_refine_focal_length = not lens.known
    options.mapper.init_min_num_inliers = _FIRST_MATCHES
    options.mapper.init_min_tri_angle = _FIRST_ANGLE_DEG
    options.mapper.abs_pose_min_num_inliers = _LEAST_POSE_MATCHES
    options.mapper.abs_pose_refine_focal_length = not lens.known
    options.mapper.filter_max_reproj_error = config.epipolar_px
    options.mapper.random_seed = options.triangulation.random_seed = config.seed
    return list(
        colmap.incremental_mapping(work / "database.db", work / "images", work / "models", options=options).values()
    )


def _largest(models: list[Any], offered: int) -> Any:
    if not models:
        raise _nothing_common(offered)
    return max(models, key=lambda model: (model.num_reg_images(), model.num_points3D()))


def _nothing_common(offered: int) -> HeadstudioError:
    return HeadstudioError(
        f"structure from motion found nothing that {offered} key frames have in common",
        next_step="film slowly in even light, the head large in the picture, as `headstudio capture-guide` shows",
    )


def _refine(colmap: Any, model: Any, lens: Lens, config: StructureConfig) -> None:
    """One bundle adjustment over everything, of points that are seen often, in which outliers count less."""
    long = {key for key, point in model.points3D.items() if point.track.length() >= config.least_track}
    if len(long) >= _FIRST_MATCHES:
        for key in set(model.points3D) - long:
            model.delete_point3D(key)
    options = colmap.BundleAdjustmentOptions()
    options.print_summary, options.refine_focal_length = False, not lens.known
    options.ceres.loss_function_type = colmap.LossFunctionType.CAUCHY
    options.ceres.loss_function_scale = config.robust_px
    options.ceres.solver_options.num_threads = 1
    everything = colmap.BundleAdjustmentConfig()
    for image in model.reg_image_ids():
        everything.add_image(image)
    everything.fix_gauge(colmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    # pycolmap's own shorthand for this writes to stderr, whatever its log level is.
    colmap.create_default_bundle_adjuster(options, everything, model).solve()
    model.update_point_3d_errors()


def _told(model: Any, images: list[np.ndarray]) -> Structure:
    placed = sorted((image for image in model.images.values() if image.has_pose), key=lambda image: image.name)
    poses = np.tile(np.eye(4), (len(placed), 1, 1))
    poses[:, :3] = [image.cam_from_world().matrix() for image in placed]
    (camera,) = model.cameras.values()
    points = list(model.points3D.values())
    return Structure(
        registered=torch.tensor([int(Path(image.name).stem) for image in placed]),
        T_camera_world=torch.from_numpy(poses),
        focal_px=float(camera.params[0]),
        distortion=float(camera.params[3]) if len(camera.params) > 3 else 0.0,
        points=torch.from_numpy(np.array([point.xyz for point in points]).reshape(-1, 3)),
        rgb=torch.from_numpy(np.array([_colour(model, point, images) for point in points], np.uint8).reshape(-1, 3)),
        reprojection_px=float(model.compute_mean_reprojection_error()),
    )


def _colour(model: Any, point: Any, images: list[np.ndarray]) -> np.ndarray:
    """Of the pixel in which a point was seen first: COLMAP itself knows only pictures with equalised contrast."""
    sighting = point.track.elements[0]
    image = model.images[sighting.image_id]
    column, row = image.points2D[sighting.point2D_idx].xy
    picture = images[int(Path(image.name).stem)]
    return picture[min(max(int(row), 0), len(picture) - 1), min(max(int(column), 0), picture.shape[1] - 1)]
