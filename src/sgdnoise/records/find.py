"""Which store a notebook reads."""

from __future__ import annotations

import os
from pathlib import Path

from sgdnoise.checkout import roots
from sgdnoise.errors import InputError, shown
from sgdnoise.records.store import Store, told

SHIPPED = Path(__file__).parents[1] / "_results"
"""The committed records as the package ships them; in a checkout a link to them."""


def find_store(results: str | os.PathLike[str] | None = None) -> Store:
    """The store that a notebook reads: the first folder of that name counts.

    It is looked for from the current folder upwards, then in the checkout that the package is
    installed from, because notebooks run in folders of theirs. Where pip has copied the package
    there is no checkout, and the records that came with it are read.

    Args:
        results: the store's folder, or its path from one of those; `results` unless given.

    Raises:
        InputError: for a folder that is not there or holds no records; it names those looked at.
    """
    if not isinstance(results, str | os.PathLike | None):
        raise InputError(f"results must be a folder's name, got {shown(results)}")
    name = Path("results" if results is None else results)
    folders = [name] if name.is_absolute() else list(dict.fromkeys(r / name for r in roots()))
    if results is None or name == Path("results"):
        folders.append(SHIPPED)
    for folder in folders:
        if os.path.isdir(folder):  # unlike Path.is_dir, no error for a name too long
            if not any(folder.glob("*/*.jsonl")):
                _check_readable(folder)
                raise InputError(
                    f"the store {folder} holds no records, SCALE/EXPERIMENT.jsonl: "
                    "name another one, or fill it with `sgdnoise reproduce`"
                )
            return Store(folder)
    raise InputError(
        f"there is no store {name}: looked for {', '.join(map(str, folders))}; "
        "run inside the book's checkout, or name the folder of a store"
    )


def _check_readable(folder: Path) -> None:
    """Refuses a store that may not be read: a pattern passes over such folders in silence.

    Raises:
        InputError: one line that says so.
    """
    with told("read records", folder):
        for below in (folder, *folder.iterdir()):
            if below.is_dir():
                os.listdir(below)
