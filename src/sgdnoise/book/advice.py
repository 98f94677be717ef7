"""Advice to a practitioner: questions, and for each word that their claims may get one sentence.

No sentence holds a number, and none is chosen but by a word, or by the sign that an effect surely
has whose size is undecided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sgdnoise.book.scorecard import JUDGED, Row
from sgdnoise.study.scales import SCALES

CAUTION = (
    "contradicted",
    "absent",
    "not measured",
    "not tested here",
    "undecided",
    "reproduced at another size",
    "reproduced",
)
"""The words from the one that says most against a claim on. Advice that rests on several claims
goes by the first of theirs."""


DECIDED = tuple(word for word in JUDGED if word != "undecided")
"""The words by which runs can tell."""


@dataclass(frozen=True)
class Rule:
    """A question of a practitioner, and an answer for each word that its claims may have.

    Attributes:
        question: what is asked, in a few words.
        rests_on: how the ids of the claims that the advice rests on begin, the first to be shown
            first.
        advice: by word, one sentence or two.
        beside: how the ids of claims that belong to it begin, and decide nothing of the advice.
        at_least: one sentence in place of that for `undecided`, where the effects of all the claims
            that it rests on surely lie above zero; empty where their sign is no advice.
    """

    question: str
    rests_on: tuple[str, ...]
    advice: Mapping[str, str]
    beside: tuple[str, ...] = ()
    at_least: str = ""


def _open(what: str, instead: str) -> dict[str, str]:
    """The sentences for the words that decide nothing: what is not known, and what is left to do.

    Args:
        what: that which is not known, after "whether".
        instead: what to do without knowing it.
    """
    return {
        "undecided": f"No rule: these runs cannot tell whether {what}. {instead}",
        "not tested here": f"No rule: no fair test has been made of whether {what}. {instead}",
        "not measured": f"No rule yet: nothing complete has been run that would tell whether "
        f"{what}. {instead}",
    }


RULES = (
    Rule(
        "Epochs fixed: which learning rate?",
        ("S20-F1c.linear-scaling.momentum", "S20-F1c.linear-scaling.sgd"),
        {
            "reproduced": "Double the learning rate when you double the batch size, up to the "
            "boundary.",
            "reproduced at another size": "Raise the learning rate with the batch size up to the "
            "boundary, but not by S20's factor: tune it.",
            "absent": "Leave the learning rate where it is when you change the batch size: the "
            "best one hardly moves.",
            "contradicted": "Do not raise the learning rate in proportion to the batch size: the "
            "best one moves otherwise. Tune it at each batch size.",
            **_open(
                "the best learning rate grows in proportion to the batch size",
                "Tune it at each batch size.",
            ),
        },
        (
            "S20-F1c.linear-scaling.training-sets",
            "S20-F1c.same-rate-below",
            "S20-F1a.accuracy-flat-below",
            "H17-T1.large-is-worse",
            "H17-T1.rate-helps",
        ),
        at_least="Raise the learning rate with the batch size, up to the boundary: the best one "
        "surely grows. Whether in proportion, these runs cannot tell: tune it.",
    ),
    Rule(
        "Up to which batch size (the boundary) does the best learning rate grow?",
        ("S20-F1c.momentum-scales-further",),
        {
            "reproduced": "Raise the learning rate further with momentum than without: the best "
            "one goes on growing beyond the batch size at which plain SGD's stops.",
            "reproduced at another size": "Raise the learning rate further with momentum than "
            "without: the best one grows to a larger batch size, though not by S20's factor.",
            "absent": "Do not count on momentum for larger batches: its learning rate stops "
            "growing where plain SGD's does.",
            "contradicted": "Do not use momentum to reach larger batches: its learning rate stops "
            "growing before plain SGD's does.",
            **_open(
                "the learning rate grows to a larger batch size with momentum than without",
                "Look for the boundary with your own optimiser.",
            ),
        },
        ("S20-F1c.flat-beyond", "S20-F1c.larger-rate-beyond", "S20-F1a.momentum-ahead-beyond"),
    ),
    Rule(
        "Updates fixed: which batch size?",
        ("S20-T1.largest-worse",),
        {
            "reproduced": "Do not take the largest batch that you can afford: the test accuracy "
            "falls beyond some batch size, however many examples you pay for.",
            "reproduced at another size": "Do not take the largest batch that you can afford: the "
            "test accuracy falls beyond some batch size, though not by as much as S20's.",
            "absent": "Take a large batch if you can afford one: the largest one tried loses no "
            "accuracy that matters. A small one may.",
            "contradicted": "Take the largest batch that you can afford: the largest one tried "
            "is the best.",
            **_open(
                "the largest batch is worse than the best one",
                "Try two batch sizes at the number of updates that you can afford.",
            ),
        },
        (
            "S20-T1.peak-inside",
            "S20-T1.loss-lower",
            "H17-T1.updates-help",
            "H17-T1.no-gap-left",
        ),
    ),
)
"""What the first page answers."""

WHICH_RATE, _, WHICH_BATCH = RULES

RECIPE = (
    Rule(
        "The number of epochs",
        ("S20-F1a.accuracy-flat-below",),
        {
            "reproduced": "Take any batch size below the boundary: with plain SGD and a tuned "
            "learning rate all of them reach the same accuracy.",
            "reproduced at another size": "Take any batch size below the boundary: they differ, "
            "but by less than S20's.",
            "absent": "Tune the batch size: no two reach the same accuracy.",
            "contradicted": "Tune the batch size, below the boundary too: the accuracy depends on "
            "it.",
            **_open(
                "all batch sizes below the boundary reach the same accuracy",
                "Try a smaller batch beside yours.",
            ),
        },
    ),
    Rule(
        "The number of updates",
        ("S20-T1.peak-inside",),
        {
            "reproduced": "Try batch sizes between the smallest and the largest: the best one lies "
            "inside.",
            "reproduced at another size": "Try batch sizes between the smallest and the largest: "
            "the best one lies inside, though by another margin than S20's.",
            "absent": "Do not look for a best batch size in between: at least one end of the range "
            "is as good.",
            "contradicted": "Go to an end of the range: the best batch size is not in between.",
            **_open(
                "the best batch size lies between the smallest and the largest",
                "Try three that are far apart.",
            ),
        },
    ),
    Rule(
        "Neither epochs nor updates: how long to train?",
        ("S20-F2.accuracy-saturates",),
        {
            "reproduced": "Stop once doubling the epochs gains nothing: the test accuracy "
            "saturates.",
            "reproduced at another size": "Stop once doubling the epochs gains little: the test "
            "accuracy saturates later than S20's.",
            "absent": "Watch the test accuracy: it does not level off as S20's does.",
            "contradicted": "Do not count on saturation: in some of these runs the last doubling "
            "of the epochs still moves the test accuracy.",
            **_open("the test accuracy saturates", "Double the epochs once, and look."),
        },
    ),
    Rule(
        "Neither epochs nor updates: which learning rate?",
        ("S20-F2.rate-for-test",),
        {
            "reproduced": "Keep the learning rate when you train for longer.",
            "reproduced at another size": "Change the learning rate a little when you train for "
            "longer.",
            "absent": "Tune the learning rate anew when you train for longer.",
            "contradicted": "Tune the learning rate anew when you train for longer: the best one "
            "moves.",
            **_open(
                "the best learning rate stays when you train for longer",
                "Tune it at the length at which you will train.",
            ),
        },
    ),
)
"""What to do under each budget, by what is fixed."""


def found(rows: Sequence[Row], prefixes: Sequence[str]) -> list[Row]:
    """The rows whose ids begin so, in the prefixes' order; without those that are elsewhere."""
    return [
        row
        for prefix in prefixes
        for row in rows
        if row["id"].startswith(prefix) and not row["elsewhere"]
    ]


