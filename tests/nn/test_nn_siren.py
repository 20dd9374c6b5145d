"""Networks of sines: the distribution they start with, their gradients, and what a film does to them."""

import math

import pytest
import torch

from headstudio.nn.siren import FREQUENCY, FREQUENCY_SPAN, HIDDEN_DIVISOR, Film, FilmMapping, SirenBody


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def pre_activations(body, points):
    values, found = points, []
    for linear in body.linears:
        sums = FREQUENCY * linear(values)
        found.append(sums)
        values = sums.sin()
    return found


def test_every_hidden_layer_starts_with_the_same_normal_distribution():
    body = SirenBody(3, 256, 6)
    found = pre_activations(body, torch.rand(1, 4000, 3) * 2 - 1)
    # Sines of wide arguments have variance 1/2, so a sum of n with weights uniform within sqrt(6/n)/25 has 1/25^2; the
    # biases are uniform within 1/sqrt(n).
    deviation = FREQUENCY * math.sqrt(1 / HIDDEN_DIVISOR**2 + 1 / (3 * 256))
    for sums in found[2:]:
        assert float(sums.detach().std()) == pytest.approx(deviation, rel=0.15)
        standard = (sums - sums.mean()) / sums.std()
        assert abs(float((standard**4).mean()) - 3) < 0.5
    assert float(body(torch.rand(1, 4000, 3) * 2 - 1).std()) == pytest.approx(math.sqrt(0.5), rel=0.1)


def test_it_can_follow_a_signal_that_a_rectifier_network_of_its_size_cannot():
    place = torch.linspace(-1, 1, 256)[None, :, None]
    wanted = torch.sin(40 * place)

    def error(body, out):
        optimiser = torch.optim.Adam([*body.parameters(), *out.parameters()], 1e-3)
        for _ in range(150):
            optimiser.zero_grad()
            loss = (out(body(place)) - wanted).square().mean()
            loss.backward()
            optimiser.step()
        return float(loss.detach())

    rectified = torch.nn.Sequential(torch.nn.Linear(1, 32), torch.nn.ReLU(), torch.nn.Linear(32, 32), torch.nn.ReLU())
    assert error(SirenBody(1, 32, 2), torch.nn.Linear(32, 1)) < 0.1 * error(rectified, torch.nn.Linear(32, 1))


@pytest.mark.parametrize("wanted", ["points", "frequency", "phase"])
def test_gradients_agree_with_finite_differences(wanted):
    body, mapping = SirenBody(2, 5, 3), FilmMapping(4, 15, width=6)
    with torch.no_grad():
        film = mapping(torch.rand(2, 4))
    inputs = {"points": torch.rand(2, 3, 2), "frequency": film.frequency, "phase": film.phase}
    direction = torch.randn_like(inputs[wanted])

    def value(shift):
        moved = inputs | {wanted: inputs[wanted] + shift * direction}
        return body(moved["points"], Film(moved["frequency"], moved["phase"])).double().sum()

    shift = torch.zeros((), requires_grad=True)
    value(shift).backward()
    step = 1e-3
    difference = float(value(step).detach() - value(-step).detach()) / (2 * step)
    assert float(shift.grad) == pytest.approx(difference, rel=0.02, abs=0.02)


def test_a_film_without_condition_is_near_the_plain_network():
    body, mapping = SirenBody(3, 16, 2), FilmMapping(4, 32)
    film = mapping(torch.zeros(1, 4))
    with torch.no_grad():
        mapping.output.bias.zero_(), mapping.output.weight.zero_()
    points = torch.rand(1, 7, 3)
    assert torch.allclose(body(points, mapping(torch.ones(1, 4))), body(points), atol=1e-5)
    assert film.frequency.shape == film.phase.shape == (1, 1, 32)
    assert (film.frequency - FREQUENCY).abs().max() < FREQUENCY_SPAN


def test_films_are_mixed_point_by_point():
    body, mapping = SirenBody(3, 16, 2), FilmMapping(4, 32)
    one, other = mapping(torch.randn(2, 4)), mapping(torch.randn(2, 4))
    points = torch.rand(2, 5, 3)
    share = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0]).expand(2, 5)[..., None]
    mixed = body(points, one.mixed(other, share))
    assert torch.allclose(mixed, torch.where(share > 0, body(points, one), body(points, other)), atol=1e-4)


def test_low_precision_keeps_neighbouring_points_apart():
    body = SirenBody(3, 32, 3)
    points = torch.tensor([[[0.5, 0.5, 0.5], [0.5, 0.5, 0.501]]])
    with torch.autocast("cpu", torch.bfloat16):
        first, second = body(points)[0].float()
    assert not torch.equal(first, second)
    assert (body(points)[0, 0] - first).abs().max() < 0.1
