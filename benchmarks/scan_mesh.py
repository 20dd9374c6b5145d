"""Reconstruct a real head scan from pictures rendered of it with known cameras, and measure the distance to it.

    python benchmarks/scan_mesh.py --sizes 256 512 --presets draft standard --output out/scan_mesh
    python benchmarks/scan_mesh.py --presets draft --change vertex_rate=1e-3 --label slower

The scan: "Infinite, 3D Head Scan by Lee Perry-Smith" (CC BY 3.0), read from --scan. Sixteen cameras stand on a
semicircle, yaw -80 to 80 degrees, in turn above and below the head; the frame cuts the shoulders. Distances are in
percent of the head's height, over points of the true face that at least two cameras see (to the mesh), and from the
points of the mesh nearest to them back to the truth. A row is kept when it is done, so the command goes on where it
stopped.
"""

import argparse
import ast
import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from head_scan import read_head_scan
from headstudio import storage
from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import from_rotation, transform
from headstudio.geometry.topology import connect, euler_characteristic, is_manifold
from headstudio.render.light import turned
from headstudio.render.mesh import MeshTopology, render_surface
from headstudio.scan.config import MESH_PRESETS, MeshConfig
from headstudio.scan.deferred_shading import ReconstructedMesh, reconstruct
from scan_judging import clay, spread, times_seen
from tracking_surface import Surface

SCAN = Path(__file__).parents[2] / "shared" / "data" / "models" / "lee_perry_smith"
SCHEMA = "headstudio.benchmark.scan_mesh"
CROWN, CHIN, BROW, EAR_PLANE = 180.0, 78.0, 165.0, 8.0
"""Heights and depth in the scan's own unit: the face lies between chin and hairline, before the ears."""
HEAD_M = 0.23
VIEWS, DISTANCE_M, FIELD = 16, 0.7, 1.35
"""Cameras, their distance, and the width of the picture there in head heights."""
SAMPLES = 20000


@dataclass(frozen=True)
class Truth:
    """The scan in metres, its middle of the head at the origin, y up, face to +z."""

    vertices_m: Tensor
    mesh: MeshTopology
    texture: Tensor


@dataclass(frozen=True)
class Pictures:
    """What `reconstruct` is given."""

    images: Tensor
    masks: Tensor
    K_px: Tensor
    T_camera_world: Tensor


def read_scan(folder: Path) -> Truth:
    """The scan in metres about the middle of its head."""
    points, mesh, texture = read_head_scan(folder)
    middle = torch.tensor([float(points[:, 0].mean()), (CROWN + CHIN) / 2, 0.0])
    return Truth((points - middle) * HEAD_M / (CROWN - CHIN), mesh, texture)


def cameras() -> Tensor:
    """World to camera, one a view."""
    yaw = torch.linspace(-80, 80, VIEWS).deg2rad()
    pitch = torch.where(torch.arange(VIEWS) % 2 == 0, 18.0, -12.0).deg2rad()
    eyes = torch.stack([yaw.sin() * pitch.cos(), pitch.sin(), yaw.cos() * pitch.cos()], 1)
    right = torch.nn.functional.normalize(torch.linalg.cross(-eyes, torch.tensor([[0.0, 1.0, 0.0]]).expand(VIEWS, 3)))
    rotation = torch.stack([right, torch.linalg.cross(-eyes, right), -eyes], 1)
    return from_rotation(rotation, torch.tensor([0.0, 0.0, DISTANCE_M]).expand(VIEWS, 3))


