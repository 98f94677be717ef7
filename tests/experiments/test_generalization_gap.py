"""H17's ladder on made-up records: every word of its predicates, and what each needs."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from made_up import reading

from sgdnoise import cli
from sgdnoise.analysis import Reading
from sgdnoise.analysis.intervals import quantile
from sgdnoise.book.notebooks import OTHERWISE
from sgdnoise.data import store
from sgdnoise.errors import InputError
from sgdnoise.experiments import EXPERIMENTS, study_of
from sgdnoise.experiments.generalization_gap import figures, findings, grid, ladder, sentences
from sgdnoise.experiments.generalization_gap.grid import RUNGS, recipe
from sgdnoise.figures import tuned
from sgdnoise.papers.numbers import printed
from sgdnoise.schedule import H17_REGIMES

GOOD = {"SB": 92.8, "LB": 86.0, "+LR": 89.0, "+GBN": 90.5, "+RA": 93.0}
HALF = quantile(4) * math.sqrt(2 / 3)
"""Of the interval of a difference of two rungs, in units of how far three seeds are apart."""
JUST = 1e-6
NOTEBOOK = Path(__file__).parents[2] / "book" / "generalization-gap.ipynb"


def rung_of(config):
    if config.batch_size == 128:
        return "SB"
    if config.epochs > 100:
        return "+RA"
    if config.norm == "ghost":
        return "+GBN"
    return "+LR" if config.learning_rate > 0.2 else "LB"


def fitted(accuracy):
    """The training accuracy beside a test accuracy: half as far from 100 %."""
    return 50 + accuracy / 2


def made(levels, seeds=3, apart=0.1):
    """The ladder whose rungs reach so much, with seeds so far apart."""

    def ending(config):
        accuracy = levels[rung_of(config)] + apart * (config.seed - 1)
        return {"test_accuracy": accuracy, "train_accuracy": fitted(accuracy), "train_loss": 7.0}

    return reading("generalization-gap", "gpu", seeds, ending)


def known_to(levels, half):
    """The ladder with seeds so far apart that its differences are known to this."""
    return made(levels, apart=half / HALF)


def judged(of):
    return [claim.judge(of) for claim in findings.CLAIMS[:5]]


def words(of):
    return [verdict.word for verdict in judged(of)]


@pytest.fixture(scope="module")
def good():
    return made(GOOD)


def test_the_rungs_are_summarised_over_all_their_seeds(good):
    rungs = ladder.rows(good)
    assert list(rungs.rung) == list(RUNGS)
    assert list(rungs.accuracy) == pytest.approx(list(GOOD.values()))
    assert list(rungs.fitted) == pytest.approx([fitted(level) for level in GOOD.values()])
    # Seeds at −0.1, 0 and +0.1: standard deviation 0.1, of the mean 0.1/√3.
    assert list(rungs["std"]) == pytest.approx([0.1] * 5)
    assert list(rungs.half) == pytest.approx([quantile(2) * 0.1 / math.sqrt(3)] * 5)
    assert ladder.closed(rungs.accuracy) == pytest.approx([1, 0, 3 / 6.8, 4.5 / 6.8, 7 / 6.8])
    assert list(rungs.printed) == [92.83, 86.10, 89.30, 90.50, 93.07]
    assert list(rungs.batch_size) == [128, 4096, 4096, 4096, 4096]
    assert list(rungs.norm) == [128, 4096, 4096, 128, 128]
    assert list(rungs.epochs) == [20, 20, 20, 20, 640]
    assert "92.80 ± 0.10" in set(sentences.ladder_table(good)["Test accuracy (%)"])
    assert sentences.without_a_gap(good) == ""


def test_a_ladder_as_h17_has_it_is_reproduced(good):
    said = judged(good)
    # Its own ghosts help by 1.2 points, these by 1.5: by 0.23 here, and 0.4 in single runs.
    assert [v.word for v in said] == ["reproduced"] * 5
    assert [v.effect for v in said] == pytest.approx([-6.8, 3, 1.5, 2.5, 0.2])
    assert [v.printed for v in said] == pytest.approx([-6.73, 3.2, 1.2, 2.57, 0.24])
    # Twice as wide: three seeds here and single runs there.
    assert said[0].why == (
        "the large batch (LB) minus the small batch (SB) is -6.80 [-7.03, -6.57] points. One run "
        "of each would give [-7.25, -6.35], and H17 has -6.73."
    )
    assert said[4].why == (
        "as many updates (+RA) minus the small batch (SB) is +0.20 [-0.03, +0.43] points; no worse "
        "means above −0.5 points."
    )
    assert {(v.unit, v.margin, v.rests_on, v.seeds) for v in said} == {("points", 0.5, "seeds", 3)}


def test_a_ladder_upside_down_is_a_contradiction():
    of = made({"SB": 90.0, "LB": 85.0, "+LR": 84.0, "+GBN": 83.5, "+RA": 83.0})
    assert words(of) == ["reproduced at another size"] + ["contradicted"] * 4
    assert sentences.without_a_gap(of) == ""


STEPS = [("LB", "SB", -6.73), ("+LR", "LB", 3.2), ("+GBN", "+LR", 1.2), ("+RA", "+GBN", 2.57)]
"""What each of the first four claims compares, and what H17 has."""


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize(
    ("size", "half", "word"),
    [
        ("theirs", 0.2, "reproduced"),
        ("theirs + half", 0.2, "reproduced at another size"),
        ("theirs - half", 0.2, "reproduced at another size"),
        ("theirs - within", 0.2, "reproduced"),
        ("theirs + within", 0.2, "reproduced"),
        (0.2 + JUST, 0.2, "reproduced at another size"),
        (0.4 - JUST, 0.4, "undecided"),
        (JUST - 0.4, 0.4, "undecided"),
        (-0.4 - JUST, 0.4, "contradicted"),
        (0.0, 0.5 - JUST, "absent"),
        (0.0, 0.5 + JUST, "undecided"),
        (0.1 - JUST, 0.4, "absent"),
        (0.1 + JUST, 0.4, "undecided"),
    ],
)
def test_each_step_is_judged_by_its_interval(number, size, half, word):
    above, below, theirs = STEPS[number]
    sign = math.copysign(1, theirs)
    if isinstance(size, str):
        # Three seeds here and single runs there: their difference is known √3 times less well.
        names = {"theirs": abs(theirs), "half": 2 * half + JUST, "within": 2 * half - JUST}
        size = (
            sum(names[part] for part in size.split(" + "))
            if "-" not in size
            else (names["theirs"] - names[size.split(" - ")[1]])
        )
    # All other rungs far away, so that a claim about them would say something else.
    levels = {"SB": 90.0, "LB": 20.0, "+LR": 35.0, "+GBN": 55.0, "+RA": 72.0}
    levels[above] = levels[below] + sign * size
    verdict = judged(known_to(levels, half))[number]
    assert verdict.word == word
    assert verdict.why.startswith(f"{ladder.RECIPES[above]} minus {ladder.RECIPES[below]} is ")
    assert verdict.effect == pytest.approx(sign * size)
    assert verdict.interval == pytest.approx((sign * size - half, sign * size + half))
    assert verdict.printed == pytest.approx(theirs)
    ends = sign * size - 2 * half, sign * size + 2 * half
    single = (
        f"One run of each would give [{ends[0]:+.2f}, {ends[1]:+.2f}], and H17 has {theirs:+.2f}."
    )
    # What decides on the size is told where it decides, and there alone.
    assert verdict.why.endswith(single) == word.startswith("reproduced")
    assert ("One run of each" in verdict.why) == word.startswith("reproduced")
    if word.startswith("reproduced"):
        assert (ends[0] <= theirs <= ends[1]) == (word == "reproduced")


def test_without_a_printed_step_no_single_runs_are_told_of(monkeypatch):
    monkeypatch.setattr(findings, "_theirs", lambda *_: None)
    assert {"One run of each" in verdict.why for verdict in judged(made(GOOD))} == {False}


@pytest.mark.parametrize(
    ("lead", "word"),
    [
        (-0.1 + JUST, "reproduced"),
        (-0.1 - JUST, "undecided"),
        (-0.9 + JUST, "undecided"),
        (-0.9 - JUST, "contradicted"),
        (9.0, "reproduced"),
        (0.0, "reproduced"),
    ],
)
def test_no_gap_is_left_where_the_last_rung_is_no_worse_by_a_margin(lead, word):
    levels = {**GOOD, "+RA": GOOD["SB"] + lead, "+GBN": 10.0, "LB": 30.0}
    verdict = judged(known_to(levels, 0.4))[4]
    assert verdict.word == word
    assert verdict.effect == pytest.approx(lead)
    assert verdict.interval == pytest.approx((lead - 0.4, lead + 0.4))
    assert (verdict.margin, verdict.band, verdict.p) == (0.5, (-0.5, None), None)
    # How much more would decide it is said of the distance from the margin.
    assert verdict.room == pytest.approx(abs(lead + 0.5))


@pytest.mark.parametrize(("gap", "shows"), [(0.4 - JUST, False), (0.4 + JUST, True), (-9, False)])
def test_what_closes_a_gap_takes_one(gap, shows):
    of = known_to({**GOOD, "LB": GOOD["SB"] - gap}, 0.4)
    large, *others = judged(of)
    assert (large.word == "reproduced at another size") == shows
    beside = sentences.without_a_gap(of)
    if shows:
        assert "not tested here" not in [verdict.word for verdict in others]
        assert beside == ""
        return
    assert {verdict.word for verdict in others} == {"not tested here"}
    assert {verdict.why for verdict in others} == {
        "there is no gap to close: the large batch (LB) minus the small batch (SB) is "
        f"{-gap:+.2f} [{-gap - 0.4:+.2f}, {-gap + 0.4:+.2f}] points."
    }
    assert beside == (
        "There is no gap here that could be closed, so the ladder only tells what each recipe "
        "does. The small batch (SB) ends with 96.4 % of the training images classified rightly, "
        "the large batch with as many updates (+RA) with 96.5 %."
    )


def test_rungs_that_are_exactly_alike_have_no_gap():
    of = made({**GOOD, "LB": GOOD["SB"]}, apart=0.0)
    assert words(of) == ["absent"] + ["not tested here"] * 4
    assert all(math.isnan(share) for share in ladder.closed(ladder.rows(of).accuracy))


def test_without_a_gap_no_part_of_it_is_closed():
    of = made({**GOOD, "LB": GOOD["SB"] + 0.1})
    assert all(math.isnan(share) for share in ladder.closed(ladder.rows(of).accuracy))
    assert set(sentences.ladder_table(of)["Gap closed"]) == {""}


ABOUT = [
    ("SB", "LB"),
    ("SB", "LB", "+LR"),
    ("SB", "LB", "+LR", "+GBN"),
    ("SB", "LB", "+GBN", "+RA"),
    ("SB", "LB", "+RA"),
]
"""The rungs that each claim is about, those of the gap among them."""


@pytest.mark.parametrize("rung", RUNGS)
def test_a_rung_that_diverged_is_no_rung_to_compare_with(rung):
    of = made({**GOOD, rung: math.inf})
    for verdict, about in zip(judged(of), ABOUT, strict=True):
        assert (verdict.word == "not tested here") == (rung in about)
        if rung in about:
            assert verdict.why == f"3 of 3 runs of {ladder.RECIPES[rung]} diverged."
    # Training accuracies of what is left are no ladder.
    assert sentences.without_a_gap(made({**GOOD, "LB": 99.0, rung: math.inf})) == ""


def test_a_single_run_that_diverged_is_said():
    def one_is_lost(config):
        lost = rung_of(config) == "LB" and config.seed == 1
        return {"test_accuracy": math.inf if lost else 90.0}

    of = reading("generalization-gap", "gpu", 3, one_is_lost)
    rungs = ladder.rows(of)
    assert list(rungs.diverged) == [0, 1, 0, 0, 0]
    assert [math.isnan(mean) for mean in rungs.accuracy] == [False, True, False, False, False]
    assert "1 of 3 diverged" in set(sentences.ladder_table(of)["Test accuracy (%)"])
    assert {verdict.why for verdict in judged(of)} == {
        "1 of 3 runs of the large batch (LB) diverged."
    }


def test_where_everything_diverged_nothing_is_a_nan():
    of = made(dict.fromkeys(RUNGS, math.inf))
    assert {(v.word, v.why) for v in judged(of)} == {
        ("not tested here", "3 of 3 runs of the small batch (SB) diverged.")
    }
    assert figures.climbed(of) == []
    assert sentences.without_a_gap(of) == ""


def test_of_a_single_seed_no_rung_is_judged():
    of = made(GOOD, seeds=1)
    assert all("single seed has no spread" in v.why for v in judged(of))
    shown = sentences.ladder_table(of)["Test accuracy (%)"]
    assert all(text.endswith(" (one seed)") for text in shown)
    assert ladder.rows(of)["std"].isna().all()


def test_another_net_has_its_own_row_of_the_papers_table():
    def ending(config):
        return {"test_accuracy": 98.0 - (config.batch_size > 128) + 0.01 * config.seed}

    said = judged(reading("generalization-gap", "cpu", 3, ending))
    theirs = [97.05 - 98.27, 97.55 - 97.05, 97.60 - 97.55, 98.53 - 97.60, 98.53 - 98.27]
    assert [verdict.printed for verdict in said] == pytest.approx(theirs)


def test_curves_of_a_rung_end_where_its_run_ended():
    of = made(GOOD, seeds=2)
    fig = figures.climb(of, "+GBN")
    called = ladder.RECIPES
    ends = {trace.name: (trace.x[-1], trace.y[-1]) for trace in fig.data}
    # 20 epochs of 50,000 in steps of 4,096, and of 128.
    assert ends[called["+GBN"]] == (244, pytest.approx(GOOD["+GBN"]))
    assert ends[called["SB"]] == (7812, pytest.approx(GOOD["SB"]))
    assert len(fig.data) == 4
    starts = {trace.name: (trace.x[0], trace.y[0]) for trace in fig.data}
    assert starts[called["SB"]] == (50, pytest.approx(GOOD["SB"] - 5, abs=0.2))
    assert len(figures.climb(of, "SB").data) == 2
    fig = figures.distances(of)
    assert [trace.name for trace in fig.data] == [called[r] for r in RUNGS]
    ends = [f"{rung} {t.y[-1]:.3g}" for rung, t in zip(RUNGS, fig.data, strict=True)]
    assert fig.layout.title.text == f"Distance at the end: {', '.join(ends)}"
    # A straight line's meaning stands below the figure, where it lies across no curve.
    (note,) = fig.layout.annotations
    assert note.text.endswith(" A straight line is growth with log t.")
    # SB is drawn beside each of the others, and would stand beside itself.
    assert figures.climbed(of) == [rung for rung in RUNGS if rung != "SB"]


@pytest.mark.parametrize("rung", RUNGS)
def test_what_the_rungs_fit_is_said_where_it_is_known(rung):
    of = made({**GOOD, "LB": 99.0})
    for record in of.records.values():
        if rung_of(record.config) == rung:
            del record.metrics["train_accuracy"]
    beside = sentences.without_a_gap(of)
    assert beside.startswith("There is no gap here that could be closed")
    assert ("of the training images classified rightly" in beside) == (rung not in ("SB", "+RA"))


# --- The ladder's tables, and what closes the gap ---------------------------------------------


def test_the_recipes_stand_beside_what_they_reach(good):
    recipes, reached = sentences.recipe_table(good), sentences.ladder_table(good)
    assert list(recipes.Rung) == list(reached.Rung) == list(RUNGS)
    assert list(recipes["Batch size"]) == ["128", *["4,096"] * 4]
    assert list(recipes["Norm over"]) == ["128", "4,096", "4,096", "128", "128"]
    assert list(recipes["Epochs"]) == ["20"] * 4 + ["640"]
    assert list(recipes["Updates"]) == ["7,812", "244", "244", "244", "7,812"]
    assert list(reached["Seeds"]) == ["3"] * 5
    assert list(reached["Step, in points"])[1] == "-6.80 [-7.03, -6.57]"


def test_a_step_has_an_interval_once_all_of_its_runs_are_there(good):
    lost = [run.id for s in good.states if ladder.rung_of(s) == "+RA" for run in s.needed[-1:]]
    part = {k: r for k, r in good.records.items() if k not in lost}
    table = sentences.ladder_table(dataclasses.replace(good, records=part)).set_index("Rung")
    assert dict(table.Seeds) == {**dict.fromkeys(RUNGS, "3"), "+RA": "2 of 3"}
    assert table["Step, in points"]["+RA"] == "+2.45, so far"
    assert table.Verdict["+RA"] == "not measured"
    assert table["Step, in points"]["+GBN"] == "+1.50 [+1.27, +1.73]"


CHANGES = ("the larger rate (+LR)", "ghost batch norm (+GBN)", "training for as many updates (+RA)")


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize(
    ("size", "does"),
    [
        (1.0, "helps"),
        (0.0, "makes no difference that matters"),
        (-1.0, "does harm"),
        (0.39, "may help or not"),
    ],
)
def test_what_each_change_does_to_the_gap_goes_by_its_word(number, size, does):
    steps = [3.0, 3.0, 3.0]
    steps[number] = size
    levels = dict(zip(RUNGS, np.cumsum([90.0, -8.0, *steps]), strict=True))
    said = sentences.what_closes_it(known_to(levels, 0.4))
    told = [f"{change} helps" for change in CHANGES]
    told[number] = f"{CHANGES[number]} {does}"
    assert said.startswith(f"Of H17's three changes, {told[0]}, {told[1]} and {told[2]}. ")


@pytest.mark.parametrize(
    ("last", "left"),
    [
        (90.1, "After all three no gap is left."),
        (88.0, "After all three a gap is left."),
        (89.4, "Whether a gap is left after all three is undecided."),
    ],
)
def test_whether_a_gap_is_left_goes_by_its_word(last, left):
    of = known_to({"SB": 90.0, "LB": 80.0, "+LR": 82.0, "+GBN": 84.0, "+RA": last}, 0.4)
    assert sentences.what_closes_it(of).endswith(f"(+RA) helps. {left}")


def test_what_is_missing_closes_nothing_yet(good):
    lost = {run.id for s in good.states if ladder.rung_of(s) == "+RA" for run in s.needed}
    part = {k: r for k, r in good.records.items() if k not in lost}
    assert sentences.what_closes_it(dataclasses.replace(good, records=part)).endswith(
        "training for as many updates (+RA) is not measured yet. Whether a gap is left after all "
        "three is not measured yet."
    )
    diverged = sentences.what_closes_it(made({**GOOD, "+RA": math.inf}))
    assert diverged.endswith("training for as many updates (+RA) is not tested here.")
    # Where there is no gap, and where nothing is measured, nothing is said.
    assert sentences.what_closes_it(made({**GOOD, "LB": 99.0})) == ""
    assert sentences.what_closes_it(dataclasses.replace(good, records={})) == ""


def test_the_scales_that_have_the_ladder_alone_are_those_that_the_page_names():
    alone = [
        scale
        for scale in EXPERIMENTS["generalization-gap"].sweeps
        if not ladder.has(
            Reading(study_of("generalization-gap", scale), {}),
            ladder.at("SB", momentum_reset=True),
        )
    ]
    assert alone == ["gpu", "paper"]
    assert "Scales `gpu` and `paper` have the ladder alone." in NOTEBOOK.read_text()


def test_no_page_links_to_itself():
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        # What stands where the ladder is alone names a scale that has more.
        if OTHERWISE in cell.metadata.get("tags", []):
            linked = re.findall(r"papermill_runs/(\w+)/generalization-gap", cell.source)
            assert linked == ["cpu"]
        else:
            assert not re.search(r"\]\([^)]*generalization-gap\.ipynb", cell.source)


def at_scale(scale, levels, seeds=3):
    """F1's ladder on all of MNIST with these levels, and everything else far below."""
    study = study_of("generalization-gap", scale, seeds)
    main = {run.id: ladder.rung_of(s) for s in study.states({}) for run in s.needed}
    keys = {run.id: s.sweep.key for s in study.states({}) for run in s.needed}

    def ending(config):
        level = levels[main[config.id]] if ladder.is_main(keys[config.id]) else 20.0
        return {"test_accuracy": level + 0.1 * config.seed}

    return reading("generalization-gap", scale, seeds, ending)


