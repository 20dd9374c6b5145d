"""Perceptual losses: differences of network features, or of gradients and structure where no weights are at hand."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from headstudio.nn.extractors import KINDS, LOSS_TAPS, Extractor, ExtractorKind
from headstudio.nn.ssim import WINDOW, ssim
from headstudio.nn.weights import ENVIRONMENT, find_weights, load_extractor


class FeatureLoss(nn.Module, abc.ABC):
    """A comparison of what an extractor finds in two pictures; a gradient reaches the first alone."""

    extractor: nn.Module
    """The network that looks; its `name` is what reports call it."""

    def forward(
        self,
        prediction: Float[Tensor, "batch 3 height width"],
        target: Float[Tensor, "batch 3 height width"],
        mask: Float[Tensor, "#batch 1 height width"] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss of sRGB pictures in [0, 1]; pixels with mask 0 have no influence on it."""
        if mask is not None:
            prediction, target = prediction * mask, target * mask
        with torch.no_grad():
            wanted = self._features(target)
        return torch.stack(self._terms(self._features(prediction), wanted, mask)).sum()

    @abc.abstractmethod
    def _features(self, images: Tensor) -> Any:
        """What is compared."""

    @abc.abstractmethod
    def _terms(self, found: Any, wanted: Any, mask: Tensor | None) -> list[Tensor]:
        """The parts of the sum."""


class PerceptualLoss(FeatureLoss):
    """Mean absolute difference of network features, each layer relative to its mean size on the target.

    The relative scale makes a loss weight mean the same for every network and layer (their raw activations differ a
    hundredfold); it is a constant for the gradient.
    """

    def __init__(
        self, extractor: Extractor, layers: Mapping[str, float] | None = None, low_precision: bool = False
    ) -> None:
        """Compare with `extractor` at weighted `layers` (default: `LOSS_TAPS`, equally), in bfloat16 if asked."""
        super().__init__()
        self.extractor = extractor
        chosen = dict.fromkeys(LOSS_TAPS[extractor.kind], 1.0) if layers is None else dict(layers)
        unknown = chosen.keys() - set(extractor.taps)
        if unknown:
            raise ValueError(f"{extractor.name} has no layer {', '.join(sorted(unknown))}")
        total = sum(chosen.values())
        self.layers = {tap: weight / total for tap, weight in chosen.items()}
        self._low_precision = low_precision

    def _features(self, images: Tensor) -> dict[str, Tensor]:
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._low_precision):
            return self.extractor(images, self.layers)

    def _terms(self, found: dict[str, Tensor], wanted: dict[str, Tensor], mask: Tensor | None) -> list[Tensor]:
        return [weight * relative_l1(found[tap], wanted[tap], mask) for tap, weight in self.layers.items()]


def relative_l1(found: Tensor, wanted: Tensor, mask: Tensor | None = None) -> Float[Tensor, ""]:
    """Mean difference of features over the mean size of those that are wanted, where the mask is 1."""
    found, wanted = found.float(), wanted.float()
    difference, size = (found - wanted).abs().mean(1, keepdim=True), wanted.abs().mean(1, keepdim=True)
    if mask is None:
        return difference.mean() / size.mean().clamp_min(1e-6)
    weight = F.interpolate(mask, size=found.shape[-2:], mode="area")
    return (difference * weight).sum() / (size * weight).sum().clamp_min(1e-6)


class GradientSsimLoss(nn.Module):
    """The stand-in without weights: colour gradients at several scales, plus one minus SSIM."""

    def __init__(self, scales: int = 4) -> None:
        """`scales` halvings of the picture, the full size included."""
        super().__init__()
        self._scales = scales

    def forward(
        self,
        prediction: Float[Tensor, "batch 3 height width"],
        target: Float[Tensor, "batch 3 height width"],
        mask: Float[Tensor, "#batch 1 height width"] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss of sRGB pictures in [0, 1]; pixels with mask 0 have no influence on it."""
        mask = torch.ones_like(target[:, :1]) if mask is None else mask
        difference = (prediction - target) * mask
        terms = [self._structure(prediction, target, mask)]
        for _ in range(self._scales):
            if min(difference.shape[-2:]) < 2:
                break
            terms.append(_gradient_l1(difference, mask))
            difference, mask = F.avg_pool2d(difference, 2), F.avg_pool2d(mask, 2)
        return terms[0] + torch.stack(terms[1:]).mean()

    def _structure(self, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        if min(prediction.shape[-2:]) < WINDOW:
            return prediction.new_zeros(())
        # A mask too narrow for any window has no structure to compare: its mean is NaN and counts as similar.
        return (1 - ssim(prediction, target, mask).nan_to_num(1.0)).mean()


def _gradient_l1(difference: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute gradient of the masked difference."""
    horizontal = (difference[..., 1:] - difference[..., :-1]).abs().mean(1, keepdim=True)
    vertical = (difference[..., 1:, :] - difference[..., :-1, :]).abs().mean(1, keepdim=True)
    weights = mask[..., 1:] * mask[..., :-1], mask[..., 1:, :] * mask[..., :-1, :]
    summed = (horizontal * weights[0]).sum() + (vertical * weights[1]).sum()
    return summed / (weights[0].sum() + weights[1].sum()).clamp_min(1e-6)


def perceptual_loss(
    preferred: Sequence[ExtractorKind] = KINDS, download: bool = False, low_precision: bool = False
) -> tuple[PerceptualLoss | GradientSsimLoss, str]:
    """The best perceptual loss this machine has, and one phrase that says which, for reports.

    Args:
        preferred: networks in the order of preference; the first whose weights are found is taken.
        download: when none is found, fetch the first one's public weights.
        low_precision: compute features in bfloat16.
    """
    kind: ExtractorKind | None = next((kind for kind in preferred if find_weights(kind) is not None), None)
    if kind is None and download and preferred:
        kind = preferred[0]
    if kind is None:
        reason = f"no feature weights in {ENVIRONMENT} or torch's cache"
        return GradientSsimLoss(), f"multi-scale gradients + (1 - SSIM), because there are {reason}"
    loss = PerceptualLoss(load_extractor(kind, download=download), low_precision=low_precision)
    return loss, f"L1 of {loss.extractor.name} features at {', '.join(loss.layers)}"
