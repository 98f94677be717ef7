"""The page of the package: every public name is on it, with what its docstring says."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from sgdnoise import cli
from sgdnoise.book import api, api_page
from sgdnoise.book.address import Address

ROOT = Path(__file__).parents[2]

MODULES = {module.name: module for room in api.ROOMS for module in api.modules(room)}
NAMES = {each.name: each for m in MODULES.values() for name in m.names for each in name.all()}


@pytest.fixture(scope="module")
def page() -> str:
    return api_page.page()


def test_every_public_name_and_module_has_a_docstring():
    # An alias of a type is its value.
    missing = [name for name, each in NAMES.items() if not each.doc and each.kind != "alias"]
    assert missing == []
    assert [name for name, module in MODULES.items() if not module.doc] == []
    assert len(NAMES) > 300


def test_the_names_are_those_that_python_finds():
    """Read off the sources, they are what importing the modules gives."""
    for name, module in MODULES.items():
        imported = importlib.import_module(name)
        for each in module.names:
            found = getattr(imported, each.name.rpartition(".")[2])
            if each.kind not in ("data", "alias"):
                assert inspect.getdoc(found) == inspect.cleandoc(each.doc), each.name
                assert found.__module__ == each.module
            for member in each.members:
                own = member.name.rpartition(".")[2]
                assert hasattr(found, own) or own in found.__annotations__, member.name
        listed = getattr(imported, "__all__", None)
        if listed is not None:
            assert [each.name.rpartition(".")[2] for each in module.names] == listed
        elif module.names:
            own = {
                key
                for key, value in vars(imported).items()
                if not key.startswith("_") and getattr(value, "__module__", None) == name
                if inspect.isclass(value) or inspect.isroutine(value)
            }
            assert own <= {each.name.rpartition(".")[2] for each in module.names}


def test_a_function_shows_its_arguments_as_they_are_written():
    name = NAMES["sgdnoise.theory.nqm.time_to_target"]
    found = inspect.signature(importlib.import_module("sgdnoise.theory.nqm").time_to_target)
    shown = re.findall(r"(\w+): ", name.signature)
    assert shown == list(found.parameters)
    assert name.module == "sgdnoise.theory.nqm.target"
    store = NAMES["sgdnoise.records.store.Store"]
    assert store.signature == "(root: Path, complaints: list[str] = list())"
    append = NAMES["sgdnoise.records.store.Store.append"].signature
    assert append == "(scale: str, experiment: str, records: Iterable[Record]) -> None"
    assert NAMES["sgdnoise.config.RunConfig.id"].kind == "property"
    assert NAMES["sgdnoise.config.ENGINE_VERSION"].signature == " = 1"
    assert NAMES["sgdnoise.curvature.TopEigenvalues.norm"].kind == "attribute"


def test_the_page_has_each_name_each_module_and_each_command_once(page):
    directives = re.findall(r"(?m)^:{3,}\{py:(?!current)\w+\} ([\w.]+)", page)
    assert sorted(d.rpartition(".")[2] for d in directives) == sorted(
        name.rpartition(".")[2] for name in NAMES
    )
    headings = re.findall(r"(?m)^#{2,3} `(.*)`$", page)
    commands = cli.help_pages()
    assert headings == [*commands, *MODULES]
    assert {"sgdnoise reproduce", "sgdnoise records merge", "sgdnoise nqm"} <= commands.keys()
    for text in commands.values():
        assert text in page
        assert max(map(len, text.splitlines())) <= 88
    for module in {each.module for each in NAMES.values()}:
        assert f"`src/{api.source(module).relative_to(ROOT / 'src')}`" in page
    assert "http" not in re.sub(r"`[^`]*`", "", page)
    assert len(page) < 250_000


def test_the_page_opens_with_an_example_that_runs_and_with_the_rooms(page, capsys):
    opening = page.split("## On the command line")[0]
    (example,) = re.findall(r"```python\n(.*?)```", opening, re.S)
    assert len(example.splitlines()) <= 10
    found: dict[str, Any] = {}
    exec(compile(example, "the example", "exec"), found)
    out = capsys.readouterr().out
    assert found["config"].id in out
    assert found["result"].status == "done"
    assert found["result"].metrics["test_accuracy"] > 95
    rooms = re.findall(r"(?m)^- `(.*)`: (.*)$", opening)
    assert [name for name, _ in rooms] == [f"sgdnoise.{room}" for room in api.ROOMS]
    assert all(said.endswith(".") for _, said in rooms)


def test_names_link_to_their_lines_where_the_address_is_known():
    page = api_page.page(Address("https://github.com/someone/noise", "v1"))
    name = NAMES["sgdnoise.theory.nqm.time_to_target"]
    path = "src/sgdnoise/theory/nqm/target.py"
    link = f"[`{path}`](https://github.com/someone/noise/blob/v1/{path}#L{name.line})"
    assert link in page
    assert (ROOT / path).read_text().splitlines()[name.line - 1].startswith("def time_to_target(")


def test_a_docstring_becomes_lists_and_nothing_in_it_is_markup():
    text = api_page.prose(
        "w* and a_b_c of [this] <b>, `x_y` as code, $4 and $5.\n\n"
        "Args:\n    mine, theirs: the runs\n        of *one* seed, w* of all*.\n"
        "    `left_out`: rest.\n\n"
        "Returns:\n    By the experiment, the records.\n\n    A second paragraph.\n\n"
        "Raises:\n    InputError: for nothing.\n"
    )
    html = MarkdownIt("commonmark").render(text)
    assert "<p>w* and a_b_c of [this] &lt;b&gt;, <code>x_y</code> as code, $4 and $5.</p>" in html
    assert html.count("<em>") == 1
    assert html.count("<ul>") == 2
    both = "<code>mine</code>, <code>theirs</code>"
    assert f"<li>{both}: the runs\nof <em>one</em> seed, w* of all*.</li>" in html
    assert "<li><code>left_out</code>: rest.</li>" in html
    titles = re.findall("<p><strong>(.*)</strong></p>", html)
    assert titles == ["Arguments", "Returns", "Raises"]
    assert "<p>A second paragraph.</p>" in html
    assert "<pre>" not in html
    # What a docstring sets apart is code.
    assert "<pre><code>name  what_it_is\n" in MarkdownIt("commonmark").render(
        api_page.prose("Names:\n\n    name  what_it_is\n")
    )


def test_it_is_written_where_the_contents_name_it_and_once(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "_config.yml").write_text("title: x\n")
    (tmp_path / "_toc.yml").write_text("root: book/intro\n")
    api_page.write_page(tmp_path)
    assert not list((tmp_path / "book").iterdir())
    (tmp_path / "_toc.yml").write_text("root: book/package\n")
    api_page.write_page(tmp_path)
    path = tmp_path / "book" / "package.md"
    assert path.read_text() == api_page.page()
    path.chmod(0o444)
    before = path.stat().st_mtime_ns
    api_page.write_page(tmp_path)
    assert path.stat().st_mtime_ns == before
