"""What an animated head is judged by: the mesh in millimetres, codes, speed, shaking, and how lips and lids open."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.heads.base import Articulation, HeadModel
from headstudio.records.channels import GAZE, JAW, Channels, expression_of
from headstudio.records.track import HeadIdentity
from tracking_signals import apertures

Scores = dict[str, float]
_MOST_LAG = 8
"""Frames by which an animation is looked for before and after what it should show."""


class Animated:
    """The meshes of one person's head as channels move it, in the head's own frame."""

    def __init__(self, head: HeadModel, identity: HeadIdentity) -> None:
        offsets_m = None if identity.offsets_m is None else identity.offsets_m[None]
        self.head, self.neutral_m = head, head.neutral(identity.coefficients[None], offsets_m)
        self.own = expression_of(head.name)

    def meshes(self, channels: Channels) -> Float[Tensor, "frames vertices 3"]:
        """Metres; neck at rest."""
        frames = len(channels[self.own])
        neck = self.head.rest(frames).neck_rad
        parts = []
        for some in torch.arange(frames).split(64):
            state = Articulation(channels[self.own][some], neck[some], channels[JAW][some], channels[GAZE][some])
            parts.append(self.head.pose(self.neutral_m.expand(len(some), -1, -1), state))
        return torch.cat(parts)

    def opening(self, meshes_m: Float[Tensor, "frames vertices 3"]) -> Mapping[str, np.ndarray]:
        """How far lids and lips are open, seen from the front, over the distance of the eyes."""
        lids, lips = apertures(self.head.landmark_points(meshes_m)[..., :2].double())
        return {"lids": lids, "lips": lips}

    def channels_of(self, arkit: Float[Tensor, "frames 52"]) -> Channels:
        """The channels that ARKit weights mean for this head."""
        state = self.head.from_arkit(arkit)
        return {self.own: state.expression, JAW: state.jaw_rad, GAZE: state.gaze_rad}

    def score(self, said: Channels, true: Channels, fps: float) -> Scores:
        """An animation against the one that it should have been."""
        ours, theirs = self.meshes(said), self.meshes(true)
        found = {}
        for region in ("face", "lips", "eyelids"):
            chosen = self.head.region(region)
            found[f"{region}_mm"] = _distance_mm(ours[:, chosen], theirs[:, chosen])
        face = self.head.region("face")
        ours, theirs = ours[:, face], theirs[:, face]
        found["velocity_mm_s"] = fps * _distance_mm(ours.diff(dim=0), theirs.diff(dim=0))
        shakes, should = (float(values.diff(n=2, dim=0).norm(dim=-1).mean()) for values in (ours, theirs))
        found["jitter"] = shakes / should
        told, wanted = self.opening(self.meshes(said)), self.opening(self.meshes(true))
        for name in wanted:
            found |= {f"{name}_{kind}": value for kind, value in alike(told[name], wanted[name], fps).items()}
        return found


def alike(ours: np.ndarray, theirs: np.ndarray, fps: float) -> Scores:
    """Correlation of two openings, the lag at which it is largest (positive: ours is late), and the amplitude kept."""
    ours, theirs = ours - ours.mean(), theirs - theirs.mean()
    if not ours.std() > 1e-6 or not theirs.std() > 1e-6:
        return {"correlation": 0.0, "lag_ms": 0.0, "amplitude": 0.0}
    lags = range(-_MOST_LAG, _MOST_LAG + 1)
    correlations = [_correlation(ours, theirs, lag) for lag in lags]
    best = int(np.argmax(correlations))
    return {
        "correlation": correlations[_MOST_LAG],
        "lag_ms": 1000 / fps * lags[best],
        "amplitude": float(ours.std() / theirs.std()),
    }


def _correlation(ours: np.ndarray, theirs: np.ndarray, lag: int) -> float:
    late, early = ours[max(lag, 0) : len(ours) + min(lag, 0)], theirs[max(-lag, 0) : len(theirs) - max(lag, 0)]
    return float(np.corrcoef(late, early)[0, 1])


def _distance_mm(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm(dim=-1).mean()) * 1000
