"""One folder a user may delete at any time: what is costly to derive from installed files is kept there."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor


def cache_folder() -> Path:
    """Where derived tables live: `HEADSTUDIO_CACHE`, or the place this operating system has for caches."""
    chosen = os.environ.get("HEADSTUDIO_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "headstudio" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "headstudio"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headstudio"


def cached_tensors(
    name: str, build: Callable[[], Mapping[str, Tensor]], folder: Path | None = None
) -> dict[str, Tensor]:
    """The tensors stored under `name`, built and stored where they are absent or damaged.

    Args:
        name: file name without suffix; it must change whenever what `build` returns would change.
        build: makes the tensors. A cache that cannot be written is no error: the tables are only not kept.
        folder: where they are kept; `cache_folder()` when not given.
    """
    path = (cache_folder() if folder is None else folder) / f"{name}.safetensors"
    found = _read(path)
    if found is not None:
        return found
    built = {key: value.detach().cpu().contiguous() for key, value in build().items()}
    with contextlib.suppress(OSError):
        _write(path, built)
    return built


def _read(path: Path) -> dict[str, Tensor] | None:
    # Read whole instead of memory-mapped: Windows refuses to replace a file that is mapped.
    try:
        tensors = load(path.read_bytes())
    except (OSError, SafetensorError, ValueError):
        return None
    damaged = any(value.is_floating_point() and not torch.isfinite(value).all() for value in tensors.values())
    return None if damaged else tensors


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, building = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(save(tensors))
        Path(building).replace(path)
    except BaseException:
        Path(building).unlink(missing_ok=True)
        raise
