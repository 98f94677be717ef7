"""What a notebook starts from: what it says of whole, partial and no records."""

from __future__ import annotations

import math
from dataclasses import replace

import made_up
import pandas as pd
import plotly.graph_objects as go
import pytest
from IPython.display import HTML, Markdown
from made_up import noisy, two_regimes

from sgdnoise.analysis.reading import MAIN_PARTS
from sgdnoise.book.page import Page
from sgdnoise.errors import InputError
from sgdnoise.experiments import EXPERIMENTS, study_of
from sgdnoise.figures.explorer import Explorer
from sgdnoise.figures.tuned import provenance_line, source
from sgdnoise.papers.numbers import stated
from sgdnoise.records.store import Store

SEEDS = 5
CONSTANT_EPOCH = EXPERIMENTS["constant-epoch"]


def page(store, seeds=SEEDS, name="constant-epoch"):
    study = study_of(name, "digits", seeds)
    return Page(study, store.read(*study.place), store.root)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return made_up.fill(folder, CONSTANT_EPOCH, "digits", SEEDS, noisy(two_regimes))


@pytest.fixture
def part(tmp_path, whole):
    store = Store(tmp_path)
    records = whole.read("digits", "constant-epoch")
    store.append("digits", "constant-epoch", [r for r in records.values() if r.config.seed < 3])
    return store


def test_a_partial_sweep_says_how_far_it_is(whole, part):
    some = page(part)
    wanted = some.study.needed(some.records)
    asked, there = len(wanted), sum(run.id in some.records for run in wanted)
    assert 0 < there < asked
    assert "Shown are" not in some.coverage.data
    assert some.coverage.data.endswith(
        f"\n**{there:,} of {asked:,} runs** that are asked for so far have been made, and 22 of 22 "
        "sweeps are not complete. Verdicts rest on complete sweeps only; what figures and tables "
        "show of the others is provisional. `sgdnoise reproduce constant-epoch --scale digits` "
        "finishes them."
    )
    all_of_it = page(whole).coverage.data
    assert all_of_it.endswith("Shown are **5 of 15 seeds**.")
    assert "complete" not in all_of_it
    assert all_of_it.startswith(f"**Scale `digits`.** {page(whole).study.leaves_out}")
    assert Page.load("constant-epoch", "digits", None, str(part.root)).study.seeds == 15


ABSURD = [0, -1, 1000, 10**400, 10**5000, math.nan, math.inf, 2.5, True, "3"]


@pytest.mark.parametrize("seeds", ABSURD, ids=range(len(ABSURD)))
def test_seeds_that_cannot_be_are_refused_and_none_is_the_default(whole, seeds):
    with pytest.raises(InputError, match="seeds must be a whole number from 1 to 999") as caught:
        Page.load("constant-epoch", "digits", seeds, str(whole.root))
    assert len(str(caught.value)) < 200
    assert Page.load("constant-epoch", "digits", 999, str(whole.root)).study.seeds == 999


def test_an_empty_store_still_has_a_page(tmp_path):
    p = page(Store(tmp_path))
    assert f"**0 of {len(p.missing):,} runs** that are asked for so far" in p.coverage.data
    assert "no runs recorded yet" in provenance_line(p)
    assert source(p).records is None
    nothing = "*Not yet measured at scale `digits`.*"
    drawn = [p.show(never), p.verdicts(), p.words, p.slide(never, [1, 2], "Look.")]
    assert [said.data for said in drawn] == [nothing] * 4
    assert p.judge(never).data.startswith("**Nothing to say yet**")


def never(*_):
    raise AssertionError("drawn of nothing")


def test_where_the_records_are_is_said(whole):
    said = page(whole).sources.data
    assert f"`{whole.root.name}/digits/constant-epoch.jsonl`" in said
    assert "`sgdnoise reproduce constant-epoch --scale digits`" in said
    assert "some of" not in said


def test_where_shared_records_are_is_said(tmp_path, whole):
    store = Store(tmp_path / "kept")
    records = whole.read("digits", "constant-epoch")
    store.append("digits", "theirs", records.values())
    store.share_missing("digits", "constant-epoch", "theirs", records)
    shared = page(store)
    assert shared.records.keys() == records.keys()
    assert shared.sources.data.startswith(
        "The records behind this page are the lines of `kept/digits/constant-epoch.jsonl`, and "
        "some of `kept/digits/theirs.jsonl`, one a run, and "
    )


