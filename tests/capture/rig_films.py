"""A head that turns, nods, talks and blinks before still cameras, as the detector would see it: 478 landmarks of a
canonical face, whose clocks do not agree."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from headstudio.capture.clocks import Filmed, Offset, common_ticks
from headstudio.capture.face_measures import STABLE_CM
from headstudio.capture.rig_calibration import Films

WIDTH, HEIGHT, FOCAL = 640, 480, 900.0
DISTANCE_M = 0.8
_FACING = np.diag([1.0, -1.0, -1.0])
_LIPS, _LIDS, _CORNERS = (13, 14), ((386, 374), (159, 145)), ((362, 263), (33, 133))


@dataclass(frozen=True)
class Camera:
    """One of the cameras, and how it films."""

    yaw_deg: float = 0.0
    starts_s: float = 0.0
    """On the clock of the scene."""
    fps: float = 25.0
    focal_px: float = FOCAL

    @property
    def T_camera_world(self) -> np.ndarray:
        """World is a camera at 0 degrees, the head before it."""
        T = np.eye(4)
        T[:3, :3] = Rotation.from_euler("y", self.yaw_deg, degrees=True).as_matrix()
        centre = np.array([0.0, 0.0, DISTANCE_M])
        T[:3, 3] = centre - T[:3, :3] @ centre
        return T


def scene(times_s: np.ndarray, seed: int = 0) -> np.ndarray:
    """Landmarks in world axes at some moments, (frames, 478, 3) metres."""
    draw = np.random.default_rng(seed)
    cloud = draw.normal(0, 0.03, (478, 3)) + np.array([0.0, 0.0, 0.03])
    cloud[list(STABLE_CM)] = np.array(list(STABLE_CM.values())) / 100
    for (left, right), (upper, lower) in zip(_CORNERS, _LIDS, strict=True):
        cloud[[upper, lower]] = cloud[[left, right]].mean(0)
    frames = np.tile(cloud, (len(times_s), 1, 1))
    frames[:, _LIPS[0]], frames[:, _LIPS[1]] = (0.0, -0.035, 0.065), (0.0, -0.036, 0.065)
    waves = [_wave(times_s, seed + k) for k in range(8)]
    frames[:, _LIPS[1], 1] -= 0.02 * np.clip(waves[0], 0, None)
    for side, (upper, _) in enumerate(_LIDS):
        frames[:, upper, 1] += 0.005 + 0.003 * np.clip(waves[1] + 0.5 * waves[2 + side], -1, 1)
    angles = np.stack([0.2 * waves[4], 0.4 * waves[5], 0.08 * waves[6]], 1)
    place = np.stack([0.02 * waves[7], 0.01 * waves[6], 0.03 * waves[4]], 1)
    turned = np.einsum("fij,fpj->fpi", Rotation.from_euler("xyz", angles).as_matrix(), frames)
    return turned @ _FACING.T + (place + np.array([0.0, 0.0, DISTANCE_M]))[:, None]


def _wave(times_s: np.ndarray, seed: int) -> np.ndarray:
    draw = np.random.default_rng(1000 + seed)
    rates, phases = draw.uniform(0.2, 1.4, 4), draw.uniform(0, 6.3, 4)
    return np.sin(2 * np.pi * np.outer(times_s, rates) + phases).mean(1) * 2


def filmed(
    camera: Camera, seconds: float = 8.0, noise_px: float = 0.4, mirrored: bool = False, seed: int = 0
) -> Filmed:
    """What a detector that trembles sees."""
    clock_s = np.arange(round(seconds * camera.fps)) / camera.fps
    T = camera.T_camera_world
    points = scene(clock_s + camera.starts_s, seed) @ T[:3, :3].T + T[:3, 3]
    pixels = points[..., :2] / points[..., 2:] * camera.focal_px + (WIDTH / 2, HEIGHT / 2)
    depth = (points[..., 2:] - points[..., 2:].mean(1, keepdims=True)) * camera.focal_px / DISTANCE_M
    tremble = np.random.default_rng(round(camera.yaw_deg) + 500).normal(0, noise_px, (*points.shape[:2], 2))
    landmarks = np.concatenate([pixels + tremble, depth], 2)
    return Filmed(clock_s, seen_in_mirror(landmarks) if mirrored else landmarks)


def seen_in_mirror(landmarks_px: np.ndarray) -> np.ndarray:
    """What the detector sees in the mirrored film: a face whose left is its right."""
    swapped = landmarks_px.copy()
    swapped[..., 0] = WIDTH - swapped[..., 0]
    partner = np.arange(478)
    by_place = {place: index for index, place in STABLE_CM.items()}
    for index, (x, y, z) in STABLE_CM.items():
        partner[index] = by_place[(-x, y, z)] if (-x, y, z) in by_place else by_place[(x, y, z)]
    for (a, b), (c, d) in ((_LIDS[0], _LIDS[1]), (_CORNERS[0], _CORNERS[1][::-1])):
        partner[[a, b, c, d]] = [c, d, a, b]
    return swapped[:, partner]


def films_of(cameras: list[Camera], offsets: list[Offset], noise_px: float = 0.4) -> Films:
    """Films of some cameras on one clock."""
    seen = tuple(filmed(camera, noise_px=noise_px) for camera in cameras)
    ticks = common_ticks([film.times_s + offset.seconds for film, offset in zip(seen, offsets, strict=True)])
    paths = tuple(Path(f"view{index}.mp4") for index in range(len(seen)))
    return Films(seen, tuple(offsets), ((WIDTH, HEIGHT),) * len(seen), seen[0].times_s[ticks[0]], paths)
