"""How heads differ: a compact linear basis from MakeHuman's macro and local face targets.

Persons are drawn at random in the space of target weights; the principal components of their heads, scaled to one
standard deviation, are the basis, and their mean is the template. MakeHuman has no statistics of real people: the
spreads below were chosen so that eye distance, head width and face height vary about as much as in adults.
"""

from dataclasses import dataclass

import numpy as np

from headstudio.heads.makehuman import files, fitting
from headstudio.heads.makehuman.parts import HeadCut

IDENTITIES = 80
"""Enough for 99.5 % of the drawn persons' variance."""
_PERSONS = 4000
_SEED = 20240
_LOCAL_SPREAD = 0.25
"""Standard deviation of a local target's weight; 1 is the artists' extreme."""
_ASYMMETRY = 0.2
"""Spread of what a person's two sides do not share, as a share of `_LOCAL_SPREAD`."""

_LOCAL_FOLDERS = ("cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "neck", "nose")
_OPPOSITES = {
    "decr": "incr", "down": "up", "in": "out", "backward": "forward", "concave": "convex", "compress": "uncompress",
}  # fmt: skip
_SIDEWAYS = ("head-trans-in", "head-trans-out", "mouth-trans-in", "mouth-trans-out", "nose-trans-in",
             "nose-trans-out", "neck-trans-in", "neck-trans-out")  # fmt: skip
"""Targets that shift something to one side, which a symmetric spread must not do at full strength."""
_UNUSED = ("head-trans-", "head-angle-", "measure-neck-height-")
"""Targets that mostly turn or shift the whole head on the neck, which is pose and not identity."""


@dataclass(frozen=True)
class IdentityBasis:
    """Linear identity in decimetres."""

    template_dm: np.ndarray
    """(vertices, 3) the mean head"""
    basis_dm: np.ndarray
    """(identities, vertices, 3) scaled to one standard deviation"""
    explained: float
    """Share of the drawn persons' variance inside the basis"""


def build(cut: HeadCut, face: np.ndarray, base_vertices: int) -> IdentityBasis:
    """The basis over a head cut; `face` marks the vertices that hold still when the head's frame is fixed."""
    random = np.random.default_rng(_SEED)
    macro_names, macro_weights = _macro_persons(random)
    local_names, local_weights = _local_persons(random)
    weights = np.concatenate([macro_weights, local_weights], axis=1)
    columns = np.stack([files.target(name, base_vertices)[cut.kept] for name in macro_names + local_names])
    macro, local = columns[: len(macro_names)], columns[len(macro_names) :]
    macro[:] = fitting.round_eyes(macro, cut, cut.vertices_dm)
    middle = cut.vertices_dm + np.tensordot(macro_weights.mean(0), macro, axes=1)
    local[:] = fitting.refit_parts(local, cut, middle)
    columns = fitting.without_rigid_motion(columns, middle, face)
    template = cut.vertices_dm + np.tensordot(weights.mean(0), columns, axes=1)
    template = (template + template[cut.mirror] * [-1, 1, 1]) / 2
    basis, explained = _principal(columns.reshape(len(columns), -1), weights)
    return IdentityBasis(template, basis.reshape(IDENTITIES, -1, 3), explained)


def _principal(columns: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Principal components of persons @ columns without ever forming the persons' heads."""
    centred = (weights - weights.mean(0)) / np.sqrt(len(weights) - 1)
    # Persons' covariance is columns' R'R columns for the QR factor R of their weights, and so are its components.
    factor = np.linalg.qr(centred, mode="r") @ columns
    variance, directions = np.linalg.eigh(factor @ factor.T)
    strongest = np.argsort(variance)[::-1][:IDENTITIES]
    basis = directions[:, strongest].T @ factor
    signs = np.sign(basis[np.arange(IDENTITIES), np.abs(basis).argmax(1)])
    return basis * signs[:, None], float(variance[strongest].sum() / variance.sum())


def _macro_persons(random: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """Target names and (persons, targets) weights of the age x gender x origin and body-build targets.

    A macro target's weight is the product of the shares its name lists, as MakeHuman defines it.
    """
    shares = _drawn_shares(random)
    names, weights = [], []
    for name in files.target_names("mpfb2/targets/macrodetails"):
        words = name.rsplit("/", 1)[-1].split(".")[0].replace("universal-", "").split("-")
        if all(word in shares for word in words):
            names.append(name)
            weights.append(np.prod([shares[word] for word in words], axis=0))
    return names, np.stack(weights, axis=1)


def _drawn_shares(random: np.random.Generator) -> dict[str, np.ndarray]:
    male = random.beta(0.5, 0.5, _PERSONS)
    # Mostly grown-ups; every eighth is a teenager, that is part child.
    old, child = 0.8 * random.random(_PERSONS) ** 2, 0.35 * random.random(_PERSONS)
    young_person = random.random(_PERSONS) < 0.125
    old, child = np.where(young_person, 0, old), np.where(young_person, child, 0)
    origin = random.dirichlet((0.6, 0.6, 0.6), _PERSONS)
    shares = {"male": male, "female": 1 - male, "old": old, "child": child, "young": 1 - old - child}
    shares |= dict(zip(("african", "asian", "caucasian"), origin.T, strict=True))
    for build_name in ("muscle", "weight"):
        signed = random.normal(0, 0.35, _PERSONS).clip(-0.9, 0.9)
        shares |= {f"max{build_name}": signed.clip(0), f"min{build_name}": (-signed).clip(0)}
        shares[f"average{build_name}"] = 1 - np.abs(signed)
    return shares


def _local_persons(random: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """Target names and (persons, targets) weights of the local targets; opposite targets share one signed number."""
    names = [name for folder in _LOCAL_FOLDERS for name in files.target_names(f"mpfb2/targets/{folder}")]
    names = [name for name in names if not _stem(name).startswith(_UNUSED)]
    shared: dict[str, np.ndarray] = {}
    signed: dict[str, np.ndarray] = {}
    weights = []
    for name in names:
        dimension, sign = _dimension(_stem(name))
        spread = _LOCAL_SPREAD * (_ASYMMETRY if _stem(name) in _SIDEWAYS else 1.0)
        if dimension not in signed:
            both_sides = dimension[2:] if dimension[:2] in ("l-", "r-") else dimension
            if both_sides not in shared:
                shared[both_sides] = random.normal(0, spread, _PERSONS)
            one_side = random.normal(0, _ASYMMETRY * spread, _PERSONS) if both_sides != dimension else 0
            signed[dimension] = (shared[both_sides] + one_side).clip(-1, 1)
        weights.append((sign * signed[dimension]).clip(0))
    return names, np.stack(weights, axis=1)


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].split(".")[0]


def _dimension(stem: str) -> tuple[str, float]:
    """What a target changes and in which direction."""
    subject, _, word = stem.rpartition("-")
    if word in _OPPOSITES:
        return subject, -1.0
    if word in _OPPOSITES.values():
        return subject, 1.0
    return stem, 1.0
