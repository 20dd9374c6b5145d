"""The expression encoder: the faces it learns from, what is done to them, what it says, and that it learns."""

import dataclasses

import numpy as np
import pytest
import scipy.fft
import torch

from headstudio.encoders.expression import EXPRESSION_FEATURES, ExpressionConfig, ExpressionEncoder
from headstudio.encoders.expression import people as people_module
from headstudio.encoders.expression.augmentation import (
    augmented_crops,
    augmented_landmarks,
    compressed,
    hidden_branches,
)
from headstudio.encoders.expression.config import PRESETS, AugmentationConfig
from headstudio.encoders.expression.faces import posed_faces
from headstudio.encoders.expression.people import PeopleConfig, film_people
from headstudio.motion.arkit import INDEX
from headstudio.progress import Silent
from headstudio.records.channels import ARKIT, FACE_CROP, FACE_LANDMARKS
from headstudio.training.batches import BatchStream
from headstudio.training.contract import Source
from headstudio.training.train import Recipe, train
from headstudio.training.trainer import TrainerConfig
from support.tiny import tiny_source

NOTHING = AugmentationConfig(*[0.0] * len(dataclasses.fields(AugmentationConfig)))
SMALL = ExpressionConfig(width=8, features=12, steps=4, batch_size=3)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return tiny_source(tmp_path_factory.mktemp("encoder") / "a")


@pytest.fixture(scope="module")
def encoder(source):
    torch.manual_seed(0)
    made = ExpressionEncoder(SMALL)
    made.setup({"target": (source,)})
    return made


def batch_of(encoder, source):
    (stage,) = encoder.stages()
    stream = BatchStream({"target": (source,)}, stage, 0, 0, torch.device("cpu"), encoder.signals)
    batch = stream.batch(stage.players[0], 0)
    stream.close()
    return batch, stage


def test_faces_follow_from_the_seed_stay_in_range_and_begin_at_rest():
    faces, again, others = posed_faces(3, 400), posed_faces(3, 400), posed_faces(4, 400)
    assert torch.equal(faces.arkit, again.arkit) and not torch.equal(faces.arkit, others.arkit)
    assert faces.arkit.min() >= 0 and faces.arkit.max() <= 1 and not faces.arkit[0].any()
    assert (faces.arkit[:, INDEX["mouthClose"]] <= faces.arkit[:, INDEX["jawOpen"]] + 1e-6).all()
    assert (faces.arkit.amax(0) > 0.3).all(), "every unit is shown"
    assert (faces.turn_rad.abs().amax(0) < torch.tensor([0.4, 0.75, 0.26])).all()
    left, right = INDEX["eyeLookOutLeft"], INDEX["eyeLookInRight"]
    assert torch.equal(faces.arkit[:, left] > 0, faces.arkit[:, right] > 0)


@pytest.mark.parametrize("seed", range(4))
def test_without_augmentation_faces_stay_as_they_are(seed):
    torch.manual_seed(seed)
    crops, landmarks = torch.rand(3, 3, 128, 128), torch.rand(3, 478, 3) * 128
    torch.testing.assert_close(augmented_crops(crops, NOTHING), crops, rtol=0, atol=2e-3)
    torch.testing.assert_close(augmented_landmarks(landmarks, NOTHING), landmarks)
    assert hidden_branches(100, 0.0, crops).all()


def test_augmentation_stays_in_range_keeps_the_black_and_hides_never_both():
    crops = torch.rand(8, 3, 128, 128)
    crops[:, :, :, :40] = 0
    torch.manual_seed(0)
    found = augmented_crops(crops, dataclasses.replace(AugmentationConfig(), jitter=0.0))
    assert torch.isfinite(found).all() and found.min() >= 0 and found.max() <= 1
    assert not found[:, :, :, :39].any() and (found[:, :, :, 50:] - crops[:, :, :, 50:]).abs().mean() > 0.02
    shown = hidden_branches(2000, 0.2, crops)
    assert shown.any(1).all() and abs(1 - float(shown.mean()) - 0.2) < 0.03


def test_compression_is_the_rounded_cosine_transform_of_each_block():
    torch.manual_seed(0)
    pictures, step = torch.rand(2, 3, 16, 24)[..., :16], 0.7
    found = compressed(pictures, torch.full((2, 1, 1, 1), step))
    order = np.arange(8)
    steps = step * (1 + order[:, None] + order) / 15
    for picture, ours in zip(pictures.flatten(0, 1), found.flatten(0, 1), strict=True):
        for row in (0, 8):
            for column in (0, 8):
                block = picture[row : row + 8, column : column + 8].numpy()
                spectrum = scipy.fft.dctn(block, norm="ortho")
                wanted = scipy.fft.idctn(np.round(spectrum / steps) * steps, norm="ortho")
                np.testing.assert_allclose(ours[row : row + 8, column : column + 8], wanted, atol=1e-4)
    torch.testing.assert_close(compressed(pictures, torch.zeros(2, 1, 1, 1)), pictures, rtol=0, atol=1e-4)


