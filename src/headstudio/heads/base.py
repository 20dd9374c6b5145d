"""`HeadModel`: what every parametric head offers, whatever its origin.

Vertices are metres in the head frame: fixed to the skull, origin between the eyeball centres of the mean head,
y up, the face looks to +z. The neck rotation turns the skull against the shoulders, so in this frame it moves the
shoulders and leaves the face alone: a face tracker need not know it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import roma
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from headstudio.heads.arkit import GAZE_DIRECTIONS, JAW_OPEN, gaze_columns

REGIONS = (
    "face", "eyelids", "eyeballs", "eyelashes", "nose", "lips",
    "mouth_cavity", "teeth", "tongue", "ears", "scalp", "neck",
)  # fmt: skip
"""Names of the vertex regions every head provides; they may overlap and may be empty (a head without teeth)."""

JOINTS = ("neck", "head", "jaw", "eye_left", "eye_right")
"""The skeleton of every head: neck is the root, head its child; jaw and eyes (the person's left, right) hang on it."""

JOINT_PARENTS = (-1, 0, 1, 1, 1)


class Articulation(NamedTuple):
    """One batch of head states beside identity."""

    expression: Float[Tensor, "batch expressions"]
    neck_rad: Float[Tensor, "batch 3"]
    jaw_rad: Float[Tensor, "batch 3"]
    gaze_rad: Float[Tensor, "batch 2 3"]


@dataclass(frozen=True)
class LandmarkEmbedding:
    """Where detector landmarks lie on the surface."""

    triangle: Int[Tensor, " landmarks"]
    barycentric: Float[Tensor, "landmarks 3"]
    weight: Float[Tensor, " landmarks"]
    """Trust in [0, 1]; 0 where the landmark has no place on this head."""


@dataclass(frozen=True)
class HeadData:
    """The constant tables of a head; `HeadModel` is their behaviour."""

    name: str
    licence: str
    template_m: Float[Tensor, "vertices 3"]
    triangles: Int[Tensor, "triangles 3"]
    uv: Float[Tensor, "uvs 2"]
    """Atlas in [0, 1], origin at the top left (as glTF)."""
    uv_triangles: Int[Tensor, "triangles 3"]
    identity_basis_m: Float[Tensor, "identities vertices 3"]
    """Columns scaled to one prior standard deviation."""
    expression_names: tuple[str, ...]
    expression_basis_m: Float[Tensor, "expressions vertices 3"]
    expression_to_arkit: Float[Tensor, "52 expressions"]
    """Linear part of the mapping to ARKit-52 (gaze and jaw rotations are added by the model)."""
    joint_weights: Float[Tensor, "joints vertices"]
    """Rows sum to 1 over the neutral vertices: joint position = weights @ vertices."""
    skin_weights: Float[Tensor, "vertices joints"]
    """Linear blend skinning weights in the order of `JOINTS`, rows sum to 1."""
    regions: Mapping[str, Bool[Tensor, " vertices"]]
    landmarks: LandmarkEmbedding
    expression_range: tuple[float, float] = (0.0, 1.0)
    """Range of one expression coefficient."""
    jaw_open_rad: float = 0.0
    """Jaw rotation about x that ARKit's jawOpen = 1 stands for; 0 when the jaw is a blendshape."""
    gaze_full_rad: tuple[float, float, float, float] = (0.30, 0.30, 0.45, 0.45)
    """Eye rotation that ARKit's eyeLookUp, Down, In and Out = 1 stand for."""
    arkit_to_expression: Float[Tensor, "expressions 52"] | None = None
    """Linear part of the way back; None stands for the pseudo-inverse of `expression_to_arkit`."""


class HeadModel(nn.Module):
    """A parametric head: identity, expression and articulation in, vertices out; differentiable in all of them."""

    template_m: Tensor
    triangles: Tensor
    uv: Tensor
    uv_triangles: Tensor
    identity_basis_m: Tensor
    expression_basis_m: Tensor
    expression_to_arkit: Tensor
    arkit_to_expression: Tensor
    joint_weights: Tensor
    skin_weights: Tensor
    landmark_vertices: Tensor
    landmark_barycentric: Tensor
    landmark_weight: Tensor
    identity_3x3: Tensor

    def __init__(self, data: HeadData) -> None:
        super().__init__()
        self.data = data
        for name, value in vars(data).items():
            if isinstance(value, Tensor) and name != "arkit_to_expression":
                self.register_buffer(name, value, persistent=False)
        back = data.arkit_to_expression
        back = torch.linalg.pinv(data.expression_to_arkit) if back is None else back
        self.register_buffer("arkit_to_expression", back, persistent=False)
        self.register_buffer("landmark_vertices", data.triangles[data.landmarks.triangle], persistent=False)
        self.register_buffer("landmark_barycentric", data.landmarks.barycentric, persistent=False)
        self.register_buffer("identity_3x3", torch.eye(3), persistent=False)
        self.register_buffer("landmark_weight", data.landmarks.weight, persistent=False)

    @property
    def name(self) -> str:
        """Registered name."""
        return self.data.name

    @property
    def identities(self) -> int:
        """Number of identity coefficients."""
        return self.data.identity_basis_m.shape[0]

    @property
    def expressions(self) -> int:
        """Number of expression coefficients."""
        return self.data.expression_basis_m.shape[0]

    @property
    def vertices(self) -> int:
        """Number of vertices."""
        return self.data.template_m.shape[0]

    def rest(self, batch: int = 1) -> Articulation:
        """The neutral state."""
        zeros = self.template_m.new_zeros
        return Articulation(zeros(batch, self.expressions), zeros(batch, 3), zeros(batch, 3), zeros(batch, 2, 3))

    def neutral(
        self, identity: Float[Tensor, "batch identities"], offsets_m: Float[Tensor, "#batch vertices 3"] | None = None
    ) -> Float[Tensor, "batch vertices 3"]:
        """The neutral face of an identity."""
        flat = identity @ self.identity_basis_m.flatten(1)
        shaped = self.template_m + flat.unflatten(1, (-1, 3))
        return shaped if offsets_m is None else shaped + offsets_m

    def joints(self, neutral_m: Float[Tensor, "batch vertices 3"]) -> Float[Tensor, "batch joints 3"]:
        """Joint positions of neutral faces, in the order of `JOINTS`."""
        return self.joint_weights @ neutral_m

    def pose(
        self, neutral_m: Float[Tensor, "#batch vertices 3"], articulation: Articulation
    ) -> Float[Tensor, "batch vertices 3"]:
        """Express and articulate neutral faces; the result stays in the skull's frame."""
        flat = articulation.expression @ self.expression_basis_m.flatten(1)
        expressed = neutral_m + flat.unflatten(1, (-1, 3))
        # Linear blend skinning in the skull's frame: only what the joints move against the skull is added. A product
        # per joint over all vertices is many times faster than a blended matrix per vertex.
        pivots, posed = self.joints(neutral_m), expressed
        for joint, rotvec_rad in self._moving_joints(articulation):
            pivot = pivots[:, joint, None]
            turned = (expressed - pivot) @ (roma.rotvec_to_rotmat(rotvec_rad) - self.identity_3x3).transpose(1, 2)
            posed = posed + self.skin_weights[:, joint, None] * turned
        return posed

    def forward(
        self,
        identity: Float[Tensor, "batch identities"],
        articulation: Articulation,
        offsets_m: Float[Tensor, "#batch vertices 3"] | None = None,
    ) -> Float[Tensor, "batch vertices 3"]:
        """Vertices of an identity in a state."""
        return self.pose(self.neutral(identity, offsets_m), articulation)

    def landmark_points(self, vertices_m: Float[Tensor, "batch vertices 3"]) -> Float[Tensor, "batch landmarks 3"]:
        """The detector's landmarks on posed vertices."""
        corners = vertices_m[:, self.landmark_vertices]
        return (corners * self.landmark_barycentric[..., None]).sum(-2)

    def region(self, *names: str) -> Bool[Tensor, " vertices"]:
        """Union of named vertex regions."""
        return torch.stack([self.data.regions[name] for name in names]).any(0).to(self.template_m.device)

    def to_arkit(self, articulation: Articulation) -> Float[Tensor, "batch 52"]:
        """The state as ARKit-52 weights in [0, 1]; where the eyes look is told by gaze alone."""
        weights = (articulation.expression @ self.expression_to_arkit.T).clone()
        if self.data.jaw_open_rad:
            weights[:, JAW_OPEN] += articulation.jaw_rad[:, 0] / self.data.jaw_open_rad
        for direction, full_rad in zip(GAZE_DIRECTIONS, self.data.gaze_full_rad, strict=True):
            turned = articulation.gaze_rad @ self._gaze_axes(direction)
            weights[:, gaze_columns(direction)] = turned.diagonal(dim1=1, dim2=2) / full_rad
        return weights.clamp(0.0, 1.0)

    def from_arkit(self, arkit: Float[Tensor, "batch 52"]) -> Articulation:
        """The state that ARKit-52 weights ask for (neck at rest)."""
        low, high = self.data.expression_range
        expression = (arkit @ self.arkit_to_expression.T).clamp(low, high)
        state = self.rest(arkit.shape[0])
        jaw_rad = torch.cat([arkit[:, JAW_OPEN, None] * self.data.jaw_open_rad, state.jaw_rad[:, 1:]], dim=1)
        gaze_rad = state.gaze_rad
        for direction, full_rad in zip(GAZE_DIRECTIONS, self.data.gaze_full_rad, strict=True):
            amount = arkit[:, gaze_columns(direction)] * full_rad
            gaze_rad = gaze_rad + amount[..., None] * self._gaze_axes(direction).T
        return Articulation(expression, state.neck_rad, jaw_rad, gaze_rad)

    def _gaze_axes(self, direction: str) -> Float[Tensor, "3 eyes"]:
        """Axes about which the left and the right eye turn to look up, down, in (to the nose) or out."""
        axes = {
            "Up": [[-1.0, 0, 0], [-1.0, 0, 0]],
            "Down": [[1.0, 0, 0], [1.0, 0, 0]],
            "In": [[0, -1.0, 0], [0, 1.0, 0]],
            "Out": [[0, 1.0, 0], [0, -1.0, 0]],
        }
        return self.template_m.new_tensor(axes[direction]).T

    def _moving_joints(self, articulation: Articulation) -> list[tuple[int, Float[Tensor, "batch 3"]]]:
        # The neck turns the shoulders the other way round.
        eye_left, eye_right = articulation.gaze_rad.unbind(1)
        return [(0, -articulation.neck_rad), (2, articulation.jaw_rad), (3, eye_left), (4, eye_right)]
