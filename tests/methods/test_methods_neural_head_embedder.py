"""E_perc on a face-recognition network that the user names: it stays as it is, and moves colours alone."""

import fnmatch
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from headstudio.errors import HeadstudioError
from headstudio.evaluation.frame_judges import find_embedders
from headstudio.heads import load_head
from headstudio.methods.neural_head import NeuralHead, NeuralHeadConfig
from headstudio.methods.neural_head.config import OffsetConfig, Pace, TextureConfig
from headstudio.methods.neural_head.schedule import REACHES
from headstudio.methods.neural_head.terms import Terms
from headstudio.nn.face_features import FaceFeatures
from headstudio.training.batches import BatchStream
from support.networks import embedding_network
from support.painted import painted_source

CONFIG = NeuralHeadConfig(
    size_px=64,
    patch_px=48,
    subdivisions=0,
    offsets=OffsetConfig(width=16, layers=1, features=2, mapping_width=8),
    texture=TextureConfig(
        width=16, layers=1, mapping_width=8, dynamic_width=8, features=2, features_px=32, normal_width=4,
        normal_features=4, base_px=64, base_frames=4,
    ),
    texture_stage=Pace(5, 2, texture=1e-3),
    thorough_head=True,
    low_precision=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights with the names of the published ones, layers behind the convolutions included."""
    torch.manual_seed(0)
    made = FaceFeatures("any").state_dict()
    kept = {name: values.contiguous() for name, values in made.items() if "num_batches" not in name}
    file = tmp_path_factory.mktemp("weights") / "recognition.safetensors"
    save_file({**kept, "fc.weight": torch.zeros(4, 4), "bn2.bias": torch.zeros(4)}, file)
    return file


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return painted_source(tmp_path_factory.mktemp("painted") / "capture", load_head("makehuman"))


@pytest.fixture(scope="module")
def model(source, weights):
    torch.manual_seed(0)
    made = NeuralHead(replace(CONFIG, embedder=str(weights)))
    made.setup({"target": (source,)})
    with torch.no_grad():  # away from the zeros that training starts from
        for parameter in made.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    return made.train()


@pytest.fixture(scope="module")
def batch(source, model):
    stage = model.stages()[1]
    stream = BatchStream({"target": (source,)}, stage, 0, 0, torch.device("cpu"))
    found = stream.batch(stage.players[0], 0)
    stream.close()
    return found


def test_the_loss_is_the_networks_and_the_avatar_says_so(model, weights):
    assert model.loss_extractors == {"arcface-r18 recognition"}
    assert any("arcface-r18 recognition" in note for note in model.notes())
    # It is no part of the avatar: neither its parameters nor what is saved.
    assert not any("extractor" in name or "_loss" in name for name in model.state_dict())
    assert sum(p.numel() for p in model.parameters()) < 1e6
    assert str(weights.parent) not in repr(model.state())


def test_it_moves_colours_and_nothing_else(model, batch):
    model.requires_grad_(True).zero_grad(set_to_none=True)
    torch.manual_seed(1)
    value = Terms(model, batch).perceptual()
    assert float(value.detach()) > 0
    value.backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert reached and all(any(fnmatch.fnmatchcase(name, one) for one in REACHES["perceptual"]) for name in reached)
    network = model.perceptual_loss.network.extractor
    assert all(not p.requires_grad and p.grad is None for p in network.parameters())


def test_steps_against_its_gradient_lessen_it_and_leave_it_as_it_was(model, batch):
    network = model.perceptual_loss.network.extractor
    before = {name: value.clone() for name, value in network.state_dict().items()}
    model.requires_grad_(True)
    optimiser = torch.optim.Adam(model.colour.parameters(), lr=2e-3)
    values = []
    for _ in range(6):
        torch.manual_seed(1)
        value = Terms(model, batch).perceptual()
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        values.append(float(value.detach()))
    assert values[-1] < 0.97 * values[0]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_network_that_taught_does_not_judge(model, source, tmp_path):
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")
    same, other = (embedding_network(tmp_path / f"{name}.onnx") for name in ("recognition", "another"))
    found = find_embedders([str(same), str(other)], model.loss_extractors, source, 64)
    assert len(found.judges) == len(found.absences) == 1 and "recognition" in found.absences[0]


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "lacking", "shape"])
def test_a_file_that_is_none_is_told_before_training_begins(source, weights, tmp_path, damage):
    file = tmp_path / "bad.safetensors"
    if damage in ("empty", "text"):
        file.write_bytes(b"" if damage == "empty" else b"these are no weights")
    if damage in ("lacking", "shape"):
        content = FaceFeatures("any").state_dict()
        kept = {name: values.contiguous() for name, values in content.items() if "num_batches" not in name}
        del kept["layer2.0.conv1.weight"]
        save_file({**kept, **({"layer2.0.conv1.weight": torch.zeros(2)} if damage == "shape" else {})}, file)
    with pytest.raises(HeadstudioError) as told:
        NeuralHead(replace(CONFIG, embedder=str(file))).setup({"target": (source,)})
    assert told.value.where is not None and "bad.safetensors" in str(told.value.where)
    assert told.value.next_step and told.value.what.count(". ") == 0
