"""A page of a report in a real browser, with what it asked for and complained about meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, ViewportSize

FACTS = Path(__file__).with_name("flow").joinpath("page_facts.js").read_text(encoding="utf-8")


@dataclass
class Opened:
    """`document`: the JSON that the page was made from, where a test compares with it."""

    page: Page
    url: str
    document: Any = None
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def seen(self, width: int = 1280, scheme: str = "light", media: str = "screen", language: str = "ja") -> Any:
        self.page.set_viewport_size(ViewportSize(width=width, height=844))
        self.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", media="screen")
        self.page.check(f"#show-{language}")  # before printing: paper has no switch
        self.page.emulate_media(media="print" if media == "print" else "screen")
        return self.page.evaluate(FACTS)


def opened(browser: Browser, path: Path, document: Any = None) -> Opened:
    page = browser.new_page()
    found = Opened(page, path.as_uri(), document)
    page.on("request", lambda request: found.requests.append(request.url))
    page.on("console", lambda message: found.complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.goto(found.url)
    return found
