"""The loop: resumes to the same numbers, frees what a player names, survives what users and data do to it."""

import json
import signal
from dataclasses import replace

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.training import checkpoint, journal, registry
from headstudio.training.avatars import build, describe, load_avatar, load_driver
from headstudio.training.contract import Driver
from headstudio.training.players import ActivePlayer, free_only
from headstudio.training.train import Recipe, train, training_folder
from headstudio.training.trainer import Trainer, TrainerConfig
from headstudio_toys.gan import GanToy
from headstudio_toys.plain import PlainConfig, PlainToy
from headstudio_toys.remesh import RemeshToy
from support.tiny import tiny_source

TOYS = {"toy-plain": PlainToy, "toy-gan": GanToy, "toy-remesh": RemeshToy}


@pytest.fixture
def sources(tmp_path):
    return {"target": (tiny_source(tmp_path / "target"),), "actor": (tiny_source(tmp_path / "actor", seed=1),)}


def final_weights(record):
    return {name: value.clone() for name, value in record.weights.items()}


class StopAfter:
    """A display that asks for a stop, as Ctrl-C would, after some steps."""

    def __init__(self, steps):
        self.left = steps

    def stage(self, name, total=None):
        import contextlib

        @contextlib.contextmanager
        def opened():
            yield self.count

        return opened()

    def count(self, units):
        self.left -= units
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("name", TOYS)
@pytest.mark.parametrize("stop_after", [3, 6, 7])
def test_a_stopped_run_goes_on_to_the_same_numbers(tmp_path, sources, name, stop_after):
    recipe = Recipe("methods", name)
    straight = train(recipe, sources, tmp_path / "straight")
    with pytest.raises(HeadstudioError, match=f"stopped at step {stop_after}"):
        train(recipe, sources, tmp_path / "broken", display=StopAfter(stop_after))
    assert not (tmp_path / "broken").exists()
    resumed = train(recipe, sources, tmp_path / "broken")
    assert final_weights(straight).keys() == final_weights(resumed).keys()
    for key, value in final_weights(straight).items():
        assert torch.equal(value, resumed.weights[key]), key
    lines = [journal.read(training_folder(tmp_path / p) / journal.NAME) for p in ("straight", "broken")]
    strip = [[{k: v for k, v in line.items() if k != "elapsed_s"} for line in part] for part in lines]
    assert strip[0] == strip[1]


def test_the_previous_signal_handler_comes_back(tmp_path, sources):
    before = signal.getsignal(signal.SIGINT)
    train(Recipe("methods", "toy-plain"), sources, tmp_path / "out")
    assert signal.getsignal(signal.SIGINT) is before


def test_training_lowers_the_loss(tmp_path, sources):
    config = TrainerConfig(log_every=1)
    train(Recipe("methods", "toy-plain", config=PlainConfig(steps=60)), sources, tmp_path / "out", config)
    totals = [line["total"] for line in journal.read(training_folder(tmp_path / "out") / journal.NAME)]
    assert sum(totals[-10:]) < 0.8 * sum(totals[:10])


