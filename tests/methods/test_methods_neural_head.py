"""Paper 4 on heads whose true shape and colour are known."""

from dataclasses import replace
from typing import get_args

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.methods.neural_head import NeuralHead, NeuralHeadConfig
from headstudio.methods.neural_head.buffers import cut_windows, draw_buffers, enlarged, window_camera
from headstudio.methods.neural_head.config import (
    ColourInputs,
    Energies,
    OffsetConfig,
    Pace,
    PoseDependence,
    TextureConfig,
)
from headstudio.methods.neural_head.refitting import refitted_motion
from headstudio.methods.neural_head.targets import targets_of
from headstudio.motion.articulation import vertices_in_camera
from headstudio.nn.signal_range import SignalRange
from headstudio.records.channels import ARKIT, HEAD_POSE, Scene
from headstudio.training.batches import BatchStream
from headstudio.training.players import ActivePlayer, free_only
from headstudio.training.stages import Ramp, at
from support.painted import painted_source

TINY = NeuralHeadConfig(
    size_px=64,
    patch_px=40,
    subdivisions=0,
    offsets=OffsetConfig(width=32, layers=2, features=4, mapping_width=16),
    texture=TextureConfig(
        width=24, layers=2, mapping_width=16, dynamic_width=16, features=4, features_px=64, normal_width=4,
        normal_features=4, base_px=64, base_frames=4,
    ),
    geometry_stage=Pace(60, 2, offsets=2e-3, head=0.02),
    texture_stage=Pace(120, 2, texture=2e-3),
    joint_stage=Pace(10, 1, offsets=1e-4, texture=1e-3, head=0.01),
    energies=Energies(landmarks=(0.0, 0.0, 0.0), lids=(0.0, 0.0, 0.0)),  # the capture's landmarks are noise
    low_precision=False,
)  # fmt: skip


def grown(head, by_m=0.012):
    """The same head under a cap of hair: its scalp stands off, softly at the border."""
    data = head.data
    centre = torch.tensor([0.0, 0.02, -0.06])
    outward = torch.nn.functional.normalize(data.template_m - centre, dim=1)
    share = ((data.template_m[:, 1] - 0.03) / 0.03).clamp(0, 1) * (data.regions["scalp"] | data.regions["face"])
    return HeadModel(replace(data, template_m=data.template_m + by_m * share[:, None] * outward)), share


@pytest.fixture(scope="module")
def head():
    return load_head("makehuman")


@pytest.fixture(scope="module")
def source(head, tmp_path_factory):
    return painted_source(tmp_path_factory.mktemp("painted") / "capture", grown(head)[0])


def untrained(source, config=TINY):
    torch.manual_seed(0)
    model = NeuralHead(config)
    model.setup({"target": (source,)})
    return model


def learn(model, source, stage):
    """One stage, by the trainer's own players."""
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
    model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def trained(source):
    model = untrained(source)
    geometry, texture, _ = model.stages()
    learn(model, source, geometry)
    learn(model, source, texture)
    return model


def frames_of(source, frames):
    index = torch.tensor(list(frames))
    return source.motion.at(index), source.track.view(index)


def outline_error(model, source, frames):
    channels, view = frames_of(source, frames)
    with torch.no_grad():
        alpha = model.render(channels, view, Scene()).alpha
    difference = alpha - torch.stack([source.capture.matte(f).float() / 255 for f in frames])
    # Above the middle of the picture: the mesh ends before the neck of the truth does.
    return float(difference[:, :, :32].abs().mean())


def colour_error(model, source, frames):
    channels, view = frames_of(source, frames)
    with torch.no_grad():
        rendering = model.render(channels, view, Scene())
    truth = torch.stack([source.capture.image(f).float() / 255 for f in frames])
    inner = (rendering.alpha > 0.99) * torch.stack([source.capture.matte(f).float() / 255 for f in frames])
    return float(((rendering.rgb - truth).abs() * inner).sum() / inner.sum() / 3)


