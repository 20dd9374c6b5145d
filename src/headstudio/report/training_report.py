"""How a training went: curves, time, and what the method has to say."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from headstudio.records.avatar import Avatar
from headstudio.report.charts import curves
from headstudio.report.markup import Markup, bullets, element, facts, figure, table
from headstudio.report.page import Section, write_page
from headstudio.report.pictures import contact_sheet, inline
from headstudio.training import journal

_PREVIEW_COLUMNS = 6


def training_sections(
    avatar: Avatar, journal_path: Path, previews: Mapping[str, UInt8[Tensor, "3 height width"]] | None = None
) -> list[Section]:
    """What was trained, its curves by stage and player, and pictures by name where there are some."""
    entries = journal.read(journal_path)
    sections = [
        Section("Training", (_summary(avatar), bullets(avatar.notes))),
        Section("Losses", (_stages(entries), *_charts(entries))),
    ]
    if previews:
        sheet = contact_sheet(list(previews.values()), list(previews), _PREVIEW_COLUMNS)
        sections.append(Section("Previews", (inline(sheet, "previews"),)))
    return sections


def write_training_report(
    path: Path,
    avatar: Avatar,
    journal_path: Path,
    previews: Mapping[str, UInt8[Tensor, "3 height width"]] | None = None,
) -> None:
    """Write the report of a training."""
    write_page(path, f"Training: {avatar.name}", training_sections(avatar, journal_path, previews))


def _summary(avatar: Avatar) -> Markup:
    parameters = sum(tensor.numel() for tensor in avatar.weights.values())
    told: dict[str, object] = {"method": avatar.name, "preset": avatar.preset, "identifier": avatar.identifier}
    told["stored numbers"] = f"{parameters:,}"
    plain = {key: value for key, value in avatar.provenance.items() if isinstance(value, str | int | float)}
    return facts(told | {key.replace("_", " "): value for key, value in plain.items()})


def _stages(entries: Sequence[Mapping]) -> Markup:
    """Last logged step and time of every stage; `elapsed_s` counts from the start of the training."""
    if not entries:
        return element("p", "The training left no journal.", class_="quiet")
    rows, began_s = [], 0.0
    for stage in dict.fromkeys(entry["stage"] for entry in entries):
        last = [entry for entry in entries if entry["stage"] == stage][-1]
        rows.append((stage, last["step"], f"{last['elapsed_s'] - began_s:.1f} s"))
        began_s = last["elapsed_s"]
    return table(("stage", "last logged step", "time"), rows)


def _charts(entries: Sequence[Mapping]) -> list[Markup]:
    drawn = []
    for stage, player in dict.fromkeys((entry["stage"], entry["player"]) for entry in entries):
        own = [entry for entry in entries if (entry["stage"], entry["player"]) == (stage, player)]
        names = dict.fromkeys(name for entry in own for name in entry["losses"])
        series = {name: [(e["step"], e["losses"][name]) for e in own if name in e["losses"]] for name in names}
        signed = any(value < 0 for points in series.values() for _, value in points)
        chart = curves(series, "step", logarithmic=not signed)
        drawn.append(figure(chart, f"Stage {stage}, {player}: terms of the loss before their weights."))
    return drawn
