"""`Motion`: a clock and named channels that can drive an avatar."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.records.channels import Channel

SCHEMA, VERSION = "headstudio.motion", 1


@dataclass(frozen=True)
class Motion:
    """Signals over time. Every channel has one row a time stamp."""

    times_s: Float[Tensor, " frames"]
    """The clock, float64, strictly increasing."""
    channels: Mapping[Channel, Tensor]
    """(frames, ...) tensors by channel."""

    def __post_init__(self) -> None:
        for channel, values in self.channels.items():
            if len(values) != len(self.times_s):
                raise ValueError(f"channel {channel} has {len(values)} rows for {len(self.times_s)} time stamps")

    def __len__(self) -> int:
        return len(self.times_s)

    def at(self, frames: Tensor | slice | range | list[int]) -> dict[Channel, Tensor]:
        """The signals of some frames, batched."""
        index = frames if isinstance(frames, slice | Tensor) else torch.as_tensor(list(frames), dtype=torch.long)
        return {channel: values[index] for channel, values in self.channels.items()}

    def select(self, frames: slice | range | list[int]) -> "Motion":
        """A motion of some of the frames."""
        index = frames if isinstance(frames, slice) else torch.as_tensor(list(frames), dtype=torch.long)
        return Motion(self.times_s[index], self.at(index))

    def with_channels(self, more: Mapping[Channel, Tensor]) -> "Motion":
        """This motion with channels added or replaced."""
        return Motion(self.times_s, {**self.channels, **more})

    def save(self, path: Path) -> None:
        """Write `path`, a folder of motion.json and motion.safetensors."""
        ordered = sorted(self.channels)
        tensors = {f"channel_{i}": self.channels[channel] for i, channel in enumerate(ordered)}
        with storage.replacing_folder(path) as folder:
            storage.write_tensors(folder / "motion.safetensors", {"times_s": self.times_s.double(), **tensors})
            storage.write_json(folder / "motion.json", SCHEMA, VERSION, {"channels": [str(c) for c in ordered]})

    @classmethod
    def load(cls, path: Path | str) -> "Motion":
        """Read what `save` wrote."""
        where = Path(path) / "motion.json"
        names = storage.field(storage.read_json(where, SCHEMA, VERSION), "channels", list, where)
        keys = [f"channel_{i}" for i in range(len(names))]
        tensors = storage.read_tensors(where.with_name("motion.safetensors"), {"times_s", *keys})
        try:
            channels = {Channel.parse(name): tensors[key] for name, key in zip(names, keys, strict=True)}
            return cls(tensors["times_s"], channels)
        except (ValueError, AttributeError) as error:
            raise HeadstudioError(f"the motion is damaged: {error}", where=where, next_step="make it again") from None
