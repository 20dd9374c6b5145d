"""The mesh of a scan: its key frames handed to the reconstruction, with what is not head left out."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn.functional import avg_pool2d

from headstudio.heads import load_head
from headstudio.progress import Progress
from headstudio.records.scan import RawMesh, Scan
from headstudio.scan.config import MESH_PRESETS, MeshConfig
from headstudio.scan.deferred_shading import reconstruct

_BELOW_CHIN_M = 0.03
"""The neck is kept so far below the chin; what lies lower is cut by the picture or dressed."""
_NECK_DEPTH_M = -0.07
"""Depth of the neck's middle in the head frame."""
_CHIN = 152
PICTURES_PX: Mapping[str, int] = {"draft": 256, "standard": 512, "paper": 1024}
"""About the side of the pictures that each preset looks at."""


def with_mesh(scan: Scan, preset: str, progress: Progress) -> Scan:
    """The scan with its surface.

    Args:
        preset: of the reconstruction.
    """
    config: MeshConfig = MESH_PRESETS[preset]
    shrink = max(round(scan.images.shape[-1] / PICTURES_PX[preset]), 1)
    images = avg_pool2d(scan.images.float() / 255.0, shrink)
    masks = avg_pool2d(scan.masks[:, None].float() / 255.0, shrink)[:, 0]
    valid = (avg_pool2d(head_part(scan)[:, None].float(), shrink)[:, 0] > 0.999).float()
    K_px = scan.camera.resized(images.shape[-1], images.shape[-2]).K_px
    found = reconstruct(
        images.permute(0, 2, 3, 1).contiguous(), masks, valid, K_px, scan.T_camera_world, config, progress
    )
    return replace(scan, mesh=RawMesh(found.vertices_m.detach().cpu(), found.triangles.detach().cpu()))


def head_part(scan: Scan) -> Bool[Tensor, "views height width"]:
    """Pixels that are not padding and lie above the end of the neck."""
    head = load_head(scan.head)
    chin = head.landmark_points(head.template_m[None])[0, _CHIN]
    end = torch.stack([torch.zeros(()), chin[1] - _BELOW_CHIN_M, torch.tensor(_NECK_DEPTH_M)])
    local = (scan.T_camera_head @ torch.cat([end, torch.ones(1)]))[:, None, :3]
    rows, _ = scan.camera.project(local)
    height = scan.images.shape[-2]
    above = torch.arange(height)[None] + 0.5 < rows[:, :, 1]
    return scan.valid[None] & above[:, :, None]
