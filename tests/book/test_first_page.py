"""The first page: each word its sentence, the numbers those of the records, and what is missing."""

from __future__ import annotations

import html
import itertools
import json
import re
from pathlib import Path

import nbformat
import pytest
from book.test_scorecard import Seen, row
from book.test_text_stays_text import NASTY
from experiments.test_discriminating import ending
from made_up import filled, noisy, record, two_regimes

from sgdnoise.analysis import Reading
from sgdnoise.analysis.intervals import COVERAGE
from sgdnoise.book import first_page, inventory
from sgdnoise.book.advice import CAUTION, DECIDED, RECIPE, RULES, answer
from sgdnoise.book.scorecard import WORDS, scorecard
from sgdnoise.claims import HELD
from sgdnoise.experiments import EXPERIMENTS, findings, study_of
from sgdnoise.figures.forest import anchor
from sgdnoise.papers.numbers import stated
from sgdnoise.records.store import Store

NOTEBOOK = Path(__file__).parents[2] / "book" / "intro.ipynb"
EVERY = [*RULES, *RECIPE]


def claim_of(rule, word, **changes):
    return row(id=rule.rests_on[0], verdict=word, **changes)


# --- A word and its sentence ----------------------------------------------------------------------


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.question)
def test_a_rule_has_a_sentence_of_its_own_for_every_word(rule):
    assert set(rule.advice) == set(WORDS) == set(CAUTION)
    assert len(set(rule.advice.values())) == len(WORDS)
    for word in ("undecided", "not tested here", "not measured"):
        assert rule.advice[word].startswith("No rule")
    for word in set(WORDS) - {"undecided", "not tested here", "not measured"}:
        assert not rule.advice[word].startswith("No rule")


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.question)
def test_the_word_chooses_the_sentence_on_the_page(rule, word):
    shown = first_page.rules if rule in RULES else first_page.recipe
    text = Seen(shown([claim_of(rule, word, interval=[-0.5, 0.5])])).text
    assert rule.advice[word] in text
    assert f"{word} at digits" in text
    for other in set(WORDS) - {word, "not measured"}:
        assert rule.advice[other] not in text


def test_no_sentence_has_a_number():
    said = [
        text for rule in EVERY for text in [rule.question, rule.at_least, *rule.advice.values()]
    ]
    assert not any(re.search(r"\d", text.replace("S20", "")) for text in said)


def test_every_claim_of_a_rule_is_one_that_an_experiment_judges():
    ids = [claim.id for name in EXPERIMENTS for claim in findings(name).CLAIMS]
    for prefix in (p for rule in EVERY for p in (*rule.rests_on, *rule.beside)):
        assert any(claim.startswith(prefix) for claim in ids), prefix


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(CAUTION, 2)))
def test_advice_on_two_claims_goes_by_the_one_that_says_more_against_it(one, other):
    rule = RULES[0]
    rows = [row(id=rule.rests_on[k], verdict=w) for k, w in enumerate((one, other))]
    assert answer(rule, rows).word == one
    rows = [row(id=rule.rests_on[k], verdict=w) for k, w in enumerate((other, one))]
    assert answer(rule, rows).word == one


def test_the_largest_scale_with_a_word_decides_and_the_others_stand_beside_it():
    rule = RULES[2]
    some = [
        claim_of(rule, "reproduced"),
        claim_of(rule, "undecided", scale="cpu"),
        claim_of(rule, "not measured", scale="gpu", runs=None, page=None),
    ]
    found = answer(rule, some)
    assert [r["scale"] for r in found.rows] == ["cpu", "digits"]
    assert found.advice.startswith(rule.advice["undecided"])
    some[1]["verdict"] = "not measured"
    assert answer(rule, some).advice == rule.advice["reproduced"]
    some[1]["verdict"] = "not tested here"
    assert answer(rule, some).advice == rule.advice["reproduced"]
    some[0]["verdict"] = "not measured"
    assert answer(rule, some).advice == rule.advice["not tested here"]
    some[1]["elsewhere"] = True
    assert answer(rule, some).advice == rule.advice["not measured"]
    assert answer(rule, []).advice == rule.advice["not measured"]


@pytest.mark.parametrize("word", WORDS)
def test_where_the_largest_scale_cannot_tell_the_sentence_has_the_smaller_ones_word(word):
    rule, said = (
        RULES[2],
        (f" At the smaller scale digits runs can tell: there the claim is {word}."),
    )
    some = [claim_of(rule, word), claim_of(rule, "undecided", scale="cpu", interval=[-0.5, 0.5])]
    assert answer(rule, some).advice == rule.advice["undecided"] + said * (word in DECIDED)
    # Where it can, that is the answer.
    some[1]["verdict"] = "reproduced"
    assert answer(rule, some).advice == rule.advice["reproduced"]
    # A sign that is sure stands before it too.
    rate = RULES[0]
    some = [claim_of(rate, word), claim_of(rate, "undecided", scale="cpu", interval=[0.7, 1.2])]
    assert answer(rate, some).advice == rate.at_least + said * (word in DECIDED)