def film(truth: Truth, size_px: int, turning: bool = False) -> Pictures:
    """The scan under a light that is fixed to it, or that turns about it as on a chair; each picture is rendered at
    twice the size and averaged."""
    T_camera_world = cameras()
    large = Camera.from_focal(2 * size_px * DISTANCE_M / (FIELD * HEAD_M), 2 * size_px, 2 * size_px)
    light = torch.tensor([2.6, 0.5, 0.5, 0.35, 0.0, 0.0, 0.0, 0.0, 0.0])[:, None].expand(9, 3)
    images, masks = [], []
    for T in T_camera_world:
        points = transform(T, truth.vertices_m)
        # On a chair it stands before the camera, and is the same as the other where the face looks into it.
        seen_from = T_camera_world[VIEWS // 2] if turning else T
        lit = turned(light[None], seen_from[None, :3, :3])
        surface = render_surface(points[None], truth.mesh, large, truth.texture, lit)
        assert surface.image is not None
        halved = torch.nn.functional.avg_pool2d(torch.cat([surface.image * surface.mask, surface.mask], 1), 2)[0]
        images.append((halved[:3] / halved[3:].clamp_min(1e-3)).clamp(0, 1).permute(1, 2, 0))
        masks.append(halved[3].clamp(0, 1))
    camera = large.resized(size_px, size_px)
    return Pictures(torch.stack(images), torch.stack(masks), camera.K_px.expand(VIEWS, 3, 3), T_camera_world)


def face_points(truth: Truth) -> Tensor:
    """Points spread evenly over the true face that two cameras see at least."""
    points = spread(truth.vertices_m, truth.mesh.triangles, 8 * SAMPLES)
    unit = HEAD_M / (CROWN - CHIN)
    middle = (CROWN + CHIN) / 2
    height, depth = points[:, 1] / unit + middle, points[:, 2] / unit
    points = points[(height > CHIN) & (height < BROW) & (depth > EAR_PLANE)]
    camera = Camera.from_focal(1024 * DISTANCE_M / (FIELD * HEAD_M), 1024, 1024)
    return points[times_seen(points, truth.vertices_m, truth.mesh.triangles, cameras(), camera) >= 2][:SAMPLES]


def judge(found: ReconstructedMesh, truth: Truth) -> dict[str, float]:
    """Distances in percent of the head's height, and whether the mesh is sound."""
    points = face_points(truth)
    surface = Surface(found.vertices_m, found.triangles)
    foot, _ = surface.nearest(points)
    forth = (foot - points).norm(dim=1)
    back = Surface(truth.vertices_m, truth.mesh.triangles).distance(foot)
    connected = connect(found.triangles, len(found.vertices_m))
    scores = {
        "vertices": len(found.vertices_m),
        "euler": euler_characteristic(connected),
        "manifold": float(is_manifold(connected)),
    }
    for name, distance in (("to_mesh", forth), ("to_truth", back)):
        percent = 100 * distance / HEAD_M
        scores[f"{name}_median"] = float(percent.median())
        scores[f"{name}_p95"] = float(percent.quantile(0.95))
        scores[f"{name}_max"] = float(percent.max())
    return scores


def picture(found: ReconstructedMesh, truth: Truth, path: Path, size_px: int = 360) -> None:
    """Truth, mesh, and the mesh's distance to the truth (white 0, red 1 % of the head's height), from three sides."""
    distance = Surface(truth.vertices_m, truth.mesh.triangles).distance(found.vertices_m).float() / HEAD_M * 100
    tint = torch.stack([torch.ones_like(distance), *[1 - distance.clamp(0, 1)] * 2], 1)
    grey = torch.full((len(truth.vertices_m), 3), 0.8)
    rows = [
        (truth.vertices_m, truth.mesh.triangles, grey),
        (found.vertices_m, found.triangles, torch.full_like(tint, 0.8)),
        (found.vertices_m, found.triangles, tint),
    ]
    camera = Camera.from_focal(size_px * DISTANCE_M / (FIELD * HEAD_M), size_px, size_px)
    cells = [torch.cat([clay(*row, T, camera) for T in cameras()[[0, 4, 8, 15]]], 1) for row in rows]
    pixels = (torch.cat(cells).clamp(0, 1) * 255).byte().numpy()
    Image.fromarray(pixels).save(path)


class Bars:
    """Tells every hundredth step."""

    def stage(self, name: str, total: int | None = None) -> "Bars":
        """Open a stage."""
        self.done, self.start = 0, time.perf_counter()
        return self

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, units: int) -> None:
        self.done += units
        if self.done % 100 == 0:
            print(f"  step {self.done}, {time.perf_counter() - self.start:.0f} s", flush=True)


def changed(config: MeshConfig, changes: list[str]) -> MeshConfig:
    """`name=value`, also `weights.name=value`."""
    for change in changes:
        name, value = change.split("=")
        parts = name.split(".")
        inner = dataclasses.replace(config.weights, **{parts[-1]: ast.literal_eval(value)}) if len(parts) > 1 else None
        config = dataclasses.replace(config, **({"weights": inner} if inner else {name: ast.literal_eval(value)}))
    return config


def main() -> None:
    """Every size with every preset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", type=Path, default=SCAN)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--presets", nargs="+", default=["draft"])
    parser.add_argument("--change", nargs="*", default=[], help="options of the preset, name=value")
    parser.add_argument("--label", default="", help="name of the change")
    parser.add_argument(
        "--light", default="fixed", choices=["fixed", "turning"], help="fixed to the head, or as on a chair"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, default=Path("out/scan_mesh"))
    options = parser.parse_args()
    if not (options.scan / "LeePerry.obj").exists():
        print(f"skipped: {options.scan} holds no LeePerry.obj")
        return
    truth = read_scan(options.scan)
    options.output.mkdir(parents=True, exist_ok=True)
    for size in options.sizes:
        for preset in options.presets:
            row(truth, size, preset, options)


def row(truth: Truth, size: int, preset: str, options: argparse.Namespace) -> None:
    """One reconstruction, unless it is there."""
    turning = options.light == "turning"
    name = "-".join(filter(None, [preset, "turning" if turning else "", options.label, str(size)]))
    config = changed(MESH_PRESETS[preset], options.change)
    path = options.output / f"{name}.json"
    described = json.loads(json.dumps(dataclasses.asdict(config)))
    if path.exists() and (kept := storage.read_json(path, SCHEMA, 1))["config"] == described:
        print(name, kept["scores"])
        return
    print(name, flush=True)
    shots = film(truth, size, turning)
    started, used = time.perf_counter(), time.process_time()
    found = reconstruct(
        *(x.to(options.device) for x in (shots.images, shots.masks, torch.ones_like(shots.masks), shots.K_px)),
        shots.T_camera_world.to(options.device), config, Bars(),
    )  # fmt: skip
    spent = {"wall_s": time.perf_counter() - started, "processor_s": time.process_time() - used}
    found = dataclasses.replace(found, vertices_m=found.vertices_m.cpu(), triangles=found.triangles.cpu())
    scores = {**judge(found, truth), **spent}
    last = {key: float(values[-100:].mean()) for key, values in found.losses.items()}
    picture(found, truth, options.output / f"{name}.png")
    storage.write_json(path, SCHEMA, 1, {"config": described, "scores": scores, "losses": last})
    print({key: round(value, 3) for key, value in scores.items()}, last, flush=True)


if __name__ == "__main__":
    main()