RISES = {"SB": 97.0, "LB": 90.0, "+LR": 92.0, "+GBN": 94.0, "+RA": 97.5}
FALLS = {"SB": 97.0, "LB": 90.0, "+LR": 88.0, "+GBN": 88.0, "+RA": 97.5}
HELPS = " and ".join(
    [", ".join(f"{change} helps" for change in CHANGES[:2]), f"{CHANGES[2]} helps"]
)
HARMS = (
    f"{CHANGES[0]} does harm, {CHANGES[1]} makes no difference that matters and {CHANGES[2]} helps"
)


@pytest.mark.parametrize(("short", "at_five"), [(RISES, HELPS), (FALLS, HARMS)])
@pytest.mark.parametrize(("long", "at_fifty"), [(RISES, HELPS), (FALLS, HARMS)])
def test_what_a_longer_training_changes_goes_by_the_words_of_both_scales(
    good, short, at_five, long, at_fifty
):
    both = [at_scale("cpu", short), at_scale("paper", long)]
    told = (
        "The judged ladders of scales `cpu` and `paper` differ in their length alone, and so in "
        "how many updates the large batch (LB) makes. At scale `cpu` it makes 73: "
        f"{at_five}. At scale `paper` it makes 732: {at_fifty}."
    )
    assert "device" not in told
    # Told on each scale's page alike; a page is read for its own scale.
    assert sentences.at_two_lengths(good, both) == told
    assert sentences.at_two_lengths(both[0], [at_scale("cpu", GOOD, 2), both[1]]) == told
    assert sentences.at_two_lengths(both[1], [both[0], at_scale("paper", GOOD, 2)]) == told