@pytest.mark.parametrize("name", TOYS)
def test_every_term_reaches_its_players_parameters_and_no_others(tmp_path, sources, name):
    model = TOYS[name](PlainConfig())
    model.setup(sources)
    from headstudio.training.batches import BatchStream

    for stage in model.stages():
        stream = BatchStream(sources, stage, 0, 0, torch.device("cpu"))
        for player in stage.players:
            active = ActivePlayer(player, model)
            free_only(model, active)
            for term, value in model.losses(stream.batch(player, 1), stage, player).items():
                model.zero_grad(set_to_none=True)
                value.backward(retain_graph=True)
                reached = {key for key, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
                assert reached, (player.name, term)
                assert reached <= set(active.parameters), (player.name, term)
        stream.close()


def test_the_event_changes_shapes_and_the_avatar_keeps_them(tmp_path, sources):
    train(Recipe("methods", "toy-remesh"), sources, tmp_path / "out")
    avatar = load_avatar(tmp_path / "out")
    assert avatar.grid.shape == (4,)
    key = sources["target"][0].key
    held_out = sources["target"][0].capture.frames - 1
    assert torch.allclose(avatar.tints(key, torch.tensor([held_out])), torch.full((1, 3), 0.25))
    assert not torch.allclose(avatar.tints(key, torch.tensor([0])), torch.full((1, 3), 0.25))


def test_lazy_and_alternating_players_play_when_they_should(tmp_path, sources):
    train(Recipe("methods", "toy-gan"), sources, tmp_path / "out", TrainerConfig(log_every=1))
    lines = journal.read(training_folder(tmp_path / "out") / journal.NAME)
    steps = {name: {e["step"] for e in lines if e["player"] == name} for name in ("penalty", "warm", "cold", "critic")}
    assert steps["penalty"] == {0, 4, 8}
    assert steps["warm"] | steps["cold"] == steps["critic"] == set(range(12))
    assert not steps["warm"] & steps["cold"] and steps["warm"] and steps["cold"]
    assert next(e["losses"].keys() for e in lines if e["player"] == "generator") == {"fool", "colour"}


def test_a_two_subject_driver_emits_the_avatars_latent(tmp_path, sources):
    train(Recipe("methods", "toy-plain"), sources, tmp_path / "avatar")
    avatar = load_avatar(tmp_path / "avatar")
    train(Recipe("drivers", "toy-latent"), sources, tmp_path / "driver", avatar=avatar)
    driver = load_driver(tmp_path / "driver", avatar)
    assert isinstance(driver, Driver)
    signals = sources["actor"][0].motion.at([0])
    produced, state = driver.step(signals, driver.start(1))
    assert set(produced) == driver.produces
    again, _ = driver.step(signals, state)
    assert not torch.equal(next(iter(produced.values())), next(iter(again.values())))


def test_two_processes_average_what_they_learn(tmp_path, sources):
    config = TrainerConfig(device="cpu", processes=2)
    record = train(Recipe("methods", "toy-gan", config=PlainConfig(steps=4)), sources, tmp_path / "two", config)
    alone = train(
        Recipe("methods", "toy-gan", config=PlainConfig(steps=4)),
        sources,
        tmp_path / "one",
        TrainerConfig(device="cpu"),
    )
    differing = [key for key in record.weights if not torch.equal(record.weights[key], alone.weights[key])]
    assert any(key.startswith("colour") for key in differing)
    assert torch.isfinite(torch.cat([value.flatten() for value in record.weights.values()])).all()


def test_a_budget_ends_the_run_and_still_writes(tmp_path, sources):
    config = TrainerConfig(budget_s=0.0)
    record = train(Recipe("methods", "toy-plain", config=PlainConfig(steps=10**6)), sources, tmp_path / "out", config)
    assert record.provenance["training_s"] < 5
    assert load_avatar(tmp_path / "out")


def test_a_plateau_ends_a_stage(tmp_path, sources):
    config = TrainerConfig(plateau_steps=10)
    model = PlainToy(PlainConfig(steps=100_000))
    Trainer(model, sources, tmp_path / "run", config).run()
    entries = journal.read(tmp_path / "run" / journal.NAME)
    assert entries[-1]["step"] < 50_000


class ExplodingToy(PlainToy):
    def losses(self, batch, stage, player):
        return {"colour": super().losses(batch, stage, player)["colour"] * float("nan")}


class MisnamedToy(PlainToy):
    def losses(self, batch, stage, player):
        return {**super().losses(batch, stage, player), "extra": torch.zeros(())}


class IdleToy(PlainToy):
    def stages(self):
        (stage,) = super().stages()
        return (replace(stage, players=(replace(stage.players[0], parameters=("nothing.*",)),)),)


@pytest.mark.parametrize(
    ("toy", "config", "message"),
    [
        (ExplodingToy, TrainerConfig(collapse_patience=3), "collapsed"),
        (MisnamedToy, TrainerConfig(), "extra"),
        (IdleToy, TrainerConfig(), "frees no parameter"),
    ],
)
def test_what_cannot_train_says_so(tmp_path, sources, toy, config, message):
    with pytest.raises(HeadstudioError, match=message):
        Trainer(toy(PlainConfig(steps=20)), sources, tmp_path / "run", config).run()


def test_missing_roles_and_annotations_are_told_before_training(tmp_path, sources):
    from headstudio.records.capture import Annotation
    from headstudio_toys.latent import LatentConfig, LatentToy

    with pytest.raises(HeadstudioError, match="actor"):
        Trainer(LatentToy(LatentConfig()), {"target": sources["target"]}, tmp_path / "run").run()

    class Needy(PlainToy):
        needs = frozenset({Annotation.NORMALS})

    with pytest.raises(HeadstudioError, match="normals"):
        Trainer(Needy(PlainConfig()), sources, tmp_path / "run").run()
    assert not (tmp_path / "run").exists()


def test_another_run_is_not_continued(tmp_path, sources):
    train(Recipe("methods", "toy-plain"), sources, tmp_path / "out")
    with pytest.raises(HeadstudioError, match="another config"):
        train(Recipe("methods", "toy-plain", config=PlainConfig(steps=3)), sources, tmp_path / "out")


def test_warm_start_takes_what_fits(tmp_path, sources):
    first = train(Recipe("methods", "toy-plain", config=PlainConfig(steps=30)), sources, tmp_path / "first")
    recipe = Recipe("methods", "toy-plain", config=PlainConfig(steps=1), init=tmp_path / "first")
    second = train(recipe, sources, tmp_path / "second")
    assert (second.weights["colour.bias"] - first.weights["colour.bias"]).abs().max() < 0.11
    with pytest.raises(HeadstudioError, match="same method"):
        train(Recipe("methods", "toy-gan", init=tmp_path / "first"), sources, tmp_path / "third")


def test_warm_start_leaves_the_person_to_setup(tmp_path, sources):
    first = train(Recipe("methods", "toy-plain", config=PlainConfig(steps=1)), sources, tmp_path / "first")
    source = sources["target"][0]
    other = replace(source.track.identity, coefficients=source.track.identity.coefficients + 1)
    changed = {**sources, "target": (replace(source, track=replace(source.track, identity=other)),)}
    recipe = Recipe("methods", "toy-plain", config=PlainConfig(steps=1), init=tmp_path / "first")
    second = train(recipe, changed, tmp_path / "second")
    assert torch.equal(second.weights["identity_coefficients"], first.weights["identity_coefficients"] + 1)


def test_a_parameter_that_is_one_number_travels(tmp_path, sources):
    model = PlainToy(PlainConfig())
    model.setup(sources)
    model.strength = torch.nn.Parameter(torch.tensor(0.5))
    record = describe(model, "toy-plain", "draft", sources)
    model.strength.data += 1
    assert describe(model, "toy-plain", "draft", sources).identifier != record.identifier


def test_an_avatar_survives_the_disk_and_refuses_what_was_edited(tmp_path, sources):
    record = train(Recipe("methods", "toy-remesh"), sources, tmp_path / "out")
    loaded = load_avatar(tmp_path / "out")
    for key, value in loaded.state_dict().items():
        assert torch.equal(value, record.weights[key])
    where = tmp_path / "out" / "avatar.json"
    content = json.loads(where.read_text())
    edits = {
        "newer": ("schema_version", 99, "schema version 99"),
        "unknown method": ("name", "nobody", "no method is called nobody"),
        "unknown option": ("config", {**content["config"], "colour": 1}, "does not fit"),
        "swapped weights": ("identifier", "0" * 16, "not those"),
        "lost field": ("at_rest", {}, "damaged"),
        "a driver": ("kind", "drivers", "holds a driver"),
    }
    for key, value, message in edits.values():
        where.write_text(json.dumps({**content, key: value}))
        with pytest.raises(HeadstudioError, match=message):
            load_avatar(tmp_path / "out")


def test_weights_of_another_shape_of_method_are_refused(tmp_path, sources):
    model = PlainToy(PlainConfig())
    model.setup(sources)
    record = describe(model, "toy-plain", "draft", sources)
    lacking = replace(record, weights={k: v for k, v in record.weights.items() if k != "colour.bias"})
    lacking = replace(lacking, identifier=describe_identifier(lacking))
    with pytest.raises(HeadstudioError, match=r"colour\.bias"):
        build(lacking)


def describe_identifier(record):
    from headstudio.training import avatars

    return avatars._identifier(record.weights)


def test_registry_names_what_it_knows(tmp_path):
    assert {"toy-plain", "toy-gan", "toy-remesh"} <= registry.registered("methods").keys()
    with pytest.raises(HeadstudioError, match="toy-plain"):
        registry.find("methods", "missing")
    with pytest.raises(HeadstudioError, match="choose one of"):
        train(Recipe("methods", "toy-plain", preset="huge"), {}, tmp_path)


def test_a_damaged_checkpoint_is_told(tmp_path, sources):
    train(Recipe("methods", "toy-plain"), sources, tmp_path / "out")
    where = training_folder(tmp_path / "out") / "checkpoint" / "training.json"
    where.write_text(where.read_text().replace('"stage"', '"scene"'))
    with pytest.raises(HeadstudioError, match="damaged"):
        checkpoint.load(training_folder(tmp_path / "out"))
