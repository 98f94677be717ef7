"""The book's gate, its scripts' checksums, and how its pages show figures."""

from __future__ import annotations

import hashlib
import html
import io
import json
import os
import re
import shutil
import tarfile
import textwrap
import threading
from dataclasses import replace
from html.parser import HTMLParser
from importlib.metadata import distributions
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import ipywidgets.embed
import nbformat
import plotly.graph_objects as go
import pytest
from docutils.utils import new_document
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from sgdnoise import cli
from sgdnoise.book import build as gate
from sgdnoise.book import chapters, kernels, mime, notebooks, vendor
from sgdnoise.config import make_config
from sgdnoise.errors import FailureError, InputError
from sgdnoise.figures.explorer import Explorer, Slider, explorer, untabulate
from sgdnoise.records.made import record_of
from sgdnoise.training.result import Result

ROOT = Path(__file__).parents[2]


# The scripts of the pages ------------------------------------------------------------------------


SCRIPT = b"the script"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one script, and a registry whose package holds more than that."""
    (tmp_path / "_config.yml").touch()
    wanted = vendor.Script("it.js", "it@1.0.0", "dist/it.js", hashlib.sha256(SCRIPT).hexdigest())
    monkeypatch.setattr(vendor, "SCRIPTS", (wanted,))

    def pack(package: str, into: Path) -> Path:
        archive = into / "it.tgz"
        with tarfile.open(archive, "w:gz") as tar:
            for name in ("../../outside", str(tmp_path / "absolute"), "package/dist/it.js"):
                member = tarfile.TarInfo(name)
                member.size = len(SCRIPT)
                tar.addfile(member, io.BytesIO(SCRIPT))
        return archive

    monkeypatch.setattr(vendor, "npm_pack", pack)
    return tmp_path


def test_scripts_are_placed_once(shelf: Path) -> None:
    assert vendor.vendor(shelf) == ["it.js"]
    assert vendor.vendor(shelf) == []


def test_an_altered_script_is_put_right(shelf: Path) -> None:
    vendor.vendor(shelf)
    file = shelf / vendor.VENDOR / "it.js"
    file.write_bytes(b"another")
    assert vendor.vendor(shelf) == ["it.js"]
    assert file.read_bytes() == SCRIPT


def test_a_source_that_is_not_what_was_tried_is_refused(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (wanted,) = vendor.SCRIPTS
    monkeypatch.setattr(vendor, "SCRIPTS", (replace(wanted, sha256="0" * 64),))
    with pytest.raises(FailureError, match=r"dist/it.js of it@1.0.0 has sha256 .* expected 0000"):
        vendor.vendor(shelf)
    assert not list((shelf / vendor.VENDOR).glob("*"))


def test_of_a_package_only_the_script_is_written(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As Python before 3.11.4 has it, without the argument that refuses names like these.
    old = tarfile.TarFile.extractall
    monkeypatch.setattr(tarfile.TarFile, "extractall", lambda tar, path: old(tar, path))
    assert vendor.vendor(shelf) == ["it.js"]
    assert (shelf / vendor.VENDOR / "it.js").read_bytes() == SCRIPT
    assert not (shelf / "absolute").exists()

    (wanted,) = vendor.SCRIPTS
    lost = replace(wanted, path="dist/that.js", target="that.js")
    monkeypatch.setattr(vendor, "SCRIPTS", (wanted, lost))
    with pytest.raises(FailureError, match=r"dist/that.js of it@1.0.0 is missing"):
        vendor.vendor(shelf)


def test_pages_and_kernels_draw_with_the_same_plotly() -> None:
    """Pages have a smaller build, from npm; a kernel sends its own."""
    whole = files("plotly") / "package_data" / "plotly.min.js"
    (version,) = re.findall(r"plotly\.js v([\d.]+)", whole.read_text()[:300])
    packages = {script.target: script.package for script in vendor.SCRIPTS}
    assert packages["plotly.min.js"] == f"plotly.js-cartesian-dist-min@{version}"


def test_every_pin_allows_the_python_that_debian_12_ships() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = dict(line.split(";")[0].strip().split("==") for line in lines if "==" in line)
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    found = {canonicalize_name(d.metadata["Name"]): d for d in distributions()}
    # What is installed in another version than the pin says nothing about the pin.
    tried = [name for name, d in found.items() if pins.get(name) == d.version]
    refusing = [
        name
        for name in tried
        if "3.11.2" not in SpecifierSet(found[name].metadata.get("Requires-Python") or "")
    ]
    assert len(tried) > 100
    assert refusing == []


def test_scripts_go_into_a_project_only(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="project's root"):
        vendor.vendor(tmp_path)


# Figures on a page -------------------------------------------------------------------------------


class Scripts(HTMLParser):
    """What a browser takes for the content of the script elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.found.append(data)


