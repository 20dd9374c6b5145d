# type: ignore
# ruff: noqa: UP018, RUF046, SIM110
"""Analytic antialiasing of edges after Laine et al. 2020, "Modular Primitives", section 3.4.

Edge k of a triangle lies opposite its corner k. A marked edge (a silhouette, or a border between labels) that
passes between two neighbouring pixel centres blends their colours by where it crosses the line between the centres.
"""

import warp as wp

from headstudio.render.kernels.visibility import NEAREST_M, edge

wp.set_module_options({"enable_backward": False})

LONGEST_WALK = wp.constant(64)


@wp.func
def in_front(a: wp.vec3, b: wp.vec3, c: wp.vec3) -> bool:
    """Whether the rasteriser draws the triangle at all."""
    return wp.min(a[2], wp.min(b[2], c[2])) > NEAREST_M


@wp.func
def opposite_corner(corners: wp.vec3i, first: int, second: int) -> int:
    """The corner that does not lie on the edge between two vertices."""
    if corners[0] != first and corners[0] != second:
        return corners[0]
    if corners[1] != first and corners[1] != second:
        return corners[1]
    return corners[2]


@wp.kernel
def mark_edges(
    positions: wp.array(dtype=wp.vec3),
    triangles: wp.array(dtype=wp.vec3i),
    adjacency: wp.array(dtype=wp.vec3i),
    labels: wp.array(dtype=int),
    with_labels: int,
    vertices: int,
    faces: int,
    marks: wp.array(dtype=int),
):
    """One thread a triangle: bit k is set where edge k is a silhouette, bit 3 + k where it is a border between labels.

    A silhouette has no triangle beyond it, or one that is folded back onto the same side on the image plane.
    """
    first = wp.tid() / faces * vertices
    face = wp.tid() % faces
    corners = triangles[face]
    mark = int(0)
    for k in range(3):
        start = corners[(k + 1) % 3]
        end = corners[(k + 2) % 3]
        beyond = adjacency[face][k]
        marked = bool(True)
        if beyond >= 0:
            a = positions[first + start]
            b = positions[first + end]
            own = positions[first + corners[k]]
            other = positions[first + opposite_corner(triangles[beyond], start, end)]
            marked = edge(a, b, own[0], own[1]) * edge(a, b, other[0], other[1]) > 0.0 or not in_front(a, b, other)
            if with_labels == 1 and labels[face] != labels[beyond]:
                mark = mark | (8 << k)
        if marked:
            mark = mark | (1 << k)
    marks[wp.tid()] = mark


@wp.func
def share_vertex(a: wp.vec3i, b: wp.vec3i) -> bool:
    """Whether two triangles touch."""
    for i in range(3):
        if a[i] == b[0] or a[i] == b[1] or a[i] == b[2]:
            return True
    return False


@wp.kernel
def find_crossings(
    triangle: wp.array(dtype=int),
    depth: wp.array(dtype=float),
    positions: wp.array(dtype=wp.vec3),
    triangles: wp.array(dtype=wp.vec3i),
    adjacency: wp.array(dtype=wp.vec3i),
    marks: wp.array(dtype=int),
    vertices: int,
    faces: int,
    width: int,
    height: int,
    count: wp.array(dtype=int),
    crossing_pixels: wp.array(dtype=wp.vec3i),
    crossing_edges: wp.array(dtype=wp.vec2i),
):
    """One thread a pixel: list the marked edges between its centre and the centres right of it and below it.

    From the nearer of two pixels the mesh is walked towards the other one, triangle by triangle, until a marked edge or
    the other centre is met; thus triangles narrower than a pixel, as they gather along silhouettes, hide no edge.
    An entry is (nearer pixel, other pixel, axis) and the edge's two vertices in the batch.
    """
    pixel = wp.tid()
    row = pixel / width
    batch = row / height
    face = triangle[pixel]
    for axis in range(2):
        neighbour = pixel + 1
        inside = pixel - row * width < width - 1
        if axis == 1:
            neighbour = pixel + width
            inside = row - batch * height < height - 1
        if inside:
            other = triangle[neighbour]
            if other != face:
                near = pixel
                far = neighbour
                if face < 0 or (other >= 0 and depth[neighbour] < depth[pixel]):
                    near = neighbour
                    far = pixel
                start = triangle[near]
                goal = triangle[far]
                candidate = goal < 0 or marks[batch * faces + start] != 0 or marks[batch * faces + goal] != 0
                if not candidate:
                    candidate = not share_vertex(triangles[start], triangles[goal])
                if candidate:
                    walk(start, goal, near, far, axis, batch, positions, triangles, adjacency, marks, vertices, faces,
                         width, height, count, crossing_pixels, crossing_edges)  # fmt: skip


