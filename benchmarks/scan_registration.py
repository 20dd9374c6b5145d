"""Register the head model to a real head scan and measure how far the registered face is from the true one.

    python benchmarks/scan_registration.py --output out/scan_registration
    python benchmarks/scan_registration.py --surfaces truth draft --presets draft standard paper

Truth, cameras and pictures are those of scan_mesh.py (Lee Perry-Smith's scan, CC BY 3.0; its eyes are closed and its
unit is unstated, so its head height is taken to be 230 mm and the scan's metres are believed). The surface is the true
mesh, or what neural deferred shading makes of the pictures. Landmarks are detected in the rendered pictures. Beside
each preset of the registration stands a fit of the identity basis to the triangulated landmarks alone. Distances are in
percent of the head's height, from points of the true face that two cameras see to the registered skin and from there
back to the truth; nothing is aligned once more. A row is kept when it is done.
"""

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor

from headstudio import storage
from headstudio.capture.detector import FaceDetector
from headstudio.geometry.rigid import from_rotation, invert, transform
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.records.scan import (
    CameraSource,
    LightMode,
    MetricScale,
    RawMesh,
    Residuals,
    ScaleSource,
    Scan,
)
from headstudio.report.scan_report import write_scan_report
from headstudio.scan.alignment import LandmarkCloud, align, landmark_cloud
from headstudio.scan.config import MESH_PRESETS
from headstudio.scan.deferred_shading import reconstruct
from headstudio.scan.registering import with_registration
from headstudio.scan.registration_config import REGISTRATION_PRESETS
from headstudio.tracking.observations import IRISES, OVAL
from scan_judging import skin_triangles
from scan_mesh import HEAD_M, SCAN, VIEWS, Bars, Truth, face_points, film, read_scan
from tracking_surface import Surface

SCHEMA = "headstudio.benchmark.scan_registration"
SIZE_PX = 512
IRIS_DEVIATION = 0.04
"""The usual deviation of a scale from the iris: the registration believes it."""
LANDMARK_M, ROUNDS = 0.003, 20


def scan_of(truth: Truth, head: HeadModel, detector: FaceDetector) -> tuple[Scan, LandmarkCloud]:
    """The record that `headstudio scan` would have made with perfect cameras."""
    shots = film(truth, SIZE_PX)
    images = (shots.images * 255).round().byte()
    found = [detector.detect(image.numpy()) for image in images]
    seen = [marks[0] if marks else np.full((478, 3), np.nan) for marks in found]
    landmarks = torch.from_numpy(np.stack(seen)).float()
    cloud = landmark_cloud(
        landmarks, torch.linspace(-80, 80, VIEWS), shots.K_px.double(), shots.T_camera_world.double()
    )
    aligned = align(cloud, head, 1.0)
    scan = Scan(
        "lee_perry_smith", torch.arange(VIEWS), VIEWS // 2, images.permute(0, 3, 1, 2).contiguous(),
        (shots.masks * 255).byte(), torch.ones(SIZE_PX, SIZE_PX) > 0, landmarks, shots.K_px.clone(),
        shots.T_camera_world, aligned.T_head_world.float(), head.name, CameraSource.STRUCTURE_FROM_MOTION,
        LightMode.FIXED_TO_HEAD, MetricScale(ScaleSource.IRIS, IRIS_DEVIATION, VIEWS),
        Residuals(float("nan"), cloud.residual_px, aligned.error_m, VIEWS),
    )  # fmt: skip
    return scan, cloud


