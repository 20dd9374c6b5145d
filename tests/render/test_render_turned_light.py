"""Light in other axes is the same light."""

import roma
import torch

from headstudio.render.light import spherical_harmonics, turned


def test_turned_light_falls_on_turned_normals_as_before():
    make = torch.Generator().manual_seed(3)
    light = torch.randn(4, 9, 3, generator=make)
    rotation = roma.rotvec_to_rotmat(torch.randn(4, 3, generator=make))
    normals = torch.nn.functional.normalize(torch.randn(4, 50, 3, generator=make), dim=-1)
    before = spherical_harmonics(normals) @ light
    after = spherical_harmonics(normals @ rotation.transpose(1, 2)) @ turned(light, rotation)
    assert torch.allclose(before, after, atol=1e-4)
    assert torch.allclose(turned(light, torch.eye(3)[None]), light, atol=1e-5)
