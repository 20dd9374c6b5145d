"""The hybrid head: what reaches which parameters, eq. 1, codes, the graph, what comes back from disk, bad settings."""

import dataclasses

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.heads import load_head
from headstudio.methods.hybrid_head import HybridHead, HybridHeadConfig
from headstudio.methods.hybrid_head.blendshapes import articulated, weights_in, weights_of
from headstudio.methods.hybrid_head.config import PRESETS, HeadWeights, PictureWeights
from headstudio.methods.hybrid_head.drawing import FINER, paint, places
from headstudio.methods.hybrid_head.rendering import Refiner
from headstudio.methods.hybrid_head.schedule import ENCODE, HEAD, PICTURE, REACHES, TRANSFER
from headstudio.motion.articulation import articulation
from headstudio.nn.head_autoencoder import HeadAutoencoderConfig
from headstudio.nn.patch_discriminator import PatchDiscriminatorConfig
from headstudio.nn.refining_unet import RefiningUNetConfig
from headstudio.records.channels import ARKIT, GAZE, HEAD_POSE, Scene, expression_of
from headstudio.render.mesh import render_surface
from headstudio.texture.unwrapping import UnwrappingConfig
from headstudio.training import checkpoint
from headstudio.training.players import ActivePlayer, free_only
from support.learning import first_batch, named, reached
from support.shapes import camera, sphere, turned
from support.tiny import tiny_source

CODE = 6
TINY = HybridHeadConfig(
    size_px=16,
    unwrapping=UnwrappingConfig(size_px=32, mean_frames=3, aligns=False),
    autoencoder=HeadAutoencoderConfig(side=32, code=CODE, narrowest=4, widest=8, hidden=8, tones=3),
    judge=PatchDiscriminatorConfig(width=4, halvings=2),
    head_weights=HeadWeights(),
    renderer=RefiningUNetConfig(widths=(4, 6)),
    head_steps=4,
    picture_steps=3,
    transfer_steps=2,
    plate_frames=4,
    low_precision=False,
)
EQUAL_START = dataclasses.replace(TINY, starts_from_mesh=False, starts_from_portrait=False)
NO_CORRECTION = dataclasses.replace(TINY, corrective=False)
PLAIN_TEXTURES = dataclasses.replace(TINY, autoencoder=dataclasses.replace(TINY.autoencoder, tones=0))
NO_JUDGE = dataclasses.replace(TINY, head_weights=HeadWeights(adversarial=0.0))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return tiny_source(tmp_path_factory.mktemp("hybrid") / "capture")


def made(config, source):
    torch.manual_seed(0)
    avatar = HybridHead(config)
    avatar.setup({"target": (source,)})
    # Outputs that start at zero hide what stands before them.
    for output in (avatar.decoder.texture[-1], avatar.refiner.unet.output):
        torch.nn.init.normal_(output.weight)
    avatar.on_event(ENCODE)
    return avatar


@pytest.fixture(scope="module")
def avatar(source):
    return made(TINY, source).eval()


@pytest.mark.parametrize("config", [TINY, EQUAL_START, NO_CORRECTION, PLAIN_TEXTURES, NO_JUDGE])
def test_each_loss_reaches_the_parameters_it_declares_and_no_others(config, source):
    avatar = made(config, source).train()
    stages = avatar.stages()
    assert [stage.name for stage in stages] == [HEAD, PICTURE, TRANSFER]
    for stage in stages:
        for player in stage.players:
            losses = avatar.losses(first_batch({"target": (source,)}, stage, player), stage, player)
            assert losses.keys() == player.losses.keys()
            for name in losses:
                # Each anew: the graph of one batch is shared.
                avatar._last = None
                free_only(avatar, ActivePlayer(player, avatar))
                value = avatar.losses(first_batch({"target": (source,)}, stage, player), stage, player)[name]
                assert value.ndim == 0 and torch.isfinite(value)
                found, allowed = reached(avatar, value), named(avatar, REACHES[stage.name][name])
                assert found <= allowed, found - allowed
                for pattern in REACHES[stage.name][name]:
                    wanted = named(avatar, (pattern,))
                    assert not wanted or wanted & found, (name, pattern)
                assert allowed <= named(avatar, player.parameters)


