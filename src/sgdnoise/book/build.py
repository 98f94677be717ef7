"""Builds the book, or says why not.

The build is a gate: a warning, a failing cell or a dangling link ends it with a non-zero exit. With
nothing changed since the last success it only prints where the book is.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from sgdnoise.book.api_page import write_page
from sgdnoise.book.chapters import chapters, execute
from sgdnoise.book.run_pages import write_run_pages
from sgdnoise.book.vendor import SCRIPTS, vendor
from sgdnoise.errors import FailureError
from sgdnoise.records.store import Store

# What a cell may read besides its own text.
CODE = ("src", "results", "local/results", "requirements.txt")
# What else makes a page.
PAGES = ("book", "papermill_runs", "_config.yml", "_toc.yml")
_JB = "from jupyter_book.cli.main import main; main()"
_IGNORED = {"__pycache__", ".ipynb_checkpoints", ".locks", ".checkpoints", "vendor"}


def digest(root: Path, names: Iterable[str]) -> str:
    """A checksum over the files below ``names``, path and content; what tools leave is skipped."""
    total = hashlib.sha256()
    for name in names:
        top = root / name
        files = sorted(top.rglob("*")) if top.is_dir() else [top]
        for path in files:
            parts = path.relative_to(root).parts
            if not path.is_file() or _IGNORED.intersection(parts):
                continue
            if any(part.endswith(".egg-info") for part in parts):
                continue
            total.update("/".join(parts).encode() + b"\0")
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def check_records(root: Path) -> None:
    """Says on stderr which records are refused, a line each.

    Raises:
        FailureError: for an edited one, whose sum does not fit: it names file and line. The half
            line of a run that was killed is no such thing, for the next run sets it aside.
    """
    edited = []
    for store in (Store(root / "results"), Store(root / "local" / "results")):
        for file in sorted(store.root.glob("*/*.jsonl")):
            store.read(file.parent.name, file.stem)
            for complaint in store.complaints:
                if "sha256" in complaint:
                    edited.append(complaint)
                else:
                    print(f"refused: {complaint}", file=sys.stderr, flush=True)
    if edited:
        more = f" (and {len(edited) - 1} more)" if len(edited) > 1 else ""
        raise FailureError(f"a record was edited: {edited[0]}{more}; restore the file")


def build(root: Path = Path()) -> Path:
    """Build what has changed and return the book's index page.

    Raises:
        InputError: outside the project's root.
        FailureError: if the scripts cannot be had, a record was edited, or the build fails; its log
            is on stderr.
    """
    root = root.resolve()
    vendor(root)
    check_records(root)
    write_page(root)
    out = root / "_build"
    index = out / "html" / "index.html"
    code = digest(root, CODE)
    scripts = " ".join(script.sha256 for script in SCRIPTS)
    whole = f"{code} {digest(root, PAGES)} {sys.version} {scripts}"
    whole = hashlib.sha256(whole.encode()).hexdigest()
    if index.is_file() and _read(out / "book.digest") == whole:
        return index

    # The cache of executed notebooks knows their cells only, not the code and records they read.
    (out / "book.digest").unlink(missing_ok=True)
    if _read(out / "code.digest") != code:
        shutil.rmtree(out / ".jupyter_cache", ignore_errors=True)
        _write(out / "code.digest", code)
    # Pages and static files that are gone would stay, and a second incremental build forgets the
    # warnings of the first.
    for stale in ("html", ".doctrees"):
        shutil.rmtree(out / stale, ignore_errors=True)

    # Kernels need not know that the modules of a Python may be frozen: only debuggers care.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    # Beforehand, because the builder runs one notebook after the other.
    execute(chapters(root), out / ".jupyter_cache")
    run = subprocess.run(
        # -n: a link that leads nowhere warns. -W: a warning fails. --keep-going: all of them shown.
        [sys.executable, "-c", _JB, "build", ".", "-n", "-W", "--keep-going"],
        cwd=root,
    )
    if run.returncode or not index.is_file():
        raise FailureError("the book did not build: the warnings above say where")
    write_run_pages(Store(root / "results"), out / "html")
    _write(out / "book.digest", whole)
    return index


def _read(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
