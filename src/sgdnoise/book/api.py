"""The package's public names, read off its sources: nothing is imported for it.

A name is public if its room says so in `__all__`; of a room that says nothing, whatever its modules
define without a leading underscore. Sources tell more than imported objects do: constants have
their docstrings, and annotations stand as they were written.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]

ROOMS = (
    "theory",
    "ghost_norm",
    "optim",
    "curvature",
    "training",
    "records",
    "study",
    "analysis",
    "claims",
    "diagnose",
    "config",
    "schedule",
)
"""In the order in which the page has them."""


_OVERRIDDEN = {"forward", "extra_repr"}
"""What every PyTorch module has: without a docstring it is what PyTorch says."""


@dataclass(frozen=True)
class Name:
    """A public name.

    Attributes:
        name: full, as it is imported.
        kind: `function`, `class`, `method`, `property`, `attribute`, `data`, or `alias`, of a type.
        signature: what follows the name: arguments and result, or a constant's value.
        doc: its docstring; empty where it has none.
        module: where it is defined.
        line: at which line.
        members: of a class.
    """

    name: str
    kind: str
    signature: str
    doc: str
    module: str
    line: int
    members: tuple[Name, ...] = ()

    def all(self) -> Iterator[Name]:
        """Itself and its members."""
        yield self
        yield from self.members


@dataclass(frozen=True)
class Module:
    """What one can import from one place: full name, docstring, and the names."""

    name: str
    doc: str
    names: tuple[Name, ...]


def modules(room: str) -> list[Module]:
    """The modules of a room that have public names."""
    path = PACKAGE / room
    if not path.is_dir():
        return [_module(f"sgdnoise.{room}")]
    if (listed := _module(f"sgdnoise.{room}")).names:
        return [listed]
    below = sorted(p for p in path.iterdir() if p.suffix == ".py" and p.stem != "__init__")
    below += sorted(p for p in path.iterdir() if (p / "__init__.py").is_file())
    found = [_module(f"sgdnoise.{room}.{each.stem}") for each in below]
    return [listed, *(module for module in found if module.names)]


def source(module: str) -> Path:
    """The file of a module, by its full name."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@functools.cache
def _tree(path: Path) -> ast.Module:
    """A source as it was when it was first asked for."""
    return ast.parse(path.read_text(encoding="utf-8"))


def _module(name: str) -> Module:
    tree = _tree(source(name))
    listed = _listed(tree)
    own = {each.name.rpartition(".")[2]: each for each in _defined(tree.body, name, name)}
    if listed is None:
        # An alias that needs no word says nothing that the annotations do not.
        told = [each for each in own.values() if each.doc or each.kind != "alias"]
        names = [] if source(name).name == "__init__.py" else told
    else:
        come = _come_from(tree)
        names = [own[n] if n in own else _moved(_named(come[n], n), name) for n in listed]
    return Module(name, ast.get_docstring(tree) or "", tuple(names))


def _named(module: str, name: str) -> Name:
    tree = _tree(source(module))
    return next(n for n in _defined(tree.body, module, module) if n.name == f"{module}.{name}")


def _moved(name: Name, module: str) -> Name:
    """The name as it is imported from elsewhere than where it is defined."""
    here = f"{module}{name.name.removeprefix(name.module)}"
    members = tuple(_moved(member, module) for member in name.members)
    return dataclasses.replace(name, name=here, members=members)


def _listed(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return None


def _come_from(tree: ast.Module) -> dict[str, str]:
    return {
        alias.asname or alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def _defined(body: list[ast.stmt], module: str, prefix: str) -> Iterator[Name]:
    """The public names that some statements define, with the full name that they have."""
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            if node.name.startswith("_"):
                continue
            doc = ast.get_docstring(node) or ""
            full = f"{prefix}.{node.name}"
            if isinstance(node, ast.FunctionDef):
                yield Name(
                    full, _kind(node, module == prefix), _call(node), doc, module, node.lineno
                )
                continue
            members = tuple(_members(node, module, full))
            yield Name(full, "class", _fields(node), doc, module, node.lineno, members)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            name = ast.unparse(target)
            if name.isidentifier() and not name.startswith("_"):
                kind = "alias" if isinstance(node.value, ast.Subscript) else "data"
                doc = _string(following)
                yield Name(f"{prefix}.{name}", kind, _value(node), doc, module, node.lineno)


def _members(node: ast.ClassDef, module: str, prefix: str) -> Iterator[Name]:
    """Methods and properties, and the fields that have a docstring of their own."""
    seen: set[str] = set()  # a property and its setter are one name: the first has the docstring
    for member in _defined(node.body, module, prefix):
        own = member.name.rpartition(".")[2]
        if own in seen or not (member.doc or member.kind in ("method", "property")):
            continue
        if member.doc or own not in _OVERRIDDEN:
            seen.add(own)
            is_field = member.kind not in ("method", "property", "class")
            yield dataclasses.replace(member, kind="attribute") if is_field else member


def _kind(node: ast.FunctionDef, outside: bool) -> str:
    if outside:
        return "function"
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    return "property" if decorators & {"property", "functools.cached_property"} else "method"


def _call(node: ast.FunctionDef) -> str:
    """The arguments and the result, as they are written; `self` and `cls` left out."""
    arguments = node.args
    first = [*arguments.posonlyargs, *arguments.args][:1]
    text = ast.unparse(arguments)
    if first and first[0].arg in ("self", "cls"):
        text = text.removeprefix(ast.unparse(first[0])).removeprefix(", ")
    return f"({text})" + (f" -> {ast.unparse(node.returns)}" if node.returns else "")


def _fields(node: ast.ClassDef) -> str:
    """How an instance is made: the arguments of `__init__`, or the fields of a dataclass."""
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
            return _call(inner).removesuffix(" -> None")
    fields = [
        f"{ast.unparse(inner.target)}: {ast.unparse(inner.annotation)}"
        + (f" = {_default(inner.value)}" if inner.value else "")
        for inner in node.body
        if isinstance(inner, ast.AnnAssign) and not ast.unparse(inner.target).startswith("_")
    ]
    return f"({', '.join(fields)})" if fields else ""


def _default(value: ast.expr) -> str:
    """A field's default, shortened where it is long."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "field":
        made = {keyword.arg: ast.unparse(keyword.value) for keyword in value.keywords}
        text = made.get("default") or f"{made.get('default_factory', '...')}()"
    else:
        text = ast.unparse(value)
    return text if len(text) <= 30 else "..."


def _value(node: ast.Assign | ast.AnnAssign) -> str:
    text = ast.unparse(node.value) if node.value else ""
    return f" = {text}" if text and len(text) <= 120 else ""


def _string(node: ast.stmt | None) -> str:
    """The docstring of a constant: the text that follows it."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return str(node.value.value)
    return ""
