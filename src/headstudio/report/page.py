"""A report as one file: sections in, HTML with its own style out."""

from dataclasses import dataclass
from pathlib import Path

from headstudio import storage
from headstudio.report.markup import Markup, element, joined

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1d21; --paper: #fbfbfa; --quiet: #6b7078; --rule: #d9dbdf;
  --good: #1a7f4b; --bad: #b3261e; --a: #2563b8; --b: #c2570c;
  --c: #1a7f4b; --d: #8b3fae; --e: #8a6d00; --f: #5b6470; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e9eb; --paper: #17181b; --quiet: #9aa0a8; --rule: #34373d;
  --good: #5cc98f; --bad: #ff8a80; --a: #79aef0; --b: #f0a05a;
  --c: #5cc98f; --d: #cf94ea; --e: #dcc04c; --f: #aab2bd; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 68rem; font: 16px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--paper); overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid var(--rule); }
h3 { font-size: 1rem; margin-bottom: .3rem; }
img, svg { max-width: 100%; height: auto; } figure { margin: 1rem 0; } figcaption, .quiet { color: var(--quiet);
  font-size: .875rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--rule); white-space: nowrap; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; } dt { color: var(--quiet); }
dd { margin: 0; } .good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: 0 1rem; font-size: .875rem; }
svg text { fill: var(--quiet); font: 11px system-ui, sans-serif; }
"""


@dataclass(frozen=True)
class Section:
    """A titled part of a report; the parts are set one below the other."""

    title: str
    parts: tuple[Markup, ...]


def render_page(title: str, sections: list[Section]) -> str:
    """The whole file."""
    body = [_section(section) for section in sections]
    head = joined(
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(_STYLE)),
    )
    content = element("html", element("head", head), element("body", element("h1", title), *body), lang="en")
    return f"<!DOCTYPE html>\n{content}\n"


def write_page(path: Path, title: str, sections: list[Section]) -> None:
    """Write the file; an older one is replaced whole."""
    with storage.replacing_file(path) as building:
        building.write_text(render_page(title, sections), encoding="utf-8")


def _section(section: Section) -> Markup:
    return element("section", element("h2", section.title), *section.parts)
