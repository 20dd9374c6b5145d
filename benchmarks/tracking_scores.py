"""What one track of a synthetic actor is worth: its scores against the truth (docs/protocol.md).

The heads differ, and so do their frames: rotations and directions of gaze are compared after one constant rotation a
clip, surfaces after one similarity a clip.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import roma
import torch
from scipy.signal import find_peaks
from torch import Tensor

from headstudio.geometry.camera import Camera
from headstudio.heads.arkit import ARKIT_INDEX
from headstudio.heads.base import Articulation, HeadModel
from headstudio.records.capture import Capture
from headstudio.records.track import Track
from headstudio.render.rasterise import rasterise
from headstudio.synth.truth import Truth
from tracking_signals import apertures, eye_distance_px, kept, landmarks_px, rigid_landmarks, shake
from tracking_surface import Similarity, Surface, lay_over, similarity_between

CHANNELS = (
    "jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft", "mouthSmileRight", "mouthPucker", "browInnerUp",
)  # fmt: skip
BLINK_TOLERANCE_S = 0.12
BLINK_LEVEL = 0.5
"""A blink is a peak of the mean of both eyeBlink above this share of the way from the clip's median to maximum ..."""
LEAST_BLINK_RANGE = 0.15
"""... where that way is at least this long."""
_LEAST_TRUE_RANGE = 0.2
"""A channel that hardly moves in truth has no correlation worth a name."""
_SURFACE_FRAMES = 24
_SEEN_PX, _OPEN = 768, 0.25
_SHUT = 0.5
"""Above this true eyeBlink the gaze cannot be seen and is not scored."""
_INSIDE = ("eyeballs", "eyelashes", "mouth_cavity", "teeth", "tongue")


@dataclass(frozen=True)
class Pair:
    """A track and the truth at the same frames."""

    track: Track
    truth: Truth
    capture: Capture
    fitted: HeadModel
    """The head model of the track."""
    actor: HeadModel
    """The head model of the actor."""

    @property
    def rows(self) -> Tensor:
        """Frame of the truth for every frame of the track: the nearest in time."""
        start_s = self.capture.views[0].source.start_s
        return (self.track.times_s[:, None] + start_s - self.truth.times_s).abs().argmin(1)

    @property
    def turns(self) -> tuple[Tensor, Tensor]:
        """Head rotations in the camera, found and true, (frames, 3, 3)."""
        return self.track.T_world_head[:, :3, :3].double(), self.truth.T_camera_head[self.rows, :3, :3].double()

    def posed(self, frames: Tensor) -> Tensor:
        """The tracked head in its own frame, (frames, vertices, 3)."""
        track = self.track
        state = Articulation(*(v[frames] for v in (track.expression, track.neck_rad, track.jaw_rad, track.gaze_rad)))
        return self.fitted.pose(self.neutral()[None], state)

    def neutral(self) -> Tensor:
        """The tracked person's neutral head, (vertices, 3)."""
        identity = self.track.identity
        offsets = None if identity.offsets_m is None else identity.offsets_m[None]
        return self.fitted.neutral(identity.coefficients[None], offsets)[0]


def score(pair: Pair) -> tuple[dict[str, float | None], dict[str, Tensor]]:
    """All scores by name, None where the clip cannot tell; and the errors over time behind them."""
    turns, gaze, surface, landmarks = (
        turn_error_deg(*pair.turns), gaze_errors_deg(pair), surface_errors_mm(pair), landmark_errors_pct(pair)
    )  # fmt: skip
    scores = {
        **frame_scores(pair),
        **_spread("rotation_deg", turns),
        **_spread("surface_mm", surface["posed"].flatten()),
        **_spread("neutral_mm", surface["neutral"].flatten()),
        **_spread("landmarks_pct", landmarks),
        **{key: value for name, angles in gaze.items() for key, value in _spread(name, angles.flatten()).items()},
        **expression_scores(pair),
        **blink_scores(pair),
        **movement_scores(pair),
        **perspective_scores(pair),
    }
    series = {
        "rotation_deg": turns, "gaze_deg": gaze["gaze_deg"].mean(1), "surface_mm": surface["posed"].mean(1),
        "landmarks_pct": landmarks,
    }  # fmt: skip
    return scores, series