def test_verdicts_are_the_claims_lines_or_those_of_a_prefix(whole):
    p = page(whole)
    lines = p.verdicts().data.splitlines()
    assert len(lines) == len(p.claims) > 9
    for text, claim in zip(lines, p.claims, strict=True):
        word, why = claim.judge(p).word, claim.judge(p).why
        assert text == f"- **{claim.stated.statement}**: *{word}*. {why[0].upper()}{why[1:]}"
    assert p.verdicts("S20-F1c").data.splitlines() == lines[:6]
    assert p.verdicts("S20-C2", "S20-E3").data.splitlines() == lines[-3:]


@pytest.mark.parametrize(("more", "stands"), [("More of it.", True), ("", False), (None, False)])
def test_what_a_finding_is_told_with_stands_under_its_verdict(whole, monkeypatch, more, stands):
    shown = []
    monkeypatch.setattr("sgdnoise.book.page.display", lambda *some: shown.extend(some))
    p, claim = page(whole), "S20-F1c.flat-beyond"
    p.opening(lambda _: go.Figure(), claim, more=None if more is None else lambda _: more)
    head, fig, words = shown
    assert head.data == p._headline(claim) + ("\n\nMore of it." if stands else "")
    assert isinstance(fig, go.Figure)
    assert words.data == p.words.data


def test_the_words_stand_over_all_claims_once(whole):
    p = page(whole)
    said = p.words.data
    for claim in p.claims:
        word = claim.judge(p).word
        (row,) = [r for r in said.splitlines() if r.startswith(f"- *{word.capitalize()}*: ")]
        assert claim.stated.statement in row.partition(": ")[2].split("; ")
    assert sum(len(r.split("; ")) for r in said.splitlines()) == len(p.claims)


def test_what_an_absent_claim_holds_for_is_said_with_its_word(whole):
    p = page(whole)
    mixed = {"word": "absent", "in_part": "B = 256"}
    p.__dict__["_judged"] = [(claim, replace(verdict, **mixed)) for claim, verdict in p.judged]
    (row,) = p.words.data.splitlines()
    for claim, _ in p.judged:
        assert f"{claim.stated.statement} (but it holds for B = 256)" in row
    mixed["word"] = "undecided"
    p.__dict__["_judged"] = [(claim, replace(verdict, **mixed)) for claim, verdict in p.judged]
    assert "it holds for" not in p.words.data


def test_that_another_size_is_one_of_the_effect_is_said(whole):
    p = page(whole)
    word = "reproduced at another size"
    p.__dict__["_judged"] = [(claim, replace(verdict, word=word)) for claim, verdict in p.judged]
    (row,) = p.words.data.splitlines()
    said = "(the sign is the paper's, the size of the effect is not)"
    assert row.startswith(f"- *Reproduced at another size* {said}: ")


def test_what_a_scale_has_no_sweeps_for_is_left_out(tmp_path):
    store = made_up.fill(
        tmp_path,
        EXPERIMENTS["unlimited-epochs"],
        "digits",
        2,
        noisy(lambda config, rate: 98 - 0.4 * (rate + 2) ** 2),
    )
    p = page(store, 2, "unlimited-epochs")
    said = p.verdicts().data
    for suffix, there in (("norm", 0), ("no-norm", 0), ("plain", 1), ("no-decay", 1)):
        assert said.count(f"- **{stated(f'S20-F2.rate-for-test.{suffix}').statement}") == there
    assert len(said.splitlines()) == 11
    # Asked for by name, it is said instead of an empty cell.
    name = "S20-F2.rate-for-test.norm"
    why = "This scale has no such sweeps."
    asked = p.verdicts(name).data
    assert asked == f"- **{stated(name).statement}**: *not tested here*. {why}"


