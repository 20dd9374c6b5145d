"""The one-sided silhouette: inside there is no pull, outside it leads back to the edge."""

import pytest
import torch
from tracking_actor import SIZE_PX

from headstudio.tracking.silhouette import Outside, distance_px
from headstudio.tracking.surface import slopes

RADIUS_PX = 70.0
CENTRE_PX = 128.0
NOISE_PX = 3.0


def disc(cut: bool = False) -> torch.Tensor:
    """A matte (1, 256, 256): a round person, or one whose lower half goes on below the picture."""
    y, x = torch.meshgrid(torch.arange(SIZE_PX) + 0.5, torch.arange(SIZE_PX) + 0.5, indexing="ij")
    inside = (x - CENTRE_PX) ** 2 + (y - CENTRE_PX) ** 2 < RADIUS_PX**2
    if cut:
        inside |= ((x - CENTRE_PX).abs() < RADIUS_PX) & (y > CENTRE_PX)
    return (inside * 255).byte()[None]


def edge(matte: torch.Tensor, robust: float = 100.0) -> Outside:
    away_px = distance_px(matte, SIZE_PX)[None, None]
    return Outside(
        layers=torch.cat([away_px, slopes(away_px)], dim=1), seen=torch.tensor([True]),
        scale=away_px.shape[-1] / SIZE_PX, noise_px=torch.tensor([NOISE_PX]), weight=0.5, robust=robust,
    )  # fmt: skip


def around(radius_px: float) -> torch.Tensor:
    """(1, 16, 2) points on a circle about the middle."""
    angle = torch.linspace(0, 2 * torch.pi, 17)[:-1]
    return CENTRE_PX + radius_px * torch.stack([angle.cos(), angle.sin()], dim=1)[None]


def test_inside_nothing_pulls() -> None:
    pull = edge(disc()).pull(around(RADIUS_PX - 8), torch.tensor([0]))
    assert float(pull.cost) == 0.0
    assert not pull.force.any()


def test_outside_the_pull_leads_to_the_edge_and_knows_how_far() -> None:
    away_px = 20.0
    points = around(RADIUS_PX + away_px)
    pull = edge(disc()).pull(points, torch.tensor([0]))
    inwards = torch.nn.functional.normalize(CENTRE_PX - points[0], dim=-1)
    along = torch.nn.functional.cosine_similarity(pull.force[0], inwards)
    assert float(along.min()) > 0.97
    expected = 0.5 * 0.5 * (away_px / NOISE_PX) ** 2 * 16  # weight times half a square, sixteen points
    assert float(pull.cost) == pytest.approx(expected, rel=0.15)
    step = torch.linalg.pinv(pull.metric[0]) @ pull.force[0, ..., None]
    assert float((step[..., 0].norm(dim=-1) - away_px).abs().max()) < 3.0


def test_force_is_the_slope_of_the_cost() -> None:
    picture, points, frames = edge(disc()), around(RADIUS_PX + 25.0).double(), torch.tensor([0])
    picture = Outside(picture.layers.double(), *list(vars(picture).values())[1:])
    force, eps = picture.pull(points, frames).force, 0.5
    for axis in (0, 1):
        step = torch.zeros(2, dtype=torch.float64)
        step[axis] = eps
        rise = picture.pull(points + step, frames).cost - picture.pull(points - step, frames).cost
        # Slopes of the layers are central differences of their own, two stored pixels apart.
        assert float(-force[0, :, axis].sum()) == pytest.approx(float(rise) / (2 * eps), rel=0.1, abs=0.5)


def test_far_away_the_pull_is_bounded() -> None:
    weak, strong = (edge(disc(), robust).pull(around(RADIUS_PX + 50.0), torch.tensor([0])) for robust in (1.0, 100.0))
    assert float(weak.cost) < 0.3 * float(strong.cost)
    assert float(weak.force.norm()) < 0.3 * float(strong.force.norm())


def test_a_person_cut_by_the_picture_goes_on_behind_its_border() -> None:
    below = torch.tensor([[[CENTRE_PX, SIZE_PX + 30.0], [CENTRE_PX - 40, SIZE_PX + 10.0]]])
    assert float(edge(disc(cut=True)).pull(below, torch.tensor([0])).cost) == 0.0


def test_an_empty_matte_says_nothing() -> None:
    assert not edge(torch.zeros(1, SIZE_PX, SIZE_PX, dtype=torch.uint8)).pull(around(100.0), torch.tensor([0])).cost


def test_frames_without_a_face_do_not_count() -> None:
    seen = edge(disc())
    unseen = Outside(seen.layers, torch.tensor([False]), *list(vars(seen).values())[2:])
    pull = unseen.pull(around(RADIUS_PX + 20.0), torch.tensor([0]))
    assert float(pull.cost) == 0.0 and not pull.force.any() and not pull.metric.any()
