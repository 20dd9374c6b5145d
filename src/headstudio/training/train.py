"""From sources to an avatar folder: the library's form of `headstudio train` and `train-driver`."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.progress import Progress
from headstudio.records.avatar import Avatar
from headstudio.training import registry
from headstudio.training.avatars import describe
from headstudio.training.config import to_plain
from headstudio.training.contract import AvatarModel, Driver, Source, Sources, Trainable
from headstudio.training.trainer import Trainer, TrainerConfig


@dataclass(frozen=True)
class Recipe:
    """What to train."""

    kind: registry.Kind
    name: str
    """Registered name."""
    preset: str = "draft"
    config: Any = None
    """The configuration; None takes the preset's."""
    init: Path | None = None
    """An avatar folder of the same method whose weights to start from."""


def train(
    recipe: Recipe,
    sources: Sources,
    output: Path,
    trainer_config: TrainerConfig | None = None,
    avatar: AvatarModel | None = None,
    display: Progress | None = None,
) -> Avatar:
    """Train and write `output`; a run that was stopped goes on from `<output>.training`."""
    output = Path(output)
    trainer_config = trainer_config or TrainerConfig()
    torch.manual_seed(trainer_config.seed)
    model, config = create(recipe, avatar)
    folder = training_folder(output)
    trainer = Trainer(model, sources, folder, trainer_config, display, _initial_weights(recipe))
    trainer.check()
    _same_run(folder, recipe, config, trainer_config, sources)
    started = time.monotonic()
    progress = trainer.run()
    provenance = {
        "seed": trainer_config.seed,
        "training_s": round(progress.elapsed_s, 1),
        "last_session_s": round(time.monotonic() - started, 1),
        "dropped_steps": progress.skipped,
    }
    record = describe(model.cpu().eval(), recipe.name, recipe.preset, sources, provenance)
    record.save(output)
    return record


def create(recipe: Recipe, avatar: AvatarModel | None = None) -> tuple[Trainable, Any]:
    """The untrained model of a recipe and its configuration."""
    cls = registry.find(recipe.kind, recipe.name)
    if recipe.config is None and recipe.preset not in cls.presets:
        known = ", ".join(cls.presets)
        raise HeadstudioError(f"{recipe.name} has no preset {recipe.preset}", next_step=f"choose one of: {known}")
    config = cls.presets[recipe.preset] if recipe.config is None else recipe.config
    model = cls(config)
    if isinstance(model, Driver):
        if avatar is None:
            raise HeadstudioError(f"{recipe.name} drives an avatar", next_step="name the avatar")
        model.bind(avatar)
    return model, config


def training_folder(output: Path) -> Path:
    """Where the checkpoint and the journal of a run lie."""
    return output.with_name(output.name + ".training")


def _initial_weights(recipe: Recipe) -> Mapping[str, Tensor]:
    if recipe.init is None:
        return {}
    record = Avatar.load(recipe.init)
    if (record.kind, record.name) != (recipe.kind, recipe.name):
        raise HeadstudioError(
            f"cannot start {recipe.name} from the weights of {record.name}",
            where=recipe.init,
            next_step="name an avatar of the same method",
        )
    return record.weights


def _key(source: Source) -> str:
    return source.key if source.scan is None else f"{source.key} {source.scan.capture_identifier}"


def _same_run(folder: Path, recipe: Recipe, config: Any, trainer_config: TrainerConfig, sources: Sources) -> None:
    run = {
        "kind": recipe.kind,
        "name": recipe.name,
        "config": to_plain(config),
        "seed": trainer_config.seed,
        "sources": {role: [_key(source) for source in listed] for role, listed in sources.items()},
    }
    where = folder / "run.json"
    if where.exists() and (folder / "checkpoint").exists():  # what ended before its first step is nothing to go on with
        found = storage.read_json(where, "headstudio.run", 1)
        differing = sorted(key for key in run if json.loads(json.dumps(run[key])) != found.get(key))
        if differing:
            raise HeadstudioError(
                f"an unfinished training with another {', '.join(differing)} lies here",
                where=folder,
                next_step="delete that folder or choose another output",
            )
    storage.write_json(where, "headstudio.run", 1, run)
