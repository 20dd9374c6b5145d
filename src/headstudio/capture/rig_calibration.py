"""From films on one clock to calibrated cameras: what is seen of the rigid head, a start, and the bundle adjustment."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial.transform import Rotation

from headstudio.capture.clocks import Filmed, Offset
from headstudio.capture.face_measures import STABLE_CM, weak_pose
from headstudio.capture.rig_bundle import Belief, Rig, Sightings, Solved, solve_rig
from headstudio.capture.rig_cameras import RigCamera, from_first
from headstudio.errors import HeadstudioError

_FRAMES = 48
"""Most moments that the cameras are learned from, spread over the movement of the head."""
_LEAST_FRAMES = 8
"""Moments at which a view and another one see the face."""
_FOCAL = 1.3
"""Expected focal length over the longer side of the film, between phones and studios."""
_FOCAL_DEVIATION = 0.4
"""Of its logarithm."""
_ALIKE, _UNLIKE = 0.02, 0.3
"""Deviation of one focal length's logarithm from that of the others, for films of one size and of different ones."""
_LOOSE_SHAPE_M = 0.02
"""Where cameras are known, they say how large the head is."""
_MOST_APART_DEG = 12.0
"""Between a camera that is told and where the films alone would put it, which errs by three degrees."""
_WORST = 0.05
"""Median distance of landmarks from where the rig would have them, over the size of the face, at which it is wrong."""


class Calibration(NamedTuple):
    """Cameras of all views; world is that of the first."""

    cameras: tuple[RigCamera, ...]
    """With clocks, those of a whole film."""
    error: float
    """Median distance of landmarks from where the rig would have them, over the size of the face."""
    focal_deviation: Float[np.ndarray, " views"]
    """Of the logarithms; 0 where the cameras were given."""


@dataclass(frozen=True)
class Films:
    """What is known of all films, the first of which gives clock and world."""

    seen: tuple[Filmed, ...]
    """Each on its own clock."""
    offsets: tuple[Offset, ...]
    """To the first's clock."""
    sizes_px: tuple[tuple[int, int], ...]
    """Widths and heights of the upright films."""
    ticks_s: Float[np.ndarray, " ticks"]
    """Moments on the first's clock that may be learned from."""
    paths: tuple[Path, ...]


def calibrate_rig(films: Films, given: Sequence[RigCamera] | None = None) -> Calibration:
    """The cameras of the films.

    Args:
        given: cameras that are known, which are only checked.

    Raises:
        HeadstudioError: where a view shares too few moments with the others, or the views do not fit together.
    """
    whole = _sightings(films)
    _check_common(films, whole.seen)
    chosen = _spread(films, whole.seen)
    seen = Sightings(whole.points_px[:, chosen])
    solved = _solved(films, seen, None)
    _check_fit(films, solved, given)
    if given is None:
        return _told(films, solved, None)
    _check_turns(films, solved, from_first(given, 0))
    solved = _solved(films, seen, given)
    _check_fit(films, solved, given)
    return _told(films, solved, given)


def _solved(films: Films, seen: Sightings, given: Sequence[RigCamera] | None) -> Solved:
    belief = _belief(films, given)
    return solve_rig(seen, _start(films, seen, belief, given), belief)


def _sightings(films: Films) -> Sightings:
    """The rigid points of all films at the ticks, on straight lines between the frames beside them."""
    points = []
    for film, offset in zip(films.seen, films.offsets, strict=True):
        own_s = films.ticks_s - offset.seconds
        right = np.searchsorted(film.times_s, own_s).clip(1, len(film.times_s) - 1)
        before_s, after_s = film.times_s[right - 1], film.times_s[right]
        stable = film.landmarks_px[:, list(STABLE_CM), :2].astype(np.float64)
        speed = (stable[right] - stable[right - 1]) / (after_s - before_s)[:, None, None]
        points.append(stable[right - 1] + speed * (own_s - before_s)[:, None, None])
    return Sightings(np.stack(points))


def _check_common(films: Films, seen: Bool[np.ndarray, "views ticks"]) -> None:
    for index in range(1, len(seen)):
        both = int((seen[0] & seen[index]).sum())
        if both < _LEAST_FRAMES:
            raise HeadstudioError(
                f"this film and {films.paths[0].name} show the face at the same time in only {both} frames",
                where=films.paths[index],
                next_step="film so that the face stays in all pictures, or leave this film out",
            )


def _spread(films: Films, seen: Bool[np.ndarray, "views ticks"]) -> Int[np.ndarray, " chosen"]:
    """Moments that differ most in how the head is turned and where it is, among those that all views see if there are
    enough of them."""
    for least in range(len(seen), 1, -1):
        candidates = np.nonzero(seen[0] & (seen.sum(0) >= least))[0]
        if len(candidates) >= _LEAST_FRAMES:
            break
    pose = weak_pose(_interpolated(films, candidates))
    features = np.concatenate(
        [pose.rotation()[..., 2] / 0.1, pose.offset_px / np.ptp(pose.head_box_px()[:, ::2], axis=1).mean() / 0.1], 1
    )
    chosen = [int(np.linalg.norm(features - np.median(features, 0), axis=1).argmin())]
    distance = np.full(len(candidates), np.inf)
    while len(chosen) < min(_FRAMES, len(candidates)):
        distance = np.minimum(distance, np.linalg.norm(features - features[chosen[-1]], axis=1))
        chosen.append(int(distance.argmax()))
    return np.sort(candidates[chosen])


