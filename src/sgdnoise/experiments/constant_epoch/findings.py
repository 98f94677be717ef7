"""What the records say of S20's figure 1."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from sgdnoise.analysis.regimes import Regimes
from sgdnoise.analysis.tuning import Tuning
from sgdnoise.experiments import METHODS, Key
from sgdnoise.figures.tuned import NAMES, groups
from sgdnoise.papers.numbers import printed


def boundary_table(regimes: Mapping[str, Regimes]) -> pd.DataFrame:
    """Slope and boundary of each method with their intervals, beside S20's statements."""
    rows = []
    for method, fit in regimes.items():
        rows.append(
            {
                "method": NAMES[method],
                "slope below the boundary": str(fit.slope),
                "slope, S20": f"{printed('S20-F1.slope').value:g}",
                "boundary batch size": str(fit.boundary) if fit.flat_seen else "no flat part seen",
                "boundary, S20 (its own net)": printed("S20-F1.boundary").value,
                "learning rate beyond it": str(fit.level),
            }
        )
    return pd.DataFrame(rows)


def constant_epoch_verdicts(optima: pd.DataFrame, regimes: Mapping[str, Regimes]) -> str:
    """What of S20's figure 1 these records show and what not, from the numbers; Markdown."""
    lines = []
    sgd, momentum = regimes["sgd"], regimes["momentum"]
    for method, fit in regimes.items():
        one = fit.slope
        if one.low <= 1 <= one.high:
            verdict = "the interval holds 1."
        elif abs(one.value - 1) <= 0.2:
            verdict = "near 1, but the interval excludes it."
        else:
            pace = "more slowly" if one.value < 1 else "faster"
            verdict = f"it grows {pace} than the batch size."
        lines.append(f"- **Linear scaling, {NAMES[method]}**: the slope is {one}; {verdict}")
    if sgd.flat_seen and momentum.boundary.low > sgd.boundary.high:
        lines.append(
            f"- **Momentum scales further**: its learning rate stops growing at B ≈ "
            f"{momentum.boundary.value:.0f}, plain SGD's at {sgd.boundary.value:.0f}, "
            "and the intervals do not touch."
        )
    else:
        lines.append(
            "- **Momentum scales further**: the intervals of the two boundaries overlap, or one "
            "was not seen; this was not shown."
        )
    wide = optima.pivot(index="batch_size", columns="method")
    gap = wide["test_accuracy_fresh"]["momentum"] - wide["test_accuracy_fresh"]["sgd"]
    error = np.sqrt(
        sum(wide["test_accuracy_fresh_std"][m] ** 2 / wide["fresh_seeds"][m] for m in METHODS)
    )
    below = gap.index <= sgd.boundary.low
    alike = (gap.abs() <= 2 * error)[below]
    ahead = (gap > 2 * error)[gap.index >= 4 * sgd.boundary.value]
    lines.append(
        "- **Below the boundary the methods agree**: within two standard errors "
        + _at_how_many(alike)
    )
    lines.append(
        "- **At four times the boundary and beyond, momentum is ahead**: by more than two standard "
        "errors " + _at_how_many(ahead)
    )
    small = wide["test_accuracy_fresh"]["sgd"][below]
    if len(small) > 1:
        lines.append(
            f"- **Below the boundary accuracy does not depend on B**: plain SGD's lies between "
            f"{small.min():.2f} and {small.max():.2f} %, and at the largest batch it is "
            f"{wide['test_accuracy_fresh']['sgd'].iloc[-1]:.2f} %."
        )
    return "\n".join(lines)


def _at_how_many(holds: pd.Series) -> str:
    if not len(holds):
        return "cannot be said: no batch size that was tried lies there."
    return f"at {int(holds.sum())} of {len(holds)} batch sizes."


