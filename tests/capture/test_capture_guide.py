"""The guide brings every sound and every unit, and a clip is judged by what it should show."""

import numpy as np
import pytest

from headstudio.capture import guide
from headstudio.capture.guide_checks import guide_findings
from headstudio.heads.arkit import ARKIT_NAMES

ARPABET = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"


def test_the_sentences_bring_every_sound_of_english():
    assert set(" ".join(sentence.sounds for sentence in guide.SENTENCES).split()) == set(ARPABET.split())


def test_the_expressions_move_every_unit_of_arkit():
    units = [unit for expression in guide.EXPRESSIONS for unit in expression.arkit]
    named = {unit.replace("*", side) for unit in units for side in ("Left", "Right")}
    assert named == set(ARKIT_NAMES)


def test_clip_b_fits_into_its_minute():
    """Two seconds an expression, and 15 sounds a second of speech, which is unhurried."""
    speech_s = sum(len(sentence.text) for sentence in guide.SENTENCES) / 15
    assert 2 * len(guide.EXPRESSIONS) + speech_s <= guide.CLIP_B_S[1]


def test_the_script_says_everything_in_plain_lines():
    script = guide.script()
    assert all(sentence.text in script for sentence in guide.SENTENCES)
    assert all(expression.text in script for expression in guide.EXPRESSIONS)
    assert "Clip A" in script and "headstudio scan" in script


def clip_a(frames=200, seconds=20.0):
    times = np.linspace(0, seconds, frames)
    draw = np.random.default_rng(0)
    calm = {name: draw.normal(0.3, 0.01, frames) for name in ("eye_open_left", "eye_open_right")}
    calm |= {"mouth_open": draw.normal(0.02, 0.01, frames), "mouth_width": draw.normal(0.5, 0.01, frames)}
    calm |= {"brow_raise": draw.normal(0.25, 0.01, frames), "pitch_deg": np.zeros(frames), "roll_deg": np.zeros(frames)}
    ones = np.ones(frames)
    measures = {"sharpness": ones, "exposure": 0.5 * ones, "clipped": 0 * ones, "occlusion": 0 * ones}
    measures |= {"face_size_px": 400 * ones, "confidence": ones, "yaw_deg": np.linspace(-70, 70, frames)}
    return times, calm | measures


def messages(clip, times, quality):
    return " | ".join(finding.message for finding in guide_findings(clip, times, quality))


def test_a_clip_as_the_guide_asks_lacks_nothing():
    assert messages("a", *clip_a()) == ""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"yaw_deg": np.linspace(-70, 20, 200)}, "to its left by at most 20 degrees"),
        ({"yaw_deg": np.linspace(-20, 70, 200)}, "to its right by at most 20 degrees"),
        ({"yaw_deg": np.where(np.arange(200) < 100, -65.0, 65.0)}, "130 degrees apart"),
        ({"yaw_deg": 65 * np.sin(np.linspace(0, 60, 200))}, "degrees a second"),
        ({"yaw_deg": np.full(200, np.nan)}, "no face was found"),
        ({"mouth_open": np.where(np.arange(200) % 20 < 10, 0.0, 0.4)}, "does not keep still (mouth open)"),
        ({"brow_raise": np.where(np.arange(200) % 20 < 10, 0.2, 0.5)}, "brow raise"),
        ({"eye_open_left": np.full(200, 0.05), "eye_open_right": np.full(200, 0.05)}, "eyes are shut"),
        ({"sharpness": np.where(np.arange(200) % 3 == 0, 0.1, 1.0)}, "are blurred"),
        ({"clipped": np.full(200, 0.4)}, "underexposed in the face"),
        ({"face_size_px": np.full(200, 90.0)}, "only 90 px high"),
        ({"exposure": np.full(200, 0.1)}, "is dark"),
    ],
)
def test_what_clip_a_lacks_is_said(change, told):
    times, quality = clip_a()
    assert told in messages("a", times, quality | change)


def test_a_face_lost_beyond_half_the_way_is_a_profile():
    times, quality = clip_a()
    yaw = quality["yaw_deg"].copy()
    yaw[np.abs(yaw) > 50] = np.nan
    assert messages("a", times, quality | {"yaw_deg": yaw}) == ""


@pytest.mark.parametrize(
    ("clip", "seconds", "told"), [("a", 6.0, "only 6 s"), ("a", 90.0, "90 s"), ("b", 10.0, "only 10 s")]
)
def test_how_long_it_lasts_is_judged(clip, seconds, told):
    assert told in messages(clip, *clip_a(seconds=seconds))


def test_a_still_face_is_no_clip_b():
    told = messages("b", *clip_a())
    assert "mouth never opens wide" in told and "eye never closes" in told
    times, quality = clip_a()
    assert "hardly turns" in messages("b", times, quality | {"yaw_deg": np.zeros(200)})
