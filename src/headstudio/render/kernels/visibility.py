# type: ignore
"""Z-buffer, barycentric coordinates and their gradient.

Positions are (x_px, y_px, z_m) per vertex of the whole batch. With e_i the edge function of a pixel centre opposite
corner i, the perspective-correct coordinates are b_i = (e_i / z_i) / sum_j(e_j / z_j) and the depth is
sum_j(e_j) / sum_j(e_j / z_j): 1/z is linear on the image plane.
"""

import warp as wp

# Fused multiply-add would break the exact antisymmetry that makes shared edges watertight.
wp.set_module_options({"enable_backward": False, "fuse_fp": False})

NEAREST_M = wp.constant(1e-4)
LOW_BITS = wp.constant(wp.int64(0x7FFFFFFF))


@wp.func
def edge(a: wp.vec3, b: wp.vec3, x: float, y: float) -> float:
    """Twice the signed area of (a, b, pixel); swapping a and b negates it exactly."""
    return (a[0] - x) * (b[1] - y) - (a[1] - y) * (b[0] - x)


@wp.func
def clamp_to_int(value: float, highest: int) -> int:
    """A whole number, kept in [0, highest] before the conversion so that no overflow can occur."""
    return int(wp.clamp(value, 0.0, float(highest)))


@wp.kernel
def scatter_depth(
    positions: wp.array(dtype=wp.vec3),
    triangles: wp.array(dtype=wp.vec3i),
    vertices: int,
    faces: int,
    width: int,
    height: int,
    cull_backfaces: int,
    keys: wp.array(dtype=wp.int64),
):
    """One thread a triangle: keep the nearest, then the first, triangle of every pixel centre inside it."""
    batch = wp.tid() / faces
    face = wp.tid() - batch * faces
    corners = triangles[face]
    a = positions[batch * vertices + corners[0]]
    b = positions[batch * vertices + corners[1]]
    c = positions[batch * vertices + corners[2]]
    area = edge(a, b, c[0], c[1])
    # Negated comparisons also refuse NaN; infinite positions give an infinite or NaN area.
    if not (wp.min(a[2], wp.min(b[2], c[2])) > NEAREST_M) or not (wp.abs(area) > 0.0) or not (wp.abs(area) < 1.0e30):
        return
    # With y pointing down, a counter-clockwise triangle that faces the camera has a negative area.
    if cull_backfaces == 1 and area > 0.0:
        return
    left = wp.min(a[0], wp.min(b[0], c[0]))
    right = wp.max(a[0], wp.max(b[0], c[0]))
    top = wp.min(a[1], wp.min(b[1], c[1]))
    bottom = wp.max(a[1], wp.max(b[1], c[1]))
    if right < 0.0 or bottom < 0.0 or left > float(width) or top > float(height):
        return
    # The first pixel centre at or right of the left end, and the one after the last at or left of the right end.
    column_first = clamp_to_int(wp.ceil(left - 0.5), width)
    column_last = clamp_to_int(wp.floor(right + 0.5), width)
    row_first = clamp_to_int(wp.ceil(top - 0.5), height)
    row_last = clamp_to_int(wp.floor(bottom + 0.5), height)
    if column_first >= column_last or row_first >= row_last:
        return
    side = wp.sign(area)
    inverse = wp.vec3(1.0 / a[2], 1.0 / b[2], 1.0 / c[2]) / wp.abs(area)
    low_bits = LOW_BITS - wp.int64(face)
    for row in range(row_first, row_last):
        y = float(row) + 0.5
        for column in range(column_first, column_last):
            x = float(column) + 0.5
            ea = edge(b, c, x, y) * side
            eb = edge(c, a, x, y) * side
            ec = edge(a, b, x, y) * side
            if ea >= 0.0 and eb >= 0.0 and ec >= 0.0:
                inverse_depth = ea * inverse[0] + eb * inverse[1] + ec * inverse[2]
                # Positive floats sort like their bits, so one 64-bit maximum picks the nearest triangle.
                key = (wp.int64(wp.cast(inverse_depth, int)) << wp.int64(32)) | low_bits
                wp.atomic_max(keys, (batch * height + row) * width + column, key)


