"""One mask a frame and region, from tracker and matte, that scores every competitor alike (docs/protocol.md)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from headstudio.evaluation.tracked_mesh import TrackedMesh
from headstudio.render.rasterise import rasterise

REGIONS = ("face", "mouth", "eyes", "head", "frame")
"""In the order of tables."""

_VERTEX_REGIONS = {
    "face": ("face", "nose", "lips", "eyelids", "eyeballs"),
    "mouth": ("lips", "mouth_cavity", "teeth", "tongue"),
    "eyes": ("eyelids", "eyeballs", "eyelashes"),
}
# Margins as a share of the face's height: lips and lids meet skin that moves with them, and hair stands off the mesh.
_MARGIN = {"face": 0.0, "mouth": 0.03, "eyes": 0.03, "head": 0.15}


class RegionMasker:
    """Masks of one tracked person."""

    def __init__(self, mesh: TrackedMesh) -> None:
        self._mesh, head = mesh, mesh.head
        triangles = head.data.triangles.long()
        inside = {name: head.region(*parts)[triangles].all(1) for name, parts in _VERTEX_REGIONS.items()}
        inside["head"] = ~head.region("neck")[triangles].any(1)
        # A last row for "no triangle", which rasterisation marks by -1.
        table = torch.stack(list(inside.values()), dim=1)
        self._inside: Bool[Tensor, "triangles_and_none 4"] = torch.cat([table, torch.zeros_like(table[:1])])
        self._names = tuple(inside)

    def masks(
        self,
        frames: Int[Tensor, " batch"],
        size_px: int,
        matte: Float[Tensor, "batch 1 height width"] | None,
        valid: Bool[Tensor, "#batch 1 height width"],
    ) -> Bool[Tensor, "batch regions height width"]:
        """True where a pixel belongs to the region, in the order of `REGIONS`.

        Args:
            frames: frames of the track.
            size_px: side of the masks.
            matte: the person, in [0, 1]; None where the capture has none.
            valid: False in padding.
        """
        vertices_m, view = self._mesh.vertices_in_camera(frames, size_px)
        fragments = rasterise(vertices_m, self._mesh.head.data.triangles, view.camera)
        seen = self._inside[fragments.triangle.long()].movedim(-1, 1)
        height_px = _face_height_px(seen[:, self._names.index("face")])
        regions = {name: _grown(seen[:, i], _MARGIN[name] * height_px) for i, name in enumerate(self._names)}
        stacked = torch.stack([regions[name] for name in REGIONS if name != "frame"], dim=1)
        if matte is not None:
            stacked = stacked & (matte > 0.5)
        return torch.cat([stacked, torch.ones_like(stacked[:, :1])], dim=1) & valid


def _face_height_px(face: Bool[Tensor, "batch height width"]) -> float:
    """Height of the visible face, the mean over frames, so that all frames of a batch have the same margin."""
    rows = face.any(2).sum(1).float()
    return float(rows[rows > 0].mean()) if bool((rows > 0).any()) else 0.0


def _grown(region: Bool[Tensor, "batch height width"], margin_px: float) -> Bool[Tensor, "batch height width"]:
    radius = round(margin_px)
    if radius == 0:
        return region
    # A square window, as two passes of one direction each.
    wide = F.max_pool2d(region.float()[:, None], (1, 2 * radius + 1), 1, (0, radius))
    return F.max_pool2d(wide, (2 * radius + 1, 1), 1, (radius, 0))[:, 0] > 0
