"""The animation network: its algebra in time, what it learns from what, whom it drives, and what it refuses."""

import dataclasses

import numpy as np
import pytest
import torch

from headstudio.drivers.drive import predicted
from headstudio.drivers.sequence import SequenceConfig, SequenceDriver
from headstudio.drivers.sequence.config import PRESETS, FeatureConfig
from headstudio.drivers.sequence.driver import CODES, FEATURES
from headstudio.drivers.sequence.networks import AnimationNetwork, ResidualNetwork, with_residual
from headstudio.encoders.expression import EXPRESSION_FEATURES, ExpressionConfig, ExpressionEncoder
from headstudio.errors import HeadstudioError
from headstudio.methods.latent_avatar import LatentAvatar
from headstudio.nn.whitening import Whitening
from headstudio.records.channels import ARKIT, FACE_CROP, FACE_LANDMARKS, GAZE, HEAD_POSE, JAW, expression_of
from headstudio.records.motion import Motion
from headstudio.training.avatars import build, describe
from headstudio.training.batches import BatchStream
from headstudio.training.contract import Source
from headstudio.training.train import Recipe, train
from headstudio.training.trainer import TrainerConfig
from headstudio_toys.plain import PlainConfig, PlainToy
from methods.test_methods_latent_avatar import TINY
from support.networks import embedding_network
from support.tiny import tiny_source

SMALL = SequenceConfig(features=FeatureConfig(relative=False), window=4, width=12, residual=3, steps=3, batch_size=2)
OWN = expression_of("makehuman")


class Moved(PlainToy):
    """An avatar that takes the tracker's coefficients."""

    @property
    def driven_by(self):
        return (frozenset({OWN, JAW, GAZE, HEAD_POSE}), frozenset({ARKIT, HEAD_POSE}))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return tiny_source(tmp_path_factory.mktemp("sequence") / "a", frames=40)


@pytest.fixture(scope="module")
def sources(source):
    return {"target": (source,)}


@pytest.fixture(scope="module")
def moved(sources):
    made = Moved(PlainConfig())
    made.setup(sources)
    return made


@pytest.fixture(scope="module")
def latent(sources):
    torch.manual_seed(0)
    made = LatentAvatar(TINY)
    made.setup(sources)
    return made.eval()


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory, sources):
    torch.manual_seed(0)
    encoder = ExpressionEncoder(ExpressionConfig(width=8, features=6, steps=1))
    encoder.setup(sources)
    folder = tmp_path_factory.mktemp("encoder") / "encoder"
    describe(encoder, "face-expression", "draft", sources).save(folder)
    return folder


def bound(avatar, sources, **changes):
    torch.manual_seed(1)
    driver = SequenceDriver(dataclasses.replace(SMALL, **changes))
    driver.bind(avatar)
    driver.setup(sources)
    return driver


def batch_of(driver, sources):
    (stage,) = driver.stages()
    stream = BatchStream(sources, stage, 0, 0, torch.device("cpu"), driver.signals)
    batch = stream.batch(stage.players[0], 0)
    stream.close()
    return batch, stage


def replaced(source, **changes):
    return Source(source.capture, dataclasses.replace(source.track, **changes))


@pytest.mark.parametrize("kind", ["lstm", "cnn", "mlp"])
@pytest.mark.parametrize("window", [1, 4, 8, 16])
def test_no_output_sees_a_later_input(kind, window):
    torch.manual_seed(0)
    network = AnimationNetwork(kind, 5, 3, 8)
    features = torch.randn(2, window, 5)
    said = network(features)
    assert said.shape == (2, window, 3)
    features[:, -1] += 1
    changed = network(features)
    assert torch.equal(changed[:, :-1], said[:, :-1]) and not torch.equal(changed[:, -1], said[:, -1])
    if window > 1:
        features[:, 0] += 1
        same = torch.equal(network(features)[:, -1], changed[:, -1])
        assert same == (kind == "mlp" or (kind == "cnn" and window > 9))


def test_the_residual_is_one_a_window_without_mean_and_reaches_every_frame():
    torch.manual_seed(0)
    network = ResidualNetwork(5, 3)
    codes = torch.randn(64, 8, 5)
    residual = network.train()(codes)
    assert residual.shape == (64, 3)
    torch.testing.assert_close(residual.mean(0), torch.zeros(3), rtol=0, atol=1e-5)
    joined = with_residual(torch.randn(64, 8, 4), residual)
    assert joined.shape == (64, 8, 7) and torch.equal(joined[:, 0, 4:], joined[:, 7, 4:])
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv1d)]
    assert [(c.kernel_size, c.padding) for c in convolutions] == [((5,), (2,))] * 4
    slopes = {m.negative_slope for m in network.modules() if isinstance(m, torch.nn.LeakyReLU)}
    assert slopes == {0.01}


