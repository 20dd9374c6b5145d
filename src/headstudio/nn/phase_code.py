"""A number as a code of sines and cosines: who somebody is, or when a frame was, as input of a mapping network.

StyleAvatar takes it from Bahmani et al. 2022; its 32 octaves over a clip turn more than once between neighbouring
frames and thus name a frame as a hash would, while few octaves make neighbours alike.
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor


def phase_code(values: Float64[Tensor, " batch"], octaves: int) -> Float[Tensor, "batch 2*{octaves}"]:
    """sin and cos of pi 2^k times each value, k = 0 .. octaves - 1, in float32.

    Args:
        values: numbers in [0, 1], for example a frame's place in its clip. In float64, where doubling and the
            remainder of a turn are exact, so that high octaves give the same code on every machine.
        octaves: number of frequencies; half the width of the code.
    """
    turns = values[:, None] * 2.0 ** torch.arange(octaves, device=values.device, dtype=values.dtype)
    angles = torch.pi * torch.remainder(turns, 2.0)
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()
