"""Channels: the named signals that drive an avatar, and the view and scene it is rendered in."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.geometry.camera import Camera


@dataclass(frozen=True, order=True)
class Channel:
    """One named signal: what it is, in which rig or latent space, in which unit."""

    name: str
    """What it is: expression, head_pose, gaze_rotation, latent, ..."""
    space: str
    """The rig, code book or frame that gives the numbers a meaning: arkit-52, makehuman, world, an avatar's id."""
    unit: str
    """The unit: weight, rad, m, srgb, code."""

    def __str__(self) -> str:
        return f"{self.name}@{self.space}[{self.unit}]"

    @classmethod
    def parse(cls, text: str) -> "Channel":
        """The channel that `str` wrote."""
        name, _, rest = text.partition("@")
        space, _, unit = rest.rpartition("[")
        if not (name and space and unit.endswith("]")):
            raise ValueError(f"not a channel: {text!r}")
        return cls(name, space, unit[:-1])


ARKIT = Channel("expression", "arkit-52", "weight")
"""(..., 52) in [0, 1], Apple's order (`headstudio.motion.arkit.NAMES`)."""
HEAD_POSE = Channel("head_pose", "world", "m")
"""(..., 4, 4) T_world_head; the head frame is fixed to the skull. World is the first view's camera."""
HEAD_ROTATION = Channel("head_rotation", "relative", "rad")
"""(..., 3) rotation vector of the head against its neutral, in camera-facing axes: those of glTF as the camera sees
them (x to the right of the picture, y up, z out of it), so a positive y turns the face to the person's left."""
NECK = Channel("neck_rotation", "skull", "rad")
"""(..., 3) rotation vector of the skull relative to the shoulders."""
JAW = Channel("jaw_rotation", "skull", "rad")
"""(..., 3) rotation vector of the jaw; zero in rigs whose jaw is a blendshape."""
GAZE = Channel("gaze_rotation", "skull", "rad")
"""(..., 2, 3) rotation vectors of the left and the right eyeball (the person's left first)."""
FACE_CROP = Channel("face_crop", "aligned-128", "srgb")
"""(..., 3, 128, 128) the aligned face crop in [0, 1], black outside the face (`headstudio.capture.face_crop`)."""
FACE_LANDMARKS = Channel("face_landmarks", "aligned-128", "px")
"""(..., 478, 3) the detector's landmarks in pixels of that crop, depth in the same scale; all 0 without a face."""
BLENDSHAPES = Channel("blendshapes", "mediapipe-52", "weight")
"""(..., 52) what MediaPipe's blendshape network says, in the order of `ARKIT`; all 0 where no face was found."""


def expression_of(rig: str) -> Channel:
    """The expression coefficients of a named head model, in that model's own order."""
    return Channel("expression", rig, "weight")


def features_of(network: str) -> Channel:
    """What a network of the user's says of a picture of a face; all 0 where no face was found."""
    return Channel("features", network, "code")


def latent_of(identifier: str) -> Channel:
    """A latent code in the space of the avatar or encoder with this identifier."""
    return Channel("latent_code", identifier, "code")


Channels: TypeAlias = Mapping[Channel, Tensor]
"""Signals of some frames: every tensor has the same leading batch dimension."""


def to_device(channels: Channels, device: torch.device | str) -> dict[Channel, Tensor]:
    """The same signals on another device."""
    return {channel: tensor.to(device) for channel, tensor in channels.items()}


@dataclass(frozen=True)
class View:
    """Where the picture is taken from: a camera for each frame of the batch, and where its windows lie."""

    camera: Camera
    """Intrinsics, `K_px` of shape (B, 3, 3)."""
    T_camera_world: Float[Tensor, "batch 4 4"]
    """Extrinsics; identity for the first view of a capture."""
    foreground_offset_px: Float[Tensor, "batch 2"] | None = None
    """Displacement of the foreground window against the picture, for methods that slide windows (paper 2)."""
    background_offset_px: Float[Tensor, "batch 2"] | None = None
    """Displacement of the background window."""

    @property
    def batch(self) -> int:
        """Number of frames."""
        return self.T_camera_world.shape[0]

    def resized(self, width_px: int, height_px: int) -> "View":
        """The same view at another resolution (window offsets scale along)."""
        scale = self.T_camera_world.new_tensor([width_px / self.camera.width_px, height_px / self.camera.height_px])
        moved = [None if o is None else o * scale for o in (self.foreground_offset_px, self.background_offset_px)]
        return View(self.camera.resized(width_px, height_px), self.T_camera_world, *moved)

    def to(self, device: torch.device | str) -> "View":
        """The view on another device."""
        moved = [None if o is None else o.to(device) for o in (self.foreground_offset_px, self.background_offset_px)]
        return View(self.camera.to(device), self.T_camera_world.to(device), *moved)


@dataclass(frozen=True)
class Scene:
    """What surrounds the head: what is behind it, how it is lit, and the moment in the avatar's own clock."""

    background: Float[Tensor, "batch 3 height width"] | None = None
    """Clean plate, sRGB in [0, 1]; None leaves black behind straight alpha."""
    light_sh: Float[Tensor, "batch 9 3"] | None = None
    """Spherical-harmonic irradiance in world axes, linear light; None, and any light on an avatar that does not declare
    RELIGHT, means the light it was captured in."""
    time_code: Float[Tensor, " batch"] | None = None
    """Seconds on the capture's clock, for methods with a time code (paper 2); None means their neutral."""

    def to(self, device: torch.device | str) -> "Scene":
        """The scene on another device."""
        moved = {name: None if v is None else v.to(device) for name, v in vars(self).items()}
        return replace(self, **moved)


@dataclass(frozen=True)
class Rendering:
    """What an avatar gives back for some frames."""

    rgb: Float[Tensor, "batch 3 height width"]
    """sRGB in [0, 1], composited over the scene's background."""
    alpha: Float[Tensor, "batch 1 height width"]
    """Coverage of the head, straight."""
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    """Named layers and maps: depth, normals, uv, labels, weights, ... (batch, channels, height, width)."""