def test_the_judge_sees_what_the_autoencoder_has_just_made(source):
    avatar = made(TINY, source).train()
    stage = avatar.stages()[0]
    autoencoder, judge = stage.players[:2]
    batch = first_batch({"target": (source,)}, stage, autoencoder)
    avatar.losses(batch, stage, autoencoder)
    kept = avatar._last
    assert kept is not None and not kept._decoded.texture.requires_grad
    found = avatar.losses(batch, stage, judge)["judge"]
    assert not reached(avatar, found) & named(avatar, ("encoder.*", "decoder.*"))
    assert avatar._last is None


def test_the_paper_preset_is_the_papers_as_far_as_it_says(source):
    paper = PRESETS["paper"]
    assert (paper.renderer.inputs, paper.renderer.outputs) == (3, 6) and paper.corrective
    assert paper.judge == PatchDiscriminatorConfig(64, 3)
    assert not paper.starts_from_mesh and not paper.starts_from_portrait and paper.head_weights.features == 1
    with torch.device("meta"):
        for config in PRESETS.values():
            HybridHead(config)


def test_the_picture_is_the_convex_combination_of_eq_1(avatar, source):
    frames = torch.tensor([0, 3])
    channels, view = source.motion.at(frames), source.track.view(frames)
    background = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        found = avatar.render(channels, view, Scene(background=background))
    weights, mesh, corrective = (found.maps[name] for name in ("weights", "mesh", "corrective"))
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 16, 16))
    wanted = torch.zeros(2, 3, 16, 16)
    for batch in range(2):
        for row in range(16):
            for column in range(16):
                a, b, c = weights[batch, :, row, column]
                at = (batch, slice(None), row, column)
                wanted[at] = a * mesh[at] + b * corrective[at] + c * background[at]
    torch.testing.assert_close(found.rgb, wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.alpha, weights[:, :1] + weights[:, 1:2])
    again = found.maps["straight_rgb"] * found.alpha + (1 - found.alpha) * background
    torch.testing.assert_close(again, found.rgb, atol=2e-3, rtol=0)


def test_without_a_correction_there_is_none(source):
    avatar = made(NO_CORRECTION, source).eval()
    frames = torch.tensor([0, 3])
    with torch.no_grad():
        weights = avatar.render(source.motion.at(frames), source.track.view(frames), Scene()).maps["weights"]
    assert not weights[:, 1].any()
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 16, 16))
    assert "refinement" not in avatar.stages()[1].players[0].losses


def test_an_untrained_network_shows_the_mesh_where_it_is_and_the_room_elsewhere():
    torch.manual_seed(0)
    drawn = torch.zeros(1, 4, 16, 16)
    drawn[:, :, :, 8:] = torch.rand(1, 4, 16, 8)
    drawn[:, 3, :, 8:] = 1.0
    shown = Refiner(TINY)(type("Drawn", (), {"rgb": drawn[:, :3], "covered": drawn[:, 3:]})())
    assert (shown.weights[:, 2, :, :8] > 0.7).all() and (shown.weights[:, 0, :, 8:] > 0.7).all()
    equal = Refiner(EQUAL_START)(type("Drawn", (), {"rgb": drawn[:, :3], "covered": drawn[:, 3:]})())
    torch.testing.assert_close(equal.weights, torch.full_like(equal.weights, 1 / 3))
    torch.testing.assert_close(equal.corrective, torch.full_like(equal.corrective, 0.5))


def test_given_codes_are_taken_and_tracked_signals_are_turned_into_codes(avatar, source):
    frames = torch.tensor([0, 3])
    channels, view = source.motion.at(frames), source.track.view(frames)
    told = avatar.code(channels, view)
    given = torch.randn_like(told)
    assert torch.equal(avatar.code({**channels, avatar.latent: given}, view), given)
    assert torch.isfinite(told).all() and not torch.allclose(told[0], told[1])
    assert avatar.driven_by[0] == {avatar.latent, HEAD_POSE}
    assert avatar.driven_by[2] == {ARKIT, HEAD_POSE}
    untransferred = dataclasses.replace(TINY, transfer_steps=0)
    assert made(untransferred, source).driven_by == ({avatar_latent(untransferred, source), HEAD_POSE},)


def avatar_latent(config, source):
    return made(config, source).latent


