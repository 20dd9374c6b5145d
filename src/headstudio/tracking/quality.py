"""How far a tracked frame is to be trusted, and why training and scoring skip it."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headstudio.records.capture import CaptureView
from headstudio.records.track_quality import Flaw, TrackQuality
from headstudio.tracking.config import QualityConfig
from headstudio.tracking.observations import Observations
from headstudio.tracking.points import FrameState, PointModel
from headstudio.tracking.solver import see
from headstudio.tracking.words import told

_HALF_TRUST = 2.0
"""A frame whose error is this many times the clip's median above it has lost half of its confidence."""
_HOPELESS_M = 0.008
"""Mean landmark error on the face at which the fit has failed, whatever the rest of the clip looks like."""
_HAND = 0.03
"""Share of the face behind a detected hand that proves that it is a hand what covers the face."""
_FRINGE = 0.5
"""A covered stretch reaches to where less than this part of the limit is covered."""
_SHORTEST_S = 0.1
"""Nothing covers a face for less time, unless a hand was seen."""
_SIDE_DEG = 45.0
"""Beyond this yaw the detector guesses half of the face, and its landmarks need not lie on it."""


class Judgement(NamedTuple):
    """What becomes of each frame."""

    confidence: Float[Tensor, " frames"]
    """In [0, 1]."""
    usable: Bool[Tensor, " frames"]
    quality: TrackQuality


def landmark_error_m(model: PointModel, state: FrameState, observed: Observations) -> Float[Tensor, " frames"]:
    """Weighted mean distance between fitted and detected landmarks, in metres at the head's distance."""
    pixels = see(model, state, observed.K_px, False).pixels
    distance = (pixels - observed.pixels).norm(dim=-1)
    share = observed.weight / observed.weight.sum()
    return (distance * share).sum(1) * state.translation_m[:, 2] / observed.K_px[:, 0, 0]


def yaw_rad(rotation: Float[Tensor, "frames 3 3"]) -> Float[Tensor, " frames"]:
    """Angle between the face's direction and the camera's axis in the horizontal plane of the picture."""
    return torch.atan2(rotation[:, 0, 2], -rotation[:, 2, 2])


def trust(
    error_m: Float[Tensor, " frames"], usual_m: float, yaw_deg: Float[Tensor, " frames"], config: QualityConfig
) -> Float[Tensor, " frames"]:
    """Confidence in [0, 1] that follows from the fit alone: its error against what is usual, and how far the head is
    turned away."""
    excess = (error_m / max(usual_m, 1e-6) - 1.0).clamp_min(0.0)
    turned = ((yaw_deg / config.largest_yaw_deg - 0.75) / 0.25).clamp(0.0, 1.0)
    fit = 1.0 / (1.0 + (excess / _HALF_TRUST) ** 2) * torch.exp(-((error_m / _HOPELESS_M) ** 2))
    return fit * (1.0 - 0.5 * turned)


def judge(
    view: CaptureView,
    state: FrameState,
    error_m: Float[Tensor, " frames"],
    seen: Bool[Tensor, " frames"],
    learning: Bool[Tensor, " frames"],
    config: QualityConfig,
) -> Judgement:
    """Judge every frame.

    Args:
        view: its measures of quality count where the capture has them.
        seen: frames with a face.
        learning: training frames, which say what is usual.
    """
    usual = seen & learning if bool((seen & learning).any()) else seen
    usual_m = float(error_m[usual].median())
    # Towards the profile the detector's mesh, and with it the fitted head, stays behind: the larger angle is believed.
    yaw_deg = torch.maximum(yaw_rad(state.rotation).abs().rad2deg(), _measured(view, "yaw_deg", 0.0).abs())
    flaws = {
        Flaw.NO_FACE: ~seen,
        Flaw.TURNED: seen & (yaw_deg > config.largest_yaw_deg),
        Flaw.BLURRED: blurred(view, usual, config),
        **_covered(view, seen, yaw_deg, config),
    }
    over = flaws[Flaw.HAND] | flaws[Flaw.COVERED] | flaws[Flaw.MISPLACED]
    confidence = trust(error_m, usual_m, yaw_deg, config) * _measured(view, "confidence", 1.0).clamp(0.0, 1.0)
    confidence = confidence * torch.where(over, 1.0 - _measured(view, "occlusion", 0.0).clamp(0.0, 1.0), 1.0)
    confidence = torch.where(seen, confidence, 0.0)
    flaws[Flaw.UNSURE] = seen & (confidence < config.least_confidence)
    usable = ~torch.stack(list(flaws.values())).any(0)
    score = float((confidence * usable).mean())
    quality = TrackQuality(flaws, score, (), usual_m)
    sentences = told(quality, view.times_s, yaw_deg, view.quality)
    return Judgement(confidence, usable, TrackQuality(flaws, score, sentences, usual_m))


