"""What is computed once from the training frames: the static texture, the blend mask, the input's statistics."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.geometry.camera import Camera
from headstudio.heads.base import HeadModel
from headstudio.methods.dynamic_texture.config import DynamicTextureConfig
from headstudio.motion.articulation import vertices_in_camera
from headstudio.records.capture import Annotation
from headstudio.render.mesh import MeshTopology
from headstudio.texture.fill import pull_push
from headstudio.texture.regions import soft_mask
from headstudio.texture.texels import TexelMap
from headstudio.texture.unproject import Observation, unproject
from headstudio.training.batches import usable_training_frames
from headstudio.training.contract import Source

PAINTED_REGIONS = ("eyelids", "eyeballs", "eyelashes", "lips", "mouth_cavity", "teeth", "tongue")
"""The regions where a static texture fails (sec. 3.3.2)."""


@dataclass(frozen=True)
class Baked:
    """The constant part of an avatar."""

    static: Float[Tensor, "3 size size"]
    """Static texture, sRGB in [0, 1], filled everywhere; albedo where the light was taken off."""
    blend: Float[Tensor, "1 size size"]
    """1 where the painted texture shows."""


def topology(head: HeadModel) -> MeshTopology:
    """The head's mesh for the renderer."""
    return MeshTopology(head.data.triangles, head.data.uv, head.data.uv_triangles)


@torch.no_grad()
def bake(
    source: Source, head: HeadModel, neutral_m: Float[Tensor, "1 vertices 3"], config: DynamicTextureConfig
) -> Baked:
    """Static texture and blend mask of one person."""
    mesh = topology(head)
    texels = TexelMap.build(mesh.triangles, mesh.uv, mesh.uv_triangles, config.texture_px)
    frames = _spread_frames(source, config.texture_frames)
    observations = (_observe(source, head, neutral_m, frame, config.relight) for frame in frames)
    unprojected = unproject(observations, mesh, texels, config.unprojection)
    static = pull_push(unprojected.texture, (unprojected.weight * 20).clamp(0, 1))
    margin = {"vertices_m": neutral_m[0], "triangles": mesh.triangles, "margin_m": config.margin_m}
    return Baked(static, soft_mask(texels, head.region(*PAINTED_REGIONS), **margin))


def _spread_frames(source: Source, count: int) -> list[int]:
    """Good training frames, spread over head orientations: the best of each of `count` bins."""
    frames = usable_training_frames(source)
    forward = source.track.T_world_head[frames][:, :3, 2]
    order = torch.argsort(forward[:, 0])
    bins = torch.tensor_split(order, min(count, len(frames)))
    quality = _frame_quality(source)[frames]
    return [frames[int(part[quality[part].argmax()])] for part in bins]


def _frame_quality(source: Source) -> Tensor:
    sharpness = source.capture.views[0].quality.get("sharpness")
    confidence = source.track.confidence
    if sharpness is None:
        return confidence
    return confidence * (sharpness / sharpness.nanmedian().clamp_min(1e-8)).nan_to_num(0).clamp(0, 2)


def _observe(source: Source, head: HeadModel, neutral_m: Tensor, frame: int, relight: bool) -> Observation:
    capture, track = source.capture, source.track
    view = track.view(torch.tensor([frame]))
    channels = track.motion().at([frame])
    trust = capture.views[0].valid[None].float()
    if Annotation.MATTE in capture.annotations:
        trust = trust * (capture.matte(frame).float() / 255)
    return Observation(
        image=capture.image(frame).float() / 255,
        trust=trust,
        vertices_camera_m=vertices_in_camera(head, neutral_m, channels, view)[0],
        camera=Camera(view.camera.K_px, view.camera.width_px, view.camera.height_px),
        weight=float(_frame_quality(source)[frame]),
        light_sh=track.light_sh[frame] if relight else None,
    )
