"""The scorecard: every claim at every scale, judged on the records that are there."""

from __future__ import annotations

from typing import Any

from sgdnoise.analysis import Reading
from sgdnoise.experiments import check_scale, findings, studies
from sgdnoise.records.store import Store


def scorecard(
    store: Store, scale: str | None = None, paper: str | None = None
) -> list[dict[str, Any]]:
    """One row a claim and scale, in the experiments' order.

    Keys: id, paper, statement, where, scale, verdict, effect, interval, margin, seeds, why.

    Args:
        store: whose records judge.
        scale: one scale; None for all.
        paper: S20, H17 or G20; None for all.

    Raises:
        InputError: for an unknown scale, or a claim that no paper's list knows.
    """
    if scale is not None:
        check_scale(scale)
    rows = []
    for study in studies(scale):
        reading = Reading(study, store.read(*study.place))
        for claim in findings(study.experiment.name).CLAIMS:
            if paper is not None and not claim.id.startswith(paper):
                continue
            verdict = claim.judge(reading)
            rows.append(
                {
                    "id": claim.id,
                    "paper": claim.id.partition("-")[0],
                    "statement": claim.stated.statement,
                    "where": claim.stated.where,
                    "scale": study.scale,
                    "verdict": verdict.word,
                    "effect": verdict.effect,
                    "interval": None if verdict.interval is None else list(verdict.interval),
                    "margin": verdict.margin,
                    "seeds": verdict.seeds,
                    "why": verdict.why,
                }
            )
    return rows
