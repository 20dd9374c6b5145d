"""Cameras from a head that moves in front of them: bundle adjustment of its rigid landmarks over time.

A head seen from three sides 35 degrees apart gives structure from motion too little to match. The detector's landmarks
match by their numbers, and forehead, temples, nose and eye corners move as one rigid body: over time they are the
calibration object. Cameras, the shape of the body and its pose in every frame are solved together
(Levenberg-Marquardt, Huber's cost). The canonical face says roughly what shape and size the body has, and with its
size how many metres a picture shows: lengths are known no better than that, unless the cameras are.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

_POSE = 6
_SHARED = 7
"""Unknowns of a camera: six of its place, the logarithm of its focal length."""
_NOISE_M = 0.002
_INDEPENDENCE = 0.05
"""Share of the sightings that carry news: neighbours err together, and the same way in every frame."""
_ROBUST = 2.5
_SHAPE_M = 0.006
"""Standard deviation of a person's points from the canonical face's."""
_STEPS = 60
_CONVERGED = 1e-7
_NEAREST_M = 0.05
_KEEN = 0.15
"""Weight that is left to points on the far side of the face, where the detector guesses."""


@dataclass(frozen=True)
class Sightings:
    """What the detector saw of the rigid points."""

    points_px: Float[np.ndarray, "views frames points 2"]
    """At the same moments in all views; not finite where there is no face. In pixels of the upright films."""

    @property
    def seen(self) -> Bool[np.ndarray, "views frames"]:
        """Where there is a face."""
        return np.asarray(np.isfinite(self.points_px).all((2, 3)))


@dataclass(frozen=True)
class Rig:
    """Cameras and the body before them."""

    log_focal: Float[np.ndarray, " views"]
    principal_px: Float[np.ndarray, "views 2"]
    T_camera_world: Float[np.ndarray, "views 4 4"]
    """Identity for the first view."""
    T_world_head: Float[np.ndarray, "frames 4 4"]
    shape_m: Float[np.ndarray, "points 3"]

    def projected(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (views, frames, points, 2) and points in camera axes (views, frames, points, 3)."""
        T = self.T_camera_world[:, None] @ self.T_world_head[None]
        camera_m = self.shape_m @ T[..., :3, :3].swapaxes(-1, -2) + T[..., None, :3, 3]
        depth = np.maximum(camera_m[..., 2:], _NEAREST_M)
        focal = np.exp(self.log_focal)[:, None, None, None]
        return camera_m[..., :2] / depth * focal + self.principal_px[:, None, None], camera_m


@dataclass(frozen=True)
class Belief:
    """What is believed before anything is seen; a deviation of 0 holds an unknown where it is."""

    log_focal: Float[np.ndarray, " views"]
    focal_deviation: float
    alike_deviation: float
    """Of a focal length's logarithm from the mean of all: rigs are mostly made of cameras of one kind."""
    shape_m: Float[np.ndarray, "points 3"]
    cameras_known: bool = False
    shape_deviation_m: float = _SHAPE_M


@dataclass(frozen=True)
class Solved:
    """A rig and how well it is known."""

    rig: Rig
    error: float
    """Median distance of points from where they were detected, over the size of the face."""
    focal_deviation: Float[np.ndarray, " views"]
    """Of the logarithm."""


def solve_rig(seen: Sightings, start: Rig, belief: Belief) -> Solved:
    """Bundle adjustment from a start that is roughly right."""
    rig, damping = start, 1e-3
    model = _linearised(seen, rig, belief)
    for _ in range(_STEPS):
        hessian, descent, cost = model
        damped = hessian + np.diag(np.diag(hessian) * damping)
        trial = _moved(rig, np.linalg.solve(damped, descent))
        trial_model = _linearised(seen, trial, belief)
        if trial_model[2] < cost:
            done = cost - trial_model[2] < _CONVERGED * cost
            rig, model, damping = trial, trial_model, max(damping * 0.3, 1e-9)
            if done:
                break
        else:
            damping *= 8
            if damping > 1e6:
                break
    views = len(rig.log_focal)
    variance = np.diag(np.linalg.inv(model[0]))[: views * _SHARED].reshape(views, _SHARED)[:, _POSE]
    return Solved(rig, _error(seen, rig), np.sqrt(variance))


