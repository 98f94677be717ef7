"""Papermill: one parameterized notebook an experiment, rendered for each scale.

`sgdnoise reproduce` trains what is missing and then renders. `python -m sgdnoise.render EXPERIMENT
--scale SCALE` only renders, from the records that are there, also where there is no GPU.

A page is rendered under a temporary name and moved into place when its kernel has finished, so
that a page that is there is whole. Whether a run is done is for its record to say, never a page.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError

from sgdnoise.errors import FailureError, InputError
from sgdnoise.experiments import Experiment, experiment_named
from sgdnoise.records import Store
from sgdnoise.sweep import missing

CELL_TIMEOUT = 600
"""Seconds after which a cell counts as hung: pages only read records and draw."""

SOURCES = Path(__file__).resolve().parent

_KINDS = {".py", ".json", ".js", ".css"}
"""What the package consists of: code, the papers' numbers, scripts and styles of the figures."""


def check_writable(folder: Path) -> None:
    """Refuses a folder that pages cannot be written to, before any work.

    Raises:
        FailureError: one line that names the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FailureError(
            f"cannot write pages to {folder} ({error.strerror}): give another one with --runs"
        ) from None
    if not os.access(folder, os.W_OK):
        raise FailureError(f"cannot write pages to {folder}: give another one with --runs")


def notebook_source(experiment: Experiment) -> Path:
    """The experiment's notebook in `book/`."""
    from sgdnoise.reproduce import project_root

    return project_root() / "book" / experiment.notebook


def render(experiment: Experiment, scale: str, seeds: int, results: Path, runs: Path) -> Path:
    """Renders an experiment's page for a scale, if anything that it is made of has changed.

    Args:
        experiment: whose page.
        scale: which records it shows.
        seeds: how many seeds a grid point should have; fewer are shown as "3 of 5 seeds".
        results: the store that it reads.
        runs: the folder it goes to, as `<runs>/<scale>/<experiment>.ipynb`.

    Returns:
        The page's path.

    Raises:
        InputError: for a parameter that the notebook does not declare.
        FailureError: when a cell fails, or the kernel dies or hangs.
    """
    source = notebook_source(experiment)
    target = runs / scale / f"{experiment.name}.ipynb"
    parameters = {"scale": scale, "seeds": seeds, "results": os.path.relpath(results)}
    declared = papermill.inspect_notebook(str(source))
    unknown = parameters.keys() - declared.keys()
    if unknown:
        raise InputError(
            f"{source.name} has no parameter {', '.join(sorted(unknown))}: "
            f"it declares {', '.join(sorted(declared))}"
        )
    key = _key(source, results / scale / f"{experiment.name}.jsonl", parameters)
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
            # A kernel on loopback warns that it is not encrypted: no news to the reader.
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
        )
        _tidy(temporary, key)
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


def _key(source: Path, records: Path, parameters: dict[str, Any]) -> str:
    """A digest of all that a page is made of: notebook, records, parameters, package, pins."""
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode())
    package = sorted(file for file in SOURCES.rglob("*") if file.suffix in _KINDS)
    for file in [source, records, SOURCES.parents[1] / "requirements.txt", *package]:
        if file.exists():
            content = file.read_bytes()
            # Names and lengths too: what moves from one file to another is a change.
            digest.update(f"\n{file.name} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()[:16]


def _metadata(notebook: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(notebook.read_text(encoding="utf-8"))["metadata"])
    except (json.JSONDecodeError, KeyError, OSError):
        return {}


def _tidy(path: Path, key: str) -> None:
    """Leaves out what changes with every rendering: times, paths, kernels' versions."""
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
        tags = list(cell.metadata.get("tags", []))
        if "injected-parameters" in tags:
            tags.append("hide-input")
        if "parameters" in tags:  # the book shows the values given, not the defaults beside them
            tags = ["parameters", "remove-cell"]
        cell.metadata = nbformat.NotebookNode({"tags": tags} if tags else {})
    nbformat.write(notebook, path)


def complete_seeds(experiment: Experiment, scale: str, store: Store) -> int:
    """The most seeds, up to the experiment's own number, with which nothing is missing, else 0."""
    records = store.read(scale, experiment.name)
    counts = range(experiment.seeds[scale] if records else 0, 0, -1)
    return next((n for n in counts if not missing(experiment, scale, n, records)), 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Renders pages from what is there; 2 for bad input, 1 for a failure on the way.

    A page that fails does not keep the others from being rendered.
    """
    from sgdnoise.reproduce import project_root

    parser = argparse.ArgumentParser(prog="python -m sgdnoise.render", allow_abbrev=False)
    parser.add_argument("experiments", nargs="+", metavar="EXPERIMENT", help="by their names")
    parser.add_argument("--scale", required=True, help="digits, cpu, gpu or paper")
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="runs a grid point that there should be; as many as are complete unless given",
    )
    parser.add_argument("--results", type=Path, metavar="DIR", help="where records live")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="where pages are rendered")
    given = parser.parse_args(arguments)
    try:
        chosen = [experiment_named(name, given.scale) for name in given.experiments]
        if given.seeds is not None and given.seeds < 1:
            raise InputError(f"seeds must be at least 1, got {given.seeds}")
        store = Store(given.results or project_root() / "results")
        runs = given.runs or project_root() / "papermill_runs"
        check_writable(runs)
        failed: list[InputError | FailureError] = []
        for experiment in chosen:
            seeds = given.seeds or complete_seeds(experiment, given.scale, store)
            seeds = seeds or experiment.seeds[given.scale]
            try:
                page = render(experiment, given.scale, seeds, store.root, runs)
            except (InputError, FailureError) as error:
                failed.append(error)  # the other pages are rendered all the same
            else:
                print(f"page: {page}", flush=True)
        if len(failed) == 1:
            raise failed[0]
        if failed:
            raise FailureError("; ".join(map(str, failed)))
    except (InputError, FailureError) as error:
        print(f"{parser.prog}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
