"""A headless Chromium that reaches nothing but the built pages, and the pages to open in it."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, Page, Route, sync_playwright

from sgdnoise.book.build import build

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip("no chromium on PATH: install it with the system's packages")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield chromium
        chromium.close()


@dataclass
class Visit:
    """A page that was opened, and whatever went wrong on it since."""

    page: Page
    trouble: list[str] = field(default_factory=list)
    loaded: dict[str, int] = field(default_factory=dict)
    """Bytes of each file that the page asked for, by URL."""

    def settle(self) -> None:
        """Wait until every figure is drawn, moved or not, and every equation stands."""
        self.page.wait_for_function(
            """() => {
              const all = (q) => [...document.querySelectorAll(q)];
              return all(".sgdnoise-figure").every((box) => box.querySelector(".main-svg"))
                && all(".sgdnoise-explorer").every((e) => e.querySelector("[data-slider-state]"))
                && all(".math").every((m) => m.querySelector("mjx-container svg"));
            }""",
            timeout=20_000,
        )


@pytest.fixture
def visit(browser: Browser) -> Iterator[Any]:
    """Open a page with the network shut; what it wants from elsewhere is recorded as trouble."""
    contexts = []

    def opened(url: str, *, settle: bool = True, **context: Any) -> Visit:
        place = browser.new_context(**context)
        contexts.append(place)
        page = place.new_page()
        page.set_default_timeout(20_000)
        seen = Visit(page)
        home = url.split("/_build/")[0] if url.startswith("file:") else url.split("/", 3)[2]

        def gate(route: Route) -> None:
            if home in route.request.url:
                route.continue_()
            else:
                seen.trouble.append(f"asks {route.request.url}")
                route.abort()

        page.route("**/*", gate)
        page.on(
            "console",
            lambda message: (
                seen.trouble.append(f"console: {message.text}") if message.type == "error" else None
            ),
        )
        page.on("pageerror", lambda error: seen.trouble.append(f"throws: {error}"))

        def failed(request: Any) -> None:
            # A page that a test has left wants its icon no more.
            left = request.failure == "net::ERR_ABORTED" and request.url.endswith("/favicon.svg")
            if not left:
                seen.trouble.append(f"fails: {request.url}")

        page.on("requestfailed", failed)
        page.on(
            "response",
            lambda response: seen.loaded.update(
                {response.url: int(response.headers.get("content-length", 0))}
            ),
        )
        page.goto(url)
        if settle:
            seen.settle()
        return seen

    yield opened
    for context in contexts:
        context.close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="session")
def serve() -> Iterator[Any]:
    """Serve a folder on loopback and return its address."""
    servers = []

    def start(folder: Path) -> str:
        handler = functools.partial(Quiet, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()


@pytest.fixture(scope="session")
def book() -> Path:
    """The project's own book, built if anything has changed, by one worker at a time."""
    with FileLock(Path(tempfile.gettempdir()) / f"book-of-{os.getuid()}.lock"):
        return build(ROOT).parent


@pytest.fixture(scope="session")
def book_url(book: Path, serve: Any) -> str:
    return serve(book)


@pytest.fixture(scope="session")
def specimen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small book with one of everything, under the project's configuration."""
    root = tmp_path_factory.mktemp("specimen")
    shutil.copy(ROOT / "_config.yml", root)
    for folder in ("book/assets", "src/sgdnoise/figures/static"):
        shutil.copytree(ROOT / folder, root / folder)
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nchapters:\n"
        "- file: book/specimen\n- file: book/bars\n- file: book/still\n- file: book/plain\n"
    )
    (root / "book" / "references.bib").touch()
    (root / "book" / "intro.md").write_text("# First\n\nA page.\n")
    (root / "book" / "plain.md").write_text("# Plain\n\nNothing moves, nothing is calculated.\n")
    for name in ("specimen.ipynb", "bars.ipynb"):
        shutil.copy(HERE / name, root / "book")
    (root / "book" / "still.md").write_text(
        "# Still\n\nWith $x^2$ in the text and\n\n$$ y = x $$\n\n## Wide\n\n"
        f"$$ y = {' + '.join(f'x_{{{k}}}' for k in range(15))} $$\n\n"
        f"```python\n{'long = ' * 10}1\n```\n"
    )
    return build(root).parent


@pytest.fixture(scope="session")
def specimen_url(specimen: Path, serve: Any) -> str:
    return serve(specimen)
