"""Feature networks: shapes of every layer, names as published, and each thing that can be wrong with a weight file."""

import hashlib
import pathlib

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from headstudio.errors import HeadstudioError
from headstudio.nn import weights
from headstudio.nn.extractors import CAFFE, KINDS, TORCHVISION, Extractor
from headstudio.nn.weights import load_extractor

_DATA = pathlib.Path(__file__).parents[2].parent / "shared" / "data" / "weights"

# Channels and side of every layer for a 224x224 picture, from the papers' tables.
_VGG_SIDES = {1: (64, 224), 2: (128, 112), 3: (256, 56), 4: (512, 28), 5: (512, 14)}
_SHAPES = {
    "vgg16": {f"relu{b}_{i}": _VGG_SIDES[b] for b, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)},
    "vgg19": {f"relu{b}_{i}": _VGG_SIDES[b] for b, n in enumerate((2, 2, 4, 4, 4), 1) for i in range(1, n + 1)},
    "alexnet": {"relu1": (64, 55), "relu2": (192, 27), "relu3": (384, 13), "relu4": (256, 13), "relu5": (256, 13)},
    "squeezenet1.1": {
        "relu1": (64, 111),
        **dict.fromkeys(("fire2", "fire3"), (128, 55)),
        **dict.fromkeys(("fire4", "fire5"), (256, 27)),
        **dict.fromkeys(("fire6", "fire7"), (384, 13)),
        **dict.fromkeys(("fire8", "fire9"), (512, 13)),
    },
}
# Last convolution of the feature part in torchvision's state dict, with its width.
_LAST = {"vgg16": ("28", 512), "vgg19": ("34", 512), "alexnet": ("10", 256)}


