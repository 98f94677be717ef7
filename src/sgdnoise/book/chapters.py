"""The chapters: notebooks in `book/` that are pages as they stand, run by the build."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from jupyter_cache.executors.utils import single_nb_execution

from sgdnoise.book.kernels import CELL_TIMEOUT, QUIET, side_by_side
from sgdnoise.errors import FailureError


def chapters(root: Path) -> list[Path]:
    """Their files, in the order of the contents."""
    named = re.findall(r"(?:file|root): (book/[\w-]+)", (root / "_toc.yml").read_text())
    notebooks = [root / f"{name}.ipynb" for name in named]
    return [notebook for notebook in notebooks if notebook.is_file()]


def execute(notebooks: Sequence[Path], folder: Path) -> None:
    """Runs the notebooks that the cache of executed ones does not know, and puts them there.

    Args:
        notebooks: their files; each runs in its own folder.
        folder: the cache, where the builder of the book looks for what is executed.

    Raises:
        FailureError: names the notebooks in which a cell failed or hung, or whose kernel died; the
            tracebacks are on stderr.
    """
    cache = get_cache(folder)
    # The cache drops what another writer has half written.
    writing = Lock()

    def run(path: Path) -> str:
        notebook = nbformat.read(path, as_version=4)
        try:
            done = single_nb_execution(
                notebook,
                str(path.parent),
                CELL_TIMEOUT,
                allow_errors=False,
                extra_arguments=list(QUIET),
            )
            trouble = done.exc_string
        except Exception as error:  # a kernel fails in many ways
            trouble = f"{type(error).__name__}: {error}"
        if trouble:
            print(f"{path}:\n{trouble}", file=sys.stderr, flush=True)
            return path.name
        executed = CacheBundleIn(notebook, str(path), data={"execution_seconds": done.time})
        with writing:
            cache.cache_notebook_bundle(executed, check_validity=False, overwrite=True)
        return ""

    failed = side_by_side(run, [path for path in notebooks if not _known(path, cache)], "run")
    if any(failed):
        names = ", ".join(name for name in failed if name)
        raise FailureError(f"the book did not build: a cell failed in {names} (see above)")


def _known(path: Path, cache: JupyterCacheAbstract) -> bool:
    try:
        return bool(cache.match_cache_notebook(nbformat.read(path, as_version=4)))
    except KeyError:
        return False
