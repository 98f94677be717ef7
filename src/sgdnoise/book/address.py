"""Where the repository is: one setting, `repository` of `_config.yml`, and what follows from it.

Where the address is known, pages have a button that opens their notebook in Colab, and each
notebook has a first cell that installs this package where it is not there. Where the setting is
empty, neither is there.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sgdnoise.errors import InputError, shown

COLAB = "https://colab.research.google.com"

INSTALL = "install"
"""The id of the cell that installs."""

_INSTALL = """\
# Where the book's package is not there, as in Colab. The torch that is there stays.
import importlib.util
import sys

if importlib.util.find_spec("sgdnoise") is None:
    %pip install --quiet "sgdnoise @ git+{url}@{branch}"
if "google.colab" in sys.modules:
    from google.colab import output

    output.enable_custom_widget_manager()  # for the sliders
"""


@dataclass(frozen=True)
class Address:
    """The repository's URL, and the branch or tag that this book is of."""

    url: str
    branch: str

    def file(self, path: str, line: int | None = None) -> str:
        """The URL of a file of the repository, perhaps at a line."""
        return f"{self.url}/blob/{self.branch}/{path}" + (f"#L{line}" if line else "")


def address_of(root: Path) -> Address | None:
    """The address that the configuration of a checkout gives; None where it is empty.

    Raises:
        InputError: for one that is no https address, or has no branch.
    """
    told = (yaml.safe_load((root / "_config.yml").read_text()) or {}).get("repository") or {}
    url, branch = str(told.get("url") or "").rstrip("/"), str(told.get("branch") or "")
    if not url:
        return None
    if not re.fullmatch(r"https://[\w.-]+(/[\w.~-]+)+", url) or not re.fullmatch(
        r"[\w./-]+", branch
    ):
        raise InputError(
            f"repository of _config.yml is {shown(url)} at branch {shown(branch)}: "
            "give url as https://HOST/OWNER/NAME and a branch or a tag, or leave url empty"
        )
    return Address(url, branch)


def with_install_cell(notebook: dict[str, Any], address: Address | None) -> dict[str, Any]:
    """A notebook with the cell that the address asks for, after its title; without one, with none.

    The cell has the tag that leaves it out of the built book, where the package is installed.
    """
    title, *cells = [cell for cell in notebook["cells"] if cell.get("id") != INSTALL]
    if address is not None:
        source = _INSTALL.format(url=address.url, branch=address.branch).rstrip("\n")
        install = {
            "cell_type": "code",
            "execution_count": None,
            "id": INSTALL,
            "metadata": {"tags": ["remove-cell"]},
            "outputs": [],
            "source": source.splitlines(keepends=True),
        }
        cells = [install, *cells]
    return {**notebook, "cells": [title, *cells]}


def follow(root: Path) -> list[Path]:
    """Writes the notebooks of `book/` that do not have what the address asks for; gives these.

    Raises:
        InputError: as `address_of`.
    """
    address, changed = address_of(root), []
    for path in sorted((root / "book").glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        wanted = with_install_cell(notebook, address)
        if wanted != notebook:
            text = json.dumps(wanted, indent=1, ensure_ascii=False) + "\n"
            temporary = path.with_name(f".{path.name}")
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
            changed.append(path)
    return changed


def setup(app: Any) -> dict[str, bool]:
    """As an extension of Sphinx: buttons to the repository and to Colab, where there is an address.

    Colab opens what is on GitHub alone.
    """
    app.connect("config-inited", lambda _, config: _buttons(config.html_theme_options))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _buttons(options: dict[str, Any]) -> None:
    url = options.get("repository_url")
    if not url:
        return
    options["use_repository_button"] = True
    if url.startswith("https://github.com/"):
        options["launch_buttons"] = {"colab_url": COLAB}