def on_gpu(of):
    """The same, trained on a GPU."""
    records = {
        run: dataclasses.replace(one, provenance={**one.provenance, "device": "H200"})
        for run, one in of.records.items()
    }
    return dataclasses.replace(of, records=records)


def test_that_two_lengths_differ_in_their_device_too_is_said(good):
    both = [at_scale("cpu", RISES), on_gpu(at_scale("paper", RISES))]
    assert sentences.at_two_lengths(good, both) == (
        "The judged ladders of scales `cpu` and `paper` differ in their length, and in the device "
        "that trained them: CPU at `cpu` and GPU at `paper`. With the length goes the number of "
        "updates that the large batch (LB) makes. At scale `cpu` it makes 73: "
        f"{HELPS}. At scale `paper` it makes 732: {HELPS}."
    )


@pytest.mark.parametrize("scale", sentences.LENGTHS)
def test_two_lengths_are_compared_once_both_are_judged(good, scale):
    both = {one: at_scale(one, RISES) for one in sentences.LENGTHS}
    for lacking in (
        dataclasses.replace(both[scale], records={}),
        at_scale(scale, {**RISES, "LB": 99.0}),
        at_scale(scale, RISES, seeds=1),
    ):
        assert sentences.at_two_lengths(good, [*(both | {scale: lacking}).values()]) == ""


def test_the_ladders_of_two_lengths_differ_in_nothing_else():
    short, long = (
        {
            s.sweep.key: s.needed[0]
            for s in Reading(study_of("generalization-gap", scale), {}).part(ladder.is_main).states
        }
        for scale in sentences.LENGTHS
    )
    longer = {key: run.replace(epochs=run.epochs * 10) for key, run in short.items()}
    assert longer == long


@pytest.mark.parametrize(
    ("scale", "length", "others"),
    [
        ("cpu", "5 epochs in place of 50", "C1 and 6,000 images of MNIST"),
        ("paper", "50 epochs", "C1, ResNet-44, C3 and H17's WRN-16-4"),
    ],
)
def test_of_several_ladders_the_judged_one_is_named_first(scale, length, others):
    of = Reading(study_of("generalization-gap", scale), {})
    said = f"The ladder that is judged is H17's F1 on all of MNIST, for {length}."
    together = "The settings that follow are those of all of them together."
    assert sentences.judged_ladder(of) == (
        f"{said} The ladders of {others} are planned, and not run. {together}"
    )
    whole = reading("generalization-gap", scale, 2, lambda config: {"test_accuracy": 90.0})
    assert sentences.judged_ladder(whole) == (
        f"{said} The ladders of {others} stand beside it. {together}"
    )
    # A ladder stands beside the judged one from its first run on.
    first = next(s.needed[0] for s in of.states if dict(s.sweep.key).get("net") == "c1")
    part = dataclasses.replace(whole, records={first.id: whole.records[first.id]})
    alone = others.removeprefix("C1, ").removeprefix("C1 and ")
    verb = "are" if " and " in alone else "is"
    assert sentences.judged_ladder(part) == (
        f"{said} The ladder of C1 stands beside it. The ladder{'s' * (verb == 'are')} of {alone} "
        f"{verb} planned, and not run. {together}"
    )
    small = of.part(ladder.is_main).states[0].needed[0]
    assert (small.model, small.train_size) == ("f1", None)
    sources = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells]
    named = sources.index("page.show(sentences.judged_ladder)")
    assert sources[named + 1] == "page.coverage"


