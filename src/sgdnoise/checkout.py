"""Where the checkout is that holds the book, and where its records are."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from sgdnoise.errors import FailureError, InputError, shown
from sgdnoise.records import Store


def project_root() -> Path:
    """The checkout that this runs in: the nearest folder upwards that holds the book.

    Raises:
        InputError: outside of any checkout.
    """
    for folder in (Path.cwd(), *Path.cwd().parents):
        if _is_checkout(folder):
            return folder
    raise InputError(
        f"{Path.cwd()} is not inside the book's checkout: change into it, "
        "or name the folders, --results and, where pages are rendered, --runs"
    )


def book_folder() -> Path:
    """Where the notebooks are: in this checkout, else in the one that the package is of.

    Raises:
        InputError: where there is neither, as when pip has copied the package.
    """
    for folder in _roots():
        if _is_checkout(folder):
            return folder / "book"
    raise InputError(
        f"{Path.cwd()} is not inside the book's checkout, where the notebooks are: change into it"
    )


def check_writable(folder: Path, what: str, option: str) -> None:
    """Refuses a folder that cannot be written to, before any work, and leaves nothing behind.

    Args:
        folder: which; it need not be there yet.
        what: what is to be written there, in the plural.
        option: the option of the command line that names another one.

    Raises:
        FailureError: one line that names the folder.
    """
    there = folder
    try:
        while not there.exists():
            there = there.parent
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise FailureError(
            f"cannot write {what} to {folder} ({error.strerror}): give another one with {option}"
        ) from None


def find_store(results: str | os.PathLike[str] | None = None) -> Store:
    """The store that a notebook reads: the first folder of that name counts.

    It is looked for from the current folder upwards, then in the checkout that the package is
    installed from, because notebooks run in folders of theirs.

    Args:
        results: the store's folder, or its path from one of those; `results` unless given.

    Raises:
        InputError: for a folder that is not there or holds no records; it names those looked at.
    """
    if not isinstance(results, str | os.PathLike | None):
        raise InputError(f"results must be a folder's name, got {shown(results)}")
    name = Path("results" if results is None else results)
    folders = list(dict.fromkeys(root / name for root in _roots()))
    for folder in folders:
        if folder.is_dir():
            if not any(folder.glob("*/*.jsonl")):
                raise InputError(
                    f"the store {folder} holds no records, SCALE/EXPERIMENT.jsonl: "
                    "name another one, or fill it with `sgdnoise reproduce`"
                )
            return Store(folder)
    raise InputError(
        f"there is no store {name}: looked for {', '.join(map(str, folders))}; "
        "run inside the book's checkout, or name the folder of a store"
    )


def _roots() -> list[Path]:
    """The current folder, those above it, and the checkout that the package is installed from."""
    package = Path(__file__).resolve().parents[2]
    return [Path.cwd(), *Path.cwd().parents, *([package] if _is_checkout(package) else [])]


def _is_checkout(folder: Path) -> bool:
    return (folder / "_toc.yml").exists() and (folder / "book").is_dir()
