"""A closed mesh from calibrated pictures and masks by neural deferred shading.

After Worchel et al. 2022, "Multi-View Mesh Reconstruction with Neural Deferred Shading", on this package's rasteriser:
a visual hull is moved, vertex by vertex, until a small shader that sees place, normal and view direction can paint the
pictures. From coarse to fine: after some steps the mesh is made anew with shorter edges.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize
from torch.optim import Adam

from headstudio.errors import HeadstudioError
from headstudio.geometry.remesh import remesh
from headstudio.geometry.topology import ClosedMesh, connect, edge_lengths
from headstudio.nn.neural_shader import NeuralShader
from headstudio.progress import Progress, Silent
from headstudio.render.antialias import antialias, edge_neighbours
from headstudio.render.normals import vertex_normals
from headstudio.render.rasterise import interpolate, rasterise
from headstudio.scan import mesh_losses
from headstudio.scan.config import MeshConfig, MeshWeights
from headstudio.scan.hull import visual_hull
from headstudio.scan.multiview import MultiView, multiview


@dataclass(frozen=True)
class ReconstructedMesh:
    """What was found, and how the loss went."""

    vertices_m: Float[Tensor, "vertices 3"]
    """In the world's frame and unit (metres where the cameras are in metres)."""
    triangles: Int[Tensor, "triangles 3"]
    """Closed and manifold, counter-clockwise seen from outside."""
    losses: Mapping[str, Float[Tensor, " iterations"]]
    """Each unweighted term, step by step."""


def reconstruct(
    images: Float[Tensor, "views height width 3"],
    masks: Float[Tensor, "views height width"],
    valid: Tensor,
    K_px: Float[Tensor, "views 3 3"],
    T_camera_world: Float[Tensor, "views 4 4"],
    config: MeshConfig | None = None,
    progress: Progress | None = None,
) -> ReconstructedMesh:
    """A watertight mesh of a still subject, on the device of the pictures; equal for equal seeds on the CPU.

    Args:
        images: sRGB in [0, 1]; only the subject's colours matter.
        masks: 1 on the subject, 0 beside it; soft borders are welcome.
        valid: (views, height, width), above 0.5 where picture and mask are to be believed. Pixels elsewhere (padding of
            a crop, a body below the neck whose mask ends anywhere) neither carve nor pull.
        K_px: intrinsics of each view, pixel centres at +0.5.
        T_camera_world: rigid; any unit of length.
        config: sizes, schedule and weights.
        progress: told every step; an exception it raises, Ctrl-C included, leaves nothing behind.

    Raises:
        HeadstudioError: for input that holds no mesh (see `multiview`, `visual_hull`), or where the optimisation
            diverges.
    """
    config = config or MeshConfig()
    _check(config)
    listener = progress or Silent()
    views = multiview(images, masks, valid, K_px, T_camera_world)
    views, vertices, triangles = visual_hull(views, config.hull_cells, config.hull_views)
    vertices, triangles = remesh(vertices, triangles, 2 / config.hull_cells)
    # Neither the shader's start nor a worker's own random numbers may depend on each other.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        shader = NeuralShader(config.shader).to(images.device)
    state = _Optimisation(views, config, shader, vertices, triangles)
    with listener.stage("Mesh", config.iterations) as advance:
        state.run(advance)
    losses = {name: torch.stack(values).cpu() for name, values in state.log.items()}
    return ReconstructedMesh(views.to_world(state.vertices.detach()), state.mesh.triangles, losses)