def test_which_nets_are_planned_on_all_images_is_said_with_how_many_are_run(good):
    assert sentences.LARGER == ("gpu", "paper")
    gpu, paper = (
        reading("generalization-gap", scale, 2, lambda config: {"test_accuracy": 90.0})
        for scale in sentences.LARGER
    )
    f1 = {k: r for k, r in paper.records.items() if r.config.dataset == "mnist"}
    none = [dataclasses.replace(gpu, records={}), dataclasses.replace(paper, records=f1)]
    said = (
        "The grids of scales `gpu` and `paper` plan ResNet-44, C1, C3 and H17's WRN-16-4 on all "
        "images; "
    )
    # Five rungs of five ladders, at two seeds each; F1's ladder is none of them.
    assert sentences.nets_on_all_images(good, none) == f"{said}none of 50 runs has been made."
    some = [gpu, none[1]]
    assert sentences.nets_on_all_images(good, some) == f"{said}10 of 50 runs have been made."


@pytest.mark.parametrize("scale", ["digits", "gpu"])
def test_a_scale_with_one_ladder_need_not_name_it(scale):
    assert sentences.judged_ladder(Reading(study_of("generalization-gap", scale), {})) == ""


def test_the_length_in_place_of_which_another_stands_is_that_of_h17s_code(monkeypatch):
    longer = dataclasses.replace(H17_REGIMES["f1"], epochs=60)
    monkeypatch.setitem(H17_REGIMES, "f1", longer)
    of = Reading(study_of("generalization-gap", "cpu"), {})
    assert "for 5 epochs in place of 60." in sentences.judged_ladder(of)


@pytest.mark.parametrize("scale", EXPERIMENTS["generalization-gap"].sweeps)
def test_that_the_codes_momentum_reset_is_not_copied_is_said(scale):
    text = study_of("generalization-gap", scale).leaves_out
    said = (
        "H17's code also resets the momentum at the start of every epoch; we take that for a "
        "mistake and do not copy it."
    )
    assert said in text
    measured = "What the reset does is measured beside the ladder"
    assert (f"{said} {measured}" in text) == (scale in ("digits", "cpu"))


# --- About the ladder, at scale digits --------------------------------------------------------

LEVELS = {
    **{"16": 97.0, "32": 96.0, "64": 95.0, "128": 94.0, "256": 93.0, "512": 92.0},
    **{"+LR 512": 94.0, "+LR 256": 95.0, "noise 512": 94.0, "noise 256": 95.0},
    **{"+GBN 512": 95.0, "ghost-noise 512": 94.6},
    **{"+RA 256": 97.1, "+RA 512": 97.2},
}


def name_of(config):
    """What a run about the ladder is, in a word, with its batch size where that differs."""
    size = config.batch_size
    if config.momentum_reset:
        return f"reset {rung_at_digits(config)}"
    if config.clip_steps:
        return f"first {rung_at_digits(config)}"
    if config.gradient_noise:
        return f"noise {size}"
    rung = rung_at_digits(config)
    if config.norm == "ghost-noise":
        return f"ghost-noise {size}"
    return str(size) if rung in ("SB", "LB") else f"{rung} {size}"


def rung_at_digits(config):
    if config.epochs > 20:
        return "+RA"
    if config.norm != "batch":
        return "+GBN"
    if config.learning_rate > 0.1:
        return "+LR"
    return "SB" if config.batch_size == 16 else "LB"


def about(levels=(), half=0.4, seeds=3):
    """All of scale digits with these levels, differences being known to this."""
    levels = {**LEVELS, **dict(levels)}

    def ending(config):
        level = levels.get(name_of(config), 90.0)
        accuracy = level + half / HALF * (config.seed - 1)
        return {"test_accuracy": accuracy, "train_accuracy": 50 + accuracy / 2, "train_loss": 1.0}

    return reading("generalization-gap", "digits", seeds, ending)


def judged_as(claim, of):
    (one,) = [c for c in findings.CLAIMS if c.id.endswith(claim)]
    return one.judge(of)


@pytest.fixture(scope="module")
def whole():
    return about()


def test_what_stands_about_the_ladder_is_reproduced_where_it_is_as_h17_has_it(whole):
    assert list(sentences.ladder_table(whole).Rung) == list(RUNGS)
    new = findings.CLAIMS[5:]
    assert len(new) == 5
    said = {claim.id: claim.judge(whole) for claim in new}
    assert {verdict.word for verdict in said.values()} == {"reproduced"}
    assert {verdict.margin for verdict in said.values()} == {0.5}
    assert {verdict.unit for verdict in said.values()} == {"points"}
    for verdict in said.values():
        assert (verdict.seeds, verdict.rests_on) == (3, "seeds")


def test_the_new_claims_are_judged_where_the_grid_has_their_sweeps(good):
    for claim in findings.CLAIMS[5:]:
        verdict = claim.judge(good)
        assert (verdict.word, verdict.elsewhere) == ("not tested here", True)


@pytest.mark.parametrize("slope", [0.0, 0.3, -0.7])
def test_the_rise_is_that_of_a_fitted_line(slope):
    rng = np.random.default_rng(1)
    levels = {str(16 * 2**k): 95 - slope * k + rng.normal() for k in range(6)}
    verdict = judged_as("error-rises-with-batch", about(levels))
    fitted = np.polyfit(range(6), list(levels.values()), 1)[0]
    assert verdict.effect == pytest.approx(-5 * fitted)
    apart = 0.4 / HALF
    error = 5 / math.sqrt(17.5) * apart / math.sqrt(3)
    low, high = verdict.interval
    # All means are as well known, but weigh differently: Welch's degrees of freedom.
    x = np.arange(6) - 2.5
    freedom = 2 * (x**2).sum() ** 2 / (x**4).sum()
    assert (high - low) / 2 == pytest.approx(quantile(freedom) * error)
    best = max(levels, key=levels.get)
    assert f"it is lowest at B = {best}." in verdict.why


@pytest.mark.parametrize(
    ("fall", "half", "word"),
    [
        (0.2, 0.1, "reproduced"),
        (-0.2, 0.1, "contradicted"),
        (0.0, 0.1, "absent"),
        (0.1, 1.0, "undecided"),
        (0.0, 1.0, "undecided"),
    ],
)
def test_each_word_about_the_error_over_batch_sizes(fall, half, word):
    levels = {str(16 * 2**k): 95 - fall * k for k in range(6)}
    assert judged_as("error-rises-with-batch", about(levels, half)).word == word


MADE_BY = {
    # Accuracies by batch size: the word over all of them, and without either end.
    "largest": ([95, 95, 95, 95, 95, 92], ("reproduced", "reproduced", "absent")),
    "smallest": ([98, 95, 95, 95, 95, 95], ("reproduced", "absent", "reproduced")),
    "both ends": ([97, 95, 95, 95, 95, 97], ("absent", "contradicted", "reproduced")),
}


@pytest.mark.parametrize("made_by", MADE_BY)
def test_a_rise_that_one_end_of_the_batch_sizes_makes_is_undecided(made_by):
    levels, (every, small, large) = MADE_BY[made_by]
    sizes = [16 * 2**k for k in range(6)]
    of = about({str(size): float(level) for size, level in zip(sizes, levels, strict=True)}, 0.1)
    verdict = judged_as("error-rises-with-batch", of)
    assert verdict.word == "undecided"
    assert verdict.why.endswith(
        f" So the word hangs on an end of the batch sizes. It would be {every} with all, {small} "
        f"with all but the smallest and {large} with all but the largest."
    )
    # Effect and interval stay those over all sizes; more seeds would not help.
    assert verdict.effect == pytest.approx(-5 * np.polyfit(range(6), levels, 1)[0])
    assert verdict.room is None
    for part, text in (
        (slice(1, None), "Without the smallest batch size the rise is"),
        (slice(-1), "without the largest"),
    ):
        rise = -4 * np.polyfit(range(5), levels[part], 1)[0]
        assert f"{text} {rise:+.2f} [" in verdict.why
    # The p-value is the worst of the three.
    plain = findings._plain(of.part(findings._is_plain))
    found = {size: of.reached(key) for size, key in plain.items()}
    parts = (sizes, sizes[1:], sizes[:-1])
    ps = [findings._rise({size: found[size] for size in part}).p for part in parts]
    assert verdict.p == max(ps)


