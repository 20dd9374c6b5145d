"""The head's shape: a refined parametric head, its person, and G's offsets over it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from headstudio.geometry.graph import blurred, unique_edges
from headstudio.heads.base import Articulation, HeadModel
from headstudio.heads.parsing import NAMED, Label, vertex_labels
from headstudio.heads.refined import WHOLE, refined_head, refined_values
from headstudio.methods.neural_head.config import NeuralHeadConfig
from headstudio.methods.neural_head.networks import OffsetNetwork
from headstudio.methods.neural_head.residuals import IDENTITY_UNIT, Residuals
from headstudio.methods.neural_head.signals import JOINT_SIGNALS
from headstudio.nn.signal_range import SignalRange
from headstudio.render.mesh import MeshTopology
from headstudio.render.normals import vertex_normals

_BLUR_PASSES = 6
_MOUTH = ("lips", "mouth_cavity", "teeth", "tongue")


@dataclass(frozen=True)
class Tables:
    """What follows from the refined mesh alone."""

    edges: Int[Tensor, "edges 2"]
    """Of triangles in use."""
    scalp_edges: Int[Tensor, "some 2"]
    rigidity: Float[Tensor, " vertices"]
    """Weight of the offsets' Laplacian: the published numbers of each part, blurred but at the ears."""
    movable: Int[Tensor, " moved"]
    """Vertices that G moves: those of skin in use."""
    neck: Float[Tensor, " vertices"]
    """1 on the neck, 0 elsewhere, with a soft border."""
    mouth: Float[Tensor, " vertices"]
    """1 in the mouth and on the lips, 0 elsewhere, with a soft border."""
    canonical: Float[Tensor, "vertices 3"]
    """Place on the mean head, scaled to [-1, 1]."""
    normals: Float[Tensor, "vertices 3"]
    """Outward directions of the mean head."""
    rim: Int[Tensor, " border"]
    """Vertices at the open end of the neck."""


_RIGIDITY = (("scalp", 0.1), ("nose", 0.5), ("neck", 2.0), ("eyelids", 100.0), ("ears", 500.0), ("eyeballs", 0.0))


class Marks(nn.Module):
    """The vertices that landmarks, joints and the neck's border depend on, as a head of their own."""

    index: Tensor
    rim: Tensor

    def __init__(self, head: HeadModel, index: Int[Tensor, " some"], rim: Int[Tensor, " border"]) -> None:
        super().__init__()
        self.head = head
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("rim", rim, persistent=False)

    def forward(
        self, neutral_m: Float[Tensor, "#batch vertices 3"], state: Articulation
    ) -> tuple[Float[Tensor, "batch 478 3"], Float[Tensor, "batch border 3"]]:
        """Landmarks and the neck's border of neutral faces in a state, for a fraction of the price of all vertices."""
        posed = self.head.pose(neutral_m.index_select(1, self.index), state)
        return self.head.landmark_points(posed), posed[:, self.rim]


