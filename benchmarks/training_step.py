"""Say what a training step of `dynamic-texture` at draft spends its time on.

    python benchmarks/training_step.py CAPTURE --output training_step.json

The capture must be tracked. Rows are medians over the repeats: the whole step, its parts one by one, and the network
alone in the same run as a yardstick; milliseconds on the clock and of the processor.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from headstudio.methods.dynamic_texture import DynamicTexture, DynamicTextureConfig
from headstudio.motion.articulation import vertices_in_camera
from headstudio.records.capture import Capture
from headstudio.records.track import Track
from headstudio.render.mesh import render_surface
from headstudio.training.batches import BatchStream
from headstudio.training.contract import Source
from headstudio.training.players import ActivePlayer, free_only

Part = Callable[[], object]


def parts(source: Source) -> dict[str, Part]:
    """What is timed, by name."""
    torch.manual_seed(0)
    model = DynamicTexture(DynamicTextureConfig())
    model.setup({"target": (source,)})
    model.train()
    (stage,) = model.stages()
    (player,) = stage.players
    active = ActivePlayer(player, model)
    free_only(model, active)
    stream = BatchStream({"target": (source,)}, stage, 0, 0, torch.device("cpu"))
    batch = stream.batch(player, 0)
    picture = batch.image.clone().requires_grad_()
    painted = model._paint(batch.channels, batch.view).detach().requires_grad_()

    def step() -> None:
        losses = model.losses(batch, stage, player)
        sum(player.losses[name] * value for name, value in losses.items()).backward()
        active.learn(0)
        active.forget_gradients()

    def drawing() -> None:
        drawn = model._draw(painted, batch.channels, batch.view, batch.scene)
        (drawn.rgb * drawn.alpha).sum().backward()

    return {
        "whole step": step,
        "batch": lambda: stream._assemble("target", 1),
        "network alone, forward and backward": lambda: (
            model._paint(batch.channels, batch.view).square().sum().backward()
        ),
        "posing the mesh": lambda: vertices_in_camera(model.head, model._neutral_m, batch.channels, batch.view),
        "drawing, forward and backward": drawing,
        "perceptual loss, forward and backward": lambda: model._perceptual()[0](
            picture, batch.image, batch.valid.float()
        ).backward(),
        "rasteriser without texture": lambda: render_surface(
            vertices_in_camera(model.head, model._neutral_m, batch.channels, batch.view), model._mesh, batch.view.camera
        ),
    }


def measure(part: Part, repeats: int) -> dict[str, float]:
    """Medians after a warm start."""
    for _ in range(3):
        part()
    clock, processor = [], []
    for _ in range(repeats):
        started = time.perf_counter(), time.process_time()
        part()
        clock.append(time.perf_counter() - started[0])
        processor.append(time.process_time() - started[1])
    return {"clock_ms": round(1e3 * median(clock), 2), "processor_ms": round(1e3 * median(processor), 2)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    source = Source(Capture.load(options.capture), Track.load(options.capture / "track"))
    rows = {name: measure(part, options.repeats) for name, part in parts(source).items()}
    for name, row in rows.items():
        print(f"{name:40s} {row['clock_ms']:8.2f} ms, processor {row['processor_ms']:8.2f} ms")
    if options.output:
        options.output.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
