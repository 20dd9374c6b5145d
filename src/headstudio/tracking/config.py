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
    irises: float = 20.0
    """Weight of iris landmarks (FaceVerse's tracker: 2)."""
    contour: float = 0.15
    """Weight of the face oval, which the detector lets slide along the silhouette as the head turns."""
    withheld: tuple[int, ...] = ()
    """Landmarks that the solve does not look at, to be measured by them."""
    lid_gap: float = 0.15
    """Weight of the distance between the lids (paper 4, E_lid)."""
    lip_gap: float = 0.15
    """Weight of the distance between the inner lips."""
    gap_noise_m: float = 0.0007
    """Standard deviation of such a distance."""
    identity_prior: float = 2.0
    """Weight of the identity coefficients' standard normal prior; above 1 because the detector repeats the same error
    in every key frame."""
    sparsity: float = 2.5
    """L1 weight of one fully activated expression unit; keeps what identity can explain out of the expression."""
    rare: float = 6.0
    """How many times dearer a unit is that talking people hardly ever show (puffed cheeks, tongue, jaw forward)."""
    helping: float = 3.0
    """How many times dearer a unit is that goes with others (rolled, pressed and dimpled lips, sneers)."""
    seldom: float = 2.0
    """How many times dearer it is to move mouth or jaw to one side, or lips over an open jaw."""
    expression_prior: float = 0.1
    """Weight of the squared expression coefficients."""
    symmetry: float = 5.0
    """Weight of the squared difference between a left unit and its right twin."""
    lid_follow: float = 5.0
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
    principal_deviation: float = 0.02
    """Standard deviation of the principal point from the middle of the source picture, over its longer side; 0 fixes
    it there."""
    lens_per_frame: bool = False
    """Refine focal length and principal point of every frame (paper 1, section 3.2), for lenses that breathe."""
    frame_focal_deviation: float = 0.02
    """Standard deviation of the logarithm of a frame's focal length from the clip's."""
    frame_principal_deviation: float = 0.003
    """Standard deviation of a frame's principal point from the clip's, over the focal length."""
    iterations: int = 12
    """Most Gauss-Newton steps of one solve."""


@dataclass(frozen=True)
class CalibrationConfig:
    """The detector's own errors on this person, learned once the pictures have said how the head is turned."""

    enabled: bool = True
    """Switch it off to take the landmarks as they come."""
    constant_m: float = 0.002
    """Standard deviation of what a landmark always misses."""
    by_view_m: float = 0.004
    """Standard deviation of what it misses further, per unit of the direction from which the head is seen."""
    independence: float = 0.05
    """Share of the frames that carry news: neighbours in time err together."""


@dataclass(frozen=True)
class FreeformConfig:
    """Identity beyond the head's basis: smooth displacement fields with a Gaussian-process prior."""

    fields: int = 60
    """Displacement fields, each in three directions; 0 keeps identity inside the basis."""
    proportion: float = 0.02
    """Standard deviation of the head's proportions (its width, height and depth stretched and sheared)."""
    deviations_m: tuple[float, ...] = (0.002, 0.001)
    """Standard deviation of the displacement at each scale."""
    lengths_m: tuple[float, ...] = (0.05, 0.02)
    """Distance over which displacements of each scale go together."""


@dataclass(frozen=True)
class SmoothingConfig:
    """Offline smoothing without lag; each pair is (cut-off in Hz, second difference at 25 Hz that passes)."""

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
    sizes_px: tuple[int, ...] = (96, 160, 160)
    """Side of the frames at each level, coarse ones for the pose and the last for the face alone; resolution is
    reduced where it costs no accuracy (paper 1, section 3.2)."""
    bundle_sizes_px: tuple[int, ...] = (96, 160, 256)
    """Side of the key frames at each level of the bundle adjustment."""
    bundle_rounds: int = 2
    """Times that the appearance is learned anew at each level."""
    bundle_steps: int = 4
    """Gauss-Newton steps of one round."""
    silhouette: float = 0.05
    """Weight of each of 300 points of the head that stick out of the person's matte; 0 ignores mattes."""
    silhouette_noise_m: float = 0.004
    """Standard deviation of the matte's edge."""
    iterations: int = 4
    """Gauss-Newton steps per level of the frames."""
    samples: int = 1000
    """Surface points that are compared with the picture."""
    noise: float = 0.1
    """Standard deviation of the local contrast (in logarithms of light) that a fixed pattern cannot explain."""
    independence: float = 0.15
    """Share of the samples that carry news."""
    texture_size_px: int = 256
    """Side of the by-product texture."""
    landmark_share: float = 0.07
    """Share of their weight that landmarks keep where the pictures decide how the head is turned: landmarks slide with
    the view, the skin does not."""
    landmark_slack: float = 0.5
    """A frame keeps its landmark solution when its landmark error would grow by more than this share."""


@dataclass(frozen=True)
class QualityConfig:
    """When a frame is not to be trained on or scored."""

    largest_yaw_deg: float = 60.0
    """Turned away further than this, the landmarks are guesses."""
    least_confidence: float = 0.25
    """Confidence below which a frame is not usable."""
    sharpness_share: float = 0.4
    """A frame with less than this share of the clip's median sharpness is blurred."""
    largest_occlusion: float = 0.1
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
    principal_px: tuple[float, float] | None = None
    """Principal point in pixels of the source picture where it is known."""
    key_frames: int = 24
    """Training frames, spread over pose and expression, from which identity and focal length are learned."""
    seed: int = 0
    """Seed of the choice of surface samples."""
    processes: int | None = None
    """Processes that share the frames, whose number does not change the result; by default one in a program, and as
    many as pay off on the command line."""
    solve: SolveConfig = field(default_factory=SolveConfig)
    """The landmark solve."""
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    """The detector's errors on this person."""
    freeform: FreeformConfig = field(default_factory=FreeformConfig)
    """Identity beyond the head's basis."""
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    """Smoothing over time."""
    photometric: PhotometricConfig = field(default_factory=PhotometricConfig)
    """Refinement against the pictures."""
    quality: QualityConfig = field(default_factory=QualityConfig)
    """What makes a frame unusable."""
