"""What the detector always gets wrong: planted biases are found and taken back, noise is left alone."""

from dataclasses import replace

import pytest
import roma
import torch
from observed_actor import observations
from tracking_actor import FACING, Performance, perform

from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.tracking.calibration import learn_bias, view_direction, without_bias
from headstudio.tracking.config import CalibrationConfig
from headstudio.tracking.observations import Observations
from headstudio.tracking.points import FrameState, PointModel, landmark_model
from headstudio.tracking.solver import project

FRAMES = 60
EVERY_FRAME = CalibrationConfig(independence=1.0)
"""Every frame carries news, as it does where noise is drawn anew in each."""
EVERYONE = torch.ones(FRAMES, dtype=torch.bool)


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head("makehuman")


@pytest.fixture(scope="module")
def truth(head: HeadModel) -> Performance:
    return perform(head, frames=FRAMES, seed=6)


@pytest.fixture(scope="module")
def model(head: HeadModel, truth: Performance) -> PointModel:
    return landmark_model(head).personal(truth.identity)


@pytest.fixture(scope="module")
def bias() -> torch.Tensor:
    """Smooth it need not be: every landmark has its own, of the sizes that the prior expects."""
    draw = torch.Generator().manual_seed(1)
    return torch.randn(478, 3, 3, generator=draw) * torch.tensor([0.002, 0.004, 0.004])


def missed(model: PointModel, truth: Performance, bias_m: torch.Tensor) -> torch.Tensor:
    """Pixels of landmarks that lie elsewhere in the head frame, as far as the view says; the long way round."""
    states, pixels = truth.states, []
    for frame in range(len(states.rotation)):
        camera_in_head = -states.rotation[frame].T @ states.translation_m[frame]
        view = camera_in_head / camera_in_head.norm()
        places = model.positions(states.at(slice(frame, frame + 1)))[0]
        places = places + bias_m[:, :, 0] + bias_m[:, :, 1] * view[0] + bias_m[:, :, 2] * view[1]
        camera_m = places @ states.rotation[frame].T + states.translation_m[frame]
        pixels.append(project(camera_m[None], truth.K_px[None])[0])
    return torch.stack(pixels)


def error_px(observed: Observations, truth: Performance) -> float:
    return float((observed.pixels - truth.landmarks_px[..., :2]).norm(dim=-1).mean())


def test_the_view_is_where_the_camera_stands() -> None:
    angles = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.3, 0.0, 0.0]])
    zeros = torch.zeros(3, 1)
    place = torch.tensor([[0.0, 0.0, 0.8]]).repeat(3, 1)
    states = FrameState(FACING @ roma.rotvec_to_rotmat(angles), place, zeros, torch.zeros(3, 2, 2), zeros[:, :0])
    found = view_direction(states)
    expected = torch.tensor([[0, 0, 1.0], [-0.4794, 0, 0.8776], [0, 0.2955, 0.9553]])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_a_planted_bias_is_found_and_taken_back(model: PointModel, truth: Performance, bias: torch.Tensor) -> None:
    """A head that turns by 30 degrees shows what of it is across the line of sight; depth is told by the turns alone,
    and there the prior pulls to zero."""
    observed = observations_of(truth).with_pixels(missed(model, truth, bias))
    found = learn_bias(model, truth.states, observed, EVERYONE, EVERY_FRAME)
    left = without_bias(model, truth.states, observed, found)
    assert error_px(left, truth) < 0.15 * error_px(observed, truth)
    constant, planted = found[:, :2, 0], bias[:, :2, 0]
    assert float((constant - planted).norm(dim=1).median()) < 0.25 * float(planted.norm(dim=1).median())
    sideways, planted = found[:, 0, 1], bias[:, 0, 1]
    assert float(torch.corrcoef(torch.stack([sideways, planted]))[0, 1]) > 0.85


def observations_of(truth: Performance, noise_px: float = 1.0) -> Observations:
    return observations(load_head("makehuman"), truth, noise_px=noise_px)


def test_taking_back_the_true_bias_gives_the_true_landmarks(
    model: PointModel, truth: Performance, bias: torch.Tensor
) -> None:
    """To first order: what perspective makes of a few millimetres is a hundredth of them."""
    observed = observations_of(truth).with_pixels(missed(model, truth, bias))
    assert error_px(without_bias(model, truth.states, observed, bias), truth) < 0.03 * error_px(observed, truth)
    untouched = without_bias(model, truth.states, observed, torch.zeros_like(bias))
    assert torch.equal(untouched.pixels, observed.pixels)