def test_every_training_frame_has_its_code_and_held_out_ones_are_encoded_alike(avatar, source):
    codes = avatar.codes(source)[avatar.latent]
    known = list(avatar.known.frames[source.key])
    assert codes.shape == (source.track.frames, CODE) and known == list(source.capture.train_frames)
    torch.testing.assert_close(avatar.known_codes(source.key, torch.tensor(known)), codes[known])
    assert not torch.allclose(codes[-1], codes[known[-1]])
    textures = avatar._textures[source.key][[2]]
    away = textures.rgb.float() - avatar.person.mean.float()
    weights = weights_of(avatar.person.head, source.motion.at([2]))
    with torch.no_grad():
        standard = away / (255 * avatar.texture_deviation)
        wanted = avatar.encoder(avatar.weight_range(weights), avatar.eigen.coefficients(standard), standard).mean
    torch.testing.assert_close(codes[2:3], wanted)


def test_a_frame_without_a_face_has_the_code_of_the_one_before(avatar, source):
    usable = source.track.usable.clone()
    usable[[0, 4, 5]] = False
    codes = avatar.codes(source)[avatar.latent]
    found = avatar.codes(dataclasses.replace(source, track=dataclasses.replace(source.track, usable=usable)))
    found = found[avatar.latent]
    torch.testing.assert_close(found[[0, 4, 5]], codes[[1, 3, 3]])
    torch.testing.assert_close(found[6:], codes[6:])


@pytest.mark.parametrize("config", [TINY, EQUAL_START, NO_CORRECTION, PLAIN_TEXTURES])
def test_the_graph_gives_what_is_rendered(config, source):
    avatar = made(config, source).eval()
    frames = torch.tensor([0, 3])
    channels, view = source.motion.at(frames), source.track.view(frames)
    runtime = avatar.runtime()
    assert not runtime.graph().training
    with torch.no_grad():
        outputs = runtime.graph()(*runtime.prepare(channels, view).values())
        named_outputs = dict(zip((spec.name for spec in runtime.outputs), outputs, strict=True))
        found = runtime.composite(named_outputs, channels, view, Scene())
        wanted = avatar.render(channels, view, Scene())
    torch.testing.assert_close(found.rgb, wanted.rgb)
    torch.testing.assert_close(found.alpha, wanted.alpha)


def test_an_avatar_comes_back_from_its_state(avatar, source):
    again = HybridHead(TINY)
    again.restore(avatar.state())
    checkpoint.replace_tensors(again, avatar.state_dict())
    again.eval()
    assert again.latent == avatar.latent and again.notes() == avatar.notes()
    frames = torch.tensor([1])
    channels, view = source.motion.at(frames), source.track.view(frames)
    with torch.no_grad():
        pictures = [one.render(channels, view, Scene()).rgb for one in (avatar, again)]
    assert torch.equal(*pictures)
    torch.testing.assert_close(again.codes(source)[again.latent], avatar.codes(source)[avatar.latent])


def test_one_that_was_not_told_its_captures_says_so(avatar, source):
    again = HybridHead(TINY)
    again.restore(avatar.state())
    stage = again.stages()[0]
    with pytest.raises(HeadstudioError, match="not known"):
        again.losses(first_batch({"target": (source,)}, stage, stage.players[0]), stage, stage.players[0])


def test_codes_of_another_training_have_another_name(source):
    names = {made(dataclasses.replace(TINY, head_steps=steps), source).latent for steps in (4, 5)}
    assert len(names) == 2 and all(name.space.startswith("hybrid-head-") for name in names)


def test_baselines_leave_parts_out(avatar, source):
    frames = torch.tensor([0, 3])
    channels, view = source.motion.at(frames), source.track.view(frames)
    mesh, still = avatar.baselines()["mesh only"], avatar.baselines()["mean code"]
    with torch.no_grad():
        shown = mesh.render(channels, view, Scene())
        assert not shown.maps["weights"][:, 1].any()
        own = {**channels, avatar.latent: avatar.known.mean.expand(2, -1)}
        assert torch.equal(still.render(channels, view, Scene()).rgb, avatar.render(own, view, Scene()).rgb)


