"""Every report tells the numbers of its record, names what went wrong, and stands alone."""

import base64
import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from headstudio.capture.coverage import Finding, Histogram, Preflight, Range
from headstudio.errors import HeadstudioError
from headstudio.heads import load_head
from headstudio.records.avatar import Avatar
from headstudio.records.evaluation import Evaluation, Example, Interval, Row, Verdict
from headstudio.records.track_quality import Flaw, TrackQuality
from headstudio.report.evaluation_report import evaluation_sections, write_evaluation_report
from headstudio.report.film import film
from headstudio.report.preflight import preflight_sections, write_preflight
from headstudio.report.summary import StageRecord, write_summary
from headstudio.report.track_report import unusable_spans_s, worst_frames, write_track_report
from headstudio.report.training_report import training_sections, write_training_report
from headstudio.tracking.overlay import write_overlay
from headstudio.video import write_video
from support.pages import EVIL, check_self_contained
from support.tiny import tiny_capture, tiny_track


def _read(path: Path):
    return check_self_contained(path.read_text(encoding="utf-8"))


@pytest.fixture
def capture(tmp_path):
    made = tiny_capture(tmp_path / "capture", frames=10)
    yaw = torch.tensor([-55.0, -5, 0, 5, 15, 15, 25, 45, 70, float("nan")])
    quality = {"yaw_deg": yaw, "pitch_deg": torch.full((10,), 12.0), "confidence": torch.linspace(0, 1, 10)}
    view = replace(made.views[0], quality=quality, source=replace(made.views[0].source, file_name=f"{EVIL}.mp4"))
    Preflight(
        seconds=12.34,
        frames=10,
        frames_per_second=24.97,
        angles={"yaw_deg": Histogram((-60.0, 0.0, 60.0), (4, 5))},
        ranges={"mouth_open": Range(0.017, 0.123, 0.456)},
        bad_share={"no_face": 0.123},
        missing=("normals",),
        findings=(Finding("it is dim", "add a lamp"), Finding(EVIL, "film again", serious=True)),
    ).save(made.path)
    return replace(made, views=(view,))


def test_the_preflight_report_tells_findings_coverage_and_the_clip(capture, tmp_path) -> None:
    write_preflight(tmp_path / "preflight.html", capture)
    parsed = _read(tmp_path / "preflight.html")
    for fact in ("12.3 s", "24.97", "it is dim: add a lamp.", "0.46", "12.3%", "normals", f"{EVIL}.mp4"):
        assert fact in parsed.text
    assert parsed.text.index(EVIL + ": film again") < parsed.text.index("it is dim")
    assert "yaw 10 to 20, pitch 10 to 20: 2" in parsed.text
    assert "yaw 50 to 60, pitch 10 to 20: 1" in parsed.text  # 70 degrees count in the last bin
    assert parsed.tags.count("img") == 1


def test_a_clip_without_findings_is_called_ready(capture) -> None:
    replace(Preflight.load(capture.path), findings=()).save(capture.path)
    assert "ready" in preflight_sections(capture)[0].parts[0]


def test_the_track_report_names_the_frames_that_cannot_be_used(tmp_path) -> None:
    head = load_head("makehuman")
    capture = tiny_capture(tmp_path / "capture", frames=10, size_px=32)
    track = tiny_track(capture, head.name, head.identities, head.expressions)
    usable = torch.tensor([True, False, False, True, True, True, False, True, True, True])
    track = replace(track, usable=usable, confidence=torch.linspace(0.5, 0.95, 10))
    assert unusable_spans_s(track) == [(pytest.approx(0.04), pytest.approx(0.08)), (pytest.approx(0.24),) * 2]
    write_track_report(tmp_path / "track.html", capture, track, head)
    parsed = _read(tmp_path / "track.html")
    for fact in (
        "7 of 10 (70.0%)",
        "0.725 on average",
        "0.500",
        "0.04 s to 0.08 s",
        "0.24 s",
        "64 px for frames of 32",
    ):
        assert fact in parsed.text
    assert parsed.tags.count("img") == 2
    write_track_report(tmp_path / "good.html", capture, replace(track, usable=torch.ones_like(usable)), head)
    assert "Every frame can be used" in _read(tmp_path / "good.html").text


def test_the_track_report_says_why_and_shows_the_worst_of_every_stretch(tmp_path) -> None:
    head = load_head("makehuman")
    capture = tiny_capture(tmp_path / "capture", frames=10, size_px=32)
    flaws = {Flaw.HAND: torch.arange(10) < 3, Flaw.NO_FACE: torch.arange(10) == 7}
    quality = TrackQuality(flaws, 0.55, ("6 of 10 frames can be used.", f"frames 0-2: {EVIL}"), 0.001)
    track = replace(
        tiny_track(capture, head.name, head.identities, head.expressions),
        usable=~(flaws[Flaw.HAND] | flaws[Flaw.NO_FACE]),
        confidence=torch.tensor([0.4, 0.1, 0.3, 0.9, 0.5, 0.8, 0.7, 0.0, 0.6, 0.95]),
        quality=quality,
    )
    assert worst_frames(track, 2) == [1, 7] and worst_frames(track, 4) == [1, 4, 7, 8]
    assert worst_frames(replace(track, quality=None), 3) == [1, 4, 7]
    assert len(worst_frames(track, 99)) == 2 + 6
    overlay = tmp_path / "overlay.mp4"
    write_overlay(capture, track, overlay)
    write_track_report(tmp_path / "track.html", capture, track, head, overlay)
    parsed = _read(tmp_path / "track.html")
    assert f"frames 0-2: {EVIL}" in parsed.text and "0.55 of 1" in parsed.text
    assert parsed.tags.count("video") == 1


