"""The export registry asks what an avatar declares."""

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.export.targets import TARGETS, export_avatar
from headstudio.records.channels import ARKIT
from headstudio.records.motion import Motion
from headstudio.texture.mesh_asset import mesh_asset
from headstudio.training.contract import Capability
from support.gltf_player import GltfPlayer
from support.small_head import small_head


class _Surface:
    """Not an AvatarModel: only what it declares counts."""

    capabilities = frozenset({Capability.SURFACE})

    def surface(self):
        head = small_head()
        return mesh_asset(head, head.template_m, torch.full((3, 4, 4), 99, dtype=torch.uint8))


class _Volume:
    capabilities = frozenset({Capability.NOVEL_VIEW})


def test_glb_of_anything_that_declares_a_surface(tmp_path):
    motion = Motion(torch.tensor([0.0, 0.1], dtype=torch.float64), {ARKIT: torch.rand(2, 52)})
    path = export_avatar(_Surface(), "glb", tmp_path / "me", motion)
    assert path == tmp_path / "me.glb"
    assert len(GltfPlayer(path).document.animations) == 1
    still = export_avatar(_Surface(), "glb", tmp_path / "still.glb")
    assert not GltfPlayer(still).document.animations


def test_what_is_lacking_is_named(tmp_path):
    with pytest.raises(HeadstudioError, match="does not declare surface"):
        export_avatar(_Volume(), "glb", tmp_path / "me.glb")
    with pytest.raises(HeadstudioError, match=r"'vrml'.*glb"):
        export_avatar(_Surface(), "vrml", tmp_path / "me")
    assert not list(tmp_path.iterdir())


def test_targets_cannot_be_changed_at_run_time():
    with pytest.raises(TypeError):
        TARGETS["mine"] = TARGETS["glb"]
