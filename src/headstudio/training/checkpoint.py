"""A training run on disk: tensors and plain numbers, replaced whole, from which it goes on to the same result."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headstudio import storage
from headstudio.errors import HeadstudioError

SCHEMA, VERSION = "headstudio.training", 1


@dataclass
class Progress:
    """Where a run stands."""

    stage: int = 0
    """Index of the current stage."""
    step: int = 0
    """Steps done in it."""
    elapsed_s: float = 0.0
    """Training seconds of all sessions."""
    smoothed: dict[str, float] = field(default_factory=dict)
    """Smoothed total loss by player, for the guards."""
    best: float | None = None
    """Best smoothed loss of the stage, for the plateau stop."""
    best_step: int = 0
    skipped: int = 0
    """Steps dropped by the collapse guard."""


def replace_tensors(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a module these tensors, whatever shapes it had: a stage may have changed them."""
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    unknown, missing = sorted(tensors.keys() - own.keys()), sorted(module.state_dict().keys() - tensors.keys())
    if unknown or missing:
        names = ", ".join((unknown + missing)[:4])
        raise HeadstudioError(
            f"the weights do not fit this version of the method: {names}", next_step="train again or update headstudio"
        )
    for name, tensor in tensors.items():
        owner_name, _, leaf = name.rpartition(".")
        owner = module.get_submodule(owner_name)
        # A copy, because a file's tensors lie at any address and the last bit of some products depends on it.
        placed = tensor.to(own[name].device, copy=True)
        if leaf in owner._parameters:
            owner._parameters[leaf] = nn.Parameter(placed, requires_grad=own[name].requires_grad)
        else:
            owner._buffers[leaf] = placed


def save(folder: Path, tensors: Mapping[str, Tensor], progress: Progress, extra: Mapping[str, Any]) -> None:
    """Replace the checkpoint of a run."""
    with storage.replacing_folder(folder / "checkpoint") as building:
        storage.write_tensors(building / "tensors.safetensors", tensors)
        content = {"progress": dataclasses.asdict(progress), **extra}
        storage.write_json(building / "training.json", SCHEMA, VERSION, content)


def load(folder: Path) -> tuple[dict[str, Tensor], Progress, dict[str, Any]] | None:
    """The checkpoint of a run, or None when it has none."""
    where = folder / "checkpoint" / "training.json"
    if not where.exists():
        return None
    content = storage.read_json(where, SCHEMA, VERSION)
    try:
        progress = Progress(**content.pop("progress"))
    except (KeyError, TypeError) as error:
        raise HeadstudioError(
            f"the checkpoint is damaged: {error}", where=where, next_step="delete the training folder and train again"
        ) from None
    return storage.read_tensors(where.with_name("tensors.safetensors")), progress, content


def pack_optimiser(
    prefix: str, optimiser: torch.optim.Optimizer, names: Mapping[nn.Parameter, str]
) -> dict[str, Tensor]:
    """The tensors of an optimiser under the names of its parameters."""
    return {
        f"{prefix}/{name}/{key}": value
        for parameter, name in names.items()
        for key, value in optimiser.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def unpack_optimiser(
    prefix: str, optimiser: torch.optim.Optimizer, names: Mapping[nn.Parameter, str], tensors: Mapping[str, Tensor]
) -> None:
    """Give an optimiser back what `pack_optimiser` saved."""
    for parameter, name in names.items():
        start = f"{prefix}/{name}/"
        entry = {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}
        if entry:
            optimiser.state[parameter] = {
                key: value if key == "step" else value.to(parameter.device) for key, value in entry.items()
            }
