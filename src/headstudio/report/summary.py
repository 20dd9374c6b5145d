"""The report of a whole run: time by stage, what was written, and the reports of the stages in one file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headstudio.report.charts import bars
from headstudio.report.markup import Markup, element, figure, joined, table
from headstudio.report.page import Section, write_page


@dataclass(frozen=True)
class StageRecord:
    """One stage of the run."""

    name: str
    seconds: float
    written: tuple[Path, ...] = ()
    """What it wrote; shown relative to the report where that is possible."""
    kept: bool = False
    """Its product of an earlier run was still good."""


def write_summary(
    path: Path, title: str, stages: Sequence[StageRecord], parts: Mapping[str, Sequence[Section]]
) -> None:
    """Write the report of a run.

    Args:
        path: the HTML file.
        title: what was made.
        stages: in their order.
        parts: sections of each stage's own report (`preflight_sections` and the like), by a name for the heading.
    """
    composed = [
        Section(f"{name}: {section.title}", section.parts) for name, sections in parts.items() for section in sections
    ]
    write_page(path, title, [_overview(path, stages), *composed])


def _overview(path: Path, stages: Sequence[StageRecord]) -> Section:
    total = ("total", _duration(sum(stage.seconds for stage in stages)), "", "")
    rows = [*(_row(path.parent, stage) for stage in stages), total]
    chart = bars([stage.name for stage in stages], [stage.seconds for stage in stages], "")
    shown = figure(chart, "Seconds by stage.")
    return Section("Overview", (table(("stage", "time", "", "written"), rows), shown))


def _row(folder: Path, stage: StageRecord) -> tuple[object, ...]:
    written = joined(*(element("div", _relative(file, folder)) for file in stage.written))
    return (stage.name, _duration(stage.seconds), "kept" if stage.kept else "", written)


def _relative(file: Path, folder: Path) -> Markup | str:
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else str(file)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {seconds % 60:.0f} s"