def frame_scores(pair: Pair) -> dict[str, float | None]:
    """Share of the film's frames that the track has numbers for, and of those that it calls usable."""
    track, frames = pair.track, len(pair.truth.times_s)
    tables = (track.expression, track.arkit, track.gaze_rad, track.T_world_head, track.confidence)
    finite = torch.stack([torch.isfinite(table).reshape(len(table), -1).all(1) for table in tables]).all(0)
    return {"frames_share": float(finite.sum()) / frames, "usable_share": float(track.usable.float().mean())}


def mean_turn(found: Tensor, true: Tensor) -> Tensor:
    """The constant rotation from the true head's frame to the tracked head's: chordal mean of found^T true."""
    mean = roma.special_procrustes((found.transpose(-1, -2) @ true).sum(0))
    assert isinstance(mean, Tensor)
    return mean


def turn_error_deg(found: Tensor, true: Tensor) -> Tensor:
    """Angle between rotations (frames, 3, 3) after one constant rotation."""
    left = mean_turn(found, true).T @ found.transpose(-1, -2) @ true
    return torch.rad2deg(roma.rotmat_to_rotvec(left).norm(dim=-1))


def surface_errors_mm(pair: Pair) -> dict[str, Tensor]:
    """Distance in mm (of the true head) of its face's vertices to the tracked surface, (frames, points)."""
    frames = torch.linspace(0, pair.track.frames - 1, _SURFACE_FRAMES).long()
    face = seen_face(pair.actor, pair.truth.neutral_m)
    true, posed = pair.truth.vertices_m[pair.rows[frames]].double(), pair.posed(frames).double()
    resting = pair.truth.neutral_m.double()[None], pair.neutral().double()[None]
    return {"posed": _surface_mm(pair, true, posed, face), "neutral": _surface_mm(pair, *resting, face)}


def _surface_mm(pair: Pair, true: Tensor, posed: Tensor, face: Tensor) -> Tensor:
    triangles = outside(pair.fitted)
    surfaces = [Surface(vertices, triangles) for vertices in posed]
    clouds = [vertices[face] for vertices in true]
    onto = lay_over(clouds, surfaces, _start(pair, true, posed))
    apart = [surface.distance(onto(cloud)) for surface, cloud in zip(surfaces, clouds, strict=True)]
    return torch.stack(apart) / onto.scale * 1000.0


def _start(pair: Pair, true: Tensor, posed: Tensor) -> Similarity:
    weight = (pair.actor.landmark_weight * pair.fitted.landmark_weight).double()
    source = pair.actor.landmark_points(true.float()).double()
    target = pair.fitted.landmark_points(posed.float()).double()
    return similarity_between(source.flatten(0, 1), target.flatten(0, 1), weight.repeat(len(source)))


def seen_face(head: HeadModel, neutral_m: Tensor) -> Tensor:
    """Vertices of the face region that are open to view: no depths of the nostrils, no inner lips.

    Args:
        neutral_m: (vertices, 3) of the person at rest; a vertex counts that is seen from a quarter of the directions.
    """
    camera = Camera.from_focal(4.0 * _SEEN_PX, _SEEN_PX, _SEEN_PX)
    triangles, seen = head.data.triangles, torch.zeros(len(neutral_m))
    facing = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    views_deg = list(product((-60, -30, 0, 30, 60), (-30, -15, 0, 15, 30)))
    for view_deg in views_deg:
        turn = roma.euler_to_rotmat("YX", torch.deg2rad(torch.tensor(view_deg)).float())
        points = neutral_m.float() @ (facing @ turn).T + torch.tensor([0.0, 0.0, 1.5])
        drawn = rasterise(points[None], triangles, camera).triangle
        seen[triangles[drawn[drawn >= 0].long()].long().unique()] += 1.0 / len(views_deg)
    return (seen >= _OPEN) & head.region("face")


