"""What a network was shown of its input signals: they are standardised, and kept within that range ever after."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class SignalRange(nn.Module):
    """Standardises signals by the training frames; what lies beyond their range is taken as its border."""

    mean: Tensor
    deviation: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(self, signals: int) -> None:
        super().__init__()
        for name in ("mean", "lowest", "highest"):
            self.register_buffer(name, torch.zeros(signals))
        self.register_buffer("deviation", torch.ones(signals))

    @torch.no_grad()
    def measure(self, signals: Float[Tensor, "frames signals"], least_deviation: float = 0.02) -> None:
        """Take mean, deviation and range from the training frames.

        A signal that hardly moves is noise of the tracker: `least_deviation` keeps it from being blown up.
        """
        self.mean, self.deviation = signals.mean(0), signals.std(0).nan_to_num(0).clamp_min(least_deviation)
        self.lowest, self.highest = signals.amin(0), signals.amax(0)

    def forward(self, signals: Float[Tensor, "batch signals"], noise: float = 0.0) -> Float[Tensor, "batch signals"]:
        """Standard signals, 0 where they are as on average; `noise` in standard deviations is added in training."""
        kept = torch.minimum(torch.maximum(signals, self.lowest), self.highest)
        standard = (kept - self.mean) / self.deviation
        return standard + noise * torch.randn_like(standard) if noise else standard
