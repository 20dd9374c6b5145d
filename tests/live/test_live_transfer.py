"""Transfer frame by frame: rest goes to rest, sliders do what they say, and the neck stays where it is."""

import math
from dataclasses import replace

import pytest
import roma
import torch
from live_people import weights

from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import relative_orientation, rigid
from headstudio.heads import load_head
from headstudio.live.controls import Controls, Settings
from headstudio.live.personal import Personal, known_neutral
from headstudio.live.transfer import NeckConfig, Transfer
from headstudio.motion.arkit import INDEX
from headstudio.motion.articulation import vertices_in_camera
from headstudio.motion.retarget import RetargetConfig, retarget
from headstudio.records.channels import ARKIT, GAZE, HEAD_POSE, HEAD_ROTATION, NECK, View
from headstudio.records.motion import Motion
from headstudio.training.avatars import describe
from headstudio_toys.plain import PlainConfig, PlainToy
from support.tiny import tiny_source

PLAIN = Settings()


@pytest.fixture(scope="module")
def avatar(tmp_path_factory):
    source = tiny_source(tmp_path_factory.mktemp("avatar") / "capture")
    made = PlainToy(PlainConfig())
    made.setup({"target": (source,)})
    return made, describe(made, "toy-plain", "draft", {"target": (source,)}).at_rest


def pose(turn=(0.0, 0.0, 0.0), place=(0.0, 0.0, 0.5)):
    facing = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    return (facing @ rigid(torch.tensor([turn]), torch.zeros(1, 3))).index_put(
        (torch.tensor([0, 0, 0]), torch.tensor([0, 1, 2]), torch.tensor([3, 3, 3])), torch.tensor(place)
    )


def driver_at_rest():
    return {ARKIT: weights(jawOpen=0.1, browInnerUp=0.2)[0], HEAD_POSE: pose()[0], GAZE: torch.zeros(2, 3)}


def one_frame(channels):
    return {channel: values[None] for channel, values in channels.items()}


def test_a_driver_at_rest_leaves_the_avatar_at_rest(avatar):
    made, at_rest = avatar
    found = Transfer(made, at_rest)(one_frame(driver_at_rest()), known_neutral(driver_at_rest()), PLAIN)
    assert torch.allclose(found[ARKIT][0], at_rest.channels[ARKIT], atol=1e-6)
    assert torch.allclose(found[HEAD_POSE][0], at_rest.channels[HEAD_POSE], atol=1e-5)
    assert torch.allclose(found[NECK], torch.zeros(1, 3), atol=1e-5)


def test_nobody_leaves_the_avatar_at_rest_and_sliders_move_it(avatar):
    made, at_rest = avatar
    transfer = Transfer(made, at_rest)
    assert torch.equal(transfer(None, None, PLAIN)[ARKIT][0], at_rest.channels[ARKIT])
    moved = transfer(None, None, Settings(units={"jawOpen": -1.0, "cheekPuff": 1.0}))[ARKIT][0]
    assert float(moved[INDEX["jawOpen"]]) == 0.0 and float(moved[INDEX["cheekPuff"]]) == 1.0


def test_it_is_the_offline_transfer(avatar):
    made, at_rest = avatar
    start = driver_at_rest()
    signals = {
        ARKIT: torch.rand(1, 52),
        HEAD_POSE: pose((0.1, 0.3, 0.05), (0.02, 0.01, 0.55)),
        GAZE: torch.rand(1, 2, 3) / 5,
    }
    config = RetargetConfig(1.5, 0.8, 0.8, 0.7)
    motion = Motion(torch.zeros(1, dtype=torch.float64), signals)
    offline = retarget(motion, start, at_rest.channels, load_head("makehuman"), config, 1.1).channels
    transfer = Transfer(made, at_rest, size_ratio=1.1)
    found = transfer(signals, known_neutral(start), Settings(exaggeration=1.5, head=0.8, gaze=0.7))
    for channel in (ARKIT, HEAD_POSE, GAZE):
        assert torch.allclose(found[channel], offline[channel], atol=1e-5), channel


def test_exaggeration_grows_what_moves_and_nothing_else(avatar):
    made, at_rest = avatar
    calm = replace(at_rest, channels={**at_rest.channels, ARKIT: torch.zeros(52)})
    transfer, start = Transfer(made, calm), driver_at_rest()
    signals = {**one_frame(start), ARKIT: weights(jawOpen=0.3, browInnerUp=0.2)}
    for factor, jaw in ((0.0, 0.0), (1.0, 0.2), (2.0, 0.4)):
        found = transfer(signals, known_neutral(start), Settings(exaggeration=factor))[ARKIT][0]
        assert float(found[INDEX["jawOpen"]]) == pytest.approx(jaw, abs=1e-6)
        assert float(found[INDEX["browInnerUp"]]) == pytest.approx(0.0, abs=1e-6)


def test_personal_gains_are_applied_around_the_personal_rest(avatar):
    made, at_rest = avatar
    calm = replace(at_rest, channels={**at_rest.channels, ARKIT: torch.zeros(52)})
    gains = torch.ones(52)
    gains[INDEX["jawOpen"]] = 2.0
    signals = {**one_frame(driver_at_rest()), ARKIT: weights(jawOpen=0.3, browInnerUp=0.5)}
    found = Transfer(made, calm)(signals, Personal(driver_at_rest(), gains), PLAIN)[ARKIT][0]
    assert float(found[INDEX["jawOpen"]]) == pytest.approx(0.4, abs=1e-6)
    assert float(found[INDEX["browInnerUp"]]) == pytest.approx(0.3, abs=1e-6)


