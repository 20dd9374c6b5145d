"""Signals that are read from the pictures of a face, by channel: what encoders and drivers start from.

A `FaceReader` is the provider of one channel. It sees one picture and its landmarks at a time, so it serves live use as
it serves a capture; whoever knows another network of faces gives it this form.
"""

import hashlib
from collections.abc import Collection
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from headstudio.cache import cached_tensors
from headstudio.errors import HeadstudioError
from headstudio.progress import Progress, Silent
from headstudio.records.capture import Capture
from headstudio.records.channels import BLENDSHAPES, FACE_CROP, FACE_LANDMARKS, Channel, features_of

_CACHE_VERSION = 1
"""To be counted up when what a reader says of the same picture changes."""


@runtime_checkable
class FaceReader(Protocol):
    """The provider of one channel."""

    def read(
        self, image_rgb: UInt8[np.ndarray, "height width 3"], landmarks_px: Float[np.ndarray, "478 3"]
    ) -> Float[Tensor, "*values"]:
        """What it says of one picture; all 0 where the landmarks are NaN or it finds no face itself."""
        ...

    def close(self) -> None:
        """Give its models back."""
        ...


def is_read(channel: Channel) -> bool:
    """Whether a channel comes from pictures of faces."""
    return channel in (FACE_CROP, FACE_LANDMARKS, BLENDSHAPES) or channel.name == features_of("").name


def face_signals(
    capture: Capture, wanted: Collection[Channel], progress: Progress | None = None
) -> dict[Channel, Tensor]:
    """The wanted channels of a capture that come from its pictures, one row a frame; others are left to whoever knows.

    Raises:
        HeadstudioError: a network that a channel needs is not there.
    """
    return {channel: _signal(capture, channel, progress or Silent()) for channel in wanted if is_read(channel)}


def face_reader(channel: Channel) -> FaceReader:
    """The provider of one channel.

    Raises:
        HeadstudioError: its model is not there, or is another one.
    """
    if channel == FACE_CROP:
        return CropReader()
    if channel == FACE_LANDMARKS:
        return LandmarkReader()
    if channel == BLENDSHAPES:
        from headstudio.capture.blendshapes import BlendshapeReader

        return BlendshapeReader()
    return _network_reader(channel)


class CropReader:
    """The aligned face crop."""

    def read(
        self, image_rgb: UInt8[np.ndarray, "height width 3"], landmarks_px: Float[np.ndarray, "478 3"]
    ) -> Float[Tensor, "3 128 128"]:
        """The crop, sRGB in [0, 1]."""
        from headstudio.capture.face_crop import crop_face

        return crop_face(image_rgb, landmarks_px).signal()

    def close(self) -> None:
        """Nothing is held."""


class LandmarkReader:
    """The landmarks in that crop."""

    def read(
        self, image_rgb: UInt8[np.ndarray, "height width 3"], landmarks_px: Float[np.ndarray, "478 3"]
    ) -> Float[Tensor, "478 3"]:
        """Landmarks in pixels of the crop."""
        from headstudio.capture.face_crop import aligned_landmarks

        return aligned_landmarks(landmarks_px)

    def close(self) -> None:
        """Nothing is held."""


def _network_reader(channel: Channel) -> FaceReader:
    from headstudio.capture.feature_network import VARIABLE, FeatureReader, network_channel, network_file

    path = network_file()
    found = network_channel(path)
    if found != channel:
        raise HeadstudioError(
            f"{channel} is wanted and the network here gives {found}",
            where=path,
            next_step=f"set {VARIABLE} to the network that was trained with",
        )
    return FeatureReader(path)


def _signal(capture: Capture, channel: Channel, progress: Progress) -> Tensor:
    if channel == FACE_CROP:  # kept as bytes
        from headstudio.capture.face_crop import face_crops

        return face_crops(capture, progress=progress).signal()
    view = capture.views[0]
    if channel == FACE_LANDMARKS:
        from headstudio.capture.face_crop import aligned_landmarks

        return torch.stack([aligned_landmarks(row) for row in view.landmarks_px.numpy()])
    digest = hashlib.sha256(repr((_CACHE_VERSION, str(channel), capture.identifier, view.name)).encode())
    digest.update(view.landmarks_px.float().numpy().tobytes())
    name = f"{channel.name}-{digest.hexdigest()[:16]}"
    return cached_tensors(name, lambda: {"values": _read(capture, channel, progress)}, capture.path / "cache")["values"]


def _read(capture: Capture, channel: Channel, progress: Progress) -> Tensor:
    reader, rows = face_reader(channel), []
    landmarks = capture.views[0].landmarks_px.numpy()
    try:
        with progress.stage(f"reading {channel.name}", capture.frames) as advance:
            for frame in range(capture.frames):
                rows.append(reader.read(capture.image(frame).permute(1, 2, 0).contiguous().numpy(), landmarks[frame]))
                advance(1)
    finally:
        reader.close()
    return torch.stack(rows)
