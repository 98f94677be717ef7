"""The page of the package: its public names with their docstrings, and each command with its help.

It is Markdown with Sphinx's own directives for Python, so that each name has an anchor, its full
name, and the search finds it. A chapter links to one as `[text](#sgdnoise.theory.sde.temperature)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sgdnoise.book.address import Address, address_of
from sgdnoise.book.api import PACKAGE, ROOMS, Module, Name, modules, source

PAGE = "book/package"
"""The page, as the contents name it. It is written at each build, and not committed."""

_INTRODUCTION = """\
# The package

The book's figures and numbers come from one Python package, `sgdnoise`, which can be used without
the book.
This page has what it does on the command line, and the names that are meant to be imported, room by
room.
It is made from the sources of the package when the book is built.
"""

EXAMPLE = """\
from sgdnoise.config import RunConfig
from sgdnoise.training import train

config = RunConfig(
    dataset="digits", model="digits-mlp", batch_size=32, learning_rate=0.1, momentum=0.9, epochs=20
)
(result,) = train([config])

print(config.id, result.status)
print(result.metrics["test_accuracy"], "% of the test set,", result.metrics["train_loss"], "nats")
"""
"""One run, from its config to its final numbers."""

_DIRECTIVES = {
    "function": "py:function",
    "class": "py:class",
    "method": "py:method",
    "property": "py:property",
    "attribute": "py:attribute",
    "data": "py:data",
    "alias": "py:data",
}

_SECTIONS = {
    "Args": "Arguments",
    "Attributes": "Attributes",
    "Raises": "Raises",
    "Returns": "Returns",
    "Yields": "Yields",
}


def write_page(root: Path) -> None:
    """Writes the page of a checkout whose contents name it, if it has changed."""
    if PAGE not in (root / "_toc.yml").read_text(encoding="utf-8"):
        return
    path, text = root / f"{PAGE}.md", page(address_of(root))
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def page(address: Address | None = None) -> str:
    """The page as Markdown; names link to their sources where the repository's address is known."""
    # Here, for the command line imports the book's commands.
    from sgdnoise.cli import help_pages

    parts = [_INTRODUCTION, _example(), _rooms(), "## On the command line\n"]
    parts += [f"### `{name}`\n\n```text\n{text}```\n" for name, text in help_pages().items()]
    for room in ROOMS:
        first, *below = modules(room)
        parts.append(f"## `{first.name}`\n\n{prose(first.doc)}\n")
        parts += _names(first, address)
        for module in below:
            parts.append(f"### `{module.name}`\n\n{prose(module.doc)}\n")
            parts += _names(module, address)
    return "\n".join(parts)


def _example() -> str:
    return (
        "## One run\n\nA config is a run: equal configs give equal runs, and its id is the name "
        f"of the run's record.\n\n```python\n{EXAMPLE}```\n"
    )


def _rooms() -> str:
    """A line a room: its name, and the first paragraph of its docstring."""
    lines = []
    for room in ROOMS:
        first = modules(room)[0]
        lines.append(
            f"- `{first.name}`: {_escaped(' '.join(first.doc.split(chr(10) * 2)[0].split()))}"
        )
    return "\n".join(["## The rooms\n", *lines, ""])


def _names(module: Module, address: Address | None) -> Iterator[str]:
    if not module.names:
        return
    yield f"Source: {_source(module.name, None, address)}\n"
    yield f":::{{py:currentmodule}} {module.name}\n:::\n"
    for name in module.names:
        yield _block(name, module, address)


def _block(name: Name, module: Module, address: Address | None, fence: str = "::::") -> str:
    """A name as a directive: signature, docstring, where it is defined, members."""
    own = name.name.removeprefix(f"{module.name}.")
    if name.kind == "property":
        _, _, kind = name.signature.partition(" -> ")
        options = f":type: {kind}\n" if kind else ""
        signature = own
    elif name.kind in ("attribute", "data", "alias"):
        signature, value = own, name.signature.removeprefix(" = ")
        options = f":value: {value}\n" if value else ""
    else:
        signature, options = f"{own}{name.signature}", ""
    parts = [f"{fence}{{{_DIRECTIVES[name.kind]}}} {signature}\n{options}", prose(name.doc)]
    if name.module != module.name and fence == "::::":
        parts.append(f"Source: {_source(name.module, name.line, address)}")
    parts += [_block(member, module, address, fence[1:]) for member in name.members]
    return "\n\n".join([*filter(None, parts), fence + "\n"])


def _source(module: str, line: int | None, address: Address | None) -> str:
    path = f"src/{source(module).relative_to(PACKAGE.parent).as_posix()}"
    return f"`{path}`" if address is None else f"[`{path}`]({address.file(path, line)})"


def prose(doc: str) -> str:
    """A docstring as Markdown: what it lists under Args, Returns and the like becomes lists."""
    parts: list[str] = []
    for block in re.split(rf"\n(?=(?:{'|'.join(_SECTIONS)}):\n)", f"\n{doc}"):
        head, _, rest = block.partition(":\n")
        if head in _SECTIONS:
            body, after = _indented(rest)
            parts += [f"**{_SECTIONS[head]}**", _items(body), _escaped(after)]
        else:
            parts.append(_escaped(block))
    return "\n\n".join(part.strip("\n") for part in parts if part.strip())


def _indented(text: str) -> tuple[str, str]:
    """The indented beginning of a text, without its indent, and what follows it."""
    found = re.match(r"(?:    .*\n?|\n(?=\n*    ))*", text)
    assert found is not None
    return re.sub(r"(?m)^    ", "", found[0]), text[found.end() :]


def _items(text: str) -> str:
    """`name: what it is`, with what is indented under it, as a list; other text as it is."""
    lines = []
    for line in text.splitlines():
        found = re.match(r"([\w*, .]+|`[^`]+`): (.*)", line)
        if found:
            named = ", ".join(f"`{name.strip(' `')}`" for name in found[1].split(","))
            lines.append(f"- {named}: {_escaped(found[2])}")
        else:
            # What goes on belongs to the item above, and is no code for its indent.
            lines.append(f"  {_escaped(line.strip())}")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """Text with nothing in it that Markdown acts on, code and lists aside."""
    parts = re.split(r"(`[^`]*`|(?m:^ {4,}.*$)|\n)", text)
    return "".join(p if k % 2 else _plain(p) for k, p in enumerate(parts))


_EMPHASIS = re.compile(r"((?<![\w*])\*\w[^*]*(?<=\w)\*(?![\w*]))")


def _plain(text: str) -> str:
    """Emphasis is kept; any other character that Markdown, HTML or TeX acts on is itself."""
    parts = _EMPHASIS.split(text)
    return "".join(
        re.sub(r"[#$&*<>\[\\\]^_{|}~]", lambda found: f"&#{ord(found[0])};", part)
        if k % 2 == 0
        else f"*{_plain(part[1:-1])}*"
        for k, part in enumerate(parts)
    )
