"""Tables of the chapter on the critical learning rate, and its sentences with numbers in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from sgdnoise.chapters import EPSILON_CRIT, EPSILON_EFF, LAMBDA_MAX, folded, short, table
from sgdnoise.chapters import critical as chapter
from sgdnoise.papers.numbers import printed
from sgdnoise.theory.stability import (
    critical_effective_learning_rate,
    critical_learning_rate,
    trajectory,
)


def opening() -> Markdown:
    """What the first figure shows where its sliders stand at first."""
    learning_rate, momentum = 2.2, 0.5
    plain, heavy = (chapter.bowl_path(learning_rate, m)[2] for m in (0.0, momentum))
    assert plain > 1 > heavy  # or the sentence is not true
    limit, raised = (critical_learning_rate(1.0, m) for m in (0.0, momentum))
    return Markdown(
        f"**Gradient descent diverges past a learning rate of {limit:g}/{LAMBDA_MAX}, with "
        f"{LAMBDA_MAX} the largest curvature: here, at {learning_rate:g}/{LAMBDA_MAX}, the loss "
        f"grows {short(plain)} times in {chapter.BOWL_STEPS} steps. With momentum {momentum:g} the "
        f"limit is {raised:g}/{LAMBDA_MAX}, and the same learning rate shrinks the loss to "
        f"{short(heavy)} of what it was.**"
    )


def growths(largest_root: Callable[[float, float, float], float]) -> Styler:
    """How runs grow in the long run, beside the page's own root."""
    rows = []
    for learning_rate, momentum in [(1.9, 0.0), (2.1, 0.0), (2.1, 0.5), (3.7, 0.9), (3.9, 0.9)]:
        path = np.abs(trajectory(learning_rate, 1.0, momentum, steps=400))
        # The largest of 20 positions, because a swinging path passes through zero.
        growth = (path[-20:].max() / path[200:220].max()) ** (1 / 181)
        root = largest_root(learning_rate, 1.0, momentum)
        rows.append(
            {
                "ε λ": f"{learning_rate:g}",
                "m": f"{momentum:g}",
                "limit 2(1 + m)": f"{critical_learning_rate(1.0, momentum):g}",
                "growth a step, from the run": f"{growth:.4f}",
                "largest root": f"{root:.4f}",
                "stable": "yes" if root < 1 else "no",
            }
        )
    return table(rows)


def limits() -> Markdown:
    """How well the runs' limit agrees with the formula, and what it is at S20's momentum."""
    gain = {m: float(critical_effective_learning_rate(1.0, m)) / 2 for m, _, _ in chapter.limits()}
    m = printed("S20-protocol.momentum").value
    off = max(abs(found / exact - 1) for _, exact, found in chapter.limits())
    return Markdown(
        "The squares use no formula. They are the largest learning rates at which runs of 4,000 "
        "updates still shrink, found by bisection, and they agree with 2(1 + m)/λ to a relative "
        f"{off:.0e}. "
        f"At S20's momentum of {m:g} the limit on ε itself is {1 + m:g} times gradient descent's. "
        f"On the effective learning rate it is {gain[m]:.0f} times; at 0.95 it is "
        f"{gain[0.95]:.0f} times."
    )


def powers_of_kappa() -> Markdown:
    """How the best number of steps grows with the condition number."""
    kappas = np.array([10.0, 100.0, 1000.0])
    steps = [
        [float(chapter.steps_per_tenth(chapter.worst_radius(*best(k), k))) for k in kappas]
        for best in (chapter.plain_best, chapter.polyak)
    ]
    slopes = [np.polyfit(np.log(kappas), np.log(s), 1)[0] for s in steps]
    (first, last), (quick, still_quick) = ((s[0], s[-1]) for s in steps)
    return Markdown(
        f"From κ = {kappas[0]:g} to {kappas[-1]:,.0f} the steps grow from {first:.0f} to "
        f"{last:,.0f} without momentum and from {short(quick)} to {still_quick:.0f} with: powers "
        f"{slopes[0]:.2f} and {slopes[1]:.2f} of κ."
    )


