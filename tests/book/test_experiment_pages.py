"""The experiments' notebooks: on no records, on some, on all, and where everything diverged."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path

import nbformat
import pytest
from IPython.display import HTML, Markdown
from made_up import fill, record, records

from sgdnoise.analysis import Reading
from sgdnoise.book import notebooks
from sgdnoise.book import page as page_module
from sgdnoise.claims import line
from sgdnoise.errors import FailureError, InputError
from sgdnoise.experiments import EXPERIMENTS, findings, study_of
from sgdnoise.figures.explorer import Explorer
from sgdnoise.records.store import Store
from sgdnoise.study.grid import advance

BOOK = Path(__file__).parents[2] / "book"
LAYERWISE, GAP = EXPERIMENTS["layerwise-lr"], EXPERIMENTS["generalization-gap"]
S20 = ("constant-epoch", "constant-step", "unlimited-epochs", "initial-final-lr")
JUDGED = [name for name in EXPERIMENTS if findings(name).CLAIMS]


def scale_of(name):
    """Where its page is tried: at scale gpu, if it stands there."""
    scales = list(EXPERIMENTS[name].sweeps)
    return "gpu" if "gpu" in scales else scales[0]


@pytest.fixture
def shown(monkeypatch):
    """Runs a notebook here with parameters; gives what its code cells display or end with."""

    def run(notebook, **parameters):
        found: list[object] = []
        monkeypatch.setattr(page_module, "display", lambda *shown: found.extend(shown))
        names: dict[str, object] = {}
        for cell in nbformat.read(BOOK / notebook, as_version=4).cells:
            if cell.cell_type != "code":
                continue
            tree = ast.parse(cell.source)
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, notebook, "exec"), names)
            if "parameters" in cell.metadata.get("tags", []):
                names.update(parameters)
            if last is not None:
                ended = eval(compile(ast.Expression(last.value), notebook, "eval"), names)
                found.extend([] if ended is None else [ended])
        return found

    return run


@pytest.fixture
def others(tmp_path):
    """A store that holds records of the parts, checked, alone."""
    runs = study_of("parts-checked", "cpu").needed({})
    store = Store(tmp_path)
    store.append("cpu", "parts-checked", records(runs[1:2], reached(lambda _: (0, 90))))
    return str(tmp_path)


def text(outputs):
    return "\n".join(o.data for o in outputs if isinstance(o, Markdown | HTML))


def reached(peak):
    """Runs whose accuracy falls off as log₂ of their rate leaves that of `peak(config)`.

    `peak` gives the best log₂ rate and the accuracy there.
    """

    def ending(config):
        rate = math.log2(config.effective_learning_rate * (config.trust_coefficient or 1))
        best, accuracy = peak(config)
        if rate - best > 2.5:
            return {"test_accuracy": math.inf}
        jitter = 0.04 * (config.seed % 1000 - 1)
        return {"test_accuracy": accuracy - 0.5 * (rate - best) ** 2 + jitter}

    return ending


def everywhere_the_same(config):
    return {"test_accuracy": 90 + 0.1 * config.seed, "train_accuracy": 92.0}


def ending_of(name):
    return everywhere_the_same if name == GAP.name else reached(lambda config: (0, 90.0))


VERDICTS = ("*reproduced", "*absent*", "*contradicted*", "*undecided*", "*not tested here*")
"""As lines of verdicts have them."""


@pytest.mark.parametrize(
    ("name", "scale"), [(n, s) for n in JUDGED for s in EXPERIMENTS[n].sweeps if s != "paper"]
)
def test_without_records_a_page_says_so_and_judges_nothing(others, shown, name, scale):
    study = study_of(name, scale)
    outputs = shown(f"{name}.ipynb", scale=scale, seeds=None, results=others)
    said = text(outputs)
    assert f"**0 of {len(study.needed({})):,} runs** that are asked for so far" in said
    assert "*Not yet measured at scale" in said
    assert f"`{study.command}`" in said
    assert study.leaves_out in said
    assert not any(word in said for word in (*VERDICTS, "slope is", "No verdict", "no verdict"))
    assert all(isinstance(output, Markdown | HTML) for output in outputs)


@pytest.mark.parametrize("name", JUDGED)
@pytest.mark.parametrize("count", [1, 7, None])
def test_a_page_renders_what_there_is_of_a_sweep_and_judges_nothing(tmp_path, shown, name, count):
    experiment, scale = EXPERIMENTS[name], scale_of(name)
    runs = [run for s in experiment.sweeps[scale]() for run in advance(s, 3, {}).needed]
    # Never all seeds of a sweep: of that a claim might be judged.
    runs = [run for run in runs if run.seed < (2 if count else 1)][:count]
    store = Store(tmp_path)
    store.append(scale, name, records(runs, ending_of(name)))
    outputs = shown(experiment.notebook, scale=scale, seeds=3, results=str(tmp_path))
    said = text(outputs)
    study, there = study_of(name, scale, 3), store.read(scale, name)
    asked = study.needed(there)
    assert f"**{sum(run.id in there for run in asked):,} of {len(asked):,} runs**" in said
    assert "sweeps are not complete" in said
    assert "*not measured*" in said
    # That another scale tests a claim is known without any record of this one.
    for claim in (c for c in findings(name).CLAIMS if c.scales and scale not in c.scales):
        said = said.replace(line(claim, claim.judge(Reading(study, there))), "")
    assert not any(word in said for word in (*VERDICTS, "slope is"))
    drawn = [output for output in outputs if not isinstance(output, Markdown | HTML)]
    assert len(drawn) >= 2
    # A single batch size has no learning rate in common with another one.
    assert count or any(isinstance(output, Explorer) for output in drawn)


@pytest.mark.parametrize("name", JUDGED)
def test_a_complete_page_has_its_figures_and_verdicts(tmp_path, shown, name):
    experiment, scale = EXPERIMENTS[name], scale_of(name)
    seeds = experiment.seeds[scale] if scale == "gpu" else 3
    store = fill(tmp_path, experiment, scale, seeds, ending_of(name))
    outputs = shown(experiment.notebook, scale=scale, seeds=seeds, results=str(store.root))
    said = text(outputs)
    assert "ot yet measured" not in said
    assert "not complete" not in said
    assert not re.search(r"\b[Nn]o verdict", said)
    assert sum(isinstance(output, Explorer) for output in outputs) >= 1
    assert any(word in said for word in VERDICTS)


@pytest.mark.parametrize("name", JUDGED)
def test_a_single_seed_gives_numbers_and_no_verdict(tmp_path, shown, name):
    experiment, scale = EXPERIMENTS[name], scale_of(name)
    store = fill(tmp_path, experiment, scale, 1, ending_of(name))
    outputs = shown(experiment.notebook, scale=scale, seeds=1, results=str(store.root))
    said = text(outputs)
    assert "**No verdict**: a single seed has no spread to judge by." in said
    assert not any(word in said for word in (*VERDICTS, "slope is"))
    if name in ("constant-step", "layerwise-lr", "generalization-gap"):
        assert "(one seed)" in said


@pytest.mark.parametrize("name", JUDGED)
def test_a_page_on_which_everything_diverged_renders(tmp_path, shown, name):
    experiment, scale = EXPERIMENTS[name], scale_of(name)
    store = fill(tmp_path, experiment, scale, 2, lambda config: {"test_accuracy": math.inf})
    outputs = shown(experiment.notebook, scale=scale, seeds=2, results=str(store.root))
    assert "eproduced*" not in text(outputs)
    assert outputs


def test_the_page_of_provenance_renders_with_records_and_fails_without(
    tmp_path, shown, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    with pytest.raises(InputError, match="holds no records"):
        shown("how-it-was-run.ipynb")
    fill(tmp_path / "results", GAP, "gpu", 1, everywhere_the_same)
    said = text(shown("how-it-was-run.ipynb"))
    assert "5 runs" in said
    assert "1 of 3" in said
    assert "sgdnoise reproduce constant-epoch --scale paper" in said


def test_the_parts_checked_are_shown_from_their_records(
    others, shown, monkeypatch, tmp_path_factory
):
    home = tmp_path_factory.mktemp("home")
    monkeypatch.chdir(home)
    Path(others).rename(home / "results")
    said = text(shown("parts-checked.ipynb")[:1])
    # A loss of 1 is below the bound.
    assert "1 passed, 0 failed, 16 not yet run" in said


def contents_of(folder, *pages):
    listed = "\n".join(f"    - file: papermill_runs/{page}" for page in pages)
    (folder / "_toc.yml").write_text(f"chapters:\n{listed}\n")


def test_a_page_is_rendered_for_the_seeds_that_are_complete(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        notebooks, "render", lambda study, *_: asked.append(study.seeds) or tmp_path
    )
    store = Store(tmp_path / "results")
    contents_of(tmp_path, "gpu/generalization-gap")
    where = (tmp_path, store.root, tmp_path / "runs")
    assert len(notebooks.render_contents(*where)) == 1
    fill(store.root, GAP, "gpu", 2, everywhere_the_same)
    notebooks.render_contents(*where)
    stray = study_of(GAP.name, "gpu").needed({})[0].replace(seed=2)
    store.append("gpu", GAP.name, [record(stray, everywhere_the_same)])
    notebooks.render_contents(*where)
    assert asked == [GAP.seeds["gpu"], 2, 2]


def test_contents_that_name_no_experiment_or_no_scale_of_its_are_refused(tmp_path):
    for wrong, why in (
        ("gpu/gap", "no experiment is called 'gap'"),
        ("big/constant-epoch", "no scale is called 'big'"),
        ("paper/layerwise-lr", "layerwise-lr does not stand at scale paper"),
    ):
        contents_of(tmp_path, "gpu/generalization-gap", wrong)
        with pytest.raises(InputError, match=why):
            notebooks.contents(tmp_path)
    contents_of(tmp_path, "gpu/generalization-gap", "digits/constant-epoch")
    assert [study.place for study in notebooks.contents(tmp_path)] == [
        ("gpu", "generalization-gap"),
        ("digits", "constant-epoch"),
    ]


def test_a_page_that_fails_is_named_when_all_others_are_rendered(tmp_path, monkeypatch):
    tried = []

    def render(study, *_):
        tried.append(study.experiment.name)
        if study.experiment is GAP:
            raise FailureError("the page of generalization-gap failed")

    monkeypatch.setattr(notebooks, "render", render)
    contents_of(tmp_path, "gpu/generalization-gap", "gpu/constant-epoch")
    with pytest.raises(FailureError, match="the page of generalization-gap failed"):
        notebooks.render_contents(tmp_path, tmp_path / "results", tmp_path / "runs")
    assert set(tried) == {"generalization-gap", "constant-epoch"}
