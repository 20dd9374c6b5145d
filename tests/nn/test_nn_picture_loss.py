"""The loss that methods hold: made once and late, named in reports and stored avatars, not stored itself."""

import pytest
import torch
from torch import nn

from headstudio.nn.perceptual import FeatureLoss
from headstudio.nn.picture_loss import PictureLoss


class _Named(nn.Module):
    name = "a network"

    def forward(self, images):
        return images


class _Compared(FeatureLoss):
    def __init__(self):
        super().__init__()
        self.extractor = _Named()

    def _features(self, images):
        return self.extractor(images)

    def _terms(self, found, wanted, mask):
        return [(found - wanted).abs().mean()]


class _Counted:
    def __init__(self, network):
        self.calls, self.network = 0, network

    def __call__(self):
        self.calls += 1
        return self.network, "L1 of something"


@pytest.fixture
def pictures():
    generator = torch.Generator().manual_seed(3)
    return torch.rand(2, 2, 3, 24, 24, generator=generator)


def test_it_is_found_once_and_only_when_asked(pictures):
    find = _Counted(_Compared())
    loss = PictureLoss(find)
    assert find.calls == 0 and loss.notes() == () and loss.extractors == frozenset()
    mask = torch.ones(1, 1, 24, 24)
    value = loss(pictures[0], pictures[1], mask)
    torch.testing.assert_close(value, (pictures[0] - pictures[1]).abs().mean())
    loss(pictures[0], pictures[1], mask)
    assert find.calls == 1


def test_choosing_names_it_for_reports_and_judges():
    loss = PictureLoss(_Counted(_Compared()))
    loss.choose()
    assert loss.notes() == ("Perceptual loss: L1 of something.",)
    assert loss.notes("E_perc") == ("E_perc: L1 of something.",)
    assert loss.extractors == {"a network"}


def test_a_loss_without_a_network_keeps_no_judge_away():
    loss = PictureLoss(_Counted(nn.Identity()))
    loss.choose()
    assert loss.notes() and loss.extractors == frozenset()


def test_names_outlive_storing_without_the_network():
    taught = PictureLoss(_Counted(_Compared()))
    taught.choose()
    find = _Counted(_Compared())
    loaded = PictureLoss(find)
    loaded.restore({"head": "makehuman", **taught.state()})
    assert loaded.state() == taught.state() and loaded.extractors == {"a network"} and find.calls == 0


def test_it_is_no_part_of_whoever_holds_it():
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.perceptual_loss = PictureLoss(_Counted(nn.Linear(3, 3)))

    holder = Holder()
    holder.perceptual_loss.choose()
    assert not list(holder.parameters()) and not holder.state_dict()
