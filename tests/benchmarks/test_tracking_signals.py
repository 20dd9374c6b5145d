"""Signals whose jitter and closures are known."""

import numpy as np
import pytest
import torch

from headstudio.heads import load_head
from headstudio.tracking.config import TrackingConfig
from headstudio.tracking.observations import IRISES, OVAL
from tracking_pictures import inside_hull
from tracking_real import short_name, withheld_landmarks
from tracking_signals import apertures, closures, depth, kept, rigid_landmarks, shake, still_seconds
from tracking_variants import changed, names, parsed, variant

TIMES = np.arange(200) / 25.0


def blinking(amplitude: float) -> np.ndarray:
    aperture = 0.3 + 0.01 * np.sin(TIMES * 3)
    for at_s in (1.0, 3.0, 6.0):
        aperture -= amplitude * np.exp(-(((TIMES - at_s) / 0.05) ** 2))
    return aperture


def test_closures_are_found_where_they_are_and_nowhere_else():
    assert [TIMES[frame] for frame in closures(blinking(0.25), TIMES)] == pytest.approx([1.0, 3.0, 6.0], abs=0.041)
    half = blinking(0.25)
    half[50:55] -= 0.06
    assert len(closures(half, TIMES)) == 3, "a squint is no closure"


def test_depth_is_the_fall_and_what_is_kept_its_share():
    assert depth(blinking(0.25), TIMES, 3.0) == pytest.approx(0.25, abs=0.01)
    assert kept(blinking(0.2), blinking(0.25), TIMES, [1.0, 3.0, 6.0]) == pytest.approx(0.8, abs=0.02)
    shifted = np.roll(blinking(0.25), 8)
    assert kept(shifted, blinking(0.25), TIMES, [1.0, 3.0, 6.0]) < 0.2, "a late blink is a lost one"  # type: ignore[operator]
    assert kept(blinking(0.2), blinking(0.0), TIMES, []) is None


def test_apertures_do_not_depend_on_size_and_bridge_gaps():
    generator = torch.Generator().manual_seed(2)
    points = 100 * torch.randn(6, 478, 2, generator=generator)
    lids, lips = apertures(points)
    assert apertures(3.0 * points)[0] == pytest.approx(lids) and apertures(3.0 * points)[1] == pytest.approx(lips)
    points[3] = torch.nan
    assert apertures(points)[0][3] == pytest.approx((lids[2] + lids[4]) / 2)


def test_the_stillest_second_is_the_one_without_movement():
    generator = torch.Generator().manual_seed(3)
    walk = torch.randn(200, 1, 2, generator=generator).cumsum(0)
    walk[100:130] = walk[100]
    points = walk + torch.randn(1, 20, 2, generator=generator) + 0.1 * torch.randn(200, 20, 2, generator=generator)
    still = still_seconds(points, torch.from_numpy(TIMES))
    assert still[0].start >= 98 and still[0].stop <= 132
    assert all(a.stop <= b.start or b.stop <= a.start for i, a in enumerate(still) for b in still[i + 1 :])
    # White noise of deviation 0.1: its second difference has sqrt(6) times that.
    assert shake(points, still[:1]) == pytest.approx(0.1 * 6**0.5, rel=0.1)
    points[110] = torch.nan
    assert not any(part.start <= 110 < part.stop for part in still_seconds(points, torch.from_numpy(TIMES)))


def test_withheld_landmarks_are_a_fifth_and_everywhere():
    head = load_head("makehuman")
    withheld = withheld_landmarks()
    trusted = (head.landmark_weight > 0.5).nonzero()[:, 0].tolist()
    pool = sorted(set(trusted) - set(IRISES) - set(OVAL))
    assert set(withheld) <= set(pool) and 0.15 < len(withheld) / len(pool) < 0.22
    points_m = head.landmark_points(head.template_m[None])[0]
    apart = torch.cdist(points_m[pool], points_m[list(withheld)]).amin(1)
    assert apart.max() < 0.03 and apart.median() < 0.012
    assert set(rigid_landmarks(head).tolist()) <= set(pool)


def test_hull_covers_its_inside_only():
    square = torch.tensor([[2.0, 3.0], [8.0, 3.0], [8.0, 7.0], [2.0, 7.0], [5.0, 5.0]])
    mask = inside_hull(square, 10)
    expected = torch.zeros(1, 10, 10, dtype=torch.bool)
    expected[:, 3:7, 2:8] = True
    assert torch.equal(mask, expected)


def test_variants_set_what_they_name_and_nothing_unknown():
    assert variant("default") == TrackingConfig()
    assert not variant("no-smoothing").smoothing.enabled and variant("no-smoothing").photometric.enabled
    assert variant("withheld").solve.withheld == withheld_landmarks()
    for name in names():
        variant(name)
    changes = parsed(["solve.lips=4.5", "smoothing.rotation=(1, 2)", "head=ict"])
    config = changed(TrackingConfig(), changes)
    assert (config.solve.lips, config.smoothing.rotation, config.head) == (4.5, (1, 2), "ict")
    with pytest.raises(KeyError, match="has no lid_distance; it has"):
        changed(TrackingConfig(), {"solve.lid_distance": 1})


def test_names_of_clips_are_short():
    assert short_name("model_man_1080x1920p25_20s") == "model_man"
    assert short_name("whgov_address_720p25_20s") == "whgov" and short_name("webcam_400x300p25_30s") == "webcam"
