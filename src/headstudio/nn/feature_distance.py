"""Perceptual distances that judge pictures. Only the published networks and heads together are called LPIPS."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from headstudio.errors import HeadstudioError
from headstudio.nn.extractors import Extractor, ExtractorKind
from headstudio.nn.weights import find_file, read_state

_HEADS: dict[ExtractorKind, str] = {"alexnet": "alex", "vgg16": "vgg", "squeezenet1.1": "squeeze"}
"""The networks Zhang et al. 2018 fitted heads to, by the names of their files."""
JUDGE_TAPS: dict[ExtractorKind, tuple[str, ...]] = {
    "vgg19": ("relu1_2", "relu2_2", "relu3_4", "relu4_4", "relu5_4"),
    "vgg16": ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"),
    "alexnet": ("relu1", "relu2", "relu3", "relu4", "relu5"),
    "squeezenet1.1": ("relu1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9"),
}
"""Layers that are compared (Zhang et al. 2018, appendix B; VGG19, which they do not have, by analogy)."""


class FeatureDistance(nn.Module):
    """Squared distance of unit-length features, averaged over the picture and summed over layers.

    Attributes:
        name: "LPIPS-alex" and the like with the original network and its published heads; otherwise
            "feature distance (<extractor>)", whose numbers must not be set beside published ones.
    """

    def __init__(self, extractor: Extractor, heads: dict[str, Tensor] | None = None) -> None:
        """`heads`: the contents of `lpips_lin_v0.1_*.safetensors`, one weight a channel; None weighs all channels 1."""
        super().__init__()
        self.extractor = extractor
        self._taps = JUDGE_TAPS[extractor.kind]
        self._heads: list[Tensor] | None = None
        self.name = f"feature distance ({extractor.name})"
        if heads is not None:
            if not (extractor.original and extractor.kind in _HEADS):
                # Their weights belong to the channels of one trained network and mean nothing on another's.
                raise HeadstudioError(
                    f"the LPIPS heads were not fitted to {extractor.name}",
                    next_step="use torchvision's original weights of that network, or no heads",
                )
            self._heads = [heads[f"lin{i}.model.1.weight"].view(1, -1, 1, 1) for i in range(len(self._taps))]
            self.name = f"LPIPS-{_HEADS[extractor.kind]}"

    def forward(
        self,
        prediction: Float[Tensor, "batch 3 height width"],
        target: Float[Tensor, "batch 3 height width"],
        mask: Float[Tensor, "batch 1 height width"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """Distance of each picture (sRGB in [0, 1]), 0 for equal ones; excluded pixels are black in both."""
        if mask is not None:
            prediction, target = prediction * mask, target * mask
        found, wanted = (self.extractor(images, self._taps) for images in (prediction, target))
        layers = [self._layer(index, found[tap], wanted[tap], mask) for index, tap in enumerate(self._taps)]
        return torch.stack(layers).sum(0)

    def _layer(self, index: int, found: Tensor, wanted: Tensor, mask: Tensor | None) -> Float[Tensor, " batch"]:
        squared = (_unit(found) - _unit(wanted)) ** 2
        if self._heads is not None:
            squared = squared * self._heads[index].to(squared)
        distance = squared.sum(1, keepdim=True)
        if mask is None:
            return distance.mean((1, 2, 3))
        weight = F.interpolate(mask, size=distance.shape[-2:], mode="area")
        return (distance * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))


def feature_distance(extractor: Extractor) -> FeatureDistance:
    """The judge of an extractor: LPIPS where the network is the original and its heads are found, else plain."""
    name = _HEADS.get(extractor.kind)
    file = find_file(f"lpips_lin_v0.1_{name}.safetensors") if extractor.original and name else None
    return FeatureDistance(extractor, None if file is None else read_state(file))


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True) + 1e-10).sqrt()
