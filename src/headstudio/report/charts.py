"""Charts as inline SVG: curves over time, bars, and a map of counts."""

import math
from collections.abc import Mapping, Sequence

from headstudio.report.markup import Markup, element, joined

_WIDTH, _HEIGHT = 640, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 24
_COLOURS = ("--a", "--b", "--c", "--d", "--e", "--f")
_MOST_POINTS = 600

Points = Sequence[tuple[float, float]]


def curves(
    series: Mapping[str, Points],
    x_name: str,
    shaded: Sequence[tuple[float, float]] = (),
    logarithmic: bool = False,
    y_limits: tuple[float, float] | None = None,
) -> Markup:
    """Named curves over a common axis.

    Args:
        series: points (x, y) in the order of x; a point that is not finite breaks nothing and is left out.
        x_name: what the axis counts, with its unit.
        shaded: spans of x that are marked as bad.
        logarithmic: y on a logarithmic axis; values <= 0 are left out.
        y_limits: ends of the y axis; the extremes of the data when None.
    """
    kept = {name: _finite(points, logarithmic) for name, points in series.items()}
    everything = [point for points in kept.values() for point in points]
    if not everything:
        return element("p", "There is nothing to draw.", class_="quiet")
    x_range = _widened(min(x for x, _ in everything), max(x for x, _ in everything))
    y_range = y_limits or _widened(min(y for _, y in everything), max(y for _, y in everything))
    bands = [_band(span, x_range) for span in shaded]
    lines = [_curve(points, x_range, y_range, index) for index, points in enumerate(kept.values()) if points]
    legend = element("div", *(_legend(name, index) for index, name in enumerate(kept)), class_="legend")
    return joined(legend, _drawing(*bands, *_axes(x_range, y_range, x_name, logarithmic), *lines))


def bars(labels: Sequence[str], values: Sequence[float], name: str) -> Markup:
    """One bar a label."""
    top = max([*values, 0.0]) or 1.0
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(values), 1)
    drawn = []
    for index, (label, value) in enumerate(zip(labels, values, strict=True)):
        height = (_HEIGHT - _TOP - _BOTTOM) * value / top
        x = _LEFT + index * step
        title = element("title", f"{label}: {value:g}")
        drawn.append(
            element("g", title, _rectangle(x + 1, _HEIGHT - _BOTTOM - height, step - 2, height, "var(--a)", 1.0))
        )
        drawn.append(_text(x + step / 2, _HEIGHT - 8, label, "middle"))
    return _drawing(*drawn, _text(_LEFT - 6, _TOP + 8, f"{top:g}", "end"), _text(4, _HEIGHT - 8, name, "start"))


def count_map(
    counts: Sequence[Sequence[int]],
    x_edges: Sequence[float],
    y_edges: Sequence[float],
    x_name: str,
    y_name: str,
) -> Markup:
    """Counts of a two-dimensional histogram, `counts[row][column]`, rows from low to high y: the darker the more."""
    most = max((value for row in counts for value in row), default=0) or 1
    wide, high = (_WIDTH - _LEFT - _RIGHT) / (len(x_edges) - 1), 22
    height = high * (len(y_edges) - 1)
    cells = []
    for row, values in enumerate(counts):
        for column, value in enumerate(values):
            x, y = _LEFT + column * wide, _TOP + height - (row + 1) * high
            across, up = _between(x_edges, column), _between(y_edges, row)
            opacity = 0.06 if value == 0 else 0.25 + 0.75 * value / most
            shape = _rectangle(x + 1, y + 1, wide - 2, high - 2, "var(--a)", opacity)
            cells.append(element("g", element("title", f"{x_name} {across}, {y_name} {up}: {value}"), shape))
    marks = [_text(_LEFT + i * wide, _TOP + height + 14, f"{edge:g}", "middle") for i, edge in enumerate(x_edges)]
    marks += [_text(_LEFT - 6, _TOP + height - i * high + 4, f"{edge:g}", "end") for i, edge in enumerate(y_edges)]
    names = f"{x_name} (across), {y_name} (up)"
    return _drawing(*cells, *marks, _text(_LEFT, _TOP + height + 30, names, "start"), height=_TOP + height + 38)


def _between(edges: Sequence[float], index: int) -> str:
    return f"{edges[index]:g} to {edges[index + 1]:g}"


def _finite(points: Points, logarithmic: bool) -> list[tuple[float, float]]:
    kept = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y) and (y > 0 or not logarithmic)]
    kept = [(x, math.log10(y)) for x, y in kept] if logarithmic else kept
    # More points than pixels: every n-th, and the last, which is what one looks for.
    step = -(-len(kept) // _MOST_POINTS) if kept else 1
    return kept[::step] + (kept[-1:] if (len(kept) - 1) % step else [])


def _widened(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _place(value: float, span: tuple[float, float], low_px: float, high_px: float) -> float:
    return low_px + (value - span[0]) / (span[1] - span[0]) * (high_px - low_px)


def _x(value: float, span: tuple[float, float]) -> float:
    return _place(min(max(value, span[0]), span[1]), span, _LEFT, _WIDTH - _RIGHT)


def _y(value: float, span: tuple[float, float]) -> float:
    return _place(value, span, _HEIGHT - _BOTTOM, _TOP)


def _curve(points: Points, x_range: tuple[float, float], y_range: tuple[float, float], index: int) -> Markup:
    places = " ".join(f"{_x(x, x_range):.1f},{_y(y, y_range):.1f}" for x, y in points)
    return element("polyline", points=places, fill="none", stroke=_colour(index), stroke_width=1.5)


def _band(span: tuple[float, float], x_range: tuple[float, float]) -> Markup:
    left, right = (_x(value, x_range) for value in span)
    return _rectangle(left, _TOP, max(right - left, 1.0), _HEIGHT - _TOP - _BOTTOM, "var(--bad)", 0.18)


def _axes(x_range: tuple[float, float], y_range: tuple[float, float], x_name: str, logarithmic: bool) -> list[Markup]:
    marks: list[Markup] = []
    for share in (0.0, 0.5, 1.0):
        y = y_range[0] + share * (y_range[1] - y_range[0])
        at = _y(y, y_range)
        marks.append(
            element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=f"{at:.1f}", y2=f"{at:.1f}", stroke="var(--rule)")
        )
        marks.append(_text(_LEFT - 6, at + 4, f"{10**y if logarithmic else y:.3g}", "end"))
    ends = [(_LEFT, x_range[0], "start"), (_WIDTH - _RIGHT, x_range[1], "end")]
    marks += [_text(x, _HEIGHT - 8, f"{value:.4g}", anchor) for x, value, anchor in ends]
    return [*marks, _text(_WIDTH / 2, _HEIGHT - 8, x_name, "middle")]


def _legend(name: str, index: int) -> Markup:
    return element("span", name, style=f"color: {_colour(index)}")


def _colour(index: int) -> str:
    return f"var({_COLOURS[index % len(_COLOURS)]})"


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _rectangle(x: float, y: float, width: float, height: float, fill: str, opacity: float) -> Markup:
    sizes = {"x": x, "y": y, "width": max(width, 0.0), "height": max(height, 0.0)}
    return element("rect", **{k: f"{v:.1f}" for k, v in sizes.items()}, fill=fill, fill_opacity=f"{opacity:.2f}")


def _drawing(*children: Markup, height: float = _HEIGHT) -> Markup:
    return element(
        "svg", *children, viewBox=f"0 0 {_WIDTH} {height:.0f}", width=_WIDTH, height=f"{height:.0f}", role="img"
    )
