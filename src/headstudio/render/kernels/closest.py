# type: ignore
"""Nearest points of a mesh and first hits of rays, through Warp's bounding volume hierarchy."""

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
def nearest_points(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    reach: float,
    triangle: wp.array(dtype=wp.int32),
    barycentric: wp.array(dtype=wp.vec3),
):
    """One thread a point."""
    i = wp.tid()
    found = wp.mesh_query_point_no_sign(mesh, points[i], reach)
    if found.result:
        triangle[i] = found.face
        barycentric[i] = wp.vec3(found.u, found.v, 1.0 - found.u - found.v)


@wp.kernel
def first_hits(
    mesh: wp.uint64,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    reach: float,
    triangle: wp.array(dtype=wp.int32),
    barycentric: wp.array(dtype=wp.vec3),
):
    """One thread a ray."""
    i = wp.tid()
    found = wp.mesh_query_ray(mesh, origins[i], directions[i], reach)
    if found.result:
        triangle[i] = found.face
        barycentric[i] = wp.vec3(found.u, found.v, 1.0 - found.u - found.v)
