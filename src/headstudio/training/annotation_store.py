"""Labels and normals of a source at the resolution of a batch, which unlike colours must not be blended."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from headstudio.records.capture import Annotation, Capture
from headstudio.records.normal_maps import decode_normals, encode_normals, unit_or_unknown

MEMORY_LIMIT_BYTES = 2**30
"""Pictures are kept in memory up to this size and read again beyond it."""


class AnnotationStore:
    """The parsing or the normals of one capture at one resolution, kept as they are stored on disk."""

    def __init__(self, capture: Capture, annotation: Annotation, size_px: int) -> None:
        self._capture, self._annotation, self._size_px = capture, annotation, size_px
        self._kept: dict[int, Tensor] = {}
        channels = 3 if annotation is Annotation.NORMALS else 1
        self._room = MEMORY_LIMIT_BYTES // (channels * size_px * size_px)

    def __getitem__(self, frame: int) -> Tensor:
        """(1, size, size) uint8 labels, or (3, size, size) float32 unit normals in camera axes."""
        stored = self._kept.get(frame)
        if stored is None:
            stored = self._read(frame)
            if len(self._kept) < self._room:
                self._kept[frame] = stored
        return decode_normals(stored) if self._annotation is Annotation.NORMALS else stored

    def _read(self, frame: int) -> UInt8[Tensor, "channels size size"]:
        if self._annotation is Annotation.PARSING:
            return resized_labels(self._capture.parsing(frame), self._size_px)
        small = resized_normals(self._capture.normals(frame), self._size_px)
        return torch.from_numpy(encode_normals(small.permute(1, 2, 0).numpy())).permute(2, 0, 1)


def resized_labels(labels: UInt8[Tensor, "1 height width"], size_px: int) -> UInt8[Tensor, "1 size size"]:
    """The label that lies nearest to the middle of each new pixel."""
    if labels.shape[-1] == size_px:
        return labels
    return F.interpolate(labels[None].float(), (size_px, size_px), mode="nearest-exact")[0].to(torch.uint8)


def resized_normals(normals: Float[Tensor, "3 height width"], size_px: int) -> Float[Tensor, "3 size size"]:
    """The mean of what is known under each new pixel, of unit length again; 0 where less than half of it is known."""
    if normals.shape[-1] == size_px:
        return normals
    mean = F.interpolate(normals[None], (size_px, size_px), mode="bilinear", antialias=True, align_corners=False)
    return unit_or_unknown(mean[0])