def test_without_measured_eyes_the_weights_say_where_they_look(avatar):
    made, at_rest = avatar
    start = {ARKIT: weights()[0]}
    found = Transfer(made, at_rest)(
        {ARKIT: weights(eyeLookUpLeft=0.5, eyeLookUpRight=0.5)}, known_neutral(start), PLAIN
    )
    away = found[GAZE][0] - at_rest.channels[GAZE]
    assert float(away[0, 0]) == pytest.approx(-0.5 * load_head("makehuman").data.gaze_full_rad[0], abs=1e-4)


def neck_in_camera(avatar, channels):
    identity, head = avatar.identity, load_head("makehuman")
    neck = head.joints(head.neutral(identity.coefficients[None]))[0, 0]
    return (channels[HEAD_POSE][0].float() @ torch.cat([neck, torch.ones(1)]))[:3]


def test_a_source_without_a_place_turns_the_head_about_the_neck(avatar):
    made, at_rest = avatar
    start = {ARKIT: weights()[0], HEAD_ROTATION: torch.zeros(3)}
    transfer = Transfer(made, at_rest)
    still = transfer(one_frame(start), known_neutral(start), PLAIN)
    turned = transfer({**one_frame(start), HEAD_ROTATION: torch.tensor([[0.2, 0.5, 0.1]])}, known_neutral(start), PLAIN)
    assert torch.allclose(neck_in_camera(made, still), neck_in_camera(made, turned), atol=1e-5)
    assert float((turned[HEAD_POSE] - still[HEAD_POSE])[0, :3, 3].norm()) > 0.02
    away = relative_orientation(turned[HEAD_POSE][0] @ still[HEAD_POSE][0].inverse() @ pose()[0])
    assert torch.allclose(away, torch.tensor([0.2, 0.5, 0.1]), atol=1e-4)


@pytest.mark.parametrize(("follow", "moved"), [(0.0, False), (1.0, True)])
def test_shoulders_stay_or_follow(avatar, follow, moved):
    made, at_rest = avatar
    start = {ARKIT: weights()[0], HEAD_ROTATION: torch.zeros(3)}
    transfer = Transfer(made, at_rest, neck=NeckConfig(follow))
    head = load_head("makehuman")
    neutral = head.neutral(made.identity.coefficients[None])
    view = View(Camera(torch.eye(3)[None], 8, 8), torch.eye(4)[None])
    places = [
        vertices_in_camera(
            head, neutral, transfer({**one_frame(start), HEAD_ROTATION: turn[None]}, known_neutral(start), PLAIN), view
        )[0]
        for turn in (torch.zeros(3), torch.tensor([0.0, 0.6, 0.0]))
    ]
    shoulders = head.skin_weights[:, 0] > 0.999
    assert shoulders.any()
    distance = float((places[1] - places[0])[shoulders].norm(dim=1).max())
    assert (distance > 0.02) if moved else (distance < 1e-4)
    assert float((places[1] - places[0])[head.region("face")].norm(dim=1).max()) > 0.02


def test_the_neck_takes_half_of_a_turn(avatar):
    made, at_rest = avatar
    start = {ARKIT: weights()[0], HEAD_ROTATION: torch.zeros(3)}
    found = Transfer(made, at_rest)(
        {**one_frame(start), HEAD_ROTATION: torch.tensor([[0.0, 0.6, 0.0]])}, known_neutral(start), PLAIN
    )
    assert float(roma.rotvec_to_rotmat(found[NECK])[0].trace()) == pytest.approx(1 + 2 * math.cos(0.3), abs=1e-4)


def test_an_avatar_without_a_rest_is_refused(avatar):
    made, at_rest = avatar
    bare = replace(at_rest, channels={c: v for c, v in at_rest.channels.items() if c != HEAD_POSE})
    with pytest.raises(HeadstudioError, match="no neutral head_pose"):
        Transfer(made, bare)


def test_controls_change_what_they_are_told_and_nothing_else():
    controls = Controls(Settings(exaggeration=1.2))
    controls.change({"units": {"jawOpen": 0.5}})
    controls.change({"head": 0, "units": {"cheekPuff": -0.25}})
    assert controls.settings == Settings(1.2, 0.0, 1.0, {"jawOpen": 0.5, "cheekPuff": -0.25})
    controls.change({"units": {"jawOpen": 0}})
    assert controls.settings.units == {"cheekPuff": -0.25}
    assert controls.change({"reset": True}) == Settings()


@pytest.mark.parametrize(
    "wanted",
    [
        None, 3, "x", [1], {"speed": 1}, {1: 2}, {"head": "1"}, {"head": True}, {"head": float("nan")},
        {"head": float("inf")}, {"head": -0.1}, {"head": 3.1}, {"head": None}, {"head": 10**400}, {"units": 3},
        {"units": {"jaw": 1}}, {"units": {"jawOpen": 2}}, {"units": {"jawOpen": "1"}}, {"units": {"jawOpen": None}},
        {"gaze": 1, "units": {"jawOpen": [0]}}, {"units": [1]},
    ],
)  # fmt: skip
def test_bad_settings_change_nothing(wanted):
    controls = Controls(Settings(units={"jawOpen": 0.5}))
    with pytest.raises(HeadstudioError):
        controls.change(wanted)
    assert controls.settings == Settings(units={"jawOpen": 0.5})