def test_a_rise_that_all_batch_sizes_share_is_told_without_other_words():
    verdict = judged_as("error-rises-with-batch", about())
    assert verdict.word == "reproduced"
    assert " Without the smallest batch size the rise is +4.00 [" in verdict.why
    assert "hangs on an end" not in verdict.why


@pytest.mark.parametrize(("count", "word"), [(4, "reproduced"), (5, "undecided")])
def test_a_line_without_an_end_takes_four_batch_sizes(count, word):
    levels = {str(16 * 2**k): 92.0 if k == count - 1 else 95.0 for k in range(6)}
    of = about(levels, 0.1)
    sizes = [16 * 2**k for k in range(count)]
    part = of.part(lambda key: findings._is_plain(key) and _size(of, key) in sizes)
    verdict = findings.error_rises(part)
    assert verdict.word == word
    assert ("Without the smallest" in verdict.why) == (count > 4)


def _size(of, key):
    (state,) = (state for state in of.states if state.sweep.key == key)
    return state.needed[0].batch_size


@pytest.mark.parametrize(
    ("lead", "word"),
    [
        (-0.1 + JUST, "reproduced"),
        (-0.1 - JUST, "undecided"),
        (9.0, "reproduced"),
        (-1.1, "contradicted"),
    ],
)
@pytest.mark.parametrize("size", [256, 512])
def test_every_large_batch_has_to_match_the_small_one(size, lead, word):
    verdict = judged_as("adapted-regimes-match", about({f"+RA {size}": 97.0 + lead}))
    assert verdict.word == word
    if lead < 0:
        assert verdict.effect == pytest.approx(lead)
        assert verdict.interval == pytest.approx((lead - 0.4, lead + 0.4))
    assert f"{lead:+.2f} [" in verdict.why
    assert "no worse means above −0.5 points." in verdict.why
    for each in (256, 512):
        assert f"at B = {each}" in verdict.why


@pytest.mark.parametrize(
    ("lead", "half", "word"),
    [
        (0.4 + JUST, 0.4, "reproduced"),
        (0.4 - JUST, 0.4, "undecided"),
        (-0.4 - JUST, 0.4, "contradicted"),
        (0.0, 0.4, "absent"),
    ],
)
def test_more_updates_are_compared_with_half_the_batch_as_it_is(lead, half, word):
    verdict = judged_as("more-updates-beat-none", about({"+RA 512": 93.0 + lead}, half))
    assert (verdict.word, verdict.effect) == (word, pytest.approx(lead))
    assert verdict.why.startswith("as many updates (+RA) minus the large batch (LB) at B = 256 is ")


@pytest.mark.parametrize(
    ("lead", "word"),
    [
        (0.1 - JUST, "reproduced"),
        (JUST - 0.1, "reproduced"),
        (0.1 + JUST, "undecided"),
        (-0.1 - JUST, "undecided"),
        # Two parts at half the batch: Bonferroni's correction asks for more there.
        (1.3, "contradicted"),
        (-1.3, "contradicted"),
    ],
)
@pytest.mark.parametrize("size", [256, 512])
def test_noise_is_as_good_as_the_rate_within_a_margin(size, lead, word):
    of = about({f"noise {size}": LEVELS[f"+LR {size}"] + lead})
    claim = {512: "noise-replaces-rate", 256: "noise-and-rate-alike"}
    assert judged_as(claim[size], of).word == word
    assert judged_as(claim[768 - size], of).word == "reproduced"


@pytest.mark.parametrize("moved", [0.0, 3.0])
def test_noise_and_rate_have_to_go_alike_on_the_way_too(moved):
    of = about()
    for record in of.records.values():
        if name_of(record.config) == "noise 256":
            record.curves["test_accuracy"] = [record.metrics["test_accuracy"] - 5 + moved]
    verdict = judged_as("noise-and-rate-alike", of)
    assert verdict.word == ("contradicted" if moved else "reproduced")
    assert f"{moved:+.2f} [{moved - 0.4:+.2f}, {moved + 0.4:+.2f}] at the mean on the way" in (
        verdict.why
    )


NEEDS = {
    "error-rises-with-batch": ["16", "64", "256", "512"],
    "adapted-regimes-match": ["16", "512", "+RA 256", "+RA 512"],
    "more-updates-beat-none": ["16", "256", "+RA 512"],
    "noise-replaces-rate": ["16", "512", "+LR 512", "noise 512"],
    "noise-and-rate-alike": ["16", "256", "+LR 256", "noise 256"],
}


@pytest.mark.parametrize("lost", ["16", "64", "256", "512", "+RA 256", "+RA 512", "noise 256"])
def test_what_diverged_is_compared_with_nothing(lost):
    of = about({lost: math.inf})
    for claim, needs in NEEDS.items():
        verdict = judged_as(claim, of)
        assert (verdict.word == "not tested here") == (lost in needs), claim
        if lost in needs:
            assert verdict.why.startswith("3 of 3 runs of ")
            assert verdict.why.endswith(" diverged.")


@pytest.mark.parametrize(("gap", "shows"), [(0.4 - JUST, False), (0.4 + JUST, True)])
@pytest.mark.parametrize("size", ["256", "512"])
def test_what_closes_a_gap_about_the_ladder_takes_one(size, gap, shows):
    of = about({size: 97.0 - gap})
    about_it = {
        "512": ("adapted-regimes-match", "noise-replaces-rate"),
        "256": ("more-updates-beat-none", "noise-and-rate-alike"),
    }
    for claim in NEEDS:
        verdict = judged_as(claim, of)
        tested = shows or claim not in about_it[size]
        assert (verdict.word != "not tested here") == tested, claim
        if not tested:
            assert verdict.why.startswith("there is no gap to close: the large batch (LB)")


@pytest.mark.parametrize("claim", ["noise-replaces-rate", "noise-and-rate-alike"])
def test_a_claim_on_noise_has_nothing_from_the_rung_with_as_many_updates(claim):
    of = about(seeds=12)
    assert judged_as(claim, of).seeds == 12
    assert judged_as("more-updates-beat-none", of).seeds == 10
    adapted = {run.id for s in of.states if ladder.rung_of(s) == "+RA" for run in s.needed}
    part = dataclasses.replace(
        of, records={k: r for k, r in of.records.items() if k not in adapted}
    )
    assert judged_as("more-updates-beat-none", part).word == "not measured"
    assert judged_as(claim, part) == judged_as(claim, of)
    # It waits for all that it reads.
    for name in NEEDS[claim]:
        some = [k for k, r in of.records.items() if name_of(r.config) == name][:1]
        left = {k: r for k, r in of.records.items() if k not in some}
        assert judged_as(claim, dataclasses.replace(of, records=left)).word == "not measured", name


@pytest.mark.parametrize("effect", [0.4 - JUST, JUST - 0.4, 0.4 + JUST, -0.4 - JUST])
@pytest.mark.parametrize("size", [256, 512])
def test_noise_can_only_replace_a_rate_that_has_an_effect(size, effect):
    of = about({f"+LR {size}": LEVELS[str(size)] + effect})
    claim = {512: "noise-replaces-rate", 256: "noise-and-rate-alike"}[size]
    verdict = judged_as(claim, of)
    if abs(effect) < 0.4:
        assert verdict.word == "not tested here"
        assert verdict.why.startswith("the larger rate has no effect that noise could have")
    else:
        assert verdict.word in ("reproduced", "contradicted")


def test_the_rate_that_noise_replaces_is_named_with_its_batch(whole):
    assert judged_as("noise-replaces-rate", whole).about == (
        "Multiplying gradients by noise is as good as raising the learning rate by √(LB/SB), at a "
        "batch of 512"
    )


def test_the_noise_of_ghosts_is_said_beside_ghost_norm(whole, good):
    assert sentences.ghost_noise(whole) == (
        "Added to the larger rate (+LR), the noise of ghosts alone changes the accuracy by +0.60 "
        "[+0.20, +1.00] points, and ghost batch norm by +1.00 [+0.60, +1.40]. The noise alone "
        "minus ghost batch norm is -0.40 [-0.80, -0.00]."
    )
    assert sentences.ghost_noise(good) == ""
    lost = about({"ghost-noise 512": math.inf})
    assert sentences.ghost_noise(lost) == (
        "3 of 3 runs of ghost batch norm (+GBN), norm ghost-noise, diverged."
    )


