"""One setting for the repository's address: while it is empty, nothing of it is on any page."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from sgdnoise.book import address
from sgdnoise.book.address import Address, address_of, follow, with_install_cell
from sgdnoise.errors import InputError

ROOT = Path(__file__).parents[2]

HERE = Address("https://github.com/someone/noise", "v0.1.0")


def config(folder: Path, url: str, branch: str = "v0.1.0") -> None:
    (folder / "_config.yml").write_text(f'repository:\n  url: "{url}"\n  branch: "{branch}"\n')


def cell(source: str, kind: str = "code") -> dict[str, Any]:
    return {"cell_type": kind, "id": source[:4], "metadata": {}, "source": [source]}


BOOK = {"cells": [cell("# Title", "markdown"), cell("1 + 1")], "nbformat": 4}


def test_the_books_notebooks_follow_its_setting():
    there = address_of(ROOT)
    for path in (ROOT / "book").glob("*.ipynb"):
        notebook = json.loads(path.read_text())
        assert with_install_cell(notebook, there) == notebook, f"run sgdnoise build: {path}"


@pytest.mark.parametrize("text", ["title: x\n", "", 'repository:\n  url: ""\n  branch: main\n'])
def test_without_an_address_there_is_none(tmp_path, text):
    (tmp_path / "_config.yml").write_text(text)
    assert address_of(tmp_path) is None


@pytest.mark.parametrize(
    ("url", "branch"),
    [
        ("http://github.com/a/b", "main"),
        ("github.com/a/b", "main"),
        ("https://github.com", "main"),
        ("https://github.com/a/b c", "main"),
        ("https://github.com/a/b'; rm", "main"),
        ("https://github.com/a/b", ""),
        ("https://github.com/a/b", "a b"),
    ],
)
def test_what_is_no_address_is_refused_in_one_line(tmp_path, url, branch):
    config(tmp_path, url, branch)
    with pytest.raises(InputError, match="leave url empty") as caught:
        address_of(tmp_path)
    assert "\n" not in str(caught.value)


def test_notebooks_get_the_cell_and_lose_it_with_the_setting(tmp_path):
    (tmp_path / "book").mkdir()
    path = tmp_path / "book" / "chapter.ipynb"
    path.write_text(json.dumps(BOOK, indent=1) + "\n")
    before = path.read_bytes()
    config(tmp_path, "")
    assert follow(tmp_path) == []
    config(tmp_path, HERE.url + "/")
    assert follow(tmp_path) == [path]
    assert follow(tmp_path) == []
    title, install, last = json.loads(path.read_text())["cells"]
    assert (title, last) == tuple(BOOK["cells"])
    # Left out of the built book, and not collapsed where somebody needs it.
    assert install["metadata"] == {"tags": ["remove-cell"]}
    assert f'"sgdnoise @ git+{HERE.url}@{HERE.branch}"' in "".join(install["source"])
    # Another address: the same cell, no second one.
    config(tmp_path, "https://github.com/another/noise")
    assert follow(tmp_path) == [path]
    assert len(json.loads(path.read_text())["cells"]) == 3
    config(tmp_path, "")
    assert follow(tmp_path) == [path]
    assert path.read_bytes() == before


@pytest.mark.parametrize("there", [True, False], ids=["installed", "not installed"])
@pytest.mark.parametrize("colab", [True, False], ids=["colab", "elsewhere"])
def test_the_cell_installs_where_the_package_is_not_there_and_only_there(monkeypatch, there, colab):
    notebook = with_install_cell(BOOK, HERE)
    source = "".join(notebook["cells"][1]["source"])
    program = compile(TransformerManager().transform_cell(source), "cell", "exec")
    done: list[tuple[str, ...]] = []
    shell = types.SimpleNamespace(run_line_magic=lambda *words: done.append(words))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if there else None)
    output = types.ModuleType("output")
    output.enable_custom_widget_manager = lambda: done.append(("widgets",))  # type: ignore[attr-defined]
    if colab:
        module = types.ModuleType("google.colab")
        module.output = output  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
        monkeypatch.setitem(sys.modules, "google.colab", module)
    exec(program, {"get_ipython": lambda: shell})
    pip = [("pip", 'install --quiet "sgdnoise @ git+https://github.com/someone/noise@v0.1.0"')]
    assert done == pip * (not there) + [("widgets",)] * colab


def test_the_cell_is_legal_in_a_notebook():
    text = (ROOT / "book" / "temperature.ipynb").read_text()
    notebook = nbformat.reads(json.dumps(with_install_cell(json.loads(text), HERE)), as_version=4)
    nbformat.validate(notebook)
    assert [c.cell_type for c in notebook.cells[:2]] == ["markdown", "code"]


@pytest.mark.parametrize("url", ["", HERE.url, "https://codeberg.org/someone/noise"])
def test_buttons_appear_with_the_address_alone(url):
    """What Sphinx is told; `test_build` sees them on a page."""
    options = {"repository_url": url, "use_issues_button": False}
    hooks: dict[str, Any] = {}
    app = types.SimpleNamespace(connect=hooks.__setitem__)
    assert address.setup(app)["parallel_read_safe"]
    hooks["config-inited"](app, types.SimpleNamespace(html_theme_options=options))
    assert options.get("use_repository_button", False) == bool(url)
    colab = {"colab_url": "https://colab.research.google.com"}
    assert options.get("launch_buttons") == (colab if url == HERE.url else None)
