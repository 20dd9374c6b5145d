"""Whether a picture shows the same person: the cosine between what a face-recognition network makes of two faces."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from headstudio.capture.estimator_terms import terms_beside
from headstudio.capture.providers import load_network
from headstudio.errors import HeadstudioError
from headstudio.evaluation.alignment import similarity, warped

FACE_PX = 112
"""Side of the aligned face, as face recognition has it (Deng et al. 2019, section 3.1)."""
ALIGNED_PX = {
    468: (38.2946, 51.6963),
    473: (73.5318, 51.5014),
    4: (56.0252, 71.7366),
    61: (41.5493, 92.3655),
    291: (70.7299, 92.2041),
}
"""Where both irises, the tip of the nose and the corners of the mouth lie in it: the five points of that literature."""
_SAMPLES = 4
"""Samples a pixel and axis, so that nothing aliases."""
_OTHER_THAN_FACES = 16
"""Fewest numbers an embedding has."""


class FaceEmbedder:
    """A user's face-recognition network; `MODEL.json` beside it says how it wants its picture (docs/annotations.md).

    Attributes:
        name: which file; every score carries it.

    Raises:
        HeadstudioError: where the file is no such network.
    """

    def __init__(self, path: Path) -> None:
        self._network = load_network(path, terms_beside(path).picture)
        self.name = f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
        shape = self._network.answer(np.zeros((FACE_PX, FACE_PX, 3), np.uint8)).shape
        if len(shape) != 1 or shape[0] < _OTHER_THAN_FACES:
            raise HeadstudioError(
                f"the model gives {tuple(shape)} for a face, and an embedding is one list of numbers",
                where=path,
                next_step="choose a face-recognition network",
            )

    def similarity(
        self,
        prediction: Float[Tensor, "batch 3 height width"],
        truth: Float[Tensor, "batch 3 height width"],
        landmarks_px: Float[Tensor, "batch 478 2"],
    ) -> Float[Tensor, " batch"]:
        """Cosine of the two faces' embeddings, 1 for equal pictures; NaN where there is no face.

        Args:
            prediction: sRGB in [0, 1].
            truth: likewise.
            landmarks_px: of the truth; both pictures are cut by them.
        """
        found, wanted = (self._embeddings(aligned_faces(p, landmarks_px)) for p in (prediction, truth))
        return F.cosine_similarity(found, wanted)

    def _embeddings(self, faces: Float[Tensor, "batch 3 112 112"]) -> Float[Tensor, "batch numbers"]:
        pictures = (255 * faces.nan_to_num(0).clamp(0, 1)).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        rows = [torch.from_numpy(self._network.answer(picture.cpu().numpy())).float() for picture in pictures]
        there = faces.isfinite().flatten(1).all(1)
        return torch.where(there[:, None], torch.stack(rows), torch.nan)


def aligned_faces(
    pictures: Float[Tensor, "batch 3 height width"], landmarks_px: Float[Tensor, "batch 478 2"]
) -> Float[Tensor, "batch 3 112 112"]:
    """The faces as recognition wants them; NaN where landmarks are missing."""
    places = torch.tensor(list(ALIGNED_PX.values())).expand(len(pictures), -1, -1)
    seen = landmarks_px[:, list(ALIGNED_PX)]
    A = similarity(_SAMPLES * places, seen)
    side = _SAMPLES * FACE_PX
    return F.avg_pool2d(warped(pictures, A, (side, side)), _SAMPLES) + 0 * A.sum((1, 2))[:, None, None, None]
