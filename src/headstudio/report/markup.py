"""HTML that is escaped unless it was built here."""

import html
from collections.abc import Mapping, Sequence

VOID = frozenset({"br", "img", "meta", "line", "rect", "circle", "polyline"})
"""Elements without content that are used here."""


class Markup(str):
    """Text that is HTML already. Everything else is escaped when it becomes part of an element."""

    __slots__ = ()


def element(tag: str, *children: object, **attributes: object) -> Markup:
    """An HTML or SVG element.

    Args:
        tag: its name.
        children: `Markup` is kept, anything else is escaped text.
        attributes: values are escaped; `class_` is written class, and `stroke_width` stroke-width. None leaves out.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in VOID:
        # The slash is a matter of taste in HTML, but without it an SVG shape would swallow what follows.
        return Markup(f"<{tag}{written}/>")
    return Markup(f"<{tag}{written}>{joined(*children)}</{tag}>")


def joined(*children: object) -> Markup:
    """Children one after another, escaped unless they are `Markup`."""
    return Markup("".join(c if isinstance(c, Markup) else html.escape(str(c)) for c in children))


def table(header: tuple[object, ...], rows: Sequence[tuple[object, ...]]) -> Markup:
    """A table that scrolls sideways where the screen is narrow."""
    head = element("tr", *(element("th", cell) for cell in header))
    body = [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    return element("div", element("table", element("thead", head), element("tbody", *body)), class_="wide")


def facts(pairs: Mapping[str, object]) -> Markup:
    """Names and values, one below the other."""
    return element("dl", *(joined(element("dt", name), element("dd", value)) for name, value in pairs.items()))


def bullets(items: Sequence[object]) -> Markup:
    """A list."""
    return element("ul", *(element("li", item) for item in items))


def figure(content: Markup, caption: object) -> Markup:
    """A picture or chart with what it shows written below."""
    return element("figure", content, element("figcaption", caption))
