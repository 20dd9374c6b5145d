"""Persons: seeds, displacement beyond the basis, measures, and paint that lands where it belongs."""

import pytest
import torch

from headstudio.synth.appearance import paint
from headstudio.synth.fields import diffuse, measure
from headstudio.synth.lashes import grow_lashes
from headstudio.synth.noise import fractal_noise, smooth_noise
from headstudio.synth.person import SyntheticPerson, displacement, flat_corneas


def test_seed_decides_the_person(head):
    one, same, other = (SyntheticPerson.sample(seed, head) for seed in (3, 3, 4))
    assert torch.equal(one.identity, same.identity) and torch.equal(one.offsets_m, same.offsets_m)
    assert one.looks == same.looks
    assert not torch.equal(one.identity, other.identity) and one.looks != other.looks


def test_displacement_is_millimetres_beyond_the_basis_and_spares_what_must_fit(head):
    moved = displacement(head, 5, 1.5)
    fixed = head.region("eyeballs", "eyelids", "eyelashes", "mouth_cavity", "teeth", "tongue", "lips")
    assert moved[fixed].abs().amax() == 0.0
    assert 0.0008 < moved[~fixed].std() < 0.002
    basis = head.identity_basis_m.flatten(1).T
    known = basis @ torch.linalg.lstsq(basis, moved.flatten()[:, None]).solution
    assert known.norm() < 0.35 * moved.norm(), "at most an eighth of its energy may be expressible"
    assert torch.allclose(displacement(head, 5, 3.0), 2.0 * displacement(head, 5, 1.5), atol=1e-9)


def test_corneas_are_flattened_and_round_eyes_left_alone(head):
    neutral = head.template_m.clone()
    assert not flat_corneas(head, neutral).any()
    balls = head.region("eyeballs")
    front = balls & (neutral[:, 2] > neutral[balls][:, 2].quantile(0.9))
    neutral[front, 2] += 0.001
    mended = neutral + flat_corneas(head, neutral)
    assert torch.equal(mended[~balls], neutral[~balls])
    centres = head.joints(head.template_m[None])[0, 3:]
    radius = torch.cdist(mended[balls], centres).amin(1)
    assert radius.max() < torch.cdist(head.template_m[balls], centres).amin(1).max() - 1e-4


def test_displacement_is_smooth(head):
    moved = displacement(head, 5, 1.5)
    corners = moved[head.triangles]
    points = head.template_m[head.triangles]
    stretch = (corners[:, 0] - corners[:, 1]).norm(dim=-1) / (points[:, 0] - points[:, 1]).norm(dim=-1).clamp_min(1e-5)
    # Unit noise over 45 mm at 1.5 mm stretches a few hundredths typically; 1 would be a fold.
    assert stretch.median() < 0.12 and stretch.quantile(0.99) < 0.45


def test_measures_of_the_template(head):
    anatomy = measure(head, head.template_m)
    assert anatomy.eye_centre_m[0, 0] > 0.02 > -0.02 > anatomy.eye_centre_m[1, 0], "the person's left is +x"
    assert 0.055 < anatomy.eye_distance_m < 0.07
    assert anatomy.chin_y_m < anatomy.mouth_centre_m[1] < anatomy.nose_tip_m[1] < 0.0 < anatomy.crown_y_m
    assert anatomy.nose_tip_m[2] > anatomy.mouth_centre_m[2]


def test_noise_repeats_by_seed_has_unit_variance_and_a_scale():
    points = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0))
    noise = fractal_noise(points, 0.05, 3)
    assert torch.equal(noise, fractal_noise(points, 0.05, 3))
    assert not torch.equal(noise, fractal_noise(points, 0.05, 4))
    assert noise.std() == pytest.approx(1.0, abs=0.25) and abs(noise.mean()) < 0.2
    step = torch.tensor([0.001, 0.0, 0.0])
    near, far = (smooth_noise(points + k * step, 0.05, 3) - smooth_noise(points, 0.05, 3) for k in (1, 200))
    assert near.abs().mean() < 0.1 * far.abs().mean()


def test_diffusion_keeps_constants_and_averages_neighbours():
    triangles = torch.tensor([[0, 1, 2]])
    assert torch.allclose(diffuse(torch.full((3, 1), 0.7), triangles, 5), torch.full((3, 1), 0.7))
    once = diffuse(torch.tensor([[1.0], [0.0], [0.0]]), triangles, 1)
    assert torch.allclose(once, torch.tensor([[0.5], [0.25], [0.25]]))


def test_paint_lands_on_its_regions(head):
    person = SyntheticPerson.sample(1, head)
    albedo = paint(head, person, 512).albedo
    assert albedo.shape == (3, 512, 512) and albedo.amin() >= 0.0 and albedo.amax() <= 1.0

    def mean_colour(region):
        inside = head.region(region)[head.triangles].all(-1)
        places = head.uv[head.uv_triangles[inside]].mean(1) * 512
        column, row = places.long().clamp(0, 511).T
        return albedo[:, row, column].mean(1)

    lips, skin, teeth, cavity = (mean_colour(name) for name in ("lips", "face", "teeth", "mouth_cavity"))
    assert lips[0] / lips[1] > 1.15 * skin[0] / skin[1], "lips are redder than skin"
    assert teeth.mean() > 1.5 * cavity.mean()
    assert mean_colour("eyeballs").mean() > 0.5


def test_lashes_follow_the_lids(head):
    neutral = head.template_m
    lashes = grow_lashes(head, neutral, measure(head, neutral), 1)
    assert lashes is not None and torch.allclose(lashes.weights.sum(-1), torch.ones(len(lashes.weights)))
    assert head.region("eyelashes")[lashes.vertices].all()
    shifted = lashes.points(neutral + torch.tensor([0.0, 0.01, 0.0]))
    assert torch.allclose(shifted - lashes.points(neutral), torch.tensor([0.0, 0.01, 0.0]), atol=1e-6)
    tips = lashes.points(neutral)[2::3]
    roots = lashes.points(neutral)[0::3]
    assert (tips[:, 2] - roots[:, 2]).median() > 0.001, "lashes point away from the face"