def test_a_figure_reaches_the_page_whatever_its_labels_hold() -> None:
    nasty = 'a</script><script>alert("<!--")</script> & b'
    fig = go.Figure(go.Scatter(y=[1, 2], name=nasty)).update_layout(title={"text": "t"})
    (script,) = Scripts(mime.figure_html(fig.to_plotly_json(), nasty)).found
    assert json.loads(script)["data"][0]["name"] == nasty


NASTY = "look </script><script>"


class Renderer:
    """What mime.py asks of myst-nb's renderer of a notebook that shows these widgets."""

    def __init__(self, *widgets: ipywidgets.Widget) -> None:
        models = ipywidgets.embed.dependency_state(widgets)
        metadata = {"widgets": {mime.WIDGET_STATE_MIMETYPE: {"state": models}}}
        notebook = nbformat.v4.new_notebook(metadata=metadata)
        document = new_document("a page")
        self.renderer = SimpleNamespace(
            nb_client=SimpleNamespace(notebook=notebook), document=document
        )
        self.scripts: dict[str, tuple[str, dict[str, object]]] = {}
        self.warned: list[str] = []
        self.logger = SimpleNamespace(warning=lambda words, **_: self.warned.append(words))

    def add_js_file(self, key: str, uri: str, attributes: dict[str, object]) -> None:
        self.scripts[key] = uri, attributes

    def show(self, name: str) -> list[str]:
        data = mime.MimeData(mime.WIDGET_VIEW_MIMETYPE, {"model_id": name})
        made = mime.PlotlyMimeRender.handle_mime(self, data, inline=False)
        assert made is not None
        return [node.astext() for node in made]


def moving(caption: str) -> Explorer:
    def figure_at(size: int) -> go.Figure:
        return go.Figure(go.Scatter(y=[1, size])).update_layout(title={"text": f"B = {size}"})

    return explorer(figure_at, {"size": Slider([2, 4, 8], label="B", value=8)}, caption=caption)


def test_an_explorer_is_its_table_of_frames_and_leaves_no_widget_on_the_page() -> None:
    made = [moving(NASTY), moving("and again")]
    renderer = Renderer(*made)
    for number, (one, caption) in enumerate(zip(made, (NASTY, "and again"), strict=True), 1):
        said, box = renderer.show(one.model_id)
        assert said == f"Figure {number}"
        assert box.startswith('<div class="sgdnoise-explorer"><script type="application/json">')
        found = json.loads(Scripts(box).found[0])
        assert found["caption"] == caption
        assert found["position"] == [2]
        assert [slider["options"] for slider in found["sliders"]] == [["2", "4", "8"]]
        assert untabulate(found["table"], 1) == one.frame(size=4)
        assert html.escape(caption) in re.search("<noscript>.*</noscript>", box)[0]
    assert renderer.renderer.nb_client.notebook.metadata == {}
    assert renderer.scripts["plotly"][0] == "vendor/plotly.min.js"
    assert renderer.warned == []


