"""`Avatar`: a trained head (or driver, or encoder) on disk, with what one must know before using it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.records.channels import Channel

SCHEMA, VERSION = "headstudio.avatar", 1


@dataclass(frozen=True)
class AtRest:
    """The person at rest before the camera that filmed them: what another's performance is carried over to."""

    channels: Mapping[Channel, Tensor]
    """The signals of the neutral frame, without a frame dimension."""
    K_px: Float[Tensor, "3 3"]
    """Intrinsics of that frame."""
    size_px: int
    """Side of the frame, to which `K_px` refers."""
    covered: Mapping[str, tuple[float, float]]
    """What the training frames covered, by ARKit unit and angle (`headstudio.motion.ranges`)."""

    def plain(self) -> dict[str, Any]:
        """The same as dictionaries and lists."""
        return {
            "channels": {str(channel): values.tolist() for channel, values in self.channels.items()},
            "K_px": self.K_px.tolist(),
            "size_px": self.size_px,
            "covered": {name: list(bounds) for name, bounds in self.covered.items()},
        }

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> "AtRest":
        """What `plain` took apart."""
        return cls(
            {Channel.parse(name): torch.tensor(values) for name, values in content["channels"].items()},
            torch.tensor(content["K_px"]),
            int(content["size_px"]),
            {name: (float(low), float(high)) for name, (low, high) in content["covered"].items()},
        )


@dataclass(frozen=True)
class Avatar:
    """The content of an avatar folder."""

    kind: str
    """methods, drivers or encoders: the registry the name belongs to."""
    name: str
    """Registered name of the method."""
    preset: str
    config: Mapping[str, Any]
    """The method's configuration as plain data."""
    state: Mapping[str, Any]
    """Plain data the method needs beside its weights."""
    weights: Mapping[str, Tensor]
    identifier: str
    """Follows from the weights; names the avatar's latent space."""
    at_rest: AtRest | None = None
    """Where driving starts from; None for drivers and encoders."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What it was made from and with: source hashes, versions, seeds, steps, seconds."""
    notes: tuple[str, ...] = ()
    """The method's own remarks for the model card."""

    def save(self, path: Path) -> None:
        """Write the avatar folder."""
        with storage.replacing_folder(path) as folder:
            storage.write_tensors(folder / "weights.safetensors", self.weights)
            content = {key: value for key, value in vars(self).items() if key != "weights"}
            content["at_rest"] = None if self.at_rest is None else self.at_rest.plain()
            storage.write_json(folder / "avatar.json", SCHEMA, VERSION, content)

    @classmethod
    def load(cls, path: Path | str) -> "Avatar":
        """Read an avatar folder; its weights are checked against its identifier by whoever builds the model."""
        where = Path(path) / "avatar.json"
        content = storage.read_json(where, SCHEMA, VERSION)
        weights = storage.read_tensors(where.with_name("weights.safetensors"))
        kinds = {"kind": str, "name": str, "preset": str, "config": dict, "state": dict, "identifier": str}
        checked = {key: storage.field(content, key, kind, where) for key, kind in kinds.items()}
        try:
            return cls(
                weights=weights,
                at_rest=None if content["at_rest"] is None else AtRest.from_plain(content["at_rest"]),
                provenance=dict(content["provenance"]),
                notes=tuple(content["notes"]),
                **checked,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise HeadstudioError(f"the avatar is damaged: {error}", where=where, next_step="train it again") from None
