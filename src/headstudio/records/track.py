"""`Track`: how the head moved. Identity once; expression, rotations, pose, light and confidence per frame."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from headstudio import storage
from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera
from headstudio.records.channels import ARKIT, GAZE, HEAD_POSE, JAW, NECK, View, expression_of
from headstudio.records.motion import Motion
from headstudio.records.track_quality import TrackQuality

SCHEMA, VERSION = "headstudio.track", 1


@dataclass(frozen=True)
class HeadIdentity:
    """Who it is, in a named head model."""

    head: str
    """Registered name of the head model."""
    coefficients: Float[Tensor, " identities"]
    """Identity coefficients in prior standard deviations."""
    offsets_m: Float[Tensor, "vertices 3"] | None = None
    """Per-vertex displacement beyond the basis, in the head frame."""


@dataclass(frozen=True)
class TrackView:
    """The calibrated camera of one view, per frame."""

    K_px: Float[Tensor, "frames 3 3"]
    """Intrinsics in pixels of the stored frame."""
    T_camera_world: Float[Tensor, "frames 4 4"]
    """Extrinsics; identity for the first view."""


@dataclass(frozen=True)
class Track:
    """The tracked performance of one capture. World is the first view's camera."""

    capture_identifier: str
    """`Capture.identifier` of the capture that was tracked."""
    size_px: int
    """Side of the capture's frames, to which `K_px` refers."""
    identity: HeadIdentity
    times_s: Float[Tensor, " frames"]
    expression: Float[Tensor, "frames expressions"]
    """Coefficients of the head model's own expression units."""
    arkit: Float[Tensor, "frames 52"]
    """The same expression as ARKit-52 weights in [0, 1]."""
    neck_rad: Float[Tensor, "frames 3"]
    jaw_rad: Float[Tensor, "frames 3"]
    gaze_rad: Float[Tensor, "frames 2 3"]
    """Eyeball rotation vectors, the person's left eye first."""
    T_world_head: Float[Tensor, "frames 4 4"]
    views: Mapping[str, TrackView]
    """By the capture's view names, in its order."""
    light_sh: Float[Tensor, "frames 9 3"]
    """Spherical-harmonic irradiance in world axes (those of the first view's camera), linear light."""
    confidence: Float[Tensor, " frames"]
    """Trust in [0, 1]."""
    usable: Bool[Tensor, " frames"]
    """False for frames that training and scoring skip."""
    texture: UInt8[Tensor, "3 height width"] | None = None
    """The tracker's own unprojected texture in the head's UV, sRGB; a by-product that shows how well it fits."""
    seams: tuple[int, ...] = ()
    """First frame of every chunk but the first."""
    training_clock: tuple[float, float] | None = None
    """Times between which identity, texture and neutral were learned."""
    quality: TrackQuality | None = None
    """Why frames are not usable; None for tracks that were imported or made before this was told."""

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.times_s)

    def motion(self) -> Motion:
        """All signals the track knows, as channels."""
        return Motion(
            self.times_s,
            {
                expression_of(self.identity.head): self.expression,
                ARKIT: self.arkit,
                HEAD_POSE: self.T_world_head,
                NECK: self.neck_rad,
                JAW: self.jaw_rad,
                GAZE: self.gaze_rad,
            },
        )

    def view(self, frames: Tensor, name: str | None = None, size_px: int | None = None) -> View:
        """The view of some frames, at the capture's or another resolution."""
        camera = next(iter(self.views.values())) if name is None else self.views[name]
        view = View(Camera(camera.K_px[frames], self.size_px, self.size_px), camera.T_camera_world[frames])
        return view if size_px is None else view.resized(size_px, size_px)

    def save(self, path: Path) -> None:
        """Write the track folder."""
        names = [key for key, value in vars(self).items() if isinstance(value, Tensor)]
        tensors = {name: getattr(self, name) for name in names} | {"identity": self.identity.coefficients}
        if self.identity.offsets_m is not None:
            tensors["identity_offsets_m"] = self.identity.offsets_m
        for name, view in self.views.items():
            tensors |= {f"view/{name}/K_px": view.K_px, f"view/{name}/T_camera_world": view.T_camera_world}
        if self.quality is not None:
            tensors |= self.quality.tensors()
        with storage.replacing_folder(path) as folder:
            storage.write_tensors(folder / "track.safetensors", tensors)
            storage.write_json(
                folder / "track.json",
                SCHEMA,
                VERSION,
                {
                    "capture": self.capture_identifier,
                    "size_px": self.size_px,
                    "head": self.identity.head,
                    "views": list(self.views),
                    "seams": list(self.seams),
                    "training_clock": self.training_clock,
                    "quality": None if self.quality is None else self.quality.json(),
                },
            )

    @classmethod
    def load(cls, path: Path | str) -> "Track":
        """Read what `save` wrote."""
        where = Path(path) / "track.json"
        content = storage.read_json(where, SCHEMA, VERSION)
        tensors = storage.read_tensors(where.with_name("track.safetensors"), _REQUIRED)
        try:
            clock, quality = content["training_clock"], content.get("quality")
            return cls(
                capture_identifier=content["capture"],
                size_px=int(content["size_px"]),
                identity=HeadIdentity(content["head"], tensors["identity"], tensors.get("identity_offsets_m")),
                views={
                    name: TrackView(tensors[f"view/{name}/K_px"], tensors[f"view/{name}/T_camera_world"])
                    for name in content["views"]
                },
                seams=tuple(content["seams"]),
                training_clock=None if clock is None else (float(clock[0]), float(clock[1])),
                quality=None if quality is None else TrackQuality.read(quality, tensors),
                texture=tensors.get("texture"),
                **{name: tensors[name] for name in _REQUIRED - {"identity"}},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise HeadstudioError(f"the track is damaged: {error}", where=where, next_step="track again") from None


_REQUIRED = frozenset(
    {
        "identity",
        "times_s",
        "expression",
        "arkit",
        "neck_rad",
        "jaw_rad",
        "gaze_rad",
        "T_world_head",
        "light_sh",
        "confidence",
        "usable",
    }
)


def check_pair(track: Track, capture_identifier: str, path: Path) -> None:
    """Refuse a track that was made from another capture."""
    if track.capture_identifier != capture_identifier:
        raise HeadstudioError("this track belongs to another capture", where=path, next_step="track this capture again")


def neutral_light(frames: int) -> Float[Tensor, "frames 9 3"]:
    """Uniform light that leaves a texture as it is: irradiance 1 from everywhere."""
    light = torch.zeros(frames, 9, 3)
    light[:, 0] = 1.0 / 0.28209479177387814  # Y_00
    return light
