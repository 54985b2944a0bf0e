"""Where the figures go on a page that people read."""

from __future__ import annotations

import re
from pathlib import Path


def put(path: Path, name: str, block: str) -> None:
    """Into the place that the page has for it, in exchange for what stands there; else it is the whole page."""
    page = path.read_text() if path.exists() else ""
    path.write_text(replaced(page, name, block) or f"{block}\n")


def replaced(page: str, name: str, block: str) -> str | None:
    """The page with another block between ``<!-- name -->`` and ``<!-- /name -->``; ``None`` if it has no such place."""
    place = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
    if not place.search(page):
        return None
    return place.sub(lambda _: f"{block}\n", page, count=1)
