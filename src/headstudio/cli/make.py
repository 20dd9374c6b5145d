"""`headstudio make`: a video becomes an avatar, the whole way."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from headstudio.capture.config import IngestConfig
from headstudio.cli.console import Display
from headstudio.cli.ledger import Ledger
from headstudio.cli.options import Common, Result
from headstudio.cli.pipeline import Pipeline, Plan
from headstudio.cli.scanning import ScanRecipe
from headstudio.cli.settings import preset_of, recipe_of
from headstudio.errors import HeadstudioError
from headstudio.tracking.config import TrackingConfig
from headstudio.training.trainer import TrainerConfig


@dataclass(frozen=True, kw_only=True)
class Making(Common):
    """What all ways from a video to an avatar share."""

    method: str = "dynamic-texture"
    """The method's registered name."""
    preset: str = "draft"
    """draft (any laptop, minutes), standard (one GPU, under an hour) or paper (the published configuration)."""
    set: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="FIELD=VALUE")] = ()
    """Change one field of the method's configuration; may be repeated."""
    ingest: IngestConfig = field(default_factory=IngestConfig)
    """How the video is read."""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    """How the head is tracked."""
    trainer: Annotated[TrainerConfig, arg(name="")] = field(default_factory=TrainerConfig)
    """How the method is trained."""

    def plan(self, video: Path, folder: Path) -> Plan:
        """The plan for a video."""
        preset_of("methods", self.method, self.preset)  # a typo must show before the work begins
        recipe = recipe_of("methods", self.method, self.preset, self.set)
        return Plan(video, folder, recipe, self.trainer, self.ingest, self.tracking)


@dataclass(frozen=True, kw_only=True)
class Options(Making):
    """Make an avatar of the person in a video: a GLB, a re-enactment, numbers and reports. Goes on where it stopped."""

    video: Annotated[Positional[Path], arg(metavar="VIDEO")]
    """The video of one person."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="FOLDER")]
    """Where everything is written."""
    scan: Annotated[Path | None, arg(metavar="CLIP_A")] = None
    """A second clip of the same person, filmed from all round with a still face (`headstudio capture-guide`), or the
    scan of one: shape, lens and texture then come from there."""
    scanning: ScanRecipe = field(default_factory=ScanRecipe)
    """How that clip is scanned."""


def run(options: Options, display: Display) -> Result:
    """Make the avatar."""
    if options.scan is not None and not options.scan.exists():
        raise HeadstudioError("there is no clip here", where=options.scan, next_step="check the path")
    plan = replace(options.plan(options.video, options.output), clip_a=options.scan, scanning=options.scanning)
    pipeline = Pipeline(plan, display)
    pipeline.run()
    return summary(pipeline.ledger)


def summary(ledger: Ledger) -> Result:
    """What was written and how long it took."""
    timings, products = ledger.timings(), ledger.products()
    width = max(map(len, timings))
    lines = [
        f"{name:<{width}}  {timings[name]:8.1f} s  {'kept' if name in ledger.kept else ''}".rstrip()
        + "".join(f"\n{'':<{width}}    {path}" for path in paths)
        for name, paths in products.items()
    ]
    content = {"folder": ledger.folder, "seconds": timings, "kept": ledger.kept, "products": products}
    return Result("\n".join([*lines, f"{'total':<{width}}  {sum(timings.values()):8.1f} s"]), content)


def explain(arguments: Sequence[str]) -> str:
    """The methods there are."""
    from headstudio.cli.settings import explained

    return explained("methods", ())
