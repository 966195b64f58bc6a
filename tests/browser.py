"""Open pages in headless Chromium."""

import contextlib
import shutil
from pathlib import Path

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
         "--disable-component-update", "--no-first-run"]  # fmt: skip

# A function of canvases: the grey levels of each, row by row.
GREYS = """all => all.map(canvas => Array.from(
    canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
).filter((_, n) => n % 4 === 0))"""

needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")


AXE = Path(__file__).parents[1] / "runtime/web/node_modules/axe-core/axe.min.js"


def barriers(page):
    """What axe finds that keeps somebody out (WCAG 2.1 AA): the rules broken, and where."""
    page.evaluate(AXE.read_text(encoding="utf-8") + ";0")
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
    found = page.evaluate("only => axe.run({runOnly: only})", rules)["violations"]
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]


@contextlib.contextmanager
def chromium():
    """Start Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser, path, **context):
    """Open a file, and yield the page and what was wrong: console messages and network requests."""
    with browser.new_context(**context) as fresh:
        page, wrong = fresh.new_page(), []
        page.on("console", lambda message: wrong.append(message.text) if _counts(message) else 0)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request", lambda request: wrong.append(request.url[:80]) if _is_network(request) else 0
        )
        page.goto(path.as_uri())
        yield page, wrong


def _counts(message):
    return "willReadFrequently" not in message.text  # what the tests read, no page does


def _is_network(request):
    return not request.url.startswith(("file:", "data:"))
