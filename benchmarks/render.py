"""Time the differentiable rasteriser: forward and backward of a closed mesh with 8 attributes, antialiased.

    python benchmarks/render.py --output render.json

Each row is one measurement over the repeats, the first left out: median and 95th percentile of the time on the clock,
and the median of the processor time, which other work on the machine disturbs less; milliseconds. The row
`interpolate by indexing` does the same interpolation with PyTorch indexing in the same run, as a yardstick.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from headstudio.geometry.camera import Camera
from headstudio.render.antialias import antialias, edge_neighbours
from headstudio.render.mesh import MeshTopology, render_surface
from headstudio.render.rasterise import Fragments, interpolate, rasterise

RINGS, CHANNELS, TEXTURE_PX = 100, 8, 512
Stage = tuple[str, Callable[[], Tensor]]


def sphere(rings: int) -> tuple[Tensor, Tensor]:
    """A sphere of 2 x rings x rings triangles that fills about half of the picture."""
    polar = torch.linspace(0, torch.pi, rings + 1)[:, None]
    around = torch.arange(rings) * 2 * torch.pi / rings
    columns = [polar.sin() * around.cos(), polar.cos().expand(-1, rings), -polar.sin() * around.sin()]
    vertices = torch.stack(columns, dim=-1).reshape(-1, 3) * 0.1 + torch.tensor([0.0, 0.0, 0.5])
    start = torch.arange(rings)[:, None] * rings
    here, following = start + torch.arange(rings), start + (torch.arange(rings) + 1) % rings
    upper = torch.stack([here, here + rings, following], dim=-1).reshape(-1, 3)
    lower = torch.stack([following, here + rings, following + rings], dim=-1).reshape(-1, 3)
    return vertices, torch.cat([upper, lower])


def interpolate_by_indexing(fragments: Fragments, attributes: Tensor, triangles: Tensor) -> Tensor:
    """The interpolation as PyTorch expresses it."""
    corners = attributes[0][triangles.long()[fragments.triangle.clamp_min(0).long()]]
    values = (corners * fragments.barycentric[..., None]).sum(-2)
    return (values * (fragments.triangle >= 0)[..., None]).movedim(-1, 1)


def stages(size_px: int, device: str) -> list[Stage]:
    """What is timed at one resolution; every stage returns what is to be differentiated."""
    points, triangles = (tensor.to(device) for tensor in sphere(RINGS))
    camera = Camera.from_focal(2.0 * size_px, size_px, size_px).to(device)
    vertices = points[None].requires_grad_()
    attributes = torch.randn(1, len(points), CHANNELS, device=device, requires_grad=True)
    texture = torch.rand(1, 3, TEXTURE_PX, TEXTURE_PX, device=device, requires_grad=True)
    adjacency = edge_neighbours(triangles)
    mesh = MeshTopology(triangles, (points[:, :2] + 0.1) * 5, triangles)
    fixed = rasterise(vertices.detach(), triangles, camera, adjacency=adjacency)
    picture = torch.rand(1, CHANNELS, size_px, size_px, device=device, requires_grad=True)

    def rasterised() -> Fragments:
        return rasterise(vertices, triangles, camera, adjacency=adjacency)

    def everything() -> Tensor:
        fragments = rasterised()
        return antialias(interpolate(fragments, attributes, triangles), fragments)

    return [
        ("rasterise", lambda: rasterised().barycentric),
        ("interpolate", lambda: interpolate(fixed, attributes, triangles)),
        ("interpolate by indexing", lambda: interpolate_by_indexing(fixed, attributes, triangles)),
        ("antialias", lambda: antialias(picture, fixed)),
        ("rasterise + interpolate + antialias", everything),
        ("textured surface", lambda: _stacked(render_surface(vertices, mesh, camera, texture))),
    ]


def _stacked(surface) -> Tensor:
    return torch.cat([surface.image, surface.mask], dim=1)


def measure(run: Callable[[], Tensor], repeats: int, device: str) -> dict[str, float]:
    """Times of forward and backward, milliseconds."""
    gradient = torch.ones_like(run())
    clock, processor = [], []
    for _ in range(repeats + 3):
        start, start_processor = time.perf_counter(), time.process_time()
        run().backward(gradient)
        if device != "cpu":
            torch.cuda.synchronize()
        clock.append(1e3 * (time.perf_counter() - start))
        processor.append(1e3 * (time.process_time() - start_processor))
    median, late = torch.tensor(clock[3:]).quantile(torch.tensor([0.5, 0.95])).tolist()
    busy = torch.tensor(processor[3:]).quantile(0.5).item()
    return {"p50_ms": round(median, 2), "p95_ms": round(late, 2), "processor_p50_ms": round(busy, 2)}


def main() -> None:
    """Print the rows, and save them where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], help="sides of the picture in pixels")
    parser.add_argument("--repeats", type=int, default=60, help="runs per row")
    parser.add_argument("--threads", type=int, default=2, help="threads PyTorch may use; the kernels use one")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for size_px in options.sizes:
        for name, run in stages(size_px, options.device):
            rows.append({"size_px": size_px, "stage": name} | measure(run, options.repeats, options.device))
            figures = "".join(f"{rows[-1][key]:9.2f}" for key in ("p50_ms", "p95_ms", "processor_p50_ms"))
            print(f"{size_px:5d}  {name:36s}{figures} ms")
        timed = {row["stage"]: row["processor_p50_ms"] for row in rows if row["size_px"] == size_px}
        ratio = timed["interpolate by indexing"] / timed["interpolate"]
        rows.append({"size_px": size_px, "stage": "indexing / kernel", "ratio": round(ratio, 2)})
        print(f"{size_px:5d}  indexing / kernel                    {ratio:7.1f} times")
    if options.output is not None:
        options.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