def switched(effects, seeds=3):
    """Scale digits with effects of the switches by name, such as `reset SB`, seed by seed.

    Seeds are a point apart in every rung. A switch that is not named changes nothing.
    """

    def ending(config):
        name = name_of(config)
        plain = {"SB": "16", "LB": "512"}
        base = name.removeprefix("reset ").removeprefix("first ")
        level = LEVELS.get(plain.get(base, name if base == name else f"{base} 512"), 90.0)
        effect = effects.get(name, [0.0] * seeds)[config.seed]
        return {"test_accuracy": level + config.seed + effect}

    return reading("generalization-gap", "digits", seeds, ending)


TENTH = quantile(2) * 0.1 / math.sqrt(3)
"""Half of the interval of three differences that lie a tenth of a point apart."""


def a_tenth_apart(mean):
    return [mean - 0.1, mean, mean + 0.1]


def test_the_switches_of_the_public_code_have_each_its_own_effect():
    of = switched(
        {
            "reset SB": a_tenth_apart(-1.0),
            "reset LB": a_tenth_apart(-10.0),
            "first SB": a_tenth_apart(0.2),
            "first +GBN": [math.inf] * 3,
            "first LB": [0.0, 0.0, -0.3],
        }
    )
    table = sentences.switches(of).set_index("Rung")
    reset, clipped = table.columns[1:]
    # Seeds are a point apart, which is no part of a difference of runs with one seed.
    assert table[reset]["SB"] == "-1.00 [-1.25, -0.75]"
    assert table[reset]["LB"] == f"-10.00 [{-10 - TENTH:.2f}, {-10 + TENTH:.2f}]"
    assert table[clipped]["SB"] == "+0.20 [-0.05, +0.45]"
    assert table[clipped]["+LR"] == table[clipped]["+RA"] == "0 in every run"
    assert table[clipped]["LB"].startswith("-0.10 [")
    assert table[clipped]["+GBN"] == (
        "3 of 3 runs of ghost batch norm (+GBN), clip_steps 10, diverged."
    )
    # 64 updates an epoch, and two of which the first has a tenth and the second 0.19 of it.
    assert list(table.iloc[:, 0])[:2] == ["86%", "15%"]
    assert sentences.gap_of_the_code(of) == (
        "With the momentum reset, as in the public code, the large batch (LB) minus the small "
        f"batch (SB) is {ladder.step(of, *RESET_GAP)} points; without it, "
        f"{ladder.step(of, ladder.at('LB'), ladder.at('SB'))}."
    )


RESET_GAP = [ladder.at(rung, momentum_reset=True) for rung in ("LB", "SB")]


@pytest.mark.parametrize(
    ("mean", "does"),
    [
        (-TENTH - JUST, "lowers the accuracy"),
        (-TENTH + JUST, "makes no difference that can be told"),
        (TENTH - JUST, "makes no difference that can be told"),
        (TENTH + JUST, "raises the accuracy"),
        (None, "changes no run's accuracy"),
    ],
)
@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("switch", ["reset", "first"])
def test_what_a_switch_changes_is_told_rung_by_rung(switch, rung, mean, does):
    nothing = "changes no run's accuracy"
    of = switched({} if mean is None else {f"{switch} {rung}": a_tenth_apart(mean)})
    rest = [one for one in RUNGS if one != rung]
    others = f"{', '.join(rest[:-1])} and {rest[-1]}"
    every = "SB, LB, +LR, +GBN and +RA"
    order = sorted([(does, rung), (nothing, others)], key=lambda one: "told" in one[0])
    if "lowers" not in does and "raises" not in does:
        order = [(nothing, others), (does, rung)]
    told = "; it ".join(f"{done} at {where}" for done, where in order)
    same = f"{nothing} at {every}"
    heads = {
        "reset": "Resetting the momentum at each epoch",
        "first": "Clipping in the first ten updates only, and not in all,",
    }
    parts = [f"{head} {told if s == switch and mean else same}." for s, head in heads.items()]
    alike = others if switch == "first" and mean else every
    end = f"So at {alike} the code's clipping and the paper's come to the same."
    assert sentences.what_switches_change(of) == " ".join([*parts, end])


def test_what_is_not_measured_of_a_switch_is_left_out():
    of = switched({"reset LB": a_tenth_apart(-1.0)})
    waits = {
        run.id
        for s in of.states
        if ladder.rung_of(s) == "+RA" and dict(s.sweep.key).keys() & {"momentum_reset"}
        for run in s.needed[:1]
    }
    clipped = {run.id for s in of.states if "clip_steps" in dict(s.sweep.key) for run in s.needed}
    part = {k: r for k, r in of.records.items() if k not in waits | clipped}
    part = dataclasses.replace(of, records=part)
    assert sentences.what_switches_change(part) == (
        "Resetting the momentum at each epoch lowers the accuracy at LB; it changes no run's "
        "accuracy at SB, +LR and +GBN."
    )
    table = sentences.switches(part).set_index("Rung")
    assert table.iloc[:, 1]["+RA"] == "0 in every run, so far"
    assert set(table.iloc[:, 2]) == {"not yet measured"}
    # Of runs that no seed pairs, and where another device trained one side, nothing is known.
    gpu = {
        k: on_gpu(of).records[k] if r.config.momentum_reset else r for k, r in of.records.items()
    }
    mixed = dataclasses.replace(of, records=gpu)
    table = sentences.switches(mixed).set_index("Rung")
    assert set(table.iloc[:, 1]) == {"trained on CPU and GPU, and so not compared"}
    assert "momentum" not in sentences.what_switches_change(mixed)
    for claims in (on_gpu(of), of):
        assert "momentum" in sentences.what_switches_change(claims)


def test_runs_are_paired_by_their_seeds():
    of = switched({"reset SB": [-1.0, 2.0, 0.5]})
    reset, plain = ladder.at("SB", momentum_reset=True), ladder.at("SB")
    assert ladder.apart(ladder.by_seed(of, reset), ladder.by_seed(of, plain)) == [-1.0, 2.0, 0.5]
    one = [r.id for r in of.records.values() if r.config.momentum_reset and r.config.seed == 1]
    part = dataclasses.replace(of, records={k: r for k, r in of.records.items() if k not in one})
    assert ladder.apart(ladder.by_seed(part, reset), ladder.by_seed(part, plain)) == [-1.0, 0.5]
    found = ladder.paired(part, reset, plain)
    assert (found.value, found.dof) == (pytest.approx(-0.25), 1)
    lost = switched({"reset SB": [math.inf, 2.0, 0.5]})
    assert list(ladder.by_seed(lost, reset)) == [1, 2]
    # A run that diverged has gone some way, which is no distance at its end.
    (run,) = [
        k
        for k, r in of.records.items()
        if r.config.momentum_reset and r.config.seed == 0 and rung_at_digits(r.config) == "SB"
    ]
    records = of.records | {run: dataclasses.replace(of.records[run], status="diverged")}
    broken = dataclasses.replace(of, records=records)
    assert list(ladder.by_seed(broken, reset, ladder.end)) == [1, 2]
    assert list(ladder.by_seed(of, reset, ladder.end)) == [0, 1, 2]


@pytest.mark.parametrize(("updates", "momentum"), [(1, 0.9), (12, 0.9), (391, 0.9), (5, 0.0)])
def test_momentum_left_is_what_a_recursion_gives(updates, momentum):
    velocity, total = 0.0, 0.0
    for _ in range(updates):
        velocity = momentum * velocity + 1
        total += velocity * (1 - momentum) / updates
    assert ladder.momentum_left(128, 128 * updates, momentum) == pytest.approx(total)


