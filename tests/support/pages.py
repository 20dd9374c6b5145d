"""Reading a report as a browser would, and refusing what a report must not hold."""

import re
from html.parser import HTMLParser

EVIL = "<script>alert(1)</script>\"'&"


class Checked(HTMLParser):
    """Collects tags, attributes and text, and complains about unbalanced tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


def check_self_contained(page: str) -> Checked:
    """Parse a page and refuse anything that is fetched or executed."""
    parsed = Checked(page)
    assert not {"script", "link", "iframe", "object", "base"} & set(parsed.tags)
    for name, value in parsed.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "srcset", "poster", "data"):
            assert value.startswith(("data:image/", "data:video/mp4;base64,"))
    assert not re.search(r"https?://|@import|url\(", page)
    return parsed