@wp.func
def walk(
    start: int,
    goal: int,
    near: int,
    far: int,
    axis: int,
    batch: int,
    positions: wp.array(dtype=wp.vec3),
    triangles: wp.array(dtype=wp.vec3i),
    adjacency: wp.array(dtype=wp.vec3i),
    marks: wp.array(dtype=int),
    vertices: int,
    faces: int,
    width: int,
    height: int,
    count: wp.array(dtype=int),
    crossing_pixels: wp.array(dtype=wp.vec3i),
    crossing_edges: wp.array(dtype=wp.vec2i),
):
    """Follow the line between two pixel centres over the mesh and append the first marked edge it leaves through."""
    first = batch * vertices
    row = near / width
    x0 = float(near - row * width) + 0.5
    y0 = float(row - batch * height) + 0.5
    row = far / width
    x1 = float(far - row * width) + 0.5
    y1 = float(row - batch * height) + 0.5
    face = int(start)
    came_from = int(-1)
    for _step in range(LONGEST_WALK):
        if face == goal:
            return
        corners = triangles[face]
        exit_edge = int(-1)
        exit_at = float(2.0)
        for k in range(3):
            if adjacency[face][k] != came_from or came_from < 0:
                a = positions[first + corners[(k + 1) % 3]]
                b = positions[first + corners[(k + 2) % 3]]
                c = positions[first + corners[k]]
                side = wp.sign(edge(a, b, c[0], c[1]))
                at_near = edge(a, b, x0, y0) * side
                at_far = edge(a, b, x1, y1) * side
                if at_far < 0.0 and at_near > at_far:
                    at = at_near / (at_near - at_far)
                    if at < exit_at:
                        exit_at = at
                        exit_edge = k
        if exit_edge < 0:
            return
        # Towards the empty background a border between labels changes nothing; what counts is the silhouette behind it.
        bits = wp.where(goal < 0, 1, 9) << exit_edge
        if (marks[batch * faces + face] & bits) != 0:
            i = first + corners[(exit_edge + 1) % 3]
            j = first + corners[(exit_edge + 2) % 3]
            run = wp.abs(positions[j][axis] - positions[i][axis])
            rise = wp.abs(positions[j][1 - axis] - positions[i][1 - axis])
            # An edge nearer to horizontal is left to the vertical pairs, so that its area counts once.
            if rise > run or (rise == run and axis == 0):
                slot = wp.atomic_add(count, 0, 1)
                crossing_pixels[slot] = wp.vec3i(near, far, axis)
                crossing_edges[slot] = wp.vec2i(i, j)
            return
        came_from = face
        face = adjacency[face][exit_edge]


@wp.func
def crossing_place(pixels: wp.vec3i, a: wp.vec3, b: wp.vec3, width: int, height: int) -> wp.vec2:
    """Where the edge crosses the line from the nearer centre (-1/2) to the other (1/2); how far along the edge."""
    axis = pixels[2]
    row = pixels[0] / width
    along = float(pixels[0] - row * width) + 0.5
    across = float(row % height) + 0.5
    if axis == 1:
        along = float(row % height) + 0.5
        across = float(pixels[0] - row * width) + 0.5
    direction = wp.where(pixels[1] > pixels[0], 1.0, -1.0)
    fraction = (across - a[1 - axis]) / (b[1 - axis] - a[1 - axis])
    place = (a[axis] + fraction * (b[axis] - a[axis]) - along) * direction
    return wp.vec2(wp.clamp(place, 0.0, 1.0) - 0.5, fraction)


@wp.kernel
def blend(
    crossing_pixels: wp.array(dtype=wp.vec3i),
    crossing_edges: wp.array(dtype=wp.vec2i),
    positions: wp.array(dtype=wp.vec3),
    image: wp.array(dtype=float),
    channels: int,
    width: int,
    height: int,
    blended: wp.array(dtype=float),
):
    """One thread a crossing: the pixel that the edge cuts takes over the colour from beyond the edge by that area."""
    crossing = wp.tid()
    pixels = crossing_pixels[crossing]
    edges = crossing_edges[crossing]
    excess = crossing_place(pixels, positions[edges[0]], positions[edges[1]], width, height)[0]
    receiver = pixels[0]
    giver = pixels[1]
    if excess > 0.0:
        receiver = pixels[1]
        giver = pixels[0]
    plane = width * height
    offset = receiver / plane * (channels - 1) * plane
    for channel in range(channels):
        r = offset + channel * plane + receiver
        g = offset + channel * plane + giver
        wp.atomic_add(blended, r, wp.abs(excess) * (image[g] - image[r]))


@wp.kernel
def blend_backward(
    crossing_pixels: wp.array(dtype=wp.vec3i),
    crossing_edges: wp.array(dtype=wp.vec2i),
    positions: wp.array(dtype=wp.vec3),
    image: wp.array(dtype=float),
    channels: int,
    width: int,
    height: int,
    blended_gradient: wp.array(dtype=float),
    image_gradient: wp.array(dtype=float),
    positions_gradient: wp.array(dtype=float),
):
    """One thread a crossing: gradient to both colours and to the two ends of the edge."""
    crossing = wp.tid()
    pixels = crossing_pixels[crossing]
    edges = crossing_edges[crossing]
    a = positions[edges[0]]
    b = positions[edges[1]]
    place = crossing_place(pixels, a, b, width, height)
    weight = wp.abs(place[0])
    receiver = pixels[0]
    giver = pixels[1]
    if place[0] > 0.0:
        receiver = pixels[1]
        giver = pixels[0]
    plane = width * height
    offset = receiver / plane * (channels - 1) * plane
    to_weight = float(0.0)
    for channel in range(channels):
        r = offset + channel * plane + receiver
        g = offset + channel * plane + giver
        to_weight += blended_gradient[r] * (image[g] - image[r])
        wp.atomic_add(image_gradient, r, -weight * blended_gradient[r])
        wp.atomic_add(image_gradient, g, weight * blended_gradient[r])
    axis = pixels[2]
    to_place = to_weight * wp.where(place[0] > 0.0, 1.0, -1.0) * wp.where(pixels[1] > pixels[0], 1.0, -1.0)
    slope = (b[axis] - a[axis]) / (b[1 - axis] - a[1 - axis])
    wp.atomic_add(positions_gradient, edges[0] * 3 + axis, to_place * (1.0 - place[1]))
    wp.atomic_add(positions_gradient, edges[1] * 3 + axis, to_place * place[1])
    wp.atomic_add(positions_gradient, edges[0] * 3 + 1 - axis, -to_place * slope * (1.0 - place[1]))
    wp.atomic_add(positions_gradient, edges[1] * 3 + 1 - axis, -to_place * slope * place[1])
