# type: ignore
"""Irradiance of second-order spherical harmonics per pixel (Ramamoorthi and Hanrahan 2001, equation 3's basis)."""

import warp as wp

wp.set_module_options({"enable_backward": False})

vec9 = wp.types.vector(length=9, dtype=float)


@wp.func
def basis(x: float, y: float, z: float) -> vec9:
    """Real spherical harmonics Y00, Y1-1, Y10, Y11, Y2-2, Y2-1, Y20, Y21, Y22 of a unit direction."""
    return vec9(
        0.28209479177387814,
        0.4886025119029199 * y,
        0.4886025119029199 * z,
        0.4886025119029199 * x,
        1.0925484305920792 * x * y,
        1.0925484305920792 * y * z,
        0.31539156525252005 * (3.0 * z * z - 1.0),
        1.0925484305920792 * x * z,
        0.5462742152960396 * (x * x - y * y),
    )


@wp.kernel
def shade(
    normals: wp.array(dtype=float),
    light: wp.array(dtype=wp.vec3),
    pixels: int,
    irradiance: wp.array(dtype=float),
):
    """One thread a pixel; images are (batch, 3, pixel), light is (batch, 9) of RGB."""
    batch = wp.tid() / pixels
    place = batch * 2 * pixels + wp.tid()
    values = basis(normals[place], normals[place + pixels], normals[place + 2 * pixels])
    sum = wp.vec3(0.0, 0.0, 0.0)
    for k in range(9):
        sum += values[k] * light[batch * 9 + k]
    for channel in range(3):
        irradiance[place + channel * pixels] = sum[channel]


@wp.kernel
def shade_backward(
    normals: wp.array(dtype=float),
    light: wp.array(dtype=wp.vec3),
    pixels: int,
    width: int,
    irradiance_gradient: wp.array(dtype=float),
    normals_gradient: wp.array(dtype=float),
    light_gradient: wp.array(dtype=wp.vec3),
):
    """One thread an image row, so that the light's gradient is summed per row without contention."""
    batch = wp.tid() * width / pixels
    g = vec9()
    sums_red = vec9()
    sums_green = vec9()
    sums_blue = vec9()
    for column in range(width):
        place = batch * 2 * pixels + wp.tid() * width + column
        x = normals[place]
        y = normals[place + pixels]
        z = normals[place + 2 * pixels]
        red = irradiance_gradient[place]
        green = irradiance_gradient[place + pixels]
        blue = irradiance_gradient[place + 2 * pixels]
        values = basis(x, y, z)
        sums_red += red * values
        sums_green += green * values
        sums_blue += blue * values
        for k in range(9):
            g[k] = wp.dot(light[batch * 9 + k], wp.vec3(red, green, blue))
        normals_gradient[place] = 0.4886025119029199 * g[3] + 1.0925484305920792 * (g[4] * y + g[7] * z + g[8] * x)
        normals_gradient[place + pixels] = 0.4886025119029199 * g[1] + 1.0925484305920792 * (
            g[4] * x + g[5] * z - g[8] * y
        )
        normals_gradient[place + 2 * pixels] = (
            0.4886025119029199 * g[2] + 1.0925484305920792 * (g[5] * y + g[7] * x) + 1.8923493915151203 * g[6] * z
        )
    for k in range(9):
        light_gradient[wp.tid() * 9 + k] = wp.vec3(sums_red[k], sums_green[k], sums_blue[k])