def test_the_surface_has_the_texture_of_an_expression(avatar):
    asset = avatar.surface()
    assert asset.texture.shape == (3, 32, 32) and asset.vertices_m.shape == avatar.person.neutral_m[0].shape
    weights = torch.zeros(1, 52)
    weights[0, 17] = 1.0
    baked = avatar.runtime().baker().bake({ARKIT: weights})
    assert baked.shape == (3, 32, 32) and not torch.equal(baked, asset.texture)


def test_weights_stand_for_the_state_they_were_taken_from(source):
    head = load_head("makehuman")
    channels = source.motion.at([0, 1, 2])
    channels = {**channels, GAZE: torch.randn(3, 2, 3) * torch.tensor([0.2, 0.2, 0.0])}
    weights = weights_of(head, channels)
    assert weights.shape == (3, weights_in(head))
    for found, wanted in zip(articulated(head, weights, {}), articulation(head, channels), strict=True):
        torch.testing.assert_close(found, wanted)
    beyond = articulated(head, weights + 5.0, {})
    low, high = head.data.expression_range
    assert beyond.expression.min() >= low and beyond.expression.max() <= high
    assert channels[expression_of("makehuman")].shape == beyond.expression.shape


def test_the_drawing_is_the_renderers_but_for_its_filter():
    points, mesh = sphere()
    texture = torch.nn.functional.interpolate(torch.rand(1, 3, 6, 6), (64, 64), mode="bicubic").clamp(0, 1)
    vertices, looking = turned(points, 0.3)[None], camera(64)
    found = places(vertices, mesh, looking)
    assert found.uv.shape == (1, 2, 64 * FINER, 64 * FINER)
    drawn = paint(texture, found.uv, found.mask)
    wanted = render_surface(vertices, mesh, looking, texture)
    inner = (wanted.mask > 0.999) & (drawn.covered > 0.999)
    assert inner.float().mean() > 0.1
    assert ((drawn.rgb - wanted.image).abs() * inner).max() < 0.03
    # Four places a pixel know its coverage to a quarter.
    assert (drawn.covered - wanted.mask).abs().max() <= 0.6 and (drawn.covered - wanted.mask).abs().mean() < 0.01


def test_a_pixel_is_the_naive_mean_over_what_the_mesh_covers():
    torch.manual_seed(0)
    texture, uv = torch.rand(1, 3, 8, 8), torch.rand(1, 2, 4, 6)
    mask = (torch.rand(1, 1, 4, 6) > 0.4).float()
    mask[..., :2, :2] = 0
    found = paint(texture, uv, mask)
    grid = 2 * uv.permute(0, 2, 3, 1) - 1
    looked_up = torch.nn.functional.grid_sample(texture, grid, padding_mode="border", align_corners=False)
    for row in range(2):
        for column in range(3):
            cell = (slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2))
            on = mask[0, 0][cell] > 0
            wanted = looked_up[0][(slice(None), *cell)][:, on].mean(1) if on.any() else torch.zeros(3)
            torch.testing.assert_close(found.rgb[0, :, row, column], wanted)
            torch.testing.assert_close(found.covered[0, 0, row, column], on.float().mean())


BAD = [
    {"unwrapping": UnwrappingConfig(size_px=64)},
    {"autoencoder": HeadAutoencoderConfig(side=48)},
    {"size_px": 17},
    {"renderer": RefiningUNetConfig(inputs=4, widths=(4, 6))},
    {"renderer": RefiningUNetConfig(outputs=3, widths=(4, 6))},
    {"renderer": RefiningUNetConfig(widths=())},
    {"renderer": RefiningUNetConfig(widths=(4,) * 7)},
]


@pytest.mark.parametrize("change", BAD)
def test_settings_that_do_not_fit_are_refused(change, source):
    with pytest.raises(HeadstudioError):
        made(dataclasses.replace(TINY, **change), source)


def test_loss_weights_of_zero_take_their_terms_out():
    bare = dataclasses.replace(
        TINY,
        head_weights=HeadWeights(weights=0.0, tones=0.0, vertices=0.0, adversarial=0.0),
        picture_weights=PictureWeights(perceptual=0.0, refinement=0.0),
        transfer_steps=0,
    )
    head, picture = HybridHead(bare).stages()
    assert [set(player.losses) for player in head.players] == [{"texture", "divergence"}]
    assert set(picture.players[0].losses) == {"l1"} and picture.events == {0: ENCODE}
