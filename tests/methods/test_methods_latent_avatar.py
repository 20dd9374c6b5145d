"""The latent head: what reaches which parameters, where the window lies, the graph, the baseline, bad settings."""

import dataclasses

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import rigid, transform
from headstudio.methods.latent_avatar import LatentAvatar, LatentAvatarConfig
from headstudio.methods.latent_avatar.config import PRESETS
from headstudio.methods.latent_avatar.frame import HeadFrame, Window
from headstudio.methods.latent_avatar.schedule import CODES, REACHES, TRACKED
from headstudio.nn.face_autoencoder import FaceEncoderConfig
from headstudio.nn.feature_generator import FeatureGeneratorConfig, StyleConfig
from headstudio.nn.level_widths import LevelWidths
from headstudio.nn.super_resolution import SuperResolutionConfig
from headstudio.nn.volume_field import VolumeFieldConfig
from headstudio.records.channels import FACE_CROP, HEAD_POSE, Scene, View
from headstudio.render.rays import Box
from headstudio.training import checkpoint
from support.learning import first_batch, named, reached
from support.tiny import tiny_source

CODE = 12
TINY = LatentAvatarConfig(
    rays_side=8,
    samples=6,
    encoder=FaceEncoderConfig(width=2, code=CODE, normalisation="deviation"),
    generator=FeatureGeneratorConfig(
        side=8,
        widths=LevelWidths(64, 8),
        out_channels=24,
        painted_channels=0,
        style=StyleConfig(code_width=CODE, width=CODE, layers=0),
    ),
    volume=VolumeFieldConfig(8, 8, 8, view_octaves=0),
    super_resolution=SuperResolutionConfig(9, 8, 1, outputs=4, residual=True),
    cells=8,
    cells_looked_at=64,
    matte_frames=0,
    start_side=8,
    mixed_planes=3,
    spread_frames=4,
    perceptual_weight=0.0,
    steps=4,
    transfer_steps=2,
)
BASELINE = dataclasses.replace(TINY, code="tracked")
ROUGH = dataclasses.replace(
    TINY, super_resolution=SuperResolutionConfig(8, 8, 1), own_planes=False, mixed_planes=0, start_side=0
)
BOX = Box((-0.1, -0.15, -0.1), (0.1, 0.1, 0.1))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return tiny_source(tmp_path_factory.mktemp("latent") / "capture")


def made(config, source):
    torch.manual_seed(0)
    avatar = LatentAvatar(config)
    avatar.setup({"target": (source,)})
    # A residual that starts at zero hides what stands before it.
    torch.nn.init.normal_(avatar.head.super_resolution.output.weight)
    if config.mixed_planes:
        torch.nn.init.normal_(avatar.head.mixed_planes, std=0.1)
    return avatar


@pytest.mark.parametrize("config", [TINY, BASELINE, ROUGH])
def test_each_loss_reaches_the_parameters_it_declares_and_no_others(config, source):
    avatar = made(dataclasses.replace(config, perceptual_weight=0.1), source)
    codes = TRACKED if config.code == "tracked" else CODES
    for stage in avatar.stages():
        player = stage.players[0]
        losses = avatar.losses(first_batch({"target": (source,)}, stage, player), stage, player)
        assert losses.keys() == player.losses.keys()
        for name in losses:
            # Each anew: the graph of one batch is shared.
            value = avatar.losses(first_batch({"target": (source,)}, stage, player), stage, player)[name]
            assert value.ndim == 0 and torch.isfinite(value)
            found = reached(avatar, value)
            allowed = named(avatar, REACHES[name] + (() if name == "code" else codes))
            assert found <= allowed, found - allowed
            for pattern in REACHES[name]:
                wanted = named(avatar, (pattern,))
                assert not wanted or wanted & found, (name, pattern)
        assert named(avatar, player.parameters) >= found


def test_the_paper_preset_has_the_published_numbers():
    paper = PRESETS["paper"]
    assert (paper.rays_side, paper.samples, paper.steps, paper.batch_size) == (128, 64, 200_000, 2)
    assert paper.rays_side << paper.super_resolution.doublings == 512
    assert (paper.encoder.code, paper.generator.side, paper.generator.out_channels) == (128, 128, 96)
    weights = paper.l1_weight, paper.perceptual_weight, paper.low_resolution_weight, paper.mask_weight
    assert weights == (1.0, 0.1, 0.1, 0.1) and paper.learning_rate == 1e-4
    with torch.device("meta"):
        for config in PRESETS.values():
            LatentAvatar(config)


def test_without_a_code_given_the_picture_tells_it_and_without_a_picture_the_tracked_signals(source):
    avatar = made(TINY, source).eval()
    frames = torch.tensor([0, 3])
    channels, view = source.motion_with({FACE_CROP}).at(frames), source.track.view(frames)
    encoded = avatar.code(channels, view)
    torch.testing.assert_close(avatar.encode(channels)[avatar.latent], encoded)
    given = torch.randn_like(encoded)
    assert torch.equal(avatar.code({**channels, avatar.latent: given}, view), given)
    tracked = avatar.code(source.motion.at(frames), view)
    assert tracked.shape == encoded.shape and not torch.allclose(tracked, encoded)
    assert avatar.driven_by[0] == {avatar.latent, HEAD_POSE} and avatar.driven_by[1] == {FACE_CROP, HEAD_POSE}
    baseline = made(BASELINE, source)
    assert baseline.encode(channels) == {} and all(FACE_CROP not in wanted for wanted in baseline.driven_by)


