"""An evaluation as Markdown."""

from collections.abc import Iterator

from headstudio.records.evaluation import Evaluation, Interval, digits


def markdown(evaluation: Evaluation) -> str:
    """One table a region, verdicts against the avatar, and what to know before quoting a number."""
    regions = list(dict.fromkeys(row.region for row in evaluation.rows))
    parts = ["\n".join(_lines(evaluation, region)) for region in regions]
    return "\n\n".join([_heading(evaluation), *parts, _remarks(evaluation)]) + "\n"


def _heading(evaluation: Evaluation) -> str:
    red, green, blue = (round(255 * value) for value in evaluation.background)
    return (
        f"{evaluation.frames_scored} held-out frames at {evaluation.size_px} px on rgb({red}, {green}, {blue}), "
        f"{evaluation.frames_dropped} dropped because they were not tracked. Mean and 95 % interval over time; "
        f"+ better, - worse, = tie of `{evaluation.avatar}` against the row."
    )


def _lines(evaluation: Evaluation, region: str) -> Iterator[str]:
    rows = [row for row in evaluation.rows if row.region == region]
    metrics = list(dict.fromkeys(row.metric for row in rows))
    signals = {row.name: row.signal for row in rows}
    yield f"| {region} | signal | {' | '.join(metrics)} |"
    yield f"|{'---|' * (2 + len(metrics))}"
    for name, signal in signals.items():
        cells = [_cell(evaluation, name, region, metric) for metric in metrics]
        yield f"| {name} | {signal} | {' | '.join(cells)} |"


def _cell(evaluation: Evaluation, name: str, region: str, metric: str) -> str:
    interval = evaluation.row(name, region, metric)
    if interval is None:
        return ""
    mark = {"better": " +", "worse": " -", "tie": " ="}
    found = evaluation.verdict(evaluation.avatar, name, region, metric)
    return _number(interval, metric) + mark.get(found or "", "")


def _number(interval: Interval, metric: str) -> str:
    """A mean with its interval, in the digits of its metric."""
    value, low, high = (f"{part:.{digits(metric)}f}" for part in (interval.value, interval.low, interval.high))
    return f"{value} [{low}, {high}]"


def _remarks(evaluation: Evaluation) -> str:
    listed = [f"* {sentence}" for sentence in (*evaluation.departures, *evaluation.notes)]
    return "Departures from the protocol, and remarks:\n\n" + "\n".join(listed)
