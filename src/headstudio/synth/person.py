"""Who the synthetic actor is: seeded shape and looks."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.heads.base import JOINTS, HeadModel
from headstudio.synth.fields import blend_between
from headstudio.synth.noise import smooth_noise

_SCALE_M, _FREE_M = 0.045, (0.002, 0.02)
"""Size of the displacement's features; distances from eyes and mouth at which it begins and is whole."""
_CORNEA_M = 0.0003
"""An eyeball that bulges by more has a cornea; it is flattened to so much below the ball's radius."""

HAIR_STYLES = ("short", "medium", "bald")

_HAIR = (
    (0.14, 0.11, 0.095),
    (0.24, 0.165, 0.12),
    (0.33, 0.22, 0.13),
    (0.55, 0.42, 0.26),
    (0.42, 0.2, 0.1),
    (0.45, 0.44, 0.43),
)
_IRIS = ((0.28, 0.16, 0.08), (0.38, 0.25, 0.12), (0.34, 0.36, 0.2), (0.28, 0.4, 0.5), (0.4, 0.47, 0.5))
_SHIRT = (
    (0.2, 0.3, 0.42),
    (0.5, 0.22, 0.2),
    (0.24, 0.36, 0.28),
    (0.75, 0.73, 0.68),
    (0.16, 0.16, 0.18),
    (0.62, 0.5, 0.3),
)


@dataclass(frozen=True)
class Looks:
    """What a person looks like; colours are sRGB in [0, 1]."""

    melanin: float
    """0 is the palest, 1 the darkest skin."""
    blood: float
    """Strength of the red of cheeks, nose and ears; 1 is usual."""
    lip_rgb: tuple[float, float, float]
    """Tint towards which the skin of the lips is drawn."""
    brow_thickness: float
    """1 is usual."""
    brow_arch: float
    """Height of the arch in eye distances; 0 is straight."""
    iris_rgb: tuple[float, float, float]
    hair_rgb: tuple[float, float, float]
    hair_style: str
    """One of `HAIR_STYLES`."""
    stubble: float
    """0 is shaved, 1 a dark shadow."""
    freckles: float
    """0 is none, 1 many."""
    shirt_rgb: tuple[float, float, float]


@dataclass(frozen=True)
class SyntheticPerson:
    """A seeded person in a head model."""

    seed: int
    identity: Float[Tensor, " identities"]
    """Coefficients in prior standard deviations."""
    offsets_m: Float[Tensor, "vertices 3"]
    """Displacement that the identity basis cannot express, in the head frame; the eyes' flattened corneas too."""
    looks: Looks

    @classmethod
    def sample(
        cls, seed: int, head: HeadModel, identity_spread: float = 0.8, displacement_mm: float = 1.5
    ) -> "SyntheticPerson":
        """The person of a seed.

        Args:
            seed: same seed and head, same person.
            head: where the identity basis comes from.
            identity_spread: standard deviation of the coefficients, in prior standard deviations.
            displacement_mm: standard deviation of the displacement beyond the basis.
        """
        generator = np.random.default_rng([seed, 0])
        looks = _looks(generator)
        drawn = np.clip(generator.normal(0.0, identity_spread, head.identities), -2.0, 2.0)
        identity = torch.from_numpy(drawn).float()
        offsets = displacement(head, seed, displacement_mm) + flat_corneas(head, head.neutral(identity[None])[0])
        return cls(seed, identity, offsets, looks)

    def neutral(self, head: HeadModel) -> Float[Tensor, "vertices 3"]:
        """The person's neutral face in the head frame, metres."""
        return head.neutral(self.identity[None].to(head.template_m), self.offsets_m[None])[0]


def displacement(head: HeadModel, seed: int, deviation_mm: float) -> Float[Tensor, "vertices 3"]:
    """A smooth random displacement of the skin without the part that the identity basis could express.

    Eyes, lids, mouth and teeth must keep fitting each other and stay where they are.
    """
    points = head.template_m
    noise = torch.stack([smooth_noise(points, _SCALE_M, 977 * seed + axis) for axis in range(3)], dim=-1)
    skin = _free_skin(head)
    basis = head.identity_basis_m.flatten(1).T.double()
    moved = (noise * skin).flatten().double()
    known = basis @ torch.linalg.solve(basis.T @ basis, basis.T @ moved)
    beyond = (moved - known).unflatten(0, (-1, 3)) * skin
    unit = beyond / beyond[skin[:, 0] > 0.0].std()
    # Linear algebra differs in its last bits from run to run; a seed must not.
    return (unit * 1e5).round().float() * (deviation_mm * 1e-8)


def flat_corneas(head: HeadModel, neutral_m: Float[Tensor, "vertices 3"]) -> Float[Tensor, "vertices 3"]:
    """Offsets that make round what bulges out of the eyeballs.

    Closed lids are sculpted over the eyes of the mean head; of another person's a cornea would show through them.
    """
    offsets, eyes = torch.zeros_like(neutral_m), head.region("eyeballs")
    joints = head.joints(neutral_m[None])[0]
    for name, side in (("eye_left", neutral_m[:, 0] > 0), ("eye_right", neutral_m[:, 0] <= 0)):
        ball = eyes & side
        arms = neutral_m[ball] - joints[JOINTS.index(name)]
        radius = arms.norm(dim=1, keepdim=True)
        if float(radius.amax() - radius.median()) > _CORNEA_M:
            offsets[ball] = arms * ((radius.median() - _CORNEA_M) / radius - 1.0).clamp_max(0.0)
    return offsets


def _free_skin(head: HeadModel) -> Float[Tensor, "vertices 1"]:
    fixed = head.region("eyeballs", "eyelids", "eyelashes", "mouth_cavity", "teeth", "tongue", "lips")
    exact = "donot_use_mm_for_euclid_dist"
    distance_m = torch.cdist(head.template_m, head.template_m[fixed], compute_mode=exact).amin(dim=1)
    return blend_between(distance_m, *_FREE_M)[:, None]


def _looks(generator: np.random.Generator) -> Looks:
    melanin = float(generator.beta(1.2, 1.8))
    hair = _HAIR[generator.integers(2 if melanin > 0.55 else len(_HAIR))]
    iris = _IRIS[generator.integers(2 if melanin > 0.55 else len(_IRIS))]
    lip = np.array([0.66, 0.3, 0.31]) * (1.0 - 0.35 * melanin) + generator.normal(0.0, 0.02, 3)
    masculine = generator.random() < 0.5
    style = str(generator.choice(HAIR_STYLES, p=(0.75, 0.1, 0.15) if masculine else (0.2, 0.8, 0.0)))
    return Looks(
        melanin=melanin,
        blood=float(generator.uniform(0.7, 1.3)),
        lip_rgb=tuple(float(v) for v in lip.clip(0.1, 0.9)),  # type: ignore[arg-type]
        brow_thickness=float(generator.uniform(0.8, 1.15) * (1.15 if masculine else 0.85)),
        brow_arch=float(generator.uniform(0.04, 0.1)),
        iris_rgb=iris,
        hair_rgb=hair,
        hair_style=style,
        stubble=float(generator.uniform(0.0, 1.0)) if masculine else 0.0,
        freckles=float(max(0.0, generator.normal(0.0, 0.5))) * (1.0 - melanin),
        shirt_rgb=_SHIRT[generator.integers(len(_SHIRT))],
    )
