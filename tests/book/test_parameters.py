"""A misspelt papermill parameter fails its notebook, and a known one does not."""

from __future__ import annotations

import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from sgdnoise.book.parameters import unknown_parameters

DECLARED = "scale = 'digits'  # which\nseeds = None\nresults: str = 'results'\n"


def run(folder, source, cell, **parameters):
    """Runs a notebook of a parameters' cell and one more with papermill, as a user would."""
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell(s) for s in (*([source] if source else []), cell)]
    if source:
        book.cells[0].metadata["tags"] = ["parameters"]
    book.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "3"}
    path = folder / "source.ipynb"
    nbformat.write(book, path)
    out = papermill.execute_notebook(
        str(path),
        str(folder / "out.ipynb"),
        parameters=parameters,
        kernel_name="python3",
        cwd=str(folder),
        progress_bar=False,
    )
    return "".join(o.get("text", "") for o in out.cells[-1].outputs)


LOAD = (
    "from sgdnoise.book.page import Page\n"
    "print(Page.load('constant-epoch', scale, seeds, results).study.seeds)"
)


def test_through_papermill(tmp_path):
    (tmp_path / "results" / "digits").mkdir(parents=True)
    (tmp_path / "results" / "digits" / "constant-epoch.jsonl").touch()
    assert run(tmp_path, DECLARED, LOAD, seeds=3) == "3\n"
    with pytest.raises(PapermillExecutionError) as caught:
        run(tmp_path, DECLARED, LOAD, scal="digits", seeds=3)
    assert caught.value.ename == "InputError"
    assert caught.value.evalue == (
        "this notebook has no parameter scal: it declares results, scale, seeds"
    )


def test_what_counts_as_declared():
    injected = "# Parameters\nscal = 'cpu'\nseeds = 3\n"
    declared = ["results", "scale", "seeds"]
    assert unknown_parameters([]) == ([], [])
    assert unknown_parameters(["", DECLARED, "scal = 1"]) == ([], [])  # no papermill here
    assert unknown_parameters(["", DECLARED, injected]) == (["scal"], declared)
    assert unknown_parameters(["", injected]) == (["scal", "seeds"], [])
    # Run again by hand, or after a cell that failed, and with what a later cell assigns.
    again = ["", DECLARED, injected, "1 +", "scal = 'mine'", injected.replace("scal ", "scale ")]
    assert unknown_parameters(again)[0] == []
    assert unknown_parameters(["", DECLARED, injected, "scal = 2"])[0] == ["scal"]
