"""The pages of G20's and H17's experiments, and of provenance: on no records, some, and all."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import nbformat
import pytest
from IPython.display import HTML, Markdown
from made_up import fill, record, records
from sgdnoise.evidence import STAGES

from sgdnoise.book import inventory
from sgdnoise.book import notebooks as render
from sgdnoise.book.page import Page
from sgdnoise.errors import InputError
from sgdnoise.experiments import ANCHORS, EXPERIMENTS, advance
from sgdnoise.experiments.generalization_gap import findings as ladder
from sgdnoise.experiments.layerwise_lr import findings as layerwise
from sgdnoise.figures.explorer import Explorer
from sgdnoise.records.store import Store

BOOK = Path(__file__).parents[2] / "book"
LAYERWISE, GAP = EXPERIMENTS["layerwise-lr"], EXPERIMENTS["generalization-gap"]


def shown(notebook, **parameters):
    """What each code cell of a notebook ends with, run here with these parameters."""
    names: dict[str, object] = {}
    found = []
    for cell in nbformat.read(BOOK / notebook, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        tree = ast.parse(cell.source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, notebook, "exec"), names)
        if "parameters" in cell.metadata.get("tags", []):
            names.update(parameters)
        if last is not None:
            found.append(eval(compile(ast.Expression(last.value), notebook, "eval"), names))
    return found


@pytest.fixture
def others(tmp_path):
    """A store that holds records of the acceptance runs alone, of no experiment."""
    Store(tmp_path).append(
        "cpu", "acceptance", records(ANCHORS.runs(1), reached(lambda _: (0, 90)))
    )
    return str(tmp_path)


def text(outputs):
    return "\n".join(o.data for o in outputs if isinstance(o, Markdown | HTML))


def page(experiment, store, seeds, scale="gpu"):
    return Page(experiment, scale, seeds, store)


def reached(peak):
    """Runs whose accuracy falls off as log₂ of their rate leaves that of `peak(config)`.

    `peak` gives the rule's best log₂ rate and its accuracy there.
    """

    def ending(config):
        rate = math.log2(config.effective_learning_rate * (config.trust_coefficient or 1))
        best, accuracy = peak(config)
        if rate - best > 2.5:
            return {"test_accuracy": math.inf}
        jitter = 0.04 * (config.seed % 1000 - 1)
        return {"test_accuracy": accuracy - 0.5 * (rate - best) ** 2 + jitter}

    return ending


def as_g20_has_it(config):
    """LARS as good at any batch; MCLR falls off beyond 4,096, momentum beyond 1,024."""
    size = math.log2(config.batch_size)
    fall = {"mclr": 2 * max(0, size - 12), "sgd": 3 * max(0, size - 10)}
    best = {"sgd": 2, "percent-delta": 0}.get(config.optimizer, -2)
    return best, 93 - fall.get(config.optimizer, 0)


@pytest.fixture(scope="module")
def layerwise_store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layerwise")
    return fill(folder, LAYERWISE, "gpu", 3, reached(as_g20_has_it))


def test_layerwise_claims_that_hold_are_shown(layerwise_store):
    p = page(LAYERWISE, layerwise_store, 3)
    said = layerwise.verdicts(p.optima(), p.records).splitlines()
    assert "B = 1,024**" in said[0]
    assert said[0].endswith("within 1 point, shown.")
    assert "from B = 1,024 to 16,384 by -4.00 ± 0.05 points" in said[1]
    assert said[1].endswith("shown.")
    assert "not" not in said[1]
    # LARS helps at 16,384 alone; MCLR too, being worse than it, but better than momentum.
    assert said[2].startswith("- **LARS helps")
    assert [line.endswith("; shown.") for line in said[2:]] == [True, True, True]


def test_layerwise_claims_that_do_not_hold_are_not_shown(tmp_path):
    def all_alike(config):
        return 0, 93 - (3 if config.optimizer == "mclr" else 0)

    store = fill(tmp_path, LAYERWISE, "gpu", 3, reached(all_alike))
    p = page(LAYERWISE, store, 3)
    said = layerwise.verdicts(p.optima(), p.records).splitlines()
    assert said[0].endswith("more than 1 point apart, not reproduced.")
    assert [line.endswith("not shown.") for line in said[1:]] == [True] * 4


@pytest.mark.parametrize(
    ("short", "verdict"),
    [
        (0.9, "within 1 point, shown."),
        (0.97, "too uncertain to tell whether within 1 point."),
        (1.03, "too uncertain to tell whether within 1 point."),
        (1.1, "more than 1 point apart, not reproduced."),
    ],
)
def test_alike_means_within_a_point_by_two_standard_errors(tmp_path, short, verdict):
    # Fresh seeds at −0.04, 0 and +0.04: the error of a difference is 0.033, twice it 0.065.
    def some_points_short(config):
        return 0, 93 - (short if config.optimizer == "mclr" else 0)

    store = fill(tmp_path, LAYERWISE, "gpu", 3, reached(some_points_short))
    p = page(LAYERWISE, store, 3)
    assert layerwise.verdicts(p.optima(), p.records).splitlines()[0].endswith(verdict)


def test_a_rule_that_helps_everywhere_is_not_what_s20_expects(tmp_path):
    def always_better(config):
        return 0, 90 + (2 if config.optimizer == "lars" else 0)

    store = fill(tmp_path, LAYERWISE, "gpu", 3, reached(always_better))
    p = page(LAYERWISE, store, 3)
    lars = layerwise.verdicts(p.optima(), p.records).splitlines()[2]
    assert "+2.00 ± 0.03 points over momentum at B = 512, +2.00 ± 0.03 at 16,384" in lars
    assert lars.endswith("; not shown.")


def test_a_single_seed_gives_numbers_and_no_verdict(tmp_path):
    store = fill(tmp_path, LAYERWISE, "gpu", 1, reached(as_g20_has_it))
    p = page(LAYERWISE, store, 1)
    said = layerwise.verdicts(p.optima(), p.records).splitlines()
    assert all(line.endswith("points, but one seed has no spread: no verdict.") for line in said)
    assert "(one seed) at 2" in text(shown("layerwise-lr.ipynb", scale="gpu", seeds=1,
                                           results=str(tmp_path)))  # fmt: skip


def test_a_difference_is_that_of_fresh_seeds_with_its_standard_error(layerwise_store):
    p = page(LAYERWISE, layerwise_store, 3)
    fresh = {}
    for rule in ("mclr", "lars"):
        (state,) = [s for s in p.states if s.sweep.key == (("method", rule), ("batch_size", 8192))]
        runs = [p.records[run].metrics["test_accuracy"] for run in state.fresh_runs]
        mean = sum(runs) / 3
        fresh[rule] = (mean, sum((r - mean) ** 2 for r in runs) / 2 / 3)
    found = layerwise.difference(p.optima(), "mclr", "lars", 8192)
    assert found.value == pytest.approx(fresh["mclr"][0] - fresh["lars"][0])
    assert found.error == pytest.approx(math.sqrt(fresh["mclr"][1] + fresh["lars"][1]))


def test_the_layerwise_figures_draw_what_they_say(layerwise_store):
    p = page(LAYERWISE, layerwise_store, 3)
    tuned = p.tuned()
    steps = layerwise.steps_away(tuned)
    assert {-1, 0, 1} <= set(steps)
    at_best = layerwise.away_from_tuned(tuned, 0, p.note)
    for dotted, line in zip(at_best.data[::2], at_best.data[1::2], strict=True):
        assert list(dotted.y) == pytest.approx(list(line.y))
    off = layerwise.away_from_tuned(tuned, 1, p.note)
    assert all(
        b < a for d, e in zip(at_best.data[1::2], off.data[1::2], strict=True)
        for a, b in zip(d.y, e.y, strict=True) if math.isfinite(b)
    )  # fmt: skip
    swept = layerwise.sweep_at(tuned, 1024, p.note)
    lines = [trace for trace in swept.data if trace.mode == "lines"]
    assert len(lines) == 4
    for trace in lines:
        best = max(y for y in trace.y if math.isfinite(y))
        assert trace.x[list(trace.y).index(best)] == 1.0
    runs = [trace for trace in swept.data if trace.mode == "markers"]
    assert all(set(trace.customdata) <= set(p.records) for trace in runs)
    assert len(layerwise.table(p.optima())) == 5


def test_batch_sizes_are_scaled_to_a_smaller_training_set(tmp_path):
    store = fill(tmp_path, LAYERWISE, "cpu", 2, reached(as_g20_has_it))
    p = page(LAYERWISE, store, 2, scale="cpu")
    said = layerwise.verdicts(p.optima(), p.records).splitlines()
    # 1,024 of 50,000 is 102 of 5,000: 128 is the nearest; 2,048 is beyond 8,192's share.
    assert "B = 128**" in said[0]
    assert "from B = 128 to 2,048" in said[1]
    assert "beyond any here" not in said[1]


VERDICTS = ("shown", "reproduced", "no verdict", "within 1 point")


@pytest.mark.parametrize("experiment", [LAYERWISE, GAP], ids=lambda e: e.name)
@pytest.mark.parametrize("scale", ["cpu", "gpu"])
def test_without_records_a_page_says_so_and_judges_nothing(others, experiment, scale):
    outputs = shown(experiment.notebook, scale=scale, seeds=None, results=others)
    said = text(outputs)
    own = experiment.seeds[scale]
    assert f"**0 of {own} seeds**" in said
    assert "*Not yet measured at scale" in said
    assert f"`sgdnoise reproduce {experiment.name} --scale {scale}`" in said
    assert experiment.leaves_out[scale] in said
    assert not any(word in said for word in VERDICTS)
    assert all(isinstance(output, Markdown | HTML) for output in outputs)


S20 = ("constant-epoch", "constant-step", "unlimited-epochs", "initial-final-lr")


@pytest.mark.parametrize("experiment", S20)
def test_s20s_pages_say_so_too(others, experiment):
    outputs = shown(EXPERIMENTS[experiment].notebook, scale="gpu", seeds=None, results=others)
    said = text(outputs)
    assert "*Not yet measured at scale" in said
    assert "**0 of 3 seeds**" in said
    assert not any(word in said for word in ("shown", "differ", "slope is"))
    assert not any(isinstance(output, Explorer) for output in outputs)


@pytest.mark.parametrize("experiment", S20)
@pytest.mark.parametrize("count", [7, None])
def test_s20s_pages_render_what_there_is_of_a_sweep(tmp_path, experiment, count):
    experiment = EXPERIMENTS[experiment]
    runs = [run for s in experiment.sweeps["gpu"]() for run in advance(s, 3, {}).needed]
    runs = runs[:count] if count else [run for run in runs if run.seed == 0]
    store = Store(tmp_path)
    ending = reached(lambda config: (0, 90.0))
    store.append("gpu", experiment.name, records(runs, ending))
    outputs = shown(experiment.notebook, scale="gpu", seeds=3, results=str(tmp_path))
    said = text(outputs)
    assert f"**{0 if count else 1} of 3 seeds**" in said
    assert "**No verdict yet**" in said
    assert not any(word in said for word in ("shown", "differ", "slope is"))
    figures = [output for output in outputs if not isinstance(output, Markdown | HTML)]
    # A single batch size has no learning rate in common with another one.
    assert len(figures) >= 3 if count else any(isinstance(f, Explorer) for f in figures)


@pytest.mark.parametrize("experiment", ["layerwise-lr", "generalization-gap"])
@pytest.mark.parametrize("count", [1, 7, None])
def test_a_partial_sweep_renders_and_judges_nothing_that_it_lacks(tmp_path, experiment, count):
    experiment = EXPERIMENTS[experiment]
    runs = [run for s in experiment.sweeps["gpu"]() for run in advance(s, 3, {}).needed]
    runs = runs[:count] if count else [run for run in runs if run.seed == 0]
    store = Store(tmp_path)
    ending = climbing(GOOD) if experiment is GAP else reached(as_g20_has_it)
    store.append("gpu", experiment.name, records(runs, ending))
    outputs = shown(experiment.notebook, scale="gpu", seeds=3, results=str(tmp_path))
    said = text(outputs)
    assert f"**{0 if count else 1} of 3 seeds**" in said
    assert "sweeps are not complete" in said
    if experiment is GAP and count == 7:
        assert said.count("shown") == 1  # LB beside SB, which are complete
        assert "not yet measured (+GBN is missing)" in said
    else:
        assert not any(word in said for word in ("shown", "reproduced", "within 1 point"))
    drawn = [output for output in outputs if not isinstance(output, Markdown | HTML)]
    assert len(drawn) == 3
    assert (count == 1) == (not any(isinstance(output, Explorer) for output in drawn))


@pytest.mark.parametrize("experiment", [LAYERWISE, GAP], ids=lambda e: e.name)
def test_a_complete_page_has_its_figures_and_verdicts(tmp_path, layerwise_store, experiment):
    if experiment is GAP:
        store = fill(tmp_path, GAP, "gpu", 3, climbing(GOOD))
    else:
        store = layerwise_store
    outputs = shown(experiment.notebook, scale="gpu", seeds=None, results=str(store.root))
    said = text(outputs)
    assert "ot yet measured" not in said
    assert "not complete" not in said
    assert sum(isinstance(output, Explorer) for output in outputs) == (2 - (experiment is GAP))
    assert any(word in said for word in VERDICTS)


GOOD = {"SB": 92.8, "LB": 86.0, "+LR": 89.0, "+GBN": 90.5, "+RA": 93.0}


def rung_of(config):
    if config.batch_size == 128:
        return "SB"
    if config.epochs > 100:
        return "+RA"
    if config.norm == "ghost":
        return "+GBN"
    return "+LR" if config.learning_rate > 0.2 else "LB"


def climbing(levels):
    def ending(config):
        accuracy = levels[rung_of(config)] + 0.1 * (config.seed - 1)
        return {"test_accuracy": accuracy, "train_accuracy": accuracy + 2}

    return ending


def judged(folder, levels, seeds=3):
    store = fill(folder, GAP, "gpu", seeds, climbing(levels))
    p = page(GAP, store, seeds)
    rungs = ladder.rows(p.states, p.records)
    return rungs, ladder.verdicts(rungs).splitlines()


def test_the_ladder_is_judged_both_ways(tmp_path):
    rungs, said = judged(tmp_path / "good", GOOD)
    assert list(rungs.rung) == list(ladder.RUNGS)
    assert list(rungs.accuracy) == pytest.approx(list(GOOD.values()))
    # Seeds at −0.1, 0 and +0.1: standard deviation 0.1, of the mean 0.1/√3, of a difference √2
    # of that.
    assert list(rungs["std"]) == pytest.approx([0.1] * 5)
    assert [line.endswith("; shown.") for line in said] == [True] * 5
    assert "LB less SB is -6.80 ± 0.08 points" in said[0]
    assert ladder.closed(rungs.accuracy) == pytest.approx([1, 0, 3 / 6.8, 4.5 / 6.8, 7 / 6.8])
    assert list(rungs.printed) == [92.83, 86.10, 89.30, 90.50, 93.07]

    upside_down = {"SB": 90.0, "LB": 90.1, "+LR": 89.0, "+GBN": 88.5, "+RA": 88.0}
    rungs, said = judged(tmp_path / "bad", upside_down)
    assert [line.endswith("; not shown.") for line in said[:4]] == [True] * 4
    assert said[4].endswith("; not reproduced.")
    assert said[5].startswith("- **Where there is no gap none can be closed**")
    assert said[5].endswith(
        "SB ends with 92.0 % of the training images classified rightly, +RA with 90.0 %."
    )
    assert all(math.isnan(share) for share in ladder.closed(rungs.accuracy))


def test_the_ladders_gap_is_closed_within_two_standard_errors(tmp_path):
    error = 0.1 * math.sqrt(2 / 3)
    for name, short, verdict in (("in", 1.9, "; shown."), ("out", 2.1, "; not reproduced.")):
        _, said = judged(tmp_path / name, {**GOOD, "+RA": GOOD["SB"] - short * error})
        assert said[4].endswith(verdict)
    for name, short, verdict in (("no", 1.9, "; not shown."), ("yes", 2.1, "; shown.")):
        _, said = judged(tmp_path / name, {**GOOD, "LB": GOOD["SB"] - short * error})
        assert said[0].endswith(verdict)
        assert len(said) == (6 if name == "no" else 5)


def test_a_rung_that_diverged_or_has_one_seed_is_not_judged(tmp_path):
    _, said = judged(tmp_path / "one", GOOD, seeds=1)
    assert all(line.endswith("one seed has no spread: no verdict.") for line in said)
    _, said = judged(tmp_path / "lost", {**GOOD, "+LR": math.inf})
    assert said[0].endswith("; shown.")
    assert said[1].endswith("3 of 3 runs of +LR diverged: no verdict.")
    assert said[2].endswith("3 of 3 runs of +LR diverged: no verdict.")
    assert said[3].endswith("; shown.")

    def one_is_lost(config):
        level = math.inf if rung_of(config) == "LB" and config.seed == 1 else 90.0
        return {"test_accuracy": level}

    store = fill(tmp_path / "one lost", GAP, "gpu", 3, one_is_lost)
    p = page(GAP, store, 3)
    rungs = ladder.rows(p.states, p.records)
    assert list(rungs.diverged) == [0, 1, 0, 0, 0]
    assert [math.isnan(mean) for mean in rungs.accuracy] == [False, True, False, False, False]
    assert "1 of 3 diverged" in set(ladder.recipe_table(rungs)["Test accuracy (%)"])


def test_curves_of_a_rung_end_where_its_run_ended(tmp_path):
    store = fill(tmp_path, GAP, "gpu", 2, climbing(GOOD))
    p = page(GAP, store, 2)
    fig = ladder.climb(p.states, p.records, "+GBN", p.note)
    ends = {trace.name: (trace.x[-1], trace.y[-1]) for trace in fig.data}
    # 20 epochs of 50,000 in steps of 4,096, and of 128.
    assert ends["+GBN"] == (244, pytest.approx(GOOD["+GBN"]))
    assert ends["SB"] == (7812, pytest.approx(GOOD["SB"]))
    assert len(fig.data) == 4
    assert len(ladder.climb(p.states, p.records, "SB", p.note).data) == 2
    assert [t.name for t in ladder.distances(p.states, p.records, p.note).data] == list(
        ladder.RUNGS
    )


def test_the_inventory_counts_what_is_there(tmp_path):
    store = Store(tmp_path)
    assert "Nothing has been run" in inventory.summary(store)
    empty = inventory.table(store)
    assert len(empty) == len(inventory.entries())
    assert all(runs.startswith("0 of ") for runs in empty.runs)
    assert inventory.environments(store).empty

    fill(tmp_path, GAP, "gpu", 2, climbing(GOOD))
    one = ANCHORS.runs(1)[0]
    stray = one.replace(epochs=201.0)
    made = [record(one, climbing({"+RA": 90.0}), 7200.0), record(stray, climbing({"+RA": 90.0}), 0)]
    store.append("paper", "constant-epoch", made)
    rows = inventory.table(store).set_index(["experiment", "scale"])
    gap = rows.loc["generalization-gap", "gpu"]
    assert (gap.runs, gap["complete seeds"]) == ("10 of 15", "2 of 3")
    assert gap["ran on"] == "CPU, bfloat16"
    assert (gap.diverged, gap.failed) == ("0", "0")
    assert rows.loc["layerwise-lr", "gpu"].diverged == ""
    anchor = rows.loc["constant-epoch", "paper"]
    assert (anchor.runs, anchor["complete seeds"]) == ("1 of 2,100", "0 of 15")
    assert anchor.time == "2.00 core-hours"
    assert "12 runs" in inventory.summary(store)
    environments = inventory.environments(store)
    assert list(environments.runs) == ["12"]
    assert "cuda" not in environments


def test_hours_are_of_gpus_where_a_gpu_made_the_record():
    one = record(ANCHORS.runs(1)[0], climbing({"+RA": 90.0}), 3600.0)
    other = record(ANCHORS.runs(1)[1], climbing({"SB": 90.0}), 1800.0)
    other.provenance["device"] = "NVIDIA H200"
    assert inventory.hours([one, other]) == "1.00 core-hours, 0.50 GPU-hours"


def test_what_is_missing_has_the_command_that_fills_it(tmp_path):
    store = Store(tmp_path)
    rows = inventory.to_run(store)
    staged = rows.iloc[: len(STAGES)]
    assert list(staged.command) == [stage.command for stage in STAGES]
    rest = rows.iloc[len(STAGES) :]
    assert ("constant-epoch", "paper") in set(zip(rest.what, rest.scale, strict=True))
    assert not (rest.scale == "gpu").any()
    assert "sgdnoise reproduce layerwise-lr --scale cpu" in set(rest.command)
    assert "python -m sgdnoise.experiments.parts_checked.grid" in set(rest.command)

    fill(tmp_path, GAP, "gpu", 3, climbing(GOOD))
    after = inventory.to_run(store)
    assert len(after) == len(rows) - 2
    assert not after.what.str.startswith("(f)").any()


def test_the_page_of_provenance_renders_with_records_and_fails_without(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    with pytest.raises(InputError, match="holds no records"):
        shown("how-it-was-run.ipynb")
    fill(tmp_path / "results", GAP, "gpu", 1, climbing(GOOD))
    said = text(shown("how-it-was-run.ipynb"))
    assert "5 runs" in said
    assert "1 of 3" in said
    assert "python -m sgdnoise.evidence --only a" in said


def test_a_page_is_rendered_for_the_seeds_that_are_complete(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(render, "render", lambda e, s, seeds, *_: asked.append(seeds))
    store = Store(tmp_path / "results")
    options = ["--results", str(store.root), "--runs", str(tmp_path / "runs")]
    arguments = ["generalization-gap", "--scale", "gpu", *options]
    assert render.main(arguments) == 0
    fill(store.root, GAP, "gpu", 2, climbing(GOOD))
    assert render.main(arguments) == 0
    assert render.main([*arguments, "--seeds", "1"]) == 0
    assert asked == [GAP.seeds["gpu"], 2, 1]
    capsys.readouterr()
    for wrong in (["layerwise-lr", "gap", "--scale", "gpu"], ["constant-epoch", "--scale", "big"]):
        assert render.main([*wrong, *options]) == 2
    assert render.main([*arguments, "--seeds", "0"]) == 2
    assert capsys.readouterr().err.count("\n") == 3
