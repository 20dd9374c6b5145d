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
from headstudio.texture.static import StaticTextureConfig
from headstudio.texture.synthesis import SynthesisConfig
from headstudio.texture.texels import TexelMap
from headstudio.training.avatars import load_avatar
from headstudio.training.batches import BatchStream
from headstudio.training.players import ActivePlayer, free_only
from headstudio.training.train import Recipe, train
from support.painted import JAW_OPEN, painted_source, skin_texture, true_texture
from support.scanned import known_scan

TINY = DynamicTextureConfig(
    size_px=64,
    static=StaticTextureConfig(size_px=128, light_px=64, synthesis=SynthesisConfig(work_px=64, levels=2)),
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


def shown(model, source, frames, scene=None):
    channels, view = frames_of(source, frames)
    with torch.no_grad():
        return model.eval().render(channels, view, scene or Scene())


def pictures_of(source, frames):
    return torch.stack([source.capture.image(f).float() / 255 for f in frames])


def facial_error(model, source, frames, scene=None):
    """Mean error on the face, away from its outline, where the texture was seen."""
    drawn = shown(model, source, frames, scene)
    face = _map_of(load_head("makehuman").data.regions["face"])
    inside = sample_texture(face[None], drawn.maps["uv"], drawn.alpha) > 0.99
    return float(((drawn.rgb - pictures_of(source, frames)).abs() * inside).sum() / inside.sum() / 3)


def _map_of(region):
    data = load_head("makehuman").data
    texels = TexelMap.build(data.triangles, data.uv, data.uv_triangles, 128)
    return texels.spread(region.float()[:, None])


@pytest.fixture(scope="module")
def skins(tmp_path_factory):
    """The same person in even light and in light from one side."""
    folder, head = tmp_path_factory.mktemp("skins"), load_head("makehuman")
    even = painted_source(folder / "even", head, texture=skin_texture)
    return even, painted_source(folder / "side", head, light_sh=side_light(), texture=skin_texture)


def test_light_is_taken_off_the_texture_and_put_back(skins):
    even, lit = skins
    albedo, baked = untrained(lit), untrained(lit, replace(TINY, relight=False))
    frames = [0, 5, 9]
    assert facial_error(albedo, lit, frames) < 0.02
    given = Scene(light_sh=neutral_light(1))
    assert facial_error(albedo, even, frames, given) < 0.5 * facial_error(baked, even, frames, given)
    # A lit map is what it is in every light.
    assert torch.equal(shown(baked, lit, [0]).rgb, shown(baked, lit, [0], given).rgb)


def scanned(source, mask=None):
    """The source with a scan of the true skin."""
    return replace(source, scan=known_scan(load_head("makehuman"), skin_texture(0.0), mask))


def test_a_scan_tells_the_light_of_the_clip(skins):
    model = untrained(scanned(skins[1]))
    wanted = side_light() / side_light()[0, 0]
    found = model.light_sh / model.light_sh[0, 0]
    assert (found - wanted).abs().max() < 0.12
    assert facial_error(model, skins[1], [0, 5, 9]) < 0.015
    assert facial_error(model, skins[0], [0, 5, 9], Scene(light_sh=neutral_light(1))) < 0.02


def test_a_scan_brings_skin_and_mask_and_the_clip_what_the_mask_covers(skins):
    mask = torch.zeros(128, 128, dtype=torch.uint8)
    mask[40:80, 40:88] = 255
    person = scanned(skins[0], mask)
    albedo = person.scan.texture.albedo.clone()
    albedo[:, mask == 255] = torch.tensor([0, 255, 0], dtype=torch.uint8)[:, None]  # as if clip A had seen no skin here
    wrong = replace(person.scan.texture, albedo=albedo)
    paper = replace(TINY, own_skin=False)
    model = untrained(replace(person, scan=replace(person.scan, texture=wrong)), paper)
    assert model.blend.float()[0, 45:75, 45:83].min() > 250 and model.blend.float()[0, :, 100:].max() == 0
    assert torch.equal(model.static[:, model.blend[0] == 0], albedo[:, model.blend[0] == 0])
    inside = (model.blend[0] == 255) & (_map_of(load_head("makehuman").data.regions["nose"])[0] > 0.5)
    truth = (skin_texture(0.0) * 255)[:, inside]
    assert inside.sum() > 20 and (model.static[:, inside].float() - truth).abs().median() < 15


def test_its_own_skin_goes_over_that_of_the_scan_where_it_is_seen_well(skins):
    person = scanned(skins[0])
    shifted = replace(person.scan.texture, albedo=person.scan.texture.albedo.roll(9, dims=2))
    person = replace(person, scan=replace(person.scan, texture=shifted))
    nose = _map_of(load_head("makehuman").data.regions["nose"])[0] > 0.99
    scalp = _map_of(load_head("makehuman").data.regions["scalp"])[0] > 0.99
    truth = (skin_texture(0.0) * 255).round()

    def apart(model, inside):
        return float((model.static.float() - truth)[:, inside].abs().mean())

    own, paper = untrained(person), untrained(person, replace(TINY, own_skin=False))
    assert apart(own, nose) < 0.7 * apart(paper, nose)
    behind = scalp & (own.static == shifted.albedo).all(0)
    assert behind.sum() > 0.3 * scalp.sum() and torch.equal(paper.static, shifted.albedo)


@pytest.mark.parametrize("canvas", ["everywhere", "alone"])
def test_without_mask_or_static_base_the_network_paints_the_whole_head(source, canvas):
    model = untrained(source, replace(TINY, canvas=canvas))
    assert model.blend.min() == 255
    flat = (model.static == model.static[:, :1, :1]).all()
    assert bool(flat) == (canvas == "alone")


def test_the_light_stays_when_the_camera_moves(tmp_path, source):
    model = untrained(source).eval()
    channels, view = frames_of(source, [0])
    turn = rigid(torch.tensor([[0.0, 0.0, math.pi / 2]]), torch.zeros(1, 3))
    scene = Scene(light_sh=side_light()[None])
    upright = model.render(channels, view, scene or Scene()).rgb
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
