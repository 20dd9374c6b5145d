"""Naive float64 twins of the render kernels, written from the definitions, and the meshes the tests share."""

import torch
from torch.nn.functional import avg_pool2d, grid_sample

from headstudio.errors import HeadstudioError

REFUSED = (HeadstudioError, TypeError)
"""What a table of the wrong shape raises: where shapes are checked at run time, that check comes first."""

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()


def leaf(tensor, device="cpu", dtype=torch.float32):
    """A copy that gathers its own gradient."""
    return tensor.detach().to(device, dtype, copy=True).requires_grad_()


def twin_leaf(tensor):
    """The same for a twin."""
    return leaf(tensor, dtype=torch.float64)


def sphere(rings: int, segments: int | None = None):
    """A closed unit sphere around the origin, counter-clockwise from outside: vertices, triangles."""
    segments = rings if segments is None else segments
    polar = torch.linspace(0, torch.pi, rings + 1)[1:-1, None]
    around = torch.arange(segments) * 2 * torch.pi / segments
    ring = torch.stack(
        [
            torch.sin(polar) * torch.cos(around),
            torch.cos(polar).expand(-1, segments),
            -torch.sin(polar) * torch.sin(around),
        ],
        dim=-1,
    ).reshape(-1, 3)
    vertices = torch.cat([ring, torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])])
    here = torch.arange(segments)
    following = (here + 1) % segments
    top, bottom = len(ring), len(ring) + 1
    parts = [torch.stack([torch.full_like(here, top), here, following], -1)]
    for row in range(rings - 2):
        a, b = row * segments + here, row * segments + following
        parts += [torch.stack([a, a + segments, b], -1), torch.stack([b, a + segments, b + segments], -1)]
    last = (rings - 2) * segments
    parts.append(torch.stack([last + following, last + here, torch.full_like(here, bottom)], -1))
    return vertices, torch.cat(parts)


def pixel_rays(camera):
    """Directions with z = 1 through all pixel centres, (batch or 1, pixels, 3)."""
    rows, columns = torch.meshgrid(torch.arange(camera.height_px), torch.arange(camera.width_px), indexing="ij")
    centres = torch.stack([columns + 0.5, rows + 0.5, torch.ones_like(rows)], -1).reshape(-1, 3).double()
    return centres @ torch.linalg.inv(camera.K_px.double().cpu()).transpose(-1, -2)


def ray_coordinates(corners, rays):
    """Barycentric coordinates and depth where rays meet the planes of triangles.

    A ray d meets the point sum_i(b_i v_i) = z d, so w = b / z solves [v0 v1 v2] w = d.
    """
    weights = torch.linalg.solve(corners.transpose(-1, -2), rays[..., None])[..., 0]
    return weights / weights.sum(-1, keepdim=True), 1 / weights.sum(-1), weights


def rasterise_twin(vertices, triangles, camera):
    """Nearest triangle per pixel of one batch entry by intersecting every ray with every triangle."""
    corners = vertices.double()[triangles.long()]
    usable = torch.linalg.det(corners).abs() > 0
    rays = pixel_rays(camera).reshape(-1, 3)
    nearest = torch.full((len(rays),), torch.inf, dtype=torch.float64)
    best = torch.full((len(rays),), -1)
    for index in torch.nonzero(usable)[:, 0].tolist():
        _, depth, weights = ray_coordinates(corners[index], rays)
        closer = (weights >= 0).all(-1) & (depth > 1e-4) & (depth < nearest) & bool((corners[index, :, 2] > 1e-4).all())
        nearest, best = torch.where(closer, depth, nearest), torch.where(closer, index, best)
    return best.reshape(camera.height_px, camera.width_px)


def interpolate_twin(vertices, triangles, camera, best, attributes, attribute_triangles):
    """Barycentric, depth and interpolated attributes on the given triangles, differentiable."""
    seen = best.reshape(-1) >= 0
    index = best.reshape(-1)[seen].long()
    rays = pixel_rays(camera).reshape(-1, 3)[seen]
    barycentric, depth, _ = ray_coordinates(vertices[triangles.long()[index]], rays)
    values = (attributes[attribute_triangles.long()[index]] * barycentric[..., None]).sum(1)
    image = torch.zeros(len(seen), attributes.shape[1], dtype=torch.float64)
    image[seen] = values
    depths = torch.zeros(len(seen), dtype=torch.float64)
    depths[seen] = depth
    shape = (camera.height_px, camera.width_px)
    return image.T.reshape(-1, *shape), depths.reshape(shape)


