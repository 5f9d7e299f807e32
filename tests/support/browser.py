"""A headless Chromium for tests of pages, the system's own or playwright's; without one the tests are left out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; skips the test that asks for it where none can be started."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install -e '.[dev]'")
    with playwright.sync_playwright() as started:
        own = Path(started.chromium.executable_path)
        found = next((path for name in NAMES if (path := shutil.which(name))), None)
        if found is None and not own.exists():
            pytest.skip("no Chromium: apt-get install chromium, or playwright install chromium-headless-shell")
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox"], timeout=120_000)
        yield browser
        browser.close()


class Watched:
    """Opens files in pages of their own, and keeps what a page must not do: errors, messages, requests to anywhere."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._shown = ""
        self.faults: list[str] = []

    @contextmanager
    def open(self, file: Path, fragment: str = "", width: int = 1400, **options: Any) -> Iterator[Page]:
        """The file in a new page of this width. `options` are those of playwright's `new_context`."""
        context = self._browser.new_context(viewport={"width": width, "height": 900}, **options)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.on("console", lambda message: self.faults.append(message.text))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", lambda request: self._asked(request.url))
        self.go(page, file, fragment)
        yield page
        context.close()

    def go(self, page: Page, file: Path, fragment: str = "") -> None:
        """Shows another file in an open page: half a second less than a page of its own."""
        self._shown = file.as_uri()
        page.goto(self._shown + fragment)

    def _asked(self, url: str) -> None:
        if not url.startswith((self._shown, "data:", "blob:")):
            self.faults.append(url)
