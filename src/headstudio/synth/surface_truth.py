"""The truth of a filmed actor's surface: the mesh of every frame, and labels and normals in its pictures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from headstudio import storage
from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import transform
from headstudio.heads.parsing import NAMED, Label
from headstudio.render.closest import SurfaceIndex, signed_distance
from headstudio.render.labels import triangle_labels
from headstudio.render.normals import vertex_normals
from headstudio.render.rasterise import interpolate, rasterise
from headstudio.synth.frames import FrameRenderer
from headstudio.synth.head_map import Ears, outer_skin, true_labels
from headstudio.synth.stage import Stage

FILE_NAME = "surface.safetensors"
_HIDDEN_M = 0.002
"""A place at least so deep under hair or skin is no part of the outer surface."""


@dataclass(frozen=True)
class SurfaceTruth:
    """The outer surface of a head with its hair, in all frames of a film: skin above the collar, eyes, hair.

    What hair covers, what lies inside the mouth, and clothes are left out: no camera could see them.
    """

    neutral_m: Float[Tensor, "vertices 3"]
    """In the head frame."""
    moved_m: Float[Tensor, "frames head_vertices 3"]
    """By how much the first vertices are away from the neutral; half precision, which resolves 0.03 mm. The others,
    those of the hair, stay."""
    triangles: Int[Tensor, "triangles 3"]
    labels: Int[Tensor, " triangles"]
    """Values of `Label`."""
    face: Bool[Tensor, " triangles"]
    """The front of the head: what a face region means here."""
    T_camera_head: Float[Tensor, "frames 4 4"]
    K_px: Float[Tensor, "3 3"]
    size_px: int

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.moved_m)

    def vertices_in_camera(self, frame: int) -> Float[Tensor, "vertices 3"]:
        """The mesh of one frame in camera axes, metres."""
        points = self.neutral_m.clone()
        points[: self.moved_m.shape[1]] += self.moved_m[frame].float()
        return transform(self.T_camera_head[frame], points)

    def save(self, folder: Path) -> None:
        """Write surface.safetensors into a folder."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        storage.write_tensors(folder / FILE_NAME, {**tensors, "size_px": torch.tensor(self.size_px)})

    @classmethod
    def load(cls, folder: Path | str) -> "SurfaceTruth":
        """Read what `save` wrote."""
        tensors = storage.read_tensors(Path(folder) / FILE_NAME, set(cls.__annotations__))
        return cls(**{**tensors, "size_px": int(tensors["size_px"])})  # type: ignore[arg-type]


def tell_surface(stage: Stage) -> SurfaceTruth:
    """Collect the surface of a stage."""
    head, neutral = stage.head, stage.neutral_m
    labels = _head_triangle_labels(stage)
    kept = outer_skin(head) | (labels == Label.EYES)
    if stage.undrawn is not None:
        kept &= ~stage.undrawn
    triangles, all_labels, points = head.triangles[kept].long(), labels[kept], neutral
    face = head.region("face", "eyelids", "nose", "lips", "eyeballs")[triangles].all(1)
    if stage.hair is not None:
        hair = stage.hair
        under_hair = _inside(neutral, hair.points_m, hair.triangles)[triangles].all(1)
        triangles, all_labels, face = triangles[~under_hair], all_labels[~under_hair], face[~under_hair]
        under_skin = _inside(hair.points_m, neutral, head.triangles[outer_skin(head)])
        strands = hair.triangles.long()[~under_skin[hair.triangles.long()].all(1)]
        triangles = torch.cat([triangles, strands + head.vertices])
        all_labels = torch.cat([all_labels, torch.full((len(strands),), int(Label.HAIR))])
        face = torch.cat([face, torch.zeros(len(strands), dtype=torch.bool)])
        points = torch.cat([neutral, hair.points_m])
    moved = torch.stack([(stage.head_vertices(f) - neutral).half() for f in range(len(stage.performance))])
    camera = stage.lens.camera
    return SurfaceTruth(
        points, moved, triangles, all_labels, face, stage.T_camera_head, camera.K_px, camera.width_px
    )  # fmt: skip


def _inside(points_m: Tensor, vertices_m: Tensor, triangles: Tensor) -> Bool[Tensor, " points"]:
    return signed_distance(points_m, SurfaceIndex(vertices_m, triangles.long())).distance < -_HIDDEN_M


def _head_triangle_labels(stage: Stage) -> Int[Tensor, " triangles"]:
    head = stage.head
    labels = true_labels(head, stage.neutral_m, Ears.of(head, stage.neutral_m))
    return triangle_labels(one_hot(labels, len(NAMED)).float(), head.triangles).long()


class TruthMaps:
    """Labels and normals of a renderer's pictures, without lashes."""

    def __init__(self, renderer: FrameRenderer) -> None:
        stage, puppet = renderer.stage, renderer.puppet
        self._renderer = renderer
        bare = ~stage.head.region("eyelashes")[stage.head.triangles].all(-1)
        if stage.undrawn is not None:
            bare &= ~stage.undrawn
        sizes = [0 if stage.lashes is None else len(stage.lashes.triangles)]
        sizes += [0 if stage.hair is None else len(stage.hair.triangles), len(stage.shirt.triangles)]
        extra = torch.tensor([int(Label.UNKNOWN), int(Label.HAIR), int(Label.CLOTH)])
        self.labels = torch.cat([_head_triangle_labels(stage)[bare], extra.repeat_interleave(torch.tensor(sizes))])
        assert len(self.labels) == len(puppet.triangles)
        self._drawn = (self.labels != Label.UNKNOWN)[:, None].int()

    def render(self, frame: int) -> tuple[UInt8[Tensor, "height width"], Float[Tensor, "3 height width"]]:
        """`Label` and unit normal (camera axes, 0 where there is nobody) at the middle of every pixel."""
        with torch.inference_mode():
            points, _ = self._renderer.moved(frame)
            triangles = self._renderer.facing(points) * self._drawn
            camera = self._renderer.stage.lens.camera
            fragments = rasterise(points[None], triangles, Camera(camera.K_px, camera.width_px, camera.height_px))
            seen = fragments.triangle[0].long()
            labels = torch.cat([self.labels, torch.tensor([int(Label.BACKGROUND)])])[seen]
            smooth = vertex_normals(points[None], self._renderer.puppet.triangles * self._drawn)
            normals = normalize(interpolate(fragments, smooth, triangles)[0], dim=0)
            # Cloth is thin and seen from both sides.
            away = (labels == Label.CLOTH) & (normals[2] > 0)
            return labels.to(torch.uint8), torch.where(away, -normals, normals)


def colours_of_labels() -> UInt8[np.ndarray, "labels 3"]:
    """A palette in the order of `NAMED`, for pictures that people look at."""
    return np.array(
        [[24, 24, 24], [235, 190, 160], [190, 130, 95], [220, 60, 60], [245, 245, 245], [150, 30, 140], [70, 50, 30],
         [60, 90, 190]],
        np.uint8,
    )  # fmt: skip
