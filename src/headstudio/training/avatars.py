"""Between a trained model and its folder: everything needed to use it travels along, nothing executes on load."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import headstudio
from headstudio.errors import HeadstudioError
from headstudio.motion.neutral import find_neutral
from headstudio.motion.ranges import training_range
from headstudio.records.avatar import AtRest, Avatar
from headstudio.training import checkpoint, registry
from headstudio.training.batches import usable_training_frames
from headstudio.training.config import from_plain, to_plain
from headstudio.training.contract import TARGET, AvatarModel, Driver, Source, Sources, Trainable


def describe(
    model: Trainable, name: str, preset: str, sources: Sources, provenance: Mapping[str, Any] | None = None
) -> Avatar:
    """The record of a trained model."""
    weights = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
    made_from = {
        role: [
            {
                "file_name": s.capture.views[0].source.file_name,
                "sha256": s.capture.views[0].source.sha256,
                "capture": s.key,
            }
            for s in listed
        ]
        for role, listed in sources.items()
    }
    versions = {"headstudio": headstudio.__version__, "torch": torch.__version__}
    return Avatar(
        kind=registry.kind_of(model),
        name=name,
        preset=preset,
        config=to_plain(model.config),
        state=model.state(),
        weights=weights,
        identifier=_identifier(weights),
        at_rest=_at_rest(sources[TARGET][0]) if isinstance(model, AvatarModel) else None,
        provenance={"sources": made_from, "versions": versions, **(provenance or {})},
        notes=model.notes(),
    )


def build(avatar: Avatar, drives: AvatarModel | None = None, where: object = None) -> Trainable:
    """The model that a record describes, ready to use. A driver is told the avatar it drives."""
    if _identifier(avatar.weights) != avatar.identifier:
        raise HeadstudioError(
            "the weights are not those that avatar.json describes", where=where, next_step="copy the whole folder again"
        )
    cls = registry.find(avatar.kind, avatar.name)  # type: ignore[arg-type]
    model = cls(from_plain(cls.Config, avatar.config, where))
    if isinstance(model, Driver):
        if drives is None:
            raise HeadstudioError(f"{avatar.name} is a driver", where=where, next_step="name the avatar it drives")
        model.bind(drives)
    model.restore(avatar.state)
    checkpoint.replace_tensors(model, avatar.weights)
    return model.eval().requires_grad_(False)


def load_avatar(path: Path | str) -> AvatarModel:
    """An avatar from its folder."""
    record = Avatar.load(path)
    if record.kind != "methods":
        raise HeadstudioError(f"this folder holds a {record.kind[:-1]}", where=path, next_step="name an avatar folder")
    model = build(record, where=path)
    assert isinstance(model, AvatarModel)
    return model


def load_driver(path: Path | str, avatar: AvatarModel) -> Driver:
    """A driver from its folder, bound to the avatar it was trained for."""
    record = Avatar.load(path)
    if record.kind != "drivers":
        raise HeadstudioError("this folder holds no driver", where=path, next_step="name what train-driver wrote")
    model = build(record, avatar, where=path)
    assert isinstance(model, Driver)
    return model


def _identifier(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _at_rest(source: Source) -> AtRest:
    frames = usable_training_frames(source)
    neutral = find_neutral(source.motion, frames)
    camera = source.track.view(torch.tensor([neutral.frame])).camera
    covered = training_range(source.motion.select(frames))
    return AtRest(neutral.channels, camera.K_px[0], source.track.size_px, covered)
