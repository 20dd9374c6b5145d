"""`TrackQuality`: which frames of a track are bad, why, and what to tell the user."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor


class Flaw(str, enum.Enum):
    """Why training and scoring skip a frame; the first that holds is its main reason."""

    NO_FACE = "no_face"
    HAND = "hand"
    """A hand covers part of the face."""
    COVERED = "covered"
    """Something else does."""
    TURNED = "turned"
    """The face looks too far away from the camera."""
    MISPLACED = "misplaced"
    """The detector's landmarks do not lie on the face, as they do while it comes back from a turn."""
    BLURRED = "blurred"
    UNSURE = "unsure"
    """The head does not fit the landmarks, or they tremble."""


@dataclass(frozen=True)
class TrackQuality:
    """What went wrong in a track."""

    flaws: Mapping[Flaw, Bool[Tensor, " frames"]]
    """Frames by flaw; a frame may have several."""
    score: float
    """Share of the clip that can be used, weighted by trust, in [0, 1]."""
    sentences: tuple[str, ...]
    """The same in words, the sum first, then one stretch of frames a sentence."""
    usual_error_m: float
    """Mean landmark error of an ordinary training frame, at the head."""

    def main(self, frame: int) -> Flaw | None:
        """The main reason why a frame is skipped; None for a good one."""
        return next((flaw for flaw in Flaw if flaw in self.flaws and bool(self.flaws[flaw][frame])), None)

    def tensors(self) -> dict[str, Tensor]:
        """What of it goes into the track's tensors."""
        return {f"flaw/{flaw.value}": frames for flaw, frames in self.flaws.items()}

    def json(self) -> dict[str, Any]:
        """What of it goes into the track's JSON."""
        return {
            "score": self.score,
            "sentences": list(self.sentences),
            "usual_error_m": self.usual_error_m,
            "flaws": [flaw.value for flaw in self.flaws],
        }

    @classmethod
    def read(cls, content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "TrackQuality":
        """Put together what `json` and `tensors` gave.

        Raises:
            KeyError, TypeError, ValueError: for anything else.
        """
        return cls(
            flaws={Flaw(name): tensors[f"flaw/{name}"].to(torch.bool) for name in content["flaws"]},
            score=float(content["score"]),
            sentences=tuple(str(sentence) for sentence in content["sentences"]),
            usual_error_m=float(content["usual_error_m"]),
        )
