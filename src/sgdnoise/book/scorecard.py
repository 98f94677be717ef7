"""The scorecard: every claim at every scale, judged on the records that are there, and counted."""

from __future__ import annotations

import difflib
import itertools
import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import Any, TypeAlias, get_args

from sgdnoise.analysis import Reading
from sgdnoise.checkout import roots
from sgdnoise.claims import HELD, Claim, Verdict, Word
from sgdnoise.errors import InputError, shown
from sgdnoise.experiments import EXPERIMENTS, check_scale, findings, studies
from sgdnoise.papers.numbers import claims, own, stated, waiting
from sgdnoise.records.find import SHIPPED
from sgdnoise.records.store import Store
from sgdnoise.study.scales import SCALES
from sgdnoise.study.study import Study

Row: TypeAlias = dict[str, Any]
"""A claim at a scale: see `scorecard`."""

WORDS: tuple[str, ...] = get_args(Word)
JUDGED = WORDS[: WORDS.index("not tested here")]
"""The words that records have been asked for; the last two say that they have not."""

PAPERS = ("S20", "H17", "G20")
ALPHA = 0.05
"""The chance that Holm's rule allows of even one false rejection among all claims."""


def scorecard(
    store: Store,
    scale: str | None = None,
    paper: str | None = None,
    claim: str | None = None,
    refused: Callable[[str], object] = lambda complaint: None,
) -> list[Row]:
    """One row a claim and scale, in the experiments' order; last the claims that nothing tests yet.

    Such a claim has one row, whose scale is empty: a scale that is asked for leaves it out.

    Keys: id, paper, statement, about (the statement as it reads at this size, where it differs),
    where, scale, verdict, effect, interval, margin, band (the effects that the margin counts as
    none; None for an open end), printed and unit (which these five are in), p, seeds, why,
    elsewhere (whether this scale has nothing that the claim is about), experiment (which may still
    have to be written), page and runs (in the built book, from its top; None where nothing is
    recorded), code (the predicate's file and name; empty where there is none yet).

    Args:
        store: whose records judge.
        scale: one scale; None for all.
        paper: S20, H17 or G20; None for all.
        claim: the id of one claim; None for all.
        refused: is given each of the store's complaints about a record, one line.

    Raises:
        InputError: for an unknown scale, a claim that no paper's list knows, or one that does not
            stand at this scale.
    """
    if scale is not None:
        check_scale(scale)
    if claim is not None:
        check_claim(claim)
        if paper is not None and not claim.startswith(f"{paper}-"):
            raise InputError(f"{claim} is no claim of {paper}: leave one of the two out")

    def wanted(name: str) -> bool:
        return claim in (None, name) and (paper is None or name.startswith(f"{paper}-"))

    rows = []
    for study in studies(scale):
        module = findings(study.experiment.name)
        asked = [one for one in module.CLAIMS if wanted(one.id)]
        if not asked:
            continue
        reading = Reading(study, store.read(*study.place))
        lost = _lost(study, store)
        for complaint in store.complaints:
            refused(complaint)
        for one in asked:
            verdict = one.judge(reading)
            if verdict.word == "not measured":
                verdict = replace(verdict, why=verdict.why + lost)
            rows.append(_row(one, verdict, reading, module))
    if scale is None:
        rows += [_waits(name) for name in waiting() if wanted(name)]
    if claim is not None and scale is not None and not rows:
        raise InputError(f"{claim} does not stand at scale {scale}: {_stands_at(claim)}")
    return rows


def _stands_at(claim: str) -> str:
    """The scales at which experiments test a claim, as a clause."""
    modules = {name: findings(name) for name in EXPERIMENTS}
    scales = dict.fromkeys(
        study.scale
        for study in studies()
        if any(one.id == claim for one in modules[study.experiment.name].CLAIMS)
    )
    return f"it stands at {', '.join(scales)}" if scales else "no experiment tests it yet"


def check_claim(claim: str) -> None:
    """Refuses an id that no paper's list has.

    Raises:
        InputError: the nearest ids are listed.
    """
    known = claims()
    if claim in known:
        return
    near = difflib.get_close_matches(claim, known, n=3, cutoff=0.5)
    near = near or [name for name in known if name.startswith(claim)][:3]
    hint = f"the nearest are {', '.join(near)}" if near else "`sgdnoise claims` lists all"
    raise InputError(f"no claim is called {shown(claim)}: {hint}")


