# type: ignore
# ruff: noqa: UP018
"""Emission and absorption along rays over packed samples, and its gradient.

With the transmittance T_0 = 1, a sample of density s over a step d leaves T_i = T_(i-1) exp(-s d) behind it and weighs
w_i = T_(i-1) - T_i (Max 1995, "Optical Models for Direct Volume Rendering", section 4). Values stand in groups of eight
channels, because a CPU's compiler then uses its wide registers.
"""

import warp as wp

wp.set_module_options({"enable_backward": False})

Eight = wp.types.vector(length=8, dtype=wp.float32)


@wp.kernel
def composite(
    first: wp.array(dtype=int),
    density: wp.array(dtype=float),
    steps: wp.array(dtype=float),
    distances: wp.array(dtype=float),
    values: wp.array(dtype=Eight),
    groups: int,
    weights: wp.array(dtype=float),
    left: wp.array(dtype=float),
    sums: wp.array(dtype=Eight),
    opacity: wp.array(dtype=float),
    reach: wp.array(dtype=float),
):
    """One thread a ray: sums of values and distances by weight; `left` is the transmittance behind each sample."""
    ray = wp.tid()
    before = float(1.0)
    total = float(0.0)
    for i in range(first[ray], first[ray + 1]):
        weight = before * (1.0 - wp.exp(-density[i] * steps[i]))
        total += weight * distances[i]
        before -= weight
        weights[i] = weight
        left[i] = before
    for k in range(groups):
        gathered = Eight()
        for i in range(first[ray], first[ray + 1]):
            gathered += values[i * groups + k] * weights[i]
        sums[ray * groups + k] = gathered
    opacity[ray] = 1.0 - before
    reach[ray] = total


@wp.kernel
def composite_backward(
    first: wp.array(dtype=int),
    steps: wp.array(dtype=float),
    distances: wp.array(dtype=float),
    values: wp.array(dtype=Eight),
    groups: int,
    weights: wp.array(dtype=float),
    left: wp.array(dtype=float),
    sums_gradient: wp.array(dtype=Eight),
    opacity_gradient: wp.array(dtype=float),
    reach_gradient: wp.array(dtype=float),
    density_gradient: wp.array(dtype=float),
    values_gradient: wp.array(dtype=Eight),
):
    """One thread a ray, from the far end: more density lets a sample weigh more and all behind it less."""
    ray = wp.tid()
    behind = float(0.0)
    for k in range(first[ray + 1] - first[ray]):
        i = first[ray + 1] - 1 - k
        gain = opacity_gradient[ray] + reach_gradient[ray] * distances[i]
        for group in range(groups):
            g = sums_gradient[ray * groups + group]
            gain += wp.dot(g, values[i * groups + group])
            values_gradient[i * groups + group] = g * weights[i]
        density_gradient[i] = steps[i] * (left[i] * gain - behind)
        behind += weights[i] * gain
