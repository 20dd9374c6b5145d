"""What a synthetic actor is made of: one frozen dataclass, and two presets."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SynthConfig:
    """A synthetic actor and the recording of it."""

    seed: int = 7
    """Same seed, same person, performance, room and pixels."""
    light_seed: int | None = None
    """Seed of the light alone, to film one performance in several lights; follows `seed` when not given."""
    head: str = "makehuman"
    """Registered head model that the actor is made from."""
    seconds: float = 14.0
    """Length of the clip."""
    fps: float = 25.0
    """Frames a second."""
    variable_rate: bool = False
    """Let the time between frames wander, as phones do."""
    width_px: int = 640
    """Width of the upright picture; even, as the codec demands."""
    height_px: int = 640
    """Height of the upright picture; even."""
    focal_mm: float = 50.0
    """Focal length for a 36 mm wide picture along the longer side; 35 is a wide and 85 a long portrait lens."""
    head_share: float = 0.54
    """Part of the picture's height that the head takes up from chin to crown."""
    distortion: float = 0.0
    """Radial distortion k1 (Brown-Conrady) at unit normalised radius; negative is barrel."""
    identity_spread: float = 0.8
    """Standard deviation of the identity coefficients, in prior standard deviations."""
    displacement_mm: float = 1.5
    """Standard deviation of the smooth displacement that no identity basis can express."""
    texture_px: int = 2048
    """Side of the albedo texture."""
    strands: int = 9000
    """Hair ribbons over the hair's shell."""
    supersampling: int = 2
    """Samples along each side of a pixel."""
    noise: float = 0.006
    """Standard deviation of the sensor's noise at mid grey, in linear light."""
    crf: int = 18
    """Compression of the H.264 stream; 18 is visually lossless, 30 is a messenger's."""
    rotation_deg: int = 0
    """Clockwise rotation that the file asks players for: 0, 90, 180 or 270; the stored picture is turned against it."""
    audio: bool = True
    """Add a voice-like sound that follows the jaw."""

    @classmethod
    def tiny(cls, seed: int = 7) -> "SynthConfig":
        """The preset for tests: a few dozen small frames, seconds to make."""
        return cls(
            seed=seed,
            seconds=3.0,
            fps=12.5,
            width_px=256,
            height_px=256,
            texture_px=1024,
            strands=3000,
        )

    @classmethod
    def demo(cls, seed: int = 7) -> "SynthConfig":
        """The preset of `headstudio demo`: all defaults."""
        return cls(seed=seed)