def test_a_film_in_a_page_is_small_and_keeps_its_times(tmp_path) -> None:
    pictures = [np.full((64, 128, 3), 40 * (i % 6), np.uint8) for i in range(50)]
    write_video(tmp_path / "clip.mp4", pictures, [i / 50 for i in range(50)])
    source = check_self_contained(str(film(tmp_path / "clip.mp4", EVIL, height_px=32))).attributes
    data = base64.b64decode(dict(source)["src"].split(",")[1])
    (tmp_path / "small.mp4").write_bytes(data)
    with av.open(str(tmp_path / "small.mp4")) as container:
        frames = list(container.decode(video=0))
    assert (frames[0].height, frames[0].width) == (32, 64)
    assert [frame.time for frame in frames] == pytest.approx([i * 0.08 for i in range(13)], abs=1e-3)
    shown = [int(frame.to_ndarray(format="rgb24").mean()) for frame in frames]
    assert shown == pytest.approx([40 * (4 * i % 6) for i in range(13)], abs=8)


@pytest.mark.parametrize("content", [b"", b"no video", None])
def test_what_is_no_video_is_told(tmp_path, content) -> None:
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HeadstudioError, match="the video cannot be shown"):
        film(path, "clip")


def _evaluation() -> Evaluation:
    picture = torch.full((3, 8, 8), 99, dtype=torch.uint8)
    rows = [
        Row(name, "tracked", region, metric, Interval(value, value - 0.25, value + 0.5, 42))
        for region in ("face", "mouth")
        for metric, base in (("PSNR", 30.0), ("SSIM", 0.5))
        for name, value in ((EVIL, base + 0.125), ("nearest frame", base - 0.125))
        if (name, region, metric) != ("nearest frame", "mouth", "SSIM")
    ]
    difference = Interval(0.25, 0.1, 0.4, 42)
    return Evaluation(
        avatar=EVIL,
        capture_identifier="abc-42-64",
        size_px=64,
        background=(0.0, 0.5, 1.0),
        frames_scored=42,
        frames_dropped=3,
        rows=tuple(rows),
        verdicts=(Verdict(EVIL, "nearest frame", "face", "PSNR", difference, "better"),),
        departures=("it departs",),
        notes=(EVIL,),
        examples=(Example(7, picture, {EVIL: picture, "nearest frame": 255 - picture}),),
    )


def test_the_evaluation_report_shows_every_number_and_the_verdict(tmp_path) -> None:
    write_evaluation_report(tmp_path / "evaluation.html", _evaluation())
    parsed = _read(tmp_path / "evaluation.html")
    for fact in ("30.12 [29.88, 30.62]", "0.6250 [0.3750, 1.1250]", "42 held-out", "3 more", "rgb(0, 128, 255)"):
        assert fact in parsed.text
    assert "it departs" in parsed.text and "Frame 7" in parsed.text
    assert parsed.attributes.count(("class", "good")) == 1
    assert parsed.tags.count("img") == 1


def _avatar() -> Avatar:
    provenance = {"training_s": 61.5, "seed": 5, "sources": {"target": []}}
    notes = ("Perceptual loss: L1 of a-network features.", EVIL)
    return Avatar(
        kind="methods",
        name="toy",
        preset="draft",
        config={},
        state={},
        weights={"a": torch.zeros(1234)},
        identifier="id",
        provenance=provenance,
        notes=notes,
    )


def _journal(path: Path) -> Path:
    entries = [
        {"stage": stage, "step": step, "player": "p", "losses": {"l1": 1 / (step + 1)}, "elapsed_s": began + step}
        for stage, began in (("first", 0.0), ("second", 10.0))
        for step in range(0, 8, 2)
    ]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries) + '{"cut off')
    return path


def test_the_training_report_tells_curves_times_and_remarks(tmp_path) -> None:
    previews = {EVIL: torch.zeros(3, 4, 4, dtype=torch.uint8)}
    write_training_report(tmp_path / "training.html", _avatar(), _journal(tmp_path / "journal.jsonl"), previews)
    parsed = _read(tmp_path / "training.html")
    for fact in ("1,234", "61.5", "L1 of a-network features", "Stage first, p", "Stage second, p", "6.0 s", "10.0 s"):
        assert fact in parsed.text
    assert sum(tag == "polyline" for tag in parsed.tags) == 2
    assert parsed.tags.count("img") == 1


def test_a_training_without_a_journal_says_so(tmp_path) -> None:
    parts = training_sections(_avatar(), tmp_path / "nothing.jsonl")[1].parts
    assert "no journal" in parts[0]


def test_the_summary_tells_times_products_and_holds_the_parts(tmp_path) -> None:
    stages = [
        StageRecord("ingest", 12.3, (tmp_path / "capture", tmp_path / f"{EVIL.replace('/', '')}.mp4"), kept=True),
        StageRecord("train", 125.0, (Path("/elsewhere/avatar"),)),
    ]
    parts = {"evaluate": evaluation_sections(_evaluation())}
    write_summary(tmp_path / "report.html", EVIL, stages, parts)
    parsed = _read(tmp_path / "report.html")
    for fact in (
        "12.3 s",
        "2 min 5 s",
        "2 min 17 s",
        "kept",
        "capture",
        "evaluate: Scores on held-out frames",
        "30.12",
    ):
        assert fact in parsed.text
    assert str(tmp_path) not in parsed.text
    assert str(Path("/elsewhere/avatar")) in parsed.text