@pytest.mark.parametrize("rows", [100, 7])
def test_whitening_inverts_and_whitens(rows):
    torch.manual_seed(0)
    values = torch.randn(rows, 9) @ torch.randn(9, 9) + 3
    whitening = Whitening(9, floor=1e-8)
    assert torch.equal(whitening.white(values), values)
    whitening.fit(values)
    white = whitening.white(values)
    torch.testing.assert_close(whitening.natural(white), values, rtol=1e-3, atol=1e-3)
    if rows > 9:
        torch.testing.assert_close(white.T @ white / rows, torch.eye(9), rtol=0, atol=1e-2)


def test_whitening_keeps_directions_that_hardly_vary_small_and_bears_constants():
    values = torch.tensor([[1.0, 0.001], [-1.0, -0.001], [1.0, -0.001], [-1.0, 0.001]])
    whitening = Whitening(2, floor=0.01)
    whitening.fit(values)
    deviations = whitening.white(values).std(0, unbiased=False).sort().values
    assert deviations[0] < 0.02 and 0.9 < deviations[1] <= 1
    whitening.fit(torch.ones(5, 2))
    assert torch.isfinite(whitening.white(torch.zeros(1, 2))).all()


def test_the_loss_is_the_mean_square_of_what_is_said_over_the_window(moved, sources):
    driver = bound(moved, sources).eval()
    batch, stage = batch_of(driver, sources)
    found = driver.losses(batch, stage, stage.players[0])
    assert found.keys() == stage.players[0].losses.keys() == {"codes"}
    features = (batch.channels[FEATURES] - driver.feature_mean) / driver.feature_deviation
    codes = driver.whitening.white(batch.channels[CODES])
    total = 0.0
    for window in range(2):
        rows = slice(4 * window, 4 * window + 4)
        said = driver.network(torch.cat([features[rows], torch.zeros(4, 3)], 1)[None])[0]
        total += float((said - codes[rows]).square().mean()) / 2
    assert float(found["codes"]) == pytest.approx(total, rel=1e-5)


def test_a_batch_brings_features_and_codes_of_its_frames(moved, sources, source):
    driver = bound(moved, sources)
    batch, _ = batch_of(driver, sources)
    assert batch.image is None and len(batch.frames) == 8
    assert torch.equal(batch.channels[FEATURES], source.track.arkit[batch.frames])
    track = source.track
    wanted = torch.cat([track.expression, track.gaze_rad.flatten(1), track.jaw_rad], 1)[batch.frames]
    assert torch.equal(batch.channels[CODES], wanted)