@wp.kernel
def resolve(
    keys: wp.array(dtype=wp.int64),
    positions: wp.array(dtype=wp.vec3),
    triangles: wp.array(dtype=wp.vec3i),
    vertices: int,
    width: int,
    height: int,
    triangle: wp.array(dtype=int),
    barycentric: wp.array(dtype=wp.vec3),
    depth: wp.array(dtype=float),
):
    """One thread a pixel: unpack the nearest triangle and where on it the pixel centre lies."""
    pixel = wp.tid()
    if keys[pixel] == wp.int64(0):
        triangle[pixel] = -1
        barycentric[pixel] = wp.vec3(0.0, 0.0, 0.0)
        depth[pixel] = 0.0
        return
    face = int(LOW_BITS - (keys[pixel] & LOW_BITS))
    row = pixel / width
    x = float(pixel - row * width) + 0.5
    first = row / height * vertices
    y = float(row % height) + 0.5
    corners = triangles[face]
    a = positions[first + corners[0]]
    b = positions[first + corners[1]]
    c = positions[first + corners[2]]
    e = wp.vec3(edge(b, c, x, y), edge(c, a, x, y), edge(a, b, x, y))
    q = wp.vec3(e[0] / a[2], e[1] / b[2], e[2] / c[2])
    total = q[0] + q[1] + q[2]
    triangle[pixel] = face
    barycentric[pixel] = q / total
    depth[pixel] = (e[0] + e[1] + e[2]) / total


@wp.kernel
def resolve_backward(
    triangle: wp.array(dtype=int),
    positions: wp.array(dtype=wp.vec3),
    triangles: wp.array(dtype=wp.vec3i),
    vertices: int,
    width: int,
    height: int,
    barycentric_gradient: wp.array(dtype=wp.vec3),
    depth_gradient: wp.array(dtype=float),
    positions_gradient: wp.array(dtype=wp.vec3),
):
    """One thread a pixel: gradient of barycentric coordinates and depth, scattered to the three corners."""
    pixel = wp.tid()
    face = triangle[pixel]
    if face < 0:
        return
    row = pixel / width
    x = float(pixel - row * width) + 0.5
    first = row / height * vertices
    y = float(row % height) + 0.5
    corners = triangles[face]
    a = positions[first + corners[0]]
    b = positions[first + corners[1]]
    c = positions[first + corners[2]]
    e = wp.vec3(edge(b, c, x, y), edge(c, a, x, y), edge(a, b, x, y))
    q = wp.vec3(e[0] / a[2], e[1] / b[2], e[2] / c[2])
    total = q[0] + q[1] + q[2]
    g = barycentric_gradient[pixel]
    to_total = depth_gradient[pixel] / total
    common = (wp.dot(g, q) + depth_gradient[pixel] * (e[0] + e[1] + e[2])) / (total * total)
    gq = g / total - wp.vec3(common, common, common)
    ga = gq[0] / a[2] + to_total
    gb = gq[1] / b[2] + to_total
    gc = gq[2] / c[2] + to_total
    wp.atomic_add(
        positions_gradient,
        first + corners[0],
        wp.vec3(gc * (b[1] - y) - gb * (c[1] - y), gb * (c[0] - x) - gc * (b[0] - x), -gq[0] * q[0] / a[2]),
    )
    wp.atomic_add(
        positions_gradient,
        first + corners[1],
        wp.vec3(ga * (c[1] - y) - gc * (a[1] - y), gc * (a[0] - x) - ga * (c[0] - x), -gq[1] * q[1] / b[2]),
    )
    wp.atomic_add(
        positions_gradient,
        first + corners[2],
        wp.vec3(gb * (a[1] - y) - ga * (b[1] - y), ga * (b[0] - x) - gb * (a[0] - x), -gq[2] * q[2] / c[2]),
    )
