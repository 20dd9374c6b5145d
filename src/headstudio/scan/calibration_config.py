"""What can be chosen about the calibration of a scan. Lengths in the names' units; every default has its home here."""

from dataclasses import dataclass, field
from typing import Literal

CaptureMode = Literal["auto", "sweep", "chair"]


@dataclass(frozen=True)
class KeyFrameConfig:
    """Which frames of clip A are calibrated (paper 1, section 3.1)."""

    count: int = 19
    """Most key frames (paper 1: fewer than 20)."""
    least: int = 6
    """Fewer than these are no scan."""
    least_reach_deg: float = 30.0
    """Smallest range of yaw that is accepted; a clip with less says nothing of depth."""
    largest_yaw_deg: float = 100.0
    """Turned away further than this, nothing of the face is left."""
    blink_share: float = 0.75
    """A frame whose eyes are open less than this share of what is usual at its yaw shows a blink."""
    only_training: bool = False
    """Take key frames from the training part alone, for a clip that will also be scored."""


@dataclass(frozen=True)
class StructureConfig:
    """Structure from motion by COLMAP (Schoenberger and Frahm 2016)."""

    enabled: bool = True
    """Switch it off to take the tracked head poses for cameras."""
    contrast: float = 0.001
    """Least contrast of a SIFT feature; a seventh of COLMAP's default, because skin is smooth."""
    equalised: float = 2.0
    """Limit to which local contrast is equalised before features are sought (CLAHE; Zuiderveld 1994), because light
    and dark skin should give as many, and so should both sides of a face that turns in the light; 0 leaves the pictures
    as they are."""
    silhouette_px: int = 4
    """Features nearer than this to the edge of the mask are left out: what looks like a mark there is an outline."""
    neck: float = 0.12
    """How far below the chin the masked head reaches, over the height of the face."""
    epipolar_px: float = 1.5
    """Matches further than this from their epipolar lines are wrong (COLMAP's default: 4, for larger pictures)."""
    robust_px: float = 0.5
    """Residuals beyond this count less (Cauchy) in the last bundle adjustment."""
    least_track: int = 3
    """Points seen in fewer views do not take part in it."""
    distortion: bool = False
    """Also estimate the lens's radial distortion; on a head before a plain background it is hardly told apart from the
    focal length, and phones correct theirs."""
    focal_px: float | None = None
    """Focal length in pixels of the source picture where it is known; estimated otherwise."""
    least_registered: float = 0.7
    """Smallest share of the key frames that must find their place."""
    largest_error_px: float = 1.2
    """Largest mean reprojection error that is accepted, at 512 pixels."""
    largest_landmark_error: float = 0.03
    """Largest median error of triangulated landmarks that is accepted, over the distance of the outer eye corners:
    a background that does not move with the head gives cameras that its landmarks contradict."""
    seed: int = 0
    """Seed of all random choices."""


@dataclass(frozen=True)
class ScaleConfig:
    """Metres from the size of the iris."""

    iris_m: float = 0.0117
    """Visible horizontal diameter of the iris, mean over adults (Rüfer et al. 2005: 11.71 mm)."""
    iris_deviation_m: float = 0.0005
    """Its standard deviation from person to person (0.42 mm there)."""
    detector_deviation: float = 0.05
    """Relative standard deviation of what the detector always gets wrong on one person's irises, which more pictures do
    not mend: root mean square over four synthetic actors (docs/capture-guide.md)."""
    largest_yaw_deg: float = 30.0
    """Irises are measured in views turned less than this, by the detector's landmarks."""
    least_opening: float = 0.2
    """Height of the lid opening over its width from which on an iris is seen."""
    least_measurements: int = 4
    """Fewer irises than these are no measurement."""
    head_model_deviation: float = 0.1
    """Relative standard deviation of a scale that is taken from the mean head: 5 % from person to person in the
    default head's own prior, and 8 % by which its eyes stand nearer together (58.3 mm) than people's (63.4 mm; Dodgson
    2004)."""


@dataclass(frozen=True)
class CalibrationConfig:
    """From clip A to cameras in metres."""

    mode: CaptureMode = "auto"
    """How clip A was filmed: by a hand that swept about a still head (the light is fixed to the head), or of a person
    who turned on a chair (the light turns); by default the background tells."""
    head: str = "makehuman"
    """Registered name of the head model that the scan is aligned to."""
    key_frames: KeyFrameConfig = field(default_factory=KeyFrameConfig)
    """Choice of key frames."""
    structure: StructureConfig = field(default_factory=StructureConfig)
    """Structure from motion."""
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    """Metric scale."""
