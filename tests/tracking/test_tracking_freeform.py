"""Identity beyond the basis: what the displacement fields may do, what they must not, and what they are good for."""

from dataclasses import replace

import pytest
import torch
from tracking_actor import perform

from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.records.track import HeadIdentity
from headstudio.synth.person import displacement
from headstudio.tracking.config import FreeformConfig, TrackingConfig
from headstudio.tracking.freeform import of_person, told_apart, with_freedom
from headstudio.tracking.identity import Person, SharedPrior, shared_landmark_term, solve_person
from headstudio.tracking.observations import Observations, closed_form_pose, landmark_weights
from headstudio.tracking.points import landmark_model
from headstudio.tracking.priors import prior_term
from headstudio.tracking.solver import Bounds

FEW = FreeformConfig(fields=10)
MANY = FreeformConfig(fields=60)


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head("makehuman")


@pytest.fixture(scope="module")
def few(head: HeadModel) -> HeadModel:
    return with_freedom(head, FEW)


@pytest.fixture(scope="module")
def many(head: HeadModel) -> HeadModel:
    return with_freedom(head, MANY)


def drawn(free: HeadModel, head: HeadModel, count: int, seed: int = 0) -> torch.Tensor:
    """Displacements (count, vertices, 3) of people who differ beyond the basis alone."""
    weights = torch.randn(count, free.identities - head.identities, generator=torch.Generator().manual_seed(seed))
    return torch.einsum("ni,ivc->nvc", weights, free.identity_basis_m[head.identities :])


def test_no_fields_are_the_head_itself(head: HeadModel) -> None:
    same = with_freedom(head, FreeformConfig(fields=0))
    assert same.identities == head.identities
    assert torch.equal(same.identity_basis_m, head.identity_basis_m)
    coefficients = torch.randn(head.identities, generator=torch.Generator().manual_seed(0))
    told = told_apart(same, head, coefficients)
    assert told.offsets_m is None and torch.equal(told.coefficients, coefficients)


def test_three_coefficients_a_field_and_the_rest_of_the_head_as_it_was(head: HeadModel, few: HeadModel) -> None:
    assert few.identities == head.identities + 3 * FEW.fields
    assert torch.equal(few.identity_basis_m[: head.identities], head.identity_basis_m)
    assert torch.equal(few.template_m, head.template_m) and few.data.licence == head.data.licence
    assert bool(torch.isfinite(few.identity_basis_m).all())


def test_more_fields_begin_with_the_same(head: HeadModel, few: HeadModel, many: HeadModel) -> None:
    """Leading eigenfunctions: the strongest come first, and a longer list only adds to them."""
    shared = few.identities
    torch.testing.assert_close(many.identity_basis_m[:shared], few.identity_basis_m, atol=1e-6, rtol=0)
    strength = many.identity_basis_m[head.identities :].flatten(1).norm(dim=1)
    assert float(strength[:30].mean()) > 3 * float(strength[-30:].mean())


