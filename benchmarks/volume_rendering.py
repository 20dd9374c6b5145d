"""Compare ways to render a volume side by side: with and without skipping, in parts, planes by kernel and by PyTorch.

    python benchmarks/volume_rendering.py --size draft --output volume.json

The field is a tri-plane with its network, before an ellipsoid as large as a head; the grid has learned where that is,
and the matte is its picture. All ways of a table take turns in the same process, one picture forward and backward each;
what is told are ratios of the medians, to the first row. The clock is the processor's on a CPU, as other work on the
machine disturbs it less. Memory is the peak of what PyTorch holds during a step, gradients of the parameters included.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import rigid
from headstudio.nn.volume_field import VolumeField, VolumeFieldConfig
from headstudio.render.occupancy import OccupancyGrid
from headstudio.render.ray_samples import RaySamples, sample_rays
from headstudio.render.rays import Box, Rays, camera_rays
from headstudio.render.tri_plane import sample_tri_plane, sample_tri_plane_plainly
from headstudio.render.volume import Composite, composite, composite_plainly, render_volume

SIZES = {"draft": (64, 48, 64, 16, 64), "paper": (128, 64, 256, 32, 128)}
"""Rays a side, samples a ray, side of the planes, their channels, width of the network."""
BOX = Box((-0.17, -0.22, -0.2), (0.17, 0.2, 0.15))
HALF_AXES_M, MIDDLE_M = (0.085, 0.13, 0.105), (0.0, 0.0, -0.05)
PARTS = 8
Way = Callable[[], object]


class Scene:
    """What all ways share."""

    def __init__(self, size: str, device: str) -> None:
        side, self.count, plane, channels, width = SIZES[size]
        torch.manual_seed(0)
        self.planes = torch.randn(1, 3 * channels, plane, plane, device=device).requires_grad_()
        self.network = VolumeField(VolumeFieldConfig(channels, width, channels)).to(device)
        camera = Camera.from_focal(1.7 * side, side, side).to(device)
        pose = rigid(torch.tensor([[math.pi, 0.2, 0.0]]), torch.tensor([[0.0, 0.0, 0.75]])).to(device)
        self.rays = camera_rays(camera, pose, BOX)
        self.grid = OccupancyGrid(BOX, 48, patience=2).to(device)
        for _ in range(6):
            self.grid.update(inside, torch.Generator().manual_seed(1))
        self.matte = self.shown()
        self.everything, self.left = self.samples(), self.samples(grid=True)
        self.points = BOX.scaled(self.left.points_m)

    def field(self, samples: RaySamples) -> tuple[Tensor, Tensor]:
        """Density and values of the network."""
        features = sample_tri_plane(self.planes, BOX.scaled(samples.points_m), samples.entry)
        return self.network(features, samples.directions)

    def samples(self, grid: bool = False, matte: bool = False) -> RaySamples:
        """With the chosen ways of skipping."""
        rays: Rays = self.rays.only(self.matte) if matte else self.rays
        return sample_rays(rays, self.count, self.grid if grid else None)

    def shown(self) -> Tensor:
        """Rays that pass through the ellipsoid."""
        samples = sample_rays(self.rays, 64, inside)
        return samples.first.diff() > 0

    def step(self, grid: bool = False, matte: bool = False, parts: int | None = None) -> None:
        """One picture forward and backward."""
        samples = self.samples(grid, matte)
        found: Composite = render_volume(self.field, samples, None if parts is None else len(samples) // parts)
        (found.values.square().mean() + found.mask.mean()).backward()

    def rows(self, packed: bool) -> None:
        """Compositing alone, of given densities and values of all samples."""
        samples = self.everything
        density = torch.rand(len(samples), device=samples.ray.device).requires_grad_()
        values = torch.rand(len(samples), self.planes.shape[1] // 3, device=samples.ray.device).requires_grad_()
        if packed:
            sums, opacity, _ = composite(samples, density, values)
        else:
            shape = (-1, self.count)
            steps = samples.steps_m.view(shape)
            sums, opacity = composite_plainly(density.view(shape), steps, values.view(*shape, values.shape[1]))
        (sums.square().mean() + opacity.mean()).backward()

    def features(self, by_kernel: bool, backward: bool) -> None:
        """Tri-plane look-up alone, at the samples the grid leaves."""
        planes = self.planes if backward else self.planes.detach()
        if by_kernel:
            found = sample_tri_plane(planes, self.points, self.left.entry)
        else:
            found = sample_tri_plane_plainly(planes, self.points[None])[0]
        if backward:
            found.square().sum().backward()


def inside(points_m: Tensor) -> Tensor:
    """Whether points lie in the ellipsoid: 1 or 0, which is a density too."""
    away = (points_m - points_m.new_tensor(MIDDLE_M)) / points_m.new_tensor(HALF_AXES_M)
    return away.square().sum(1) < 1


def tables(scene: Scene) -> dict[str, dict[str, Way]]:
    """What takes turns with what; the first of each is the measure."""
    step = partial(partial, scene.step)
    return {
        "step": {
            "all samples": step(),
            "matte": step(matte=True),
            "grid": step(grid=True),
            "grid and matte": step(grid=True, matte=True),
            f"grid, {PARTS} parts": step(grid=True, parts=PARTS),
        },
        "compositing all samples": {"plain": partial(scene.rows, False), "kernel": partial(scene.rows, True)},
        "planes forward": {
            "grid_sample": partial(scene.features, False, False), "kernel": partial(scene.features, True, False)
        },
        "planes forward and backward": {
            "grid_sample": partial(scene.features, False, True), "kernel": partial(scene.features, True, True)
        },
    }  # fmt: skip


def timed(way: Way, device: str) -> float:
    """Seconds of one run."""
    if device == "cpu":
        start = time.process_time()
        way()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    way()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def ratios(ways: dict[str, Way], device: str, repeats: int) -> dict[str, float]:
    """Median time of each way over that of the first."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            seconds = timed(way, device)
            if turn:
                times[name].append(seconds)
    first = statistics.median(next(iter(times.values())))
    return {name: round(statistics.median(each) / first, 3) for name, each in times.items()}


