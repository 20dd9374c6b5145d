"""Noise that is given, not drawn: maps of white noise for growing sides out of one coarse stack of channels.

StyleAvatar warps its noise with the face, so that the detail that a network makes of it does not stick to the screen.
The warp happens once, on the coarse stack; the finer maps are put together from its channels by the inverse Haar
transform, which is orthonormal and therefore leaves white noise white and of variance 1.
"""

from jaxtyping import Float
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.nn.wavelets import synthesise


def noise_channels(levels: int) -> int:
    """Channels of the stack from which maps for this many levels come: 1 + 4 + 16 + .. (21 for the paper's three)."""
    return (4**levels - 1) // 3


def noise_pyramid(stack: Float[Tensor, "batch channels rows columns"], levels: int) -> tuple[Tensor, ...]:
    """One map a level, (batch, 1, 2^k rows, 2^k columns), k = 0 .. levels - 1.

    Raises:
        HeadstudioError: the stack has not `noise_channels(levels)` channels.
    """
    if stack.shape[1] != noise_channels(levels):
        raise HeadstudioError(
            f"{stack.shape[1]} channels of noise do not make {levels} levels",
            next_step=f"give {noise_channels(levels)} channels",
        )
    maps = []
    for level in range(levels):
        first = noise_channels(level)
        noise = stack[:, first : first + 4**level]
        for _ in range(level):
            noise = synthesise(noise)
        maps.append(noise)
    return tuple(maps)
