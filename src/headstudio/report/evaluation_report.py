"""Scores with their intervals, and the pictures they stand for."""

from pathlib import Path

from headstudio.records.evaluation import Evaluation, Example, Row, digits
from headstudio.report.markup import Markup, bullets, element, facts, figure, joined, table
from headstudio.report.page import Section, write_page
from headstudio.report.pictures import contact_sheet, error_map, inline

_ERROR_WHITE = 0.25


def evaluation_sections(evaluation: Evaluation) -> list[Section]:
    """Setting, one table a region, strips, and departures."""
    regions = dict.fromkeys(row.region for row in evaluation.rows)
    tables = [joined(element("h3", region), _table(evaluation, region)) for region in regions]
    remarks = [*evaluation.departures, *evaluation.notes]
    return [
        Section("Scores on held-out frames", (_setting(evaluation), *tables)),
        Section("Pictures", tuple(_strip(example) for example in evaluation.examples)),
        Section("Departures from the protocol, and remarks", (bullets(remarks),)),
    ]


def write_evaluation_report(path: Path, evaluation: Evaluation) -> None:
    """Write the report of an evaluation."""
    write_page(path, f"Evaluation: {evaluation.avatar}", evaluation_sections(evaluation))


def _setting(evaluation: Evaluation) -> Markup:
    colour = ", ".join(str(round(255 * value)) for value in evaluation.background)
    dropped = f"{evaluation.frames_dropped} more were not tracked"
    return facts(
        {
            "capture": evaluation.capture_identifier,
            "frames": f"{evaluation.frames_scored} held-out frames; {dropped}",
            "size": f"{evaluation.size_px} px",
            "background": f"rgb({colour})",
            "numbers": "mean over frames with its 95 % interval over time",
            "colours": f"green: {evaluation.avatar} is better than this row outside the interval; red: worse",
        }
    )


def _table(evaluation: Evaluation, region: str) -> Markup:
    rows = [row for row in evaluation.rows if row.region == region]
    metrics = tuple(dict.fromkeys(row.metric for row in rows))
    by_place = {(row.name, row.metric): row for row in rows}
    signals = {row.name: row.signal for row in rows}
    body: list[tuple[object, ...]] = [
        (name, signal, *(_cell(evaluation, by_place.get((name, metric))) for metric in metrics))
        for name, signal in signals.items()
    ]
    return table(("", "signal", *metrics), body)


def _cell(evaluation: Evaluation, row: Row | None) -> object:
    if row is None:
        return ""
    found = evaluation.verdict(evaluation.avatar, row.name, row.region, row.metric)
    shown = [f"{part:.{digits(row.metric)}f}" for part in (row.interval.value, row.interval.low, row.interval.high)]
    limits = element("span", f" [{shown[1]}, {shown[2]}]", class_="quiet")
    kind = {"better": "good", "worse": "bad"}.get(found or "")
    return joined(element("span", shown[0], class_=kind, title=found), limits)


def _strip(example: Example) -> Markup:
    pictures = [example.truth, *example.pictures.values()]
    errors = [error_map(picture, example.truth, _ERROR_WHITE) for picture in pictures]
    labels = ["truth", *example.pictures, *("error" for _ in errors)]
    sheet = contact_sheet([*pictures, *errors], labels, columns=len(pictures), cell_px=190)
    caption = f"Frame {example.frame}. Below each picture its difference from the truth, white from {_ERROR_WHITE} on."
    return figure(inline(sheet, f"frame {example.frame}"), caption)
