"""Paper 2 on a painted head: who learns from what, windows that slide, baked planes, several persons."""

import fnmatch
import itertools
import warnings
from dataclasses import replace
from typing import get_args

import pytest
import torch

from headstudio.heads import load_head
from headstudio.methods.style_avatar import StyleAvatar, StyleAvatarConfig
from headstudio.methods.style_avatar.config import CodeConfig, Design, Weights
from headstudio.methods.style_avatar.portrait import Inputs
from headstudio.methods.style_avatar.schedule import REACHES
from headstudio.methods.style_avatar.sizes import StyleAvatarSizes
from headstudio.nn.level_widths import LevelWidths
from headstudio.records.channels import HEAD_POSE, Scene, View
from headstudio.texture.regions import soft_mask
from headstudio.texture.texels import TexelMap
from headstudio.training.batches import BatchStream
from headstudio.training.players import ActivePlayer, free_only
from headstudio.training.stages import at
from support.painted import painted_source

SIZES = StyleAvatarSizes(
    window_cells=32,
    crop_cells=48,
    padded_cells=48,
    picture_px=2,
    plane_side=32,
    generator_widths=LevelWidths(256, 8),
    foreground_widths=LevelWidths(256, 12),
    image_widths=LevelWidths(512, 16),
    discriminator_widths=LevelWidths(256, 8),
    feature_channels=8,
)
TINY = StyleAvatarConfig(
    sizes=SIZES,
    codes=CodeConfig(octaves=3, neutral_share=0.5),
    plates=True,
    fine_matte=True,
    weights=Weights(adversarial=0.1),
    plane_steps=60,
    steps=20,
    batch_size=2,
    learning_rate=6e-3,
    momentum=0.9,
    penalty_every=4,
)
CELL_PX = 2  # of the tiny capture's 64 px in one of 32 cells


@pytest.fixture(scope="module")
def head():
    return load_head("makehuman")


@pytest.fixture(scope="module")
def source(head, tmp_path_factory):
    return painted_source(tmp_path_factory.mktemp("painted") / "capture", head)


@pytest.fixture(scope="module")
def other(head, tmp_path_factory):
    made = painted_source(tmp_path_factory.mktemp("other") / "capture", head, frames=12)
    identity = replace(made.track.identity, coefficients=made.track.identity.coefficients + 0.5)
    return replace(made, track=replace(made.track, identity=identity))


def untrained(*sources, config=TINY):
    torch.manual_seed(0)
    model = StyleAvatar(config)
    model.setup({"target": sources})
    return model


def noisy(model):
    """With strengths and biases that are not zero, as after a training."""
    for name, parameter in model.named_parameters():
        if name.endswith(("noise.strength", "bias")):
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def batch_of(model, sources, stage, step=0):
    stream = BatchStream({"target": sources}, stage, 0, 0, torch.device("cpu"))
    batch = stream.batch(stage.players[0], step)
    stream.close()
    return batch


def learn(model, source, stage):
    stream = BatchStream({"target": (source,)}, stage, 0, 0, torch.device("cpu"))
    players = [ActivePlayer(player, model) for player in stage.players]
    model.train()
    for step in range(stage.steps):
        for active in players:
            torch.manual_seed(step)
            free_only(model, active)
            losses = model.losses(stream.batch(active.player, step), stage, active.player)
            sum(at(active.player.losses[name], step) * value for name, value in losses.items()).backward()
            active.learn(step)
            active.forget_gradients()
    stream.close()
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def trained(source):
    model = untrained(source)
    return learn(model, source, model.stages()[0])


def frames_of(source, frames):
    index = torch.tensor(list(frames))
    return source.motion.at(index), source.track.view(index)


def error(model, source, frames):
    channels, view = frames_of(source, frames)
    with torch.no_grad():
        rendering = model.eval().render(channels, view, Scene())
    truth = torch.stack([source.capture.image(f).float() / 255 for f in frames])
    matte = torch.stack([source.capture.matte(f).float() / 255 for f in frames])
    inside = ((rendering.maps["whole"] - truth).abs() * matte).sum() / matte.sum() / 3
    return float(inside), float((rendering.alpha - matte).abs().mean())


