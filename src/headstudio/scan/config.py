"""Every number of the mesh reconstruction, with the value of Worchel et al. 2022 (paper and code) beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from headstudio.nn.neural_shader import NeuralShaderConfig


@dataclass(frozen=True)
class MeshWeights:
    """Weights of the loss terms before the first remeshing; lengths are in units of half the subject's box."""

    silhouette: float = 2.0
    """Squared difference of coverage and mask; paper 2."""
    shading: float = 1.0
    """Absolute difference of shaded and seen colour; paper 1."""
    laplacian: float = 40.0
    """Squared distance from each vertex to the mean of its neighbours; paper 40."""
    normal_consistency: float = 0.1
    """Squared (1 - cos) between the normals of neighbouring triangles; paper 0.1."""


@dataclass(frozen=True)
class MeshConfig:
    """Reconstruction of a mesh by neural deferred shading."""

    hull_cells: int = 32
    """Cells along each side of the visual hull's grid; paper 32."""
    hull_views: float = 0.5
    """Least share of the views that must show a point for it to belong to the hull; not in the paper."""
    iterations: int = 2000
    """Steps, one view each; paper 2000."""
    remesh_at: tuple[int, ...] = (500, 1000, 1500)
    """Steps before which the mesh is made anew with half the mean edge length; paper 500, 1000, 1500."""
    weight_growth: float = 4.0
    """Factor on the two smoothness weights at each remeshing; paper 4."""
    rate_decay: float = 0.75
    """Factor on the vertices' learning rate at each remeshing; paper 0.75."""
    vertex_rate: float = 1e-3
    """Learning rate of the vertices (Adam), in units of half the subject's box; paper 1e-3."""
    settle_steps: int = 0
    """Last steps, over which the vertices' rate falls to zero: the draws of views and pixels shake the surface, and
    this lays it to rest; paper 0."""
    shader_rate: float = 1e-3
    """Learning rate of the shader (Adam); paper 1e-3."""
    shading_share: float = 0.75
    """Share of the pixels inside both masks that are shaded in a step; paper 0.75."""
    shading_pixels: int = 1_000_000
    """Most pixels shaded in a step, which is what a step costs on a CPU; the paper has no bound."""
    weights: MeshWeights = field(default_factory=MeshWeights)
    """Weights of the loss terms."""
    shader: NeuralShaderConfig = field(default_factory=NeuralShaderConfig)
    """Size of the shader."""
    seed: int = 0
    """Of the shader's start, the order of the views and the choice of pixels."""


MESH_PRESETS: Mapping[str, MeshConfig] = {
    "draft": MeshConfig(
        iterations=600,
        remesh_at=(200, 400),
        vertex_rate=2e-3,
        settle_steps=200,
        shading_pixels=2048,
        weights=MeshWeights(laplacian=120.0, normal_consistency=0.4),
    ),
    "standard": MeshConfig(iterations=1200, remesh_at=(300, 600, 900), settle_steps=200, shading_pixels=16384),
    "paper": MeshConfig(),
}
