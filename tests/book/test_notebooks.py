"""Rendering: whole pages only, failures as one line, nothing done twice."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest

from sgdnoise.book import notebooks
from sgdnoise.book.api_page import PAGE
from sgdnoise.errors import FailureError, InputError
from sgdnoise.experiments import EXPERIMENTS, study_of
from sgdnoise.records.store import Store

ROOT = Path(__file__).parents[2]
STUDY = study_of("constant-epoch", "digits")
PARAMETERS = 'scale = "digits"\nseeds = 15\nresults = "results"'


def notebook(path, *cells, parameters=PARAMETERS):
    book = nbformat.v4.new_notebook()
    book.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    title = nbformat.v4.new_markdown_cell("# Runs\n\nWhat they show.")
    first = nbformat.v4.new_code_cell(parameters)
    first.metadata["tags"] = ["parameters", "hide-input"]
    first.metadata["jupyter"] = {"source_hidden": True}
    book.cells = [title, first, *(nbformat.v4.new_code_cell(cell) for cell in cells)]
    for k, cell in enumerate(book.cells):
        cell.id = f"cell-{k}"  # else a random one, and every source would be another
    nbformat.write(book, path)
    return path


@pytest.fixture
def rendering(tmp_path, monkeypatch):
    source = tmp_path / "source.ipynb"
    monkeypatch.setattr(notebooks, "notebook_source", lambda experiment: source)

    def run(*cells, seeds=15, **options):
        notebook(source, *cells, **options)
        return notebooks.render(STUDY.with_seeds(seeds), tmp_path / "results", tmp_path / "runs")

    run.runs = tmp_path / "runs"
    return run


def outputs(path):
    book = json.loads(path.read_text())
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    return "".join(t for c in cells for o in c["outputs"] for t in o.get("text", []))


def test_a_page_gets_its_parameters_and_no_trace_of_the_time(rendering):
    page = rendering("print(scale, seeds, results)", seeds=5)
    assert page == rendering.runs / "digits" / "constant-epoch.ipynb"
    assert outputs(page).startswith("digits 5 ")
    book = json.loads(page.read_text())
    assert set(book["metadata"]) == {"kernelspec", "sgdnoise"}
    assert all(set(c["metadata"]) <= {"tags", "jupyter"} for c in book["cells"])
    assert book["cells"][1]["metadata"]["jupyter"] == {"source_hidden": True}
    assert [c["metadata"].get("tags") for c in book["cells"][:3]] == [
        None,
        ["parameters", "remove-cell"],
        ["injected-parameters", "remove-cell"],
    ]
    assert [p.name for p in page.parent.iterdir()] == [page.name]


def test_an_unchanged_page_is_left_alone_and_a_changed_one_is_not(rendering):
    page = rendering("import time; print(time.time_ns())")
    first = outputs(page)
    assert outputs(rendering("import time; print(time.time_ns())")) == first
    assert outputs(rendering("import time; print(time.time_ns())", seeds=3)) != first
    records = rendering.runs.parent / "results" / "digits"
    records.mkdir(parents=True)
    again = outputs(page)
    (records / "constant-epoch.jsonl").write_text("a new record\n")
    assert outputs(rendering("import time; print(time.time_ns())", seeds=3)) != again


@pytest.mark.parametrize(
    "name",
    [
        "requirements.txt",
        "src/package/module.py",
        "src/package/paper.json",
        "src/package/static/plot.js",
        "src/package/static/plot.css",
        "source.ipynb",
        "results/digits/fig.jsonl",
        "results/paper/fig.jsonl",
        "results/cpu/fig.shared",
    ],
)
def test_a_page_follows_every_source_that_it_is_made_of(tmp_path, monkeypatch, name):
    monkeypatch.setattr(notebooks, "SOURCES", tmp_path / "src" / "package")
    (tmp_path / "src" / "package" / "static").mkdir(parents=True)

    def key():
        return notebooks._key(tmp_path / "source.ipynb", tmp_path / "results", "fig", {"seeds": 3})

    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    seen = [key()]
    for content in ("one", "two"):
        file.write_text(content)
        seen.append(key())
    assert len(set(seen)) == 3
    assert key() == seen[-1]
    # What python leaves there while it runs is no source.
    (tmp_path / "src" / "package" / "module.pyc").write_text("compiled")
    assert key() == seen[-1]


def test_a_page_follows_the_records_that_it_shares(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "SOURCES", tmp_path / "src")
    folder = tmp_path / "results" / "cpu"
    folder.mkdir(parents=True)
    (folder / "fig.shared").write_text("0123456789abcdef theirs\n")

    def key():
        return notebooks._key(tmp_path / "none", tmp_path / "results", "fig", {})

    before = key()
    (folder / "others.jsonl").write_text("one\n")
    assert key() == before
    (folder / "theirs.jsonl").write_text("one\n")
    assert key() != before


def test_what_moves_from_one_source_to_the_next_changes_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "SOURCES", tmp_path)
    keys = set()
    for first, second in (("ab", "c"), ("a", "bc")):
        (tmp_path / "a.py").write_text(first)
        (tmp_path / "b.py").write_text(second)
        keys.add(notebooks._key(tmp_path / "none", tmp_path / "none", "none", {}))
    assert len(keys) == 2


def test_a_page_says_its_scale_in_its_title_and_links_the_others(rendering, monkeypatch):
    scales = ("digits", "cpu", "paper")
    listed = [study_of("constant-epoch", scale) for scale in scales]
    other = study_of("constant-step", "cpu")
    monkeypatch.setattr(notebooks, "contents", lambda root: [*listed, other])
    (title, *_) = json.loads(rendering().read_text())["cells"]
    assert "".join(title["source"]).splitlines() == [
        "# Runs on scikit-learn's digits (scale digits)",
        "",
        "These runs train an MLP 64-64-10 (one hidden layer of 64 units) on scikit-learn's digits.",
        "The same experiment on [CIFAR-10 pooled to 16 × 16 (scale cpu)](../cpu/constant-epoch) "
        "and on [CIFAR-10 (scale paper)](../paper/constant-epoch).",
        "$B$ is the batch size, and brackets hold 95 % intervals.",
        "",
        "What they show.",
    ]
    monkeypatch.setattr(notebooks, "contents", lambda root: [listed[0], other])
    (title, *_) = json.loads(rendering("print('again')").read_text())["cells"]
    assert "The same experiment" not in "".join(title["source"])


def told(source, *tags):
    cell = nbformat.v4.new_markdown_cell(source)
    cell.metadata["tags"] = list(tags)
    return cell


def code(source, shows):
    outputs = [nbformat.v4.new_output("stream", text="it")] if shows else []
    return nbformat.v4.new_code_cell(source, outputs=outputs)


@pytest.mark.parametrize(
    ("first", "second", "left"),
    [
        # A text stands where any cell under it shows something, and with it all its cells.
        ((True, True), (True,), "title a one two b three end c"),
        ((False, True), (True,), "title a one two b three end c"),
        ((True, False), (True,), "title a one two b three end c"),
        # What is said otherwise stands as soon as one text is left out.
        ((False, False), (True,), "title a instead b three end c"),
        ((True, True), (False,), "title a instead one two end c"),
        ((False, False), (False,), "title a instead end c"),
    ],
)
def test_a_text_about_what_a_scale_lacks_is_left_out_with_its_cells(first, second, left):
    cells = [
        told("title"),
        code("a", False),
        told("instead", notebooks.OTHERWISE),
        told("one", notebooks.IF_SHOWN),
        *(code("two", shows) for shows in first),
        told("b", notebooks.IF_SHOWN),
        *(code("three", shows) for shows in second),
        told("end"),
        code("c", False),
    ]
    kept = [cell.source for cell in notebooks._without_empty(cells)]
    assert list(dict.fromkeys(kept)) == left.split()


def test_a_rendered_page_leaves_out_what_its_scale_lacks(rendering, monkeypatch, tmp_path):
    source = tmp_path / "tagged.ipynb"
    monkeypatch.setattr(notebooks, "notebook_source", lambda experiment: source)
    notebook(source, "None", "print('there')")
    book = nbformat.read(source, as_version=4)
    book.cells.insert(2, told("Of nothing.", notebooks.IF_SHOWN))
    book.cells.insert(4, told("Of something.", notebooks.IF_SHOWN))
    nbformat.write(book, source)
    page = notebooks.render(STUDY, tmp_path / "results", tmp_path / "runs")
    said = page.read_text()
    assert "Of something." in said
    assert "Of nothing." not in said


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("*.ipynb")), ids=lambda p: p.stem)
def test_what_is_said_otherwise_stands_beside_texts_that_may_be_left_out(path):
    cells = nbformat.read(path, as_version=4).cells
    tags = {tag for cell in cells for tag in cell.metadata.get("tags", [])}
    assert (notebooks.OTHERWISE in tags) == (notebooks.IF_SHOWN in tags)
    marked = [
        c
        for c in cells
        if {notebooks.OTHERWISE, notebooks.IF_SHOWN} & set(c.metadata.get("tags", []))
    ]
    assert all(cell.cell_type == "markdown" for cell in marked)


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("raise KeyError('lost')", "KeyError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "could not be rendered"),
        ("import time; time.sleep(60)", "could not be rendered"),
    ],
    ids=["a failing cell", "a killed kernel", "a hanging cell"],
)
def test_what_fails_is_one_line_and_leaves_the_old_page(rendering, monkeypatch, cell, says):
    page = rendering("print('good')")
    monkeypatch.setattr(notebooks, "CELL_TIMEOUT", 4)
    with pytest.raises(FailureError, match=says) as caught:
        rendering(cell)
    assert "\n" not in str(caught.value)
    assert outputs(page) == "good\n"
    assert [p.name for p in page.parent.iterdir()] == [page.name]


def test_a_parameter_that_the_notebook_lacks_is_refused_before_a_kernel_starts(rendering):
    with pytest.raises(InputError, match="no parameter seeds"):
        rendering("print(1)", parameters='scale = "digits"\nresults = "results"')
    assert not rendering.runs.exists()


def test_a_notebook_without_parameters_is_a_page_as_it_stands(rendering):
    page = rendering("print(1)", parameters="# nothing to set")
    assert page.name == "source.ipynb"
    assert not rendering.runs.exists()


def test_every_experiment_has_a_notebook_with_these_parameters(request):
    # The parts are checked on a page of its own, which shows its records as they are.
    for experiment in [e for e in EXPERIMENTS.values() if e.name != "parts-checked"]:
        source = request.config.rootpath / "book" / experiment.notebook
        book = nbformat.read(source, as_version=4)
        tagged = [c for c in book.cells if "parameters" in c.metadata.get("tags", [])]
        assert len(tagged) == 1
        assert {line.split(" = ")[0] for line in tagged[0].source.splitlines()} == {
            "scale",
            "seeds",
            "results",
        }
        assert not any(c.get("outputs") for c in book.cells)


def test_rendering_says_which_records_it_refuses(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(notebooks, "render", lambda *_: tmp_path / "a page")
    path = Store(tmp_path / "r").path(*STUDY.place)
    path.parent.mkdir(parents=True)
    path.write_text("half a li")
    (tmp_path / "_toc.yml").write_text("- file: papermill_runs/digits/constant-epoch\n")
    pages = notebooks.render_contents(tmp_path, tmp_path / "r", tmp_path / "p")
    assert pages == [tmp_path / "a page"]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert f"{path}:1 is cut short" in err


def test_links_of_a_notebook_lead_from_its_page_to_the_same_places():
    text = (
        "[a](symbols.md#batch-size) [b](errata.ipynb) [c](constant-step.ipynb#more) "
        "[d](../papermill_runs/digits/sharpness.ipynb) [e](https://a.b/c) [f](#here)"
    )
    assert notebooks.relinked(text) == (
        "[a](../../book/symbols.md#batch-size) [b](../../book/errata.ipynb) "
        "[c](constant-step.ipynb#more) [d](../digits/sharpness.ipynb) [e](https://a.b/c) [f](#here)"
    )


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("*.ipynb")), ids=lambda p: p.stem)
def test_every_link_of_a_notebook_leads_to_a_file_also_in_jupyterlab(path):
    cells = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown"]
    links = re.findall(r"\]\((?![a-z]+:|[#/])([^)\s#]+)", "\n".join(cells))
    made_by_the_build = ROOT / f"{PAGE}.md"
    targets = {(path.parent / link).resolve() for link in links}
    assert [t for t in targets if not t.is_file() and t != made_by_the_build] == []
