"""A misspelt papermill parameter fails its notebook: papermill itself only warns of it."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from IPython.core.getipython import get_ipython

from sgdnoise.errors import InputError

_INJECTED = "# Parameters\n"
"""How the cell begins that papermill injects."""


def check_parameters() -> None:
    """Refuses what papermill gave this notebook by a name that the notebook does not assign.

    Without an IPython shell, or without a cell of papermill's, there is nothing to refuse.

    Raises:
        InputError: names what is unknown, and what the notebook declares.
    """
    shell = get_ipython()
    cells = shell.user_ns.get("In", []) if shell is not None else []
    unknown, declared = unknown_parameters(cells)
    if unknown:
        raise InputError(
            f"this notebook has no parameter {', '.join(unknown)}: "
            f"it declares {', '.join(declared) or 'none'}"
        )


def unknown_parameters(cells: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names that papermill's last cell assigns and no cell before it does, and these others.

    Args:
        cells: the sources that a kernel has run, in order.
    """
    places = [k for k, source in enumerate(cells) if source.startswith(_INJECTED)]
    if not places:
        return [], []
    before = [source for source in cells[: places[-1]] if not source.startswith(_INJECTED)]
    declared = sorted({name for source in before for name in _assigned(source)})
    given = _assigned(cells[places[-1]])
    return sorted(given - set(declared)), declared


def _assigned(source: str) -> set[str]:
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a cell that failed assigned nothing
        return set()
    return {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