def peak_bytes(way: Way, device: str) -> int:
    """The most that PyTorch holds during one run beyond what it held before, by its own account."""
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device != "cpu")
    with profile(activities=activities, profile_memory=True) as watched:
        way()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        watched.export_chrome_trace(str(file))
        events = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
    # The trace numbers devices: 0 is the CPU, 1 CUDA.
    ours = [e for e in events if e["name"] == "[memory]" and (e["args"]["Device Type"] == 0) == (device == "cpu")]
    ours.sort(key=lambda event: event["ts"])
    before = ours[0]["args"]["Total Allocated"] - ours[0]["args"]["Bytes"]
    return max(event["args"]["Total Allocated"] for event in ours) - before


def memory(scene: Scene, device: str) -> dict[str, float]:
    """Peak memory of one step in each way over that of the first."""
    ways = {
        "all samples": scene.step,
        f"all samples, {PARTS} parts": partial(scene.step, parts=PARTS),
        "grid": partial(scene.step, grid=True),
        f"grid, {PARTS} parts": partial(scene.step, grid=True, parts=PARTS),
    }
    found = {name: peak_bytes(way, device) for name, way in ways.items()}
    return {name: round(each / found["all samples"], 3) for name, each in found.items()}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="draft")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("volume_rendering.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    scene = Scene(given.size, given.device)
    total = len(scene.samples())
    choices = {"grid": (True, False), "matte": (False, True), "grid and matte": (True, True)}
    report = {
        "size": given.size,
        "device": given.device,
        "samples skipped": {name: round(1 - len(scene.samples(*each)) / total, 3) for name, each in choices.items()},
        "time": {name: ratios(ways, given.device, given.repeats) for name, ways in tables(scene).items()},
        "memory": memory(scene, given.device),
    }
    given.output.write_text(json.dumps(report, indent=1), encoding="utf-8")
    sys.stdout.write(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