def test_what_was_learned_from_some_frames_holds_for_others(
    model: PointModel, truth: Performance, bias: torch.Tensor
) -> None:
    observed = observations_of(truth).with_pixels(missed(model, truth, bias))
    learning = torch.arange(FRAMES) < 40
    found = learn_bias(model, truth.states, observed, learning, EVERY_FRAME)
    rest = torch.nonzero(~learning)[:, 0]
    left = without_bias(model, truth.states, observed, found).at(rest)
    others = replace(truth, landmarks_px=truth.landmarks_px[rest])
    assert error_px(left, others) < 0.3 * error_px(observed.at(rest), others)


def test_noise_is_not_learned(model: PointModel, truth: Performance) -> None:
    """Drawn anew in every frame, with the deviation that is expected: by default not a tenth of it is taken for bias,
    and what is taken back makes the landmarks no worse than by that."""
    clean = observations_of(truth)
    noise = torch.randn(clean.pixels.shape, generator=torch.Generator().manual_seed(2))
    observed = clean.with_pixels(clean.pixels + noise)
    found = learn_bias(model, truth.states, observed, EVERYONE, CalibrationConfig())
    learned = without_bias(model, truth.states, clean, found)
    assert error_px(learned, truth) < 0.2 * error_px(observed, truth)


def test_little_is_learned_from_little(model: PointModel, truth: Performance, bias: torch.Tensor) -> None:
    """Fewer frames, less news: what is learned grows with them and stays below what there is."""
    observed = observations_of(truth, noise_px=3.0).with_pixels(missed(model, truth, bias))
    sizes = []
    for count in (1, 8, FRAMES):
        learning = torch.arange(FRAMES) < count
        found = learn_bias(model, truth.states, observed, learning, CalibrationConfig())
        sizes.append(float(found.square().mean().sqrt()))
    assert sizes[0] < sizes[1] < sizes[2] < float(bias.square().mean().sqrt())
    assert sizes[0] < 0.1 * float(bias.square().mean().sqrt())


def test_nothing_is_learned_where_nothing_may_be(model: PointModel, truth: Performance, bias: torch.Tensor) -> None:
    """Neither from frames that are not eligible nor from those without a face, whatever they show."""
    observed = observations_of(truth).with_pixels(missed(model, truth, bias))
    learning = torch.arange(FRAMES) < 40
    seen = torch.ones(FRAMES, dtype=torch.bool)
    seen[[3, 50]] = False
    one = learn_bias(model, truth.states, replace(observed, seen=seen), learning, EVERY_FRAME)
    wild = observed.pixels.clone()
    wild[40:], wild[3] = 1000.0, -1000.0
    other = learn_bias(model, truth.states, replace(observed, seen=seen, pixels=wild), learning, EVERY_FRAME)
    assert torch.equal(one, other) and bool(one.any())
    nothing = learn_bias(model, truth.states, observed, torch.zeros_like(learning), EVERY_FRAME)
    assert nothing.shape == (478, 3, 3) and not nothing.any()


def test_frames_that_miss_by_much_count_less(model: PointModel, truth: Performance, bias: torch.Tensor) -> None:
    """Three frames whose landmarks are 20 px off: a mean would learn 1 px of them everywhere."""
    observed = observations_of(truth)
    wild = observed.pixels.clone()
    wild[[10, 30, 50], :, 0] += 20.0
    found = learn_bias(model, truth.states, observed.with_pixels(wild), EVERYONE, EVERY_FRAME)
    left = without_bias(model, truth.states, observed, found)
    assert error_px(left, truth) < 0.25 * 3 * 20.0 / FRAMES


def test_a_tighter_prior_learns_less(model: PointModel, truth: Performance, bias: torch.Tensor) -> None:
    observed = observations_of(truth).with_pixels(missed(model, truth, bias))
    tight = replace(EVERY_FRAME, constant_m=1e-5, by_view_m=1e-5)
    found = learn_bias(model, truth.states, observed, EVERYONE, tight)
    assert float(found.abs().max()) < 1e-4
