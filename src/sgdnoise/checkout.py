"""Where the checkout is that holds the book."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sgdnoise.errors import FailureError, InputError


def project_root(instead: str = "") -> Path:
    """The checkout that this runs in: the nearest folder upwards that holds the book.

    Args:
        instead: what one may do otherwise than change into it, as a clause.

    Raises:
        InputError: outside of any checkout.
    """
    for folder in _upwards():
        if _is_checkout(folder):
            return folder
    raise InputError(
        f"{_here()} is not inside the book's checkout: change into it"
        + (f", or {instead}" if instead else "")
    )


def book_folder() -> Path:
    """Where the notebooks are: in this checkout, else in the one that the package is of.

    Raises:
        InputError: where there is neither, as when pip has copied the package.
    """
    for folder in roots():
        if _is_checkout(folder):
            return folder / "book"
    raise InputError(
        f"{_here()} is not inside the book's checkout, where the notebooks are: change into it"
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


def roots() -> list[Path]:
    """The current folder, those above it, and the checkout that the package is installed from.

    Where the current folder was deleted, only the last.
    """
    package = Path(__file__).resolve().parents[2]
    return [*_upwards(), *([package] if _is_checkout(package) else [])]


def _upwards() -> list[Path]:
    """The current folder and those above it; none where it was deleted."""
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return []
    return [here, *here.parents]


def _here() -> str:
    """The current folder as an error names it."""
    return next(map(str, _upwards()), "the current folder, which was deleted,")


def _is_checkout(folder: Path) -> bool:
    return (folder / "_toc.yml").exists() and (folder / "book").is_dir()