def surface_of(scan: Scan, truth: Truth, name: str) -> RawMesh:
    """The true mesh, or a preset's reconstruction from pictures of half the size."""
    if name == "truth":
        return RawMesh(truth.vertices_m, truth.mesh.triangles.int())
    shots = film(truth, SIZE_PX // 2)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parts = (shots.images, shots.masks, torch.ones_like(shots.masks), shots.K_px, shots.T_camera_world)
    found = reconstruct(*(part.to(device) for part in parts), MESH_PRESETS[name], Bars())
    return RawMesh(found.vertices_m.cpu(), found.triangles.cpu())


def from_landmarks(head: HeadModel, cloud: LandmarkCloud) -> tuple[Tensor, Tensor]:
    """Identity of the basis by landmarks alone: pose and coefficients in turn, with the standard normal prior."""
    weight = head.landmark_weight.clone()
    weight[list(IRISES)] = 0.0
    weight[list(OVAL)] *= 0.1
    known = torch.isfinite(cloud.points).all(1) & (weight > 0)
    target, share = cloud.points[known].double(), weight[known].double()
    corners, places = head.landmark_vertices[known], head.landmark_barycentric[known].double()
    basis = (head.identity_basis_m.double()[:, corners] * places[..., None]).sum(2)
    flat, coefficients = basis.flatten(1).T, torch.zeros(head.identities, dtype=torch.float64)
    # Neighbouring landmarks err together: all count as many as their square root, as in the registration.
    strength = share.repeat_interleave(3) / LANDMARK_M**2 / share.sum().sqrt()
    rotation, shift = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    mean = head.landmark_points(head.template_m[None])[0, known].double()
    for _ in range(ROUNDS):
        own = mean + torch.einsum("k,kpc->pc", coefficients, basis)
        rotation, shift = roma.rigid_points_registration(target, own, weights=share)
        wanted = (target @ rotation.T + shift - mean).flatten()
        normal = flat.T @ (flat * strength[:, None]) + torch.eye(head.identities)
        coefficients = torch.linalg.solve(normal, flat.T @ (strength * wanted))
    return head.neutral(coefficients.float()[None])[0], from_rotation(rotation, shift).float()


def judge(head: HeadModel, posed_m: Tensor, T_head_scan: Tensor, truth: Truth) -> dict[str, float]:
    """Distances in percent of the head's height."""
    there = transform(invert(T_head_scan), posed_m)
    points = face_points(truth)
    foot, _ = Surface(there, skin_triangles(head)).nearest(points)
    scores: dict[str, float] = {}
    back = Surface(truth.vertices_m, truth.mesh.triangles).distance(foot)
    for name, distance in (("to_head", (foot - points).norm(dim=1)), ("to_truth", back)):
        percent = 100 * distance / HEAD_M
        scores[f"{name}_median"] = float(percent.median())
        scores[f"{name}_p95"] = float(percent.quantile(0.95))
        scores[f"{name}_max"] = float(percent.max())
    return scores


def main() -> None:
    """Every surface with every preset, and the landmarks alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", type=Path, default=SCAN)
    parser.add_argument("--surfaces", nargs="+", default=["truth"], choices=["truth", *MESH_PRESETS])
    parser.add_argument("--presets", nargs="+", default=list(REGISTRATION_PRESETS))
    parser.add_argument("--output", type=Path, default=Path("out/scan_registration"))
    options = parser.parse_args()
    if not (options.scan / "LeePerry.obj").exists():
        print(f"skipped: {options.scan} holds no LeePerry.obj")
        sys.exit(0)
    options.output.mkdir(parents=True, exist_ok=True)
    truth, head = read_scan(options.scan), load_head("makehuman")
    scan, cloud = scan_of(truth, head, FaceDetector(still=True))
    posed, T_head_scan = from_landmarks(head, cloud)
    _keep(options.output / "landmarks.json", {}, judge(head, posed, T_head_scan, truth))
    for surface in options.surfaces:
        mesh = None
        for preset in options.presets:
            config = REGISTRATION_PRESETS[preset]
            path, described = (
                options.output / f"{surface}-{preset}.json",
                json.loads(json.dumps(dataclasses.asdict(config))),
            )
            if path.exists() and (kept := storage.read_json(path, SCHEMA, 1))["config"] == described:
                print(path.stem, kept["scores"])
                continue
            mesh = mesh or surface_of(scan, truth, surface)
            _row(dataclasses.replace(scan, mesh=mesh), preset, truth, head, path, described)


def _row(scan: Scan, preset: str, truth: Truth, head: HeadModel, path: Path, described: dict) -> None:
    used = time.process_time()
    found = with_registration(scan, REGISTRATION_PRESETS[preset])
    used = time.process_time() - used
    assert found.identity is not None and found.fit is not None
    state = head.rest()._replace(expression=found.fit.expression[None])
    offsets = None if found.identity.offsets_m is None else found.identity.offsets_m[None]
    posed = head(found.identity.coefficients[None], state, offsets)[0]
    write_scan_report(path.with_suffix(".html"), found)
    _keep(path, described, {**judge(head, posed, found.T_head_scan, truth), "processor_s": used}, found.told)


def _keep(path: Path, described: dict, scores: dict[str, float], told: tuple[str, ...] = ()) -> None:
    storage.write_json(path, SCHEMA, 1, {"config": described, "scores": scores, "told": list(told)})
    print(path.stem, {name: round(value, 3) for name, value in scores.items()}, *told, flush=True)


if __name__ == "__main__":
    main()
