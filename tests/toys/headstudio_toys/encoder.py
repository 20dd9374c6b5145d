"""A toy encoder: it squeezes the expression into a code from which the picture's colour can be told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from headstudio.records.channels import ARKIT, Channel, Channels, latent_of
from headstudio.training.contract import Batch, Encoder, Sources
from headstudio.training.stages import Optimiser, Player, Sampler, Stage

SQUEEZED = latent_of("toy-encoder")


@dataclass(frozen=True)
class EncoderConfig:
    """Everything about the toy encoder."""

    steps: int = 12
    """Training steps."""


class EncoderToy(Encoder):
    Config = EncoderConfig
    presets: ClassVar[Mapping[str, Any]] = {
        "draft": EncoderConfig(),
        "standard": EncoderConfig(24),
        "paper": EncoderConfig(48),
    }
    consumes = frozenset({ARKIT})

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.squeeze, self.colour = nn.Linear(52, 4), nn.Linear(4, 3)

    @property
    def produces(self) -> frozenset[Channel]:
        return frozenset({SQUEEZED})

    def setup(self, sources: Sources) -> None:
        assert sources["target"]

    def stages(self) -> tuple[Stage, ...]:
        player = Player("all", ("squeeze.*", "colour.*"), {"colour": 1.0}, Optimiser(learning_rate=0.02))
        return (Stage("squeeze", self.config.steps, (player,), Sampler(batch_size=2, size_px=16)),)

    def losses(self, batch: Batch, stage: Stage, player: Player) -> dict[str, Tensor]:
        assert batch.image is not None
        found = self.colour(self.squeeze(batch.channels[ARKIT]))
        return {"colour": (found - batch.image.mean((2, 3))).abs().mean()}

    def encode(self, channels: Channels) -> dict[Channel, Tensor]:
        return {SQUEEZED: self.squeeze(channels[ARKIT])}
