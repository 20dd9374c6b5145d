"""Where an evaluation leaves docs/protocol.md, told in sentences with every table."""

from collections.abc import Collection, Iterator

from headstudio.evaluation.judge import Judge
from headstudio.evaluation.truth import Truth
from headstudio.training.contract import Source

_HELD_OUT_SHARE, _SHARE_TOLERANCE = 0.2, 0.02
_GAP_S, _GAP_TOLERANCE_S = 0.5, 0.1


def departures(source: Source, truth: Truth, every: int, judge: Judge, shown: Collection[str]) -> tuple[str, ...]:
    """All that apply."""
    return (*_of_split(source), *_of_scores(source, truth, every, judge, shown))


def _of_split(source: Source) -> Iterator[str]:
    capture, track = source.capture, source.track
    share = len(capture.held_out_frames) / capture.frames
    if abs(share - _HELD_OUT_SHARE) > _SHARE_TOLERANCE:
        yield f"{share:.0%} of the clip is held out instead of {_HELD_OUT_SHARE:.0%}"
    times_s = capture.views[0].times_s
    train_end_s = float(times_s[capture.split.train_end - 1])
    gap_s = float(times_s[capture.split.held_out_start]) - train_end_s
    if abs(gap_s - _GAP_S) > _GAP_TOLERANCE_S:
        yield f"the gap before the held-out part is {gap_s:.2f} s instead of {_GAP_S} s"
    if track.training_clock is None:
        yield "the track does not say which frames taught identity and texture"
    elif track.training_clock[1] > train_end_s + 1e-6:
        yield "identity and texture of the track were learned from held-out frames too"


def _of_scores(source: Source, truth: Truth, every: int, judge: Judge, shown: Collection[str]) -> Iterator[str]:
    if truth.size_px != source.capture.size_px:
        yield f"scored at {truth.size_px} px, the capture has {source.capture.size_px} px"
    if every > 1:
        yield f"only every {every}. held-out frame is scored"
    if not truth.has_matte:
        yield "the capture has no matte: the person is not cut out, and regions follow the mesh alone"
    if judge.absence:
        yield judge.absence
    if "tracked head" not in shown:
        yield "no row for the tracked head: the track has no texture"
    yield "one training run: intervals are over time, not over seeds"
