"""Paper 4: "Neural Head Avatars from Monocular RGB Videos" (Grassal et al. 2022).

A parametric head's mesh refined by a network, hair included; a second network colours its points for every expression,
pose and view.
"""

from headstudio.methods.neural_head.config import NeuralHeadConfig
from headstudio.methods.neural_head.model import NeuralHead

__all__ = ["NeuralHead", "NeuralHeadConfig"]
