# type: ignore
# ruff: noqa: UP018
"""Trilinear texture look-up in a mip pyramid, and its gradient.

The pyramid is one buffer (batch, texel, channel): all levels one after another, each row by row. `sizes` holds
(first texel, width, height) of each level.
"""

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.struct
class Taps:
    """The four texels around a place on one level: where they start in the buffer, and how they weigh."""

    first: int
    right: int
    below: int
    u: float
    v: float


@wp.func
def squared_step(uv: wp.array(dtype=float), here: int, there: int, plane: int, size: wp.vec3i) -> float:
    """Squared distance in texels between the places of two pixels."""
    du = (uv[here] - uv[there]) * float(size[1])
    dv = (uv[here + plane] - uv[there + plane]) * float(size[2])
    return du * du + dv * dv


@wp.func
def shorter_step(
    uv: wp.array(dtype=float),
    mask: wp.array(dtype=float),
    place: int,
    pixel: int,
    plane: int,
    stride: int,
    first: bool,
    last: bool,
    size: wp.vec3i,
) -> float:
    """Squared texels per pixel along one image axis: the smaller step of those to both neighbours.

    At a seam of the atlas one neighbour lies in another chart and is far away, the other one usually is not.
    """
    shortest = float(1.0e30)
    if not first and mask[pixel - stride] > 0.0:
        shortest = squared_step(uv, place, place - stride, plane, size)
    if not last and mask[pixel + stride] > 0.0:
        shortest = wp.min(shortest, squared_step(uv, place, place + stride, plane, size))
    return wp.where(shortest > 1.0e29, 1.0, shortest)


@wp.kernel
def choose_level(
    uv: wp.array(dtype=float),
    mask: wp.array(dtype=float),
    sizes: wp.array(dtype=wp.vec3i),
    levels: int,
    width: int,
    height: int,
    level: wp.array(dtype=float),
):
    """One thread a pixel: the level at which the longer of its two steps is one texel; -1 where the mask is empty."""
    pixel = wp.tid()
    if not (mask[pixel] > 0.0):
        level[pixel] = -1.0
        return
    plane = width * height
    line = pixel / width
    column = pixel - line * width
    batch = line / height
    row = line - batch * height
    place = batch * plane + pixel
    along_x = shorter_step(uv, mask, place, pixel, plane, 1, column == 0, column == width - 1, sizes[0])
    along_y = shorter_step(uv, mask, place, pixel, plane, width, row == 0, row == height - 1, sizes[0])
    longer = wp.max(along_x, along_y)
    level[pixel] = wp.where(longer > 1.0, wp.min(0.5 * wp.log2(longer), float(levels - 1)), 0.0)


@wp.func
def locate(coordinate: float, size: int) -> wp.vec2:
    """First texel and the weight of the second one, clamped to the border; texel centres lie at +0.5."""
    place = wp.clamp(coordinate * float(size) - 0.5, 0.0, float(size - 1))
    low = wp.min(wp.floor(place), float(wp.max(size - 2, 0)))
    return wp.vec2(low, place - low)


@wp.func
def taps_at(u: float, v: float, size: wp.vec3i, channels: int) -> Taps:
    """The texels around (u, v) on the level of a size."""
    taps = Taps()
    across = locate(u, size[1])
    down = locate(v, size[2])
    taps.first = (size[0] + int(down[0]) * size[1] + int(across[0])) * channels
    taps.right = wp.where(size[1] > 1, channels, 0)
    taps.below = wp.where(size[2] > 1, size[1] * channels, 0)
    taps.u = across[1]
    taps.v = down[1]
    return taps


@wp.func
def mix(pyramid: wp.array(dtype=float), start: int, taps: Taps) -> float:
    """Bilinear mixture of one channel."""
    upper = (1.0 - taps.u) * pyramid[start] + taps.u * pyramid[start + taps.right]
    low = start + taps.below
    lower = (1.0 - taps.u) * pyramid[low] + taps.u * pyramid[low + taps.right]
    return (1.0 - taps.v) * upper + taps.v * lower


