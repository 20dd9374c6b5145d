"""The three stages: geometry, texture, both; who learns what from which energies."""

from collections.abc import Mapping

from headstudio.methods.neural_head.config import Energies, NeuralHeadConfig, Pace
from headstudio.records.capture import Annotation
from headstudio.training.stages import Optimiser, Player, Ramp, Sampler, Stage, Weight

OFFSETS = ("shape.offsets.*",)
TEXTURE = ("colour.network.*", "colour.base")
EXPRESSION = ("shape.residuals.expression.rows",)
HEAD = ("shape.residuals.identity", *EXPRESSION, "shape.residuals.pose.rows")
GAZE = ("shape.residuals.gaze.rows",)

_POSED = OFFSETS + HEAD + GAZE

REACHES: Mapping[str, tuple[str, ...]] = {
    "landmarks": _POSED,
    "lids": EXPRESSION,
    "normals": _POSED,
    "orientation": _POSED,
    "semantics": _POSED,
    "hair": _POSED,
    "silhouette": _POSED,
    "offset_laplacian": OFFSETS,
    "thickness": OFFSETS,
    "edge_length": OFFSETS,
    "consistency": OFFSETS,
    "prior": HEAD + GAZE,
    "l1": _POSED + TEXTURE,
    "perceptual": TEXTURE,
}
"""The parameters that each energy may reach, as shell patterns."""

_PICTURES = ("normals", "orientation", "semantics", "hair", "silhouette")
_SHAPE = ("landmarks", *_PICTURES, "offset_laplacian", "thickness", "edge_length", "consistency")


def schedule(config: NeuralHeadConfig, known: frozenset[Annotation]) -> tuple[Stage, ...]:
    """The stages for a capture of which so much is known.

    Args:
        config: paces and weights.
        known: of MATTE, PARSING and NORMALS, what the captures have: energies without their data are left out.
    """
    paces = {"geometry": config.geometry_stage, "texture": config.texture_stage, "joint": config.joint_stage}
    return tuple(
        _stage(name, number, pace, config, known) for number, (name, pace) in enumerate(paces.items()) if pace.steps > 0
    )


def step_of_size(learning_rate: float) -> Optimiser:
    """Steps of about the same size whatever the gradient's; without momentum, so that frames not seen stay."""
    return Optimiser("adam", learning_rate, betas=(0.0, 0.9))


def _stage(name: str, number: int, pace: Pace, config: NeuralHeadConfig, known: frozenset[Annotation]) -> Stage:
    weights = _weights(config, number, pace.steps, known)
    joint = number == 2
    head_terms = ("landmarks", "lids", "prior", *(_PICTURES if config.thorough_head else ()))
    slower = Ramp.falling(pace.steps, pace.last_rate)
    players = (
        _player(
            "offsets", OFFSETS, (*_SHAPE, "l1") if joint else _SHAPE, weights, Optimiser("adam", pace.offsets), slower
        ),
        _player(
            "head",
            HEAD + GAZE if joint else HEAD,
            (*head_terms, "l1") if joint and config.thorough_head else head_terms,
            weights,
            Optimiser("sgd", pace.head) if config.plain_descent else step_of_size(pace.head),
            slower,
        ),
        _player("texture", TEXTURE, ("l1", "perceptual"), weights, Optimiser("adam", pace.texture), slower),
    )
    asked = known & {Annotation.PARSING, Annotation.NORMALS}
    sampler = Sampler(pace.batch_size, config.size_px, annotations=asked)
    return Stage(name, pace.steps, tuple(p for p in players if p is not None), sampler)


def _player(
    name: str,
    parameters: tuple[str, ...],
    terms: tuple[str, ...],
    weights: dict[str, Weight],
    optimiser: Optimiser,
    slower: Ramp,
) -> Player | None:
    losses = {term: weights[term] for term in terms if term in weights}
    if optimiser.learning_rate == 0 or not losses:
        return None
    return Player(name, parameters, losses, optimiser, slower)


def _weights(config: NeuralHeadConfig, number: int, steps: int, known: frozenset[Annotation]) -> dict[str, Weight]:
    """Weights of the terms of a stage that are in use."""
    energies = config.energies
    found: dict[str, Weight] = {
        term: getattr(energies, term)[number] for term in REACHES if getattr(energies, term)[number] > 0
    }
    if Annotation.NORMALS not in known:
        found.pop("normals", None)
        found.pop("orientation", None)
    if Annotation.PARSING not in known:
        found.pop("semantics", None)
        found.pop("hair", None)
        if Annotation.MATTE not in known:
            found.pop("silhouette", None)
    if config.offsets.pose_dependence == "nowhere":
        found.pop("consistency", None)
    return found | _ramps(energies, found, steps) if number == 0 else found


def _ramps(energies: Energies, weights: dict[str, Weight], steps: int) -> dict[str, Weight]:
    """What changes in the middle third of the first stage."""
    bounds = steps // 3, max(2 * steps // 3, steps // 3 + 1)
    factors = {"hair": (1.0, energies.late_hair), "silhouette": (energies.early_silhouette, 1.0)}
    ramps: dict[str, Weight] = {}
    for term, (first, last) in factors.items():
        weight = weights.get(term)
        if isinstance(weight, float) and first != last:
            ramps[term] = Ramp(((bounds[0], first * weight), (bounds[1], last * weight)))
    return ramps
