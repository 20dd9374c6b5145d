"""The clip's sound, cut to the kept frames so that its first sample belongs to the first frame."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

FILE_NAME = "audio.m4a"


def extract_audio(video: Path, target: Path, start_s: Fraction, end_s: Fraction) -> bool:
    """Write the first audio stream between two times of the file's clock as AAC; False when it holds nothing there.

    Silence fills the time before the first sample, so that seconds of sound and of pictures agree.
    """
    import av

    with av.open(str(video)) as source:
        rate = source.streams.audio[0].codec_context.sample_rate
        pieces = _pieces(source, start_s, end_s)
        first = next(pieces, None)
        if first is None:
            return False
        with av.open(str(target), "w", format="ipod") as sink:
            _encode(sink, rate, first, pieces)
    return True


def heard(video: Path, start_s: Fraction, end_s: Fraction, rate_hz: int) -> np.ndarray:
    """The first audio stream between two times of the file's clock as mono samples; empty when it holds nothing there.

    Raises:
        IndexError: where the file has no sound.
    """
    import av
    from scipy.signal import resample_poly

    with av.open(str(video)) as source:
        rate = source.streams.audio[0].codec_context.sample_rate
        pieces = [piece.mean(0) for piece in _pieces(source, start_s, end_s)]
    samples = np.concatenate(pieces).astype(np.float64) if pieces else np.zeros(0)
    ratio = Fraction(rate_hz, rate)
    return resample_poly(samples, ratio.numerator, ratio.denominator) if len(samples) else samples


def _encode(sink: Any, rate: int, first: np.ndarray, rest: Iterator[np.ndarray]) -> None:
    import av

    layout = "mono" if len(first) == 1 else "stereo"
    stream = sink.add_stream("aac", rate=rate, layout=layout)
    written = 0
    for piece in chain([first], rest):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, written, Fraction(1, rate)
        written += piece.shape[1]
        sink.mux(stream.encode(frame))
    sink.mux(stream.encode(None))


def _pieces(source: Any, start_s: Fraction, end_s: Fraction) -> Iterator[np.ndarray]:
    """Samples (channels, n) between the two times, the first piece preceded by silence where the sound starts late."""
    import av

    stream = source.streams.audio[0]
    rate = stream.codec_context.sample_rate
    layout = "mono" if stream.codec_context.channels == 1 else "stereo"
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
    clock = round(start_s * rate)
    end = round(end_s * rate)
    for frame in _decoded(source, stream):
        begin = round(frame.pts * frame.time_base * rate)
        for part in resampler.resample(frame):
            samples = part.to_ndarray()
            finish = begin + samples.shape[1]
            if begin >= end:
                return
            if finish > clock:
                samples = samples[:, max(clock - begin, 0) : end - begin]
                silence = np.zeros((len(samples), max(begin - clock, 0)), samples.dtype)
                yield np.concatenate([silence, samples], 1)
                clock = min(finish, end)
            begin = finish


def _decoded(source: Any, stream: Any) -> Iterator[Any]:
    from av.error import FFmpegError

    for packet in source.demux(stream):
        try:
            yield from (frame for frame in packet.decode() if frame.pts is not None)
        except FFmpegError:
            continue  # a broken packet leaves a gap that `_pieces` fills with silence
