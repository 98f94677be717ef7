"""The same notebook in JupyterLab: with a kernel, a move of a slider computes anew."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from browser.test_pages import press

HERE = Path(__file__).parent


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """JupyterLab on a copy of the specimen whose last cell doubles what the figure shows."""
    notebook = nbformat.read(HERE / "specimen.ipynb", as_version=4)
    notebook.cells = [*notebook.cells[:2], nbformat.v4.new_code_cell("GAIN = 2.0")]
    work = tmp_path / "work"
    work.mkdir()
    nbformat.write(notebook, work / "specimen.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = {k: str(tmp_path / k) for k in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *(f"--port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={work}"),
        # On loopback, for one test: no token, no question about news.
        *("--IdentityProvider.token=", "--LabApp.news_url=None"),
    ]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **home}, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{address}/api", timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError):
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail((tmp_path / "log").read_text()[-2000:])
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(work)


def test_a_move_shows_what_the_kernel_computes(lab: str, visit: Any) -> None:
    page = visit(f"{lab}/lab/tree/specimen.ipynb", settle=False).page
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    plot = page.locator(".sgdnoise-explorer .js-plotly-plot")
    plot.wait_for(timeout=60_000)
    title = page.locator(".sgdnoise-explorer .sgdnoise-title")
    assert title.inner_text() == "ε = 1, B = 2, gain 1"

    page.locator(".noUi-handle").first.focus()
    press(page, plot, "ArrowRight")
    # The frame of the page was computed with gain 1; the kernel knows better by now.
    page.get_by_text("ε = 2, B = 2, gain 2").wait_for()
    page.wait_for_timeout(400)  # what the page had in mind to draw later has been left
    x = np.linspace(0, 10, 50)
    drawn = plot.evaluate("(p) => [...p._fullData[0].y]")
    np.testing.assert_allclose(drawn, 2 * np.exp(-2 * x) / 2, rtol=2**-23)
    assert page.locator(".noUi-handle").first.get_attribute("aria-valuetext") == "2"