def test_other_ladders_are_beside_the_one_that_is_judged():
    study = study_of("generalization-gap", "cpu", 3)
    few = {config.id for config in study.needed({}) if config.train_size == 6000}

    def ending(config):
        base = 60.0 if config.model == "c1" else 95.0 + (config.train_size == 6000)
        return {"test_accuracy": base - (config.batch_size > 128) + 0.1 * config.seed}

    of = reading("generalization-gap", "cpu", 3, ending)
    assert list(ladder.ladders(of)) == ["", "C1", "6,000 images of MNIST"]
    assert ladder.rows(ladder.main(of)).accuracy[0] == pytest.approx(95.1)
    assert ladder.other_ladders(of) == ["C1", "6,000 images of MNIST"]
    beside = sentences.ladder_table(of, "C1")
    assert beside["Test accuracy (%)"][0] == "60.10 ± 0.10"
    tables = sentences.other_tables(of)
    assert list(tables.Ladder) == ["C1"] * 5 + ["6,000 images of MNIST"] * 5
    assert list(tables["Test accuracy (%)"])[:5] == list(beside["Test accuracy (%)"])
    assert list(beside["H17 (%)"]) == ["87.80", "83.95", "86.15", "86.40", "88.20"]
    # LB of 1,024 is worse; its +LR is no better, and has the same level to every digit.
    assert list(beside["Verdict"])[1:] == ["reproduced at another size", *["absent"] * 3]
    # Until the main one is measured, what was measured before it is drawn, and judges nothing.
    part = dataclasses.replace(of, records={k: r for k, r in of.records.items() if k in few})
    assert ladder.rows(ladder.main(part)).accuracy[0] == pytest.approx(96.1)
    assert [row.word for row in judged(part)] == ["not measured"] * 5
    assert ladder.other_ladders(part) == []


@pytest.mark.parametrize(("scale", "resets", "ghosts"), [("digits", 4, 3), ("paper", 2, 2)])
def test_sentences_wait_for_the_sweeps_that_they_compare(scale, resets, ghosts):
    of = Reading(study_of("generalization-gap", scale), {})
    abouts = (findings.ABOUT_THE_GAP, sentences.ABOUT_RESETS, sentences.ABOUT_GHOSTS)
    assert [len(of.part(about).states) for about in abouts] == [2, resets, ghosts]


def test_the_data_of_several_sets_are_told_set_by_set():
    told = "All and 6,000 images of MNIST and 5,000 images of CIFAR-10 in place of MNIST and CIFAR"
    assert study_of("generalization-gap", "cpu").leaves_out.startswith(told)
    names = ["", "C1", "ResNet-44", "C3", "H17's WRN-16-4"]
    assert list(ladder.ladders(Reading(study_of("generalization-gap", "paper"), {}))) == names


def test_a_figure_says_how_many_of_its_runs_are_there(good):
    count = len(good.runs)
    assert f": {count} runs, " in tuned.provenance_line(good)
    part = dataclasses.replace(good, records=dict(list(good.records.items())[1:]))
    assert f": {count - 1} of {count} runs so far, " in tuned.provenance_line(part)


@pytest.mark.parametrize("scale", ["digits", "cpu", "gpu", "paper"])
def test_every_ladder_stands_beside_a_row_of_table_1(scale):
    of = Reading(study_of("generalization-gap", scale), {})
    for name in ladder.ladders(of):
        assert "" not in set(sentences.ladder_table(of, name)["H17 (%)"])
        assert ladder.rows(ladder.ladders(of)[name]).printed.notna().all()


@pytest.mark.parametrize(
    ("without", "waits"),
    [
        ("SB", {0, 1, 2, 3, 4}),
        ("LB", {0, 1, 2, 3, 4}),
        ("+LR", {1, 2}),
        ("+GBN", {2, 3}),
        ("+RA", {3, 4}),
    ],
)
def test_claims_wait_for_their_own_rungs_and_for_the_gap(good, without, waits):
    lost = {
        run.id
        for state in good.states
        if ladder.rung_of(state) == without
        for run in state.needed[-1:]
    }
    kept = {k: r for k, r in good.records.items() if k not in lost}
    said = words(dataclasses.replace(good, records=kept))
    assert {k for k, word in enumerate(said) if word == "not measured"} == waits
    assert all(word == words(good)[k] for k, word in enumerate(said) if k not in waits)
    title = figures.ladder(dataclasses.replace(good, records=kept)).layout.title.text
    assert title.endswith("(so far)") == (without in ("SB", "LB", "+RA"))


def test_figures_of_what_stands_about_the_ladder(whole, good):
    fig = figures.by_batch_size(whole)
    plain, adapted = fig.data
    assert [plain.name, adapted.name] == [
        "one recipe, equal epochs (H17's figure 1)",
        "equal updates, +RA (H17's figure 3)",
    ]
    assert list(plain.x) == [16, 32, 64, 128, 256, 512]
    assert list(plain.y) == pytest.approx([3, 4, 5, 6, 7, 8])
    assert list(adapted.x) == [256, 512]
    change = adapted.y[1] - adapted.y[0]
    assert fig.layout.title.text == (
        "The error changes by +5.00 points from B = 16 to 512 at equal epochs; "
        f"{change:+.2f} points from B = 256 to 512 at equal updates"
    )
    fig = figures.noise_and_rate(whole)
    assert [trace.name for trace in fig.data] == [
        f"{name}, B = 256" for name in ("neither", "the larger rate (+LR)", "noise")
    ]
    assert [trace.y[-1] for trace in fig.data] == pytest.approx([93, 95, 95])
    assert fig.layout.title.text == (
        "At the end: neither 93.0 %, the larger rate (+LR) 95.0 %, noise 95.0 %"
    )
    assert fig.data[0].x[-1] == 80
    for draw in (figures.by_batch_size, figures.noise_and_rate):
        assert draw(good) == ""
    assert sentences.switches(good) == ""
    assert sentences.gap_of_the_code(good) == sentences.other_tables(good) == ""
    assert figures.ladder(good).layout.title.text == (
        "Large batch: 6.8 points below the small one; with as many updates: 0.2 points above"
    )


def test_the_seeds_behind_a_word_are_the_fewest_of_what_it_compares():
    of = about(seeds=12)
    assert judged_as("no-gap-left", of).seeds == 10
    assert judged_as("error-rises-with-batch", of).seeds == 12
    assert "10 to 12 seeds a point, all kept" in tuned.provenance_line(of)


# --- How far the weights go -------------------------------------------------------------------

PLACES = {"SB": 20.0, "LB": 4.0, "+LR": 20.0, "+GBN": 20.0, "+RA": 20.0}
NO_LOSSES = {"SB": 90.0, "LB": 86.0, "+LR": 90.0, "+GBN": 90.0, "+RA": 90.0}
FAR = quantile(2) * 0.01 / math.sqrt(3)
"""Half of the interval of three log₂ ratios of distances that lie 0.01 apart."""


def gone(places, leads, apart=0.0, seeds=3):
    """The ladder whose rungs end so far from their start, with these accuracies.

    Ratios of the distance to SB's lie a hundredth of a binary logarithm apart from seed to seed,
    and accuracies so many points; both are far apart in themselves.
    """
    of = made(leads, seeds, 0.0)
    for record in of.records.values():
        rung, seed = rung_of(record.config), record.config.seed - 1
        off = 0.0 if rung == "SB" else seed
        record.curves["distance"][-1] = places[rung] * 2 ** (seed + 0.01 * off)
        record.metrics["test_accuracy"] += 3 * seed + apart * off
    return of


def test_distance_that_goes_with_the_gap_is_no_explanation_against_it():
    said = (
        "Distance goes with the gap here. After 244 updates the large batch (LB) ends nearer to "
        "the start than the small batch (SB) after 7,812, and loses points to it. That does not "
        "make distance the cause."
    )
    assert findings.distance_judged(gone(PLACES, NO_LOSSES)) == said
    both = gone({**PLACES, "+LR": 8.0}, {**NO_LOSSES, "+LR": 88.0})
    assert findings.distance_judged(both) == said.replace(
        "(LB) ends", "(LB) and the larger rate (+LR) end"
    ).replace("loses", "lose")


ONLY_LB = (
    "Of the recipes that lose points the large batch (LB) alone is sure to end nearer, as H17 "
    "pictures it."
)


