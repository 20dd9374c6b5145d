"""Milliseconds a frame of StyleAvatar's baked graph: ONNX in both precisions beside PyTorch, and each network's share.

    python benchmarks/style_avatar_speed.py AVATAR [AVATAR ...] | --presets draft standard [--repeats 30]

Median and 95th percentile, warm, the ways taking turns frame by frame in one process and thread. Ratios travel, times
belong to the machine. `--presets` measures untrained networks of those sizes, which cost the same. Peak memory and
the whole frame with the rasteriser: `benchmarks/onnx_speed.py AVATAR`.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from headstudio.heads import load_head
from headstudio.methods.style_avatar import StyleAvatar
from headstudio.methods.style_avatar.config import PRESETS
from headstudio.methods.style_avatar.people import People
from headstudio.methods.style_avatar.plates import Plate
from headstudio.methods.style_avatar.portrait import Portrait
from headstudio.training.avatars import load_avatar
from onnx_speed import session, write_graph

_WARM = 3


def untrained(preset: str) -> StyleAvatar:
    """An avatar of a preset that has learned nothing."""
    avatar = StyleAvatar(PRESETS[preset])
    avatar.people = People(load_head("makehuman"), {"nobody": (0.0, 1.0, 2.0)})
    if isinstance(avatar.portrait, Portrait) and avatar.portrait.plates is not None:
        sizes = avatar.config.sizes
        crop, window = (sizes.picture_px * cells for cells in (sizes.crop_cells, avatar.covered_cells))
        layers = torch.zeros(1, 4, 256, 256), torch.zeros(1, 3, crop, crop), torch.zeros(1, 4, window, window)
        avatar.portrait.plates.take([Plate(*layers, torch.full((1, 2), 0.5))])
    return avatar.eval().requires_grad_(False)


@torch.no_grad()
def measured(avatar: StyleAvatar, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of every warm frame."""
    runtime = avatar.runtime()
    inputs = {spec.name: torch.rand(1, *spec.shape) for spec in runtime.inputs}
    for name in ("front_cells", "back_cells"):
        inputs[name] = torch.full((1, 2), avatar.shown.middle_cells)
    names = [spec.name for spec in runtime.outputs]
    with tempfile.TemporaryDirectory() as work:
        ways: dict[str, Callable[[], object]] = {}
        for kind, label in ((torch.float16, "ONNX float16"), (torch.float32, "ONNX float32")):
            file = Path(work) / f"{label}.onnx"
            given = {name: value.to(kind) for name, value in inputs.items()}
            write_graph(runtime.graph().to(kind), given, names, file)
            feed = {name: value.numpy() for name, value in given.items()}
            run = session(file, 1).run
            ways[label] = lambda run=run, feed=feed: run(None, feed)
            avatar.float()
        graph = runtime.graph()
        ways["PyTorch"] = lambda: graph(*inputs.values())
        ways |= _parts(avatar, inputs)
        return _timed(ways, repeats)


def _parts(avatar: StyleAvatar, inputs: dict[str, torch.Tensor]) -> dict[str, Callable[[], object]]:
    portrait, code = avatar.portrait, avatar.moment_codes(None, 1)
    if not isinstance(portrait, Portrait):
        return {}
    canvas = avatar.shown.lay_on_canvas(inputs["texture"], inputs["front_cells"])
    cells = avatar.shown.sizes.window_cells
    features = torch.randn(1, avatar.config.sizes.feature_channels, cells, cells)
    return {
        "PyTorch, foreground network": lambda: portrait.foreground(canvas, code),
        "PyTorch, image network": lambda: portrait.image(features, code),
    }


def _timed(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + _WARM):
        for name, run in ways.items():
            begun = time.perf_counter()
            run()
            if repeat >= _WARM:
                found[name].append(1000 * (time.perf_counter() - begun))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("avatars", nargs="*", type=Path)
    parser.add_argument("--presets", nargs="*", default=[])
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| avatar | way | median ms | 95th percentile | of PyTorch |\n|---|---|---|---|---|")
    for name in (*options.avatars, *options.presets):
        avatar = load_avatar(name) if isinstance(name, Path) else untrained(name)
        assert isinstance(avatar, StyleAvatar), f"{name} is no style-avatar"
        times = measured(avatar, options.repeats)
        whole = float(np.median(times["PyTorch"]))
        for way, values in times.items():
            middle, slow = np.median(values), np.quantile(values, 0.95)
            print(f"| {name} | {way} | {middle:.1f} | {slow:.1f} | {middle / whole:.2f} |", flush=True)


if __name__ == "__main__":
    main()
