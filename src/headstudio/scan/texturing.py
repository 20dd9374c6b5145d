"""The static texture of a scan's registered head, from its key frames (paper 1, section 3.3.1)."""

from dataclasses import replace

import torch

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import transform
from headstudio.heads import load_head
from headstudio.progress import Progress
from headstudio.records.scan import Scan, SkinTexture
from headstudio.render.mesh import MeshTopology
from headstudio.texture.static import StaticTextureConfig, Surface, static_texture
from headstudio.texture.unproject import Observation


def with_texture(scan: Scan, config: StaticTextureConfig, progress: Progress) -> Scan:
    """The scan with the texture of its head: every key frame seen, its light taken off, the rest made up.

    Raises:
        HeadstudioError: no head is registered, or too little skin is seen.
    """
    if scan.identity is None or scan.fit is None:
        raise HeadstudioError("the scan has no registered head", next_step="scan the clip with --mesh draft")
    head = load_head(scan.identity.head)
    coefficients, offsets_m = scan.identity.coefficients[None], scan.identity.offsets_m
    offsets_m = None if offsets_m is None else offsets_m[None]
    rest_m = head.neutral(coefficients, offsets_m)[0]
    posed_m = head(coefficients, head.rest()._replace(expression=scan.fit.expression[None]), offsets_m)[0]
    with progress.stage("static texture", 1) as advance:
        mesh = MeshTopology(head.triangles, head.uv, head.uv_triangles)
        surface = Surface(rest_m, mesh, head.data.regions)
        made = static_texture(_observations(scan, posed_m), surface, scan.light, config)
        advance(1)
    texture = SkinTexture((made.albedo * 255).round().byte(), made.seen[0], made.light_sh)
    return replace(scan, texture=texture)


def _observations(scan: Scan, posed_m: torch.Tensor) -> list[Observation]:
    trusted = scan.valid[None, None].float() * scan.masks[:, None].float() / 255
    return [
        Observation(
            scan.images[view].float() / 255,
            trusted[view],
            transform(scan.T_camera_head[view], posed_m),
            scan.camera[torch.tensor([view])],
        )
        for view in range(scan.views)
    ]