@pytest.mark.parametrize(
    ("intervals", "word", "surely"),
    [
        (((0.7, 1.2), (0.6, 1.4)), "undecided", True),
        (((0.7, 1.2), (0.0, 1.4)), "undecided", False),
        (((-0.1, 1.2), (0.6, 1.4)), "undecided", False),
        (((-1.2, -0.7), (-1.4, -0.6)), "undecided", False),
        (((0.7, 1.2), None), "undecided", False),
        (((0.7, 1.2), (0.6, 1.4)), "reproduced", False),
        (((0.7, 1.2), (0.6, 1.4)), "contradicted", False),
    ],
)
def test_a_sign_that_is_sure_is_advice_where_the_size_is_undecided(intervals, word, surely):
    rule = RULES[0]
    some = [
        row(id=claim, verdict=word, interval=interval and list(interval))
        for claim, interval in zip(rule.rests_on, intervals, strict=True)
    ]
    # Another scale, which decides nothing, has no say.
    some.append(claim_of(rule, "not measured", scale="gpu", interval=None, runs=None, page=None))
    found = answer(rule, some)
    assert found.word == word
    assert found.advice == (rule.at_least if surely else rule.advice[word])
    # What another question's sign would mean is no advice.
    other = RULES[2]
    here = answer(other, [claim_of(other, "undecided", interval=[0.7, 1.2])])
    assert here.advice == other.advice["undecided"]


def test_a_word_of_the_other_method_says_so():
    momentum, sgd = (f"S20-F1c.linear-scaling.{method}" for method in ("momentum", "sgd"))
    text = Seen(
        first_page.rules(
            [
                row(id=momentum, verdict="undecided", statement=stated(momentum).statement),
                row(
                    id=sgd,
                    verdict="not tested here",
                    scale="cpu",
                    statement=stated(sgd).statement,
                ),
            ]
        )
    ).text
    assert "Elsewhere: " in text
    assert "not tested here at cpu, SGD" in text
    assert "undecided at digits," not in text


def test_every_other_scale_and_method_stands_beside_the_first():
    momentum, sgd = (f"S20-F1c.linear-scaling.{method}" for method in ("momentum", "sgd"))
    words = {
        (momentum, "digits"): "undecided",
        (momentum, "cpu"): "contradicted",
        (sgd, "digits"): "reproduced",
        (sgd, "cpu"): "not tested here",
    }
    some = [
        row(id=name, scale=scale, verdict=word, statement=stated(name).statement)
        for (name, scale), word in words.items()
    ]
    some.append(row(id=sgd, scale="gpu", verdict="not measured", runs=None, page=None))
    text = Seen(first_page.rules(some)).text
    assert "contradicted at cpu" in text.partition("Elsewhere: ")[0]
    beside = text.partition("Elsewhere: ")[2].partition("Measured on")[0]
    for said in ("undecided at digits", "reproduced at digits, SGD", "not tested here at cpu, SGD"):
        assert beside.count(said) == 1
    assert "contradicted" not in beside
    assert "gpu" not in text


def test_the_words_of_the_numbers_stand_over_the_answers():
    shown = first_page.rules([claim_of(RULES[0], "undecided")]).data
    over = shown.partition("<ol>")[0]
    assert f"Brackets are {100 * COVERAGE:.0f} % intervals." in over
    assert "Fresh seeds are runs that the tuning never saw." in over


def test_a_word_of_another_net_says_which():
    ids = {"cpu": "S20-F2.rate-for-test.norm", "digits": "S20-F2.rate-for-test.plain"}
    some = [
        row(id=name, scale=scale, verdict="undecided", statement=stated(name).statement)
        for scale, name in ids.items()
    ]
    text = Seen(first_page.recipe(some)).text
    assert "undecided at cpu " in text
    assert "undecided at digits, with weight decay" in text


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.question)
def test_no_word_of_another_claim_goes_unlabelled(rule):
    """Claims that one line shows differ in how their statements end."""
    ids = [claim.id for name in EXPERIMENTS for claim in findings(name).CLAIMS]
    ids = [name for name in dict.fromkeys(ids) if name.startswith(rule.rests_on)]
    ends = [stated(name).statement.partition(", ") for name in ids]
    assert len({end for *_, end in ends}) == len(ids)
    assert len(ids) == 1 or all(end for *_, end in ends)


