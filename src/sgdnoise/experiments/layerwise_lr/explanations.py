"""What is left of G20's explanation that steps which vanish are why large batches lose.

The sentences, from words alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sgdnoise.analysis.intervals import COVERAGE
from sgdnoise.phrases import enumerated
from sgdnoise.study.scales import NAMES

AGAINST = ("absent", "contradicted")
"""The words that deny an effect."""


def of_vanishing(
    words: Mapping[str, tuple[str, str]],
    ends: tuple[int, int],
    less: Sequence[str],
    left: Mapping[str, str],
    compared: int = 1,
) -> str:
    """The sentences, from each rule's words: that its step shrinks, and that it loses accuracy.

    Args:
        words: of each rule that can be judged.
        ends: the smallest batch size and the largest.
        less: the rules that lose less than momentum.
        left: for some rules, why nothing can be said of them.
        compared: how many rules were asked whether they lose less, which Bonferroni corrects for.
    """
    steady = {rule: loses for rule, (shrinks, loses) in words.items() if shrinks in AGAINST}
    shrinking = [loses for shrinks, loses in words.values() if shrinks == "reproduced"]
    between = f"from B = {ends[0]:,} to {ends[1]:,}"
    losing = [rule for rule, loses in steady.items() if loses == "reproduced"]
    if losing:
        return (
            f"**Vanishing steps are not all of it**: {between} the first update at the tuned rate "
            f"does not surely shrink with {_listed(losing)}, by intervals of {100 * COVERAGE:g} %, "
            "and accuracy is still lost. That may be for want of updates alone."
            + _better(less, losing, compared)
            + _left_out({rule: pair for rule, pair in words.items() if rule not in losing}, left)
        )
    if steady and set(steady.values()) <= set(AGAINST) and "reproduced" in shrinking:
        return (
            f"**Vanishing steps remain a possible explanation**: {between} the rules whose first "
            "update does not surely shrink lose nothing, and one whose update shrinks does."
            + _left_out({rule: p for rule, p in words.items() if p[0] == "undecided"}, left)
        )
    listed = "; ".join(f"{NAMES[r]} {shrinks} and {loses}" for r, (shrinks, loses) in words.items())
    return (
        f"**Whether vanishing steps are the explanation is not decided**: {between} the verdicts "
        f"on shrinking steps and on lost accuracy are, by rule, {listed or 'not to be had'}."
    )


def _listed(rules: Sequence[str]) -> str:
    return enumerated(NAMES[rule] for rule in rules)


def _better(less: Sequence[str], losing: Sequence[str], compared: int) -> str:
    """With which rules less is lost than with momentum, those that a finding leaves out apart."""
    mine, others = ([r for r in less if (r in losing) == of] for of in (True, False))
    if not less:
        return ""
    level = f"{100 * (1 - (1 - COVERAGE) / compared):.4g} %"
    asked = f"{level}, as Bonferroni's correction for {compared} rules asks"
    surely = f"less is lost than with momentum, surely so at {asked if compared > 1 else level}"
    if not mine:
        return f" With {_listed(others)}, left out here, {surely}."
    more = f" So it is with {_listed(others)}, left out here." if others else ""
    return f" With {_listed(mine)} {surely}.{more}"


def _left_out(words: Mapping[str, tuple[str, str]], left: Mapping[str, str]) -> str:
    """Which rules a finding leaves out, each with the reason."""
    shrinking = {
        "reproduced": "whose first update shrinks",
        "undecided": "whose first update may shrink",
    }
    why = {
        rule: shrinking.get(shrinks, f"whose loss of accuracy is {loses}")
        for rule, (shrinks, loses) in words.items()
    } | dict(left)
    listed = "; ".join(f"{NAMES[rule]}, {reason}" for rule, reason in why.items())
    return f" Left out: {listed}." if listed else ""
