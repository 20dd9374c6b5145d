# type: ignore
"""Bilinear look-up in three feature planes at points of [-1, 1]^3, and its gradient.

The planes are one buffer (batch, row, column, plane, group of eight channels); in groups, because a CPU's compiler then
uses its wide registers. Plane 0 is spanned by x and y, plane 1 by x and z, plane 2 by y and z: the column follows the
first, the row the second. The outermost texel centres lie at -1 and 1.
"""

import warp as wp

wp.set_module_options({"enable_backward": False})

Eight = wp.types.vector(length=8, dtype=wp.float32)


@wp.struct
class PlaneTaps:
    """The four texels around a place: where they start in the buffer, how they weigh, how they move with the point."""

    first: int
    right: int
    below: int
    u: float
    v: float
    column_axis: int
    row_axis: int
    columns_per_unit: float
    rows_per_unit: float


@wp.func
def locate(coordinate: float, size: int) -> wp.vec3:
    """First texel, the weight of the second one, and texels per unit: 0 at and beyond the border, as the clamping has
    no slope."""
    scale = 0.5 * float(size - 1)
    place = (coordinate + 1.0) * scale
    # Written so that NaN becomes 0: it must not read foreign memory.
    held = wp.where(place > 0.0, wp.min(place, float(size - 1)), 0.0)
    low = wp.min(wp.floor(held), float(wp.max(size - 2, 0)))
    inside = place > 0.0 and place < float(size - 1)
    return wp.vec3(low, held - low, wp.where(inside, scale, 0.0))


@wp.func
def taps_at(point: wp.vec3, plane: int, entry: int, rows: int, columns: int, groups: int) -> PlaneTaps:
    """The texels of one plane around a point."""
    taps = PlaneTaps()
    taps.column_axis = wp.where(plane == 2, 1, 0)
    taps.row_axis = wp.where(plane == 0, 1, 2)
    across = locate(point[taps.column_axis], columns)
    down = locate(point[taps.row_axis], rows)
    texel = (entry * rows + int(down[0])) * columns + int(across[0])
    taps.first = (texel * 3 + plane) * groups
    taps.right = wp.where(columns > 1, 3 * groups, 0)
    taps.below = wp.where(rows > 1, 3 * groups * columns, 0)
    taps.u = across[1]
    taps.v = down[1]
    taps.columns_per_unit = across[2]
    taps.rows_per_unit = down[2]
    return taps


@wp.func
def weights(taps: PlaneTaps) -> wp.vec4:
    """Of the four texels, row by row."""
    u = taps.u
    v = taps.v
    return wp.vec4((1.0 - u) * (1.0 - v), u * (1.0 - v), (1.0 - u) * v, u * v)


@wp.func
def mix(texels: wp.array(dtype=Eight), start: int, taps: PlaneTaps, w: wp.vec4) -> Eight:
    """Bilinear mixture of one group."""
    low = start + taps.below
    upper = texels[start] * w[0] + texels[start + taps.right] * w[1]
    return upper + texels[low] * w[2] + texels[low + taps.right] * w[3]


@wp.kernel
def sample_planes(
    texels: wp.array(dtype=Eight),
    rows: int,
    columns: int,
    groups: int,
    side_by_side: int,
    points: wp.array(dtype=wp.vec3),
    entries: wp.array(dtype=int),
    features: wp.array(dtype=Eight),
):
    """One thread a point; the three planes' groups are summed, or written side by side."""
    i = wp.tid()
    xy = taps_at(points[i], 0, entries[i], rows, columns, groups)
    xz = taps_at(points[i], 1, entries[i], rows, columns, groups)
    yz = taps_at(points[i], 2, entries[i], rows, columns, groups)
    w_xy = weights(xy)
    w_xz = weights(xz)
    w_yz = weights(yz)
    for k in range(groups):
        of_xy = mix(texels, xy.first + k, xy, w_xy)
        of_xz = mix(texels, xz.first + k, xz, w_xz)
        of_yz = mix(texels, yz.first + k, yz, w_yz)
        if side_by_side == 1:
            features[3 * i * groups + k] = of_xy
            features[(3 * i + 1) * groups + k] = of_xz
            features[(3 * i + 2) * groups + k] = of_yz
        else:
            features[i * groups + k] = of_xy + of_xz + of_yz


@wp.func
def scatter(texels_gradient: wp.array(dtype=Eight), start: int, taps: PlaneTaps, w: wp.vec4, g: Eight):
    """Add one group's gradient to its four texels."""
    low = start + taps.below
    wp.atomic_add(texels_gradient, start, g * w[0])
    wp.atomic_add(texels_gradient, start + taps.right, g * w[1])
    wp.atomic_add(texels_gradient, low, g * w[2])
    wp.atomic_add(texels_gradient, low + taps.right, g * w[3])


@wp.func
def products(texels: wp.array(dtype=Eight), start: int, taps: PlaneTaps, g: Eight) -> wp.vec4:
    """One group's gradient times each of its four texels."""
    low = start + taps.below
    upper_right = texels[start + taps.right]
    lower_right = texels[low + taps.right]
    return wp.vec4(wp.dot(g, texels[start]), wp.dot(g, upper_right), wp.dot(g, texels[low]), wp.dot(g, lower_right))


@wp.kernel
def sample_planes_backward(
    texels: wp.array(dtype=Eight),
    rows: int,
    columns: int,
    groups: int,
    side_by_side: int,
    points: wp.array(dtype=wp.vec3),
    entries: wp.array(dtype=int),
    features_gradient: wp.array(dtype=Eight),
    wants_texels: int,
    wants_points: int,
    texels_gradient: wp.array(dtype=Eight),
    points_gradient: wp.array(dtype=wp.vec3),
):
    """One thread a point: scatter to the texels, gather for the point."""
    i = wp.tid()
    total = wp.vec3(0.0, 0.0, 0.0)
    for plane in range(3):
        taps = taps_at(points[i], plane, entries[i], rows, columns, groups)
        source = i * groups
        if side_by_side == 1:
            source = (3 * i + plane) * groups
        if wants_texels == 1:
            w = weights(taps)
            for k in range(groups):
                scatter(texels_gradient, taps.first + k, taps, w, features_gradient[source + k])
        if wants_points == 1:
            p = wp.vec4(0.0, 0.0, 0.0, 0.0)
            for k in range(groups):
                p += products(texels, taps.first + k, taps, features_gradient[source + k])
            along_u = (p[1] - p[0]) * (1.0 - taps.v) + (p[3] - p[2]) * taps.v
            along_v = (p[2] - p[0]) * (1.0 - taps.u) + (p[3] - p[1]) * taps.u
            total[taps.column_axis] += along_u * taps.columns_per_unit
            total[taps.row_axis] += along_v * taps.rows_per_unit
    if wants_points == 1:
        points_gradient[i] = total
