"""The re-rendering's U-Net: sizes, start, skips, bad settings."""

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.nn.refining_unet import RefiningUNet, RefiningUNetConfig


@pytest.mark.parametrize("config", [RefiningUNetConfig(widths=(4, 6, 8)), RefiningUNetConfig(3, 6, (4, 5, 6), 2)])
def test_a_picture_keeps_its_size_and_nothing_is_painted_before_training(config):
    torch.manual_seed(0)
    net = RefiningUNet(config)
    found = net(torch.randn(2, 3, 24, 32))
    assert found.shape == (2, 6, 24, 32) and not found.any()


def test_the_finest_details_pass_by_the_coarse_levels():
    torch.manual_seed(0)
    net = RefiningUNet(RefiningUNetConfig(widths=(4, 6, 8)))
    torch.nn.init.normal_(net.output.weight)
    picture = torch.randn(1, 3, 32, 32, requires_grad=True)
    for level in net.down[1:]:  # only the finest skip and the first halving are left
        for parameter in level.parameters():
            torch.nn.init.zeros_(parameter)
    net(picture)[0, :, 16, 16].sum().backward()
    assert picture.grad[0, :, 16, 16].abs().min() > 0


def test_what_is_far_reaches_a_pixel_through_the_coarse_levels():
    torch.manual_seed(0)
    net = RefiningUNet(RefiningUNetConfig(widths=(4, 6, 8, 8, 8)))
    torch.nn.init.normal_(net.output.weight)
    picture = torch.randn(1, 3, 64, 64, requires_grad=True)
    net(picture)[0, :, 32, 32].sum().backward()
    reach = picture.grad[0].abs().sum(0) > 0
    assert reach[32, 8] and reach[8, 32]


@pytest.mark.parametrize("change", [{"widths": ()}, {"widths": (4, 0)}, {"convolutions": 0}])
def test_networks_that_cannot_be_are_refused(change):
    with pytest.raises(HeadstudioError):
        RefiningUNet(RefiningUNetConfig(**change))
