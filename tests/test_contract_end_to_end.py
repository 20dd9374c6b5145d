"""Every registered method, driver and encoder goes the whole way on a tiny synthetic actor. No exclusions."""

import dataclasses

import onnxruntime
import pytest
import torch

from headstudio.drivers.drive import DriveConfig, Performance, carried_over, orbit_view, predicted, render_frames
from headstudio.errors import HeadstudioError
from headstudio.evaluation.evaluate import EvaluationConfig, evaluate
from headstudio.export.targets import export_avatar
from headstudio.heads import load_head
from headstudio.motion.retarget import adapt
from headstudio.records.avatar import Avatar
from headstudio.records.channels import Scene
from headstudio.training import registry
from headstudio.training.avatars import build, load_avatar, load_driver
from headstudio.training.batches import BatchStream
from headstudio.training.contract import Capability, Encoder
from headstudio.training.stages import at
from headstudio.training.train import Recipe, create, train
from headstudio.training.trainer import TrainerConfig
from support.stopping import StopAfter

STEPS = 200
"""Most steps of a schedule here, shared out among its stages; events keep their place."""
STOP = 7
"""Steps before the stop that a run has to get over."""

pytestmark = pytest.mark.slow


def shortened(stage, steps):
    """The stage in fewer steps, with longer strides to make up for those it loses."""
    players = (
        dataclasses.replace(
            player, optimiser=dataclasses.replace(player.optimiser, learning_rate=5 * player.optimiser.learning_rate)
        )
        for player in stage.players
    )
    events = {step * steps // stage.steps: event for step, event in stage.events.items()}
    return dataclasses.replace(stage, steps=steps, players=tuple(players), events=events)


@pytest.fixture
def short(monkeypatch):
    """Shorten the schedule of a class."""

    def shorten(cls):
        whole = cls.stages

        def stages(self):
            found = whole(self)
            total = sum(stage.steps for stage in found)
            if total <= STEPS:
                return found
            return tuple(shortened(stage, max(stage.steps * STEPS // total, 1)) for stage in found)

        monkeypatch.setattr(cls, "stages", stages)

    return shorten


def trained(kind, name, sources, folder, avatar=None):
    """Train twice, straight and with a stop, and insist on the same weights."""
    recipe, config = Recipe(kind, name), TrainerConfig(device="cpu")
    straight = train(recipe, sources, folder / "straight", config, avatar)
    with pytest.raises(HeadstudioError, match="stopped at step"):
        train(recipe, sources, folder / "resumed", config, avatar, StopAfter(STOP))
    resumed = train(recipe, sources, folder / "resumed", config, avatar)
    for key, value in straight.weights.items():
        assert torch.equal(value, resumed.weights[key]), key
    return folder / "resumed"


def total_loss(model, sources):
    """What the first player of the first stage minimises, on fixed batches."""
    model.attach(sources)
    stage = model.stages()[0]
    player = stage.players[0]
    stream = BatchStream(sources, stage, 123, 0, torch.device("cpu"), model.signals)
    totals = []
    for step in range(4):
        torch.manual_seed(step)
        losses = model.losses(stream.batch(player, step), stage, player)
        totals.append(sum(at(player.losses[name], 0) * float(value) for name, value in losses.items()))
    stream.close()
    return sum(totals)


def untrained_loss(kind, name, sources, avatar=None):
    torch.manual_seed(0)
    model, _ = create(Recipe(kind, name), avatar)
    model.setup(sources)
    return total_loss(model, sources)


def check_pictures(rgb, alpha, size_px):
    assert rgb.shape[-3:] == (3, size_px, size_px) and alpha.shape[-3:] == (1, size_px, size_px)
    for values in (rgb, alpha):
        assert torch.isfinite(values).all() and values.min() >= 0 and values.max() <= 1


def check_runtime(avatar, channels, view, folder):
    """The graph in ONNX gives what PyTorch gives, and its composite is the avatar's own picture."""
    runtime = avatar.runtime()
    inputs = runtime.prepare(channels, view)
    assert [(spec.name, spec.shape) for spec in runtime.inputs] == [(k, tuple(v.shape[1:])) for k, v in inputs.items()]
    graph, file = runtime.graph(), folder / "runtime.onnx"
    names = [spec.name for spec in runtime.outputs]
    with torch.no_grad():
        torch.onnx.export(
            graph, tuple(inputs.values()), file, input_names=list(inputs), output_names=names, dynamo=False
        )
        expected = graph(*inputs.values())
    expected = expected if isinstance(expected, tuple) else (expected,)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found = [torch.from_numpy(v) for v in session.run(names, {k: v.numpy() for k, v in inputs.items()})]
    for spec, ours, theirs in zip(runtime.outputs, expected, found, strict=True):
        assert tuple(theirs.shape[1:]) == spec.shape
        torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-3)
    composed = runtime.composite(dict(zip(names, found, strict=True)), channels, view, Scene())
    torch.testing.assert_close(composed.rgb, avatar.render(channels, view, Scene()).rgb, atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", registry.registered("methods"))
@torch.no_grad()
def test_a_method_goes_the_whole_way(name, short, actor_source, other_source, tmp_path):
    short(registry.find("methods", name))
    sources = {"target": (actor_source,)}
    before = untrained_loss("methods", name, sources)
    with torch.enable_grad():
        path = trained("methods", name, sources, tmp_path)
    avatar, record = load_avatar(path), Avatar.load(path)
    assert total_loss(build(record), sources) < before

    frames = list(actor_source.capture.held_out_frames)[:2]
    head = load_head(avatar.identity.head)
    own = adapt(actor_source.motion, avatar.driven_by, head)
    view = actor_source.track.view(torch.tensor(frames))
    rendering = avatar.render(own.at(frames), view, Scene())
    check_pictures(rendering.rgb, rendering.alpha, actor_source.capture.size_px)

    performance = Performance(other_source.motion.select(range(4)), other_source.track.identity)
    motion, _ = carried_over(performance, avatar, record.at_rest)
    driven = list(render_frames(avatar, motion, orbit_view(record.at_rest, 64, yaw_deg=15), batch_size=3))
    assert len(driven) == 4
    for picture in driven:
        check_pictures(picture.rgb, picture.alpha, 64)

    scores = evaluate(avatar, actor_source, EvaluationConfig(size_px=64, every=2), name=name)
    assert {row.name for row in scores.rows} >= {name, *avatar.baselines()}
    assert all(torch.isfinite(torch.tensor(row.interval.value)) for row in scores.rows)

    check_runtime(avatar, own.at(frames), view, tmp_path)
    if Capability.SURFACE in avatar.capabilities:
        written = export_avatar(avatar, "glb", tmp_path / "head", actor_source.motion)
        assert written.read_bytes()[:4] == b"glTF"
    else:
        with pytest.raises(HeadstudioError, match="surface"):
            export_avatar(avatar, "glb", tmp_path / "head")


def driven_avatar(cls, sources, folder):
    """An avatar that the driver accepts, of any method, and the channels it emits."""
    for name in registry.registered("methods"):
        driver, (untrained, _) = cls(cls.presets["draft"]), create(Recipe("methods", name))
        untrained.setup(sources)
        try:
            driver.bind(untrained)
        except (HeadstudioError, AssertionError):
            continue
        if any(driver.produces & accepted for accepted in untrained.driven_by):
            path = folder / name
            train(Recipe("methods", name), sources, path, TrainerConfig(device="cpu"))
            return load_avatar(path), Avatar.load(path).at_rest
    pytest.fail(f"no registered method can be driven by {cls.__name__}")


@pytest.mark.parametrize("name", registry.registered("drivers"))
def test_a_driver_goes_the_whole_way(name, short, actor_source, other_source, tmp_path):
    for method in registry.registered("methods"):
        short(registry.find("methods", method))
    cls = registry.find("drivers", name)
    short(cls)
    avatar, at_rest = driven_avatar(cls, {"target": (actor_source,)}, tmp_path)
    sources = {"target": (actor_source,), "actor": (other_source,)}
    before = untrained_loss("drivers", name, sources, avatar)
    driver = load_driver(trained("drivers", name, sources, tmp_path, avatar), avatar)
    assert total_loss(driver, sources) < before

    seen = other_source.motion_with(cls.consumes)
    performance = Performance(seen.select(range(6)), other_source.track.identity)
    produced = predicted(driver, performance.motion)
    assert produced.keys() == driver.produces
    assert all(len(v) == 6 and torch.isfinite(v).all() for v in produced.values())
    motion, _ = carried_over(performance, avatar, at_rest, DriveConfig(), driver)
    assert motion.channels.keys() & driver.produces
    for picture in render_frames(avatar, motion, orbit_view(at_rest, 64)):
        check_pictures(picture.rgb, picture.alpha, 64)

    whole = actor_source.motion.with_channels(predicted(driver, actor_source.motion_with(cls.consumes)))
    scores = evaluate(avatar, actor_source, EvaluationConfig(size_px=64), motion=whole, signal="predicted")
    assert "predicted" in {row.signal for row in scores.rows}


@pytest.mark.parametrize("name", registry.registered("encoders"))
def test_an_encoder_goes_the_whole_way(name, short, actor_source, tmp_path):
    cls = registry.find("encoders", name)
    short(cls)
    sources = {"target": (actor_source,)}
    before = untrained_loss("encoders", name, sources)
    encoder = build(Avatar.load(trained("encoders", name, sources, tmp_path)))
    assert isinstance(encoder, Encoder) and total_loss(encoder, sources) < before
    produced = encoder.encode(actor_source.motion_with(encoder.consumes).at([0, 1]))
    assert produced.keys() == encoder.produces and all(len(value) == 2 for value in produced.values())
