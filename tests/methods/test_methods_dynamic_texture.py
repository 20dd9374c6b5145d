"""Paper 1 on a head whose true texture is known."""

import math
from dataclasses import replace

import pytest
import torch

from headstudio.geometry.rigid import rigid
from headstudio.heads import load_head
from headstudio.methods.dynamic_texture import DynamicTexture, DynamicTextureConfig
from headstudio.nn.texture_decoder import TextureDecoderConfig
from headstudio.records.channels import ARKIT, HEAD_POSE, Scene
from headstudio.records.track import neutral_light
from headstudio.render.texture import sample_texture
from headstudio.training.avatars import load_avatar
from headstudio.training.batches import BatchStream
from headstudio.training.players import ActivePlayer, free_only
from headstudio.training.train import Recipe, train
from support.painted import JAW_OPEN, painted_source, true_texture

TINY = DynamicTextureConfig(
    size_px=64,
    texture_px=128,
    decoder=TextureDecoderConfig(hidden=32, width=16, side=64),
    texture_frames=8,
    steps=250,
    learning_rate=2e-3,
    input_noise=0.0,
    low_precision=False,
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return painted_source(tmp_path_factory.mktemp("painted") / "capture", load_head("makehuman"))


@pytest.fixture(scope="module")
def avatar_folder(source, tmp_path_factory):
    output = tmp_path_factory.mktemp("avatar") / "avatar"
    train(Recipe("methods", "dynamic-texture", config=TINY), {"target": (source,)}, output)
    return output


def untrained(source, config=TINY):
    torch.manual_seed(0)
    model = DynamicTexture(config)
    model.setup({"target": (source,)})
    return model


def frames_of(source, frames):
    index = torch.tensor(list(frames))
    return source.motion.at(index), source.track.view(index)


def painted_error(model, source, frames):
    """Mean error where the painted texture shows."""
    channels, view = frames_of(source, frames)
    with torch.no_grad():
        rendering = model.render(channels, view, Scene())
    truth = torch.stack([source.capture.image(int(f)).float() / 255 for f in frames])
    shows = sample_texture(model.blend[None].float() / 255, rendering.maps["uv"], rendering.alpha)
    return float(((rendering.rgb - truth).abs() * shows).sum() / shows.sum() / 3)


def test_the_static_texture_is_the_mean_truth_where_it_was_seen(source):
    model = untrained(source)
    jaw = source.track.arkit[list(source.capture.train_frames), JAW_OPEN]
    truth = true_texture(float(jaw.median()), 128)
    uv = load_head("makehuman").data.uv
    nose = load_head("makehuman").data.regions["nose"]
    triangles = load_head("makehuman").data
    used = triangles.uv_triangles[nose[triangles.triangles].all(1)].unique()
    places = (uv[used] * 128).long().clamp(0, 127)
    found = model.static.float()[:, places[:, 1], places[:, 0]] / 255
    assert (found - truth[:, places[:, 1], places[:, 0]]).abs().median() < 0.06


def side_light() -> torch.Tensor:
    """Brighter from the right of the picture and from above."""
    light = neutral_light(1)[0]
    light[1], light[3] = -0.5, 0.7
    return light


def test_light_is_taken_off_the_texture_and_put_back(tmp_path, source):
    lit = painted_source(tmp_path / "lit", load_head("makehuman"), light_sh=side_light())
    plain, albedo = untrained(source), untrained(lit)
    baked = untrained(lit, replace(TINY, relight=False))
    seen = load_head("makehuman").data.regions["face"]

    def error(model):
        return float((_at_vertices(model.static, seen) - _at_vertices(plain.static, seen)).abs().median())

    assert error(albedo) < 3 and error(baked) > 3 * error(albedo)
    channels, view = frames_of(lit, [0])
    own = albedo.eval().render(channels, view, Scene()).rgb
    given = albedo.render(channels, view, Scene(light_sh=side_light()[None])).rgb
    assert torch.allclose(own, given, atol=1e-5)
    flat = albedo.render(channels, view, Scene(light_sh=neutral_light(1))).rgb
    truth = plain.eval().render(channels, view, Scene()).rgb
    assert (flat - truth).abs().mean() < 0.3 * (own - truth).abs().mean()


def _at_vertices(texture, region):
    data = load_head("makehuman").data
    used = data.uv_triangles[region[data.triangles].all(1)].unique()
    places = (data.uv[used] * texture.shape[1]).long().clamp(0, texture.shape[1] - 1)
    return texture.float()[:, places[:, 1], places[:, 0]]


def test_the_light_stays_when_the_camera_moves(tmp_path, source):
    model = untrained(source).eval()
    channels, view = frames_of(source, [0])
    turn = rigid(torch.tensor([[0.0, 0.0, math.pi / 2]]), torch.zeros(1, 3))
    scene = Scene(light_sh=side_light()[None])
    upright = model.render(channels, view, scene).rgb
    rolled = model.render(channels, replace(view, T_camera_world=turn @ view.T_camera_world), scene).rgb
    # A camera rolled by a quarter sees the same picture turned by a quarter.
    assert (torch.rot90(rolled, 1, (2, 3)) - upright).abs().mean() < 0.01


def test_an_untrained_painter_changes_nothing(source):
    model = untrained(source).eval()
    channels, view = frames_of(source, [0, 3])
    painted = model.render(channels, view, Scene()).rgb
    static = model.baselines()["static texture"].render(channels, view, Scene()).rgb
    assert torch.allclose(painted, static, atol=2e-2)


@pytest.mark.parametrize("residual", [True, False])
def test_every_term_reaches_the_decoder_and_nothing_else(source, residual):
    model = untrained(source, replace(TINY, residual=residual)).train()
    (stage,) = model.stages()
    (player,) = stage.players
    active = ActivePlayer(player, model)
    stream = BatchStream({"target": (source,)}, stage, 0, 0, torch.device("cpu"))
    batch = stream.batch(player, 0)
    stream.close()
    free_only(model, active)
    for name in player.losses:
        model.zero_grad(set_to_none=True)
        model.losses(batch, stage, player)[name].backward()
        reached = {key for key, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        assert reached and all(key.startswith("painter.decoder.") for key in reached)


def test_padding_teaches_nothing(source):
    model = untrained(source).eval()
    (stage,) = model.stages()
    stream = BatchStream({"target": (source,)}, stage, 0, 0, torch.device("cpu"))
    batch = stream.batch(stage.players[0], 0)
    stream.close()
    valid = batch.valid.clone()
    valid[..., 32:] = False
    outside = batch.image.clone()
    outside[..., 32:] = 0.9
    first = model.losses(replace(batch, valid=valid), stage, stage.players[0])["l1"]
    second = model.losses(replace(batch, valid=valid, image=outside), stage, stage.players[0])["l1"]
    assert torch.allclose(first, second)


def test_training_beats_the_static_texture_on_frames_never_seen(source, avatar_folder):
    model = load_avatar(avatar_folder)
    held_out = source.capture.held_out_frames
    static = model.baselines()["static texture"]
    assert painted_error(model, source, held_out) < 0.7 * painted_error(static, source, held_out)


def test_arkit_drives_it_as_the_track_does(source, avatar_folder):
    model = load_avatar(avatar_folder)
    channels, view = frames_of(source, [0, 5])
    own = model.render(channels, view, Scene()).rgb
    foreign = model.render({ARKIT: channels[ARKIT], HEAD_POSE: channels[HEAD_POSE]}, view, Scene()).rgb
    assert (own - foreign).abs().mean() < 0.01


def test_a_foreign_expression_is_kept_within_the_trained_range(source, avatar_folder):
    model = load_avatar(avatar_folder)
    channels, view = frames_of(source, [0])
    wild = {**channels, ARKIT: torch.full((1, 52), 40.0)}
    inputs = model.inputs(wild, view) * 100
    assert torch.isfinite(model.painter(inputs)).all()
    assert torch.equal(model.painter(inputs), model.painter(inputs * 2))


def test_orientation_is_relative_to_the_viewing_camera(source, avatar_folder):
    model = load_avatar(avatar_folder)
    channels, view = frames_of(source, [0])
    turn = torch.eye(4)
    turn[:3, :3] = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    rolled = replace(view, T_camera_world=turn @ view.T_camera_world)
    together = {**channels, HEAD_POSE: turn.inverse() @ channels[HEAD_POSE]}
    assert not torch.allclose(model.inputs(channels, rolled), model.inputs(channels, view), atol=1e-2)
    assert torch.allclose(model.inputs(together, rolled), model.inputs(channels, view), atol=1e-4)


def test_the_graph_is_the_painter_and_composites_to_the_same_picture(source, avatar_folder):
    model = load_avatar(avatar_folder)
    runtime = model.runtime()
    channels, view = frames_of(source, [1, 2])
    inputs = runtime.prepare(channels, view)
    assert {s.name: (2, *s.shape) for s in runtime.inputs} == {k: tuple(v.shape) for k, v in inputs.items()}
    outputs = dict(zip([s.name for s in runtime.outputs], runtime.graph()(*inputs.values()), strict=True))
    assert all(tuple(outputs[s.name].shape) == (2, *s.shape) for s in runtime.outputs)
    assert torch.equal(
        runtime.composite(outputs, channels, view, Scene()).rgb, model.render(channels, view, Scene()).rgb
    )


def test_the_scene_lies_behind(source, avatar_folder):
    model = load_avatar(avatar_folder)
    channels, view = frames_of(source, [0])
    green = torch.tensor([0.0, 1.0, 0.0])[None, :, None, None].expand(1, 3, 64, 64)
    rendering = model.render(channels, view, Scene(background=green))
    assert torch.allclose(rendering.rgb[0, :, 0, 0], torch.tensor([0.0, 1.0, 0.0]))
    assert rendering.alpha.max() == 1 and rendering.alpha[0, 0, 0, 0] == 0


def test_the_default_network_fits_two_megabytes():
    head = load_head("makehuman")
    model = DynamicTexture(DynamicTextureConfig())
    model._build(head)
    assert sum(p.numel() for p in model.painter.decoder.parameters()) * 4 <= 2 * 2**20
