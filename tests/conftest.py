"""A real browser for the tests that need one: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import pytest
from chromium import ARGUMENTS, chromium


# Not for the whole session: as long as Playwright runs, no other test can start an event loop of its own.
@pytest.fixture(scope="module")
def browser():
    """A started browser; the test is skipped where there is none."""
    path = chromium()
    if path is None:
        pytest.skip("no Chromium here: install it (Debian: apt install chromium) or set AECORE_CHROMIUM to its path")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


class Visit:
    """A page in a browser, and what it asked for and complained of while it was open."""

    def __init__(self, page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda line: line.type in ("error", "warning") and self.complaints.append(line.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def foreign(self) -> list[str]:
        """Return the requests that left this machine, or tried to."""
        return [url[:200] for url in self.requests if not url.startswith(("file:", "data:", "blob:"))]


@pytest.fixture(scope="module")
def _contexts(browser):
    """The browser's contexts by their settings: to make one takes longer than to open a page in it."""
    made = {}
    yield made
    for context in made.values():
        context.close()


@pytest.fixture
def visit(browser, _contexts):
    """Open a file: `visit(path, width=360, color_scheme="dark")`."""
    pages = []

    def open_file(path, *, width=1200, height=900, **options):
        settings = (width, height, *sorted(options.items()))
        if settings not in _contexts:
            _contexts[settings] = browser.new_context(viewport={"width": width, "height": height}, **options)
        pages.append(_contexts[settings].new_page())
        found = Visit(pages[-1])
        found.page.goto(path.as_uri())
        return found

    yield open_file
    for page in pages:
        page.close()


def serious(page, **options) -> list[tuple[str, str]]:
    """Return what axe calls serious or critical on a page, as pairs of a rule and a selector."""
    from axe_playwright_python.sync_playwright import Axe

    # A colour that still fades from one theme to the other would be measured halfway.
    page.evaluate(
        "Promise.allSettled(document.getAnimations()"
        ".filter((one) => one instanceof CSSTransition).map((one) => one.finished))"
    )
    # Without its preload axe does not ask for style sheets, which a browser refuses to hand out for a page from a disk.
    settings = {"resultTypes": ["violations"], "preload": False, **options}
    found = Axe().run(page, options=settings).response["violations"]
    return [
        (violation["id"], _selector(node["target"]))
        for violation in found
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def _selector(target: list) -> str:
    """Return one selector of axe's, in which a list goes into a shadow root."""
    return " ".join(part if isinstance(part, str) else " >>> ".join(part) for part in target)


@pytest.fixture(scope="session", name="serious")
def _serious():
    """The function `serious`."""
    return serious
