"""The perceptual loss that a method holds: found when a step first asks for it, remembered by name, never stored."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from jaxtyping import Float
from torch import Tensor, nn

from headstudio.nn.perceptual import FeatureLoss

Find: TypeAlias = Callable[[], tuple[nn.Module, str]]
"""Makes the loss, and one phrase that says which it is."""


class PictureLoss:
    """No module, so that its network is no part of the avatar; whoever only renders never loads it."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._network: nn.Module | None = None
        self._names = {"perceptual": "", "extractor": ""}

    def choose(self) -> None:
        """Find it now, so that whatever it lacks is said before anybody learns."""
        _ = self.network

    @property
    def network(self) -> nn.Module:
        """The loss itself."""
        if self._network is None:
            self._network, description = self._find()
            extractor = self._network.extractor.name if isinstance(self._network, FeatureLoss) else ""
            self._names = {"perceptual": description, "extractor": extractor}
        return self._network

    def __call__(
        self,
        found: Float[Tensor, "batch 3 height width"],
        wanted: Float[Tensor, "batch 3 height width"],
        mask: Float[Tensor, "#batch 1 height width"],
    ) -> Float[Tensor, ""]:
        """The loss of sRGB pictures in [0, 1] where the mask is 1."""
        return self.network.to(found.device)(found, wanted, mask)

    def state(self) -> dict[str, str]:
        """Its names, for `Trainable.state`; empty before anybody has learned with it."""
        return dict(self._names)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take the names of the loss that was learned with."""
        self._names = {name: state[name] for name in self._names}

    def notes(self, title: str = "Perceptual loss") -> tuple[str, ...]:
        """One sentence for reports; none before anybody has learned with it."""
        return (f"{title}: {self._names['perceptual']}.",) if self._names["perceptual"] else ()

    @property
    def extractors(self) -> frozenset[str]:
        """The network that may not judge whoever learned with it."""
        return frozenset({self._names["extractor"]}) - {""}