def _linearised(seen: Sightings, rig: Rig, belief: Belief) -> tuple[np.ndarray, np.ndarray, float]:
    """Normal equations of cameras, then frames, then shape; held unknowns get a stiff spring."""
    pixels, camera_m = rig.projected()
    target = np.nan_to_num(seen.points_px)
    focal = np.exp(rig.log_focal)[:, None, None]
    noise_px = _NOISE_M * focal / np.maximum(camera_m[..., 2], _NEAREST_M)
    residual = (target - pixels) / noise_px[..., None]
    distance = np.linalg.norm(residual, axis=-1)
    share = _INDEPENDENCE * seen.seen[:, :, None] * _facing(rig, camera_m)
    bend = np.where(distance <= _ROBUST, 1.0, _ROBUST / np.maximum(distance, 1e-12)) * share
    cost = float((np.where(distance <= _ROBUST, 0.5 * distance**2, _ROBUST * (distance - _ROBUST / 2)) * share).sum())
    jacobians = _jacobians(rig, pixels, camera_m, noise_px)
    hessian, descent = _normal_equations(jacobians, np.sqrt(bend), residual)
    springs, pull, energy = _believed(rig, belief, pixels.shape[1])
    focals = np.arange(len(rig.log_focal)) * _SHARED + _POSE
    apart = rig.log_focal - rig.log_focal.mean()
    stiff = belief.alike_deviation**-2
    hessian[np.ix_(focals, focals)] += stiff * (np.eye(len(focals)) - 1 / len(focals))
    descent[focals] -= stiff * apart
    return hessian + np.diag(springs), descent + pull, cost + energy + 0.5 * stiff * float((apart**2).sum())