@pytest.mark.parametrize("residual", [0, 3])
def test_the_loss_reaches_what_is_freed_and_nothing_else(residual, moved, sources, encoder_folder):
    features = FeatureConfig("encoder", str(encoder_folder))
    driver = bound(moved, sources, residual=residual, features=features).train()
    batch, stage = batch_of(driver, sources)
    (player,) = stage.players
    driver.losses(batch, stage, player)["codes"].backward()
    reached = {name.split(".")[0] for name, p in driver.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {pattern.split(".")[0] for pattern in player.parameters}
    assert reached == ({"network", "residual"} if residual else {"network"})
    assert not driver.features.encoder.training and not any(p.requires_grad for p in driver.features.parameters())


def test_the_residual_is_injected_in_training_and_zero_afterwards(moved, sources):
    driver = bound(moved, sources)
    batch, stage = batch_of(driver, sources)

    def loss():
        return float(driver.losses(batch, stage, stage.players[0])["codes"].detach())

    def without_residual_weights():
        with torch.no_grad():
            driver.network.enter[0].weight[:, -3:] = 0
        return loss()

    driver.train()
    with_it = loss()
    driver.eval()
    alone, motion = loss(), Motion(torch.arange(6.0).double(), {ARKIT: torch.rand(6, 52)})
    said = predicted(driver, motion)
    assert without_residual_weights() == pytest.approx(alone, rel=1e-6)
    assert all(torch.equal(value, said[channel]) for channel, value in predicted(driver, motion).items())
    assert with_it != alone


def test_the_rate_falls_by_the_same_share_each_step_and_ends_where_it_is_stated(moved, sources):
    (stage,) = bound(moved, sources, steps=1000).stages()
    rate = stage.players[0].schedule
    assert rate(0) == 1 and rate(1000) == pytest.approx(0.01)
    assert rate(500) == pytest.approx(0.1) and rate(251) / rate(250) == pytest.approx(rate(901) / rate(900))
    epochs = np.log(0.01) / np.log(0.96)  # as many as the paper has, near enough
    assert rate(round(1000 * 10 / epochs)) == pytest.approx(0.96**10, rel=5e-3)


@pytest.mark.parametrize("kind", ["lstm", "cnn", "mlp"])
def test_offline_is_the_causal_loop_to_the_bit(kind, moved, sources):
    driver = bound(moved, sources, network=kind).eval()
    motion = Motion(torch.arange(12.0).double(), {ARKIT: torch.rand(12, 52)})
    whole = predicted(driver, motion)
    for frames in (1, 3, 9):
        part = predicted(driver, motion.select(range(frames)))
        assert all(torch.equal(values, whole[channel][:frames]) for channel, values in part.items())
    assert whole.keys() == driver.produces == {OWN, JAW, GAZE}
    assert whole[OWN].shape == (12, 52) and whole[GAZE].shape == (12, 2, 3)
    assert whole[OWN].min() >= 0 and whole[OWN].max() <= 1


def test_what_was_before_the_window_is_forgotten(moved, sources):
    driver = bound(moved, sources).eval()
    arkit = torch.rand(10, 52)
    first = predicted(driver, Motion(torch.arange(10.0).double(), {ARKIT: arkit}))
    arkit = torch.cat([torch.rand(6, 52), arkit[6:]])
    other = predicted(driver, Motion(torch.arange(10.0).double(), {ARKIT: arkit}))
    assert torch.equal(first[OWN][-1], other[OWN][-1]) and not torch.equal(first[OWN][-2], other[OWN][-2])


def test_several_sequences_run_side_by_side(moved, sources):
    driver = bound(moved, sources).eval()
    arkit = torch.rand(2, 7, 52)
    state, both = driver.start(2), []
    for frame in range(7):
        said, state = driver.step({ARKIT: arkit[:, frame]}, state)
        both.append(said[OWN])
    for index in range(2):
        alone = predicted(driver, Motion(torch.arange(7.0).double(), {ARKIT: arkit[index]}))[OWN]
        torch.testing.assert_close(torch.stack(both)[:, index], alone)


def test_frames_without_a_face_hold_the_last_answer_and_leave_no_trace(moved, sources, encoder_folder):
    driver = bound(moved, sources, features=FeatureConfig("encoder", str(encoder_folder))).eval()
    assert driver.consumes == {FACE_CROP, FACE_LANDMARKS}
    crops, landmarks = torch.rand(5, 3, 128, 128), 128 * torch.rand(5, 478, 3)
    seen = [0, 2, 3]
    kept = Motion(torch.arange(3.0).double(), {FACE_CROP: crops[seen], FACE_LANDMARKS: landmarks[seen]})
    crops[1] = 0
    landmarks[4] = torch.nan
    told = predicted(driver, Motion(torch.arange(5.0).double(), {FACE_CROP: crops, FACE_LANDMARKS: landmarks}))[OWN]
    assert torch.equal(told[1], told[0]) and torch.equal(told[4], told[3])
    assert torch.equal(told[seen], predicted(driver, kept)[OWN])


def test_an_actor_who_looks_otherwise_at_rest_drives_alike_where_features_are_relative(moved, source):
    arkit = source.track.arkit.clone() / 2
    arkit[10:18] = 0.02
    own = replaced(source, arkit=arkit)
    driver = bound(moved, {"target": (own,)}, features=FeatureConfig()).eval()
    usual = Motion(torch.arange(20.0).double(), {ARKIT: arkit[:20]})
    other = Motion(usual.times_s, {ARKIT: arkit[:20] + 0.3})
    told, again = predicted(driver, usual), predicted(driver, other)
    torch.testing.assert_close(again[OWN], told[OWN], rtol=0, atol=1e-5)
    plain = bound(moved, {"target": (own,)}).eval()
    assert (predicted(plain, other)[OWN] - predicted(plain, usual)[OWN]).abs().max() > 1e-3
    late = predicted(driver, other, resting=range(10))  # where nobody rests
    assert not torch.allclose(late[OWN], told[OWN], atol=1e-3)
    nobody = Motion(usual.times_s, {ARKIT: torch.full((20, 52), torch.nan)})
    assert torch.isfinite(predicted(driver, nobody)[OWN]).all()


def test_before_the_first_face_the_avatar_rests(moved, sources, encoder_folder):
    driver = bound(moved, sources, features=FeatureConfig("encoder", str(encoder_folder))).eval()
    nothing = {FACE_CROP: torch.zeros(2, 3, 128, 128), FACE_LANDMARKS: torch.zeros(2, 478, 3)}
    told = predicted(driver, Motion(torch.arange(2.0).double(), nothing))
    torch.testing.assert_close(told[OWN][1], driver.rest[:52].clamp(0, 1))


def test_it_says_the_code_of_a_latent_avatar_and_coefficients_where_it_is_asked(latent, sources, source):
    driver = bound(latent, sources)
    assert driver.produces == {latent.latent}
    batch, _ = batch_of(driver, sources)
    with torch.no_grad():
        wanted = latent.codes(source)[latent.latent][batch.frames]
    torch.testing.assert_close(batch.channels[CODES], wanted)
    assert bound(latent, sources, target="coefficients").produces <= {OWN, JAW, GAZE, ARKIT}
    assert not any("generator" in name for name in driver.state_dict())


@pytest.mark.parametrize("kind", ["tracked", "encoder", "encoder_weights", "network"])
def test_a_driver_is_the_same_again_from_its_folder(
    kind, moved, sources, source, encoder_folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("HEADSTUDIO_FEATURES", str(embedding_network(tmp_path / "deca.onnx", numbers=7, size=32)))
    path = str(encoder_folder) if kind.startswith("encoder") else ""
    config = dataclasses.replace(SMALL, features=FeatureConfig(kind, path))
    record = train(
        Recipe("drivers", "sequence", config=config), sources, tmp_path / "d", TrainerConfig(device="cpu"), moved
    )
    record.save(tmp_path / "driver")
    again = build(type(record).load(tmp_path / "driver"), moved)
    assert (
        again.consumes
        == {
            "tracked": {ARKIT},
            "network": again.consumes,
            "encoder": {FACE_CROP, FACE_LANDMARKS},
            "encoder_weights": {FACE_CROP, FACE_LANDMARKS},
        }[kind]
    )
    motion = source.motion_with(again.consumes).select(range(6))
    first, second = predicted(build(record, moved), motion), predicted(again, motion)
    assert all(torch.equal(first[channel], second[channel]) for channel in again.produces)
    numbers = {"tracked": 52, "encoder": 6, "encoder_weights": 52, "network": 7}[kind]
    assert len(again.feature_mean) == numbers and again.context == 4


def test_it_learns_which_of_its_own_faces_another_means(moved, source):
    """Weights of one rig are a fixed mixture of those of another, half a step later: an LSTM finds both."""
    torch.manual_seed(0)
    frames = source.capture.frames
    slow = torch.randn(frames // 4 + 2, 52).repeat_interleave(4, 0)[:frames].sigmoid()
    mixed = (slow.roll(1, 0) + slow) @ torch.softmax(torch.randn(52, 52), 1) / 2
    made = replaced(source, arkit=slow, expression=mixed)
    config = dataclasses.replace(SMALL, steps=250, width=48, learning_rate=5e-3, batch_size=8)
    torch.manual_seed(1)
    driver = SequenceDriver(config)
    driver.bind(moved)
    driver.setup({"target": (made,)})
    (stage,) = driver.stages()
    optimiser = torch.optim.Adam(p for p in driver.parameters() if p.requires_grad)
    stream = BatchStream({"target": (made,)}, stage, 0, 0, torch.device("cpu"), driver.signals)
    for step in range(250):
        optimiser.zero_grad()
        driver.losses(stream.batch(stage.players[0], step), stage, stage.players[0])["codes"].backward()
        optimiser.step()
    stream.close()
    train_frames = list(made.capture.train_frames)
    told = predicted(driver.eval(), made.motion.select(train_frames))[OWN]
    error = (told - mixed[train_frames])[4:].square().mean()
    assert error < 0.3 * mixed[train_frames].var(0).mean()


def test_an_avatar_without_a_code_is_refused_where_one_is_wanted(moved):
    with pytest.raises(HeadstudioError, match="no code of its own"):
        SequenceDriver(dataclasses.replace(SMALL, target="latent")).bind(moved)


def test_another_avatar_is_refused(moved, latent, sources):
    state = bound(moved, sources).state()
    driver = SequenceDriver(SMALL)
    driver.bind(latent)
    with pytest.raises(HeadstudioError, match="this driver gives"):
        driver.restore(state)


def test_a_capture_tracked_with_another_head_is_refused(moved, source):
    identity = dataclasses.replace(source.track.identity, head="ict")
    with pytest.raises(HeadstudioError, match="tracked with the head ict"):
        bound(moved, {"target": (replaced(source, identity=identity),)})


@pytest.mark.parametrize("where", ["arkit", "expression", "gaze_rad"])
def test_numbers_that_are_none_are_refused(where, moved, source):
    bad = getattr(source.track, where).clone()
    bad[3] = torch.nan
    with pytest.raises(HeadstudioError, match=r"not all numbers|no frame"):
        bound(moved, {"target": (replaced(source, **{where: bad * (torch.nan if where == "arkit" else 1)}),)})


def test_a_frame_without_features_takes_those_before_it(moved, source):
    arkit = source.track.arkit.clone()
    arkit[5] = torch.nan
    driver = bound(moved, {"target": (replaced(source, arkit=arkit),)})
    features = driver.signals(replaced(source, arkit=arkit))[FEATURES]
    assert torch.equal(features[5], arkit[4]) and torch.equal(features[6], arkit[6])


@pytest.mark.parametrize("changes", [{"window": 0}, {"width": 0}, {"residual": -1}, {"window": -3}])
def test_impossible_sizes_are_refused(changes):
    with pytest.raises(HeadstudioError, match="no network has"):
        SequenceDriver(dataclasses.replace(SMALL, **changes))


def test_a_clip_shorter_than_the_window_is_refused(moved, source):
    with pytest.raises(HeadstudioError, match="no usable run of 60"):
        batch_of(bound(moved, {"target": (source,)}, window=60), {"target": (source,)})


@pytest.mark.parametrize(("kind", "words"), [("encoder", "need an encoder"), ("network", "no feature network")])
def test_features_that_are_not_there_are_told_how_to_be_had(kind, words, moved, sources, monkeypatch):
    monkeypatch.delenv("HEADSTUDIO_FEATURES", raising=False)
    with pytest.raises(HeadstudioError, match=words):
        bound(moved, sources, features=FeatureConfig(kind))


def test_a_folder_that_holds_no_encoder_is_refused(moved, sources, tmp_path):
    describe(moved, "toy-plain", "draft", sources).save(tmp_path / "avatar")
    with pytest.raises(HeadstudioError, match="holds a method"):
        bound(moved, sources, features=FeatureConfig("encoder", str(tmp_path / "avatar")))
    with pytest.raises(HeadstudioError):
        bound(moved, sources, features=FeatureConfig("encoder", str(tmp_path / "nothing")))


def test_a_performance_without_what_it_reads_is_refused(moved, sources, encoder_folder):
    driver = bound(moved, sources, features=FeatureConfig("encoder", str(encoder_folder))).eval()
    with pytest.raises(HeadstudioError, match=r"face_crop.*does not have"):
        predicted(driver, Motion(torch.arange(2.0).double(), {ARKIT: torch.zeros(2, 52)}))


def test_all_frames_without_a_face_are_refused(moved, source, encoder_folder, monkeypatch):
    nothing = {FACE_CROP: torch.zeros(40, 3, 128, 128), FACE_LANDMARKS: torch.zeros(40, 478, 3)}
    monkeypatch.setattr(Source, "motion_with", lambda self, wanted: self.motion.with_channels(nothing))
    with pytest.raises(HeadstudioError, match="no frame of this capture"):
        bound(moved, {"target": (source,)}, features=FeatureConfig("encoder", str(encoder_folder)))


def test_features_are_those_of_the_layer_before_the_weights(moved, source, sources, encoder_folder):
    driver = bound(moved, sources, features=FeatureConfig("encoder", str(encoder_folder)))
    motion = source.motion_with(driver.consumes)
    said = driver.features.encoder.encode(motion.at([2]))
    torch.testing.assert_close(driver.features.of(source)[2:3], said[EXPRESSION_FEATURES], rtol=1e-4, atol=1e-5)


def test_the_paper_preset_has_the_published_numbers():
    paper = PRESETS["paper"]
    assert (paper.window, paper.batch_size, paper.steps, paper.learning_rate) == (8, 32, 15_000, 1e-4)
    assert paper.network == "lstm" and paper.residual and not paper.whiten and paper.last_rate == 0.01
    assert paper.features == FeatureConfig("network", relative=False)
