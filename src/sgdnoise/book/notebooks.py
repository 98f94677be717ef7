"""Papermill: one parameterized notebook an experiment, rendered for each scale.

`sgdnoise reproduce` trains what is missing and then renders. `sgdnoise build` renders every page of
the contents from the records that are there, also where there is no GPU, and builds the book.

A page is rendered under a temporary name and moved into place when its kernel has finished, so
that a page that is there is whole. Whether a run is done is for its record to say, never a page.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError

from sgdnoise.book.kernels import CELL_TIMEOUT, QUIET, side_by_side
from sgdnoise.checkout import book_folder
from sgdnoise.errors import FailureError, InputError
from sgdnoise.experiments import EXPERIMENTS, study_of
from sgdnoise.records.store import Store
from sgdnoise.study.scales import SCALES
from sgdnoise.study.study import Experiment, Study
from sgdnoise.sweeps.run import read_aloud

SOURCES = Path(__file__).resolve().parents[1]

_KINDS = {".py", ".json", ".js", ".css"}
"""What the package consists of: code, the papers' numbers, scripts and styles of the figures."""


def notebook_source(experiment: Experiment) -> Path:
    """The experiment's notebook in `book/`.

    Raises:
        InputError: where it is not.
    """
    source = book_folder() / experiment.notebook
    if not source.is_file():
        raise InputError(f"the notebook {source} is missing: restore it, as with git checkout")
    return source