def silhouettes_twin(points, triangles):
    """Edges of a closed mesh whose two triangles wind differently on the image plane, as pairs of vertices."""
    a, b, c = (points[triangles.long()[:, k]] for k in range(3))
    winding = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) > 0
    sides: dict[frozenset, list] = {}
    for face, corners in enumerate(triangles.tolist()):
        for k in range(3):
            sides.setdefault(frozenset((corners[k], corners[(k + 1) % 3])), []).append(bool(winding[face]))
    return [tuple(edge) for edge, wound in sides.items() if len(set(wound)) == 2 or len(wound) == 1]


def antialias_twin(image, points, depth, best, edges):
    """Blend every pair of neighbouring pixels on different triangles by the first edge between their centres."""
    height, width = best.shape
    blended = image.clone()
    for row in range(height):
        for column in range(width):
            for axis, other in ((0, (row, column + 1)), (1, (row + 1, column))):
                if other[0] < height and other[1] < width and best[row, column] != best[other]:
                    here = (row, column)
                    swap = best[here] < 0 or (best[other] >= 0 and depth[other] < depth[here])
                    near, far = (other, here) if swap else (here, other)
                    _blend_pair(image, blended, points, edges, near, far, axis)
    return blended


def _blend_pair(image, blended, points, edges, near, far, axis):
    start, direction = near[1 - axis] + 0.5, far[1 - axis] - near[1 - axis]
    across = near[axis] + 0.5
    found = []
    for i, j in edges:
        p, q = points[i], points[j]
        if (p[1 - axis].item() - across) * (q[1 - axis].item() - across) < 0:
            fraction = (across - p[1 - axis]) / (q[1 - axis] - p[1 - axis])
            place = (p[axis] + fraction * (q[axis] - p[axis]) - start) * direction
            if 0 <= place.item() <= 1:
                found.append((place.item(), place, (q - p).abs()))
    if not found:
        return
    _, place, extent = min(found, key=lambda entry: entry[0])
    if extent[1 - axis] <= extent[axis]:
        return
    giver, receiver = (near, far) if place > 0.5 else (far, near)
    change = (place - 0.5).abs() * (image[:, giver[0], giver[1]] - image[:, receiver[0], receiver[1]])
    blended[:, receiver[0], receiver[1]] = blended[:, receiver[0], receiver[1]] + change


def sample_texture_twin(texture, uv, mask):
    """All levels sampled everywhere, then mixed by the level that the smaller neighbour steps ask for."""
    levels = [texture]
    while max(levels[-1].shape[-2:]) > 1:
        levels.append(avg_pool2d(levels[-1], 2, ceil_mode=True, count_include_pad=False))
    size = torch.tensor([texture.shape[3], texture.shape[2]]).double()[:, None, None]
    longest = torch.ones_like(mask[:, 0])
    for dim in (2, 3):
        step = ((uv.diff(dim=dim) * size) ** 2).sum(1, keepdim=True)
        both = (mask.narrow(dim, 1, mask.shape[dim] - 1) > 0) & (mask.narrow(dim, 0, mask.shape[dim] - 1) > 0)
        step = torch.where(both, step, torch.inf)
        edge = torch.full_like(mask.narrow(dim, 0, 1), torch.inf)
        shorter = torch.minimum(torch.cat([step, edge], dim), torch.cat([edge, step], dim))[:, 0]
        longest = torch.maximum(longest, torch.where(shorter.isinf(), 1.0, shorter))
    level = (0.5 * torch.log2(longest)).clamp(0, len(levels) - 1).detach()
    grid = (uv * 2 - 1).movedim(1, -1)
    total = 0
    for index, image in enumerate(levels):
        weight = (1 - (level - index).abs()).clamp_min(0)[:, None]
        image = image.expand(len(uv), -1, -1, -1)
        total = total + weight * grid_sample(image, grid, padding_mode="border", align_corners=False)
    return total * (mask > 0)


def vertex_normals_twin(vertices, triangles):
    """Sum of face normals around each vertex by PyTorch indexing."""
    a, b, c = (vertices[:, triangles.long()[:, k]] for k in range(3))
    normal = torch.cross(b - a, c - a, dim=-1)
    total = torch.zeros_like(vertices)
    for k in range(3):
        total = total.index_add(1, triangles.long()[:, k], normal)
    return total / total.norm(dim=-1, keepdim=True)
