"""The One Euro filter (Casiez, Roussel and Vogel 2012): a causal low-pass whose cut-off rises with the speed.

Two things differ from the paper. The gain is 1 - exp(-2 pi f dt), the answer to an input that is held between frames,
where the paper has the first-order 1 / (1 + 1 / (2 pi f dt)): two half steps then make one whole step, and a filter
tuned at 25 frames a second does the same at 50. And the cut-off of the speed is an argument, where the paper's is
1 Hz: a blink closes within two frames, and the first one must count.
"""

import math

import roma
import torch
from jaxtyping import Float
from torch import Tensor


class OneEuro:
    """Filters numbers or vectors, one value a call.

    Args:
        cut_off_hz: of what does not move; one for all channels, or one each.
        slope_hz: by which the cut-off rises with one unit a second.
        speed_cut_off_hz: of the low-pass on the speed.
        together: channels are one vector, and its length decides for all of them.
    """

    def __init__(
        self,
        cut_off_hz: Float[Tensor, " channels"] | float,
        slope_hz: Float[Tensor, " channels"] | float,
        speed_cut_off_hz: float,
        together: bool = False,
    ) -> None:
        self._cut_off_hz, self._slope_hz = cut_off_hz, slope_hz
        self._speed_cut_off_hz, self._together = speed_cut_off_hz, together
        self._value: Tensor | None = None
        self._speed: Tensor | None = None

    def reset(self) -> None:
        """Begin anew with the next value."""
        self._value = self._speed = None

    def __call__(self, value: Tensor, step_s: float) -> Tensor:
        """The filtered value; the first one passes as it is.

        Args:
            value: (..., channels).
            step_s: time since the last call, above 0.
        """
        if self._value is None:
            self._value = value
        else:
            innovation = self._between(self._value, value)
            self._value = self._moved(self._value, self._gain(innovation, step_s) * innovation)
        return self._value

    def _gain(self, innovation: Tensor, step_s: float) -> Tensor:
        """How much of the way to a new value the filter goes."""
        now = innovation / step_s
        held = torch.zeros_like(now) if self._speed is None else self._speed
        self._speed = held + (1.0 - math.exp(-2.0 * math.pi * self._speed_cut_off_hz * step_s)) * (now - held)
        pace = self._speed.norm(dim=-1, keepdim=True) if self._together else self._speed.abs()
        return 1.0 - torch.exp(-2.0 * math.pi * step_s * (self._cut_off_hz + self._slope_hz * pace))

    def _between(self, old: Tensor, new: Tensor) -> Tensor:
        return new - old

    def _moved(self, old: Tensor, step: Tensor) -> Tensor:
        return old + step


class OneEuroRotation(OneEuro):
    """Filters rotation matrices (..., 3, 3) along the rotation that leads from the last to the next."""

    def __init__(self, cut_off_hz: float, slope_hz: float, speed_cut_off_hz: float) -> None:
        super().__init__(cut_off_hz, slope_hz, speed_cut_off_hz, together=True)

    def _between(self, old: Tensor, new: Tensor) -> Tensor:
        return roma.rotmat_to_rotvec(new @ old.mT)

    def _moved(self, old: Tensor, step: Tensor) -> Tensor:
        return roma.rotvec_to_rotmat(step) @ old
