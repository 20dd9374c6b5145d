"""What the tracked head says about the pixels of a frame, before anybody looks at their colours."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch.nn.functional import one_hot

from headstudio.geometry.rigid import transform
from headstudio.heads.base import Articulation, HeadModel
from headstudio.heads.parsing import NAMED, vertex_labels
from headstudio.records.track import Track
from headstudio.render.labels import triangle_labels
from headstudio.render.rasterise import rasterise


@dataclass(frozen=True)
class Zones:
    """One frame."""

    projected: Int[np.ndarray, "height width"]
    """`Label` of the bare head that is seen at a pixel, the scalp being hair; 0 where there is none."""
    above_chin: Float[np.ndarray, "height width"]
    """How far a pixel lies above the chin along the head's own axis, in heights of the face."""
    aside: Float[np.ndarray, "height width"]
    """How far it lies from that axis, likewise."""
    face_px: float
    """Height of the face, from brow to chin, in pixels."""

    @property
    def head(self) -> Bool[np.ndarray, "height width"]:
        """Where the bare head is seen, neck included."""
        return self.projected > 0


class HeadProjector:
    """Poses and labels the tracked head."""

    def __init__(self, head: HeadModel, track: Track, size_px: int) -> None:
        self._head, self._track, self._size_px = head, track, size_px
        identity = track.identity
        offsets = None if identity.offsets_m is None else identity.offsets_m[None]
        labels = vertex_labels(head)
        with torch.inference_mode():
            self._neutral_m = head.neutral(identity.coefficients[None], offsets)
            labelled = triangle_labels(one_hot(labels, len(NAMED)).float(), head.triangles)
        self._labels = torch.cat([labelled, labelled.new_zeros(1)])
        face = self._neutral_m[0][head.region("face")]
        middle = face[face[:, 0].abs() < 0.01]
        self._chin_m, self._brow_m = middle[middle[:, 1].argmin()], middle[(middle[:, 1] - 0.02).abs().argmin()]

    @torch.inference_mode()
    def zones(self, frame: int) -> Zones:
        """What the head says about one frame."""
        track, index = self._track, torch.tensor([frame])
        state = Articulation(*(v[index] for v in (track.expression, track.neck_rad, track.jaw_rad, track.gaze_rad)))
        view = track.view(index, size_px=self._size_px)
        T_camera_head = view.T_camera_world @ track.T_world_head[index]
        posed = transform(T_camera_head.float(), self._head.pose(self._neutral_m, state))
        fragments = rasterise(posed, self._head.triangles, view.camera, cull_backfaces=True)
        axis = transform(T_camera_head.float(), torch.stack([self._chin_m, self._brow_m])[None])
        chin, brow = view.camera.project(axis)[0][0].double().numpy()
        return _zones(self._labels[fragments.triangle[0].long()].numpy(), chin, brow)


def _zones(projected: np.ndarray, chin_px: np.ndarray, brow_px: np.ndarray) -> Zones:
    up = brow_px - chin_px
    face = max(float(np.linalg.norm(up)), 1.0)
    rows, columns = np.mgrid[: projected.shape[0], : projected.shape[1]] + 0.5
    arm = np.stack([columns - chin_px[0], rows - chin_px[1]], -1) / face
    above = arm @ (up / face)
    return Zones(projected.astype(np.int64), above, np.abs(arm @ (up[[1, 0]] * [-1, 1] / face)), face)


def away_from(region: Bool[np.ndarray, "height width"], face_px: float) -> Float[np.ndarray, "height width"]:
    """Distance of every pixel from a region in heights of the face, negative inside."""
    outside = cv2.distanceTransform((~region).astype(np.uint8), cv2.DIST_L2, 3)
    inside = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 3)
    return (outside - inside) / face_px
