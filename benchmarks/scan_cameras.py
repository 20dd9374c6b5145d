"""Cameras of clip A against truth: films whose cameras are known, and photographs of a skull.

    python benchmarks/scan_cameras.py --data ../shared/data --output out/scan_cameras

(a) a real head scan with shut eyes ("Infinite, 3D Head Scan by Lee Perry-Smith", CC BY 3.0) that turns before a camera;
(b) open-eyed synthetic actors, one on a chair and one about whom the camera is carried. Their world's unit is chosen
so that the iris is what was drawn from the population of `ScaleConfig` (11.7 +- 0.5 mm), which the scan is not told:
a synthetic head's own iris follows the distance of its eyes and is no size that people have;
(c) the first photographs of a skull, whose cameras nobody knows: how many find their place, and the reprojection error.

Rotations in degrees and positions in percent of the distance to the head, after one similarity (docs/protocol.md).
A row is kept when it is done, so the command goes on where it stopped.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import roma
import torch
from PIL import Image
from torch import Tensor

from headstudio import storage
from headstudio.capture.ingest import ingest
from headstudio.heads import load_head
from headstudio.progress import Silent
from headstudio.records.capture import Capture
from headstudio.records.scan import ScaleSource, Scan
from headstudio.scan.alignment import landmark_cloud
from headstudio.scan.calibrate import Lens, calibrate
from headstudio.scan.calibration_config import CalibrationConfig, KeyFrameConfig, ScaleConfig, StructureConfig
from headstudio.scan.making import make_scan
from headstudio.tracking.observations import IRISES, OVAL
from scan_films import Filmed, actor, head_scan

SCHEMA, VERSION = "headstudio.benchmark.scan_cameras", 1
ACTORS = ((21, "chair"), (22, "sweep"))
SKULL_PHOTOGRAPHS, SKULL_SIDE_PX = 18, 684


def main() -> None:
    """Make the rows that are not there yet and print all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--output", type=Path, default=Path("out/scan_cameras"))
    parser.add_argument("--views", type=int, nargs="+", default=[KeyFrameConfig.count], help="key frames")
    options = parser.parse_args()
    films = options.output / "films"
    rows: dict[str, Callable[[], dict]] = {}
    for views in options.views:
        suffix = "" if views == KeyFrameConfig.count else f"-{views}"
        model = options.data / "models" / "lee_perry_smith"
        if model.exists():
            rows[f"head scan{suffix}"] = lambda v=views, m=model: _row(head_scan(films, m), 0, v)
        for seed, mode in ACTORS:
            rows[f"actor {seed} {mode}{suffix}"] = lambda s=seed, m=mode, v=views: _row(actor(films, s, m), s, v)
    if (options.data / "sfm_skull").exists():
        rows["skull"] = lambda: _skull(options.data / "sfm_skull")
    for name, make in rows.items():
        print(f"{name:20s} {_kept(options.output / 'rows' / f'{name}.json', make)}", flush=True)


def _kept(place: Path, make: Callable[[], dict]) -> str:
    if not place.exists():
        scores = make()
        place.parent.mkdir(parents=True, exist_ok=True)
        storage.write_json(place, SCHEMA, VERSION, {"scores": scores})
    scores = storage.read_json(place, SCHEMA, VERSION)["scores"]
    return json.dumps(scores)


def _row(film: Filmed, seed: int, views: int) -> dict:
    folder = film.video.parent / "capture"
    if not (folder / "capture.json").exists():
        ingest(film.video, folder)
    capture = Capture.load(folder)
    scan = make_scan(capture, CalibrationConfig(key_frames=KeyFrameConfig(count=views)))
    scan.save(film.video.parent / f"scan{views}")
    rotation_deg, position_pct, _ = camera_errors(scan.T_camera_world, film.T_camera_head[scan.frames])
    crop = capture.views[0].crop
    focal_px = float(film.K_px[0, 0]) * capture.size_px / crop.side_px
    told = {
        "cameras": scan.cameras.value,
        "light": scan.light.value,
        "views": f"{scan.views}/{scan.residuals.offered}",
        "rotation_deg": summary(rotation_deg),
        "position_pct": summary(position_pct),
        "focal_error_pct": round(100 * (float(scan.K_px[0, 0, 0]) / focal_px - 1), 2),
        "reprojection_px": round(scan.residuals.reprojection_px, 3),
        "landmarks_px": round(scan.residuals.landmarks_px, 3),
        "alignment_mm": round(scan.residuals.alignment_m * 1e3, 2),
        "scale": scan.scale.source.value,
        "scale_deviation_pct": round(100 * scan.scale.deviation, 2),
    }
    return told | metres(film, scan, seed)