def test_before_training_it_is_the_tracked_head(source):
    model = untrained(source).eval()
    channels, view = frames_of(source, [0, 3])
    own = model.render(channels, view, Scene())
    tracked = model.baselines()["tracked"].render(channels, view, Scene())
    assert torch.equal(own.rgb, tracked.rgb)
    assert torch.allclose(model.neutral_m(channels)[0], model.shape.head.template_m, atol=1e-6)


def test_the_outline_teaches_the_shape_of_hair_that_the_head_does_not_have(source, head, trained):
    held_out = list(source.capture.held_out_frames)
    assert outline_error(trained, source, held_out) < 0.6 * outline_error(untrained(source).eval(), source, held_out)
    truth, share = grown(head)
    found = trained.shape.tracked_m() + trained.shape.offsets_m(trained.shape.signals.mean[None])
    top = torch.nonzero(share > 0.9)[:, 0]
    top = top[head.template_m[top, 1] > 0.07]
    # Frames from the front say how high the hair stands and nothing of its depth.
    before, after = (
        (shape[top, 1] - truth.template_m[top, 1]).abs().mean() for shape in (head.template_m, found[0].detach())
    )
    assert float(after) < 0.7 * float(before)


def test_training_colours_frames_never_seen_better_than_it_began(source, trained):
    held_out = list(source.capture.held_out_frames)
    began = trained.baselines()["constant colour"]
    assert colour_error(trained, source, held_out) < 0.8 * colour_error(untrained(source).eval(), source, held_out)
    assert colour_error(trained, source, held_out) < colour_error(began, source, held_out)


@pytest.mark.parametrize("dependence", get_args(PoseDependence))
def test_offsets_follow_the_pose_where_they_may(source, dependence):
    model = untrained(source, replace(TINY, offsets=replace(TINY.offsets, pose_dependence=dependence)))
    with torch.no_grad():
        for parameter in model.shape.offsets.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
        ranges = model.shape.signals
        ranges.lowest, ranges.highest = -torch.ones(13), torch.ones(13)
        found = model.shape.offsets_m(torch.stack([-torch.ones(13), torch.ones(13)]))
    moved = (found[-1] - found[0]).abs().amax(1) if len(found) > 1 else torch.zeros(model.shape.head.vertices)
    neck = model.shape.tables.neck
    whole = model.shape.head.region("eyeballs", "teeth", "tongue")
    assert float(found[:, whole].abs().max()) == 0 and float(found.abs().max()) > 1e-5
    if dependence == "nowhere":
        assert len(found) == 1
    elif dependence == "neck":
        assert float(moved[neck == 0].max()) == 0 and float(moved.max()) > 0
    else:
        assert float(moved[(neck == 0) & ~whole].max()) > 0


@pytest.mark.parametrize("inputs", get_args(ColourInputs))
def test_colours_depend_on_what_they_are_told_of(source, inputs):
    model = untrained(source, replace(TINY, texture=replace(TINY.texture, inputs=inputs))).eval()
    with torch.no_grad():
        for parameter in model.colour.network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        channels, view = frames_of(source, [0])
        buffers = model.seen(channels, view)
        standard = [model.colour.standard(model.signal(channels, view) + shift) for shift in (0.0, 0.02)]
        first, second = (model.colour(buffers, one) for one in standard)
        turned = model.colour(replace(buffers, normals=-buffers.normals), standard[0])
    changed = (first - second).abs().amax(1, keepdim=True)
    outside = (buffers.mouth == 0) * buffers.mask
    if inputs == "paper":
        assert float((changed * outside).max()) > 1e-4
    else:
        assert float((changed * outside).max()) < 1e-6
    assert (float(changed.max()) > 1e-4) == (inputs != "static")
    assert (float((turned - first).abs().max()) > 1e-4) == (inputs != "static")


