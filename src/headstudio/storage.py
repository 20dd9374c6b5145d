"""How every record is stored: JSON with a schema version beside safetensors, in a folder that is replaced whole.

Nothing that is read here can execute, and nothing that is written here is ever seen half done: a folder is built
beside its final place and renamed into it.
"""

import contextlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from headstudio.errors import HeadstudioError


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `path` when the block succeeds, and vanishes when it fails."""
    path = Path(path)
    with _explained("cannot write the folder", path):
        # Not mkdtemp, whose folders nobody but their maker may read: the record keeps the permissions of new folders.
        building = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        building.mkdir(parents=True)
    try:
        with _explained("cannot write the folder", path):
            yield building
            _swap(building, path)
    finally:
        shutil.rmtree(building, ignore_errors=True)


@contextlib.contextmanager
def resuming_folder(building: Path, path: Path) -> Iterator[Path]:
    """Yield a folder of a fixed name beside `path` that takes its place when the block succeeds, and else stays.

    For long work in many files: whoever runs it again finds in `building` what is done. The caller writes single files
    atomically and puts into the folder's name whatever decides the content.
    """
    with _explained("cannot write the folder", path):
        building.mkdir(parents=True, exist_ok=True)
        yield building
        _swap(building, path)


@contextlib.contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` that takes its place when the block succeeds."""
    path = Path(path)
    building = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")
    try:
        with _explained("cannot write the file", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield building
            building.replace(path)
    finally:
        with contextlib.suppress(OSError):
            building.unlink(missing_ok=True)


def write_json(path: Path, schema: str, version: int, content: Mapping[str, Any]) -> None:
    """Write a JSON record with its schema name and version, atomically."""
    with replacing_file(path) as building:
        text = json.dumps({"schema": schema, "schema_version": version, **content}, indent=2, allow_nan=False)
        building.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, schema: str, version: int) -> dict[str, Any]:
    """Read a JSON record and check that this version of the program understands it."""
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HeadstudioError(f"no {schema} here", where=path, next_step="check the path or make it again") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise HeadstudioError(f"{schema} cannot be read: {error}", where=path, next_step="make it again") from None
    if not isinstance(content, dict) or content.get("schema") != schema:
        raise HeadstudioError(f"this file is not a {schema}", where=path, next_step="check the path")
    found = content.get("schema_version")
    if not isinstance(found, int):
        raise HeadstudioError(f"{schema} has no schema version", where=path, next_step="make it again")
    if found > version:
        raise HeadstudioError(
            f"{schema} has schema version {found}, this program reads up to {version}",
            where=path,
            next_step="update headstudio",
        )
    return content


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors as safetensors, atomically."""
    with replacing_file(path) as building:
        # Cloned, because safetensors refuses tensors that share memory (views of one table, expanded zeros).
        save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, building)


def read_tensors(path: Path, required: frozenset[str] | set[str] = frozenset()) -> dict[str, Tensor]:
    """Read named tensors and check that the required ones are there and hold numbers only."""
    path = Path(path)
    try:
        tensors = load_file(path)
    except (FileNotFoundError, IsADirectoryError):
        raise HeadstudioError(
            "a file of the record is missing", where=path, next_step="make the record again"
        ) from None
    except (OSError, SafetensorError) as error:
        raise HeadstudioError(f"tensors cannot be read: {error}", where=path, next_step="make it again") from None
    missing = sorted(required - tensors.keys())
    if missing:
        raise HeadstudioError(f"tensors lack {', '.join(missing)}", where=path, next_step="make the record again")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and torch.isinf(tensor).any():
            raise HeadstudioError(f"tensor {name} holds infinite values", where=path, next_step="make the record again")
    return tensors


def field(content: Mapping[str, Any], name: str, kind: type | tuple[type, ...], where: Path) -> Any:
    """A field of a JSON record, checked for presence and type."""
    value = content.get(name)
    if not isinstance(value, kind):
        found = "is missing" if name not in content else f"has the wrong type {type(value).__name__}"
        raise HeadstudioError(f"field {name} {found}", where=where, next_step="make the record again")
    return value


def _swap(building: Path, path: Path) -> None:
    retired = None
    if path.exists():
        retired = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent)) / path.name
        path.replace(retired)
    building.replace(path)
    if retired is not None:
        shutil.rmtree(retired.parent, ignore_errors=True)


@contextlib.contextmanager
def _explained(what: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise HeadstudioError(
            f"{what}: {reason}", where=path, next_step="free some space or choose another place, and run again"
        ) from error