def test_told_apart_is_the_same_face(head: HeadModel, few: HeadModel) -> None:
    identity = torch.randn(few.identities, generator=torch.Generator().manual_seed(1))
    told = told_apart(few, head, identity)
    assert told.head == head.name and told.offsets_m is not None
    assert torch.equal(told.coefficients, identity[: head.identities])
    found = head.neutral(told.coefficients[None], told.offsets_m[None])
    torch.testing.assert_close(found, few.neutral(identity[None]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("with_offsets", [True, False])
def test_the_head_of_a_person_is_that_person_and_nobody_else(
    head: HeadModel, few: HeadModel, with_offsets: bool
) -> None:
    identity = torch.randn(few.identities, generator=torch.Generator().manual_seed(2))
    known = told_apart(few, head, identity) if with_offsets else HeadIdentity(head.name, identity[: head.identities])
    person = of_person(head, known)
    offsets_m = None if known.offsets_m is None else known.offsets_m[None]
    expected = head.neutral(known.coefficients[None], offsets_m)[0]
    assert person.identities == 0
    torch.testing.assert_close(person.neutral(torch.zeros(1, 0))[0], expected, atol=1e-7, rtol=0)


def test_eyes_teeth_and_tongue_keep_their_form(head: HeadModel, many: HeadModel) -> None:
    neutral_m = head.template_m + drawn(many, head, 5)
    left = head.template_m[:, 0] > 0
    eyes = head.region("eyeballs")
    for part in (eyes & left, eyes & ~left, head.region("teeth"), head.region("tongue")):
        chosen = torch.nonzero(part)[:, 0]
        some = chosen[:: max(len(chosen) // 80, 1)]
        distances = torch.cdist(neutral_m[:, some], neutral_m[:, some], compute_mode="donot_use_mm_for_euclid_dist")
        before = torch.cdist(head.template_m[some], head.template_m[some], compute_mode="donot_use_mm_for_euclid_dist")
        # What is taken out as a turn of the whole head is linear in the angle: it stretches by its square, micrometres.
        torch.testing.assert_close(distances, before.expand_as(distances), atol=2e-5, rtol=2e-3)


def test_no_field_moves_or_turns_the_face(head: HeadModel, many: HeadModel) -> None:
    """Least squares by every rigid movement of the face finds none of them in any field."""
    face = head.region("face")
    places = head.template_m[face].double()
    fields = many.identity_basis_m[head.identities :, face].double()
    shift = fields.mean(1)
    moment = torch.linalg.cross(places.expand_as(fields), fields, dim=2).mean(1)
    size, arm_m = fields.norm(dim=2).mean(1, keepdim=True), places.norm(dim=1).mean()
    assert float((shift.norm(dim=1, keepdim=True) / size).max()) < 1e-4
    assert float((moment.norm(dim=1, keepdim=True) / (size * arm_m)).max()) < 1e-4


def test_displacements_have_the_deviation_they_were_promised(head: HeadModel) -> None:
    """Against the process itself on a part of the face, whose own movement and turn are taken out here too.

    150 fields hold all but a few hundredths of it; 60 people are good for 5 %.
    """
    config = replace(MANY, fields=150, proportion=0.0)
    face = torch.nonzero(head.region("face"))[:, 0]
    moved = drawn(with_freedom(head, config), head, 60, seed=3)[:, face]
    some = face[::4]
    places = head.template_m[some].double()
    squared = torch.cdist(places, places) ** 2
    scales = zip(config.deviations_m, config.lengths_m, strict=True)
    covariance = torch.stack([d**2 * torch.exp(-squared / (2 * length**2)) for d, length in scales]).sum(0)
    all_axes = torch.einsum("vw,ij->viwj", covariance, torch.eye(3).double()).flatten(2).flatten(0, 1)
    rigid = torch.linalg.qr(_rigid(places))[0]
    free = torch.eye(len(rigid)).double() - rigid @ rigid.T
    promised = ((free @ all_axes @ free).trace() / len(rigid)).sqrt()
    assert float(moved.square().mean().sqrt()) == pytest.approx(float(promised), rel=0.12)


def test_proportions_stretch_the_head(head: HeadModel) -> None:
    """With nothing but proportions, points move in proportion to where they are."""
    config = FreeformConfig(fields=3, proportion=0.02, deviations_m=(1e-7,), lengths_m=(0.05,))
    moved = drawn(with_freedom(head, config), head, 200, seed=4)
    skin = head.region("face", "scalp") & ~head.region("eyeballs", "teeth", "tongue", "mouth_cavity", "eyelashes")
    far = skin & (head.template_m.norm(dim=1) > 0.1)
    # Half of a shear is a turn, which is taken out: what remains of nine numbers is six.
    share = moved[:, far].norm(dim=2) / head.template_m[far].norm(dim=1) / 3**0.5
    assert 0.5 * config.proportion < float(share.square().mean().sqrt()) < 1.3 * config.proportion


def test_displacements_go_together_nearby(head: HeadModel, many: HeadModel) -> None:
    moved = drawn(with_freedom(head, replace(MANY, proportion=0.0)), head, 40, seed=5)
    face = torch.nonzero(head.region("face"))[:, 0][::7]
    places, there = head.template_m[face], moved[:, face]
    distance = torch.cdist(places, places)
    product = torch.einsum("nvc,nwc->vw", there, there)
    product = product / (product.diagonal()[:, None] * product.diagonal()).sqrt()
    near, apart = (distance < 0.005) & (distance > 0), distance > 0.12
    assert float(product[near].mean()) > 0.9
    assert abs(float(product[apart].mean())) < 0.3


def test_displacements_end_far_from_the_face(head: HeadModel) -> None:
    """Beyond three lengths the process is below 2 %, and the head keeps its form there.

    It moves and turns as a whole: by what was taken from the face, whose own movement is pose.
    """
    config = FreeformConfig(fields=60, proportion=0.0, deviations_m=(0.002,), lengths_m=(0.025,))
    shaped = head.template_m[head.region("face", "eyelids", "nose", "lips", "ears")]
    away = torch.cdist(head.template_m, shaped).amin(1) > 3 * config.lengths_m[0]
    assert int(away.sum()) > 50
    fields = with_freedom(head, config).identity_basis_m[head.identities :]
    here = fields[:, head.region("face")].square().sum(0).mean().sqrt()
    assert float(_without_rigid(head.template_m, away, fields).square().sum(0).mean().sqrt()) < 0.05 * float(here)


def _rigid(places: torch.Tensor) -> torch.Tensor:
    """(points times 3, 6): what moving and turning them does, along and about each axis."""
    axes = torch.eye(3).to(places).expand(len(places), 3, 3)
    turns = torch.linalg.cross(axes, places[:, None].expand(-1, 3, 3), dim=2)
    return torch.cat([axes, turns], dim=1).transpose(1, 2).flatten(0, 1)


def _without_rigid(points: torch.Tensor, part: torch.Tensor, fields: torch.Tensor) -> torch.Tensor:
    """Fields on a part of the head, less their best rigid movement of that part."""
    rigid, moved = _rigid(points[part].double()), fields[:, part].double().flatten(1).T
    return (moved - rigid @ torch.linalg.lstsq(rigid, moved).solution).T.unflatten(1, (-1, 3))


def face_error_m(head: HeadModel, found: HeadIdentity, truth_m: torch.Tensor) -> float:
    """Mean distance of corresponding points of the neutral face after a similarity (scale is not seen)."""
    face = head.region("face")
    offsets_m = None if found.offsets_m is None else found.offsets_m[None]
    a, b = head.neutral(found.coefficients[None], offsets_m)[0, face].double(), truth_m[face].double()
    a, b = a - a.mean(0), b - b.mean(0)
    u, singular, vh = torch.linalg.svd(a.T @ b)
    aligned = (a @ u @ vh) * singular.sum() / a.square().sum()
    return float((aligned - b).norm(dim=1).mean())


def found_identity(head: HeadModel, config: FreeformConfig, observed: Observations, focal_px: float) -> HeadIdentity:
    free = with_freedom(head, config)
    model, settings = landmark_model(free), TrackingConfig().solve
    states, _ = closed_form_pose(model, observed)
    unknown = Person(torch.zeros(free.identities), torch.tensor(focal_px).log(), torch.tensor([128.0, 128.0]))
    prior = SharedPrior(float(unknown.log_focal), 0.0, (128.0, 128.0), 0.0, 1.0)
    term, bounds = shared_landmark_term(model, observed), Bounds(*free.data.expression_range)
    person, _ = solve_person([term], prior_term(free, settings), states, unknown, prior, bounds, 12)
    return told_apart(free, head, person.identity)


@pytest.mark.parametrize("seed", [1, 2])
def test_people_beyond_the_basis_come_nearer(head: HeadModel, seed: int) -> None:
    """Exact landmarks of someone displaced by 1.5 mm (root mean square) where the basis cannot follow.

    Landmarks fix the surface only where they lie, so much of the displacement may stay; a fifth less is what 80 fields
    must be worth, which three people had more than of.
    """
    offsets_m = displacement(head, seed, 1.5)
    displaced = HeadModel(replace(head.data, template_m=head.template_m + offsets_m))
    truth = perform(displaced, frames=12, seed=seed)
    frames = len(truth.landmarks_px)
    observed = Observations(
        truth.landmarks_px[..., :2], truth.landmarks_px[..., 2], torch.ones(frames, dtype=torch.bool),
        landmark_weights(head, TrackingConfig().solve), truth.K_px.expand(frames, 3, 3), torch.full((frames,), 0.2),
        0.5, 2.5,
    )  # fmt: skip
    truth_m = displaced.neutral(truth.identity[None])[0]
    inside, beyond = (
        face_error_m(head, found_identity(head, config, observed, 500.0), truth_m)
        for config in (FreeformConfig(fields=0), FreeformConfig(fields=80))
    )
    assert beyond < 0.8 * inside