def test_a_widget_that_a_page_cannot_show_is_warned_of() -> None:
    made, other = moving("c"), ipywidgets.IntSlider()
    renderer = Renderer(other, made)
    lost = Renderer(made)
    state = lost.renderer.nb_client.notebook.metadata.widgets[mime.WIDGET_STATE_MIMETYPE].state
    del state[made._plot.model_id]
    for place, name in (
        (renderer, other.model_id),  # no explorer
        (renderer, "0" * 32),  # of another run
        (lost, made.model_id),  # its table is gone
    ):
        place.warned.clear()
        assert place.show(name) == []
        (words,) = place.warned
        assert "without a kernel" in words
        assert place.scripts == {}


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ({"meta": {"alt": "falls"}, "title": {"text": "loss"}}, "falls"),
        ({"title": {"text": "<b>loss</b>"}}, "loss"),
        ({"title": "loss"}, "loss"),
        ({"meta": "else"}, ""),
        ({}, ""),
    ],
)
def test_words_for_who_cannot_see_the_figure(layout: dict[str, object], words: str) -> None:
    assert mime.alternative({"layout": layout}) == words


# The gate ----------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A book of two pages under the project's own configuration; scripts are of no concern here."""
    monkeypatch.setattr(gate, "vendor", lambda root: [])
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "_config.yml", tmp_path)
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nchapters:\n- file: book/chapter\n"
    )
    for folder in ("book/assets", "src/sgdnoise/figures/static"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("vendor", "*.md")
        )
    (tmp_path / "book" / "references.bib").touch()
    (tmp_path / "book" / "intro.md").write_text("# First\n\nA page.\n")
    (tmp_path / "src" / "value.txt").write_text("one")
    write(tmp_path, "print(open('../src/value.txt').read())")
    return tmp_path


def write(project: Path, code: str, text: str = "# Chapter") -> None:
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    notebook.cells = [
        nbformat.v4.new_markdown_cell(text),
        nbformat.v4.new_code_cell(code),
    ]
    nbformat.write(notebook, project / "book" / "chapter.ipynb")


def chapter(project: Path) -> str:
    return (project / "_build" / "html" / "book" / "chapter.html").read_text()


def test_what_a_cell_reads_reaches_the_page_and_nothing_is_done_twice(project: Path) -> None:
    index = gate.build(project)
    assert index == project / "_build" / "html" / "index.html"
    assert index.is_file()
    assert "one" in chapter(project)
    # No address of a repository is set: no button leads to one.
    assert not re.search("colab|btn-source-repository", chapter(project), re.IGNORECASE)

    before = os.stat(index).st_mtime_ns
    assert gate.build(project) == index
    assert os.stat(index).st_mtime_ns == before

    # The cell is the same; only what it reads has changed.
    (project / "src" / "value.txt").write_text("another")
    gate.build(project)
    assert "another" in chapter(project)


@pytest.mark.parametrize(
    ("code", "why"), [("1 / 0", "ZeroDivisionError"), ("import os; os._exit(1)", "DeadKernelError")]
)
def test_a_failing_cell_fails_the_build_each_time_and_is_named(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    code: str,
    why: str,
) -> None:
    # It fails before pages are made.
    monkeypatch.setattr(gate.subprocess, "run", lambda *_, **__: pytest.fail("built"))
    write(project, code)
    for _ in range(2):
        with pytest.raises(FailureError, match=r"a cell failed in chapter\.ipynb"):
            gate.build(project)
        assert why in capsys.readouterr().err


def test_every_notebook_is_a_chapter_that_the_build_runs_or_takes_parameters() -> None:
    run = {chapter.name for chapter in chapters.chapters(ROOT)}
    templates = {
        path.name
        for path in (ROOT / "book").glob("*.ipynb")
        if any(
            "parameters" in cell.metadata.get("tags", ()) for cell in nbformat.read(path, 4).cells
        )
    }
    assert not run & templates
    assert run | templates == {path.name for path in (ROOT / "book").glob("*.ipynb")}


