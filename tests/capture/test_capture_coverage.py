"""The pre-flight facts: what a good clip hears, and what each lack adds."""

import json

import numpy as np
import pytest

from headstudio.capture.coverage import Finding, Preflight, preflight
from headstudio.errors import HeadstudioError

FRAMES = 500
TIMES = np.arange(FRAMES) * 0.04


def _good() -> dict[str, np.ndarray]:
    """A clip of 20 s that lacks nothing."""
    phase = np.linspace(0, 8 * np.pi, FRAMES)
    wave = np.sin(phase)
    return {
        "face_size_px": np.full(FRAMES, 400.0),
        "sharpness": np.full(FRAMES, 200.0),
        "exposure": np.full(FRAMES, 0.5),
        "clipped": np.zeros(FRAMES),
        "occlusion": np.zeros(FRAMES),
        "confidence": np.ones(FRAMES),
        "yaw_deg": 30 * wave,
        "pitch_deg": 15 * np.cos(phase),
        "roll_deg": np.zeros(FRAMES),
        "mouth_open": 0.15 + 0.15 * wave,
        "mouth_width": 0.6 + 0.1 * wave,
        "eye_open_left": 0.2 + 0.2 * wave,
        "eye_open_right": 0.2 + 0.2 * wave,
        "brow_raise": 0.3 + 0.05 * wave,
    }


def test_a_clip_that_covers_everything_hears_nothing():
    facts = preflight(TIMES, _good())
    assert facts.findings == ()
    assert facts.seconds == pytest.approx(19.96) and facts.frames_per_second == pytest.approx(25)
    assert sum(facts.angles["yaw_deg"].counts) == FRAMES
    assert facts.angles["yaw_deg"].counts[0] == 0  # nobody turned by 50 degrees


@pytest.mark.parametrize(
    ("measure", "value", "words"),
    [
        ("yaw_deg", np.clip(_good()["yaw_deg"], -30, 5), "its left"),
        ("yaw_deg", np.clip(_good()["yaw_deg"], -5, 30), "its right"),
        ("pitch_deg", np.clip(_good()["pitch_deg"], -20, 2), "rises"),
        ("mouth_open", np.full(FRAMES, 0.02), "never opens"),
        ("mouth_open", np.linspace(0.1, 0.3, FRAMES), "hardly ever close"),
        ("mouth_width", np.full(FRAMES, 0.6), "width"),
        ("eye_open_left", np.full(FRAMES, 0.3), "left eye"),
        ("brow_raise", np.full(FRAMES, 0.3), "brows"),
        ("face_size_px", np.full(FRAMES, 90.0), "90 px"),
        ("exposure", np.full(FRAMES, 0.1), "dark"),
        ("exposure", np.full(FRAMES, 0.9), "bright"),
        ("sharpness", np.where(np.arange(FRAMES) < 50, 20.0, 200.0), "10% of the frames are blurred"),
        ("occlusion", np.where(np.arange(FRAMES) < 50, 0.3, 0.0), "10% of the frames have the face covered"),
        ("confidence", np.where(np.arange(FRAMES) < 50, 0.1, 1.0), "cannot be trusted"),
    ],
)
def test_each_lack_is_told_once_with_advice(measure, value, words):
    findings = preflight(TIMES, _good() | {measure: np.asarray(value, float)}).findings
    assert len(findings) == 1 and words in findings[0].message and findings[0].next_step


def test_frames_without_a_face_count_as_bad_and_nowhere_else():
    quality = {name: np.where(np.arange(FRAMES) < 100, np.nan, values) for name, values in _good().items()}
    quality["confidence"][:100] = 0
    facts = preflight(TIMES, quality)
    assert facts.bad_share["no_face"] == pytest.approx(0.2)
    assert facts.bad_share["blurred"] == facts.bad_share["unsure"] == 0
    assert sum(facts.angles["yaw_deg"].counts) == FRAMES - 100


def test_a_short_clip_and_what_is_missing_are_told():
    facts = preflight(TIMES[:100], {k: v[:100] for k, v in _good().items()}, ("normals", "parsing"))
    messages = [f.message for f in facts.findings]
    assert any("lasts only 4.0 s" in m for m in messages)
    assert sum("no normals and parsing" in m for m in messages) == 1


def test_it_survives_the_disk(tmp_path):
    facts = preflight(TIMES, _good(), ("normals",), (Finding("seen before", "do that", True),))
    facts.save(tmp_path)
    assert Preflight.load(tmp_path) == facts


@pytest.mark.parametrize("field", ["angles", "ranges", "findings", "seconds"])
def test_a_hand_edited_file_is_told_by_name(tmp_path, field):
    preflight(TIMES, _good()).save(tmp_path)
    path = tmp_path / "preflight.json"
    content = json.loads(path.read_text())
    content[field] = [[1]]
    path.write_text(json.dumps(content))
    with pytest.raises(HeadstudioError, match=r"preflight\.json"):
        Preflight.load(tmp_path)
