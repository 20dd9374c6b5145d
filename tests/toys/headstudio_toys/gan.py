"""A toy with two optimisers: a generator of flat colours, a critic, a lazy penalty and two alternating moods."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstudio.training.contract import Batch
from headstudio.training.stages import Every, OneOf, Optimiser, Player, Ramp, Sampler, Stage
from headstudio_toys.plain import PlainConfig, PlainToy


class GanToy(PlainToy):
    presets: ClassVar[Mapping[str, Any]] = {
        "draft": PlainConfig(),
        "standard": PlainConfig(steps=24),
        "paper": PlainConfig(steps=48),
    }

    def __init__(self, config: PlainConfig) -> None:
        super().__init__(config)
        self.critic = nn.Linear(3, 1)
        self.moods = nn.ParameterDict({"warm": torch.zeros(3), "cold": torch.zeros(3)})

    def stages(self) -> tuple[Stage, ...]:
        fast = Optimiser(learning_rate=0.02, betas=(0.0, 0.99))
        players = (
            Player(
                "generator",
                ("colour.*",),
                {"fool": 0.01, "colour": Ramp(((0, 1.0), (10, 0.5)))},
                fast,
                clip=1.0,
                ema=0.9,
            ),
            Player("critic", ("critic.*",), {"judge": 1.0}, Optimiser("adamw", 0.02)),
            Player("penalty", ("critic.*",), {"flat": 0.1}, Optimiser("adamw", 0.01), when=Every(4)),
            Player("warm", ("moods.warm",), {"mood": 1.0}, Optimiser("sgd", 0.1, momentum=0.5), when=OneOf("mood")),
            Player("cold", ("moods.cold",), {"mood": 1.0}, Optimiser("sgd", 0.1, momentum=0.5), when=OneOf("mood")),
        )
        return (Stage("duel", self.config.steps, players, Sampler(2, self.config.size_px)),)

    def losses(self, batch: Batch, stage: Stage, player: Player) -> dict[str, Tensor]:
        fake = self.render(batch.channels, batch.view, batch.scene).rgb.mean((2, 3))
        real = batch.image.mean((2, 3))
        if player.name == "generator":
            return {"fool": F.softplus(-self.critic(fake)).mean(), "colour": (fake - real).abs().mean()}
        if player.name == "critic":
            return {"judge": (F.softplus(self.critic(fake)) + F.softplus(-self.critic(real))).mean()}
        if player.name == "penalty":
            return {"flat": self.critic.weight.square().sum()}
        return {"mood": (self.moods[player.name] - real).square().mean()}
