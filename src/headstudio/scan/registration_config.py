"""Every number of the registration of a head model to a scan, as data: from coarse to fine."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from headstudio.tracking.config import FreeformConfig


@dataclass(frozen=True)
class FitStage:
    """Some rounds of nearest points with one belief about how near they are."""

    rounds: int
    """Times that nearest points are looked up and everything is solved for."""
    noise_m: float
    """Standard deviation of the distance between head and scan that the stage reckons with."""
    landmark_m: float
    """Standard deviation of a landmark's place, in each direction."""
    free: bool
    """Whether the skin may leave the identity basis by smooth displacement fields."""
    expressed: bool = True
    """Whether closed lids and an open jaw are looked for."""


_COARSE = FitStage(rounds=4, noise_m=0.003, landmark_m=0.003, free=False, expressed=False)


@dataclass(frozen=True)
class CropConfig:
    """Which part of the scan is face; lengths are shares of the face's height between the ends of its oval."""

    views_deg: float = 30.0
    """Largest yaw of the key frames whose landmarks are projected back; paper: the frontal key frame alone."""
    beside: float = 0.08
    """How far the box reaches beyond the landmarks to the sides and below; paper 0."""
    above: float = 0.12
    """How far it reaches beyond them upwards; paper 0."""
    behind: float = 0.30
    """How far it reaches behind the plane of the face."""
    inner: float = 0.85
    """Part of the face's oval in which nothing is taken for hair: brows, lips and beards stay."""
    hair: float = 3.5
    """Deviations from the colour of cheeks and nose beyond which skin is taken for hair; the paper has a network."""
    agreement_m: float = 0.006
    """Median distance between a landmark's places from several views, beyond which it is left out."""


@dataclass(frozen=True)
class RegistrationConfig:
    """Registration of a head model to a scan (paper 1, section 3.1, eq. 1)."""

    stages: tuple[FitStage, ...] = (
        _COARSE,
        FitStage(rounds=5, noise_m=0.002, landmark_m=0.003, free=True),
        FitStage(rounds=6, noise_m=0.001, landmark_m=0.004, free=True),
    )
    """One after the other; the first has the pose of eq. 1a."""
    points: int = 2500
    """Points of each surface that look for the other."""
    independent: float = 400.0
    """How many independent measurements all of them are: neighbours err together."""
    cut: float = 4.0
    """Distances beyond this many deviations do not count at all (Tukey)."""
    normals: float = 0.5
    """Least cosine between the normals of points that belong together."""
    identity_prior: float = 1.0
    """Weight of the identity coefficients' standard normal prior; paper 0."""
    units: tuple[str, ...] = ("eyeBlinkLeft", "eyeBlinkRight", "jawOpen", "mouthClose")
    """Expression units that the person may show in clip A; found and taken off. Paper: none."""
    unit_prior: float = 0.3
    """Weight of their squares."""
    freeform: FreeformConfig = field(default_factory=lambda: FreeformConfig(fields=100, deviations_m=(0.004, 0.002)))
    """Displacement fields beyond the identity basis; paper none."""
    offset_rounds: int = 4
    """Rounds of displacing every vertex of the skin; 0 leaves it out, as the paper does."""
    stiffness: float = 3.0
    """Weight of the squared Laplacian of these displacements against the squared distances."""
    unsure_scale: float = 0.08
    """Relative deviation of the scan's lengths from which on its scale is solved for as well."""
    lid_gap_m: float = 0.0003
    """Least distance of the lids' skin from the eyeball."""
    mask_px: int = 1024
    """Side of the blend mask."""
    mask_margin_m: float = 0.006
    """Over this distance the blend mask falls from 1 to 0 around eyes and mouth."""
    crop: CropConfig = field(default_factory=CropConfig)
    """Which part of the scan counts."""


REGISTRATION_PRESETS: Mapping[str, RegistrationConfig] = {
    "draft": RegistrationConfig(points=1500),
    "standard": RegistrationConfig(),
    "paper": RegistrationConfig(
        stages=(FitStage(rounds=20, noise_m=0.002, landmark_m=1.0, free=False, expressed=False),),
        points=4000,
        identity_prior=1e-3,
        units=(),
        freeform=FreeformConfig(fields=0),
        offset_rounds=0,
        crop=CropConfig(views_deg=0.0, beside=0.0, above=0.0),
    ),
}