def _lost(study: Study, store: Store) -> str:
    """What is said of lines that are no sound records, when the store has just been read."""
    lines = len(store.complaints)
    if not lines:
        return ""
    many = "1 line of its records is" if lines == 1 else f"{lines} lines of its records are"
    command = study.command + _named(store)
    return f" {many} not sound: `{command}` sets them aside and trains those runs."


def _named(store: Store) -> str:
    """The option that names a store to `sgdnoise reproduce`; empty for one that it takes anyway."""
    root = store.root.resolve()
    own = (SHIPPED, *(folder / "results" for folder in roots()))
    if any(root == folder.resolve() for folder in own):
        return ""
    return f" --results {shlex.quote(str(root))}"


def _row(claim: Claim, verdict: Verdict, reading: Reading, module: ModuleType) -> Row:
    study = reading.study
    # Where nothing is recorded a claim is not measured, also one that this scale is not for.
    elsewhere = (
        verdict.elsewhere
        or bool(claim.scales and study.scale not in claim.scales)
        or not claim.there(reading)
    )
    return _made(
        claim.id,
        verdict,
        scale=study.scale,
        elsewhere=elsewhere,
        experiment=study.experiment.name,
        page=_address("papermill_runs", study) if reading.records else None,
        runs=_address("records", study) if reading.records else None,
        code=_code(claim.predicate, module),
    )


def _waits(claim: str) -> Row:
    """The row of a claim that no predicate judges yet."""
    name = stated(claim).waits_for
    what = f"more sweeps of {name}" if name in EXPERIMENTS else name
    verdict = Verdict("not measured", f"no experiment tests it yet: it waits for {what}.")
    return _made(
        claim, verdict, scale="", elsewhere=False, experiment=name, page=None, runs=None, code=""
    )


def _made(claim: str, verdict: Verdict, **where: Any) -> Row:
    said = stated(claim)
    return {
        "id": claim,
        "paper": claim.partition("-")[0],
        "statement": said.statement,
        "about": verdict.about,
        "where": said.where,
        "verdict": verdict.word,
        "effect": verdict.effect,
        "interval": None if verdict.interval is None else list(verdict.interval),
        "margin": verdict.margin,
        "band": None if verdict.band is None else list(verdict.band),
        "unit": verdict.unit,
        "printed": verdict.printed,
        "p": verdict.p,
        "seeds": verdict.seeds,
        "why": verdict.why,
        **where,
    }


def _address(folder: str, study: Study) -> str:
    return f"{folder}/{study.scale}/{study.experiment.name}.html"


def _code(predicate: Callable[..., Any], module: ModuleType) -> str:
    """A predicate's file in the repository and its name; what a factory made is its findings'."""
    while isinstance(predicate, partial):
        predicate = predicate.func
    name = getattr(predicate, "__qualname__", "")
    home = getattr(predicate, "__module__", module.__name__)
    named = name and "<" not in name
    path = (home if named else module.__name__).replace(".", "/")
    return f"src/{path}.py" + (f", {name}" if named else "")


# --- Counts: what the first page and the head of the scorecard say ------------------------------


@dataclass(frozen=True)
class Counts:
    """How often each word comes out.

    Attributes:
        claims: different claims.
        own: of these, this book's own extensions.
        rows: claims, each counted at every scale that is about it.
        words: rows by word, in the order of `WORDS`; all of them are there.
        tested: rows that were judged with a p-value, over which Holm's rule goes.
        untested: rows that are reproduced, by a verdict that has no p-value.
        corrected: rows that stay reproduced under Holm's rule.
    """

    claims: int
    own: int
    rows: int
    words: dict[str, int]
    tested: int
    untested: int
    corrected: int

    @property
    def judged(self) -> int:
        """Rows with a word about the claim itself, *undecided* among them."""
        return sum(self.words[word] for word in JUDGED)

    @property
    def held(self) -> int:
        """Rows that are reproduced, also at another size."""
        return sum(self.words[word] for word in HELD)