def _interpolated(films: Films, ticks: np.ndarray) -> np.ndarray:
    """Landmarks of the first film at the frames nearest to some ticks."""
    clock_s = films.seen[0].times_s
    nearest = np.abs(clock_s[:, None] - films.ticks_s[ticks]).argmin(0)
    return films.seen[0].landmarks_px[nearest]


def _belief(films: Films, given: Sequence[RigCamera] | None) -> Belief:
    shape_m = np.array(list(STABLE_CM.values())) / 100
    alike = _ALIKE if len(set(films.sizes_px)) == 1 else _UNLIKE
    if given is not None:
        focal = np.log([np.sqrt(camera.K_px[0, 0] * camera.K_px[1, 1]) for camera in given])
        return Belief(focal, 0.0, alike, shape_m, True, _LOOSE_SHAPE_M)
    return Belief(np.log([_FOCAL * max(size) for size in films.sizes_px]), _FOCAL_DEVIATION, alike, shape_m)


def _start(films: Films, seen: Sightings, belief: Belief, given: Sequence[RigCamera] | None) -> Rig:
    """Every view's own pose of the head, and cameras that bring them together."""
    principal = np.array([(width / 2, height / 2) for width, height in films.sizes_px])
    if given is not None:
        principal = np.array([camera.K_px[:2, 2] for camera in given])
    T = np.stack(
        [_poses(points, np.exp(f), c) for points, f, c in zip(seen.points_px, belief.log_focal, principal, strict=True)]
    )
    mask = seen.seen
    if given is None:
        cameras = np.stack([_between(T[0], T[view], mask[0] & mask[view]) for view in range(len(T))])
    else:
        cameras = from_first(given, 0)
    return Rig(belief.log_focal, principal, cameras, T[0], belief.shape_m)


def _poses(points_px: Float[np.ndarray, "frames points 2"], focal_px: float, principal_px: np.ndarray) -> np.ndarray:
    """`T_camera_head` of each frame by the weak-perspective map of the canonical face."""
    landmarks = np.full((len(points_px), 478, 3), np.nan)
    landmarks[:, list(STABLE_CM), :2] = points_px
    pose = weak_pose(landmarks)
    scale_px = np.linalg.svd(pose.linear[np.isfinite(pose.linear).all((1, 2))], compute_uv=False).mean(1) * 100
    T = np.tile(np.eye(4), (len(points_px), 1, 1))
    good = np.isfinite(pose.linear).all((1, 2))
    T[good, :3, :3] = pose.rotation()[good]
    depth_m = focal_px / scale_px
    T[good, :2, 3] = (pose.offset_px[good] - principal_px) / scale_px[:, None]
    T[good, 2, 3] = depth_m
    return T


def _between(T_first: np.ndarray, T_other: np.ndarray, both: np.ndarray) -> np.ndarray:
    """The still camera that explains best how the same head looks from two places."""
    T = T_other[both] @ np.linalg.inv(T_first[both])
    left, _, right = np.linalg.svd(T[:, :3, :3].mean(0))
    rotation = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    between = np.eye(4)
    between[:3, :3] = rotation
    between[:3, 3] = np.median(T_other[both, :3, 3] - T_first[both, :3, 3] @ rotation.T, 0)
    return between


def _check_fit(films: Films, solved: Solved, given: Sequence[RigCamera] | None) -> None:
    if solved.error < _WORST:
        return
    raise HeadstudioError(
        f"the films do not fit together: landmarks lie {solved.error:.0%} of the face's size from where they should",
        where=films.paths[0],
        next_step="check that all show the same moment of the same person from cameras that stand still"
        if given is None
        else "check the order of the films and of the cameras in the file",
    )


def _check_turns(films: Films, found: Solved, T_camera_world: np.ndarray) -> None:
    """Cameras that are known stand about where the films alone would put them."""
    for path, seen, told in zip(films.paths, found.rig.T_camera_world, T_camera_world, strict=True):
        apart = np.degrees(Rotation.from_matrix(seen[:3, :3] @ told[:3, :3].T).magnitude())
        if apart > _MOST_APART_DEG:
            raise HeadstudioError(
                f"the camera of this film is turned {apart:.0f} degrees from where the film shows it to be",
                where=path,
                next_step="check the order of the films and of the cameras in the file",
            )


def _told(films: Films, solved: Solved, given: Sequence[RigCamera] | None) -> Calibration:
    rig, cameras = solved.rig, []
    for view, (offset, (width, height)) in enumerate(zip(films.offsets, films.sizes_px, strict=True)):
        focal = float(np.exp(rig.log_focal[view]))
        x, y = rig.principal_px[view]
        K_px = np.array([[focal, 0.0, x], [0.0, focal, y], [0.0, 0.0, 1.0]])
        camera = RigCamera(width, height, K_px, rig.T_camera_world[view], offset.seconds)
        if given is not None:
            camera = replace(camera, K_px=given[view].K_px, T_camera_world=from_first(given, 0)[view])
        cameras.append(camera)
    return Calibration(
        tuple(cameras), solved.error, solved.focal_deviation if given is None else np.zeros(len(cameras))
    )