def outside(head: HeadModel) -> Tensor:
    """Triangles of the skin: all but eyeballs, lashes and what lies in the mouth."""
    inside = head.region(*_INSIDE) & ~head.region("lips", "face")
    triangles = head.data.triangles.long()
    return triangles[~inside[triangles].any(1)]


def landmark_errors_pct(pair: Pair) -> Tensor:
    """Mean distance a frame of tracked and true places of the landmarks in the picture, in percent of the eye distance.

    Both heads say where the landmarks lie on them, and a part of what is left is that they do not say the same.
    """
    true = true_landmarks_px(pair)
    known = (pair.fitted.landmark_weight > 0.5) & torch.isfinite(true).all(-1).all(0)
    found = landmarks_px(pair.track, pair.fitted, pair.capture.size_px)
    return (found - true)[:, known].norm(dim=-1).mean(1) / eye_distance_px(true) * 100.0


def true_landmarks_px(pair: Pair) -> Tensor:
    """Where the landmarks truly are in the stored frames, (frames, 478, 2); NaN where the actor's head has none."""
    crop, size_px = pair.capture.views[0].crop, pair.capture.size_px
    return (pair.truth.landmarks_px[pair.rows] - torch.tensor([crop.left_px, crop.top_px])) * size_px / crop.side_px


def expression_scores(pair: Pair) -> dict[str, float | None]:
    """Correlation over the clip of each channel and the regression slope of what was found on what was done."""
    told: dict[str, float | None] = {}
    for name in CHANNELS:
        column = ARKIT_INDEX[name]
        found, true = pair.track.arkit[:, column].double(), pair.truth.arkit[pair.rows, column].double()
        told[f"correlation_{name}"], told[f"amplitude_{name}"] = agreement(found, true)
    return told


def agreement(found: Tensor, true: Tensor) -> tuple[float | None, float | None]:
    """Pearson's correlation and the slope of found over true; nothing where the truth hardly moves."""
    if float(true.max() - true.min()) < _LEAST_TRUE_RANGE:
        return None, None
    f, t = found - found.mean(), true - true.mean()
    both, spread = float(f @ t), float(f.norm() * t.norm())
    return (both / spread if spread > 0 else 0.0), both / float(t @ t)


def blink_scores(pair: Pair) -> dict[str, float | None]:
    """How many blinks there were, were found, and were both."""
    columns = [ARKIT_INDEX["eyeBlinkLeft"], ARKIT_INDEX["eyeBlinkRight"]]
    times = pair.track.times_s + pair.capture.views[0].source.start_s
    found = blink_times(pair.track.arkit[:, columns].mean(1).double(), times)
    true = pair.truth.blinks_s.tolist()
    hits = float(matched(found, true))
    counts = {"blinks_true": float(len(true)), "blinks_found": float(len(found)), "blinks_matched": hits}
    return counts | {"blink_precision": hits / len(found) if found else None, "blink_recall": hits / len(true)}


def blink_times(lids: Tensor, times_s: Tensor) -> list[float]:
    """Times of the peaks of a lid signal, by the rule of `BLINK_LEVEL`."""
    base, top = float(lids.median()), float(lids.max())
    if top - base < LEAST_BLINK_RANGE:
        return []
    level, step_s = base + BLINK_LEVEL * (top - base), float(times_s.diff().median())
    padded = np.pad(lids.numpy(), 1, constant_values=float(lids.min()))
    apart = max(1, round(0.2 / step_s))
    peaks, _ = find_peaks(padded, height=level, prominence=0.25 * (top - base), distance=apart)
    return times_s[torch.from_numpy(peaks - 1)].tolist()


def matched(found: list[float], true: list[float]) -> int:
    """Number of pairs within the tolerance, each event in one pair at most, nearest first."""
    pairs = sorted((abs(f - t), i, j) for i, f in enumerate(found) for j, t in enumerate(true))
    used_found: set[int] = set()
    used_true: set[int] = set()
    for apart, i, j in pairs:
        if apart <= BLINK_TOLERANCE_S + 1e-6 and i not in used_found and j not in used_true:
            used_found.add(i)
            used_true.add(j)
    return len(used_found)