# --- What carries a rule --------------------------------------------------------------------------


def test_claims_at_equal_epochs_stand_with_the_epochs_and_not_with_the_updates():
    ids = ["S20-F1c.linear-scaling.training-sets", "H17-T1.large-is-worse", "H17-T1.rate-helps"]
    some = [row(id=name, statement=stated(name).statement) for name in ids]
    epochs, _, updates = first_page.carried(some).data.split("</section>")[:3]
    for one in some:
        assert one["statement"] in html.unescape(epochs)
        assert one["statement"] not in html.unescape(updates)


def test_every_claim_shows_its_word_its_numbers_and_leads_to_its_row():
    some = [
        row(id="S20-T1.largest-worse", why="it is +1.25 points. About 9 seeds more.", page="a/b"),
        row(id="H17-T1.large-is-worse", verdict="undecided", scale="cpu", why="none is."),
        row(id="H17-T1.large-is-worse", verdict="not measured", scale="gpu", runs=None, page=None),
    ]
    seen = Seen(first_page.carried(some))
    assert "It is +1.25 points. About 9 seeds more." in seen.text
    assert "reproduced at digits" in seen.text
    assert "undecided at cpu" in seen.text
    assert "gpu" not in seen.text
    links = seen.all("a", "href")
    assert {f"scorecard.html#{anchor(r)}" for r in some[:2]} <= set(links)
    assert "../a/b" in links
    assert "gpu: none yet." in Seen(first_page.carried([some[2] | {"why": "none yet."}])).text
    short = Seen(first_page.rules(some)).text
    assert "It is +1.25 points." in short
    assert "9 seeds" not in short


@pytest.mark.parametrize("text", NASTY)
def test_text_stays_text(text):
    def tags(said):
        some = [row(id=r.rests_on[0], statement=said, where=said, why=said) for r in EVERY]
        shown = (first_page.rules, first_page.carried, first_page.recipe)
        return [tag for show in shown for tag, _ in Seen(show(some)).tags]

    plain = [tag for tag in tags("plain") if tag not in ("code", "strong")]
    assert [tag for tag in tags(text) if tag not in ("code", "strong")] == plain


# --- On records -----------------------------------------------------------------------------------


def slower(config, rate):
    """Another law: the tuned rate grows with the root of the batch size."""
    return 97 - 0.4 * (rate + 3 - 0.5 * (config.batch_size.bit_length() - 1)) ** 2


@pytest.fixture(scope="module", params=[two_regimes, slower], ids=["two regimes", "a root"])
def made(request, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("results"))
    study = study_of("constant-epoch", "digits")
    store.append(*study.place, filled(study, noisy(request.param)).values())
    return request.param, store


def test_the_numbers_are_those_of_the_records(made):
    law, store = made
    rows, reading = scorecard(store), first_page.epoch_budget(store)
    fit = reading.regimes["momentum"]
    text = Seen(first_page.rules(rows)).text
    assert str(fit.slope) in text
    assert (f"{fit.slope.value:.1f}" == "1.0") == (law is two_regimes)
    (found,) = [r for r in rows if r["id"].startswith(RULES[0].rests_on[0]) and r["runs"]]
    said = answer(RULES[0], rows)
    assert said.rows[0]["verdict"] in WORDS
    assert said.advice in text
    assert str(fit.slope) in found["why"]
    assert (said.advice == RULES[0].advice["reproduced"]) == (law is two_regimes)
    assert "4,810 parameters" in text
    assert str(fit.slope) in first_page.boundaries(reading).data


def test_what_was_run_is_counted(made):
    _, store = made
    said = first_page.scales(store).data
    records = store.read("digits", "constant-epoch")
    assert f"`digits`: {len(records):,} runs of an MLP 64-64-10" in said
    assert "No run comes from a GPU." in said
    assert "Nothing has been run yet at scale `cpu` or `gpu` or `paper`." in said


def test_the_first_page_counts_the_runs_that_the_page_of_provenance_counts(tmp_path):
    def fill(name, scale, configs):
        store.append(scale, name, [record(c, lambda _: {"test_accuracy": 90.0}) for c in configs])

    def asked(name, scale):
        return study_of(name, scale).needed({})

    store = Store(tmp_path)
    others = {config.id for config in asked("discriminating", "cpu")}
    shared = next(c for c in asked("constant-step", "cpu") if c.id in others)
    for name in ("constant-step", "discriminating"):
        fill(name, "cpu", [shared])
    some = {("constant-epoch", "digits"): 5, ("parts-checked", "cpu"): 2}
    for place, many in some.items():
        first, *_ = configs = asked(*place)[:many]
        fill(*place, [*configs, first.replace(learning_rate=0.123)])  # which no grid asks for
    said = first_page.scales(store).data
    assert "- `digits`: 5 runs of " in said
    assert "- `cpu`: 1 runs of " in said
    assert "- 2 more runs check parts of the code." in said
    assert inventory.summary(store).startswith(
        "**8 runs** are recorded that the grids ask for, and 2 that no grid asks for any more;"
    )