def about_here(rows: Sequence[Row]) -> list[Row]:
    """The rows without those whose scale has nothing that the claim is about."""
    return [row for row in rows if not row["elsewhere"]]


def counts(rows: Sequence[Row], family: Sequence[Row] | None = None) -> Counts:
    """The words counted, and what of *reproduced* survives Holm's rule.

    Args:
        rows: of `scorecard`; what is `elsewhere` does not count.
        family: all rows that were looked at together, over which the rule goes; `rows` unless
            given. A part of the scorecard is counted with the whole as its family.
    """
    here = about_here(rows)
    every = here if family is None else about_here(family)
    tested = [row for row in every if _tested(row)]
    rejected = holm([row["p"] for row in tested])
    kept = {_key(row) for row, out in zip(tested, rejected, strict=True) if out}
    words = [row["verdict"] for row in here]
    held = [row for row in here if row["verdict"] in HELD]
    ids = {row["id"] for row in here}
    return Counts(
        claims=len(ids),
        own=len(ids & set(own())),
        rows=len(here),
        words={word: words.count(word) for word in WORDS},
        tested=sum(map(_tested, here)),
        untested=sum(not _tested(row) for row in held),
        corrected=sum(_key(row) in kept for row in held),
    )


def counts_by(rows: Sequence[Row]) -> dict[tuple[str, str], Counts]:
    """`counts` of each paper at each scale that has any, no scale last; Holm's goes over all."""
    there = {(row["paper"], row["scale"]) for row in about_here(rows)}
    return {
        place: counts([row for row in rows if (row["paper"], row["scale"]) == place], rows)
        for place in itertools.product(PAPERS, (*SCALES, ""))
        if place in there
    }


def _tested(row: Row) -> bool:
    return row["verdict"] in JUDGED and row["p"] is not None and math.isfinite(row["p"])


def _key(row: Row) -> tuple[str, str]:
    return row["id"], row["scale"]


def holm(p: Sequence[float], alpha: float = ALPHA) -> list[bool]:
    """Which hypotheses Holm's step-down rule rejects, the chance of any false one at most alpha.

    The k-th smallest of m is held to alpha / (m − k + 1); the first that fails ends it.
    """
    rejected = [False] * len(p)
    for place, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[index] > alpha / (len(p) - place):
            break
        rejected[index] = True
    return rejected


def headline_counts(rows: Sequence[Row]) -> str:
    """The scorecard in a few sentences of Markdown: words, and multiplicity corrected."""
    found = counts(rows)
    if not found.judged:
        return f"**None of {found.claims} claims has been judged yet.**"
    also = found.words["reproduced at another size"]
    size = f" ({also} of them at another size)" if also else ""
    judged = [f"{found.held} reproduced{size}", *_tallies(found, JUDGED[len(HELD) :])]
    others = _tallies(found, WORDS[len(JUDGED) :])
    left = found.rows - found.judged
    parts = [
        f"**{found.held} of {found.judged} judgements find the claim reproduced.**",
        f"There are {found.claims} claims, and each counts once at every scale that is about it: "
        f"{found.rows} in all.",
        f"Of these, {found.judged} are judged: {', '.join(judged)}.",
        f"The other {left} are not: {', '.join(others)}." if left else "",
        _of_the_claims(sum(not row["scale"] for row in rows), "not tested by anything yet"),
        _of_the_claims(found.own, "no paper's, but this book's own extensions"),
        _multiplicity(found),
    ]
    return " ".join(filter(None, parts))


def _tallies(found: Counts, words: Sequence[str]) -> list[str]:
    return [f"{found.words[word]} {word}" for word in words if found.words[word]]


def _of_the_claims(many: int, what: str) -> str:
    return f"{many} of the claims {'is' if many == 1 else 'are'} {what}." if many else ""


def _multiplicity(found: Counts) -> str:
    if not found.tested:
        return "No verdict has a p-value, so nothing is corrected for how many there are."
    have = "has no p-value and cannot be counted as staying"
    if found.untested != 1:
        have = "have no p-value and cannot be counted as staying"
    lacking = f" {found.untested} of the {found.held} {have}." if found.untested else ""
    return (
        f"With Holm's correction over the {found.tested} judgements that have a p-value, "
        f"{found.corrected} of {found.held} stay reproduced.{lacking}"
    )