def _check(config: MeshConfig) -> None:
    wrong = {
        "iterations": config.iterations < 1,
        "hull_cells": config.hull_cells < 4,
        "settle_steps": config.settle_steps < 0,
        "hull_views": not 0 <= config.hull_views <= 1,
        "shading_share": not 0 <= config.shading_share <= 1,
        "shading_pixels": config.shading_pixels < 0,
        "remesh_at": list(config.remesh_at) != sorted(set(config.remesh_at)) or min(config.remesh_at, default=1) < 1,
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise HeadstudioError(
                f"{name} cannot be {getattr(config, name)}", where="mesh", next_step="see the option's help"
            )


class _Optimisation:
    """The state between steps."""

    def __init__(
        self, views: MultiView, config: MeshConfig, shader: NeuralShader, vertices: Tensor, triangles: Tensor
    ) -> None:
        self.views, self.config, self.shader = views, config, shader
        self.generator = torch.Generator().manual_seed(config.seed)
        self.shader_optimiser = Adam(shader.parameters(), lr=config.shader_rate)
        self.weights, self.rate = config.weights, config.vertex_rate
        self.log: dict[str, list[Tensor]] = {}
        self.order: list[int] = []
        self._place(vertices, triangles)

    def _place(self, vertices: Tensor, triangles: Tensor) -> None:
        self.vertices = vertices.detach().clone().requires_grad_()
        self.mesh: ClosedMesh = connect(triangles, len(vertices))
        self.adjacency = edge_neighbours(self.mesh.triangles)
        self.vertex_optimiser = Adam([self.vertices], lr=self.rate)

    def run(self, advance: Callable[[int], None]) -> None:
        """All steps."""
        for step in range(self.config.iterations):
            if step in self.config.remesh_at:
                self._refine()
            for group in self.vertex_optimiser.param_groups:
                group["lr"] = self.rate * min(1.0, (self.config.iterations - step) / (self.config.settle_steps + 1))
            terms = self.terms(self._next_view())
            total = sum(getattr(self.weights, name) * value for name, value in terms.items())
            self._descend(torch.as_tensor(total))
            for name, value in terms.items():
                self.log.setdefault(name, []).append(value.detach())
            advance(1)
        self._check_finite()

    def terms(self, view: int) -> dict[str, Tensor]:
        """Unweighted loss terms of one view."""
        views, config = self.views, self.config
        normals = vertex_normals(self.vertices[None], self.mesh.triangles)[0]
        in_camera = views.to_camera(self.vertices, view)[None]
        fragments = rasterise(in_camera, self.mesh.triangles, views.camera(view), adjacency=self.adjacency)
        surface = torch.cat([self.vertices, normals], dim=1)[None]
        maps = torch.cat([interpolate(fragments, surface, self.mesh.triangles), fragments.mask], dim=1)
        maps = antialias(maps, fragments)[0]
        shown = (fragments.triangle[0] >= 0) & (views.masks[view] > 0.5) & views.valid[view]
        rows, columns = mesh_losses.shaded_pixels(shown, config.shading_share, config.shading_pixels, self.generator)
        points, normals = maps[:6, rows, columns].T.split([3, 3], dim=1)
        colours = self.shader(points, normalize(normals, dim=1), normalize(points - views.eyes[view], dim=1))
        return {
            "silhouette": mesh_losses.silhouette(maps[6], views.masks[view], views.valid[view]),
            "shading": mesh_losses.shading(colours, views.images[view][rows, columns]),
            "laplacian": mesh_losses.laplacian(self.vertices, self.mesh),
            "normal_consistency": mesh_losses.normal_consistency(self.vertices, self.mesh),
        }

    def _next_view(self) -> int:
        # Every view once before any comes again: the paper draws at random, which leaves some out for long.
        if not self.order:
            self.order = torch.randperm(len(self.views), generator=self.generator).tolist()
        return self.order.pop()

    def _descend(self, total: Tensor) -> None:
        self.vertex_optimiser.zero_grad(set_to_none=True)
        self.shader_optimiser.zero_grad(set_to_none=True)
        total.backward()
        # A triangle without area has no normal to differentiate; its vertices wait for the next step.
        if self.vertices.grad is not None:
            self.vertices.grad.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
        self.vertex_optimiser.step()
        self.shader_optimiser.step()

    def _refine(self) -> None:
        self._check_finite()
        length = float(edge_lengths(self.vertices.detach(), self.mesh.ends).mean()) / 2
        growth = self.config.weight_growth
        self.weights: MeshWeights = replace(
            self.weights,
            laplacian=self.weights.laplacian * growth,
            normal_consistency=self.weights.normal_consistency * growth,
        )
        self.rate *= self.config.rate_decay
        self._place(*remesh(self.vertices, self.mesh.triangles, length))

    def _check_finite(self) -> None:
        parameters = (self.vertices, *self.shader.parameters())
        if not all(bool(parameter.isfinite().all()) for parameter in parameters):
            raise HeadstudioError("the optimisation of the mesh diverged", next_step="lower vertex_rate or shader_rate")