def render(study: Study, results: Path, runs: Path) -> Path:
    """Renders an experiment's page for a scale, if anything that it is made of has changed.

    Args:
        study: whose page; fewer seeds than it has are shown as "3 of 5 seeds".
        results: the store that it reads.
        runs: the folder it goes to, as `<runs>/<scale>/<experiment>.ipynb`.

    Returns:
        The page's path: the notebook's own where it declares no parameters, for then it is a page
        of the book as it stands, and the build runs it.

    Raises:
        InputError: for a parameter that the notebook does not declare, or no kernel.
        FailureError: when a cell fails, or the kernel dies or hangs.
    """
    experiment, scale = study.experiment, study.scale
    source = notebook_source(experiment)
    target = runs / scale / f"{experiment.name}.ipynb"
    parameters = {"scale": scale, "seeds": study.seeds, "results": os.path.relpath(results)}
    try:
        declared = papermill.inspect_notebook(str(source))
    except ValueError:
        raise InputError(
            f"the notebook {source} names no kernel: save it from JupyterLab with a Python kernel"
        ) from None
    if not declared:
        return source
    unknown = parameters.keys() - declared.keys()
    if unknown:
        raise InputError(
            f"{source.name} has no parameter {', '.join(sorted(unknown))}: "
            f"it declares {', '.join(sorted(declared))}"
        )
    key = _key(source, results, experiment.name, parameters)
    if target.exists() and _metadata(target).get("sgdnoise", {}).get("key") == key:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}-{os.getpid()}.ipynb")
    try:
        papermill.execute_notebook(
            str(source),
            str(temporary),
            parameters=parameters,
            kernel_name="python3",
            cwd=str(Path.cwd()),
            progress_bar=False,
            log_output=False,
            execution_timeout=CELL_TIMEOUT,
            extra_arguments=list(QUIET),
        )
        _tidy(temporary, key, study)
        temporary.replace(target)
    except PapermillExecutionError as error:
        raise FailureError(
            f"the page of {experiment.name} failed in a cell: {error.ename}: {error.evalue}"
        ) from None
    except Exception as error:  # papermill and its kernel fail in many ways; all are failures
        raise FailureError(
            f"the page of {experiment.name} could not be rendered: "
            f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _key(source: Path, results: Path, experiment: str, parameters: dict[str, Any]) -> str:
    """A digest of all that a page is made of: notebook, records, parameters, package, pins.

    The records are those of every scale, for a page may speak of its experiment at another one.
    """
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode())
    package = sorted(file for file in SOURCES.rglob("*") if file.suffix in _KINDS)
    around = [SOURCES.parents[1] / "requirements.txt", book_folder().parent / "_toc.yml"]
    store = Store(results)
    places = [(scale, experiment) for scale in SCALES]
    records = [file for at in places for file in (*store.files(*at), store.names(*at))]
    for file in [source, *records, *around, *package]:
        # Names and lengths too: what moves from one file to another is a change.
        content = file.read_bytes() if file.exists() else b""
        digest.update(f"\n{file.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _metadata(notebook: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(notebook.read_text(encoding="utf-8"))["metadata"])
    except (json.JSONDecodeError, KeyError, OSError):
        return {}


def _tidy(path: Path, key: str, study: Study) -> None:
    """Leaves out what changes with every rendering: times, paths, kernels' versions.

    The title gets data and scale, so that no two pages have the same, and under it stand the net
    and the other scales' links.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata = nbformat.NotebookNode(
        {
            name: notebook.metadata[name]
            for name in ("kernelspec", "widgets")
            if name in notebook.metadata
        }
        | {"sgdnoise": {"key": key}}
    )
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = relinked(cell.source)
        tags = list(cell.metadata.get("tags", []))
        # The title tells the scale; a bar before the first figure tells a reader nothing.
        if {"parameters", "injected-parameters"}.intersection(tags):
            tags = [tags[0], "remove-cell"]
        # JupyterLab collapses the code of a rendered page as it does the notebook's.
        kept = {"jupyter": cell.metadata["jupyter"]} if "jupyter" in cell.metadata else {}
        cell.metadata = nbformat.NotebookNode(kept | ({"tags": tags} if tags else {}))
    notebook.cells = _without_empty(notebook.cells)
    title, *rest = notebook.cells[0].source.split("\n", 1)
    title = f"{title} on {study.data} (scale {study.scale})"
    notebook.cells[0].source = "\n".join([title, "", *_size(study), *rest])
    nbformat.write(notebook, path)


IF_SHOWN, OTHERWISE = "if-shown", "otherwise"
"""Tags of texts that depend on what a scale has: see `_without_empty`."""


def _without_empty(cells: Sequence[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The cells without the texts that tell of nothing here, and without the cells under these.

    A text that is tagged `IF_SHOWN` is left out where no cell under it shows anything; one that is
    tagged `OTHERWISE` is left out where all of those stand.
    """
    sections: list[list[nbformat.NotebookNode]] = []
    for cell in cells:
        if cell.cell_type == "markdown":
            sections.append([])
        sections[-1].append(cell)

    def tagged(section: list[nbformat.NotebookNode], tag: str) -> bool:
        return tag in section[0].metadata.get("tags", [])

    kept = [s for s in sections if not tagged(s, IF_SHOWN) or any(c.get("outputs") for c in s)]
    if len(kept) == len(sections):
        kept = [section for section in kept if not tagged(section, OTHERWISE)]
    return [cell for section in kept for cell in section]


def relinked(text: str) -> str:
    """Markdown of a notebook in `book/` with its links as they lead from `papermill_runs/<scale>/`.

    An experiment's notebook becomes its page at the same scale.
    """

    def moved(match: re.Match[str]) -> str:
        path = match[1]
        if path.startswith("../papermill_runs/"):
            return f"](../{path.removeprefix('../papermill_runs/')}"
        own = path.partition("#")[0].removesuffix(".ipynb") in EXPERIMENTS
        return match[0] if own else f"](../../book/{path}"

    return re.sub(r"\]\((?![a-z]+:|[#/])([^)\s]+)", moved, text)


def _size(study: Study) -> list[str]:
    """What the page's runs train, and links to the experiment at the contents' other scales."""
    name = study.experiment.name
    others = [s for s in contents(book_folder().parent) if s.experiment.name == name]
    links = [
        f"[{s.data} (scale {s.scale})](../{s.scale}/{name})"
        for s in others
        if s.scale != study.scale
    ]
    also = [f"The same experiment on {' and on '.join(links)}."] if links else []
    signs = "$B$ is the batch size, and brackets hold 95 % intervals."
    return [f"These runs train {study.net} on {study.data}.", *also, signs]


def contents(root: Path) -> list[Study]:
    """The studies whose pages the book's contents name, in their order.

    Raises:
        InputError: for a page that no experiment has, by the name that the contents give it.
    """
    listed = re.findall(r"papermill_runs/([\w-]+)/([\w-]+)", (root / "_toc.yml").read_text())
    return [study_of(name, scale) for scale, name in listed]


def render_contents(root: Path, results: Path, runs: Path) -> list[Path]:
    """Renders the pages that the contents name, each with as many seeds as are complete.

    Raises:
        FailureError: names the pages that failed; all others are rendered first.
    """

    def page(study: Study) -> Path | str:
        # A store of its own, for it holds what it last read.
        seeds = study.complete_seeds(read_aloud(Store(results), study))
        try:
            return render(study.with_seeds(seeds or study.seeds), results, runs)
        except (InputError, FailureError) as error:
            return str(error)

    done = side_by_side(page, contents(root), "render")
    if failed := [said for said in done if isinstance(said, str)]:
        raise FailureError("; ".join(failed))
    return [path for path in done if isinstance(path, Path)]
