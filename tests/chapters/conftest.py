"""Tuned curves of the noisy quadratic model, for its tests."""

from __future__ import annotations

import pytest

from sgdnoise.chapters import noisy_quadratic as chapter
from sgdnoise.chapters.noisy_quadratic import CONSTANT, DECAYED, METHODS, SOME, Curves, model, tuned
from sgdnoise.theory import nqm


@pytest.fixture(scope="session")
def curves() -> dict[tuple[str | int, str], Curves]:
    """Constant epochs at both schedules and constant steps at one, for both methods."""
    budgets = {("epochs", s): (chapter.BUDGETS["32 epochs"], s) for s in (CONSTANT, DECAYED)}
    budgets |= {(t, CONSTANT): (nqm.StepBudget(t), CONSTANT) for t in (250, 16000)}
    return {
        key: {m.name: tuned(model(), b, SOME, m.momentum, s) for m in METHODS}
        for key, (b, s) in budgets.items()
    }


@pytest.fixture(scope="session")
def to_target() -> Curves:
    """The least steps to the target at five batch sizes."""
    sizes = [1, 64, 1024, 4096, 65536]
    budget = nqm.UnlimitedBudget(chapter.TARGET)
    return {m.name: tuned(model(), budget, sizes, m.momentum) for m in METHODS}
