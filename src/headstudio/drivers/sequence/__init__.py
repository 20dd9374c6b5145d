"""Paper 3's animation network: Paier et al., "Video-Driven Animation of Neural Head Avatars", section 5.

An LSTM over a short window turns features that do not depend on the person into the parameters of one person's head.
"""

from headstudio.drivers.sequence.config import SequenceConfig
from headstudio.drivers.sequence.driver import SequenceDriver

__all__ = ["SequenceConfig", "SequenceDriver"]
