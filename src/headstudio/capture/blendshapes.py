"""MediaPipe's blendshape network: the field's usual person-independent expression, as a baseline.

Its model `face_landmarker.task` (Apache-2.0) comes with no package that headstudio needs: it is the user's file in the
folder HEADSTUDIO_WEIGHTS, or one that lies inside an installed mediapipe.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from headstudio.capture.detector import import_mediapipe, quiet
from headstudio.errors import HeadstudioError
from headstudio.heads.arkit import ARKIT_INDEX
from headstudio.nn.weights import ENVIRONMENT, find_file

MODEL = "face_landmarker.task"


def find_model() -> Path:
    """Where MediaPipe's bundle lies.

    Raises:
        HeadstudioError: it is nowhere.
    """
    given = find_file(MODEL)
    package = Path(str(import_mediapipe().__file__)).parent
    found = given or next(iter(sorted(package.rglob(MODEL))), None)
    if found is None:
        raise HeadstudioError(
            f"there is no {MODEL} on this machine",
            next_step=f"put MediaPipe's file into the folder that {ENVIRONMENT} names, or read other features",
        )
    return found


class BlendshapeReader:
    """52 weights of a picture that stands alone: nothing is smoothed over time, so live and offline agree."""

    def __init__(self, model: Path | None = None) -> None:
        path = model or find_model()
        with quiet():
            self._mediapipe = import_mediapipe()
            vision = self._mediapipe.tasks.vision
            base = self._mediapipe.tasks.BaseOptions(model_asset_path=str(path))
            options = vision.FaceLandmarkerOptions(base_options=base, output_face_blendshapes=True)
            try:
                self._landmarker = vision.FaceLandmarker.create_from_options(options)
            except (RuntimeError, ValueError) as error:
                raise HeadstudioError(
                    f"MediaPipe cannot read its model: {str(error).splitlines()[0]}",
                    where=path,
                    next_step="fetch it again",
                ) from None

    def read(
        self, image_rgb: UInt8[np.ndarray, "height width 3"], landmarks_px: Float[np.ndarray, "478 3"]
    ) -> Float[Tensor, "52"]:
        """The weights in ARKit's order (its unnamed 52nd, `tongueOut`, stays 0); all 0 where there is no face."""
        weights = torch.zeros(52)
        if not np.isfinite(landmarks_px).all():
            return weights
        pixels = np.ascontiguousarray(image_rgb)
        image = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=pixels)
        found = self._landmarker.detect(image).face_blendshapes
        for shape in found[0] if found else ():
            if shape.category_name in ARKIT_INDEX:
                weights[ARKIT_INDEX[shape.category_name]] = shape.score
        return weights

    def close(self) -> None:
        """Give the model back."""
        self._landmarker.close()
