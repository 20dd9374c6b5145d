"""The driver: features of a moving window become what one avatar is told."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from headstudio.drivers.sequence.config import PRESETS, SequenceConfig
from headstudio.drivers.sequence.features import Features
from headstudio.drivers.sequence.networks import AnimationNetwork, ResidualNetwork, with_residual
from headstudio.drivers.sequence.targets import Target
from headstudio.errors import HeadstudioError
from headstudio.motion.neutral import find_neutral
from headstudio.nn.whitening import Whitening
from headstudio.records.channels import ARKIT, Channel, Channels
from headstudio.training.batches import usable_training_frames
from headstudio.training.contract import TARGET, AvatarModel, Batch, Driver, Source, Sources, State
from headstudio.training.stages import Optimiser, Player, Ramp, Sampler, Stage

FEATURES = Channel("features", "sequence", "code")
CODES = Channel("codes", "sequence", "code")
_FLAT = 0.01
"""Deviations below this share of the largest are taken for it: what does not vary in training says nothing later."""


class SequenceDriver(Driver):
    """Paper 3, section 5: an LSTM from person-independent features to the parameters of one person's head.

    It learns from films of that person alone; whoever drives later is known by the features only.
    """

    Config = SequenceConfig
    presets: ClassVar[Mapping[str, Any]] = PRESETS
    roles = frozenset({TARGET})
    consumes = frozenset({ARKIT})

    feature_mean: Tensor
    feature_deviation: Tensor
    feature_rest: Tensor
    rest: Tensor

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__(config)
        if config.window < 1 or config.width < 1 or config.residual < 0:
            raise HeadstudioError(
                f"no network has window {config.window}, width {config.width} and residual {config.residual}",
                next_step="give window and width at least 1, residual at least 0",
            )
        self.context = config.window
        self.features = Features(config.features)
        self.consumes = self.features.consumes

    def bind(self, avatar: AvatarModel) -> None:
        self._target = Target(avatar, self.config.target)

    @property
    def produces(self) -> frozenset[Channel]:
        return frozenset(self._target.channels)

    def setup(self, sources: Sources) -> None:
        self.features.find(self.config.features)
        self.consumes = self.features.consumes
        features, codes = [], []
        for source in sources[TARGET]:
            said, frames = self.signals(source), usable_training_frames(source)
            for channel, found in ((FEATURES, features), (CODES, codes)):
                found.append(_finite(said[channel][frames], channel, source))
        self._allocate(features[0].shape[1])
        seen, wanted = torch.cat(features), torch.cat(codes)
        deviation = seen.std(0, unbiased=False)
        self.feature_mean.copy_(seen.mean(0))
        self.feature_deviation.copy_(deviation.clamp_min(_FLAT * float(deviation.amax())))
        self.rest.copy_(wanted.mean(0))
        if self.config.features.relative:
            self.feature_rest.copy_(torch.stack([self._at_rest(source) for source in sources[TARGET]]).mean(0))
        if self.config.whiten:
            self.whitening.fit(wanted)

    def signals(self, source: Source) -> dict[Channel, Tensor]:
        return {FEATURES: self.features.of(source), CODES: self._target.of(source)}

    def stages(self) -> tuple[Stage, ...]:
        config = self.config
        player = Player(
            "animation",
            ("network.*", *(("residual.*",) if config.residual else ())),
            {"codes": 1.0},
            Optimiser(learning_rate=config.learning_rate),
            schedule=Ramp(((0, 1.0), (config.steps, config.last_rate)), geometric=True),
        )
        sampler = Sampler(config.batch_size, window=config.window, images=False)
        return (Stage("animation", config.steps, (player,), sampler),)

    def losses(self, batch: Batch, stage: Stage, player: Player) -> dict[str, Tensor]:
        features = self._windows(self._standard(batch.channels[FEATURES]))
        codes = self._windows(self.whitening.white(batch.channels[CODES]))
        said = self.network(with_residual(features, self._residual(codes)))
        return {"codes": (said - codes).square().mean()}

    def state(self) -> dict[str, Any]:
        return {
            "says": self._target.state(),
            "width": len(self.feature_mean),
            "features": self.features.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._target.restore(state["says"])
        self.features.restore(state["features"])
        self.consumes = self.features.consumes
        self._allocate(int(state["width"]))

    def notes(self) -> tuple[str, ...]:
        return (
            f"It answers to each frame at once, from that frame and the {self.config.window - 1} before it.",
            f"It reads {', '.join(sorted(map(str, self.consumes)))}.",
        )

    def start(self, batch: int) -> State:
        rest = self.rest.expand(batch, -1)
        window = rest.new_zeros(batch, self.config.window, len(self.feature_mean))
        return {
            "window": window,
            "begun": rest.new_zeros(batch, 1, dtype=torch.bool),
            "last": rest,
            "actor": self.feature_rest.expand(batch, -1),
        }

    @torch.no_grad()
    def introduce(self, rest: Channels, state: State) -> State:
        if not self.config.features.relative:
            return state
        features = self.features(rest).to(self.rest)
        return {**state, "actor": torch.where(self.features.found(features), features, state["actor"])}

    @torch.no_grad()
    def step(self, channels: Channels, state: State) -> tuple[dict[Channel, Tensor], State]:
        features = self.features(channels).to(self.rest)
        found = self.features.found(features)
        shifted = features - state["actor"] + self.feature_rest
        now = self._standard(torch.where(found, shifted, self.feature_mean))[:, None]
        # The first face stands for all that was before it.
        before = torch.where(state["begun"][:, :, None], state["window"], now)
        window = torch.cat([before[:, 1:], now], dim=1)
        codes = self.whitening.natural(self._said(window)[:, -1])
        # Without a face there is no expression: the last one stays.
        codes = torch.where(found, codes, state["last"])
        window = torch.where(found[:, :, None], window, state["window"])
        said = self._target.channels_of(codes)
        return said, {**state, "window": window, "begun": state["begun"] | found, "last": codes}

    def _at_rest(self, source: Source) -> Tensor:
        return self.features.of(source)[find_neutral(source.motion, usable_training_frames(source)).frame]

    def _said(self, features: Tensor) -> Tensor:
        return self.network(with_residual(features, features.new_zeros(len(features), self.config.residual)))

    def _residual(self, codes: Tensor) -> Tensor:
        """Of the codes that are to be said, in training; zero afterwards."""
        if self.training and self.config.residual:
            return self.residual(codes)
        return codes.new_zeros(len(codes), self.config.residual)

    def _windows(self, rows: Tensor) -> Tensor:
        return rows.unflatten(0, (-1, self.config.window))

    def _standard(self, features: Tensor) -> Tensor:
        return (features - self.feature_mean) / self.feature_deviation

    def _allocate(self, features: int) -> None:
        config, codes = self.config, self._target.width
        self.register_buffer("feature_mean", torch.zeros(features))
        self.register_buffer("feature_deviation", torch.ones(features))
        self.register_buffer("feature_rest", torch.zeros(features))
        self.register_buffer("rest", torch.zeros(codes))
        self.whitening = Whitening(codes)
        self.network = AnimationNetwork(config.network, features + config.residual, codes, config.width)
        if config.residual:
            self.residual = ResidualNetwork(codes, config.residual)


def _finite(rows: Tensor, channel: Channel, source: Source) -> Tensor:
    if not torch.isfinite(rows).all():
        raise HeadstudioError(
            f"the {channel.name} of this capture are not all numbers",
            where=source.capture.path,
            next_step="track it again",
        )
    return rows