def test_a_foreign_signal_is_kept_within_the_range_that_was_seen(source, trained):
    channels, view = frames_of(source, [0])
    wild = {**channels, ARKIT: torch.full((1, 52), 40.0)}
    signal = trained.signal(wild, view)
    assert torch.equal(trained.colour.standard(100 * signal), trained.colour.standard(1000 * signal))
    ranges = SignalRange(2)
    ranges.measure(torch.tensor([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0]]))
    assert torch.equal(ranges(torch.tensor([[9.0, -9.0]])), ranges(torch.tensor([[2.0, 5.0]])))
    torch.manual_seed(0)
    noisy = ranges(torch.ones(2000, 2), noise=0.5)
    assert float(noisy.std(0).mean()) == pytest.approx(0.5, rel=0.1)


def test_what_is_added_to_training_frames_is_added_to_no_others(source, trained):
    residuals = trained.shape.residuals
    with torch.no_grad():
        residuals.expression.rows += torch.randn_like(residuals.expression.rows)
    seen = residuals.at(source.key, torch.tensor([0, 1]))
    assert float(seen.expression.abs().min()) > 0
    every = residuals.at(source.key, torch.arange(len(residuals.expression.rows)))
    assert float(every.expression.mean(0).abs().max()) < 1e-5
    mean = residuals.expression.rows.mean(0)
    unseen = residuals.expression("another", torch.tensor([0]))
    assert float(unseen.abs().max()) == 0 and mean.shape == unseen.shape[1:]


def test_the_shape_stays_when_only_the_camera_moves(source, trained):
    channels, view = frames_of(source, [0])
    moved = replace(
        view, T_camera_world=torch.tensor([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0.1], [0, 0, 0, 1]])[None]
    )
    assert torch.equal(trained.neutral_m(channels), trained.neutral_m(channels))
    first, second = trained.render(channels, view, Scene()), trained.render(channels, moved, Scene())
    assert not torch.allclose(first.rgb, second.rgb, atol=1e-2)
    assert not torch.allclose(trained.signal(channels, view), trained.signal(channels, moved), atol=1e-2)


@pytest.mark.parametrize("size_px", [32, 64, 160])
def test_any_view_is_painted_at_the_trained_size_and_scaled(source, trained, size_px):
    channels, view = frames_of(source, [2])
    rendering = trained.render(
        channels, view.resized(size_px, size_px), Scene(background=torch.ones(1, 3, size_px, size_px))
    )
    assert rendering.rgb.shape == (1, 3, size_px, size_px)
    truth = torch.nn.functional.interpolate(trained.render(channels, view, Scene()).rgb, size_px, mode="area")
    inner = rendering.alpha > 0.999
    assert float(((rendering.rgb - truth).abs() * inner).sum() / inner.sum() / 3) < 0.03
    assert float(rendering.rgb[..., 0, 0].min()) == 1  # background


