"""The encoder `face-expression`: aligned crop and landmarks of any face to features, and to ARKit weights."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from headstudio.capture.face_signals import face_signals
from headstudio.encoders.expression.augmentation import augmented_crops, augmented_landmarks, hidden_branches
from headstudio.encoders.expression.config import PRESETS, ExpressionConfig
from headstudio.encoders.expression.network import ExpressionNetwork
from headstudio.records.capture import Annotation
from headstudio.records.channels import ARKIT, FACE_CROP, FACE_LANDMARKS, Channel, Channels
from headstudio.training.batches import usable_training_frames
from headstudio.training.contract import TARGET, Batch, Encoder, Source, Sources
from headstudio.training.stages import Optimiser, Player, Ramp, Sampler, Stage

EXPRESSION_FEATURES = Channel("expression_features", "headstudio", "code")
"""(..., features): what the layer before the weights says of a face; all 0 where there is none."""


class ExpressionEncoder(Encoder):
    """Learns from the tracks of its sources, which should be many people's: what is true of one face only is noise."""

    Config = ExpressionConfig
    presets: ClassVar[Any] = PRESETS
    needs = frozenset({Annotation.LANDMARKS})
    consumes = frozenset({FACE_CROP, FACE_LANDMARKS})

    def __init__(self, config: ExpressionConfig) -> None:
        super().__init__(config)
        self.network = ExpressionNetwork(config.width, config.features)

    @property
    def produces(self) -> frozenset[Channel]:
        return frozenset({EXPRESSION_FEATURES, ARKIT})

    def setup(self, sources: Sources) -> None:
        shown = [self.signals(source)[FACE_LANDMARKS][usable_training_frames(source)] for source in sources[TARGET]]
        self.network.get_used_to(torch.cat(shown))

    def signals(self, source: Source) -> dict[Channel, Tensor]:
        return face_signals(source.capture, {FACE_LANDMARKS})

    def stages(self) -> tuple[Stage, ...]:
        config = self.config
        player = Player(
            "encoder",
            ("network.*",),
            {"weights": 1.0},
            Optimiser(learning_rate=config.learning_rate),
            schedule=Ramp(((0, 1.0), (config.steps, config.last_rate)), geometric=True),
            clip=1.0,
        )
        sampler = Sampler(config.batch_size, images=False, face_crops=True)
        return (Stage("expression", config.steps, (player,), sampler),)

    def losses(self, batch: Batch, stage: Stage, player: Player) -> dict[str, Tensor]:
        crops, landmarks, shown = batch.channels[FACE_CROP], batch.channels[FACE_LANDMARKS], None
        if self.training:
            augmentation = self.config.augmentation
            crops = augmented_crops(crops, augmentation)
            landmarks = augmented_landmarks(landmarks, augmentation)
            shown = hidden_branches(len(crops), augmentation.missing, crops)
        weights = self.network.weights(self.network(crops, landmarks, shown))
        return {"weights": (weights - batch.channels[ARKIT]).square().mean()}

    def encode(self, channels: Channels) -> dict[Channel, Tensor]:
        crops = channels[FACE_CROP]
        seen = (crops.flatten(1).amax(1, keepdim=True) > 0).to(crops)
        features = self.network(crops, channels[FACE_LANDMARKS])
        return {EXPRESSION_FEATURES: features * seen, ARKIT: self.network.weights(features).clamp(0, 1) * seen}

    def notes(self) -> tuple[str, ...]:
        return ("What it knows of faces are synthetic people's; see docs/sequence-driver.md for what that is worth.",)
