"""The judge is judged: perfect tracks score perfectly, known errors come out as what they are."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import roma
import torch

import tracking_scores as scores
from headstudio.heads import load_head
from headstudio.heads.arkit import ARKIT_INDEX
from headstudio.heads.base import Articulation
from headstudio.records.capture import Crop
from headstudio.records.track import HeadIdentity, Track, TrackView, neutral_light
from tracking_surface import Similarity, Surface, lay_over, nearest_on_triangles, similarity_between

FRAMES = 32


@pytest.fixture(scope="module")
def head():
    return load_head("makehuman")


@pytest.fixture(scope="module")
def perfect(head):
    """A track that is the truth, seen through a crop of half the resolution."""
    generator = torch.Generator().manual_seed(5)
    times = torch.arange(FRAMES, dtype=torch.float64) / 25
    arkit = torch.zeros(FRAMES, 52)
    wave = 0.5 - 0.5 * torch.cos(torch.linspace(0, 12.0, FRAMES))
    for name in scores.CHANNELS:
        arkit[:, ARKIT_INDEX[name]] = 0.6 * wave
    lids = torch.zeros(FRAMES)
    lids[[10, 11, 30]] = torch.tensor([1.0, 0.6, 0.9])
    for side in ("eyeBlinkLeft", "eyeBlinkRight"):
        arkit[:, ARKIT_INDEX[side]] = lids
    state = head.from_arkit(arkit)
    gaze = 0.2 * torch.randn(FRAMES, 2, 3, generator=generator) * torch.tensor([1.0, 1.0, 0.0])
    state = state._replace(gaze_rad=gaze)
    identity = torch.randn(head.identities, generator=generator) * 0.5
    neutral = head.neutral(identity[None])
    T = torch.eye(4).repeat(FRAMES, 1, 1)
    facing = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    T[:, :3, :3] = facing @ roma.rotvec_to_rotmat(0.2 * torch.randn(FRAMES, 3, generator=generator))
    T[:, 2, 3] = 0.6
    vertices = torch.cat([head.pose(neutral, Articulation(*(v[i : i + 1] for v in state))) for i in range(FRAMES)])
    K = torch.tensor([[900.0, 0, 320], [0, 900.0, 240], [0, 0, 1]]).expand(FRAMES, 3, 3)
    points = head.landmark_points(vertices) @ T[:, :3, :3].mT + T[:, None, :3, 3]
    pixels = points @ K.mT
    truth = SimpleNamespace(
        head="makehuman", width_px=640, height_px=480, times_s=times, K_px=K, T_camera_head=T, arkit=arkit,
        gaze_rad=gaze, neutral_m=neutral[0], vertices_m=vertices.half(), landmarks_px=pixels[..., :2] / pixels[..., 2:],
        blinks_s=times[[10, 30]], closures_s=times[[6]],
    )  # fmt: skip
    crop = Crop(100.0, 20.0, 400.0)
    K_stored = K.clone()
    K_stored[:, :2, 2] -= torch.tensor([crop.left_px, crop.top_px])
    K_stored[:, :2] *= 200 / crop.side_px
    detected = torch.full((FRAMES, 478, 3), torch.nan)
    detected[..., :2] = (truth.landmarks_px - torch.tensor([crop.left_px, crop.top_px])) * 200 / crop.side_px
    detected[..., 2] = 0.0
    detected[..., :2] += torch.randn(FRAMES, 478, 2, generator=generator)
    view = SimpleNamespace(crop=crop, source=SimpleNamespace(start_s=0.0), landmarks_px=detected)
    track = Track(
        "a", 200, HeadIdentity("makehuman", identity), times, state.expression, arkit, state.neck_rad, state.jaw_rad,
        gaze, T, {"main": TrackView(K_stored, torch.eye(4).repeat(FRAMES, 1, 1))}, neutral_light(FRAMES),
        torch.ones(FRAMES), torch.ones(FRAMES, dtype=torch.bool),
    )  # fmt: skip
    return scores.Pair(track, truth, SimpleNamespace(views=(view,), size_px=200), head, head)  # type: ignore[arg-type]


def with_track(pair, **changes):
    return replace(pair, track=replace(pair.track, **changes))


def test_the_truth_scores_perfectly(perfect):
    found, series = scores.score(perfect)
    assert found["frames_share"] == 1.0 and found["usable_share"] == 1.0
    for name in ("rotation_deg_p95", "gaze_deg_p95", "gaze_raw_deg_p95", "gaze_camera_deg_p95", "landmarks_pct_p95"):
        assert found[name] == pytest.approx(0.0, abs=0.05), name
    # Half precision of the truth's vertices.
    assert found["surface_mm_p95"] < 0.15 and found["neutral_mm_p95"] < 0.01
    assert all(found[f"correlation_{c}"] > 0.9999 and abs(found[f"amplitude_{c}"] - 1) < 1e-4 for c in scores.CHANNELS)
    assert found["blink_precision"] == found["blink_recall"] == 1.0
    assert found["jitter_pct"] < 0.01 < found["jitter_raw_pct"]
    assert found["lids_kept"] == pytest.approx(1.0, abs=1e-3) and found["lips_kept"] == pytest.approx(1.0, abs=1e-3)
    assert {"rotation_deg", "gaze_deg", "surface_mm", "landmarks_pct"} <= series.keys()
    assert found["perspective_ratio"] == pytest.approx(1.0, abs=1e-5)
    assert found["perspective_difference"] == pytest.approx(0.0, abs=1e-5)


def test_another_frame_of_the_head_costs_nothing_but_a_wrong_turn_does(perfect):
    T = perfect.track.T_world_head.clone()
    T[:, :3, :3] = T[:, :3, :3] @ roma.rotvec_to_rotmat(torch.tensor([0.1, -0.05, 0.02]))
    assert scores.turn_error_deg(*with_track(perfect, T_world_head=T).turns).max() < 1e-3
    T[: FRAMES // 2, :3, :3] = T[: FRAMES // 2, :3, :3] @ roma.rotvec_to_rotmat(torch.tensor([0.0, 0.1, 0.0]))
    # Half of the frames are off by 0.1 rad against the others; the constant rotation halves it.
    found = scores.turn_error_deg(*with_track(perfect, T_world_head=T).turns)
    assert float(found.median()) == pytest.approx(2.865, abs=0.02)


def test_known_errors_of_gaze_surface_and_lens(perfect, head):
    turned = perfect.track.gaze_rad.clone()
    turned[..., 1] += 0.1
    found = scores.gaze_errors_deg(with_track(perfect, gaze_rad=turned))
    assert found["gaze_deg"].median() < 1.0 and float(found["gaze_raw_deg"].median()) == pytest.approx(5.6, abs=0.3)
    offsets = torch.zeros(head.vertices, 3)
    ball = (perfect.truth.neutral_m - perfect.truth.neutral_m[head.region("nose")].mean(0)).norm(dim=1) < 0.02
    offsets[ball, 2] = 0.006
    identity = HeadIdentity("makehuman", perfect.track.identity.coefficients, offsets)
    found = scores.surface_errors_mm(with_track(perfect, identity=identity))["posed"].flatten()
    assert found.median() < 0.6 and 1.0 < found.quantile(0.95) < 6.0
    view = perfect.track.views["main"]
    K = view.K_px.clone()
    K[:, 0, 0] *= 1.25
    wrong = with_track(perfect, views={"main": replace(view, K_px=K)})
    assert scores.perspective_scores(wrong)["perspective_ratio"] == pytest.approx(0.8, abs=1e-5)
    assert scores.perspective_scores(wrong)["perspective_difference"] == pytest.approx(640 / 900 * -0.2, abs=1e-5)
    assert scores.landmark_errors_pct(wrong).median() > 2.0


def test_blinks_are_counted_once_and_only_near_their_time(perfect):
    assert scores.matched([1.0, 1.05], [1.02]) == 1
    assert scores.matched([1.0, 2.0, 3.0], [1.11, 2.2, 3.0]) == 2
    assert scores.matched([], [1.0]) == 0
    times = torch.arange(100, dtype=torch.float64) / 25
    lids = 0.1 + 0.02 * torch.sin(times * 7)
    assert scores.blink_times(lids, times) == [], "noise is no blink"
    lids[[20, 60]] = 0.5
    lids[40] = 0.2
    assert scores.blink_times(lids, times) == pytest.approx([0.8, 2.4])
    lids[0] = 0.5
    assert scores.blink_times(lids, times)[0] == 0.0, "a clip may begin within a blink"
    still = perfect.track.arkit.clone()
    still[:, [ARKIT_INDEX["eyeBlinkLeft"], ARKIT_INDEX["eyeBlinkRight"]]] = 0.0
    found = scores.blink_scores(with_track(perfect, arkit=still))
    assert found["blink_precision"] is None and found["blink_recall"] == 0.0


def test_agreement_tells_size_from_shape_and_is_silent_where_nothing_moves():
    true = torch.linspace(0, 1, 50).double()
    assert scores.agreement(0.3 * true + 0.2, true) == pytest.approx((1.0, 0.3))
    assert scores.agreement(-true, true) == pytest.approx((-1.0, -1.0))
    assert scores.agreement(torch.full_like(true, 0.4), true) == pytest.approx((0.0, 0.0))
    assert scores.agreement(true, 0.1 * true) == (None, None)


def test_frames_without_numbers_are_missed(perfect):
    broken = perfect.track.expression.clone()
    broken[:4] = torch.nan
    assert scores.frame_scores(with_track(perfect, expression=broken))["frames_share"] == 0.875


def test_nearest_points_equal_those_of_a_dense_search():
    generator = torch.Generator().manual_seed(1)
    corners = torch.randn(60, 3, 3, generator=generator, dtype=torch.float64)
    points = 2 * torch.randn(60, 3, generator=generator, dtype=torch.float64)
    share = torch.linspace(0, 1, 101, dtype=torch.float64)
    u, v = (grid.flatten() for grid in torch.meshgrid(share, share, indexing="ij"))
    u, v = u[u + v <= 1 + 1e-9], v[u + v <= 1 + 1e-9]
    dense = torch.einsum("gk,tkj->tgj", torch.stack([u, v, 1 - u - v], dim=1), corners)
    expected = (dense - points[:, None]).norm(dim=-1).amin(1)
    found = (nearest_on_triangles(points, corners) - points).norm(dim=-1)
    assert (found <= expected + 1e-12).all() and (expected - found).max() < 0.03


def test_similarities_are_recovered(head):
    true = Similarity(
        1.07, roma.rotvec_to_rotmat(torch.tensor([0.05, 0.1, -0.04]).double()),
        torch.tensor([0.004, -0.003, 0.002]).double(),
    )  # fmt: skip
    cloud = head.template_m[head.region("face")].double()
    closed = similarity_between(cloud, true(cloud))
    surface = Surface(true(head.template_m.double()), scores.outside(head))
    found = lay_over(
        [cloud, cloud], [surface, surface], Similarity(1.0, torch.eye(3).double(), torch.zeros(3).double())
    )
    for answer, limit in ((closed, 1e-9), (found, 2e-4)):
        assert abs(answer.scale - 1.07) < limit
        assert (answer(cloud) - true(cloud)).norm(dim=-1).max() < limit
    assert surface.distance(found(cloud)).max() < 1e-4


def test_what_nobody_can_see_does_not_score(head):
    seen = scores.seen_face(head, head.template_m)
    assert not (seen & ~head.region("face")).any()
    assert seen.sum() > 0.85 * head.region("face").sum()