def test_colours_reach_beyond_a_coarse_border():
    colour, mask = torch.zeros(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    colour[..., 4:12, 4:12], mask[..., 4:12, 4:12] = 0.7, 1
    wide = enlarged(colour, mask, 64, 64)
    assert torch.allclose(wide[..., 12:52, 12:52], torch.tensor(0.7), atol=1e-4)
    assert torch.allclose(enlarged(colour, mask, 16, 16) * mask, colour * mask)


def test_a_window_sees_what_the_whole_picture_shows_there(source, trained):
    channels, view = frames_of(source, [0, 1])
    corner = torch.tensor([[10, 12], [20, 5]])
    vertices = trained.vertices_m(channels, view)
    whole = draw_buffers(vertices, trained.mesh, trained.shape.tables, view.camera)
    part = draw_buffers(vertices, trained.mesh, trained.shape.tables, window_camera(view.camera, corner, 30))
    cut = cut_windows(whole.canonical, corner, 30)
    same = cut_windows(whole.mask, corner, 30) == part.mask
    assert same.float().mean() > 0.99
    assert ((part.canonical - cut).abs() * same).mean() < 1e-3


def test_the_outline_is_believed_above_the_chin_alone_without_labels(source, trained):
    stage = trained.stages()[0]
    stream = BatchStream({"target": (source,)}, stage, 0, 0, torch.device("cpu"))
    batch = stream.batch(stage.players[0], 0)
    stream.close()
    pose = batch.view.T_camera_world @ batch.channels[HEAD_POSE].float()
    chin = pose[:, :3, 3] - 0.1 * pose[:, :3, 1]
    found = targets_of(batch, chin[:, None] - 0.05 * pose[:, None, :3, 1], chin, pose[:, :3, 1])
    row_px = batch.view.camera.project(chin[:, None])[0][:, 0, 1]
    for index, row in enumerate(row_px.tolist()):
        assert found.trust[index, 0, : int(row) - 2].all() and not found.trust[index, 0, int(row) + 3 :].any()
    labelled = replace(batch, parsing=torch.full((2, 1, 64, 64), 255, dtype=torch.uint8))
    unknown = targets_of(labelled, chin[:, None], chin, pose[:, :3, 1])
    assert not unknown.trust.any() and unknown.regions is not None and not unknown.regions.any()


def test_the_surface_carries_hair_and_a_texture_at_rest(source, trained):
    asset = trained.surface()
    assert asset.vertices_m.shape[0] == trained.shape.head.vertices
    rest = trained.shape.tracked_m() + trained.shape.offsets_m(trained.shape.signals.mean[None])
    assert torch.allclose(asset.vertices_m, rest[0], atol=1e-6)
    assert asset.texture.float().std() > 5 and len(asset.target_names) == 52


def test_the_published_weights_change_in_the_middle_of_the_first_stage():
    config = NeuralHead.presets["paper"]
    model = NeuralHead(config)
    model.__dict__["_known"] = frozenset()
    (first, _, _) = model.stages()
    assert "silhouette" not in first.players[0].losses
    from headstudio.records.capture import Annotation

    model.__dict__["_known"] = frozenset(Annotation)
    (first, _, joint) = model.stages()
    hair, outline = first.players[0].losses["hair"], first.players[0].losses["silhouette"]
    assert isinstance(hair, Ramp) and isinstance(outline, Ramp)
    assert (hair(0), outline(0)) == pytest.approx((0.1, 0.01))
    assert (hair(first.steps), outline(first.steps)) == pytest.approx((0.01, 0.1))
    assert joint.players[0].losses["hair"] == 0.01
    assert [p.optimiser.kind for p in first.players] == ["adam", "sgd"]
    assert not any(p.name == "head" for p in NeuralHead(NeuralHeadConfig()).stages()[0].players)


def test_new_frames_are_refitted_without_touching_the_avatar(source, head):
    nothing = (0.0, 0.0, 0.0)  # outline and colours are those of another head
    energies = replace(TINY.energies, landmarks=(0.0, 0.0, 1.0), silhouette=nothing, l1=nothing)
    model = untrained(source, replace(TINY, energies=energies)).eval()
    index = torch.arange(source.capture.frames)
    channels, view = frames_of(source, index)
    places = vertices_in_camera(head, head.template_m[None], channels, view)
    wanted = view.camera.project(head.landmark_points(places))[0]
    seen = replace(source.capture.views[0], landmarks_px=torch.cat([wanted, torch.zeros(len(index), 478, 1)], -1))
    moved = source.track.T_world_head.clone()
    moved[:, 0, 3] += 0.006
    shifted = replace(
        source,
        capture=replace(source.capture, views=(seen,)),
        track=replace(source.track, T_world_head=moved),
    )
    held_out = list(source.capture.held_out_frames)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = refitted_motion(model, shifted, held_out, passes=30).channels[HEAD_POSE]
    error_m = (found - source.track.T_world_head)[:, :3, 3].norm(dim=1)
    assert float(error_m[held_out].max()) < 0.003
    others = [frame for frame in index.tolist() if frame not in held_out]
    assert torch.equal(found[others], moved[others])
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not any(parameter.grad is not None for parameter in model.shape.offsets.parameters())


def test_an_unknown_head_is_told(source):
    model = NeuralHead(TINY)
    with pytest.raises(HeadstudioError, match="no head named"):
        model.restore(
            {"head": "nobody", "train_frames": {}, "known": [], "scalp": 6, "perceptual": "", "extractor": ""}
        )
