"""Pages that list the runs behind the figures, one for each file of the store.

A figure's point leads to the runs of its sweep, a single run's mark to that run. The pages are
plain HTML beside the book's own: thousands of rows need no theme, and read without a script.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sgdnoise.analysis.tuning import key_name
from sgdnoise.book.map_page import MAPPED, address, layer_id
from sgdnoise.experiments import EXPERIMENTS
from sgdnoise.figures.tuned import run_page
from sgdnoise.records.record import Record
from sgdnoise.records.store import Store
from sgdnoise.study.grid import FRESH_SEED
from sgdnoise.study.study import Study

_STYLE = """
:root { color-scheme: light dark; }
html { background: Canvas; color: CanvasText; }
body { font: 0.9rem/1.45 system-ui, sans-serif; }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
.rows { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.1rem 0.7rem; text-align: right; white-space: nowrap; }
th { position: sticky; top: 0; background: Canvas; border-bottom: 1px solid; }
h2 { margin-top: 2rem; }
:target { background: color-mix(in srgb, Highlight 35%, transparent); }
code { font-size: 0.95em; }
"""

_COLUMNS = (
    "run",
    "effective learning rate",
    "batch size",
    "steps or epochs",
    "seed",
    "status",
    "test accuracy (%)",
    "training loss (nats)",
    "distance from start",
    "seconds",
    "device",
    "date",
)


def write_run_pages(store: Store, book: Path) -> list[Path]:
    """Writes the page of every file of a store into a built book; returns their paths."""
    written = []
    for file in sorted(store.root.glob("*/*.jsonl")):
        scale, name = file.parent.name, file.stem
        target = book / run_page(scale, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = page_of_runs(
            scale,
            name,
            store.read(scale, name),
            [f"{store.root.name}/{scale}/{of.name}" for of in store.files(scale, name)],
            chapter_of(scale, name, book),
        )
        target.write_text(text, encoding="utf-8")
        written.append(target)
    return written


def chapter_of(scale: str, name: str, book: Path) -> tuple[str, str] | None:
    """The page that tells of an experiment in a built book, and its title; None without one."""
    for page in (f"papermill_runs/{scale}/{name}.html", f"book/{name}.html"):
        if (book / page).is_file():
            text = (book / page).read_text(encoding="utf-8")
            title = re.search(r"<title>(.*?)(?: &#8212; .*)?</title>", text)
            return page, html.unescape(title[1]) if title else name
    return None


def page_of_runs(
    scale: str,
    name: str,
    records: Mapping[str, Record],
    files: Sequence[str],
    chapter: tuple[str, str] | None = None,
) -> str:
    """All runs of one file of the store as HTML, sweep by sweep.

    Args:
        scale, name: which file.
        records: its sound records, by run.
        files: where these stand, as the page names it: the file, and those that it shares.
        chapter: address and title of the page that tells of them.
    """
    parts = []
    for anchor, runs in _sweeps(scale, name, records):
        rows = "\n".join(_row(run) for run in sorted(runs, key=_order))
        head = "".join(f"<th>{column}</th>" for column in _COLUMNS)
        parts.append(
            f'<h2 id="{html.escape(anchor)}">{html.escape(anchor)}</h2>\n'
            f'<div class="rows"><table><thead><tr>{head}</tr></thead>\n'
            f"<tbody>\n{rows}\n</tbody></table></div>"
        )
    title = html.escape(f"{name}, scale {scale}: every run")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style>"
        '<link rel="stylesheet" href="../../_static/access.css">'
        '<script src="../../_static/access.js" defer></script></head><body>\n'
        '<nav aria-label="Back"><p><a href="../../index.html">The noise in SGD</a>'
        f"{_back(chapter)}{_on_the_map(scale, name)}</p></nav>\n"
        f"<main><h1>{title}</h1>\n<p>{len(records):,} runs, one a line of "
        f"{' or '.join(f'<code>{html.escape(of)}</code>' for of in files)}, where each stands "
        "whole: its config, its curves and what it ran on. Seeds from "
        f"{FRESH_SEED:,} on were never seen by a tuning.</p>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def _back(chapter: tuple[str, str] | None) -> str:
    if chapter is None:
        return ""
    page, title = chapter
    return f' · <a href="../../{html.escape(page)}">{html.escape(title)}</a>'


def _on_the_map(scale: str, name: str) -> str:
    """A link to these runs as cells of the map, where it has them."""
    if name not in MAPPED or scale not in EXPERIMENTS[name].sweeps:
        return ""
    key = EXPERIMENTS[name].sweeps[scale]()[0].key
    layer = address(layer_id(scale, name, key))
    return f' · <a href="../../book/map.html{html.escape(layer)}">These runs on the map</a>'


def _sweeps(
    scale: str, name: str, records: Mapping[str, Record]
) -> Iterable[tuple[str, list[Record]]]:
    """Runs by the sweep that they belong to; those of none last."""
    left = dict(records)
    experiment = EXPERIMENTS.get(name)
    if experiment is not None and scale in experiment.sweeps:
        # As many seeds as were run, whatever is asked for today.
        seeds = {r.config.seed for r in records.values() if r.config.seed < FRESH_SEED}
        for state in Study(experiment, scale, max(len(seeds), 1)).states(records):
            mine = [left.pop(c.id) for c in state.needed if c.id in left]
            if mine:
                yield key_name(state.sweep.key), mine
    if left:
        yield ("other runs" if len(left) < len(records) else "runs"), list(left.values())


def _order(record: Record) -> tuple[float, float, int]:
    config = record.config
    return config.batch_size, config.effective_learning_rate, config.seed


def _row(record: Record) -> str:
    config, made = record.config, record.provenance
    budget = f"{config.steps:,} steps" if config.steps else f"{config.epochs:g} epochs"
    seconds = float(made.get("seconds", math.nan))
    cells = (
        f"<code>{record.id}</code>",
        f"{config.effective_learning_rate:.4g}",
        f"{config.batch_size:,}",
        budget,
        str(config.seed),
        html.escape(str(record.status)),
        _number(record.metrics.get("test_accuracy"), ".2f"),
        _number(record.metrics.get("train_loss"), ".4g"),
        _number(record.metrics.get("distance"), ".3g"),
        f"{seconds:.3g}",
        html.escape(str(made.get("device", ""))),
        html.escape(str(made.get("date", ""))),
    )
    return f'<tr id="{record.id}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
