"""Where feature weights come from: an explicit file, a folder, torch's cache or, when asked, a checked download."""

import hashlib
import os
import pickle
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.nn.extractors import CAFFE, KINDS, TORCHVISION, Extractor, ExtractorKind

ENVIRONMENT = "HEADSTUDIO_WEIGHTS"
"""Environment variable with a folder of weight files."""

PUBLISHED: Mapping[ExtractorKind, str] = {
    "vgg19": "vgg19-dcbb9e9d.pth",
    "vgg16": "vgg16-397923af.pth",
    "alexnet": "alexnet-owt-7be5be79.pth",
    "squeezenet1.1": "squeezenet1_1-b8a52dc0.pth",
}
"""torchvision's files; the digits before the suffix are the first eight of the file's SHA-256."""
_KERAS_PORT = "squeezenet1_1_features.safetensors"
_URL = "https://download.pytorch.org/models/"
_CHUNK_BYTES = 1 << 20


def load_extractor(kind: ExtractorKind | str, path: Path | str | None = None, download: bool = False) -> Extractor:
    """A frozen feature network with its weights.

    Args:
        kind: the architecture.
        path: a weight file (`.pth` state dict or `.safetensors`); otherwise the folder in HEADSTUDIO_WEIGHTS and
            torch's hub cache are searched.
        download: fetch torchvision's file into the hub cache when nothing is found.

    Raises:
        HeadstudioError: no weights, or a file that does not fit.
    """
    if kind not in KINDS:
        raise HeadstudioError(f"unknown feature network {kind!r}", next_step=f"choose one of {', '.join(KINDS)}")
    file = Path(path) if path is not None else find_weights(kind)
    if file is None and download:
        file = _download(kind)
    if file is None:
        raise HeadstudioError(
            f"no weights for {kind} on this machine",
            next_step=f"put {PUBLISHED[kind]} into the folder named by {ENVIRONMENT}, or allow the download",
        )
    return _load(kind, file)


def find_weights(kind: ExtractorKind) -> Path | None:
    """The first weight file of this network in HEADSTUDIO_WEIGHTS or torch's hub cache, if there is one."""
    names = [PUBLISHED[kind]] + ([_KERAS_PORT] if kind == "squeezenet1.1" else [])
    return next((file for name in names if (file := find_file(name)) is not None), None)


def find_file(name: str) -> Path | None:
    """A file of this name in HEADSTUDIO_WEIGHTS or torch's hub cache, if there is one."""
    folder = os.environ.get(ENVIRONMENT)
    folders = ([Path(folder)] if folder else []) + [_cache_folder()]
    return next((base / name for base in folders if (base / name).is_file()), None)


def _cache_folder() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _load(kind: ExtractorKind, file: Path) -> Extractor:
    state = read_state(file)
    keras_port = "conv1.weight" in state
    if keras_port:
        state = _renamed_keras_port(state)
    digest = _sha256(file)
    original = digest.startswith(_published_digits(kind))
    origin = "imagenet" if original else ("keras-port" if keras_port else f"file-{digest[:8]}")
    extractor = Extractor(kind, f"{kind}-{origin}", CAFFE if keras_port else TORCHVISION, original)
    features = {name: tensor for name, tensor in state.items() if name.startswith("features.")}
    # VGG files go one pooling deeper than the taps, which has no parameters; classifiers are left out.
    try:
        extractor.load_state_dict(features)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise HeadstudioError(
            f"the weights do not fit {kind}: {reason}", where=file, next_step="choose another weight file"
        ) from None
    return extractor.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def read_state(file: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file or of a `.pth` state dict; anything else is refused, nothing is executed."""
    again = "copy or download the file again"
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise HeadstudioError("the weight file is missing", where=file, next_step="check the path") from None
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise HeadstudioError(f"the weight file cannot be read: {reason}", where=file, next_step=again) from None
    if not (isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values())):
        raise HeadstudioError("the weight file is not a state dict", where=file, next_step=again)
    return state


def _renamed_keras_port(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of the original SqueezeNet (conv1, fire2..fire9) to those of the sequence of layers."""
    position = dict(zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True))
    renamed = {}
    for name, tensor in state.items():
        block, _, rest = name.partition(".")
        index = 0 if block == "conv1" else position.get(int(block.removeprefix("fire")), -1)
        renamed[f"features.{index}.{rest.replace('squeeze1x1', 'squeeze')}"] = tensor
    return renamed


def _published_digits(kind: ExtractorKind) -> str:
    return Path(PUBLISHED[kind]).stem.rpartition("-")[2]


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _download(kind: ExtractorKind) -> Path:
    target = _cache_folder() / PUBLISHED[kind]
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    building = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream, urllib.request.urlopen(_URL + target.name, timeout=30) as answer:
            while chunk := answer.read(_CHUNK_BYTES):
                stream.write(chunk)
        if not _sha256(building).startswith(_published_digits(kind)):
            raise HeadstudioError("the downloaded weights are damaged", where=target.name, next_step="try again later")
        building.replace(target)
    except (urllib.error.URLError, OSError) as error:
        raise HeadstudioError(
            f"weights cannot be downloaded: {error}",
            where=_URL + target.name,
            next_step=f"fetch the file by other means into the folder named by {ENVIRONMENT}",
        ) from None
    finally:
        building.unlink(missing_ok=True)
    return target