def _error(values: np.ndarray) -> float:
    """Standard error of the mean."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values))


def noise_dominated_sentence(tuned: Mapping[Key, Tuning]) -> str:
    """Whether the smallest batch is in the noise-dominated regime, and how that was seen; Markdown.

    There the temperature ε/B alone decides. So the two smallest batch sizes are compared at equal
    temperature: at the smaller one's best learning rate, over all seeds, and at the ones below.
    """
    lines = []
    for group in groups(tuned, "batch_size"):
        mine = group.tunings(tuned)
        small, large = sorted(mine)[:2]
        shift = np.log2(large / small)
        first, second = mine[small], mine[large]
        best = first.state.tuned.get("test_accuracy")
        if best is None:
            continue
        differences, at_best = [], None
        for row, exponent in enumerate(first.exponents):
            twin = np.flatnonzero(second.exponents == exponent + shift)
            if not len(twin):
                continue
            a, b = (t[np.isfinite(t)] for t in (first.table[row], second.table[twin[0]]))
            if min(len(a), len(b)) < 2:
                continue
            gap = float(b.mean() - a.mean())
            error = math.hypot(_error(a), _error(b))
            if exponent <= best.point[0]:
                differences.append(abs(gap))
            if exponent == best.point[0]:
                at_best = (gap, error)
        if at_best is None:
            lines.append(
                f"- {group.name}: B = {small:,} and {large:,} share no learning rate at equal "
                f"temperature with the best of B = {small:,}; not checked."
            )
            continue
        gap, error = at_best
        lines.append(
            f"- {group.name}: at the temperature that is best at B = {small:,}, the accuracy at "
            f"B = {large:,} is {gap:+.2f} ± {error:.2f} points away (all seeds, standard error): "
            + ("no difference shows." if abs(gap) <= 2 * error else "they differ.")
            + f" Over the {len(differences)} shared temperatures up to that one, the largest "
            f"distance is {max(differences):.2f} points."
        )
    return "\n".join(lines)


def method_gaps(tuned: Mapping[Key, Tuning]) -> pd.DataFrame:
    """Momentum's test accuracy less plain SGD's at equal effective learning rate, by batch size.

    Columns: `batch_size`, `rates` (the shared learning rates up to plain SGD's best), `gap` (mean
    over them, in points) and `error` (standard error, of all seeds there are).
    """
    rows = []
    for group in groups(tuned, "batch_size"):
        if group.of != (("method", "sgd"),):
            continue
        for size, plain in group.tunings(tuned).items():
            heavy = tuned.get((("method", "momentum"), ("batch_size", size)))
            best = plain.state.tuned.get("test_accuracy")
            if heavy is None or best is None:
                continue
            pairs = [
                (plain.table[row], heavy.table[twin[0]])
                for row, exponent in enumerate(plain.exponents)
                if exponent <= best.point[0]
                and len(twin := np.flatnonzero(heavy.exponents == exponent))
            ]
            whole = [pair for pair in pairs if np.isfinite(pair).all() and len(pair[0]) > 1]
            if whole:
                gaps = [b.mean() - a.mean() for a, b in whole]
                error = math.hypot(*(_error(values) for pair in whole for values in pair)) / len(
                    whole
                )
                rows.append((size, len(whole), float(np.mean(gaps)), error))
    return pd.DataFrame(rows, columns=["batch_size", "rates", "gap", "error"])


def momentum_sentence(tuned: Mapping[Key, Tuning]) -> str:
    """Whether momentum changes anything at the smallest batch, and from which on; Markdown."""
    gaps = method_gaps(tuned).sort_values("batch_size")
    if gaps.empty:
        return ""
    first = gaps.iloc[0]
    same = abs(first.gap) <= 2 * first.error
    # Many batch sizes are looked at, and one in twenty would differ by two errors by chance.
    differing = gaps[gaps.gap.abs() > 3 * gaps.error]
    text = (
        f"- At B = {first.batch_size:,.0f}, momentum is {first.gap:+.2f} ± {first.error:.2f} "
        f"points away from plain SGD at equal effective learning rate (mean over {first.rates:.0f} "
        "rates up to plain SGD's best, standard error): "
        + ("no difference shows, as where noise alone decides." if same else "they differ.")
    )
    if same and len(differing):
        other = differing.iloc[0]
        text += (
            f" The first batch size at which they differ by more than three standard errors is "
            f"{other.batch_size:,.0f}: {other.gap:+.2f} ± {other.error:.2f} points."
        )
    return text
