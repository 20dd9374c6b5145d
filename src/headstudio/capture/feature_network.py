"""Features of a face by a network of the user's: DECA, EMOCA, SMIRK or another, exported to ONNX.

HEADSTUDIO_FEATURES names the file. A JSON beside it (`estimator_terms`) says how it wants its picture and which output
to read; the size of its picture is told by the file itself or by that JSON.
"""

import hashlib
import os
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from headstudio.capture.estimator_terms import terms_beside
from headstudio.capture.providers import load_network
from headstudio.errors import HeadstudioError
from headstudio.records.channels import Channel, features_of

VARIABLE = "HEADSTUDIO_FEATURES"
_FACE = (
    *(162, 127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152),
    *(389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
)
"""Landmarks from the brows to the chin: about what the 68 points that such networks are cut by enclose."""
_LARGEST_MARGIN_PX = 4096


def network_file() -> Path:
    """The user's network."""
    named = os.environ.get(VARIABLE)
    if not named:
        raise HeadstudioError(
            "no feature network is named", next_step=f"set {VARIABLE} to an ONNX file, or read other features"
        )
    path = Path(named)
    if not path.is_file():
        raise HeadstudioError("no model file here", where=path, next_step=f"correct {VARIABLE}")
    return path


def network_channel(path: Path | None = None) -> Channel:
    """The channel of a network: its name and the first digits of its SHA-256, so that no other is taken for it."""
    path = path or network_file()
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return features_of(f"{path.stem}-{digest.hexdigest()[:8]}")


class FeatureReader:
    """Features of single pictures of faces."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or network_file()
        terms = terms_beside(self._path)
        self._margin = terms.margin
        self._network = load_network(self._path, terms.picture, terms.output)

    def read(
        self, image_rgb: UInt8[np.ndarray, "height width 3"], landmarks_px: Float[np.ndarray, "478 3"]
    ) -> Float[Tensor, " features"]:
        """All numbers of the output in a row; all 0 where there is no face."""
        if not np.isfinite(landmarks_px).all():
            return torch.zeros_like(self.read(image_rgb, _somewhere(image_rgb)))
        answer = np.asarray(self._network.answer(face_square(image_rgb, landmarks_px, self._margin)), np.float32)
        if not np.isfinite(answer).all():
            raise HeadstudioError(
                "the feature network gives numbers that are not finite", where=self._path, next_step="export it again"
            )
        return torch.from_numpy(answer.copy()).flatten()

    def close(self) -> None:
        """Give the model back."""
        self._network.close()


def face_square(
    image_rgb: UInt8[np.ndarray, "height width 3"], landmarks_px: Float[np.ndarray, "478 3"], margin: float
) -> UInt8[np.ndarray, "side side 3"]:
    """The square around a face, upright, black beyond the picture.

    Args:
        margin: its side over the mean side of the box of the landmarks from brows to chin.
    """
    points = landmarks_px[list(_FACE), :2]
    low, high = points.min(0), points.max(0)
    side = int(np.clip(round(margin * float((high - low).mean())), 1, _LARGEST_MARGIN_PX))
    corner = np.round((low + high - side) / 2).astype(int)
    height, width = image_rgb.shape[:2]
    inside = np.clip(corner, 0, (width, height)), np.clip(corner + side, 0, (width, height))
    (left, top), (right, bottom) = inside
    part = image_rgb[top:bottom, left:right]
    over = (*(inside[0] - corner), *(corner + side - inside[1]))
    return np.ascontiguousarray(
        cv2.copyMakeBorder(part, over[1], over[3], over[0], over[2], cv2.BORDER_CONSTANT)
        if part.size
        else np.zeros((side, side, 3), np.uint8)
    )


def _somewhere(image_rgb: np.ndarray) -> np.ndarray:
    """Landmarks of nobody, that fill the picture: they tell how many numbers the network gives."""
    height, width = image_rgb.shape[:2]
    return np.linspace((0, 0, 0), (width, height, 0), 478)
