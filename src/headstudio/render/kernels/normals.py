# type: ignore
"""Vertex normals as the normalised sum of the area-weighted normals of the triangles around each vertex."""

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
def sum_face_normals(
    points: wp.array(dtype=wp.vec3),
    triangles: wp.array(dtype=wp.vec3i),
    vertices: int,
    faces: int,
    sums: wp.array(dtype=wp.vec3),
):
    """One thread a triangle: add its normal, as long as twice its area, to its three corners."""
    first = wp.tid() / faces * vertices
    corners = triangles[wp.tid() % faces]
    a = points[first + corners[0]]
    normal = wp.cross(points[first + corners[1]] - a, points[first + corners[2]] - a)
    for k in range(3):
        wp.atomic_add(sums, first + corners[k], normal)


@wp.kernel
def sum_face_normals_backward(
    points: wp.array(dtype=wp.vec3),
    triangles: wp.array(dtype=wp.vec3i),
    vertices: int,
    faces: int,
    sums_gradient: wp.array(dtype=wp.vec3),
    points_gradient: wp.array(dtype=wp.vec3),
):
    """One thread a triangle: with n = u x v, the gradient of u is v x g and that of v is g x u."""
    first = wp.tid() / faces * vertices
    corners = triangles[wp.tid() % faces]
    a = points[first + corners[0]]
    u = points[first + corners[1]] - a
    v = points[first + corners[2]] - a
    g = sums_gradient[first + corners[0]] + sums_gradient[first + corners[1]] + sums_gradient[first + corners[2]]
    to_u = wp.cross(v, g)
    to_v = wp.cross(g, u)
    wp.atomic_add(points_gradient, first + corners[0], -(to_u + to_v))
    wp.atomic_add(points_gradient, first + corners[1], to_u)
    wp.atomic_add(points_gradient, first + corners[2], to_v)
