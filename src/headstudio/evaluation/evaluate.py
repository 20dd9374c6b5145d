"""The protocol from held-out frames to rows, intervals and verdicts."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.evaluation import metrics
from headstudio.evaluation.bootstrap import BootstrapConfig, mean_interval, verdict
from headstudio.evaluation.competitors import Competitor, DrivenAvatar, competitors, own_signals
from headstudio.evaluation.departures import departures
from headstudio.evaluation.frame_judges import FrameJudge, PerceptualJudge, SharpnessJudge, find_embedders
from headstudio.evaluation.judge import find_judge
from headstudio.evaluation.metrics import Metric
from headstudio.evaluation.regions import REGIONS, RegionMasker
from headstudio.evaluation.tracked_mesh import TrackedMesh
from headstudio.evaluation.truth import Truth
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.nn.extractors import KINDS, ExtractorKind
from headstudio.progress import Progress, Silent
from headstudio.records.evaluation import Evaluation, Example, Row, Verdict
from headstudio.records.motion import Motion
from headstudio.training.contract import AvatarModel, Source


@dataclass(frozen=True)
class EvaluationConfig:
    """What is scored and how."""

    size_px: int = 0
    """Side of the pictures that are compared; 0 is the capture's own."""
    every: int = 1
    """Score every n-th held-out frame; the protocol scores all."""
    batch_size: int = 4
    """Frames rendered at once."""
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """The one colour behind everything, sRGB in 0..1 (docs/protocol.md asks for one that is stated)."""
    judges: tuple[ExtractorKind, ...] = tuple(reversed(KINDS))
    """Feature networks that may judge, in the order of preference; one that a loss used is passed over."""
    judged_regions: tuple[str, ...] = ("face", "head")
    """Regions with a perceptual score and with CPBD; each costs one pass of the feature network."""
    embedders: tuple[str, ...] = ()
    """Face-recognition networks (.onnx or .tflite, described as in docs/annotations.md) that tell identity scores."""
    sharpness: bool = False
    """Tell CPBD, the share of edges that are sharp: a score of the picture alone, to be read beside the truth's."""
    examples: int = 6
    """Held-out frames kept as pictures for the report."""
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)


Series = Mapping[tuple[str, str, Metric], Float[Tensor, " frames"]]
"""Score of every frame by competitor, region and metric."""


def evaluate(
    avatar: AvatarModel,
    source: Source,
    config: EvaluationConfig | None = None,
    head: HeadModel | None = None,
    name: str = "avatar",
    motion: Motion | None = None,
    signal: str = "tracked",
    progress: Progress | None = None,
) -> Evaluation:
    """Score an avatar and its baselines on the held-out frames of a source.

    Args:
        avatar: the trained avatar.
        source: the capture it was trained on and its track.
        config: see `EvaluationConfig`.
        head: the head model whose regions make the masks; the one the track names when None.
        name: what the avatar's rows are called.
        motion: what drives the avatar, one row a frame of the capture; when None the track's own signals, and the faces
            themselves for avatars that look at them.
        signal: what a given motion is: tracked, refined, encoded or predicted (docs/protocol.md).
        progress: told how far it is.
    """
    config = config or EvaluationConfig()
    frames, dropped = _frames(source, config.every)
    background = torch.tensor(config.background).view(3, 1, 1)
    truth = Truth(source, config.size_px or source.capture.size_px, background)
    mesh = TrackedMesh(head or load_head(source.track.identity.head), source.track)
    if motion is None:
        motion, signal = own_signals(avatar, source)
    shown = competitors(name, avatar, source, truth, mesh, motion)
    judge = find_judge(config.judges, avatar.loss_extractors)
    embedders = find_embedders(config.embedders, avatar.loss_extractors, source, truth.size_px)
    perceptual = [] if judge.distance is None else [PerceptualJudge(judge.distance, config.judged_regions)]
    sharpness = [SharpnessJudge(config.judged_regions)] if config.sharpness else []
    scorer = _Scorer(truth, RegionMasker(mesh), shown, [*perceptual, *embedders.judges, *sharpness], config)
    series = scorer.run(frames, progress or Silent())
    signals = {key: signal if isinstance(one, DrivenAvatar) else "tracked" for key, one in shown.items()}
    return Evaluation(
        avatar=name,
        capture_identifier=source.capture.identifier,
        size_px=truth.size_px,
        background=config.background,
        frames_scored=len(frames),
        frames_dropped=dropped,
        rows=tuple(_rows(series, signals, config.bootstrap)),
        verdicts=tuple(_verdicts(series, config.bootstrap)),
        departures=(*departures(source, truth, config.every, judge, shown), *embedders.absences),
        notes=avatar.notes(),
        examples=tuple(scorer.examples(frames)),
    )


