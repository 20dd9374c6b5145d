"""Everything about a live session that has a default."""

from dataclasses import dataclass, field

from headstudio.live.rendering import GraphConfig
from headstudio.live.transfer import NeckConfig


@dataclass(frozen=True)
class LiveConfig:
    """How a session runs."""

    size_px: int = 256
    """Side of the pictures."""
    yaw_deg: float = 0.0
    """Look from aside: positive moves the camera to the picture's right around the head."""
    pitch_deg: float = 0.0
    """Look from above (positive) or below."""
    exaggeration: float = 1.0
    """Factor on expressions, where its slider begins; 1 keeps their size."""
    neutral_s: float = 3.0
    """Seconds of a neutral face from which driver and offsets are learned."""
    range_s: float = 0.0
    """Seconds in which the driver moves everything as far as it goes, from which the gains are learned; 60 are enough,
    0 leaves it out."""
    reconnect_s: float | None = None
    """How long a lost source is waited for; for ever when not given."""
    queue: int = 1
    """Frames that may wait after the source; more hold frames back instead of dropping them."""
    on_the_way: int = 3
    """Most frames between source and outputs at once; fewer are let in where one stage takes most of the time, so that
    none waits long before it."""
    head_model: str = "makehuman"
    """Head that a new driver is tracked with."""
    neck: NeckConfig = field(default_factory=NeckConfig)
    """What the shoulders do."""
    graph: GraphConfig = field(default_factory=GraphConfig)
    """How the network runs."""
