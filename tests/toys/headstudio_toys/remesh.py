"""A toy whose stage replaces a parameter by one of another shape, as a remeshing method does."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headstudio.training.contract import Batch, Sources
from headstudio.training.frame_table import FrameTable
from headstudio.training.stages import Optimiser, Player, Sampler, Stage
from headstudio_toys.plain import PlainConfig, PlainToy


class RemeshToy(PlainToy):
    presets: ClassVar[Mapping[str, Any]] = {
        "draft": PlainConfig(),
        "standard": PlainConfig(steps=24),
        "paper": PlainConfig(steps=48),
    }

    def __init__(self, config: PlainConfig) -> None:
        super().__init__(config)
        self.grid = nn.Parameter(torch.zeros(2))
        self.tints: FrameTable | None = None

    def setup(self, sources: Sources) -> None:
        super().setup(sources)
        frames = {source.key: list(source.capture.train_frames) for source in sources["target"]}
        self.tints = FrameTable(frames, torch.full((3,), 0.25))

    def state(self) -> dict[str, Any]:
        assert self.tints is not None
        return super().state() | {"train_frames": {k: list(v) for k, v in self.tints.train_frames.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.tints = FrameTable(state["train_frames"], torch.zeros(3))

    def on_event(self, name: str) -> None:
        if name == "refine":
            self.grid = nn.Parameter(self.grid.detach().repeat_interleave(2))
        else:
            super().on_event(name)

    def stages(self) -> tuple[Stage, ...]:
        player = Player(
            "all",
            ("colour.*", "grid", "tints.rows"),
            {"colour": 1.0, "grid": 1.0},
            Optimiser(learning_rate=0.05),
            ema=0.5,
        )
        middle = self.config.steps // 2
        return (Stage("carve", self.config.steps, (player,), Sampler(2, self.config.size_px), {middle: "refine"}),)

    def losses(self, batch: Batch, stage: Stage, player: Player) -> dict[str, Tensor]:
        assert self.tints is not None
        tint = self.tints(batch.source_key, batch.frames).mean()
        target = torch.linspace(0, 1, len(self.grid), device=self.grid.device)
        plain = super().losses(batch, stage, player)["colour"]
        return {"colour": plain + (tint - batch.image.mean()).abs(), "grid": (self.grid - target).square().mean()}
