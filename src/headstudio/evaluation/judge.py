"""Who judges perceptually: a feature network that no loss of the avatar used (docs/protocol.md)."""

from collections.abc import Sequence
from dataclasses import dataclass

from headstudio.nn.extractors import ExtractorKind
from headstudio.nn.feature_distance import FeatureDistance, feature_distance
from headstudio.nn.weights import ENVIRONMENT, find_weights, load_extractor


@dataclass(frozen=True)
class Judge:
    """The distance that judges, or why there is none."""

    distance: FeatureDistance | None
    absence: str = ""
    """One sentence; empty where there is a judge."""


def find_judge(kinds: Sequence[ExtractorKind], used_by_losses: frozenset[str]) -> Judge:
    """The first network whose weights are on this machine and that no loss used."""
    passed_over = []
    for kind in kinds:
        if find_weights(kind) is None:
            continue
        extractor = load_extractor(kind)
        if extractor.name not in used_by_losses:
            return Judge(feature_distance(extractor))
        passed_over.append(extractor.name)
    if passed_over:
        return Judge(None, f"no perceptual score: training used {' and '.join(passed_over)}, and no other is here")
    return Judge(None, f"no perceptual score: there are no feature weights in {ENVIRONMENT} or torch's cache")
