"""The energies of one training step: what several of them need is made once, and only if one of them asks."""

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from headstudio.geometry.rigid import transform
from headstudio.heads.base import Articulation
from headstudio.heads.parsing import NAMED, SEMANTIC_REGIONS
from headstudio.methods.neural_head import energies
from headstudio.methods.neural_head.buffers import Buffers, cut_windows, draw_buffers, smoothed_edges, window_camera
from headstudio.methods.neural_head.residuals import Correction, corrected, corrected_pose
from headstudio.methods.neural_head.signals import colour_signal, joint_signal
from headstudio.methods.neural_head.targets import Targets, targets_of
from headstudio.motion.articulation import articulation
from headstudio.records.channels import HEAD_POSE, Channels
from headstudio.render.antialias import antialias, find_crossings
from headstudio.render.composite import over
from headstudio.render.labels import label_image
from headstudio.training.contract import Batch

if TYPE_CHECKING:
    from headstudio.methods.neural_head.model import NeuralHead

_CHIN = 152
_SPARE_PX = 4
"""Border of a window in which the normal patches are cut off."""


class Terms:
    """One batch before the model; the methods without underscore of `REACHES` give its energies."""

    def __init__(self, model: "NeuralHead", batch: Batch) -> None:
        assert batch.image is not None and batch.valid is not None
        self._model, self._batch, self._image, self._valid = model, batch, batch.image, batch.valid.float()
        self._shape, self._config = model.shape, model.config
        self._noise = model.config.condition_noise if model.training else 0.0

    def landmarks(self) -> Tensor:
        """E_lmk."""
        found_px = self._project(self._shape.marks(self._neutral, self._state)[0])
        return energies.landmark_energy(found_px, *self._landmarks_wanted, self._size_px)

    def lids(self) -> Tensor:
        """The lid term, which moves the expression and nothing else."""
        frozen = Articulation(*(value.detach() for value in self._state))
        state = frozen._replace(expression=self._state.expression)
        found_px = self._project(self._shape.marks(self._neutral.detach(), state)[0], self._pose.detach())
        return energies.lid_energy(found_px, *self._landmarks_wanted, self._size_px)

    def normals(self) -> Tensor:
        """E_normal."""
        assert self._batch.normals is not None
        skin = self._targets.skin * self._valid * self._buffers.mask * (self._buffers.mouth < 0.5)
        return energies.normal_energy(self._buffers.normals, self._batch.normals, skin)

    def orientation(self) -> Tensor:
        """L1 of the normals, hair included."""
        assert self._batch.normals is not None
        shown = self._targets.visible * self._targets.trust * self._buffers.mask * (self._buffers.mouth < 0.5)
        return energies.orientation_energy(self._buffers.normals, self._batch.normals, shown)

    def semantics(self) -> Tensor:
        """E_semantic of skin, eyes and ears."""
        return self._regions([name for name in SEMANTIC_REGIONS if name != "hair"])

    def hair(self) -> Tensor:
        """E_semantic of the hair."""
        return self._regions(["hair"])

    def silhouette(self) -> Tensor:
        """The head's outline against the matte, or against all labels of the head."""
        fragments = self._buffers.fragments
        coverage = antialias(fragments.mask, fragments, find_crossings(fragments))
        return energies.region_energy(coverage, self._targets.head, self._targets.trust)

    def offset_laplacian(self) -> Tensor:
        """Smoothness of the offsets, part by part."""
        tables = self._shape.tables
        return energies.laplacian_energy(self._offsets / self._model.edge_m, tables.edges, tables.rigidity)

    def thickness(self) -> Tensor:
        """Hair of even thickness."""
        tables = self._shape.tables
        return energies.thickness_energy(self._offsets / self._model.edge_m, tables.normals, tables.scalp_edges)

    def edge_length(self) -> Tensor:
        """Edges of the scalp stay short of 1.5 times their mean."""
        neutral_m = self._shape.tracked_m().detach() + self._offsets
        return energies.edge_energy(neutral_m, self._shape.tables.scalp_edges)

    def consistency(self) -> Tensor:
        """Offsets of these poses against those of poses drawn from the training range."""
        ranges = self._shape.signals
        share = torch.rand_like(ranges.mean.expand(len(self._batch.frames), -1))
        others = ranges.lowest + share * (ranges.highest - ranges.lowest)
        with torch.no_grad():
            elsewhere = self._shape.offsets_m(others)
        return energies.consistency_energy(self._offsets / self._model.edge_m, elsewhere / self._model.edge_m)

    def prior(self) -> Tensor:
        """Squares of everything that was added to the track."""
        parts = (self._shape.residuals.identity, *self._correction)
        return torch.cat([part.flatten() for part in parts]).square().sum() / len(self._batch.frames)

    def l1(self) -> Tensor:
        """E_phot in the window."""
        return energies.colour_energy(self._moving_picture[0], self._window_image, self._window_weight)

    def perceptual(self) -> Tensor:
        """E_perc in the window, which moves the texture and nothing else."""
        found, coverage = self._still_picture
        shown = over(found, coverage.detach() * self._window_weight, self._window_image)
        valid = self._cut(self._valid.expand(len(shown), -1, -1, -1))
        return self._model.perceptual_loss(shown, self._window_image, valid)

    @cached_property
    def _correction(self) -> Correction:
        return self._shape.residuals.at(self._batch.source_key, self._batch.frames)

    @cached_property
    def _channels(self) -> Channels:
        pose = corrected_pose(self._batch.channels[HEAD_POSE].float(), self._correction)
        return {**self._batch.channels, HEAD_POSE: pose}

    @cached_property
    def _state(self) -> Articulation:
        return corrected(articulation(self._shape.head, self._batch.channels), self._correction)

    @cached_property
    def _pose(self) -> Float[Tensor, "batch 4 4"]:
        return (self._batch.view.T_camera_world @ self._channels[HEAD_POSE]).float()

    @cached_property
    def _offsets(self) -> Float[Tensor, "some vertices 3"]:
        # What G is told is a signal, not a way to move the pose.
        signal = joint_signal(Articulation(*(v.detach() for v in self._state)), self._batch.channels)
        # Not in bfloat16: its steps of a two hundredth part of an offset would turn the normals by degrees.
        return self._shape.offsets_m(signal, self._noise)

    @cached_property
    def _neutral(self) -> Float[Tensor, "some vertices 3"]:
        return self._shape.tracked_m() + self._offsets

    @cached_property
    def _vertices(self) -> Float[Tensor, "batch vertices 3"]:
        return transform(self._pose, self._shape.head.pose(self._neutral, self._state))

    @cached_property
    def _buffers(self) -> Buffers:
        return draw_buffers(self._vertices, self._model.mesh, self._shape.tables, self._batch.view.camera)

    @cached_property
    def _targets(self) -> Targets:
        # Fetched before gradients are switched off: what is kept for others must carry theirs.
        pose, neutral_m, state = self._pose, self._neutral, self._state
        with torch.no_grad():
            marks_m, rim_m = self._shape.marks(neutral_m, state)
            chin_m = transform(pose, marks_m[:, _CHIN : _CHIN + 1])[:, 0]
            return targets_of(self._batch, transform(pose, rim_m), chin_m, pose[:, :3, 1])

    @cached_property
    def _landmarks_wanted(self) -> tuple[Tensor, Tensor]:
        assert self._batch.landmarks_px is not None
        seen = self._batch.landmarks_px[..., :2]
        weight = self._shape.head.landmark_weight * torch.isfinite(seen).all(-1) * self._batch.confidence[:, None]
        return seen.nan_to_num(0.0), weight

    @cached_property
    def _corner_px(self) -> Int[Tensor, "batch 2"]:
        """Where the windows lie: half of them about a landmark, half about any point of the head (without labels: above
        the chin, since a matte holds shoulders too)."""
        side, places = self._side_px, []
        shown = self._targets.visible * self._targets.trust
        for index in range(len(shown)):
            head = torch.nonzero(shown[index, 0] > 0.5).flip(1)
            wanted, weight = (values[index] for values in self._landmarks_wanted)
            marks = wanted[weight > 0].round().long()
            known = [points for points in (marks, head) if len(points)]
            choice = known[int(torch.randint(len(known), ()))] if known else head.new_full((1, 2), self._size_px // 2)
            middle = choice[int(torch.randint(len(choice), ()))]
            places.append((middle.cpu() - side // 2).clamp(0, self._size_px - side))
        return torch.stack(places)

    @property
    def _side_px(self) -> int:
        return min(self._config.patch_px or self._size_px, self._size_px)

    @property
    def _size_px(self) -> int:
        return self._image.shape[-1]

    @cached_property
    def _window_image(self) -> Float[Tensor, "batch 3 side side"]:
        return self._cut(self._image)

    @cached_property
    def _window_weight(self) -> Float[Tensor, "batch 1 side side"]:
        weight = self._cut(self._targets.visible)
        if self._side_px < self._size_px:
            inner = torch.zeros_like(weight)
            inner[..., _SPARE_PX:-_SPARE_PX, _SPARE_PX:-_SPARE_PX] = 1
            weight = weight * inner
        return weight

    @cached_property
    def _moving_picture(self) -> tuple[Tensor, Tensor]:
        """Straight colour and coverage in the window; gradients reach texture and shape."""
        return self._picture(self._vertices)

    @cached_property
    def _still_picture(self) -> tuple[Tensor, Tensor]:
        """The same; gradients reach the texture alone."""
        if not self._vertices.requires_grad:
            return self._moving_picture
        return self._picture(self._vertices.detach())

    def _picture(self, vertices_m: Tensor) -> tuple[Tensor, Tensor]:
        shape, model = self._shape, self._model
        camera = window_camera(self._batch.view.camera, self._corner_px, self._side_px)
        buffers = draw_buffers(vertices_m, model.mesh, shape.tables, camera)
        state = Articulation(*(v.detach() for v in self._state))
        signal = colour_signal(state, self._batch.channels, self._batch.view)
        with model.precision():
            colours = model.colour(buffers, model.colour.standard(signal, self._noise))
        return smoothed_edges(colours, buffers.fragments)

    def _cut(self, pictures: Tensor) -> Tensor:
        return cut_windows(pictures, self._corner_px, self._side_px)

    def _project(self, points_m: Tensor, pose: Tensor | None = None) -> Float[Tensor, "batch points 2"]:
        return self._batch.view.camera.project(transform(self._pose if pose is None else pose, points_m))[0]

    def _regions(self, names: list[str]) -> Tensor:
        assert self._targets.regions is not None
        order = list(SEMANTIC_REGIONS)
        wanted = self._targets.regions[:, [order.index(name) for name in names]]
        found = [sum(self._labels[:, NAMED.index(label)] for label in SEMANTIC_REGIONS[name]) for name in names]
        return energies.region_energy(torch.stack(found, 1), wanted, self._targets.trust)  # type: ignore[arg-type]

    @cached_property
    def _labels(self) -> Float[Tensor, "batch labels height width"]:
        triangle_labels = self._model.mesh.triangle_labels
        assert triangle_labels is not None
        return label_image(self._buffers.fragments, triangle_labels, len(NAMED))