def test_from_parts_and_of_a_single_seed_nothing_is_judged(whole, part, tmp_path):
    waiting = "22 of 22 sweeps are not complete."
    lines = page(part).verdicts().data.splitlines()
    assert len(lines) == len(page(part).claims)
    assert all(line.endswith(f"*not measured*. {waiting}") for line in lines)
    assert page(part).judge(never).data == f"**Nothing to say yet**: {waiting}"
    single = "**No verdict**: a single seed has no spread to judge by."
    one = made_up.fill(tmp_path / "one", CONSTANT_EPOCH, "digits", 1, noisy(two_regimes))
    assert page(one, 1).verdicts().data == page(one, 1).words.data == single
    assert page(whole).judge(lambda reading: reading.study.scale).data == "digits"
    # A sentence waits for its own sweeps alone, and not where the scale has none of them.
    some = page(part).states[:3]
    about = [state.sweep.key for state in some]
    said = page(part).judge(never, about.__contains__).data
    assert said == "**Nothing to say yet**: 3 of 3 sweeps are not complete."
    said = page(part).judge(never, about.__contains__, "this").data
    assert said == "**Nothing to say yet of this**: 3 of 3 sweeps are not complete."
    assert (
        page(part).judge(lambda _: "there are none.", lambda key: False).data == "there are none."
    )


def on_gpu(of, keep):
    """The page with the runs of some sweeps, by their keys, from a GPU."""
    ids = {run.id for state in of.states if keep(dict(state.sweep.key)) for run in state.needed}
    records = {
        id: replace(one, provenance={**one.provenance, "device": "NVIDIA H200"})
        if id in ids
        else one
        for id, one in of.records.items()
    }
    return Page(of.study, records, of.root)


def test_no_sentence_compares_devices(whole):
    """Nor does any verdict: the reason is the claims' own."""
    two = on_gpu(page(whole), lambda key: key["batch_size"] > 8)
    verdict = two.claims[0].judge(two)
    assert verdict.why == "its records mix devices, CPU and GPU: train them on one."
    assert two.judge(never).data == f"**Nothing to say yet**: {verdict.why}"

    def of_some(key):
        return dict(key)["batch_size"] in (8, 16)

    said = two.judge(never, of_some, "this").data
    assert said == f"**Nothing to say yet of this**: {verdict.why}"
    # Sweeps that are all of one device are told, whatever others are of.
    assert two.judge(lambda _: "told", lambda key: dict(key)["batch_size"] > 8).data == "told"
    assert two.judge(lambda _: "told", lambda key: dict(key)["batch_size"] <= 8).data == "told"


def test_a_sentence_of_all_sweeps_tells_variants_of_two_devices_each_by_itself(tmp_path):
    hill = noisy(lambda config, rate: 98 - 0.4 * (rate + 2) ** 2)
    store = made_up.fill(tmp_path, EXPERIMENTS["unlimited-epochs"], "digits", 2, hill)
    one = page(store, 2, "unlimited-epochs")
    first, *_ = one.variants
    assert len(one.variants) > 1

    def is_first(key):
        return set(first) <= set(key.items()) and len(first) == len(set(key) - set(MAIN_PARTS))

    two = on_gpu(one, is_first)
    assert two.devices == ["CPU", "GPU"]
    assert two.judge(lambda _: "told").data == "told"
    # A sentence that names its sweeps is about all of them at once.
    assert "mix devices" in two.judge(never, lambda key: True).data
    for some in (is_first, lambda key: not is_first(key)):
        within = on_gpu(one, lambda key, some=some: key["epochs"] > 100 and some(key))
        assert "mix devices" in within.judge(never).data


def test_no_words_are_no_output(whole):
    """An empty one would stand in the page as the name of its Python object."""
    assert page(whole).judge(lambda reading: "") is None
    assert page(whole).show(lambda reading: "") is None


def test_what_is_drawn_is_shown_as_what_it_is(whole):
    p = page(whole)
    assert isinstance(p.show(lambda reading: "text"), Markdown)
    assert isinstance(p.show(lambda reading: pd.DataFrame({"a": [1]})), HTML)
    fig = go.Figure()
    assert (
        p.show(lambda reading, x, y: fig if (reading, x, y) == (p, 1, 2) else None, 1, y=2) is fig
    )


def moved(reading, value):
    return go.Figure(go.Scatter(y=[value**2]))


def test_a_slider_needs_two_values(whole):
    p = page(whole)
    assert p.slide(moved, [], "Look.", label="v").data.startswith("*Not yet measured")
    assert list(p.slide(moved, [3], "Look.", label="v").data[0].y) == [9]
    two = p.slide(moved, [2, 3, 4], "Look.", label="v", value=4)
    assert isinstance(two, Explorer)
    assert two.values == {"value": 4}
    assert two.frame(value=3)["data"][0]["y"] == [9]
    # A value to start at that is not measured does not count.
    assert p.slide(moved, [2, 3, 4], "Look.", label="v", value=7).values == {"value": 3}
