"""What the driver reads: channels of the actor become one row of numbers a frame."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from headstudio.drivers.sequence.config import FeatureConfig
from headstudio.errors import HeadstudioError
from headstudio.records.avatar import Avatar
from headstudio.records.channels import ARKIT, BLENDSHAPES, Channel, Channels, to_device
from headstudio.training import registry
from headstudio.training.avatars import build
from headstudio.training.config import from_plain
from headstudio.training.contract import Encoder, Source

_AT_ONCE = 32


class Features(nn.Module):
    """One kind of features. An encoder that is needed for it lies inside, frozen."""

    encoder: Encoder | None

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.kind = config.kind
        self.encoder = None
        usual = {"tracked": ARKIT, "blendshapes": BLENDSHAPES}.get(config.kind)
        self.consumes = frozenset({usual} if usual else ())
        self._told: dict[str, Any] = {}

    def find(self, config: FeatureConfig) -> None:
        """Open what the features come from, before training."""
        if config.kind == "network":
            from headstudio.capture.feature_network import network_channel

            self.consumes = frozenset({network_channel()})
        elif config.kind in ("encoder", "encoder_weights"):
            record = _encoder_record(config.path)
            self._told = {"name": record.name, "config": dict(record.config), "state": dict(record.state)}
            self._take(build(record, where=config.path))

    def state(self) -> dict[str, Any]:
        """Plain data that `restore` needs."""
        return {"reads": sorted(str(channel) for channel in self.consumes), "encoder": self._told}

    def restore(self, state: Mapping[str, Any]) -> None:
        """What `find` made, without its file; an encoder's tensors follow."""
        self.consumes = frozenset(Channel.parse(name) for name in state["reads"])
        self._told = dict(state["encoder"])
        if self._told:
            cls = registry.find("encoders", self._told["name"])
            encoder = cls(from_plain(cls.Config, self._told["config"]))
            encoder.restore(self._told["state"])
            self._take(encoder)

    def _take(self, encoder: nn.Module) -> None:
        assert isinstance(encoder, Encoder)
        self.encoder = encoder.eval().requires_grad_(False)
        self.consumes = frozenset(encoder.consumes)
        if self.kind == "encoder_weights" and ARKIT not in encoder.produces:
            raise HeadstudioError("this encoder says no ARKit weights", next_step="set features.kind=encoder")

    def train(self, mode: bool = True) -> "Features":
        """An encoder that is read does not learn."""
        super().train(mode)
        if self.encoder is not None:
            self.encoder.eval()
        return self

    @torch.no_grad()
    def forward(self, channels: Channels) -> Float[Tensor, "batch features"]:
        """The features of some frames."""
        if self.encoder is None:
            (channel,) = self.consumes
            return channels[channel].flatten(1).float()
        said = self.encoder.encode({channel: channels[channel] for channel in self.consumes})
        wanted = {ARKIT} if self.kind == "encoder_weights" else said.keys() - {ARKIT}
        return torch.cat([said[channel].flatten(1) for channel in sorted(wanted)], dim=1)

    def found(self, features: Float[Tensor, "batch features"]) -> Bool[Tensor, "batch 1"]:
        """Whether a frame says anything: what is read off pictures is all 0 without a face."""
        finite = torch.isfinite(features).all(1, keepdim=True)
        return finite if self.kind == "tracked" else finite & (features != 0).any(1, keepdim=True)

    def of(self, source: Source) -> Float[Tensor, "frames features"]:
        """The features of every frame of a performance; a frame without a face has those of the one before it."""
        motion = source.motion_with(self.consumes)
        device = next((p.device for p in self.parameters()), torch.device("cpu"))
        rows = torch.cat(
            [
                self(to_device(motion.at(range(start, min(start + _AT_ONCE, len(motion)))), device)).cpu()
                for start in range(0, len(motion), _AT_ONCE)
            ]
        )
        found = self.found(rows)[:, 0]
        if not found.any():
            raise HeadstudioError(
                "no frame of this capture has a face with features",
                where=source.capture.path,
                next_step="look at its pre-flight report",
            )
        known = found.nonzero()[:, 0]
        last = torch.searchsorted(known, torch.arange(len(rows)), right=True) - 1
        return rows[known[last.clamp_min(0)]]


def _encoder_record(path: str) -> Avatar:
    if not path:
        raise HeadstudioError(
            "these features need an encoder",
            next_step="make one with `headstudio train-encoder`, then --set features.path=ENCODER",
        )
    record = Avatar.load(Path(path))
    if record.kind != "encoders":
        raise HeadstudioError(
            f"this folder holds a {record.kind[:-1]}", where=path, next_step="name what train-encoder wrote"
        )
    return record