def momentum_and_noise() -> Markdown:
    """Where momentum is level, ahead and behind under a budget of examples."""
    m = 0.9
    ratio = {b: chapter.over_plain(b, m) for b in chapter.BUDGET_BATCH_SIZES}
    ahead = [b for b in ratio if ratio[b] < 0.95]
    first, last = ahead[0], ahead[-1]
    lost = [b for b in ratio if b > last]
    behind = " and ".join(
        f"{ratio[b]:.1f} times at {b:,} ({chapter.BUDGET // b} updates)" for b in lost
    )
    small, large = chapter.BUDGET_MOMENTA[0], lost[-1]
    assert [b for b in ratio if first <= b <= last] == ahead  # or the sentences are not true
    assert min(ratio[b] for b in lost) > 1 > chapter.over_plain(large, small)
    return Markdown(
        f"Up to B = {last:,} it is as S20 says, and as its figure 1 shows for a network. At small "
        "batches both methods have the same best effective learning rate, in proportion to B, and "
        f"reach the same loss. Momentum {m:g} is ahead by more than 5 % from B = {first} to "
        f"{last:,}. At {first} SGD's best learning rate is "
        f"{chapter.tuned(first, 0.0).effective / 2:.2g} of its critical one.\n\n"
        "S20 does not say that this lead ends. It ends where a run has only a few times "
        f"1/(1 − m) = {1 / (1 - m):.0f} updates. There momentum {m:g} ends at a higher loss "
        f"than SGD: {behind}. A smaller momentum needs fewer updates: at {large:,} momentum "
        f"{small:g} ends at {chapter.over_plain(large, small):.2f} times SGD's loss."
    )


def tuned() -> Markdown:
    """Best learning rates and losses at every batch size."""
    rows = []
    for b in chapter.BUDGET_BATCH_SIZES:
        plain, heavy = chapter.tuned(b, 0.0), chapter.tuned(b, 0.9)
        rows.append(
            {
                "B": f"{b:,}",
                "steps": f"{chapter.BUDGET // b:,}",
                "best ε, SGD": f"{plain.effective:.3g}",
                f"best {EPSILON_EFF}, m = 0.9": f"{heavy.effective:.3g}",
                "loss, SGD": f"{plain.loss:.5f}",
                "loss, m = 0.9": f"{heavy.loss:.5f}",
                "ratio": f"{heavy.loss / plain.loss:.3f}",
            }
        )
    return folded(
        "SGD and momentum at every batch size",
        "The best learning rate under the budget of examples, and the loss at the end over that "
        "at the start.",
        table(rows),
    )


def where_the_agreement_stops() -> Markdown:
    """From which effective learning rate on path and noise of heavy ball differ from SGD's."""
    nine = next(gap for gap in chapter.gaps() if gap.momentum == 0.9)
    return Markdown(
        "Both differences shrink in proportion to the effective learning rate, so for small "
        f"learning rates S20 is right. But its condition {EPSILON_EFF} ≪ {EPSILON_CRIT} is the "
        "right one for the noise only. At m = 0.9 the path is off by a tenth already at "
        f"{EPSILON_EFF} = {nine.mean_at_tenth:.2g} {EPSILON_CRIT}, a learning rate "
        f"{nine.settled_at_tenth / nine.mean_at_tenth:.0f} times smaller than for the noise. From "
        f"{nine.swings:.2g} {EPSILON_CRIT} on heavy ball swings through the minimum, which SGD "
        "never does below half of its critical learning rate.\n\n"
        f"The condition for the path is {EPSILON_EFF}λ ≪ 1 − m: the direction must be slow beside "
        "the memory of the sum, some 1/(1 − m) updates. The final loss hardly suffers, because "
        "steep directions have long forgotten how they began."
    )


def gaps() -> Markdown:
    """The measured powers of both differences, and where each reaches a tenth."""
    rows = [
        {
            "m": f"{gap.momentum:g}",
            f"variance: power of {EPSILON_EFF}": f"{gap.settled_slope:.2f}",
            "variance: a tenth off at": f"{gap.settled_at_tenth:.3g}",
            f"path: power of {EPSILON_EFF}": f"{gap.mean_slope:.2f}",
            "path: a tenth off at": f"{gap.mean_at_tenth:.3g}",
            "path: swings at": f"{gap.swings:.2g}",
        }
        for gap in chapter.gaps()
    ]
    return folded(
        "Where path and variance part from SGD's, in numbers",
        f"The three columns with *at* give an effective learning rate, divided by {EPSILON_CRIT}. "
        "From it on the difference is a tenth or more, or the path swings.",
        table(rows),
    )


def ramp() -> Markdown:
    """How much of the effective learning rate a run has at three steps."""
    m, flat = 0.9, 1e-6  # a direction so flat that its gradient hardly changes
    length = -np.diff(trajectory(1.0, flat, m, steps=50)) / flat
    first, tenth, fiftieth = (length[k - 1] * (1 - m) for k in (1, 10, 50))
    return Markdown(
        f"A run of heavy ball along a nearly flat direction at m = {m:g} shows it: its first step "
        f"has {first:.0%} of the effective learning rate, the tenth {tenth:.0%}, the fiftieth "
        f"{fiftieth:.0%}."
    )
