"""The Y-shaped driver: who learns from what, the equations, whom it drives, and what it does without a face."""

import dataclasses
import shutil

import pytest
import torch

from headstudio.capture.face_crop import face_crops
from headstudio.cli.train_driver import captures_beside
from headstudio.drivers.drive import predicted
from headstudio.drivers.latent import LatentDriver, LatentDriverConfig
from headstudio.drivers.latent.config import PRESETS
from headstudio.errors import HeadstudioError
from headstudio.methods.latent_avatar import LatentAvatar
from headstudio.nn.face_autoencoder import FaceDecoderConfig, FaceEncoderConfig
from headstudio.nn.ssim import ssim
from headstudio.records.channels import FACE_CROP
from headstudio.records.motion import Motion
from headstudio.training.avatars import describe
from headstudio_toys.plain import PlainConfig, PlainToy
from methods.test_methods_latent_avatar import TINY
from support.learning import first_batch, reached
from support.tiny import tiny_source

SMALL = LatentDriverConfig(
    encoder=FaceEncoderConfig(side_px=32, width=4, code=10),
    decoder=FaceDecoderConfig(code=10, width=8, side_px=32),
    steps=3,
    mapping_steps=2,
    batch_size=2,
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("latent-driver")
    return {"target": (tiny_source(folder / "a"),), "actor": (tiny_source(folder / "b", seed=1),)}


@pytest.fixture(scope="module")
def avatar(sources):
    torch.manual_seed(0)
    made = LatentAvatar(TINY)
    made.setup({"target": sources["target"]})
    return made.eval()


def bound(avatar, sources, **changes):
    torch.manual_seed(1)
    driver = LatentDriver(dataclasses.replace(SMALL, **changes))
    driver.bind(avatar)
    driver.setup(sources)
    return driver


def reached_layers(driver, value):
    return {name.split(".0")[0] for name in reached(driver, value)}


def parts(names):
    return {".".join(name.split(".")[: 2 if name.startswith("decoders") else 1]) for name in names}


@pytest.mark.parametrize("cycle", ["paper", "published", "none"])
def test_each_loss_reaches_the_shared_encoder_and_one_decoder(cycle, avatar, sources):
    driver = bound(avatar, sources, cycle=cycle)
    faces, mapping = driver.stages()
    for player in faces.players:
        batch = first_batch(sources, faces, player)
        own, other = f"decoders.{player.role}", f"decoders.{'actor' if player.role == 'target' else 'target'}"
        for name in player.losses:
            torch.manual_seed(0)
            found = parts(reached_layers(driver, driver.losses(batch, faces, player)[name]))
            if name in ("l1", "ssim"):
                assert found == {"encoder", "neck", own}
            else:
                assert {"encoder"} <= found <= {"encoder", "neck", own, other}
        patterns = " ".join(player.parameters)
        assert own in patterns and other not in patterns and "mapping" not in patterns
    (player,) = mapping.players
    value = driver.losses(first_batch(sources, mapping, player), mapping, player)["code"]
    assert player.parameters == ("mapping.*",) and player.role == "target"
    assert "mapping" in parts(reached_layers(driver, value))


def test_the_losses_are_those_of_the_equations(avatar, sources):
    driver = bound(avatar, sources).eval()
    faces = driver.stages()[0]
    player = faces.players[1]
    batch = first_batch(sources, faces, player)
    found = driver.losses(batch, faces, player)
    wanted = torch.nn.functional.interpolate(batch.channels[FACE_CROP], (32, 32), mode="area")
    code = driver.encoder(wanted)
    picture = driver.decoders["actor"](driver.neck(code))
    again = driver.encoder(driver.decoders["target"](driver.neck(code)))
    back = driver.decoders["actor"](driver.neck(again))
    expected = {
        "l1": (picture - wanted).abs().mean(),
        "ssim": 1 - ssim(picture, wanted).mean(),
        "cycle_l1": (back - wanted).abs().mean(),
        "cycle_ssim": 1 - ssim(back, wanted).mean(),
        "cycle_code": (again - code).square().mean(),
    }
    assert found.keys() == expected.keys() == player.losses.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    assert player.losses == {"l1": 1, "ssim": 0.1, "cycle_l1": 1, "cycle_ssim": 0.1, "cycle_code": 1e-4}


def test_a_joint_mapping_learns_with_the_avatars_side(avatar, sources):
    (faces,) = bound(avatar, sources, mapping="joint").stages()
    target, actor = faces.players
    assert "mapping.*" in target.parameters and "code" in target.losses
    assert "mapping.*" not in actor.parameters and "code" not in actor.losses


def test_it_gives_a_code_a_frame_and_holds_the_last_one_where_there_is_no_face(avatar, sources):
    driver = bound(avatar, sources).eval()
    crops = torch.rand(4, 3, 128, 128)
    crops[0] = crops[2] = 0
    (code,) = predicted(driver, Motion(torch.arange(4.0).double(), {FACE_CROP: crops})).values()
    torch.testing.assert_close(code[0], driver.rest_code)
    assert torch.equal(code[2], code[1]) and not torch.equal(code[3], code[1])
    assert driver.produces == {avatar.latent}


def test_the_avatar_is_no_part_of_the_driver_and_does_not_learn(avatar, sources):
    driver = bound(avatar, sources)
    assert not any("generator" in name for name in driver.state_dict())
    stage = driver.stages()[1]
    player = stage.players[0]
    driver.losses(first_batch(sources, stage, player), stage, player)["code"].backward()
    assert all(p.grad is None for p in avatar.parameters())


def test_an_avatar_without_a_code_and_another_avatar_are_refused(avatar, sources):
    with pytest.raises(HeadstudioError, match="no code of its own"):
        LatentDriver(SMALL).bind(PlainToy(PlainConfig()))
    other = LatentAvatar(dataclasses.replace(TINY, steps=5))
    other.setup({"target": sources["target"]})
    driver = LatentDriver(SMALL)
    driver.bind(other)
    with pytest.raises(HeadstudioError, match="trained for"):
        driver.restore(bound(avatar, sources).state())


def test_a_batch_brings_the_crops_of_its_frames(avatar, sources):
    stage = bound(avatar, sources).stages()[0]
    for player in stage.players:
        batch, (source,) = first_batch(sources, stage, player), sources[player.role]
        assert batch.image is None
        wanted = face_crops(source.capture, batch.frames.tolist()).signal()
        assert torch.equal(batch.channels[FACE_CROP], wanted)
        assert torch.equal(source.motion_with({FACE_CROP}).at(batch.frames)[FACE_CROP], wanted)
        assert FACE_CROP not in source.motion_with(()).channels


def test_the_captures_of_an_avatar_are_found_beside_it_all_or_none(avatar, sources, tmp_path):
    place = tmp_path / "person"
    for source in (*sources["target"], *sources["actor"]):
        shutil.copytree(source.capture.path, place / source.key[:8])
    (source,) = sources["target"]
    describe(avatar, "latent-avatar", "draft", {"target": (source,)}).save(place / "avatar")
    (place / "broken").mkdir()
    (place / "broken" / "capture.json").write_text("{")
    assert captures_beside(place / "avatar") == (place / source.key[:8],)
    shutil.rmtree(place / source.key[:8])
    assert captures_beside(place / "avatar") == ()


def test_the_paper_preset_has_the_published_numbers():
    paper = PRESETS["paper"]
    assert (paper.encoder.side_px, paper.encoder.code, paper.batch_size, paper.steps) == (128, 256, 16, 30_000)
    assert (paper.ssim_weight, paper.code_weight, paper.learning_rate) == (0.1, 1e-4, 1e-4)
