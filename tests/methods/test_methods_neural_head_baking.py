"""Paper 4's textures for engines: one at rest, and one an expression where pictures of a performance are asked for."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from headstudio.errors import HeadstudioError
from headstudio.export.sequence import BakeOptions, sequence_folder
from headstudio.export.targets import ExportOptions, export_avatar
from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import from_rotation
from headstudio.heads import load_head
from headstudio.methods.neural_head import NeuralHead, NeuralHeadConfig
from headstudio.methods.neural_head.config import OffsetConfig, TextureConfig
from headstudio.motion.arkit import INDEX
from headstudio.motion.articulation import vertices_in_camera
from headstudio.records.channels import ARKIT, HEAD_POSE, Scene, View, latent_of
from headstudio.records.motion import Motion
from headstudio.render.mesh import render_surface
from support.painted import painted_source

SIDE_PX = 96
CONFIG = NeuralHeadConfig(
    size_px=SIDE_PX,
    subdivisions=0,
    offsets=OffsetConfig(width=16, layers=1, features=2, mapping_width=8),
    texture=TextureConfig(
        width=24, layers=2, mapping_width=16, dynamic_width=16, features=4, features_px=64, normal_width=4,
        normal_features=4, base_px=128, base_frames=4,
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def avatar(tmp_path_factory) -> NeuralHead:
    """Untrained, but its colours follow the expression, and, unlike a trained one's, not the view at all."""
    source = painted_source(tmp_path_factory.mktemp("painted") / "capture", load_head("makehuman"))
    torch.manual_seed(0)
    model = NeuralHead(CONFIG)
    model.setup({"target": (source,)})
    model.colour.signals.lowest.fill_(-2.0)
    model.colour.signals.highest.fill_(2.0)
    with torch.no_grad():
        model.colour.network.mapping.output.weight.mul_(2.0)
        model.colour.network.mapping.hidden[0].weight[:, -3:] = 0.0
        model.colour.network.static_output.weight.normal_(std=0.12)
    return model.eval()


def weights(**named: float) -> torch.Tensor:
    found = torch.zeros(1, 52)
    for name, value in named.items():
        found[0, INDEX[name]] = value
    return found


EXPRESSIONS = torch.cat([weights(), weights(jawOpen=0.6), weights(browInnerUp=1.0, mouthSmileLeft=0.8)])


def motion(arkit=EXPRESSIONS) -> Motion:
    pose = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0])).repeat(len(arkit), 1, 1)
    pose[:, 2, 3] = 1.5
    return Motion(torch.arange(len(arkit)) / 25.0, {ARKIT: arkit, HEAD_POSE: pose})


def before_face() -> View:
    camera = Camera.from_focal(SIDE_PX / 2 / 0.19 * 1.5, SIDE_PX, SIDE_PX)
    return View(replace(camera, K_px=camera.K_px[None]), torch.eye(4)[None])


@pytest.fixture(scope="module")
def exported(avatar, tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / "me.glb"
    return export_avatar(avatar, "glb", path, motion(), ExportOptions(bake=BakeOptions()))


def pictures_of(path) -> list[torch.Tensor]:
    folder = sequence_folder(path)
    names = json.loads((folder / "sequence.json").read_text())["pictures"]
    return [torch.from_numpy(np.array(Image.open(folder / name))).permute(2, 0, 1).float() / 255 for name in names]


def test_a_picture_of_each_expression_stands_beside_the_file(avatar, exported):
    clock = json.loads((sequence_folder(exported) / "sequence.json").read_text())
    assert clock["pictures"] == ["00001.png", "00002.png", "00003.png"]
    assert clock["texture_px"] == [128, 128] and clock["rectangle_px"] == [0, 0, 128, 128]
    assert clock["times_s"] == pytest.approx([0, 0.04, 0.08])
    rest = avatar.surface().texture.float() / 255
    first, *others = pictures_of(exported)
    # At rest it is the texture at rest, but for what photographs from all around add to those from ahead.
    assert float((first - rest).abs().mean()) < 0.02
    assert all(float((other - rest).abs().mean()) > 0.02 for other in others)


def test_the_mesh_under_its_picture_looks_as_the_avatar_renders_it(avatar, exported):
    rest = avatar.surface().texture.float() / 255
    view = before_face()
    for frame, baked in enumerate(pictures_of(exported)):
        channels = motion().at([frame])
        with torch.no_grad():
            wanted = avatar.drawn(channels, view)
            vertices = vertices_in_camera(avatar.shape.head, avatar.neutral_m(channels), channels, view)
            errors = []
            for texture in (baked, rest):
                found = render_surface(vertices, avatar.mesh, view.camera, texture[None])
                inner = (found.mask > 0.99) & (wanted.alpha > 0.99)
                errors.append(float(((found.image - wanted.rgb).abs() * inner).sum() / inner.sum() / 3))
        assert errors[0] < 0.03
        assert frame == 0 or errors[0] < 0.5 * errors[1]


def test_what_no_camera_ahead_sees_keeps_its_colour_at_rest(avatar, exported):
    rest = avatar.surface().texture.float() / 255
    changed = torch.stack([(picture - rest).abs().amax(0) for picture in pictures_of(exported)]).amax(0)
    data = avatar.shape.head.data
    back = data.template_m[:, 2] < data.template_m[:, 2].quantile(0.02)
    corners = back[data.triangles.long()].all(1)
    uv = data.uv[data.uv_triangles.long()[corners]].mean(1)
    places = (uv * 128).long().clamp(0, 127)
    assert len(places) > 10 and float(changed[places[:, 1], places[:, 0]].max()) < 0.01


def test_an_avatar_that_arkit_cannot_steer_is_refused(avatar, tmp_path):
    class Locked(NeuralHead):
        driven_by = (frozenset({latent_of("another")}),)

    locked = Locked(replace(CONFIG))
    locked.__dict__.update(avatar.__dict__)
    with pytest.raises(HeadstudioError, match="no network that paints"):
        export_avatar(locked, "glb", tmp_path / "me.glb", motion(), ExportOptions(bake=BakeOptions()))
    assert not list(tmp_path.iterdir())


def test_smaller_pictures_are_the_same_at_fewer_texels(avatar, exported, tmp_path):
    options = ExportOptions(bake=BakeOptions(largest_px=32, crop=True))
    small = pictures_of(export_avatar(avatar, "glb", tmp_path / "me.glb", motion(EXPRESSIONS[1:2]), options))[0]
    whole = torch.nn.functional.interpolate(pictures_of(exported)[1][None], (32, 32), mode="area")[0]
    assert small.shape == (3, 32, 32) and float((small - whole).abs().mean()) < 0.02


def test_poses_of_the_head_do_not_change_the_pictures(avatar, exported, tmp_path):
    turned = motion(EXPRESSIONS[1:2])
    half = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    moved = turned.with_channels({HEAD_POSE: from_rotation(half[None], torch.tensor([[0.1, 0.0, 2.0]]))})
    found = pictures_of(export_avatar(avatar, "glb", tmp_path / "me.glb", moved, ExportOptions(bake=BakeOptions())))
    assert torch.equal(found[0], pictures_of(exported)[1])
    assert avatar.render(turned.at([0]), before_face(), Scene()).rgb.isfinite().all()
