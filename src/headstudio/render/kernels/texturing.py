"""Trilinear texture look-up in a mip pyramid, and its gradient.

The pyramid is one buffer (batch, texel, channel): all levels one after another, each row by row. `sizes` holds
(first texel, width, height) of each level.
"""
# pyright: reportInvalidTypeForm=false, reportIndexIssue=false, reportArgumentType=false

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.func
def step_length(uv: wp.array(dtype=float), mask: wp.array(dtype=float), place: int, pixel: int, plane: int, stride: int,
                before: bool, after: bool, size: wp.vec3i) -> float:  # fmt: skip
    """Texels per pixel along one image axis: the smaller of the steps to both neighbours.

    At a seam of the atlas one neighbour lies in another chart and is far away, the other one usually is not.
    """
    shortest = float(1.0e30)
    if before:
        if mask[pixel - stride] > 0.0:
            du = (uv[place] - uv[place - stride]) * float(size[1])
            dv = (uv[place + plane] - uv[place + plane - stride]) * float(size[2])
            shortest = wp.sqrt(du * du + dv * dv)
    if after:
        if mask[pixel + stride] > 0.0:
            du = (uv[place] - uv[place + stride]) * float(size[1])
            dv = (uv[place + plane] - uv[place + plane + stride]) * float(size[2])
            shortest = wp.min(shortest, wp.sqrt(du * du + dv * dv))
    if shortest > 1.0e29:
        return 1.0
    return shortest


@wp.func
def mip_level(uv: wp.array(dtype=float), mask: wp.array(dtype=float), place: int, pixel: int, width: int, height: int,
              size: wp.vec3i, levels: int) -> float:  # fmt: skip
    """Level at which the longer of the two steps is one texel."""
    column = pixel % width
    row = pixel / width % height
    plane = width * height
    along_x = step_length(uv, mask, place, pixel, plane, 1, column > 0, column < width - 1, size)
    along_y = step_length(uv, mask, place, pixel, plane, width, row > 0, row < height - 1, size)
    return wp.clamp(wp.log2(wp.max(wp.max(along_x, along_y), 1.0)), 0.0, float(levels - 1))


@wp.func
def locate(coordinate: float, size: int) -> wp.vec2:
    """First texel and the weight of the second one, clamped to the border; texel centres lie at +0.5."""
    place = wp.clamp(coordinate * float(size) - 0.5, 0.0, float(size - 1))
    low = wp.min(wp.floor(place), float(wp.max(size - 2, 0)))
    return wp.vec2(low, place - low)


@wp.kernel
def sample(
    pyramid: wp.array(dtype=float),
    sizes: wp.array(dtype=wp.vec3i),
    levels: int,
    batch_stride: int,
    channels: int,
    uv: wp.array(dtype=float),
    mask: wp.array(dtype=float),
    width: int,
    height: int,
    image: wp.array(dtype=float),
):
    """One thread a pixel; uv is (batch, 2, pixel), the image (batch, channel, pixel)."""
    pixel = wp.tid()
    plane = width * height
    batch = pixel / plane
    target = batch * (channels - 1) * plane + pixel
    for channel in range(channels):
        image[target + channel * plane] = 0.0
    if not (mask[pixel] > 0.0):
        return
    place = batch * plane + pixel
    level = mip_level(uv, mask, place, pixel, width, height, sizes[0], levels)
    finest = int(level)
    share = level - float(finest)
    for coarser in range(2):
        weight = wp.where(coarser == 0, 1.0 - share, share)
        if weight > 0.0:
            size = sizes[finest + coarser]
            u = locate(uv[place], size[1])
            v = locate(uv[place + plane], size[2])
            first = batch * batch_stride + (size[0] + int(v[0]) * size[1] + int(u[0])) * channels
            right = wp.where(size[1] > 1, channels, 0)
            below = wp.where(size[2] > 1, size[1] * channels, 0)
            w00 = weight * (1.0 - u[1]) * (1.0 - v[1])
            w01 = weight * u[1] * (1.0 - v[1])
            w10 = weight * (1.0 - u[1]) * v[1]
            w11 = weight * u[1] * v[1]
            for channel in range(channels):
                t = first + channel
                image[target + channel * plane] += (
                    w00 * pyramid[t] + w01 * pyramid[t + right]
                    + w10 * pyramid[t + below] + w11 * pyramid[t + below + right]
                )  # fmt: skip


@wp.kernel
def sample_backward(
    pyramid: wp.array(dtype=float),
    sizes: wp.array(dtype=wp.vec3i),
    levels: int,
    batch_stride: int,
    channels: int,
    uv: wp.array(dtype=float),
    mask: wp.array(dtype=float),
    width: int,
    height: int,
    image_gradient: wp.array(dtype=float),
    wants_texture: int,
    pyramid_gradient: wp.array(dtype=float),
    uv_gradient: wp.array(dtype=float),
):
    """One thread a pixel: scatter to the texels, gather for uv. The choice of level counts as constant."""
    pixel = wp.tid()
    plane = width * height
    batch = pixel / plane
    target = batch * (channels - 1) * plane + pixel
    place = batch * plane + pixel
    to_u = float(0.0)
    to_v = float(0.0)
    if mask[pixel] > 0.0:
        level = mip_level(uv, mask, place, pixel, width, height, sizes[0], levels)
        finest = int(level)
        share = level - float(finest)
        for coarser in range(2):
            weight = wp.where(coarser == 0, 1.0 - share, share)
            if weight > 0.0:
                size = sizes[finest + coarser]
                u = locate(uv[place], size[1])
                v = locate(uv[place + plane], size[2])
                first = batch * batch_stride + (size[0] + int(v[0]) * size[1] + int(u[0])) * channels
                right = wp.where(size[1] > 1, channels, 0)
                below = wp.where(size[2] > 1, size[1] * channels, 0)
                along_u = float(0.0)
                along_v = float(0.0)
                for channel in range(channels):
                    t = first + channel
                    g = image_gradient[target + channel * plane] * weight
                    t00 = pyramid[t]
                    t01 = pyramid[t + right]
                    t10 = pyramid[t + below]
                    t11 = pyramid[t + below + right]
                    along_u += g * ((t01 - t00) * (1.0 - v[1]) + (t11 - t10) * v[1])
                    along_v += g * ((t10 - t00) * (1.0 - u[1]) + (t11 - t01) * u[1])
                    if wants_texture == 1:
                        wp.atomic_add(pyramid_gradient, t, g * (1.0 - u[1]) * (1.0 - v[1]))
                        wp.atomic_add(pyramid_gradient, t + right, g * u[1] * (1.0 - v[1]))
                        wp.atomic_add(pyramid_gradient, t + below, g * (1.0 - u[1]) * v[1])
                        wp.atomic_add(pyramid_gradient, t + below + right, g * u[1] * v[1])
                # Beyond the outermost texel centres the colour is constant.
                if wp.abs(uv[place] - 0.5) * float(size[1]) < 0.5 * float(size[1] - 1):
                    to_u += along_u * float(size[1])
                if wp.abs(uv[place + plane] - 0.5) * float(size[2]) < 0.5 * float(size[2] - 1):
                    to_v += along_v * float(size[2])
    uv_gradient[place] = to_u
    uv_gradient[place + plane] = to_v