def test_notebooks_run_side_by_side_and_once_in_their_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: list[Path] = []
    together = threading.Barrier(2, timeout=60)

    def execution(notebook: nbformat.NotebookNode, folder: str, *_: object, **__: object) -> object:
        together.wait()  # breaks, unless two are under way at once
        run.append(Path(folder))
        return SimpleNamespace(exc_string=None, time=1.0)

    monkeypatch.setattr(chapters, "single_nb_execution", execution)
    monkeypatch.setattr(kernels, "_KERNELS", 2)
    files = []
    for name in ("one", "two"):
        files.append(tmp_path / name / f"{name}.ipynb")
        files[-1].parent.mkdir()
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(name)])
        nbformat.write(notebook, files[-1])
    for _ in range(2):
        chapters.execute(files, tmp_path / "cache")
    assert sorted(run) == [file.parent for file in files]


def test_a_warning_fails_the_build_each_time(project: Path) -> None:
    (project / "book" / "intro.md").write_text("# First\n\n[nowhere](missing.md)\n")
    for _ in range(2):
        with pytest.raises(FailureError, match="did not build"):
            gate.build(project)


def test_a_figure_without_words_fails_and_with_them_is_drawn_from_one_plotly(
    project: Path,
) -> None:
    code = "import plotly.graph_objects as go\ngo.Figure(go.Scatter(y=[1, 2])){}"
    write(project, code.format(""))
    with pytest.raises(FailureError, match="did not build"):
        gate.build(project)
    write(project, code.format(".update_layout(title={'text': 'rises'})"))
    config = (project / "_config.yml").read_text()
    address = 'url: "https://github.com/someone/noise"'
    (project / "_config.yml").write_text(re.sub('(?m)(?<=^  )url: ".*"', address, config))
    gate.build(project)
    page = chapter(project)
    # And where an address is set, two do.
    assert 'href="https://github.com/someone/noise"' in page
    colab = "https://colab.research.google.com/github/someone/noise/blob/main/book/chapter.ipynb"
    assert f'href="{colab}"' in page
    assert 'class="sgdnoise-figure" aria-label="rises"' in page
    assert re.search("<noscript>.*rises</p></noscript>", page)
    assert re.search(r'src="[^"]*_static/plot\.js', page)
    assert len(re.findall(r'<script defer="defer" src="[^"]*/plotly\.min\.js', page)) == 1
    assert len(page) < 100_000


def test_every_figure_of_a_page_has_a_number_that_the_text_can_link_to(project: Path) -> None:
    code = """
    from IPython.display import HTML, display
    import plotly.graph_objects as go
    from sgdnoise.figures.explorer import Slider, explorer
    of = lambda h: go.Figure(go.Scatter(y=[1, h])).update_layout(title={"text": "rises"})
    display(HTML('<div class="sgdnoise-map">a map</div>'), of(2), HTML("<p>no figure</p>"))
    explorer(of, {"h": Slider([2, 3], label="height")}, caption="Raise it.")
    """
    write(project, textwrap.dedent(code), "# Chapter\n\nSee [Figure 3](#figure-3).")
    gate.build(project)
    page = chapter(project)
    parts = re.split(r'<p class="sgdnoise-number" id="(figure-\d)">', page)
    assert parts[1::2] == ["figure-1", "figure-2", "figure-3"]
    for k, (has, figure) in enumerate(
        zip(("a map", "sgdnoise-figure", "Raise it."), parts[2::2], strict=True), start=1
    ):
        assert re.match(rf'<a [^>]*href="#figure-{k}"[^>]*>Figure {k}</a></p>', figure)
        assert has in figure
    assert re.search(r'href="#figure-3"[^>]*>.*?Figure 3', parts[0])


def a_record() -> str:
    config = make_config(dataset="digits", model="f1", batch_size=8, learning_rate=0.1, steps=3)
    return record_of(Result(config, "done", {"test_accuracy": 90.5}, {}, 1.0)).line()


