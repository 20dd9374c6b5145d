"""Smooth vertex normals with a backward that scatters in a kernel."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import normalize

from headstudio.render.checks import check_indices, check_shape


def vertex_normals(
    vertices: Float[Tensor, "batch vertices 3"], triangles: Int[Tensor, "triangles 3"]
) -> Float[Tensor, "batch vertices 3"]:
    """Unit normals, area-weighted over the triangles around each vertex; 0 where these have no area.

    They point to the side from which the triangles are counter-clockwise, in the frame of the vertices.
    """
    check_shape(triangles, (None, 3), "triangles")
    check_indices(triangles, vertices.shape[1], "triangles")
    corners = triangles.to(torch.int32).contiguous()
    # Areas of a head in metres are about 1e-6, hence the small divisor.
    return normalize(_SumFaceNormals.apply(vertices.float().contiguous(), corners), dim=-1, eps=1e-20)


def unit(vectors: Float[Tensor, "*shape"], dim: int) -> Float[Tensor, "*shape"]:
    """Vectors of length 1 along a dimension of three; 0 stays 0.

    Written out because PyTorch's own norm over so short or strided a dimension takes ten to twenty times as long on a
    CPU.
    """
    return vectors * (vectors * vectors).sum(dim, keepdim=True).clamp_min(1e-20).rsqrt()


class _SumFaceNormals(Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, triangles: Tensor) -> Tensor:
        from headstudio.render.kernels import normals
        from headstudio.render.kernels.launching import launch

        sums = torch.zeros_like(points)
        batch, vertices, _ = points.shape
        launch(normals.sum_face_normals, batch * len(triangles), points, triangles, vertices, len(triangles), sums)
        ctx.save_for_backward(points, triangles)
        return sums

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        from headstudio.render.kernels import normals
        from headstudio.render.kernels.launching import launch

        points, triangles = ctx.saved_tensors
        batch, vertices, _ = points.shape
        scattered = torch.zeros_like(points)
        launch(
            normals.sum_face_normals_backward, batch * len(triangles), points, triangles, vertices, len(triangles),
            gradients[0].contiguous(), scattered,
        )  # fmt: skip
        return scattered, None
