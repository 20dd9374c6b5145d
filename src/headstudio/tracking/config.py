"""What can be chosen about tracking. Lengths in the names' units; every default has its one home here."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SolveConfig:
    """The landmark solve (paper 2, section 3.1, eq. 1-2) and its priors; costs are negative log likelihoods."""

    noise_m: float = 0.0015
    """Standard deviation of one landmark on the face."""
    independence: float = 0.15
    """Share of the landmarks that carry news: neighbours err together, so their sum is discounted by this."""
    robust: float = 2.5
    """Residuals beyond this many standard deviations count linearly (Huber)."""
    lips: float = 2.5
    """Weight of lip landmarks against the rest of the face (FaceVerse's tracker: 5 for lips, eyes and brows)."""
    eyes: float = 3.0
    """Weight of lid landmarks."""
    irises: float = 2.0
    """Weight of iris landmarks (FaceVerse's tracker: 2)."""
    contour: float = 0.15
    """Weight of the face oval, which the detector lets slide along the silhouette as the head turns."""
    withheld: tuple[int, ...] = ()
    """Landmarks that the solve does not look at, to be measured by them."""
    identity_prior: float = 8.0
    """Weight of the identity coefficients' standard normal prior; above 1 because the detector repeats the same error
    in every key frame."""
    sparsity: float = 2.5
    """L1 weight of one fully activated expression unit; keeps what identity can explain out of the expression."""
    expression_prior: float = 0.1
    """Weight of the squared expression coefficients."""
    symmetry: float = 5.0
    """Weight of the squared difference between a left unit and its right twin."""
    lid_follow: float = 100.0
    """Weight of the squared difference between lids and the position that the gaze asks of them."""
    gaze_prior_rad: float = 0.35
    """Standard deviation of an eye's rotation from straight ahead."""
    vergence_rad: float = 0.05
    """Standard deviation of the difference between the two eyes' rotations."""
    jaw_prior_rad: float = 0.15
    """Standard deviation of jaw rotations, for heads whose jaw is a joint."""
    focal_prior: float = 1.3
    """Expected focal length over the longer side of the source picture: between phones (0.8) and studios (2)."""
    focal_log_deviation: float = 0.5
    """Standard deviation of the logarithm of the focal length."""
    iterations: int = 12
    """Most Gauss-Newton steps of one solve."""


@dataclass(frozen=True)
class SmoothingConfig:
    """Offline smoothing without lag; each pair is (cut-off in Hz, second difference at 25 frames a second that passes)."""

    enabled: bool = True
    """Switch it off to see the solve of every frame alone."""
    rotation: tuple[float, float] = (3.0, 0.03)
    """Head rotation; the jump in radians, above the errors that a moving mouth makes in the pose."""
    translation: tuple[float, float] = (3.0, 0.006)
    """Head translation; the jump in metres."""
    expression: tuple[float, float] = (3.0, 0.02)
    """Expression units; the jump in activation, small enough that a blink or a plosive passes untouched."""
    gaze: tuple[float, float] = (4.0, 0.02)
    """Eye rotation; the jump in radians, small enough that saccades pass."""


@dataclass(frozen=True)
class PhotometricConfig:
    """Refinement against the pictures, coarse to fine."""

    enabled: bool = True
    """Switch it off to keep the landmark solution."""
    sizes_px: tuple[int, ...] = (96, 160)
    """Side of the frames at each level, coarse ones for the pose and the last for the face alone; resolution is
    reduced where it costs no accuracy (paper 1, section 3.2)."""
    iterations: int = 4
    """Gauss-Newton steps per level."""
    samples: int = 1000
    """Surface points that are compared with the picture."""
    noise: float = 0.06
    """Standard deviation of a colour (range 1) that the static texture cannot explain."""
    independence: float = 0.1
    """Share of the samples that carry news."""
    texture_size_px: int = 256
    """Side of the by-product texture."""
    landmark_slack: float = 0.15
    """A frame keeps its landmark solution when its landmark error would grow by more than this share."""


@dataclass(frozen=True)
class QualityConfig:
    """When a frame is not to be trained on or scored."""

    largest_yaw_deg: float = 60.0
    """Turned away further than this, the landmarks are guesses."""
    least_confidence: float = 0.25
    """Confidence below which a frame is not usable."""
    sharpness_share: float = 0.2
    """A frame with less than this share of the clip's median sharpness is blurred."""
    largest_occlusion: float = 0.25
    """Share of the face that may be hidden."""


@dataclass(frozen=True)
class CausalConfig:
    """Following frame by frame, without looking ahead; each pair is (cut-off in Hz at rest, by how many Hz one unit a
    second raises it)."""

    filtered: bool = True
    """Switch it off to see the solve of every frame alone."""
    rotation: tuple[float, float] = (1.0, 5.0)
    """Head rotation; the unit is a radian."""
    translation: tuple[float, float] = (1.0, 25.0)
    """Head translation; the unit is a metre."""
    expression: tuple[float, float] = (0.7, 6.0)
    """Expression units; a blink raises the cut-off beyond what it needs."""
    gaze: tuple[float, float] = (1.0, 20.0)
    """Eye rotation; the unit is a radian."""
    jaw: tuple[float, float] = (1.0, 20.0)
    """Jaw rotation, for heads whose jaw is a joint; the unit is a radian."""
    speed_hz: float = 5.0
    """Cut-off of the speed itself (One Euro's authors: 1, at which the first frame of a blink would not count)."""
    iterations: int = 2
    """Gauss-Newton steps from the last frame's solution."""
    patience_s: float = 0.5
    """After a longer gap, or a longer step back in time, following begins anew."""
    solve: SolveConfig = field(default_factory=SolveConfig)
    """What a frame is fitted to; `solve.iterations` is for frames without a last one."""
    quality: QualityConfig = field(default_factory=QualityConfig)
    """What makes a frame unusable."""


@dataclass(frozen=True)
class TrackingConfig:
    """How a capture is tracked."""

    head: str = "makehuman"
    """Registered name of the head model to fit."""
    focal_px: float | None = None
    """Focal length in pixels of the source picture where it is known; estimated over the training part otherwise."""
    key_frames: int = 24
    """Training frames, spread over pose and expression, from which identity and focal length are learned."""
    seed: int = 0
    """Seed of the choice of surface samples."""
    solve: SolveConfig = field(default_factory=SolveConfig)
    """The landmark solve."""
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    """Smoothing over time."""
    photometric: PhotometricConfig = field(default_factory=PhotometricConfig)
    """Refinement against the pictures."""
    quality: QualityConfig = field(default_factory=QualityConfig)
    """What makes a frame unusable."""
