# type: ignore
# ruff: noqa: UP018
"""Attributes of the visible surface point of every pixel, and their gradient."""

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
def interpolate(
    triangle: wp.array(dtype=int),
    barycentric: wp.array(dtype=wp.vec3),
    triangles: wp.array(dtype=wp.vec3i),
    attributes: wp.array(dtype=float),
    batch_stride: int,
    channels: int,
    pixels: int,
    image: wp.array(dtype=float),
):
    """One thread a pixel; attributes are (batch, point, channel), the image is (batch, channel, pixel)."""
    pixel = wp.tid()
    batch = pixel / pixels
    place = batch * (channels - 1) * pixels + pixel
    face = triangle[pixel]
    if face < 0:
        for channel in range(channels):
            image[place + channel * pixels] = 0.0
        return
    corners = triangles[face]
    b = barycentric[pixel]
    first = batch * batch_stride
    i0 = first + corners[0] * channels
    i1 = first + corners[1] * channels
    i2 = first + corners[2] * channels
    for channel in range(channels):
        value = b[0] * attributes[i0 + channel] + b[1] * attributes[i1 + channel] + b[2] * attributes[i2 + channel]
        image[place + channel * pixels] = value


@wp.kernel
def interpolate_backward(
    triangle: wp.array(dtype=int),
    barycentric: wp.array(dtype=wp.vec3),
    triangles: wp.array(dtype=wp.vec3i),
    attributes: wp.array(dtype=float),
    batch_stride: int,
    channels: int,
    pixels: int,
    image_gradient: wp.array(dtype=float),
    wants_attributes: int,
    attributes_gradient: wp.array(dtype=float),
    barycentric_gradient: wp.array(dtype=wp.vec3),
):
    """One thread a pixel: scatter to the corners' attributes, gather for the barycentric coordinates."""
    pixel = wp.tid()
    face = triangle[pixel]
    if face < 0:
        barycentric_gradient[pixel] = wp.vec3(0.0, 0.0, 0.0)
        return
    batch = pixel / pixels
    place = batch * (channels - 1) * pixels + pixel
    corners = triangles[face]
    b = barycentric[pixel]
    first = batch * batch_stride
    i0 = first + corners[0] * channels
    i1 = first + corners[1] * channels
    i2 = first + corners[2] * channels
    g0 = float(0.0)
    g1 = float(0.0)
    g2 = float(0.0)
    for channel in range(channels):
        g = image_gradient[place + channel * pixels]
        g0 += g * attributes[i0 + channel]
        g1 += g * attributes[i1 + channel]
        g2 += g * attributes[i2 + channel]
        if wants_attributes == 1:
            wp.atomic_add(attributes_gradient, i0 + channel, g * b[0])
            wp.atomic_add(attributes_gradient, i1 + channel, g * b[1])
            wp.atomic_add(attributes_gradient, i2 + channel, g * b[2])
    barycentric_gradient[pixel] = wp.vec3(g0, g1, g2)
