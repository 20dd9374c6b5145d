"""What skin, hair and cloth of one clip look like: mixtures of Gaussians over colours."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

_CLUSTERS = 4
_LEAST_COLOURS = 60
"""Fewer colours than this teach nothing."""
_ROUNDS = 30
_SPREAD = 25.0
"""Added to each variance (8-bit Lab units squared): noise and compression blur every colour by a few levels."""


@dataclass(frozen=True)
class ColourModel:
    """A mixture of Gaussians found by k-means, as GrabCut's (Rother, Kolmogorov and Blake 2004)."""

    weights: Float[np.ndarray, " components"]
    means: Float[np.ndarray, "components 3"]
    precisions: Float[np.ndarray, "components 3 3"]
    log_scales: Float[np.ndarray, " components"]

    @classmethod
    def fit(cls, colours: Float[np.ndarray, "colours 3"], shading: float = 0.0) -> "ColourModel | None":
        """The mixture of some colours (`features`); None where there are too few.

        Args:
            shading: standard deviation by which the same thing may be lighter or darker elsewhere.
        """
        if len(colours) < _LEAST_COLOURS:
            return None
        cv2.setRNGSeed(0)
        stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, _ROUNDS, 0.5)
        _, labels, _ = cv2.kmeans(colours.astype(np.float32), _CLUSTERS, None, stop, 2, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
        parts = [colours[labels[:, 0] == k].astype(np.float64) for k in range(_CLUSTERS)]
        parts = [part for part in parts if len(part) > 3]
        spread = np.diag([_SPREAD + shading**2, _SPREAD, _SPREAD])
        covariances = [np.cov(part.T) + spread for part in parts]
        return cls(
            weights=np.array([len(part) for part in parts]) / sum(map(len, parts)),
            means=np.array([part.mean(0) for part in parts]),
            precisions=np.array([np.linalg.inv(c) for c in covariances]),
            log_scales=np.array([-0.5 * np.linalg.slogdet(2 * np.pi * c)[1] for c in covariances]),
        )

    def log_likelihood(self, colours: Float[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape"]:
        """Logarithm of the density of each colour."""
        total = np.full(colours.shape[:-1], -np.inf)
        for weight, mean, precision, scale in zip(
            self.weights, self.means, self.precisions, self.log_scales, strict=True
        ):
            arm = colours - mean
            quadratic = np.einsum("...i,ij,...j->...", arm, precision, arm)
            total = np.logaddexp(total, np.log(weight) + scale - 0.5 * quadratic)
        return total


def features(image_rgb: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width 3"]:
    """Lab colours of a slightly blurred picture, in 8-bit units: distances in them are about as eyes see them."""
    return cv2.cvtColor(cv2.GaussianBlur(image_rgb, (0, 0), 0.8), cv2.COLOR_RGB2LAB).astype(np.float32)
