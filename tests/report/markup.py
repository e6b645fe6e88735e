"""A page as its markup has it."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """The tags, their addresses and ids, and the text of a page without scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self._code = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append(tag)
        self.ids += [str(named["id"])] if "id" in named else []
        addresses = [str(named[key]) for key in ("src", "href", "xlink:href", "action") if key in named]
        if tag == "a":
            self.links += addresses
        else:
            self.loaded += addresses
        self._code = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._code = False

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())
