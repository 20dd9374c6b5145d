"""What a user's network expects and what its answers mean: a JSON beside it, `MODEL.json` for `MODEL.onnx`.

    {"schema": "headstudio.estimator", "schema_version": 1,
     "mean": [0.485, 0.456, 0.406], "deviation": [0.229, 0.224, 0.225], "bgr": false, "size_px": 512,
     "labels": ["background", "skin", "skin", "eyes", "hair", "cloth"],
     "axes": ["x", "-y", "-z"], "output": "features", "margin": 1.25}

All fields may be left out. `labels` names, for each class of a parser in its order, one of background, skin, neck,
ears, eyes, mouth, hair, cloth and unknown. `axes` names, for a network or a folder of normals, which of its channels
(x, y, z for the first, second, third; with a minus sign where it points the other way) are the camera's right, down
and forward. `output` names the output to read of an ONNX file that has several. `margin` is, for a network that sees a
face alone, the side of its square over that of the face from brows to chin.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from headstudio import storage
from headstudio.capture.providers import PictureTerms
from headstudio.errors import HeadstudioError
from headstudio.heads.parsing import Label

SCHEMA, VERSION = "headstudio.estimator", 1

_CELEBAMASK = (
    "background", "skin", "skin", "skin", "eyes", "eyes", "skin", "ears", "ears", "ears", "skin", "mouth", "skin",
    "skin", "neck", "neck", "cloth", "hair", "hair",
)  # fmt: skip
"""The order that most parsers trained on CelebAMask-HQ have (face-parsing.PyTorch's README): background, skin, two
brows, two eyes, glasses, two ears, earring, nose, mouth, two lips, neck, necklace, cloth, hair, hat. What is worn on
the head counts as what it lies on, a hat as hair, as in the code of Grassal et al. 2022."""
_FIELDS = ("schema", "schema_version", "mean", "deviation", "bgr", "size_px", "labels", "axes", "output", "margin")
_AXES = ("x", "y", "z")
_LARGEST_SIDE_PX = 4096


@dataclass(frozen=True)
class Axes:
    """Which channels of an answer are the camera's axes."""

    channels: tuple[int, int, int] = (0, 1, 2)
    signs: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def in_camera(self, normals: np.ndarray) -> np.ndarray:
        """(..., 3) in camera axes."""
        return normals[..., list(self.channels)] * np.array(self.signs, np.float32)


@dataclass(frozen=True)
class EstimatorTerms:
    """The contract of one estimator."""

    picture: PictureTerms = field(default_factory=PictureTerms)
    labels: tuple[Label, ...] = tuple(Label[name.upper()] for name in _CELEBAMASK)
    axes: Axes = field(default_factory=Axes)
    output: str | None = None
    """Name of the output to read; None takes the first."""
    margin: float = 1.25
    """Side of the square around a face over that of the face (1.25 in DECA's code)."""


def terms_beside(path: Path) -> EstimatorTerms:
    """The terms of a model or a folder of pictures, from the JSON beside it; the defaults where there is none."""
    where = path.with_suffix(".json")
    if not where.is_file():
        return EstimatorTerms()
    content = storage.read_json(where, SCHEMA, VERSION)
    strangers = sorted(content.keys() - set(_FIELDS))
    if strangers:
        _refuse(f"an estimator has no field {strangers[0]}", where)
    usual = PictureTerms()
    picture = PictureTerms(
        mean=_three(content, "mean", usual.mean, where),
        deviation=_three(content, "deviation", usual.deviation, where),
        bgr=_flag(content, where),
        size_px=_size(content, usual.size_px, where),
    )
    if min(picture.deviation) <= 0:
        _refuse("a deviation must be positive", where)
    labels = _labels(content["labels"], where) if "labels" in content else EstimatorTerms().labels
    axes = _axes(content["axes"], where) if "axes" in content else Axes()
    return EstimatorTerms(picture, labels, axes, _output(content, where), _margin(content, where))


def _three(content: dict[str, Any], name: str, usual: tuple[float, float, float], where: Path) -> Any:
    values = content.get(name, usual)
    fine = isinstance(values, list | tuple) and len(values) == 3
    if not fine or not all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e4 for v in values):
        _refuse(f"{name} must be three numbers for colours in [0, 1]", where)
    return tuple(float(value) for value in values)


def _flag(content: dict[str, Any], where: Path) -> bool:
    value = content.get("bgr", False)
    if not isinstance(value, bool):
        _refuse("bgr must be true or false", where)
    return value


def _size(content: dict[str, Any], usual: int, where: Path) -> int:
    value = content.get("size_px", usual)
    if not isinstance(value, int) or isinstance(value, bool) or not 16 <= value <= _LARGEST_SIDE_PX:
        _refuse(f"size_px must be a whole number from 16 to {_LARGEST_SIDE_PX}", where)
    return value


def _output(content: dict[str, Any], where: Path) -> str | None:
    value = content.get("output")
    if value is not None and not isinstance(value, str):
        _refuse("output must be the name of an output", where)
    return value


def _margin(content: dict[str, Any], where: Path) -> float:
    value = content.get("margin", EstimatorTerms.margin)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0.5 <= value <= 4:
        _refuse("margin must be a number from 0.5 to 4", where)
    return float(value)


def _labels(names: Any, where: Path) -> tuple[Label, ...]:
    known = {label.name.lower(): label for label in Label}
    if not isinstance(names, list) or not names:
        _refuse("labels must be a list with a name for each class", where)
    for name in names:
        if not isinstance(name, str) or name not in known:
            _refuse(f"there is no label {name!r}: choose among {', '.join(known)}", where)
    return tuple(known[name] for name in names)


def _axes(names: Any, where: Path) -> Axes:
    plain = [name.removeprefix("-") for name in names] if _are_texts(names) else []
    if sorted(plain) != sorted(_AXES):
        _refuse('axes must name x, y and z once each, such as ["x", "-y", "-z"]', where)
    signs = tuple(-1.0 if name.startswith("-") else 1.0 for name in names)
    return Axes(tuple(_AXES.index(name) for name in plain), signs)  # type: ignore[arg-type]


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _refuse(what: str, where: Path) -> NoReturn:
    raise HeadstudioError(what, where=where, next_step="correct the JSON beside the model")
