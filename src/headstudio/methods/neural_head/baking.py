"""Textures on the atlas: the one that training starts from, and those that engines get, at rest and in expressions."""

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import roma
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from headstudio.geometry.camera import Camera
from headstudio.geometry.easing import ease
from headstudio.geometry.rigid import from_rotation, transform
from headstudio.heads.base import Articulation, HeadModel
from headstudio.methods.neural_head.config import NeuralHeadConfig
from headstudio.motion.arkit import INDEX, NAMES
from headstudio.motion.articulation import articulation
from headstudio.records.channels import GAZE, HEAD_POSE, JAW, NECK, Channels, View, expression_of
from headstudio.render.mesh import MeshTopology
from headstudio.texture.fill import pull_push
from headstudio.texture.frames import observe, spread_over_turns
from headstudio.texture.texels import TexelMap
from headstudio.texture.unproject import Observation, Unprojected, UnprojectionConfig, unproject
from headstudio.training.batches import usable_training_frames
from headstudio.training.contract import Baker, Source

if TYPE_CHECKING:
    from headstudio.methods.neural_head.model import NeuralHead

_TRUSTED = 20
"""Weight of a texel, as `unproject` sums it, times this is the share of its own colour in it."""
_YAWS_DEG, _PITCHES_DEG = (0.0, 35.0, -35.0, 75.0, -75.0, 120.0, -120.0, 180.0), (0.0, 35.0, -30.0)
_ALL_AROUND = tuple(itertools.product(_YAWS_DEG, _PITCHES_DEG))
_INTO_MOUTH = tuple(itertools.product(_YAWS_DEG[:3], _PITCHES_DEG))
_AHEAD = ((0.0, 0.0), (35.0, 0.0), (-35.0, 0.0), (0.0, 35.0), (0.0, -30.0))
"""Sideways and upward angles of photographs: of all of the head, of what an open mouth shows, of an expression."""
_DISTANCE_M, _HALF_FIELD_M = 1.5, 0.19
_OPEN_WEIGHT = 0.02
"""What an open mouth says of texels that the closed one shows hardly counts."""


@torch.no_grad()
def first_texture(
    source: Source, head: HeadModel, neutral_m: Float[Tensor, "1 vertices 3"], size_px: int, frames: int
) -> Float[Tensor, "3 size size"]:
    """The mean of training frames spread over head orientations, sRGB, on the atlas of the tracked head."""
    capture, track, usable = source.capture, source.track, usable_training_frames(source)
    chosen = spread_over_turns(track, usable, track.confidence, frames)
    observations = (observe(capture, track, head, neutral_m, frame) for frame in chosen)
    return _on_atlas(observations, head, size_px)


def _on_atlas(observations: Iterator[Observation], head: HeadModel, size_px: int) -> Float[Tensor, "3 size size"]:
    found = _unprojected(observations, head, size_px)
    return pull_push(found.texture, (found.weight * _TRUSTED).clamp(0, 1)).clamp(0, 1)


def _unprojected(observations: Iterator[Observation], head: HeadModel, size_px: int) -> Unprojected:
    data = head.data
    mesh = MeshTopology(data.triangles, data.uv, data.uv_triangles)
    texels = TexelMap.build(mesh.triangles, mesh.uv, mesh.uv_triangles, size_px)
    return unproject(observations, mesh, texels, UnprojectionConfig())


def texture_size_px(config: NeuralHeadConfig) -> int:
    """Side of the textures that engines get."""
    return max(config.texture.base_px, 2 * config.texture.features_px)


@torch.no_grad()
def baked_texture(model: "NeuralHead", size_px: int) -> Float[Tensor, "3 size size"]:
    """The avatar at rest, photographed from all sides and laid on the atlas; the mouth's inside from an open one."""
    head = model.shape.head
    closed = _photographs(model, head.rest(), _ALL_AROUND)
    opened = _photographs(model, _open_mouth(head), _INTO_MOUTH, _OPEN_WEIGHT)
    return _on_atlas(itertools.chain(closed, opened), head, size_px)


class ExpressionBaker(Baker):
    """The avatar in an expression, photographed from ahead and laid over its texture at rest."""

    def __init__(self, model: "NeuralHead") -> None:
        self._model, self._size_px = model, texture_size_px(model.config)
        self._rest = baked_texture(model, self._size_px)

    @torch.no_grad()
    def bake(self, channels: Channels) -> UInt8[Tensor, "3 height width"]:
        state = articulation(self._model.shape.head, channels)
        seen = _unprojected(_photographs(self._model, state, _AHEAD), self._model.shape.head, self._size_px)
        share = ease((seen.weight * _TRUSTED).clamp(0, 1))
        texture = self._rest + share * (seen.texture.clamp(0, 1) - self._rest)
        return (texture * 255).round().to(torch.uint8).cpu()


def _photographs(
    model: "NeuralHead", state: Articulation, places_deg: Sequence[tuple[float, float]], weight: float = 1.0
) -> Iterator[Observation]:
    for yaw_deg, pitch_deg in places_deg:
        yield _photograph(model, state, yaw_deg, pitch_deg, weight)


def _open_mouth(head: HeadModel) -> Articulation:
    weights = torch.zeros(1, len(NAMES))
    weights[0, INDEX["jawOpen"]] = 0.8
    return head.from_arkit(weights)


def _photograph(
    model: "NeuralHead", state: Articulation, yaw_deg: float, pitch_deg: float, weight: float
) -> Observation:
    size_px = model.config.size_px
    camera = Camera.from_focal(size_px / 2 / _HALF_FIELD_M * _DISTANCE_M, size_px, size_px)
    camera = Camera(camera.K_px[None], size_px, size_px)
    turn = torch.tensor([0.0, yaw_deg, 0.0]).deg2rad(), torch.tensor([pitch_deg, 0.0, 0.0]).deg2rad()
    facing = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    rotation = facing @ roma.rotvec_to_rotmat(turn[1]) @ roma.rotvec_to_rotmat(turn[0])
    middle_m = torch.tensor([0.0, -0.02, -0.06])
    place_m = torch.tensor([0.0, 0.0, _DISTANCE_M]) - rotation @ middle_m
    T_camera_head = from_rotation(rotation, place_m)[None]
    channels = channels_of(model.shape.head, state)
    view = View(camera, T_camera_head)
    drawn = model.drawn(channels, view)
    posed = model.shape.head.pose(model.neutral_m(channels), state)
    vertices_m = transform(T_camera_head, posed)[0]
    return Observation(drawn.rgb[0].clamp(0, 1), drawn.alpha[0], vertices_m, camera, weight)


def channels_of(head: HeadModel, state: Articulation) -> Channels:
    """The channels of a head in a state that stands at the origin of the world, facing as its own axes do."""
    return {
        expression_of(head.name): state.expression,
        JAW: state.jaw_rad,
        GAZE: state.gaze_rad,
        NECK: state.neck_rad,
        HEAD_POSE: torch.diag(torch.tensor([1.0, 1.0, 1.0, 1.0]))[None],
    }