def sound(
    view: CaptureView, seen: Bool[Tensor, " frames"], learning: Bool[Tensor, " frames"], config: QualityConfig
) -> Bool[Tensor, " frames"]:
    """Frames to learn from, as far as the capture's measures alone tell, before anything is fitted.

    Where none is left, all frames that show a face are better than nothing.
    """
    turned = _measured(view, "yaw_deg", 0.0).abs() > config.largest_yaw_deg
    covered = _measured(view, "occlusion", 0.0) > config.largest_occlusion
    good = seen & ~turned & ~covered & ~blurred(view, seen & learning, config)
    return good if bool((good & learning).any()) else seen


def blurred(view: CaptureView, usual: Bool[Tensor, " frames"], config: QualityConfig) -> Bool[Tensor, " frames"]:
    """Frames far less sharp than the usual ones."""
    if "sharpness" not in view.quality or not bool(usual.any()):
        return torch.zeros_like(usual)
    sharpness = view.quality["sharpness"]
    return sharpness < config.sharpness_share * sharpness[usual].nanmedian()


def runs(flags: Bool[Tensor, " frames"]) -> Iterator[slice]:
    """Stretches of neighbouring frames that are True."""
    edges = torch.nn.functional.pad(flags.int(), (1, 1)).diff()
    starts, ends = torch.nonzero(edges == 1)[:, 0].tolist(), torch.nonzero(edges == -1)[:, 0].tolist()
    return (slice(start, end) for start, end in zip(starts, ends, strict=True))


def _covered(
    view: CaptureView, seen: Bool[Tensor, " frames"], yaw_deg: Float[Tensor, " frames"], config: QualityConfig
) -> dict[Flaw, Bool[Tensor, " frames"]]:
    """Frames in which something lies over the face, by what it is.

    Where colours do not fit although no hand is seen, and the head comes out of or goes into a turn, it is the
    landmarks that are wrong: a fast turn is no hand.
    """
    share, hands = _measured(view, "occlusion", 0.0), _measured(view, "hands", 0.0)
    lost = torch.nn.functional.max_pool1d((~seen | (yaw_deg > _SIDE_DEG))[None].float(), 3, 1, 1)[0] > 0
    found = {flaw: torch.zeros_like(seen) for flaw in (Flaw.HAND, Flaw.COVERED, Flaw.MISPLACED)}
    for run in runs(seen & (share > _FRINGE * config.largest_occlusion)):
        if float(share[run].max()) <= config.largest_occlusion:
            continue
        hand, beside = bool((hands[run] > _HAND).any()), bool(lost[run].any())
        lasting_s = float(view.times_s[run.stop - 1] - view.times_s[run.start])
        if hand or beside or lasting_s >= _SHORTEST_S:
            found[Flaw.HAND if hand else Flaw.MISPLACED if beside else Flaw.COVERED][run] = True
    return found


def _measured(view: CaptureView, name: str, otherwise: float) -> Float[Tensor, " frames"]:
    values = view.quality.get(name)
    return torch.full((len(view.times_s),), otherwise) if values is None else values.nan_to_num(otherwise)