@pytest.mark.parametrize("folder", ["results", "local/results"])
def test_an_edited_record_fails_the_build_in_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, folder: str
) -> None:
    monkeypatch.setattr(gate.subprocess, "run", lambda *_, **__: pytest.fail("built"))
    file = project / folder / "digits" / "constant-epoch.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text(a_record() + "\n" + a_record().replace("90.5", "99.5") + "\n")
    assert cli.main(["build"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"{file}:2 was altered" in err


def test_the_half_line_of_a_killed_run_is_said_and_does_not_fail_the_build(
    project: Path, capsys: pytest.CaptureFixture
) -> None:
    file = project / "results" / "digits" / "constant-epoch.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text(a_record() + "\n" + a_record()[:80])
    gate.check_records(project)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"{file}:2 is cut short" in err


def test_the_digest_sees_content_and_names_but_not_what_tools_leave(tmp_path: Path) -> None:
    (tmp_path / "src" / "__pycache__").mkdir(parents=True)
    (tmp_path / "src" / "a.py").write_text("1")
    first = gate.digest(tmp_path, ["src", "absent"])
    (tmp_path / "src" / "__pycache__" / "a.pyc").write_text("x")
    assert gate.digest(tmp_path, ["src", "absent"]) == first
    (tmp_path / "src" / "a.py").write_text("2")
    second = gate.digest(tmp_path, ["src", "absent"])
    (tmp_path / "src" / "a.py").rename(tmp_path / "src" / "b.py")
    assert len({first, second, gate.digest(tmp_path, ["src", "absent"])}) == 3


def test_outside_the_checkout_one_line_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["build"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "not inside the book's checkout" in err
    with pytest.raises(InputError, match="project's root"):
        gate.build(tmp_path)
    assert vendor.main() == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "project's root" in err


@pytest.fixture
def told(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What `sgdnoise build` does, in order, without doing it."""
    done: list[tuple[object, ...]] = []

    def render_contents(*where: Path) -> None:
        done.append(("render", *where))

    def build(root: Path) -> Path:
        done.append(("build", root))
        return root / "index.html"

    monkeypatch.setattr(notebooks, "render_contents", render_contents)
    monkeypatch.setattr(gate, "build", build)
    return done


def test_the_pages_of_the_contents_are_rendered_and_then_built(
    project: Path,
    told: list[tuple[object, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(project / "book" / "assets")
    assert cli.main(["build"]) == 0
    render = ("render", project, project / "results", project / "papermill_runs")
    assert told == [render, ("build", project)]
    assert capsys.readouterr() == (f"{project / 'index.html'}\n", "")
    # The notebooks follow the repository's address before they are rendered.
    config = (project / "_config.yml").read_text()
    address = 'url: "https://github.com/someone/noise"'
    (project / "_config.yml").write_text(re.sub('(?m)(?<=^  )url: ".*"', address, config))
    assert cli.main(["build"]) == 0
    chapter = project / "book" / "chapter.ipynb"
    assert f"follows the repository's address: {chapter}" in capsys.readouterr().err
    assert "git+https://github.com/someone/noise@main" in chapter.read_text()


def test_a_page_that_fails_ends_the_command_before_the_build(
    project: Path,
    told: list[tuple[object, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    def fails(*_: Path) -> None:
        raise FailureError("the page of constant-step failed in a cell: KeyError: 'lost'")

    monkeypatch.setattr(notebooks, "render_contents", fails)
    assert cli.main(["build"]) == 1
    out, err = capsys.readouterr()
    assert (out, told) == ("", [])
    assert err == "sgdnoise: the page of constant-step failed in a cell: KeyError: 'lost'\n"


NOTEBOOKS = [*ROOT.glob("book/*.ipynb"), ROOT / "tests" / "browser" / "specimen.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_kept_without_outputs(path: Path) -> None:
    """What a page shows was computed by the build, never carried in with the source."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
