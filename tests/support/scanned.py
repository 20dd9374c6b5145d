"""A scan of a head whose texture is known, without the pictures it would be made from."""

import torch

from headstudio.geometry.rigid import invert, rigid, transform
from headstudio.heads.base import HeadModel
from headstudio.records.scan import (
    CameraSource,
    FaceFit,
    LightMode,
    MetricScale,
    RawMesh,
    Residuals,
    ScaleSource,
    Scan,
    SkinTexture,
)
from headstudio.records.track import HeadIdentity


def known_scan(head: HeadModel, texture: torch.Tensor, blend_mask: torch.Tensor | None = None) -> Scan:
    """The mean head with a texture (3, size, size) that was seen everywhere, one black picture, and a mask (size, size)
    of bytes; None: nowhere."""
    size = texture.shape[-1]
    mask = torch.zeros(size, size, dtype=torch.uint8) if blend_mask is None else blend_mask
    T_camera_head = rigid(torch.tensor([torch.pi, 0.0, 0.0]), torch.tensor([0.0, 0.0, 0.6]))
    K_px = torch.tensor([[12.0, 0.0, 4.0], [0.0, 12.0, 4.0], [0.0, 0.0, 1.0]])
    return Scan(
        "clip-a", torch.zeros(1, dtype=torch.long), 0,
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 8, 8, dtype=torch.uint8),
        torch.ones(8, 8, dtype=torch.bool), torch.zeros(1, 478, 3), K_px[None], torch.eye(4)[None],
        invert(T_camera_head),
        head.name, CameraSource.STRUCTURE_FROM_MOTION, LightMode.FIXED_TO_HEAD,
        MetricScale(ScaleSource.IRIS, 0.02, 6), Residuals(0.5, 0.5, 0.001, 1),
        mesh=RawMesh(transform(T_camera_head, head.template_m), head.triangles),
        identity=HeadIdentity(head.name, torch.zeros(head.identities), None),
        fit=FaceFit(torch.zeros(head.expressions), torch.zeros(head.vertices), torch.zeros(head.vertices), mask),
        texture=SkinTexture((texture.clamp(0, 1) * 255).round().byte(), torch.ones(size, size, dtype=torch.bool)),
    )  # fmt: skip