def movement_scores(pair: Pair) -> dict[str, float | None]:
    """Jitter against truth, the detector's beside it, and what is left of blinks and lip closures in the picture."""
    found, true = landmarks_px(pair.track, pair.fitted, pair.capture.size_px), true_landmarks_px(pair)
    raw = pair.capture.views[0].landmarks_px[..., :2].double()
    seen = torch.isfinite(raw).flatten(1).all(1)
    rigid, everything = rigid_landmarks(pair.fitted), [slice(0, len(found))]
    rigid = rigid[torch.isfinite(true[:, rigid]).all(-1).all(0)]
    filled = torch.where(seen[:, None, None], raw, true)[:, rigid]
    unit_px = eye_distance_px(true)
    times = (pair.track.times_s + pair.capture.views[0].source.start_s).double().numpy()
    events_s = {"lids": pair.truth.blinks_s.tolist(), "lips": pair.truth.closures_s.tolist()}
    told: dict[str, float | None] = {
        "jitter_pct": shake(found[:, rigid] - true[:, rigid], everything) / unit_px * 100.0,
        "jitter_raw_pct": shake(filled - true[:, rigid], everything) / unit_px * 100.0,
    }
    for points, ending in ((found, ""), (raw, "_raw")):
        for (name, moments), now, was in zip(events_s.items(), apertures(points), apertures(true), strict=True):
            told[f"{name}_kept{ending}"] = kept(now, was, times, moments)
    return told


def gaze_errors_deg(pair: Pair) -> dict[str, Tensor]:
    """Angles between directions of gaze, (frames with open eyes, 2 eyes).

    * `gaze_deg`: in the head, after one constant rotation a clip that carries true onto found directions;
    * `gaze_raw_deg`: in the head, with no rotation but that between the two heads' frames;
    * `gaze_camera_deg`: in the camera, with nothing removed.
    """
    found_turn, true_turn = pair.turns
    rows = pair.rows
    found, true = directions(pair.track.gaze_rad), directions(pair.truth.gaze_rad[rows])
    lids = pair.truth.arkit[rows][:, [ARKIT_INDEX["eyeBlinkLeft"], ARKIT_INDEX["eyeBlinkRight"]]]
    seen = lids.amax(1) < _SHUT
    same_frame = true @ mean_turn(found_turn, true_turn).T
    moved = roma.special_procrustes(found[seen].flatten(0, 1).T @ true[seen].flatten(0, 1))
    assert isinstance(moved, Tensor)
    return {
        "gaze_deg": angle_deg(found, true @ moved.T)[seen],
        "gaze_raw_deg": angle_deg(found, same_frame)[seen],
        "gaze_camera_deg": angle_deg(found @ found_turn.mT, true @ true_turn.mT)[seen],
    }


def directions(gaze_rad: Tensor) -> Tensor:
    """Unit directions (frames, 2, 3) in the head of eyeballs turned by rotation vectors."""
    return roma.rotvec_to_rotmat(gaze_rad.double())[..., 2]


def angle_deg(one: Tensor, other: Tensor) -> Tensor:
    """Angles between unit vectors."""
    return torch.rad2deg(torch.atan2(torch.linalg.cross(one, other).norm(dim=-1), (one * other).sum(-1)))


def perspective_scores(pair: Pair) -> dict[str, float | None]:
    """1/f found over 1/f true, and the difference of (longer side of the film)/f."""
    crop, track = pair.capture.views[0].crop, pair.track
    K_px = next(iter(track.views.values())).K_px
    found_px = float(K_px[:, 0, 0].double().mean()) * crop.side_px / pair.capture.size_px
    true_px = float(pair.truth.K_px[0, 0, 0])
    side = max(pair.truth.width_px, pair.truth.height_px)
    return {"perspective_ratio": true_px / found_px, "perspective_difference": side / found_px - side / true_px}


def _spread(name: str, values: Tensor) -> dict[str, float | None]:
    median, p95 = torch.quantile(values.double(), torch.tensor([0.5, 0.95], dtype=torch.float64)).tolist()
    return {f"{name}_median": median, f"{name}_p95": p95}
