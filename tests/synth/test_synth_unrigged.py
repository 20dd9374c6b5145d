"""What the actor's skin does beside its rig: where, how much, when, and that the rig cannot do it."""

import pytest
import torch

from headstudio.synth.config import SynthConfig
from headstudio.synth.performance import Performance
from headstudio.synth.stage import Stage
from headstudio.synth.unrigged import NAMES


@pytest.fixture(scope="module")
def stage():
    return Stage.build(SynthConfig(seed=3, seconds=12.0, width_px=128, height_px=128, strands=4, audio=False))


@pytest.fixture(scope="module")
def beyond(stage):
    return stage.beyond_the_rig()


def test_it_moves_some_of_the_skin_by_millimetres_and_nothing_else(stage, beyond):
    lengths = beyond.unrigged.directions_m.norm(dim=2)
    inner = ~stage.head.region("face")
    assert lengths.shape[0] == len(NAMES) and not lengths[:, inner].any()
    assert (lengths.amax(1) > 0.002).all() and (lengths.amax(1) < 0.02).all()
    assert ((lengths > 0.001).sum(1) < 0.2 * lengths.shape[1]).all()


def test_left_is_left_and_upper_is_upper(stage, beyond):
    weights = beyond.unrigged.directions_m.norm(dim=2)
    centres = (weights @ stage.neutral_m) / weights.sum(1, keepdim=True)
    cheek, upper, lower, crease = centres
    middle = stage.anatomy.mouth_centre_m
    assert cheek[0] > upper[0] > middle[0] > lower[0] and upper[1] > lower[1]
    assert abs(float(crease[0])) < 0.004 and crease[1] > stage.anatomy.nose_tip_m[1]


def test_each_is_seen_whole_and_not_at_all_and_goes_its_own_way(beyond):
    amounts = beyond.unrigged.amounts
    assert (amounts.amax(0) == 1).all() and (amounts.amin(0) == 0).all()
    together = torch.corrcoef(amounts.T) - torch.eye(len(NAMES))
    assert together.abs().max() < 0.5


def test_vertices_are_those_of_the_moved_face(stage, beyond):
    frame = int(beyond.unrigged.amounts.sum(1).argmax())
    moved_m = stage.neutral_m + beyond.unrigged.at(frame)
    expected = stage.head.pose(moved_m[None], stage.articulated(frame))[0]
    torch.testing.assert_close(beyond.head_vertices(frame), expected)
    assert (beyond.head_vertices(frame) - stage.head_vertices(frame)).norm(dim=1).max() > 0.002


def test_the_rig_cannot_do_it(stage, beyond):
    units = stage.head.expression_basis_m.flatten(1)
    for wanted in beyond.unrigged.directions_m:
        solved = torch.linalg.lstsq(units.T, wanted.flatten()[:, None]).solution
        left = wanted.flatten() - (units.T @ solved)[:, 0]
        assert left.norm() > 0.5 * wanted.norm()


def test_another_performance_has_it_too(beyond):
    shorter = Performance.sample(4, 5.0, 25.0)
    moved = beyond.performing(shorter)
    assert moved.unrigged is not None and len(moved.unrigged.amounts) == len(shorter)
