"""The name of the space that a training's codes live in: codes of another training mean something else."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch

from headstudio.training.config import to_plain
from headstudio.training.contract import Source


def latent_space(method: str, config: Any, sources: Sequence[Source]) -> str:
    """A name that a method with the same configuration, captures and seed gets again, and no other."""
    told = json.dumps([to_plain(config), [source.key for source in sources], torch.initial_seed()])
    return f"{method}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
