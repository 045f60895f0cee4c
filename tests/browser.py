"""A headless Chromium for tests of pages: Playwright drives the browser of the machine.

Playwright's own browsers are not downloaded. The fixture `browser` of `tests/conftest.py` starts it
and skips, or fails in CI, where no Chromium is on the PATH:

    def test_page(browser, url):
        page = browser.open(url, size=PHONE, dark=True)
        page.wait_for_text("web-1")
        page.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Hosts"
        page.screenshot("status-phone")
        assert page.problems == []

While a browser is open, `asyncio.run` does not work in its thread: Playwright runs a loop there.
"""

import re
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from playwright.sync_api import Page as PlaywrightPage
from playwright.sync_api import sync_playwright

DESKTOP = (1280, 800)
#: Width and height of a small phone, in CSS pixels.
PHONE = (360, 740)
#: Debian and Ubuntu have the first name.
NAMES = ("chromium", "chromium-browser", "google-chrome")
_TIMEOUT_S = 30.0


def find_chromium() -> str | None:
    """Return the path of the Chromium of this machine, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """An open page, and what the browser complained about in it."""

    def __init__(self, page: PlaywrightPage, screenshots: Path) -> None:
        #: Playwright's page, for what has no method here, such as `get_by_role`.
        self.raw = page
        self._screenshots = screenshots
        #: Errors of scripts, errors on the console, and requests that failed, in order.
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        page.on("requestfailed", lambda request: self.problems.append(f"request: {request.url}"))
        page.on("console", self._hear)

    def goto(self, url: str) -> int:
        """Load another address in the same tab; the status of the answer."""
        answer = self.raw.goto(url, wait_until="domcontentloaded")
        return answer.status if answer is not None else 0

    def reload(self) -> None:
        """Load the page anew."""
        self.raw.reload(wait_until="domcontentloaded")

    @property
    def text(self) -> str:
        """The visible text of the page."""
        return self.raw.locator("body").inner_text()

    @property
    def outline(self) -> str:
        """What a screen reader has of the page, as Playwright's `aria_snapshot` writes it."""
        return self.raw.locator("body").aria_snapshot()

    def wait_for_text(self, text: str | re.Pattern[str], timeout_s: float = _TIMEOUT_S) -> None:
        """Wait until the page shows a text.

        Errors: playwright.sync_api.TimeoutError, with what was waited for.
        """
        found = self.raw.get_by_text(text).filter(visible=True).first
        found.wait_for(state="visible", timeout=timeout_s * 1000)

    def wait_for(self, expression: str, timeout_s: float = _TIMEOUT_S) -> None:
        """Wait until an expression of the page's script is true."""
        self.raw.wait_for_function(expression, timeout=timeout_s * 1000)

    def evaluate(self, expression: str, argument: object = None) -> Any:
        """Return the value of an expression, or of a function of the argument."""
        return self.raw.evaluate(expression, argument)

    def set_size(self, width: int, height: int) -> None:
        """Change the size of the window, in CSS pixels."""
        self.raw.set_viewport_size({"width": width, "height": height})

    @property
    def overflows(self) -> bool:
        """Whether the page is wider than its window, so that a reader must scroll sideways."""
        return bool(
            self.evaluate(
                "document.scrollingElement.scrollWidth > document.documentElement.clientWidth"
            )
        )

    def press(self, key: str, times: int = 1) -> None:
        """Press a key, such as `Tab`, `Shift+Tab` or `Enter`."""
        for _ in range(times):
            self.raw.keyboard.press(key)

    @property
    def focused(self) -> str:
        """The text, or else the label, of the element that has the focus; empty for the page."""
        return str(
            self.evaluate(
                "(() => { const e = document.activeElement; return e === document.body ? ''"
                " : (e.innerText || e.getAttribute('aria-label') || e.value || '').trim(); })()"
            )
        )

    def screenshot(self, name: str, *, full: bool = True) -> Path:
        """Store a picture as NAME.png in the folder of screenshots; its path."""
        path = self._screenshots / f"{name}.png"
        self.raw.screenshot(path=path, full_page=full)
        return path

    def _hear(self, message: Any) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text}")


class Browser:
    """A headless Chromium with pages that share nothing; used as a context."""

    def __init__(self, executable: str, screenshots: Path) -> None:
        self.screenshots = screenshots
        screenshots.mkdir(parents=True, exist_ok=True)
        self._playwright = sync_playwright().start()
        try:
            # Tests run as root, where Chromium's sandbox does not work.
            self._chromium = self._playwright.chromium.launch(
                executable_path=executable, chromium_sandbox=False
            )
        except BaseException:
            self._playwright.stop()
            raise

    def open(
        self,
        url: str,
        *,
        size: tuple[int, int] = DESKTOP,
        dark: bool = False,
        script: bool = True,
        login: tuple[str, str] | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> Page:
        """Open an address in a new window without cookies.

        `script=False` runs no script of the page, `login` is user and password of basic
        authentication.
        """
        context = self._chromium.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
            http_credentials={"username": login[0], "password": login[1]} if login else None,
            # A page never asks the network for anything but the program under test.
            service_workers="block",
        )
        context.set_default_timeout(timeout_s * 1000)
        page = Page(context.new_page(), self.screenshots)
        page.goto(url)
        return page

    def close(self) -> None:
        """End the browser and its processes."""
        try:
            self._chromium.close()
        finally:
            self._playwright.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
