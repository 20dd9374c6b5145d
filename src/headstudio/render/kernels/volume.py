# type: ignore
# ruff: noqa: UP018
"""Emission and absorption along rays over packed samples, and its gradient.

With the transmittance T_0 = 1, a sample of density s over a step d leaves T_i = T_(i-1) exp(-s d) behind it and weighs
w_i = T_(i-1) - T_i (Max 1995, "Optical Models for Direct Volume Rendering", section 4).
"""

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
def composite(
    first: wp.array(dtype=int),
    density: wp.array(dtype=float),
    steps: wp.array(dtype=float),
    distances: wp.array(dtype=float),
    values: wp.array(dtype=float),
    channels: int,
    left: wp.array(dtype=float),
    sums: wp.array(dtype=float),
    opacity: wp.array(dtype=float),
    reach: wp.array(dtype=float),
):
    """One thread a ray: sums of values and distances by weight; `left` is the transmittance behind each sample, and
    `sums` starts at 0."""
    ray = wp.tid()
    before = float(1.0)
    total = float(0.0)
    for i in range(first[ray], first[ray + 1]):
        share = 1.0 - wp.exp(-density[i] * steps[i])
        weight = before * share
        for c in range(channels):
            sums[ray * channels + c] += weight * values[i * channels + c]
        total += weight * distances[i]
        before = before - weight
        left[i] = before
    opacity[ray] = 1.0 - before
    reach[ray] = total


@wp.kernel
def composite_backward(
    first: wp.array(dtype=int),
    density: wp.array(dtype=float),
    steps: wp.array(dtype=float),
    distances: wp.array(dtype=float),
    values: wp.array(dtype=float),
    channels: int,
    left: wp.array(dtype=float),
    sums_gradient: wp.array(dtype=float),
    opacity_gradient: wp.array(dtype=float),
    reach_gradient: wp.array(dtype=float),
    density_gradient: wp.array(dtype=float),
    values_gradient: wp.array(dtype=float),
):
    """One thread a ray, from the far end: more density lets a sample weigh more and all behind it less."""
    ray = wp.tid()
    start = first[ray]
    behind = float(0.0)
    for k in range(first[ray + 1] - start):
        i = first[ray + 1] - 1 - k
        before = float(1.0)
        if i > start:
            before = left[i - 1]
        weight = before * (1.0 - wp.exp(-density[i] * steps[i]))
        gain = opacity_gradient[ray] + reach_gradient[ray] * distances[i]
        for c in range(channels):
            g = sums_gradient[ray * channels + c]
            gain += g * values[i * channels + c]
            values_gradient[i * channels + c] = g * weight
        density_gradient[i] = steps[i] * (left[i] * gain - behind)
        behind += weight * gain