def test_an_empty_store_says_what_is_missing(tmp_path):
    store = Store(tmp_path)
    rows, reading = scorecard(store), first_page.epoch_budget(store)
    text = Seen(first_page.rules(rows)).text
    assert text.count("No rule yet") == len(RULES)
    assert "Nothing has been run yet" in text
    assert Seen(first_page.recipe(rows)).text.count("No rule yet") == len(RECIPE)
    assert "not measured" in Seen(first_page.carried(rows)).text
    missing = first_page.boundaries(reading).data
    assert "`sgdnoise reproduce constant-epoch --scale digits`" in missing
    assert "Nothing has been run yet" in first_page.scales(store).data
    for word in HELD:
        for rule in EVERY:
            assert rule.advice[word] not in text


def test_half_a_sweep_has_no_boundary(made, tmp_path):
    _, store = made
    half = list(store.read("digits", "constant-epoch").values())[::2]
    part = Store(tmp_path)
    part.append("digits", "constant-epoch", half)
    assert "Not all of it" in first_page.boundaries(first_page.epoch_budget(part)).data


def test_where_they_disagree_a_sentence_a_paper_always_stands(tmp_path):
    study, store = study_of("discriminating", "cpu"), Store(tmp_path)

    def sentences():
        reading = Reading(study, store.read(*study.place))
        return [f"- {one}" for one in findings(study.experiment.name).which_held(reading)]

    asked = len(study.needed({}))
    missing = "behind this are missing, which `sgdnoise reproduce discriminating --scale cpu` makes"
    *held, blank, said = first_page.disagreement(store).data.splitlines()
    assert held == sentences()
    assert [line[2:5] for line in held] == ["S20", "H17", "G20"]
    assert all(": this is not measured yet, because " in line for line in held)
    assert blank == ""
    # Until the gap is known, the arms wait for it.
    follow = " If they show a gap, more follow: the runs that could close it."
    assert said == f"*{asked:,} of {asked:,} runs {missing}.{follow}*"
    *some, last = filled(study, ending()).values()
    store.append(*study.place, some)
    *held, blank, said = first_page.disagreement(store).data.splitlines()
    # Fresh seeds are asked for as the grids are done.
    assert said == f"*1 of {len(some) + 1} runs {missing}.*"
    assert held == sentences()
    assert blank == ""
    store.append(*study.place, [last])
    said = first_page.disagreement(store).data.splitlines()
    assert said == sentences()
    assert [line[2:5] for line in said] == ["S20", "H17", "G20"]


# --- The notebook ---------------------------------------------------------------------------------


def test_no_result_is_typed_in_the_notebook():
    book = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in book.cells)
    prose = " ".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    prose = re.sub(r"\$.*?\$|(smith|hoffer|gao| )20(17|20)\b|[SHG][12]\d", "", prose)
    assert not re.search(r"\d", prose)
    for word in WORDS[:5]:
        assert word not in prose
    assert "first_page.rules(rows)" in json.dumps(book)


def test_a_newcomer_reads_first_which_papers_these_are():
    first = nbformat.read(NOTEBOOK, as_version=4).cells[0].source
    title, papers, *_ = filter(None, first.splitlines())
    assert title.startswith("# ")
    names = {"S20": "Smith", "H17": "Hoffer", "G20": "Gao"}
    assert all(f"{paper} ({name}" in papers for paper, name in names.items())
    assert first.index("Three papers disagree") < first.index("What should I do")


@pytest.mark.parametrize("name", ["intro", "scorecard"])
def test_that_slopes_and_boundaries_are_exploratory_stands_beside_them(name):
    book = nbformat.read(NOTEBOOK.with_name(f"{name}.ipynb"), as_version=4)
    show = {"intro": "first_page.boundaries", "scorecard": "claims_list"}[name]
    at = next(k for k, cell in enumerate(book.cells) if show in cell.source)
    beside = book.cells[at - 1].source
    assert "are exploratory: their estimator was changed after runs had been seen" in beside
    assert "papermill_runs/digits/constant-epoch.ipynb" in beside