@pytest.mark.parametrize("config", [TINY, ROUGH])
def test_another_background_takes_the_place_of_the_learned_one(config, source):
    avatar = made(config, source).eval()
    frames = torch.tensor([0, 3])
    channels, view = source.motion.at(frames), source.track.view(frames)
    with torch.no_grad():
        black = avatar.render(channels, view, Scene())
        green = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1).expand_as(black.rgb)
        over_green = avatar.render(channels, view, Scene(background=green))
    wanted = (black.rgb + (1 - black.alpha) * green).clamp(0, 1)
    torch.testing.assert_close(over_green.rgb, wanted)
    assert float(black.alpha.min()) >= 0 and float(black.alpha.max()) <= 1


@pytest.mark.parametrize("config", [TINY, BASELINE, ROUGH, dataclasses.replace(TINY, cells=0)])
def test_the_graph_without_skipping_gives_what_is_rendered(config, source):
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
    torch.testing.assert_close(found.rgb, wanted.rgb, atol=2e-3, rtol=0)
    torch.testing.assert_close(found.alpha, wanted.alpha, atol=2e-3, rtol=0)


def test_an_avatar_comes_back_from_its_state(source):
    avatar = made(TINY, source).eval()
    again = LatentAvatar(TINY)
    again.restore(avatar.state())
    checkpoint.replace_tensors(again, avatar.state_dict())
    again.eval()
    assert again.latent == avatar.latent and again.head.box == avatar.head.box
    frames = torch.tensor([1])
    channels, view = source.motion.at(frames), source.track.view(frames)
    with torch.no_grad():
        pictures = [one.render(channels, view, Scene()).rgb for one in (avatar, again)]
    assert torch.equal(*pictures)


def test_codes_of_another_training_have_another_name(source):
    names = {made(dataclasses.replace(TINY, steps=steps), source).latent for steps in (4, 5)}
    assert len(names) == 2


def turned_views():
    K_px = torch.tensor([[300.0, 0, 90.0], [0, 310.0, 110.0], [0, 0, 1]]).expand(3, 3, 3)
    rotations = torch.tensor([[torch.pi, 0.0, 0.0], [torch.pi, 0.9, 0.1], [2.6, -0.5, 0.3]])
    poses = rigid(rotations, torch.tensor([[0.0, 0.0, 0.6], [0.03, -0.02, 0.5], [-0.05, 0.04, 0.8]]))
    return View(Camera(K_px, 200, 220), torch.eye(4).expand(3, 4, 4)), poses


def test_a_window_shows_what_the_view_shows():
    view, poses = turned_views()
    window = Window.around(BOX, view, poses)
    small = window.view(view, 64)
    points = torch.randn(3, 20, 3) * 0.05
    full_px, _ = view.camera.project(transform(poses, points))
    small_px, _ = small.camera.project(transform(poses, points))
    corner = window.middle_px - window.side_px[:, None] / 2
    torch.testing.assert_close(small_px, (full_px - corner[:, None]) * (64 / window.side_px)[:, None, None])


def test_what_is_cut_out_fits_where_it_was():
    view, poses = turned_views()
    ramp = torch.stack(torch.meshgrid(torch.arange(220.0), torch.arange(200.0), indexing="ij")).expand(3, 2, 220, 200)
    window = Window.around(BOX, view, poses)
    back = window.paste(window.cut(ramp, 256), 220, 200)
    inside = window.paste(torch.ones(3, 1, 256, 256), 220, 200) > 0.999
    # Pixels by the frame's border mix with what lies beyond it.
    inside[:, :, [0, 1, -2, -1]] = False
    inside[..., [0, 1, -2, -1]] = False
    assert inside.float().mean() > 0.05
    worst = ((back - ramp).abs() * inside).max()
    assert worst < 0.3  # bilinear twice, of a ramp: half a pixel at the window's border at most


def test_the_box_is_measured_in_half_heads():
    frame = HeadFrame((0.0, 0.01, -0.05), (0.07, 0.11, 0.09))
    box = frame.box((-1, -2, -1), (1, 1, 1))
    torch.testing.assert_close(torch.tensor(box.lowest_m), torch.tensor([-0.07, -0.21, -0.14]))


def test_the_start_shows_before_anything_is_learned(source):
    started, bare = made(TINY, source), made(dataclasses.replace(TINY, start_side=0), source)
    points = started.head.frame.half_m[1] * torch.randn(50, 3, generator=torch.Generator().manual_seed(5))
    assert started.head.start(points).abs().max() > 0 and not bare.head.start(points).any()
    assert started.head.grid.occupied.sum() < bare.head.grid.occupied.sum()
    restored = LatentAvatar(TINY)
    restored.restore(started.state())
    checkpoint.replace_tensors(restored, started.state_dict())
    torch.testing.assert_close(restored.head.start(points), started.head.start(points))


def test_codes_of_the_clip_are_spread_before_training(source):
    avatar = made(TINY, source)
    crops = source.motion_with({FACE_CROP}).at(list(source.capture.train_frames))[FACE_CROP]
    spread = avatar.encoder.output(avatar.encoder.maps(crops - 0.5).flatten(1))
    close = made(dataclasses.replace(TINY, spread_frames=0), source)
    usual = close.encoder.output(close.encoder.maps(crops - 0.5).flatten(1))
    assert spread.std(0).mean() > 3 * usual.std(0).mean()
    assert spread.mean(0).abs().mean() < spread.std(0).mean()


BAD = [
    {"super_resolution": SuperResolutionConfig(8, 8, 1, outputs=4)},
    {"volume": VolumeFieldConfig(4, 8, 8)},
    {"encoder": FaceEncoderConfig(width=2, code=10)},
    {"box_lowest": (1.0, 1.0, 1.0), "box_highest": (0.5, 2.0, 2.0)},
]


@pytest.mark.parametrize("change", BAD)
def test_settings_that_do_not_fit_are_refused(change, source):
    with pytest.raises(HeadstudioError):
        made(dataclasses.replace(TINY, **change), source)