@wp.kernel
def sample(
    pyramid: wp.array(dtype=float),
    sizes: wp.array(dtype=wp.vec3i),
    level: wp.array(dtype=float),
    batch_stride: int,
    channels: int,
    uv: wp.array(dtype=float),
    plane: int,
    image: wp.array(dtype=float),
):
    """One thread a pixel; uv is (batch, 2, pixel), the image (batch, channel, pixel)."""
    pixel = wp.tid()
    batch = pixel / plane
    target = batch * (channels - 1) * plane + pixel
    if level[pixel] < 0.0:
        for channel in range(channels):
            image[target + channel * plane] = 0.0
        return
    place = batch * plane + pixel
    finest = int(level[pixel])
    share = level[pixel] - float(finest)
    fine = taps_at(uv[place], uv[place + plane], sizes[finest], channels)
    first = batch * batch_stride
    if share == 0.0:
        for channel in range(channels):
            image[target + channel * plane] = mix(pyramid, first + fine.first + channel, fine)
        return
    coarse = taps_at(uv[place], uv[place + plane], sizes[finest + 1], channels)
    for channel in range(channels):
        sharp = mix(pyramid, first + fine.first + channel, fine)
        smooth = mix(pyramid, first + coarse.first + channel, coarse)
        image[target + channel * plane] = (1.0 - share) * sharp + share * smooth


@wp.func
def scatter(
    pyramid: wp.array(dtype=float),
    start: int,
    taps: Taps,
    gradient: float,
    wants_texture: int,
    pyramid_gradient: wp.array(dtype=float),
) -> wp.vec2:
    """Add one channel's gradient to its four texels; return that of the place, in texels."""
    low = start + taps.below
    if wants_texture == 1:
        upper = gradient * (1.0 - taps.v)
        lower = gradient * taps.v
        wp.atomic_add(pyramid_gradient, start, upper * (1.0 - taps.u))
        wp.atomic_add(pyramid_gradient, start + taps.right, upper * taps.u)
        wp.atomic_add(pyramid_gradient, low, lower * (1.0 - taps.u))
        wp.atomic_add(pyramid_gradient, low + taps.right, lower * taps.u)
    t00 = pyramid[start]
    t01 = pyramid[start + taps.right]
    t10 = pyramid[low]
    t11 = pyramid[low + taps.right]
    along_u = (t01 - t00) * (1.0 - taps.v) + (t11 - t10) * taps.v
    along_v = (t10 - t00) * (1.0 - taps.u) + (t11 - t01) * taps.u
    return gradient * wp.vec2(along_u, along_v)


@wp.func
def to_place(texels: wp.vec2, u: float, v: float, size: wp.vec3i) -> wp.vec2:
    """Gradient of (u, v) from that of the place in texels; beyond the outermost texel centres colour is constant."""
    width = wp.where(wp.abs(u - 0.5) * float(size[1]) < 0.5 * float(size[1] - 1), float(size[1]), 0.0)
    height = wp.where(wp.abs(v - 0.5) * float(size[2]) < 0.5 * float(size[2] - 1), float(size[2]), 0.0)
    return wp.vec2(texels[0] * width, texels[1] * height)


@wp.kernel
def sample_backward(
    pyramid: wp.array(dtype=float),
    sizes: wp.array(dtype=wp.vec3i),
    level: wp.array(dtype=float),
    batch_stride: int,
    channels: int,
    uv: wp.array(dtype=float),
    plane: int,
    image_gradient: wp.array(dtype=float),
    wants_texture: int,
    pyramid_gradient: wp.array(dtype=float),
    uv_gradient: wp.array(dtype=float),
):
    """One thread a pixel: scatter to the texels, gather for uv. The choice of level counts as constant."""
    pixel = wp.tid()
    batch = pixel / plane
    place = batch * plane + pixel
    if level[pixel] < 0.0:
        uv_gradient[place] = 0.0
        uv_gradient[place + plane] = 0.0
        return
    target = batch * (channels - 1) * plane + pixel
    u = uv[place]
    v = uv[place + plane]
    finest = int(level[pixel])
    share = level[pixel] - float(finest)
    first = batch * batch_stride
    fine = taps_at(u, v, sizes[finest], channels)
    sharp = wp.vec2(0.0, 0.0)
    for channel in range(channels):
        g = image_gradient[target + channel * plane] * (1.0 - share)
        sharp += scatter(pyramid, first + fine.first + channel, fine, g, wants_texture, pyramid_gradient)
    total = to_place(sharp, u, v, sizes[finest])
    if share > 0.0:
        coarse = taps_at(u, v, sizes[finest + 1], channels)
        smooth = wp.vec2(0.0, 0.0)
        for channel in range(channels):
            g = image_gradient[target + channel * plane] * share
            smooth += scatter(pyramid, first + coarse.first + channel, coarse, g, wants_texture, pyramid_gradient)
        total += to_place(smooth, u, v, sizes[finest + 1])
    uv_gradient[place] = total[0]
    uv_gradient[place + plane] = total[1]