@pytest.mark.parametrize("rung", ["+LR", "+GBN", "+RA"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_recipe_that_goes_as_far_and_loses_speaks_against_distance(rung, sign):
    loses = {**NO_LOSSES, rung: 88.0}
    edge = 20.0 * 2 ** (FAR - math.log2(1.1) + sign * JUST)
    said = findings.distance_judged(gone({**PLACES, rung: edge}, loses))
    after = "7,812" if rung == "+RA" else "244"
    assert said == (
        (
            f"Distance does not explain the gap here. After {after} updates {ladder.RECIPES[rung]} "
            "ends no nearer to the start than the small batch (SB) after 7,812, and still it loses "
            f"points to it. {ONLY_LB}"
        )
        if sign > 0
        else "Whether distance explains the gap is undecided here."
    )


@pytest.mark.parametrize(
    ("lead", "loses"),
    [
        (-0.5 + TENTH + JUST, False),
        (-0.5 + TENTH - JUST, True),
        (-TENTH - JUST, False),
        (-0.4, True),
    ],
)
def test_what_is_surely_within_half_a_point_loses_nothing(lead, loses):
    of = gone(PLACES, {**NO_LOSSES, "+LR": 90.0 + lead}, apart=0.1)
    assert ("still it loses" in findings.distance_judged(of)) == loses


@pytest.mark.parametrize(("apart", "loses"), [(0.3, True), (0.5, False)])
def test_only_a_sure_loss_is_one(apart, loses):
    lead = -quantile(2) * 0.4 / math.sqrt(3)
    of = gone(PLACES, {**NO_LOSSES, "+LR": 90.0 + lead}, apart=apart)
    assert ("still it loses" in findings.distance_judged(of)) == loses


def test_several_recipes_that_go_as_far_and_lose_are_told_together():
    of = gone({**PLACES, "+LR": 30.0}, {**NO_LOSSES, "+LR": 80.0, "+GBN": 82.0})
    assert findings.distance_judged(of) == (
        "Distance does not explain the gap here. After 244 updates the larger rate (+LR) and ghost "
        "batch norm (+GBN) end no nearer to the start than the small batch (SB) after 7,812, and "
        f"still they lose points to it. {ONLY_LB}"
    )


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("what", ["nearer", "no worse"])
def test_a_recipe_that_stays_near_and_loses_nothing_speaks_against_distance(what, sign):
    # Both margins, each from both of its sides: nearer by ten per cent, and no worse by a half.
    place, lead = 10.0, 90.0
    if what == "nearer":
        place = 20.0 * 2 ** (-FAR - math.log2(1.1) + sign * JUST)
    else:
        lead = 90.0 - 0.5 + TENTH - sign * JUST
    of = gone({**PLACES, "+GBN": place}, {**NO_LOSSES, "+GBN": lead}, apart=0.1)
    said = findings.distance_judged(of)
    against = "Distance does not explain the gap here. After 244 updates ghost batch norm (+GBN) "
    assert said.startswith(against) == (sign < 0)
    if sign < 0:
        assert said == (
            f"{against}ends nearer to the start than the small batch (SB) after 7,812, and is no "
            f"worse. {ONLY_LB}"
        )


def test_recipes_that_lose_and_stay_near_are_told_beside_one_that_goes_as_far():
    of = gone({**PLACES, "+LR": 8.0}, {**NO_LOSSES, "+LR": 88.0, "+GBN": 88.0})
    assert findings.distance_judged(of).endswith(
        "points to it. Of the recipes that lose points the large batch (LB) and the larger rate "
        "(+LR) alone are sure to end nearer, as H17 pictures it."
    )


def test_distance_has_nothing_to_explain_without_a_loss():
    assert findings.distance_judged(gone(PLACES, {**NO_LOSSES, "LB": 90.0})).startswith(
        "Distance does not explain the gap here. After 244 updates the large batch (LB) ends nearer"
    )
    assert findings.distance_judged(gone({**PLACES, "LB": 20.0}, dict.fromkeys(RUNGS, 90.0))) == ""
    lost = made({**GOOD, "+LR": math.inf})
    assert findings.distance_judged(lost) == "3 of 3 runs of the larger rate (+LR) diverged."


def test_distance_waits_for_the_rungs_but_the_last_and_takes_it_once_it_is_whole():
    of = gone({**PLACES, "+RA": 25.0}, {**NO_LOSSES, "+RA": 80.0})
    assert "+RA" in findings.distance_judged(of)
    part = {k: r for k, r in of.records.items() if rung_of(r.config) != "+RA"}
    some = {k: r for k, r in of.records.items() if r.config.epochs > 100 and r.config.seed < 2}
    part = dataclasses.replace(of, records=part | some)
    assert findings.distance_judged(part).startswith("Distance goes with the gap here.")
    waits = [s.sweep.key for s in of.part(findings.about_distance).states]
    assert waits == [ladder.at(rung) for rung in RUNGS[:4]]
    table = sentences.distance_table(part).set_index("Rung")
    assert dict(table.Seeds) == {**dict.fromkeys(RUNGS, "3"), "+RA": "2 of 3"}


def test_the_table_of_distances_is_over_all_seeds_that_have_the_curve():
    of = gone({**PLACES, "+LR": 10.0}, {**NO_LOSSES, "+LR": 88.0})
    table = sentences.distance_table(of).set_index("Rung")
    # Seeds at a half, once and twice the level.
    assert table["Distance at the end"]["SB"] == f"{20 * 3.5 / 3:.3g}" == "23.3"
    assert dict(table.Updates) == {**dict.fromkeys(RUNGS, "244"), "SB": "7,812", "+RA": "7,812"}
    ratio, lead = "Divided by SB's", "Accuracy minus SB's, in points"
    assert table[ratio]["+LR"] == f"0.5 [{0.5 * 2**-FAR:.3g}, {0.5 * 2**FAR:.3g}]"
    assert table[lead]["+LR"] == "-2.00 [-2.00, -2.00]"
    assert table[ratio]["SB"] == table[lead]["SB"] == ""
    for record in of.records.values():
        if rung_of(record.config) == "+LR" and record.config.seed == 2:
            del record.curves["distance"]
        if rung_of(record.config) == "+GBN":
            record.curves["distance"][-1] = None
    table = sentences.distance_table(of).set_index("Rung")
    assert list(table.index) == ["SB", "LB", "+LR", "+RA"]
    assert table.Seeds["+LR"] == "2"
    assert table["Distance at the end"]["+LR"] == f"{(5 * 2**0.0 / 2**0.01 + 10) / 2:.3g}"


def test_what_s20_has_at_equal_updates_is_what_its_table_prints():
    said = sentences.s20_at_equal_updates(made(GOOD))
    assert said == (
        "In S20's own table 1, at equal updates, a batch of H17's size, 4,096, reaches 94.7 %. "
        "That is 1.2 points more than 256, the smallest batch, and 0.2 points less than 2,048, the "
        "best. The largest, 32,768, reaches 89.9 %."
    )
    sizes = {
        state.needed[0].batch_size
        for state in Reading(study_of("generalization-gap", "paper"), {}).states
    }
    assert max(sizes) == printed("H17-protocol.large_batch").value


# --- Bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("small", "large", "model", "said"),
    [
        (128, 64, "f1", "the large batch, 64, is not larger than the small one, 128"),
        (128, 128, "f1", "the large batch, 128, is not larger than the small one, 128"),
        (48, 512, "f1", "ghosts of 48, the small batch, do not fit into a batch of 512"),
        (128, 4096, "vgg16", "H17's code has no regime for vgg16"),
    ],
)
def test_a_ladder_that_cannot_be_is_refused_in_a_line(
    monkeypatch, capsys, tmp_path, small, large, model, said
):
    base = {"dataset": "digits", "model": model}
    with pytest.raises(InputError, match=re.escape(said)):
        recipe(base, "LB", epochs=1.0, small=small, batch_size=large)
    wrong = functools.partial(grid.ladder, base, epochs=1.0, small=small, large=large)
    broken = dataclasses.replace(
        EXPERIMENTS["generalization-gap"], sweeps={"digits": wrong}, seeds={"digits": 2}
    )
    monkeypatch.setitem(EXPERIMENTS, "generalization-gap", broken)
    refused(capsys, said, "--scale", "digits", "--results", str(tmp_path))


def refused(capsys, said, *arguments):
    assert cli.main(["reproduce", "generalization-gap", "--no-render", *arguments]) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert (out, err.count("\n")) == ("", 1)


def test_half_of_the_large_batch_has_to_be_among_the_sizes():
    with pytest.raises(InputError, match="half of the large batch, 256, is not among"):
        grid.around(
            {"dataset": "digits", "model": "f1-64"},
            epochs=1.0,
            small=16,
            large=512,
            between=(32, 64),
            adapted=(),
            switched={},
        )


def test_without_its_data_the_ladder_says_what_to_do(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SGDNOISE_OFFLINE", "1")
    monkeypatch.setenv("SGDNOISE_DATA", str(tmp_path))
    monkeypatch.setattr(store, "SYSTEM_ROOTS", ())
    refused(
        capsys, "cifar10 is missing", "--scale", "cpu", "--jobs", "1", "--results", str(tmp_path)
    )
