"""How many channels a map of a given side has: the one rule of the style networks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LevelWidths:
    """Channels fall as the side grows: `volume / side`, at most `widest`."""

    volume: int = 32768
    """Channels times side beyond which maps get narrower (StyleGAN2: 32768, that is 512 at 64, 256 at 128)."""
    widest: int = 512
    """Most channels (StyleGAN2: 512)."""

    def at(self, side: int) -> int:
        """Channels of maps of this side, at least 1."""
        return max(1, min(self.widest, self.volume // side))
