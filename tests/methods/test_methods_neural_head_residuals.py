"""Paper 4's additions to the track: a frame's own rows learn from that frame, and what all share is no addition."""

import pytest
import torch

from headstudio.heads import load_head
from headstudio.methods.neural_head.residuals import Residuals
from headstudio.methods.neural_head.schedule import step_of_size

FRAMES, SEEN = 20, [3, 7]


@pytest.fixture
def residuals():
    return Residuals(load_head("makehuman"), {"clip": range(FRAMES)})


def learn(residuals, target: float, steps: int = 40):
    """Steps of one size towards a jaw that is turned in the frames that are seen."""
    how = step_of_size(0.1)
    optimiser = torch.optim.Adam(residuals.parameters(), lr=how.learning_rate, betas=how.betas)
    for step in range(steps):
        found = residuals.at("clip", torch.tensor([SEEN[step % 2]]))
        loss = (found.pose[:, 6] - target).square().sum() + 1e-3 * found.expression.square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def test_frames_that_are_not_seen_stay(residuals):
    learn(residuals, 1.0)
    others = [frame for frame in range(FRAMES) if frame not in SEEN]
    assert float(residuals.pose.rows[others].detach().abs().max()) == 0
    assert float(residuals.pose.rows[SEEN][:, 6].detach().min()) > 0.5


def test_those_that_are_seen_reach_what_they_should(residuals):
    learn(residuals, 1.0, 120)
    found = residuals.at("clip", torch.tensor(SEEN)).pose.detach()
    assert found[:, 6] == pytest.approx(torch.ones(2), abs=0.15)
    assert float(found[:, :6].abs().max()) == 0


def test_what_all_frames_share_is_no_addition(residuals):
    with torch.no_grad():
        residuals.pose.rows += 5.0
        residuals.pose.rows[0] += 1.0
    found = residuals.at("clip", torch.arange(FRAMES)).pose.detach()
    assert float(found.mean(0).abs().max()) < 1e-5 and float(found[0].min()) == pytest.approx(1 - 1 / FRAMES, abs=1e-5)