@pytest.fixture(autouse=True)
def _no_weights_on_this_machine(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv(weights.ENVIRONMENT, raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_has_the_shape_of_the_paper(kind) -> None:
    extractor = Extractor(kind, "random", TORCHVISION)
    with torch.no_grad():
        features = extractor(torch.rand(1, 3, 224, 224), extractor.taps)
    assert {tap: (f.shape[1], f.shape[2]) for tap, f in features.items()} == _SHAPES[kind]


@pytest.mark.parametrize("kind", sorted(_LAST))
def test_parameters_are_named_as_published(kind) -> None:
    state = Extractor(kind, "random", TORCHVISION).state_dict()
    index, width = _LAST[kind]
    assert state["features.0.weight"].shape[:2] == (64, 3)
    assert state[f"features.{index}.weight"].shape[0] == width
    assert max(int(name.split(".")[1]) for name in state) == int(index)


def test_squeezenet_parameters_are_named_as_published() -> None:
    state = Extractor("squeezenet1.1", "random", TORCHVISION).state_dict()
    fires = {int(name.split(".")[1]) for name in state if ".squeeze." in name}
    assert fires == {3, 4, 6, 7, 9, 10, 11, 12}
    assert state["features.12.expand3x3.weight"].shape == (256, 64, 3, 3)


def test_conventions_agree_with_their_definition() -> None:
    image = torch.rand(2, 3, 9, 9)
    for convention in (TORCHVISION, CAFFE):
        extractor = Extractor("alexnet", "random", convention)
        seen = []
        extractor.features[0].register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        extractor.features[0].padding = (6, 6)
        extractor(image, ["relu1"])
        if convention is TORCHVISION:
            expected = torch.stack(
                [(image[:, c] - TORCHVISION.mean[c]) / TORCHVISION.deviation[c] for c in range(3)], 1
            )
        else:
            expected = torch.stack([image[:, 2 - c] * 255 - CAFFE.mean[c] for c in range(3)], 1)
        assert torch.allclose(seen[0], expected, atol=1e-5)


def test_an_extractor_is_frozen_but_passes_gradients_to_the_picture() -> None:
    extractor = Extractor("squeezenet1.1", "random", TORCHVISION).train()
    assert not extractor.training
    assert not any(parameter.requires_grad for parameter in extractor.parameters())
    image = torch.rand(1, 3, 40, 40, requires_grad=True)
    extractor(image, ["fire3"])["fire3"].sum().backward()
    assert image.grad is not None and image.grad.abs().sum() > 0


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_features_are_loaded_and_the_classifier_left_out(tmp_path, suffix) -> None:
    source = Extractor("alexnet", "random", TORCHVISION)
    state = {**source.state_dict(), "classifier.1.weight": torch.zeros(2, 2)}
    file = tmp_path / f"alexnet{suffix}"
    torch.save(state, file) if suffix == ".pth" else save_file(state, file)
    loaded = load_extractor("alexnet", file)
    image = torch.rand(1, 3, 64, 64)
    assert torch.allclose(loaded(image, ["relu5"])["relu5"], source(image, ["relu5"])["relu5"], atol=1e-5)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert loaded.name == f"alexnet-file-{digest[:8]}"
    assert not loaded.original


def test_only_the_published_hash_earns_the_published_name(tmp_path, monkeypatch) -> None:
    file = tmp_path / "weights.pth"
    torch.save(Extractor("alexnet", "random", TORCHVISION).state_dict(), file)
    digits = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(weights, "PUBLISHED", {**weights.PUBLISHED, "alexnet": f"alexnet-{digits}.pth"})
    loaded = load_extractor("alexnet", file)
    assert (loaded.name, loaded.original) == ("alexnet-imagenet", True)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x80\x02}q\x00."])
def test_a_corrupt_file_is_named(tmp_path, suffix, content) -> None:
    file = tmp_path / f"broken{suffix}"
    file.write_bytes(content)
    with pytest.raises(HeadstudioError, match="broken"):
        load_extractor("vgg16", file)


def test_a_pickle_that_would_run_code_is_refused(tmp_path) -> None:
    class Trap:
        def __reduce__(self):
            return pathlib.Path.touch, (tmp_path / "ran",)

    file = tmp_path / "trap.pth"
    torch.save({"features.0.weight": Trap()}, file)
    with pytest.raises(HeadstudioError, match="cannot be read"):
        load_extractor("vgg16", file)
    assert not (tmp_path / "ran").exists()


def test_a_missing_file_another_network_and_an_unknown_name_are_told(tmp_path) -> None:
    with pytest.raises(HeadstudioError, match="missing"):
        load_extractor("vgg16", tmp_path / "nothing.pth")
    with pytest.raises(HeadstudioError, match=weights.ENVIRONMENT):
        load_extractor("vgg16")
    with pytest.raises(HeadstudioError, match="unknown"):
        load_extractor("resnet")  # pyright: ignore[reportArgumentType]
    file = tmp_path / "other.pth"
    torch.save(Extractor("alexnet", "random", TORCHVISION).state_dict(), file)
    with pytest.raises(HeadstudioError, match="do not fit vgg16"):
        load_extractor("vgg16", file)


def test_weights_are_found_in_the_named_folder_and_in_the_cache(tmp_path, monkeypatch) -> None:
    cached = tmp_path / "hub" / "checkpoints" / weights.PUBLISHED["alexnet"]
    cached.parent.mkdir(parents=True)
    torch.save(Extractor("alexnet", "random", TORCHVISION).state_dict(), cached)
    assert weights.find_weights("alexnet") == cached
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.setenv(weights.ENVIRONMENT, str(folder))
    assert weights.find_weights("alexnet") == cached
    (folder / cached.name).write_bytes(cached.read_bytes())
    assert weights.find_weights("alexnet") == folder / cached.name


def test_a_download_is_checked_and_leaves_nothing_half_done(tmp_path, monkeypatch) -> None:
    source = tmp_path / "published.pth"
    torch.save(Extractor("alexnet", "random", TORCHVISION).state_dict(), source)
    monkeypatch.setattr(weights, "_URL", tmp_path.as_uri() + "/server/")
    served = tmp_path / "server" / weights.PUBLISHED["alexnet"]
    served.parent.mkdir()
    served.write_bytes(source.read_bytes())
    with pytest.raises(HeadstudioError, match="damaged"):
        load_extractor("alexnet", download=True)
    assert not any((tmp_path / "hub" / "checkpoints").iterdir())
    digits = hashlib.sha256(source.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(weights, "PUBLISHED", {**weights.PUBLISHED, "alexnet": f"alexnet-{digits}.pth"})
    with pytest.raises(HeadstudioError, match="cannot be downloaded"):
        load_extractor("alexnet", download=True)
    served.rename(served.with_name(f"alexnet-{digits}.pth"))
    assert load_extractor("alexnet", download=True).original
    assert [file.name for file in (tmp_path / "hub" / "checkpoints").iterdir()] == [f"alexnet-{digits}.pth"]


def test_the_keras_port_loads_by_its_own_names(tmp_path) -> None:
    source = Extractor("squeezenet1.1", "random", CAFFE)
    blocks = {3: 2, 4: 3, 6: 4, 7: 5, 9: 6, 10: 7, 11: 8, 12: 9}
    state = {}
    for name, tensor in source.state_dict().items():
        _, index, rest = name.split(".", 2)
        block = "conv1" if index == "0" else f"fire{blocks[int(index)]}"
        state[f"{block}.{rest.replace('squeeze.', 'squeeze1x1.')}"] = tensor
    save_file(state, tmp_path / "squeezenet1_1_features.safetensors")
    loaded = load_extractor("squeezenet1.1", tmp_path / "squeezenet1_1_features.safetensors")
    image = torch.rand(1, 3, 48, 48)
    assert torch.allclose(loaded(image, ["fire9"])["fire9"], source(image, ["fire9"])["fire9"], rtol=1e-4, atol=1e-3)
    assert loaded.name == "squeezenet1.1-keras-port"


@pytest.mark.skipif(not _DATA.is_dir(), reason="../shared/data is not here")
def test_the_real_port_has_no_dead_channels_under_its_convention_only() -> None:
    loaded = load_extractor("squeezenet1.1", _DATA / "squeezenet1_1_features.safetensors")
    photographs = sorted((_DATA.parent / "sfm_skull").glob("*.jpg"))[::16]
    pictures = [np.array(Image.open(file).convert("RGB").resize((340, 227))) for file in photographs]
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255
    wrong = Extractor("squeezenet1.1", "as torchvision", TORCHVISION)
    wrong.load_state_dict(loaded.state_dict())
    with torch.no_grad():
        strongest = [net(images, ["fire9"])["fire9"].amax((0, 2, 3)) for net in (loaded, wrong)]
    dead = [(strength <= 0).float().mean().item() for strength in strongest]
    assert dead[0] < 0.05 < 0.15 < dead[1]
