"""The theory pages have one shape, and what computes does not draw."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
PAGES = {
    "temperature": "temperature",
    "critical-learning-rate": "critical",
    "noisy-quadratic": "noisy_quadratic",
    "random-walk-theory": "random_walk",
    "minibatch": "minibatch",
    "gradients": "gradients",
}


@pytest.fixture(params=PAGES)
def cells(request: pytest.FixtureRequest) -> list:
    return nbformat.read(ROOT / "book" / f"{request.param}.ipynb", as_version=4).cells


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def test_the_page_opens_on_its_question_its_finding_and_a_figure(cells: list) -> None:
    first, imports, finding, figure, *rest = cells
    assert first.source.startswith("# ")
    assert "**The question.**" in first.source
    assert imports.source.startswith("import")
    assert finding.source == "findings.opening()"
    assert figure.source.startswith("figures.")
    assert all(tags(cell) == ["remove-input"] for cell in (imports, finding, figure))
    assert rest[0].cell_type == "markdown"
    assert not any("remove-input" in tags(cell) for cell in rest)


def test_figures_are_numbered_and_the_text_speaks_of_those_that_there_are(cells: list) -> None:
    """Each `figures.…` cell shows one figure, book/mime.py counts them, and JupyterLab cannot."""
    shown = [c.source for c in cells if c.cell_type == "code" and c.source.startswith("figures.")]
    numbers = [source.partition("  # Figure ")[2] for source in shown]
    assert numbers == [str(k + 1) for k in range(len(shown))]
    text = "".join(cell.source for cell in cells if cell.cell_type == "markdown")
    named = re.findall(r"\[Figure (\d+)\]\(#figure-(\d+)\)", text)
    assert named[0] == ("1", "1")
    assert all(said == to and to in numbers for said, to in named)


def test_one_formula_is_shown_as_code_and_every_other_cell_is_folded(cells: list) -> None:
    code = [cell for cell in cells if cell.cell_type == "code"]
    shown = [cell for cell in code if not tags(cell)]
    assert len(shown) == 1
    assert shown[0].source.startswith("def ")
    assert shown[0].source.count("\n") < 15
    folded = [cell for cell in code if tags(cell)]
    assert all(cell.metadata.jupyter.source_hidden for cell in folded)
    assert all(cell.source.count("\n") == 0 for cell in folded[1:])


def test_the_page_ends_on_two_exercises_with_folded_solutions(cells: list) -> None:
    (text,) = [cell.source for cell in cells if cell.source.startswith("## Exercises")]
    asked, solved = text.split('<details class="sgdnoise-words"><summary>Solutions</summary>')
    for part in (asked, solved):
        assert re.findall(r"^(\d)\. ", part, re.M) == ["1", "2"]
    assert solved.endswith("</details>")


def test_the_page_is_committed_without_outputs(cells: list) -> None:
    assert not any(cell.outputs for cell in cells if cell.cell_type == "code")


@pytest.mark.parametrize("chapter", PAGES.values())
def test_what_computes_does_not_draw(chapter: str) -> None:
    path = ROOT / "src" / "sgdnoise" / "chapters" / f"{chapter}.py"
    names = [
        name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [node.module]
            if isinstance(node, ast.ImportFrom)
            else [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    ]
    assert names
    assert not [n for n in names if n.startswith(("plotly", "IPython", "sgdnoise.figures"))]