class Shape(nn.Module):
    """A person's vertices in the head's frame; differentiable in identity, expression, pose and G."""

    coefficients: Tensor
    person_offsets_m: Tensor

    def __init__(self, coarse: HeadModel, config: NeuralHeadConfig, train_frames: Mapping[str, Sequence[int]]) -> None:
        super().__init__()
        self.config, self.coarse = config, coarse
        self.head = refined_head(coarse, config.subdivisions)
        self._tables = _tables(self.head)
        self.signals = SignalRange(JOINT_SIGNALS)
        self.offsets = OffsetNetwork(self._tables.canonical[self._tables.movable], JOINT_SIGNALS, config.offsets)
        self.residuals = Residuals(self.head, train_frames)
        self.register_buffer("coefficients", torch.zeros(coarse.identities))
        self.register_buffer("person_offsets_m", torch.zeros(self.head.vertices, 3))
        self.marks = _marks(self.head, self._tables.rim)

    @property
    def tables(self) -> Tables:
        """What follows from the mesh, where the parameters are."""
        if self._tables.edges.device != self.coefficients.device:
            moved = {name: value.to(self.coefficients.device) for name, value in vars(self._tables).items()}
            self._tables = Tables(**moved)
        return self._tables

    def take(self, coefficients: Float[Tensor, " identities"], offsets_m: Float[Tensor, "coarse 3"] | None) -> None:
        """The person of the track."""
        self.coefficients = coefficients.clone()
        if offsets_m is not None:
            self.person_offsets_m = refined_values(self.coarse, offsets_m, self.config.subdivisions)

    def topology(self, scalp: Label = Label.HAIR) -> MeshTopology:
        """The refined mesh for the renderer, with the semantic label of every part."""
        labels = torch.stack([(vertex_labels(self.coarse, scalp) == int(label)).float() for label in NAMED], 1)
        fine = refined_values(self.coarse, labels, self.config.subdivisions)
        data = self.head.data
        return MeshTopology(data.triangles, data.uv, data.uv_triangles, fine)

    def tracked_m(self) -> Float[Tensor, "1 vertices 3"]:
        """The neutral face without G, of the track's identity and what was added to it."""
        identity = self.coefficients + IDENTITY_UNIT * self.residuals.identity
        return self.head.neutral(identity[None], self.person_offsets_m[None])

    def offsets_m(self, signal: Float[Tensor, "batch 13"], noise: float = 0.0) -> Float[Tensor, "batch vertices 3"]:
        """What G adds to the neutral face in some frames (one for all where nothing depends on the pose)."""
        movable, dependence = self.tables.movable, self.config.offsets.pose_dependence
        if dependence == "everywhere":
            return self._spread(self.offsets(self.signals(signal, noise)), movable)
        static = self.offsets(torch.zeros_like(self.signals.mean)[None])
        if dependence == "nowhere":
            return self._spread(static, movable)
        share = self.tables.neck[movable]
        near = share > 0
        moving = self.offsets(self.signals(signal, noise), near)
        change = share[near, None] * (moving - static[:, near])
        return self._spread(static, movable) + self._spread(change, movable[near])

    def _spread(self, values: Float[Tensor, "batch some 3"], index: Tensor) -> Float[Tensor, "batch vertices 3"]:
        return values.new_zeros(len(values), self.head.vertices, 3).index_copy(1, index, values)


def _marks(head: HeadModel, rim: Int[Tensor, " border"]) -> Marks:
    data = head.data
    needed = (data.joint_weights != 0).any(0)
    corners = data.triangles[data.landmarks.triangle]
    needed[corners.reshape(-1)] = needed[rim] = True
    index = torch.nonzero(needed)[:, 0]
    number = needed.long().cumsum(0) - 1
    few = replace(
        data,
        template_m=data.template_m[index],
        triangles=number[corners],
        uv_triangles=torch.zeros_like(corners),
        identity_basis_m=data.identity_basis_m[:, index],
        expression_basis_m=data.expression_basis_m[:, index],
        joint_weights=data.joint_weights[:, index],
        skin_weights=data.skin_weights[index],
        regions={name: mask[index] for name, mask in data.regions.items()},
        landmarks=replace(data.landmarks, triangle=torch.arange(len(corners))),
    )
    return Marks(HeadModel(few), index, number[rim])


def _tables(head: HeadModel) -> Tables:
    data, count = head.data, head.vertices
    edges = unique_edges(data.triangles)
    used = torch.zeros(count, dtype=torch.bool)
    used[data.triangles.reshape(-1)] = True
    movable = torch.nonzero(used & ~head.region(*WHOLE))[:, 0]
    scalp = data.regions["scalp"][edges].all(1)
    low, high = data.template_m.amin(0), data.template_m.amax(0)
    rim = _rim(data.triangles, data.regions["neck"] if bool(data.regions["neck"].any()) else used)
    return Tables(
        edges=edges,
        scalp_edges=edges[scalp] if bool(scalp.any()) else edges[:0],
        rigidity=_rigidity(head, edges),
        movable=movable,
        neck=blurred(data.regions["neck"].float(), edges, _BLUR_PASSES),
        mouth=blurred(head.region(*_MOUTH).float(), edges, _BLUR_PASSES),
        canonical=(data.template_m - (low + high) / 2) / ((high - low).max() / 2),
        normals=vertex_normals(data.template_m[None], data.triangles)[0],
        rim=rim,
    )


def _rigidity(head: HeadModel, edges: Tensor) -> Float[Tensor, " vertices"]:
    weight = torch.ones(head.vertices)
    for name, value in _RIGIDITY:
        weight[head.region(name)] = value
    ears: Bool[Tensor, " vertices"] = head.region("ears")
    return torch.where(ears, weight, blurred(torch.where(ears, 1.0, weight), edges, 3))


def _rim(triangles: Tensor, neck: Tensor) -> Int[Tensor, " border"]:
    sides = torch.stack([triangles, triangles.roll(-1, 1)], -1).reshape(-1, 2).sort(1).values
    ends, times = torch.unique(sides, dim=0, return_counts=True)
    border = ends[times == 1].unique()
    return border[neck[border]]
