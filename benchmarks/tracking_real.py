"""Real clips, for which there is no truth: what the tracker was not shown, and what it must not lose.

* withheld landmarks: a fifth of the detector's landmarks, spread over face, lips and lids, takes no part in the fit and
  measures it, in percent of the distance of the outer eye corners (docs/protocol.md);
* pictures: PSNR of held-out frames under a static texture;
* jitter of the head in its stillest seconds against the detector's own, with what is kept of blinks and lip closures.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

import headstudio
from headstudio.capture.ingest import ingest
from headstudio.evaluation.bootstrap import BootstrapConfig, mean_interval
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.records.capture import Capture
from headstudio.records.track import Track
from headstudio.tracking.config import TrackingConfig
from headstudio.tracking.observations import IRISES, LEFT_LIDS, LIPS, OVAL, RIGHT_LIDS
from tracking_pictures import held_out_psnr
from tracking_rows import Heads, Scores
from tracking_signals import (
    apertures,
    closures,
    eye_distance_px,
    kept,
    landmarks_px,
    rigid_landmarks,
    shake,
    still_seconds,
)

CLIPS = (
    "whgov_address_720p25_20s", "model_man_1080x1920p25_20s", "model_hands_1080x1920p30_20s", "webcam_400x300p25_30s",
)  # fmt: skip
WITHHELD_SHARE = 0.2


@dataclass(frozen=True)
class RealClip:
    """One filmed clip, ingested."""

    name: str
    capture: Capture

    def judge(self, found: Track, heads: Heads, config: TrackingConfig) -> tuple[Scores, dict[str, Tensor]]:
        """By what the tracker was not shown."""
        return score_real(found, self.capture, heads[found.identity.head], config.solve.withheld)


def short_name(name: str) -> str:
    """A file's name without what its picture is like."""
    return name.split("_address")[0].split("_1080")[0].split("_400")[0]


def ingested(video: Path, folder: Path) -> RealClip:
    """A clip's capture, made where it is not there yet."""
    place = folder / video.stem
    if not (place / "capture.json").exists():
        ingest(video, place)
    return RealClip(short_name(video.stem), Capture.load(place))


def withheld_landmarks() -> tuple[int, ...]:
    """The landmarks that measure: of the lids, of the lips and of the rest a fifth each, as far apart as can be.

    Irises and face oval have no part in it: the first are too few, the second lie nowhere in particular on the head.
    """
    head = load_head("makehuman")
    tables = Path(headstudio.__file__).parent / "heads" / "tables"
    trusted = (head.landmark_weight > 0.5) & (load_file(tables / "ict_landmarks.safetensors")["weight"] > 0.5)
    points_m = head.landmark_points(head.template_m[None])[0]
    lids, lips = set(RIGHT_LIDS + LEFT_LIDS), set(LIPS)
    rest = set(range(len(points_m))) - lids - lips - set(OVAL) - set(IRISES)
    chosen: list[int] = []
    for group in (lids, lips, rest):
        known = [index for index in sorted(group) if trusted[index]]
        chosen += [known[place] for place in _far_apart(points_m[known], round(WITHHELD_SHARE * len(known)))]
    return tuple(sorted(chosen))


def _far_apart(points: Tensor, count: int) -> list[int]:
    """Farthest-point sampling, begun at the point nearest to the middle."""
    chosen = [int((points - points.mean(0)).norm(dim=1).argmin())]
    distance = (points - points[chosen[0]]).norm(dim=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (points - points[chosen[-1]]).norm(dim=1))
    return chosen


def score_real(
    track: Track, capture: Capture, head: HeadModel, withheld: tuple[int, ...]
) -> tuple[dict[str, float | None], dict[str, Tensor]]:
    """Scores by name, and the series they summarise."""
    raw = capture.views[0].landmarks_px[..., :2].double()
    found = landmarks_px(track, head, capture.size_px)
    unit_px = eye_distance_px(raw)
    scores: dict[str, float | None] = frame_scores(track, capture, found)
    series: dict[str, Tensor] = {}
    if withheld:
        error_pct = (found - raw)[:, list(withheld)].norm(dim=-1).mean(1) / unit_px * 100.0
        series["withheld_pct"] = error_pct[capture.split.held_out_start :]
        scores |= _interval("withheld_pct", series["withheld_pct"])
        scores["withheld_pct_training"] = float(error_pct[: capture.split.train_end].nanmean())
    series["psnr_db"] = held_out_psnr(track, capture, head)
    scores |= _interval("psnr_db", series["psnr_db"])
    scores |= _movement(raw, found, track.times_s, rigid_landmarks(head), unit_px, series)
    return scores, series


def frame_scores(track: Track, capture: Capture, found_px: Tensor) -> dict[str, float | None]:
    """Shares of the capture's frames: seen by the detector, with numbers in the track, called usable by it."""
    seen = torch.isfinite(capture.views[0].landmarks_px).flatten(1).all(1)
    finite = torch.isfinite(found_px).flatten(1).all(1) & torch.isfinite(track.expression).all(1)
    return {
        "frames": float(capture.frames),
        "frames_share": float(finite.sum()) / capture.frames,
        "detected_share": float(seen.float().mean()),
        "usable_share": float(track.usable.float().mean()),
    }


def _movement(
    raw: Tensor, found: Tensor, times_s: Tensor, rigid: Tensor, unit_px: float, series: dict[str, Tensor]
) -> dict[str, float | None]:
    still = still_seconds(raw[:, rigid], times_s)
    scores: dict[str, float | None] = {
        "jitter_raw_pct": shake(raw[:, rigid], still) / unit_px * 100.0,
        "jitter_pct": shake(found[:, rigid], still) / unit_px * 100.0,
    }
    times = times_s.double().numpy()
    for name, was, now in zip(("lids", "lips"), apertures(raw), apertures(found), strict=True):
        events = [float(times[frame]) for frame in closures(was, times)]
        series |= {f"{name}_raw": torch.from_numpy(was), f"{name}": torch.from_numpy(now)}
        series[f"{name}_closed_s"] = torch.tensor(events, dtype=torch.float64)
        scores |= {f"{name}_closures": float(len(events)), f"{name}_kept_of_raw": kept(now, was, times, events)}
    series["times_s"] = times_s.double()
    return scores


def kept_against(series: dict[str, Tensor], unsmoothed: dict[str, Tensor]) -> dict[str, float | None]:
    """What a track keeps of the closures' depth that another track of the same clip has."""
    times = series["times_s"].numpy()
    return {
        f"{name}_kept": kept(series[name].numpy(), unsmoothed[name].numpy(), times, series[f"{name}_closed_s"].tolist())
        for name in ("lids", "lips")
    }


def _interval(name: str, values: Tensor) -> dict[str, float | None]:
    found = mean_interval(values, BootstrapConfig())
    if found is None:
        return {name: None}
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