@dataclass(frozen=True)
class Answer:
    """A rule with the words that its claims got.

    Attributes:
        rule: the question with its sentences.
        rows: of the claims that it rests on, the most cautious one of each scale that has runs,
            the scale that decides first; none where no scale is about it.
        above_zero: whether the effects of all these claims surely are, at the scale that decides.
    """

    rule: Rule
    rows: tuple[Row, ...]
    above_zero: bool = False

    @property
    def word(self) -> str:
        """The word that the advice goes by."""
        return str(self.rows[0]["verdict"]) if self.rows else "not measured"

    @property
    def advice(self) -> str:
        """The sentence of that word, or of the sign that its undecided effect surely has.

        Where that decides nothing, the words of smaller scales that do follow it.
        """
        said = self.rule.advice[self.word]
        if self.word != "undecided":
            return said
        if self.above_zero and self.rule.at_least:
            said = self.rule.at_least
        decided = [row for row in self.rows if row["verdict"] in DECIDED]
        can = [
            f"At the smaller scale {row['scale']} runs can tell: there the claim is "
            f"{row['verdict']}."
            for row in decided
        ]
        return " ".join([said, *can])


def answer(rule: Rule, rows: Sequence[Row]) -> Answer:
    """The advice goes by the largest scale whose runs have been asked; scales are not pooled."""
    mine = found(rows, rule.rests_on)
    by_scale = []
    for scale in SCALES:
        here = [row for row in mine if row["scale"] == scale]
        if here:
            by_scale.append(min(here, key=lambda row: CAUTION.index(row["verdict"])))
    judged = [row for row in by_scale if row["verdict"] in JUDGED]
    untested = [row for row in by_scale if row["verdict"] == "not tested here"]
    recorded = [row for row in by_scale if row["runs"]]
    leading = (judged[::-1] or untested[::-1] or recorded or by_scale)[:1]
    others = [row for row in recorded if row not in leading]
    deciding = [row for row in mine if leading and row["scale"] == leading[0]["scale"]]
    above = all(row["interval"] is not None and row["interval"][0] > 0 for row in deciding)
    return Answer(rule, (*leading, *others), above)
