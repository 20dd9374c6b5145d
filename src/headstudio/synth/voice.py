"""A voice-like sound that follows the jaw, so that what handles a clip's audio has something to handle."""

import numpy as np

RATE_HZ = 22_050
_FORMANTS_HZ = ((650.0, 90.0), (1150.0, 110.0), (2450.0, 160.0))
"""Centre and bandwidth of a neutral vowel's resonances (Fant 1960)."""


def babble(times_s: np.ndarray, jaw_open: np.ndarray, duration_s: float, seed: int) -> np.ndarray:
    """Mono samples in [-1, 1] at `RATE_HZ`: a buzz with formants whose loudness is the jaw's opening.

    Args:
        times_s: (frames,) clock of the weights.
        jaw_open: (frames,) ARKit's jawOpen.
        duration_s: length of the sound.
        seed: pitch of the voice.
    """
    generator = np.random.default_rng([seed, 5])
    clock = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    pitch = generator.uniform(95.0, 210.0) * (1.0 + 0.06 * np.sin(2 * np.pi * 0.7 * clock))
    phase = np.cumsum(pitch) / RATE_HZ
    buzz = 2.0 * (phase % 1.0) - 1.0 + 0.1 * generator.standard_normal(len(clock))
    voice = _resonate(buzz)
    loudness = np.interp(clock, times_s, np.clip(jaw_open - 0.03, 0.0, 0.5))
    sound = voice * loudness
    return (0.5 * sound / max(np.abs(sound).max(), 1e-6)).astype(np.float32)


def _resonate(buzz: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft(buzz)
    frequency = np.fft.rfftfreq(len(buzz), 1.0 / RATE_HZ)
    gain = sum(1.0 / (1.0 + ((frequency - centre) / width) ** 2) for centre, width in _FORMANTS_HZ)
    return np.fft.irfft(spectrum * (gain + 0.02), len(buzz))
