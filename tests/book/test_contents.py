"""The contents and the notebooks name every experiment that has records, and nothing else."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from sgdnoise.book.address import INSTALL
from sgdnoise.book.notebooks import contents
from sgdnoise.errors import InputError
from sgdnoise.experiments import EXPERIMENTS, findings, studies
from sgdnoise.records.store import Store

ROOT = Path(__file__).parents[2]
PARTS = "parts-checked"  # a page of its own, which papermill does not render


def places() -> set[tuple[str, str]]:
    return {study.place for study in contents(ROOT)}


def test_every_study_with_records_is_in_the_contents_and_no_empty_one():
    store = Store(ROOT / "results")
    filled = {s.place for s in studies() if store.read(*s.place) and s.experiment.name != PARTS}
    assert places() == filled


def test_every_page_of_the_contents_is_rendered():
    for scale, name in places():
        assert (ROOT / "papermill_runs" / scale / f"{name}.ipynb").is_file()


@pytest.mark.parametrize("place", sorted(places()), ids="-".join)
def test_a_rendered_pages_code_is_collapsed_too(place):
    scale, name = place
    page = nbformat.read(ROOT / "papermill_runs" / scale / f"{name}.ipynb", as_version=4)
    shown = [c for c in page.cells if c.cell_type == "code" and c.outputs]
    assert shown
    # Code that a reader is to take along is the figure itself.
    folded = [cell for cell in shown if "shown" not in cell.metadata.get("tags", [])]
    assert len(shown) - len(folded) <= 1
    assert all(cell.metadata["jupyter"]["source_hidden"] for cell in folded)


def test_contents_that_name_no_experiment_are_refused(tmp_path):
    (tmp_path / "_toc.yml").write_text("- file: papermill_runs/digits/no-such-thing\n")
    with pytest.raises(InputError, match="no-such-thing"):
        contents(tmp_path)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_has_findings_and_a_notebook(name):
    assert isinstance(findings(name).CLAIMS, tuple)
    assert (ROOT / "book" / EXPERIMENTS[name].notebook).is_file()


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("*.ipynb")), ids=lambda p: p.stem)
def test_jupyterlab_collapses_code_and_no_bar_stands_before_the_first_figure(path):
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    cells = [cell for cell in cells if cell.get("id") != INSTALL]
    # What a reader changes is in sight.
    cells = [cell for cell in cells if "parameters" not in cell.metadata.get("tags", [])]
    open_ = [c for c in cells if not c.metadata.get("jupyter", {}).get("source_hidden")]
    # Open is at most one cell: the recurrence or formula that the chapter is about.
    assert len(open_) <= 1
    assert all("def " in c.source or "shown" in c.metadata.get("tags", []) for c in open_)
    hidden = [cell for cell in cells if cell not in open_]
    assert hidden
    folded = {"hide-input", "remove-input", "remove-cell"}
    assert all(folded & set(cell.metadata.get("tags", [])) for cell in hidden)
    assert "remove-input" in cells[0].metadata["tags"]
