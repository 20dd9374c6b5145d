"""`Avatar`: a trained head (or driver, or encoder) on disk, with what one must know before using it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.records import storage

SCHEMA, VERSION = "headstudio.avatar", 1


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
    training_range: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = field(default_factory=dict)
    """By channel: 1st and 99th percentile of every component over the training frames."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What it was made from and with: source hashes, versions, seeds, steps, seconds."""
    notes: tuple[str, ...] = ()
    """The method's own remarks for the model card."""

    def save(self, path: Path) -> None:
        """Write the avatar folder."""
        with storage.replacing_folder(path) as folder:
            storage.write_tensors(folder / "weights.safetensors", self.weights)
            content = {key: value for key, value in vars(self).items() if key != "weights"}
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
            ranges = {name: (tuple(low), tuple(high)) for name, (low, high) in content["training_range"].items()}
            return cls(
                weights=weights,
                training_range=ranges,
                provenance=dict(content["provenance"]),
                notes=tuple(content["notes"]),
                **checked,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise HeadstudioError(f"the avatar is damaged: {error}", where=where, next_step="train it again") from None