def _normal_equations(
    jacobians: tuple[np.ndarray, np.ndarray, np.ndarray],
    root: Float[np.ndarray, "views frames points"],
    residual: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Hessian and descent, block by block: a sighting concerns one camera, one frame and one point.

    Args:
        root: square roots of the weights.
    """
    camera, frame, shape = (part * root[..., None, None] for part in jacobians)
    force = residual * root[..., None]
    views, frames, points = root.shape
    first_frame, first_point = views * _SHARED, views * _SHARED + frames * _POSE
    size = first_point + 3 * points
    hessian, descent = np.zeros((size, size)), np.zeros(size)
    frame_frame = np.einsum("vfpci,vfpcj->fij", frame, frame)
    frame_shape = np.einsum("vfpci,vfpcj->fipj", frame, shape)
    for view in range(views):
        own = slice(view * _SHARED, (view + 1) * _SHARED)
        hessian[own, own] = np.einsum("fpci,fpcj->ij", camera[view], camera[view])
        with_frames = np.einsum("fpci,fpcj->ifj", camera[view], frame[view])
        hessian[own, first_frame:first_point] = with_frames.reshape(_SHARED, -1)
        hessian[own, first_point:] = np.einsum("fpci,fpcj->ipj", camera[view], shape[view]).reshape(_SHARED, -1)
    for index in range(frames):
        own = slice(first_frame + index * _POSE, first_frame + (index + 1) * _POSE)
        hessian[own, own] = frame_frame[index]
        hessian[own, first_point:] = frame_shape[index].reshape(_POSE, -1)
    for index, block in enumerate(np.einsum("vfpci,vfpcj->pij", shape, shape)):
        own = slice(first_point + 3 * index, first_point + 3 * index + 3)
        hessian[own, own] = block
    above = np.triu(hessian)
    descent[:first_frame] = np.einsum("vfpci,vfpc->vi", camera, force).ravel()
    descent[first_frame:first_point] = np.einsum("vfpci,vfpc->fi", frame, force).ravel()
    descent[first_point:] = np.einsum("vfpci,vfpc->pi", shape, force).ravel()
    return above + np.triu(above, 1).T, descent


def _jacobians(
    rig: Rig, pixels: np.ndarray, camera_m: np.ndarray, noise_px: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Derivatives of the standardised pixels by camera (rotation, translation, focal), frame and shape."""
    depth = np.maximum(camera_m[..., 2], _NEAREST_M)
    scale = np.exp(rig.log_focal)[:, None, None] / depth / noise_px
    by_place = np.zeros((*depth.shape, 2, 3))
    by_place[..., 0, 0] = by_place[..., 1, 1] = scale
    by_place[..., :, 2] = -camera_m[..., :2] / depth[..., None] * scale[..., None]
    by_focal = (pixels - rig.principal_px[:, None, None])[..., None] / noise_px[..., None, None]
    J_camera = np.concatenate([by_place @ -_cross(camera_m), by_place, by_focal], -1)
    rotation = rig.T_camera_world[:, None, None, :3, :3]
    by_world = by_place @ rotation
    turned = rig.shape_m @ rig.T_world_head[:, :3, :3].swapaxes(1, 2)
    J_frame = np.concatenate([by_world @ -_cross(turned)[None], by_world], -1)
    return J_camera, J_frame, by_world @ rig.T_world_head[None, :, None, :3, :3]


def _believed(rig: Rig, belief: Belief, frames: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Springs, pull and energy of what is believed of cameras and shape."""
    views = len(rig.log_focal)
    cameras, away = np.zeros((views, _SHARED)), np.zeros((views, _SHARED))
    held = 1e12
    cameras[0, :_POSE] = held
    if belief.cameras_known:
        cameras[:, :_POSE] = held
    known_focal = belief.focal_deviation == 0
    cameras[:, _POSE] = held if known_focal else belief.focal_deviation**-2
    away[:, _POSE] = 0.0 if known_focal else rig.log_focal - belief.log_focal
    shape = np.full(rig.shape_m.size, belief.shape_deviation_m**-2)
    springs = np.concatenate([cameras.ravel(), np.full(frames * _POSE, 1e-6), shape])
    off = np.concatenate([away.ravel(), np.zeros(frames * _POSE), (rig.shape_m - belief.shape_m).ravel()])
    return springs, -springs * off, float(0.5 * (springs * off**2).sum())


def _moved(rig: Rig, step: np.ndarray) -> Rig:
    views, frames = len(rig.log_focal), len(rig.T_world_head)
    cameras = step[: views * _SHARED].reshape(views, _SHARED)
    poses = step[views * _SHARED : views * _SHARED + frames * _POSE].reshape(frames, _POSE)
    T_camera = _exponential(cameras[:, :_POSE]) @ rig.T_camera_world
    T_camera[0] = np.eye(4)
    T_head = rig.T_world_head.copy()
    T_head[:, :3, :3] = Rotation.from_rotvec(poses[:, :3]).as_matrix() @ T_head[:, :3, :3]
    T_head[:, :3, 3] += poses[:, 3:]
    return replace(
        rig,
        log_focal=rig.log_focal + cameras[:, _POSE].clip(-0.3, 0.3),
        T_camera_world=T_camera,
        T_world_head=T_head,
        shape_m=rig.shape_m + step[views * _SHARED + frames * _POSE :].reshape(-1, 3),
    )


def _exponential(steps: Float[np.ndarray, "batch 6"]) -> Float[np.ndarray, "batch 4 4"]:
    T = np.tile(np.eye(4), (len(steps), 1, 1))
    T[:, :3, :3], T[:, :3, 3] = Rotation.from_rotvec(steps[:, :3]).as_matrix(), steps[:, 3:]
    return T


def _facing(rig: Rig, camera_m: np.ndarray) -> Float[np.ndarray, "views frames points"]:
    """1 for points that look at the camera, `_KEEN` for those on the far side; a head is round from above."""
    outwards = rig.shape_m * (1.0, 0.0, 1.0) + (0.0, 0.0, 0.06)
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    T = rig.T_camera_world[:, None, :3, :3] @ rig.T_world_head[None, :, :3, :3]
    normals = outwards @ T.swapaxes(-1, -2)
    towards = -camera_m / np.linalg.norm(camera_m, axis=-1, keepdims=True)
    return ((normals * towards).sum(-1) + 0.3).clip(_KEEN, 1.0)


def _error(seen: Sightings, rig: Rig) -> float:
    pixels, _ = rig.projected()
    distance = np.linalg.norm(seen.points_px - pixels, axis=-1)
    size = np.ptp(pixels, axis=2).max(-1)
    share = (distance / size[..., None])[seen.seen]
    return float(np.median(share))


def _cross(vectors: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*vectors.shape, 3)