def metres(film: Filmed, scan: Scan, seed: int) -> dict:
    """How long the scan's metre is in truth, for a person whose iris is drawn from the population.

    Lengths are those of the face: its landmarks, triangulated in the scan, against the same points of the true head.
    """
    if film.iris_m is None or film.neutral_m is None or scan.scale.source is not ScaleSource.IRIS:
        return {}
    head = load_head(scan.head)
    yaw_deg = torch.rad2deg(torch.atan2(scan.T_camera_head[:, 0, 2], -scan.T_camera_head[:, 2, 2]))
    cloud = landmark_cloud(scan.landmarks_px, yaw_deg, scan.K_px, scan.T_camera_world)
    true = head.landmark_points(film.neutral_m[None])[0].double()
    counted = torch.isfinite(cloud.points).all(-1) & (head.landmark_weight > 0.5)
    counted[[*IRISES, *OVAL]] = False
    ratio = float(roma.rigid_points_registration(cloud.points[counted], true[counted], compute_scaling=True)[2])
    prior = ScaleConfig()
    iris_m = float(np.random.default_rng([seed, 17]).normal(prior.iris_m, prior.iris_deviation_m))
    true_length = ratio * iris_m / film.iris_m
    low, high = scan.scale.interval()
    return {
        "true_iris_mm": round(iris_m * 1e3, 2),
        "measured_over_true_iris": round(prior.iris_m * ratio / film.iris_m, 4),
        "scale_error_pct": round(100 * (1 / true_length - 1), 2),
        "interval_pct": [round(100 * (low - 1), 1), round(100 * (high - 1), 1)],
        "covered": low <= true_length <= high,
    }


def _skull(folder: Path) -> dict:
    images = []
    for path in sorted(folder.glob("*.jpg"))[:SKULL_PHOTOGRAPHS]:
        with Image.open(path) as picture:
            side = picture.width / SKULL_SIDE_PX
            size = SKULL_SIDE_PX, round(picture.height / side)
            images.append(np.array(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)))
    height, width = images[0].shape[:2]
    lens = Lens(1.2 * width, False, (width / 2, height / 2))
    found = calibrate(images, None, lens, StructureConfig(), Silent())
    return {
        "registered": f"{len(found.registered)}/{len(images)}",
        "reprojection_px": round(found.reprojection_px, 3),
        "points": len(found.points),
        "focal_px": round(found.focal_px, 1),
    }


def summary(values: Tensor) -> list[float]:
    """Median and largest."""
    return [round(float(values.median()), 3), round(float(values.max()), 3)]


def camera_errors(found: Tensor, true: Tensor) -> tuple[Tensor, Tensor, float]:
    """Rotation errors, position errors and the length of the scan's unit in truth, after one similarity."""
    found, true = found.double(), true.double()
    a = -(found[:, :3, :3].transpose(1, 2) @ found[:, :3, 3:])[..., 0]
    b = -(true[:, :3, :3].transpose(1, 2) @ true[:, :3, 3:])[..., 0]
    u, singular, vh = torch.linalg.svd((b - b.mean(0)).T @ (a - a.mean(0)))
    flip = torch.ones(3, dtype=torch.float64)
    flip[2] = torch.linalg.det(u @ vh).sign()
    rotation = u @ torch.diag(flip) @ vh
    ratio = float((singular * flip).sum() / (a - a.mean(0)).square().sum())
    moved = ratio * (a - a.mean(0)) @ rotation.T + b.mean(0)
    between = found[:, :3, :3] @ rotation.T @ true[:, :3, :3].transpose(1, 2)
    cosine = ((between.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1)
    return torch.rad2deg(torch.arccos(cosine)), (moved - b).norm(dim=1) / b.norm(dim=1) * 100, ratio


if __name__ == "__main__":
    main()