def test_it_learns_what_held_out_frames_show(source, trained):
    frames = list(source.capture.held_out_frames)
    before, after = error(untrained(source), source, frames), error(trained, source, frames)
    assert after[0] < 0.7 * before[0]
    assert after[1] < 0.8 * before[1]


@pytest.mark.parametrize("config", [TINY, replace(TINY, plates=False, fine_matte=False)], ids=["plates", "paper"])
@pytest.mark.parametrize("number", [0, 1], ids=["planes", "pictures"])
def test_every_term_reaches_the_parameters_it_is_for_and_no_others(source, config, number):
    model = noisy(untrained(source, config=replace(config, early_adversary=True, noise=True))).train()
    stage = model.stages()[number]
    batch = batch_of(model, (source,), stage)
    terms = [(player, name) for player in stage.players for name in player.losses]
    assert {name for _, name in terms} == {"l1", "perceptual", "matte", "adversarial", "judge", "r1"}
    for player, name in terms:
        active = ActivePlayer(player, model)
        free_only(model, active)
        active.forget_gradients()
        torch.manual_seed(1)
        model.losses(batch, stage, replace(player, losses={name: 1.0}))[name].backward()
        moved = {n for n, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
        allowed = REACHES[stage.name][name]
        stray = [n for n in moved if not any(fnmatch.fnmatchcase(n, pattern) for pattern in allowed)]
        assert not stray, (name, stray)
        known = [n for n, _ in model.named_parameters()]
        for pattern in allowed:
            if not config.fine_matte and name == "matte" and pattern != "portrait.matte.*":
                continue
            if fnmatch.filter(known, pattern):
                assert fnmatch.filter(moved, pattern), (name, pattern)
        model.zero_grad(set_to_none=True)


def test_the_second_stage_leaves_the_planes_alone(source):
    model = untrained(source)
    kept = {n: p.clone() for n, p in model.named_parameters()}
    learn(model, source, replace(model.stages()[1], steps=3))
    changed = {n.split(".")[1] for n, p in model.named_parameters() if not torch.equal(p, kept[n])}
    assert {"foreground", "image", "matte"} <= changed
    assert not changed & {"face", "background", "plates"}


def test_padding_says_nothing(source):
    model = untrained(source).train()
    stage = model.stages()[1]
    batch = batch_of(model, (source,), stage)
    valid = batch.valid.clone()
    valid[..., :20] = False
    noise = torch.rand_like(batch.image)
    other_image = torch.where(valid, batch.image, noise)
    other_matte = torch.where(valid, batch.matte, noise[:, :1])
    for player in stage.players:
        found = []
        for image, matte in ((batch.image, batch.matte), (other_image, other_matte)):
            model._last = None
            torch.manual_seed(3)
            changed = replace(batch, image=image, matte=matte, valid=valid)
            found.append(model.losses(changed, stage, player))
        for name, value in found[0].items():
            assert torch.allclose(value, found[1][name], rtol=1e-4, atol=1e-6), (player.name, name)


def test_the_judge_sees_the_pictures_that_the_generator_has_just_made(source):
    model = untrained(source).train()
    stage = model.stages()[1]
    generator, judge, penalty = stage.players
    assert [p.name for p in stage.players] == ["generator", "judge", "penalty"]
    batch = batch_of(model, (source,), stage)
    model.losses(batch, stage, generator)
    made = model._last._made.picture
    assert not made.requires_grad
    model.losses(replace(batch), stage, judge)
    model._last = None
    again = model.losses(batch, stage, penalty)["r1"]
    assert torch.isfinite(again)


def within(inputs, margin=8):
    """The renderings of a head that ends `margin` cells before the window does."""
    kept = torch.zeros(1, 1, SIZES.window_cells, SIZES.window_cells)
    kept[..., margin:-margin, margin:-margin] = 1
    masks = [kept.repeat_interleave(k, 2).repeat_interleave(k, 3) for k in (SIZES.rendering_px, SIZES.picture_px)]
    shown = (inputs.texture + 1) * masks[0] - 1
    return inputs._replace(texture=shown, uv=inputs.uv * masks[1], mask=inputs.mask * masks[1])


def rolled(inputs, dx, dy):
    """The same inputs with the head moved by whole cells, the foreground's window slid along."""

    def moved(maps):
        every = maps.shape[-1] // SIZES.window_cells
        return torch.roll(maps, (dy * every, dx * every), (2, 3))

    offset = torch.tensor([[float(dx), float(dy)]])
    maps = (moved(part) for part in inputs[:3])
    return Inputs(*maps, inputs.front_cells - offset, inputs.back_cells)


def beside(dx, dy, side=SIZES.window_cells):
    """Where to look after and before a move by so many cells."""
    rows = slice(max(dy, 0), side + min(dy, 0)), slice(max(-dy, 0), side + min(-dy, 0))
    columns = slice(max(dx, 0), side + min(dx, 0)), slice(max(-dx, 0), side + min(-dx, 0))
    return (..., rows[0], columns[0]), (..., rows[1], columns[1])


def foreground_of(model, inputs):
    canvas = model.shown.lay_on_canvas(inputs.texture, inputs.front_cells)
    features = model.portrait.foreground(canvas, model.moment_codes(None, 1)).features
    return model.shown.of_canvas(features, inputs.front_cells).features


@pytest.mark.parametrize("cells", [(1, 0), (0, 1), (-3, 2)])
@torch.no_grad()
def test_a_window_that_slides_with_the_head_shifts_its_features_by_exactly_as_many_cells(source, cells):
    model = noisy(untrained(source)).eval()
    first = within(model.inputs(*frames_of(source, [0])))
    second, (after, before) = rolled(first, *cells), beside(*cells)
    front, moved = (foreground_of(model, inputs) for inputs in (first, second))
    assert torch.equal(moved[after], front[before])
    # Left where it was, its window sees the head elsewhere on the canvas, and the features change.
    torn = foreground_of(model, second._replace(front_cells=first.front_cells))
    assert (torn[after] - front[before]).abs().max() > 1e-3 * front.std()
    # With the background's window along, all that is composed shifts, face, matte and noise included (but for the
    # outermost cells, where the matte's convolution looks beyond the window).
    inner = (..., slice(1, -1), slice(1, -1))
    behind = second._replace(back_cells=first.back_cells - torch.tensor([cells]))
    codes, planes = model.moment_codes(None, 1), model.planes(0)
    here, there = (model.portrait.composed(inputs, planes, codes, model.shown) for inputs in (first, behind))
    for one, other in zip(here, there, strict=True):
        assert torch.equal(other[after][inner], one[before][inner])
    # Without it the face and its noise still do, and the background's features do not.
    apart = model.portrait.composed(second, planes, codes, model.shown)
    inside = first.mask[..., :: SIZES.picture_px, :: SIZES.picture_px][before]
    assert inside.sum() > 20
    assert torch.equal(apart.noise[after] * inside, here.noise[before] * inside)
    assert not torch.equal(apart.features[after], here.features[before])


@torch.no_grad()
def test_a_displaced_view_moves_the_foreground_alone(source, trained):
    channels, view = frames_of(source, [0])
    moved = View(view.camera, view.T_camera_world, torch.tensor([[6.0, 0.0]]))
    still, there = (trained.render(channels, v, Scene()) for v in (view, moved))
    shifted = torch.roll(still.alpha, 6, 3)
    assert float((there.alpha - shifted)[..., 8:-8].abs().mean()) < 0.02
    assert float((there.alpha - still.alpha).abs().mean()) > 2 * float((there.alpha - shifted).abs().mean())
    behind = View(view.camera, view.T_camera_world, None, torch.tensor([[6.0, 0.0]]))
    inputs = [trained.inputs(channels, v) for v in (view, moved, behind)]
    assert torch.equal(inputs[0].back_cells, inputs[1].back_cells)
    assert torch.equal(inputs[1].front_cells[0], inputs[0].front_cells[0] - torch.tensor([3.0, 0.0]))
    assert torch.equal(inputs[2].back_cells[0], inputs[0].back_cells[0] - torch.tensor([3.0, 0.0]))
    for ours, theirs in zip(inputs[2][:4], inputs[0][:4], strict=True):
        assert torch.equal(ours, theirs)


@torch.no_grad()
def test_windows_slide_after_a_head_that_stands_where_none_was_filmed(source, trained):
    channels, view = frames_of(source, [0])
    inside = trained.inputs(channels, view)
    assert torch.equal(inside.front_cells, torch.full((1, 2), trained.shown.middle_cells))
    depth_m = float((view.T_camera_world @ channels[HEAD_POSE].float())[0, 2, 3])
    cell_m = depth_m / float(view.camera.K_px[0, 0, 0]) * CELL_PX
    far = dict(channels)
    far[HEAD_POSE] = channels[HEAD_POSE].clone()
    far[HEAD_POSE][0, 0, 3] += 5 * cell_m
    slid = trained.inputs(far, view)
    cells = inside.front_cells - slid.front_cells
    assert 2 <= float(cells[0, 0]) <= 5
    assert float(cells[0, 1]) == 0
    assert torch.equal(slid.back_cells, inside.back_cells)
    fixed = untrained(source, config=replace(TINY, sliding=False))
    assert torch.equal(fixed.inputs(far, view).front_cells, inside.front_cells)


@torch.no_grad()
def test_the_moment_is_fixed_in_use_and_may_be_chosen(source):
    model = noisy(untrained(source)).eval()
    channels, view = frames_of(source, [2])
    middle_s = source.track.times_s[0] + 0.5 * (source.track.times_s[-1] - source.track.times_s[0])
    fixed, chosen, elsewhere = (
        model.render(channels, view, Scene(time_code=code)).rgb
        for code in (None, middle_s.float()[None], source.track.times_s[3].float()[None])
    )
    assert torch.allclose(fixed, chosen, atol=1e-5)
    assert (fixed - elsewhere).abs().max() > 1e-4


def test_training_frames_are_told_their_moment_or_that_of_use(source):
    seen = []
    for share in (0.0, 1.0):
        model = untrained(source, config=replace(TINY, codes=CodeConfig(3, neutral_share=share))).train()
        asked = model.moment_codes
        model.moment_codes = lambda moments, batch, asked=asked: seen.append(moments) or asked(moments, batch)
        stage = model.stages()[0]
        batch = batch_of(model, (source,), stage)
        model.losses(batch, stage, stage.players[0])
    assert torch.allclose(seen[0], batch.frames.double() / (source.capture.frames - 1))
    assert seen[1].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("config", [TINY, replace(TINY, plates=False, fine_matte=False, wide_crop=True)])
@torch.no_grad()
def test_the_runtime_gives_the_avatars_pictures_in_both_precisions(source, config, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = noisy(untrained(source, config=config)).eval()
    channels, view = frames_of(source, [0])
    runtime = model.runtime()
    inputs = runtime.prepare(channels, view)
    assert [(s.name, s.shape) for s in runtime.inputs] == [(k, tuple(v.shape[1:])) for k, v in inputs.items()]
    later = runtime.prepare(*frames_of(source, [5]))
    later["front_cells"] = later["front_cells"] - 2
    expected = runtime.graph()(*later.values())
    for kind, most in ((torch.float32, 1e-3), (torch.float16, 0.1)):
        graph, file = runtime.graph().to(kind), tmp_path / "graph.onnx"
        given = {name: value.to(kind) for name, value in inputs.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                graph, tuple(given.values()), file, input_names=list(given), opset_version=17, dynamo=False
            )
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3  # half precision has no constants folded, which it tells node by node
        session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
        found = session.run(None, {name: value.to(kind).numpy() for name, value in later.items()})
        for ours, theirs, spec in zip(expected, found, runtime.outputs, strict=True):
            theirs = torch.from_numpy(theirs).float()
            assert tuple(theirs.shape[1:]) == spec.shape
            assert float((ours - theirs).abs().mean()) < most
        model.float()
    composed = runtime.composite(
        dict(zip(("picture", "alpha"), runtime.graph()(*inputs.values()), strict=True)), channels, view, Scene()
    )
    assert torch.allclose(composed.rgb, model.render(channels, view, Scene()).rgb, atol=1e-5)


@torch.no_grad()
def test_the_graph_holds_no_generator(source):
    model = untrained(source).eval()
    graph = model.runtime().graph()
    for generator in (model.portrait.face, model.portrait.background):
        generator.forward = None  # a call would fail
    inputs = model.runtime().prepare(*frames_of(source, [0]))
    assert graph(*inputs.values())[0].shape == (1, 3, 64, 64)


def test_several_persons_have_planes_textures_and_shapes_of_their_own(source, other):
    model = untrained(source, other)
    assert [model.people.number(s.key) for s in (source, other)] == [0, 1]
    codes = [model.people.person_code(person, 32) for person in range(4)]
    assert min(float((a - b).abs().max()) for a, b in itertools.combinations(codes, 2)) > 0.5
    first, second = (model.planes(person) for person in (0, 1))
    assert (first.face - second.face).abs().max() > 1e-3
    assert (first.background - second.background).abs().max() > 1e-3
    stage = model.stages()[0]
    for one, person in ((source, 0), (other, 1)):
        batch = batch_of(model, (one,), stage)
        model.train().losses(batch, stage, stage.players[0])
        assert model._last._person == person
    assert torch.equal(model.identity.coefficients, source.track.identity.coefficients)
    again = StyleAvatar(TINY)
    again.restore(model.state())
    assert again.people.clocks == model.people.clocks


@pytest.mark.parametrize("design", get_args(Design))
def test_every_design_learns_and_renders(source, design):
    model = untrained(source, config=replace(TINY, design=design, sliding=design == "full"))
    stage = replace(model.stages()[0], steps=12)
    frames = list(source.capture.held_out_frames)[:2]
    before = error(model, source, frames)
    learn(model, source, stage)
    model._planes = {}
    after = error(model, source, frames)
    assert sum(after) < sum(before)
    last = model.stages()[1].players[0]
    assert any(p.startswith("portrait") for p in last.parameters)


def test_a_crop_of_one_and_a_half_windows_is_shown_whole(source):
    model = untrained(source, config=replace(TINY, wide_crop=True))
    assert model.stages()[0].sampler.size_px == 96
    learn(model, source, replace(model.stages()[0], steps=2))
    inputs = model.inputs(*frames_of(source, [0]))
    assert inputs.texture.shape[-1] == 96
    rendering = model.render(*frames_of(source, [0]), Scene())
    assert rendering.rgb.shape == (1, 3, 64, 64)


def test_a_clip_without_a_texture_is_drawn_in_grey(source):
    model = untrained(replace(source, track=replace(source.track, texture=None)))
    assert model.people.textures.unique().tolist() == [150]


def test_neck_scalp_and_ears_let_the_painting_through(source, head):
    texture = torch.randint(1, 255, (3, 64, 64), dtype=torch.uint8)
    model = untrained(replace(source, track=replace(source.track, texture=texture)))
    opacity = model.portrait.plates.skins.detach()[0, 3]
    mesh = model.people.mesh
    texels = TexelMap.build(mesh.triangles, mesh.uv, mesh.uv_triangles, 64)

    def shares(name):
        inside = soft_mask(texels, head.region(name), head.data.template_m, mesh.triangles, 1e-4)[0] > 0.99
        return opacity[inside]

    assert shares("neck").max() < 0.05
    assert shares("scalp").max() < 0.05 and shares("ears").max() < 0.05
    assert shares("nose").min() > 0.95
    on_charts = texels.mask
    skin = model.portrait.plates.skins.detach()[0, :3]
    torch.testing.assert_close(skin[:, on_charts], (texture / 127.5 - 1)[:, on_charts], atol=1e-5, rtol=0)
