"""The pages of runs: every record is there once, under its sweep, where the figures point."""

from __future__ import annotations

import re

from sgdnoise.analysis.tuning import key_name
from sgdnoise.book.run_pages import run_page, write_run_pages
from sgdnoise.experiments import EXPERIMENTS
from sgdnoise.records.made import record_of
from sgdnoise.records.store import Store
from sgdnoise.study.grid import advance
from sgdnoise.training.result import Result


def made(configs):
    return [
        record_of(Result(config, "done", {"test_accuracy": 90 + config.seed, "train_loss": 0.5}))
        for config in configs
    ]


def test_every_run_is_listed_once_below_its_sweep(tmp_path):
    sweep = EXPERIMENTS["constant-step"].sweeps["digits"]()[0]
    configs = [sweep.config((k,), seed) for k in (-3, -2) for seed in (0, 1)]
    stray = configs[0].replace(epochs=3.0, steps=None)
    store = Store(tmp_path / "results")
    store.append("digits", "constant-step", made([*configs, stray]))
    store.append("cpu", "some-name", made([configs[0]]))
    book = tmp_path / "html"
    pages = write_run_pages(store, book)
    assert {p.relative_to(book).as_posix() for p in pages} == {
        "records/cpu/some-name.html",
        "records/digits/constant-step.html",
    }
    text = (book / run_page("digits", "constant-step")).read_text()
    assert key_name(sweep.key) == "momentum-8"
    head, tail = text.index('id="momentum-8"'), text.index('id="other runs"')
    for config in configs:
        assert text.count(f'<tr id="{config.id}">') == 1
        assert head < text.index(f'id="{config.id}"') < tail
    assert text.index(f'id="{stray.id}"') > tail
    assert "5 runs" in text
    assert "91.00" in text
    assert '../../book/map.html#map.layer-digits_constant-step_momentum"' in text
    assert "map.html" not in (book / run_page("cpu", "some-name")).read_text()
    # No network, and no script but the book's own; the way back leads into the book.
    assert not re.search(r"https?://", text)
    assert re.findall(r"<script[^>]*>", text) == ['<script src="../../_static/access.js" defer>']
    assert 'href="../../index.html"' in text
    alone = (book / "records/cpu/some-name.html").read_text()
    assert 'id="runs"' in alone


def test_a_shared_run_is_listed_with_both_and_where_it_stands_is_said(tmp_path):
    store = Store(tmp_path / "results")
    sweep = EXPERIMENTS["constant-step"].sweeps["digits"]()[0]
    one, two = (sweep.config((-3,), seed) for seed in (0, 1))
    store.append("digits", "theirs", made([one]))
    store.append("digits", "constant-step", made([two]))
    store.share_missing("digits", "constant-step", "theirs", [one.id])
    write_run_pages(store, tmp_path / "html")
    text = (tmp_path / "html" / run_page("digits", "constant-step")).read_text()
    assert all(text.count(f'<tr id="{run.id}">') == 1 for run in (one, two))
    assert (
        "2 runs, one a line of <code>results/digits/constant-step.jsonl</code> or "
        "<code>results/digits/theirs.jsonl</code>, where each stands whole" in text
    )
    alone = (tmp_path / "html" / run_page("digits", "theirs")).read_text()
    assert "1 runs, one a line of <code>results/digits/theirs.jsonl</code>, where" in alone


def test_the_way_back_leads_to_the_chapter(tmp_path):
    store = Store(tmp_path / "results")
    sweep = EXPERIMENTS["constant-step"].sweeps["digits"]()[0]
    for scale, name in (("digits", "constant-step"), ("cpu", "parts-checked"), ("cpu", "none")):
        store.append(scale, name, made([sweep.config((-3,), 0)]))
    book = tmp_path / "html"
    chapters = {
        "papermill_runs/digits/constant-step.html": "A constant step budget",
        "book/parts-checked.html": "Steps &lt; epochs",
    }
    for page, title in chapters.items():
        (book / page).parent.mkdir(parents=True)
        (book / page).write_text(f"<title>{title} &#8212; The noise in SGD</title>")
    write_run_pages(store, book)
    for scale, name, page in (
        ("digits", "constant-step", "papermill_runs/digits/constant-step.html"),
        ("cpu", "parts-checked", "book/parts-checked.html"),
    ):
        text = (book / run_page(scale, name)).read_text()
        assert f'<a href="../../{page}">{chapters[page]}</a>' in text
    alone = (book / run_page("cpu", "none")).read_text()
    assert re.findall(r'href="([^"]*\.html)', alone) == ["../../index.html"]


def test_anchors_of_an_experiment_are_unique():
    for experiment in EXPERIMENTS.values():
        for scale, sweeps in experiment.sweeps.items():
            names = [key_name(sweep.key) for sweep in sweeps()]
            assert len(set(names)) == len(names), (experiment.name, scale)
            state = advance(sweeps()[0], 1, {})
            assert key_name(state.sweep.key) in names
