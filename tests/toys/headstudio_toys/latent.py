"""A toy driver for two subjects: each step one of them learns, with a shared encoder, to emit the avatar's code."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headstudio.records.channels import ARKIT, Channel, Channels
from headstudio.training.contract import AvatarModel, Batch, Driver, Sources, State
from headstudio.training.stages import OneOf, Optimiser, Player, Sampler, Stage
from headstudio_toys.plain import CODE


@dataclass(frozen=True)
class LatentConfig:
    """Everything about the toy driver."""

    steps: int = 12
    """Training steps."""


class LatentToy(Driver):
    Config = LatentConfig
    presets: ClassVar[Mapping[str, Any]] = {
        "draft": LatentConfig(),
        "standard": LatentConfig(24),
        "paper": LatentConfig(48),
    }
    roles = frozenset({"target", "actor"})
    consumes = frozenset({ARKIT})
    context = 2

    def __init__(self, config: LatentConfig) -> None:
        super().__init__(config)
        self.encoder = nn.Linear(52, 4)
        self.decoders = nn.ModuleDict({"target": nn.Linear(4, 3), "actor": nn.Linear(4, 3)})
        self.accepts = frozenset()

    def bind(self, avatar: AvatarModel) -> None:
        self.accepts = frozenset().union(*avatar.driven_by)
        assert CODE in self.accepts

    @property
    def produces(self) -> frozenset[Channel]:
        return frozenset({CODE})

    def setup(self, sources: Sources) -> None:
        assert sources["actor"]

    def stages(self) -> tuple[Stage, ...]:
        players = tuple(
            Player(
                role, ("encoder.*", f"decoders.{role}.*"), {"colour": 1.0}, Optimiser(), when=OneOf("who"), role=role
            )
            for role in ("target", "actor")
        )
        return (Stage("both", self.config.steps, players, Sampler(batch_size=2, size_px=16, window=2)),)

    def losses(self, batch: Batch, stage: Stage, player: Player) -> dict[str, Tensor]:
        assert batch.role == player.role
        code = self.encoder(batch.channels[ARKIT])
        return {"colour": (self.decoders[player.role](code) - batch.image.mean((2, 3))).abs().mean()}

    def start(self, batch: int) -> State:
        return {"last": torch.zeros(batch, 4)}

    def step(self, channels: Channels, state: State) -> tuple[dict[Channel, Tensor], State]:
        code = 0.5 * (self.encoder(channels[ARKIT]) + state["last"])
        return {CODE: code}, {"last": code}
