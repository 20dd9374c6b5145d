"""What went wrong in a track, in plain words."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.records.track_quality import Flaw, TrackQuality

_MOST = 12
"""Stretches that are told one by one, the longest ones."""
_BRIDGED = 2
"""Frames of another kind between two of the same kind that do not part a stretch."""
_HIDDEN = 0.35
"""Share of a part of the face that counts as covered."""
_MOST_OF_THE_FACE = 6
_POOR_M = 0.004
_PARTS = {
    "forehead": "the forehead", "right_eye": "the right eye", "left_eye": "the left eye", "nose": "the nose",
    "right_cheek": "the right cheek", "left_cheek": "the left cheek", "mouth": "the mouth", "chin": "the chin",
}  # fmt: skip
_PAIRS = {("the right eye", "the left eye"): "the eyes", ("the right cheek", "the left cheek"): "the cheeks"}
_ADVICE = {
    Flaw.NO_FACE: "keep the face in the picture",
    Flaw.HAND: "keep the hands away from the face",
    Flaw.COVERED: "keep things away from the face",
    Flaw.TURNED: "turn the head less far",
    Flaw.MISPLACED: "turn the head more slowly",
    Flaw.BLURRED: "add light or move more slowly",
    Flaw.UNSURE: "add light and face the camera",
}
_MUCH = 0.2
"""Share of the clip that is worth an advice for the next recording."""


class _Stretch(NamedTuple):
    flaw: Flaw | None
    frames: range


def told(
    quality: TrackQuality,
    times_s: Float[Tensor, " frames"],
    yaw_deg: Float[Tensor, " frames"],
    measures: Mapping[str, Float[Tensor, " frames"]],
) -> tuple[str, ...]:
    """The sum, then one sentence a stretch in the order of the clip, then what to do better."""
    mains = [quality.main(frame) for frame in range(len(times_s))]
    good = mains.count(None)
    first = f"{good} of {len(mains)} frames can be used; score {quality.score:.2f} of 1."
    if quality.usual_error_m > _POOR_M:
        first += f" The head fits the landmarks badly throughout ({1e3 * quality.usual_error_m:.1f} mm)."
    stretches = _stretches(mains)
    longest = sorted(stretches, key=lambda s: -len(s.frames))[:_MOST]
    sentences = [_sentence(s, times_s, yaw_deg, measures) for s in stretches if s in longest]
    rest = [s for s in stretches if s not in longest]
    if rest:
        frames = sum(len(s.frames) for s in rest)
        sentences.append(f"{len(rest)} shorter stretches of {frames} frames in all are skipped as well.")
    shares = {flaw: mains.count(flaw) / len(mains) for flaw in Flaw}
    worst = max(shares, key=lambda flaw: shares[flaw])
    advice = [f"For the next recording: {_ADVICE[worst]}."] if shares[worst] > _MUCH else []
    return (first, *sentences, *advice)


def _stretches(mains: list[Flaw | None]) -> list[_Stretch]:
    """Runs of one main flaw; a frame or two of something else do not part them."""
    merged: list[_Stretch] = []
    for flaw, frames in _grouped(mains):
        known = len(merged) > 1 and merged[-2].flaw is flaw and len(merged[-1].frames) <= _BRIDGED
        if known and flaw is not None:
            merged[-2:] = [_Stretch(flaw, range(merged[-2].frames.start, frames.stop))]
        else:
            merged.append(_Stretch(flaw, frames))
    return [stretch for stretch in merged if stretch.flaw is not None]


def _grouped(mains: list[Flaw | None]) -> Iterator[tuple[Flaw | None, range]]:
    start = 0
    for flaw, group in groupby(mains):
        stop = start + len(list(group))
        yield flaw, range(start, stop)
        start = stop


def _sentence(stretch: _Stretch, times_s: Tensor, yaw_deg: Tensor, measures: Mapping[str, Tensor]) -> str:
    first, last = stretch.frames[0], stretch.frames[-1]
    frames = slice(first, last + 1)
    when = f"frame {first} ({float(times_s[first]):.1f} s)"
    if last > first:
        when = f"frames {first}-{last} ({float(times_s[first]):.1f}-{float(times_s[last]):.1f} s)"
    what: dict[Flaw | None, str] = {
        Flaw.NO_FACE: "no face was found",
        Flaw.HAND: f"a hand covers {_parts(measures, frames)}",
        Flaw.COVERED: f"something covers {_parts(measures, frames)}",
        Flaw.TURNED: f"the face is turned away by up to {float(yaw_deg[frames].max()):.0f} degrees",
        Flaw.MISPLACED: "the landmarks do not lie on the face",
        Flaw.BLURRED: "the face is blurred",
        Flaw.UNSURE: "the head does not fit the landmarks",
    }
    return f"{when}: {what[stretch.flaw]}; skipped."


def _parts(measures: Mapping[str, Tensor], frames: slice) -> str:
    """The parts of the face that are hidden where the stretch is at its worst."""
    shares = {
        name: measures[f"covered_{key}"][frames].nan_to_num(0.0)
        for key, name in _PARTS.items()
        if f"covered_{key}" in measures
    }
    if not shares:
        return "part of the face"
    table = torch.stack(list(shares.values()))
    hidden = [
        name
        for name, share in zip(shares, table[:, int(table.sum(0).argmax())].tolist(), strict=True)
        if share > _HIDDEN
    ]
    if len(hidden) >= _MOST_OF_THE_FACE:
        return "most of the face"
    for (right, left), both in _PAIRS.items():
        if right in hidden and left in hidden:
            hidden[hidden.index(right)] = both
            hidden.remove(left)
    if not hidden:
        return "part of the face"
    return " and ".join([", ".join(hidden[:-1]), hidden[-1]] if len(hidden) > 1 else hidden)
