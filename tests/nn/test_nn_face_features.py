"""Face-recognition features: sizes, frozen statistics, the loss built on them, and files that are none."""

import pytest
import torch
from safetensors.torch import save_file

from headstudio.errors import HeadstudioError
from headstudio.nn.face_features import WIDTHS, FaceFeatureLoss, FaceFeatures, load_face_features


@pytest.fixture
def network():
    torch.manual_seed(0)
    return FaceFeatures("untrained")


def test_each_stage_halves_the_picture(network):
    found = network(torch.rand(2, 3, 64, 48))
    assert [tuple(f.shape) for f in found] == [(2, w, 64 >> i, 48 >> i) for i, w in enumerate(WIDTHS, start=1)]
    # ArcFace's 18 layers: the stem, two convolutions in each of eight blocks, and the fully connected one left out.
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(convolutions) == 17


def test_it_stays_frozen_along_with_its_statistics(network):
    before = network.bn1.running_mean.clone()
    loss = FaceFeatureLoss(network).train()
    picture = torch.rand(1, 3, 32, 32, requires_grad=True)
    loss(picture, torch.rand(1, 3, 32, 32)).backward()
    assert torch.equal(network.bn1.running_mean, before) and not network.training
    assert picture.grad.abs().sum() > 0 and all(p.grad is None for p in network.parameters())


def test_the_loss_is_zero_for_the_same_picture_and_blind_behind_the_mask(network):
    loss = FaceFeatureLoss(network)
    picture = torch.rand(1, 3, 32, 32)
    assert float(loss(picture, picture)) == 0
    assert float(loss(picture, 1 - picture)) > float(loss(picture, picture + 0.02)) > 0
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., :16] = 1
    other = torch.where(mask > 0, picture, 1 - picture)
    assert float(loss(other, picture, mask)) == 0


def test_weights_come_from_a_file_whatever_stands_behind_the_convolutions(network, tmp_path):
    file = tmp_path / "weights.safetensors"
    weights = {k: v.contiguous() for k, v in network.state_dict().items() if "num_batches" not in k}
    save_file({**weights, "fc.weight": torch.zeros(2, 2)}, file)
    loaded = load_face_features(file)
    picture = torch.rand(1, 3, 32, 32)
    assert torch.equal(loaded(picture)[3], network(picture)[3]) and "weights" in loaded.name


@pytest.mark.parametrize("content", [None, b"", b"not safetensors at all"])
def test_files_that_are_none_are_told_by_name(tmp_path, content):
    file = tmp_path / "bad.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(HeadstudioError, match="cannot be read"):
        load_face_features(file)


@pytest.mark.parametrize("change", ["missing", "shape"])
def test_weights_of_another_network_are_refused(network, tmp_path, change):
    weights = {k: v.contiguous() for k, v in network.state_dict().items() if "num_batches" not in k}
    if change == "missing":
        del weights["layer3.0.conv1.weight"]
    else:
        weights["layer3.0.conv1.weight"] = torch.zeros(1)
    save_file(weights, tmp_path / "other.safetensors")
    with pytest.raises(HeadstudioError, match=r"layer3\.0\.conv1\.weight"):
        load_face_features(tmp_path / "other.safetensors")