def _frames(source: Source, every: int) -> tuple[Tensor, int]:
    """Held-out frames that score, and how many the tracker rejected."""
    held_out = list(source.capture.held_out_frames)[::every]
    usable = [frame for frame in held_out if bool(source.track.usable[frame])]
    if not usable:
        raise HeadstudioError(
            "no held-out frame was tracked",
            where=source.capture.path,
            next_step="look at the track report; a longer clip with the face in view helps",
        )
    return torch.tensor(usable), len(held_out) - len(usable)


class _Scorer:
    """Shows frames by all competitors and keeps the score of each."""

    def __init__(
        self,
        truth: Truth,
        masker: RegionMasker,
        shown: Mapping[str, Competitor],
        judges: Sequence[FrameJudge],
        config: EvaluationConfig,
    ) -> None:
        self._truth, self._masker, self._shown = truth, masker, shown
        self._judges, self._config = judges, config

    def run(self, frames: Tensor, progress: Progress) -> Series:
        """Scores of all frames."""
        parts: dict[tuple[str, str, Metric], list[Tensor]] = {}
        with progress.stage("evaluate", len(frames)) as advance:
            for batch in frames.split(self._config.batch_size):
                for key, values in self._batch(batch):
                    parts.setdefault(key, []).append(values)
                advance(len(batch))
        return {key: torch.cat(values) for key, values in parts.items()}

    def examples(self, frames: Tensor) -> Iterator[Example]:
        """Frames spread over the held-out part, as pictures."""
        count = min(self._config.examples, len(frames))
        for frame in frames[torch.linspace(0, len(frames) - 1, count).round().long()]:
            pictures = {name: _bytes(one.show(frame[None])) for name, one in self._shown.items()}
            yield Example(int(frame), _bytes(self._truth.pictures(frame[None])), pictures)

    @torch.no_grad()
    def _batch(self, frames: Tensor) -> Iterator[tuple[tuple[str, str, Metric], Tensor]]:
        truth = self._truth.pictures(frames)
        matte = self._truth.alpha(frames) if self._truth.has_matte else None
        masks = self._masker.masks(frames, self._truth.size_px, matte, self._truth.valid)
        for name, competitor in self._shown.items():
            picture = competitor.show(frames)
            for metric, values in metrics.scores(picture, truth, masks).items():
                yield from (((name, region, metric), values[:, i]) for i, region in enumerate(REGIONS))
            for judge in self._judges:
                chosen = [REGIONS.index(region) for region in judge.regions]
                values = judge.scores(frames, picture, truth, masks[:, chosen])
                yield from (((name, region, judge.metric), values[:, i]) for i, region in enumerate(judge.regions))


def _rows(series: Series, signals: Mapping[str, str], config: BootstrapConfig) -> Iterator[Row]:
    for (name, region, metric), values in series.items():
        interval = mean_interval(values, config)
        if interval is not None:
            yield Row(name, signals[name], region, metric.name, interval)


def _verdicts(series: Series, config: BootstrapConfig) -> Iterator[Verdict]:
    """Every pair of competitors on the frames both have a score for."""
    names = list(dict.fromkeys(name for name, _, _ in series))
    for name, other in itertools.combinations(names, 2):
        for region, metric in ((r, m) for n, r, m in series if n == name):
            difference = mean_interval(series[name, region, metric] - series[other, region, metric], config)
            if difference is not None:
                found = verdict(difference, metric.higher_is_better)
                yield Verdict(name, other, region, metric.name, difference, found)


def _bytes(picture: Float[Tensor, "1 3 height width"]) -> Tensor:
    return (picture[0] * 255).round().to(torch.uint8)
