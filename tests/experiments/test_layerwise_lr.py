"""G20's figure 16 on made-up records: what is said where a claim holds, and where it does not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from made_up import reading

from sgdnoise.experiments.layerwise_lr import findings as layerwise
from sgdnoise.papers.numbers import printed


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


ERROR = 0.04 / math.sqrt(3) * math.sqrt(2)
"""Of a difference of two rules: fresh seeds at −0.04, 0 and +0.04."""


def as_g20_has_it(config):
    """LARS as good at any batch; MCLR falls off beyond 4,096, momentum beyond 1,024."""
    size = math.log2(config.batch_size)
    fall = {"mclr": 2 * max(0, size - 12), "sgd": 3 * max(0, size - 10)}
    best = {"sgd": 2, "percent-delta": 0}.get(config.optimizer, -2)
    return best, 93 - fall.get(config.optimizer, 0)


def made(peak, seeds=3, scale="gpu"):
    return reading("layerwise-lr", scale, seeds, reached(peak))


def judged(of):
    """The verdicts of the two claims of G20 and of the three rules against momentum."""
    return [claim.judge(of) for claim in layerwise.CLAIMS]


def of_rules(**points):
    """Every rule 93 at every batch size, but for those told: a number, or a function of the batch.

    `percent_delta` stands for the rule of that name.
    """

    def peak(config):
        off = points.get(config.optimizer.replace("-", "_"), 0)
        return 0, 93 + (off(config.batch_size) if callable(off) else off)

    return peak


@pytest.fixture(scope="module")
def g20():
    return made(as_g20_has_it)


def test_layerwise_claims_that_hold_are_shown(g20):
    alike, behind, *helps = judged(g20)
    assert alike.about == "MCLR is as good as LARS at B = 1,024"
    assert alike.why.endswith("within 1 point, shown.")
    assert (alike.word, alike.margin) == ("reproduced", layerwise.NEGLIGIBLE)
    assert behind.why.startswith("from B = 1,024 to 16,384 by -4.00 ± 0.05 points")
    assert behind.why.endswith("shown.")
    assert "not" not in behind.why
    assert (behind.word, behind.effect) == ("reproduced", pytest.approx(-4))
    # LARS helps at 16,384 alone; MCLR too, being worse than it, but better than momentum.
    ids = [claim.id for claim in layerwise.CLAIMS[2:]]
    assert ids == [f"S20-C3.{rule}-helps-large-only" for rule in ("lars", "percent-delta", "mclr")]
    assert [verdict.why.endswith("; shown.") for verdict in helps] == [True, True, True]
    assert [verdict.word for verdict in helps] == ["reproduced"] * 3
    assert [verdict.effect for verdict in helps] == pytest.approx([12, 12, 8])


def test_layerwise_claims_that_do_not_hold_are_not_shown():
    alike, *others = judged(made(of_rules(mclr=-3)))
    assert alike.why.endswith("more than 1 point apart, not reproduced.")
    assert alike.word == "contradicted"
    assert [verdict.why.endswith("not shown.") for verdict in others] == [True] * 4
    assert [verdict.word for verdict in others] == ["undecided"] * 3 + ["contradicted"]


@pytest.mark.parametrize(
    ("short", "word", "said"),
    [
        (0.9, "reproduced", "within 1 point, shown."),
        (0.97, "undecided", "too uncertain to tell whether within 1 point."),
        (1.03, "undecided", "too uncertain to tell whether within 1 point."),
        (1.1, "contradicted", "more than 1 point apart, not reproduced."),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_alike_means_within_a_point_by_two_standard_errors(short, word, said, sign):
    # The error of a difference is 0.033, twice it 0.065.
    alike = judged(made(of_rules(mclr=-sign * short)))[0]
    assert alike.word == word
    assert alike.why.endswith(said)
    assert alike.effect == pytest.approx(-sign * short)
    assert alike.interval == pytest.approx(
        (alike.effect - 2 * ERROR, alike.effect + 2 * ERROR), abs=1e-6
    )


def test_mclr_is_held_against_lars_at_g20s_batch_size():
    elsewhere = judged(made(of_rules(mclr=lambda size: 0 if size == 1024 else -5)))
    assert elsewhere[0].word == "reproduced"
    assert judged(made(of_rules(sgd=-5, percent_delta=-5)))[0].word == "reproduced"
    assert judged(made(of_rules(lars=-5)))[0].word == "contradicted"


@pytest.mark.parametrize(
    ("change", "word"), [(-2.1, "reproduced"), (-1.9, "undecided"), (2.1, "undecided")]
)
def test_mclr_falls_behind_by_two_standard_errors_or_not(change, word):
    # Of four means: the error is √2 of that of two.
    off = change * ERROR * math.sqrt(2)
    behind = judged(made(of_rules(mclr=lambda size: 3 + (off if size == 16384 else 0))))[1]
    assert behind.word == word
    assert behind.effect == pytest.approx(off)
    assert behind.why.endswith("; shown." if word == "reproduced" else "; not shown.")
    # LARS that gains is MCLR that loses.
    gains = judged(made(of_rules(lars=lambda size: -off if size == 16384 else 0)))[1]
    assert gains.word == word


@pytest.mark.parametrize("rule", ["lars", "percent-delta", "mclr"])
@pytest.mark.parametrize(
    ("small", "large", "word"),
    [
        (0.0, 2.1, "reproduced"),
        (1.9, 2.1, "reproduced"),
        (2.1, 2.1, "undecided"),
        (-5.0, 2.1, "reproduced"),
        (0.0, 1.9, "undecided"),
        (0.0, -1.9, "undecided"),
        (0.0, -2.1, "contradicted"),
        (2.1, -2.1, "contradicted"),
    ],
)
def test_a_rule_helps_at_large_batches_only(rule, small, large, word):
    def off(size):
        return ERROR * {512: small, 16384: large}.get(size, 0)

    number = ("lars", "percent-delta", "mclr").index(rule)
    verdicts = judged(made(of_rules(**{rule.replace("-", "_"): off})))[2:]
    assert verdicts[number].word == word
    assert verdicts[number].effect == pytest.approx(large * ERROR)
    assert all(v.word == "undecided" for k, v in enumerate(verdicts) if k != number)


def test_a_rule_that_helps_everywhere_is_not_what_s20_expects():
    lars = judged(made(lambda config: (0, 90 + (2 if config.optimizer == "lars" else 0))))[2]
    assert "+2.00 ± 0.03 points over momentum at B = 512, +2.00 ± 0.03 at 16,384" in lars.why
    assert lars.why.endswith("; not shown.")
    assert lars.word == "undecided"


def test_a_single_seed_gives_numbers_and_no_verdict():
    one = made(as_g20_has_it, seeds=1)
    assert [verdict.word for verdict in judged(one)] == ["undecided"] * 5
    assert all("single seed has no spread" in verdict.why for verdict in judged(one))
    assert "(one seed) at 2" in layerwise.table(one).to_string()


def test_a_rule_that_is_lost_at_a_batch_size_leaves_no_fair_test():
    def lars_is_lost(config):
        if config.optimizer == "lars" and config.batch_size == 4096:
            return -99, 93
        return 0, 93

    of = made(lars_is_lost)
    assert {verdict.word for verdict in judged(of)} == {"not tested here"}
    assert judged(of)[0].why == "at some batch size every rate of a rule diverged."
    assert "all diverged" in layerwise.table(of).to_string()


def test_a_difference_is_that_of_fresh_seeds_with_its_standard_error(g20):
    fresh = {}
    for rule in ("mclr", "lars"):
        key = (("method", rule), ("batch_size", 16384))
        (state,) = [s for s in g20.states if s.sweep.key == key]
        runs = [g20.records[run].metrics["test_accuracy"] for run in state.fresh_runs]
        mean = sum(runs) / 3
        fresh[rule] = (mean, sum((r - mean) ** 2 for r in runs) / 2 / 3)
    found = layerwise._ahead(g20, "mclr", "lars", 16384)
    assert found.value == pytest.approx(fresh["mclr"][0] - fresh["lars"][0])
    assert found.error == pytest.approx(math.sqrt(fresh["mclr"][1] + fresh["lars"][1]))


def test_the_layerwise_figures_draw_what_they_say(g20):
    steps = layerwise.steps_away(g20)
    assert {-1, 0, 1} <= set(steps)
    assert layerwise.measured_sizes(g20) == [512, 1024, 4096, 8192, 16384]
    at_best = layerwise.away_from_tuned(g20, 0)
    for dotted, line in zip(at_best.data[::2], at_best.data[1::2], strict=True):
        assert list(dotted.y) == pytest.approx(list(line.y))
    off = layerwise.away_from_tuned(g20, 1)
    assert all(
        b < a for d, e in zip(at_best.data[1::2], off.data[1::2], strict=True)
        for a, b in zip(d.y, e.y, strict=True) if math.isfinite(b)
    )  # fmt: skip
    swept = layerwise.sweep_at(g20, 1024)
    lines = [trace for trace in swept.data if trace.mode == "lines"]
    assert len(lines) == 4
    for trace in lines:
        best = max(y for y in trace.y if math.isfinite(y))
        assert trace.x[list(trace.y).index(best)] == 1.0
    runs = [trace for trace in swept.data if trace.mode == "markers"]
    assert len(runs) == 4
    assert all(set(trace.customdata) <= set(g20.records) for trace in runs)
    assert len(layerwise.table(g20)) == 5


def test_batch_sizes_are_scaled_to_a_smaller_training_set():
    alike, behind, *_ = judged(made(as_g20_has_it, seeds=2, scale="cpu"))
    # 1,024 of 50,000 is 102 of 5,000: 128 is the nearest; 2,048 is beyond 8,192's share.
    assert alike.about == "MCLR is as good as LARS at B = 128"
    assert behind.why.startswith("from B = 128 to 2,048")
    assert "beyond any here" not in behind.why


def test_a_grid_that_ends_before_g20s_large_batches_says_so(g20, monkeypatch):
    assert "beyond any here" not in layerwise.falls_behind(g20).why
    # G20's sizes for 2.5 times as many images: its limit becomes 20,480.
    monkeypatch.setattr(
        layerwise, "printed", lambda name: replace(printed(name), value=2.5 * printed(name).value)
    )
    assert layerwise.falls_behind(g20).why.endswith(" G20 speaks of batches beyond any here.")
