"""Which code made a record: the digest of everything that training imports.

The modules are found from the import statements of the sources, not listed by hand, so that a new
module counts from its first import on. The packages above training (analysis, figures, pages)
cannot change a run: training does not import them, and so they stay out.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = __name__.partition(".")[0]

START = f"{PACKAGE}.training"
"""The package that trains."""


@functools.cache
def code_digest() -> str:
    """Twelve digits of the hash of all code that can change a run, as it lies on the disk.

    Found once a process: later changes of the sources are not seen.
    """
    file = sys.modules[PACKAGE].__file__
    assert file is not None
    return digest(Path(file).parent)


def digest(root: Path, start: str = START) -> str:
    """Twelve digits of the hash of all modules that `start` imports, by name and content.

    Args:
        root: the folder of the package `sgdnoise`.
        start: full name of the package to start from, with all its modules.

    Raises:
        OSError: when there is no such package, or a source cannot be read.
    """
    hashed = hashlib.sha256()
    for name, path in sorted(imported(root, start).items()):
        content = path.read_bytes()
        hashed.update(f"{name} {len(content)}\n".encode())
        hashed.update(content)
    return hashed.hexdigest()[:12]


def imported(root: Path, start: str = START) -> dict[str, Path]:
    """The modules of the package that `start` imports, itself included: full name to source file.

    An import counts wherever it stands: in a function, under a condition, or for type checking.

    Args:
        root: the folder of the package `sgdnoise`.
        start: full name of the package to start from, with all its modules.

    Raises:
        OSError: when there is no such package, or a source cannot be read.
        SyntaxError: when a source is not Python.
    """
    found: dict[str, Path] = {}
    waiting = [start]
    folder = root.joinpath(*start.split(".")[1:])
    for path in folder.rglob("*.py"):
        below = path.relative_to(folder).with_suffix("").parts
        waiting.append(".".join([start, *(part for part in below if part != "__init__")]))
    while waiting:
        name = waiting.pop()
        file = _source(root, name)
        if name in found or file is None:
            continue
        found[name] = file
        waiting += _imports(file, name)
    if start not in found:
        raise FileNotFoundError(f"{root} has no {start}: nothing would be digested")
    return found


def _source(root: Path, name: str) -> Path | None:
    """The file of a module; None where the name is not one of the package's modules."""
    first, *below = name.split(".")
    if first != PACKAGE:
        return None
    path = root.joinpath(*below)
    files = (path / "__init__.py", path.parent / f"{path.name}.py")
    return next((file for file in files if file.is_file()), None)


def _imports(file: Path, name: str) -> Iterator[str]:
    """Names that a source may import: modules, the packages they lie in, and what is not a module.

    What follows `from a import` may be a module or a value: both are given, and only one of them
    has a source.
    """
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for each in names:
            whole = each.split(".")
            yield from (".".join(whole[:end]) for end in range(1, len(whole) + 1))