def test_a_face_means_the_same_whoever_else_is_seen(encoder):
    encoder.eval()
    channels = {FACE_CROP: torch.rand(4, 3, 128, 128), FACE_LANDMARKS: 128 * torch.rand(4, 478, 3)}
    whole, alone = encoder.encode(channels), encoder.encode({c: v[2:3] for c, v in channels.items()})
    assert whole.keys() == encoder.produces and whole[EXPRESSION_FEATURES].shape == (4, 12)
    assert whole[ARKIT].shape == (4, 52) and whole[ARKIT].min() >= 0 and whole[ARKIT].max() <= 1
    for channel, values in alone.items():
        torch.testing.assert_close(values[0], whole[channel][2], rtol=1e-4, atol=1e-5)


def test_without_a_face_it_says_nothing(encoder):
    channels = {FACE_CROP: torch.zeros(2, 3, 128, 128), FACE_LANDMARKS: torch.zeros(2, 478, 3)}
    assert not any(values.any() for values in encoder.eval().encode(channels).values())


def test_either_branch_can_be_hidden(encoder):
    encoder.eval()
    crops, landmarks = torch.rand(2, 2, 3, 128, 128), 128 * torch.rand(2, 2, 478, 3)
    no_picture, no_landmarks = torch.tensor([[0.0, 1.0]] * 2), torch.tensor([[1.0, 0.0]] * 2)
    network = encoder.network
    assert torch.equal(network(crops[0], landmarks[0], no_picture), network(crops[1], landmarks[0], no_picture))
    assert torch.equal(network(crops[0], landmarks[0], no_landmarks), network(crops[0], landmarks[1], no_landmarks))
    assert not torch.equal(network(crops[0], landmarks[0]), network(crops[1], landmarks[0]))


def test_the_loss_reaches_the_whole_network_and_its_rate_ends_where_it_is_stated(encoder, source):
    encoder.train()
    batch, stage = batch_of(encoder, source)
    (player,) = stage.players
    found = encoder.losses(batch, stage, player)
    assert found.keys() == player.losses.keys()
    encoder.zero_grad(set_to_none=True)
    found["weights"].backward()
    assert all(p.grad is not None and p.grad.any() for p in encoder.parameters())
    assert player.schedule(0) == 1 and player.schedule(SMALL.steps) == pytest.approx(SMALL.last_rate)
    usual = encoder.signals(source)[FACE_LANDMARKS][list(source.capture.train_frames)].mean(0)
    torch.testing.assert_close(encoder.network.usual_landmarks, usual)


def test_the_ways_of_landmarks_are_uncorrelated_and_of_unit_variance():
    torch.manual_seed(0)
    network = ExpressionEncoder(SMALL).network
    landmarks = 60 + torch.randn(200, 9) @ torch.randn(9, 478 * 3)
    network.get_used_to(landmarks.reshape(200, 478, 3))
    seen = (landmarks.reshape(200, 478, 3) - network.usual_landmarks).flatten(1) @ network.landmark_ways.flatten(1).T
    assert not seen[:, 9:].any()
    torch.testing.assert_close(seen[:, :9].T @ seen[:, :9] / 200, torch.eye(9), rtol=0, atol=1e-3)


def test_presets_are_complete():
    assert PRESETS.keys() >= {"draft", "standard", "paper"} and PRESETS["paper"].features == 2048


@pytest.mark.slow
def test_people_are_filmed_once_and_the_encoder_learns_from_them(tmp_path, monkeypatch):
    config = PeopleConfig(people=2, faces=10)
    first = film_people(tmp_path / "people", config, Silent())
    monkeypatch.setattr(people_module, "film_person", lambda *_: pytest.fail("filmed again"))
    assert film_people(tmp_path / "people", config, Silent()) == first
    from headstudio.cli.sources import load_source

    sources = tuple(load_source(place) for place in first)
    for source in sources:
        assert isinstance(source, Source) and source.capture.frames == 10
        assert source.track.usable.float().mean() >= 0.8
        assert torch.equal(
            source.track.arkit, posed_faces(int(source.capture.views[0].source.file_name[-4:]), 10).arkit
        )
    plain = ExpressionConfig(width=8, features=32, augmentation=NOTHING, steps=500, batch_size=8, learning_rate=3e-3)
    encoder = Recipe("encoders", "face-expression", config=plain)
    record = train(encoder, {"target": sources}, tmp_path / "encoder", TrainerConfig(device="cpu"))
    from headstudio.training.avatars import build

    built = build(record)
    told, truth = [], []
    for source in sources:
        frames = source.track.usable.nonzero()[:, 0].tolist()
        told.append(built.encode(source.motion_with(built.consumes).at(frames))[ARKIT])
        truth.append(source.track.arkit[frames])
    error = (torch.cat(told) - torch.cat(truth)).square().mean()
    # Always saying the mean is what one knows without looking; half of it cannot be had by chance.
    assert error < 0.5 * torch.cat(truth).var(0, unbiased=False).mean()
