"""The errata of the three papers: formulas and claims, slips of the text, and what is none."""

from __future__ import annotations

from functools import cache

import numpy as np

from sgdnoise.chapters import errata_g20, errata_h17, errata_s20
from sgdnoise.chapters.errata_g20 import LARS_SIZES, blind_growth, lars_stride, radius_of_circle
from sgdnoise.chapters.errata_h17 import GHOST_SIZE, TOY, M, printed_without
from sgdnoise.chapters.erratum import Doubt, Erratum, Slip
from sgdnoise.data.sizes import train_size
from sgdnoise.papers.numbers import printed, table
from sgdnoise.schedule import hold_then_decay
from sgdnoise.theory.stability import critical_effective_learning_rate, critical_learning_rate

ERRATA: tuple[Erratum, ...] = (*errata_g20.ERRATA, *errata_h17.ERRATA, *errata_s20.ERRATA)
"""In the order of the page: G20, H17, S20."""


def erratum(name: str) -> Erratum:
    """An erratum by its id. Unknown ids are a KeyError."""
    return {e.id: e for e in ERRATA}[name]


# --- Slips of the text -----------------------------------------------------------------------

EPOCH_BUDGET = (200, 1024)
"""Epochs and batch size that S20's table 1 takes its number of updates from."""


@cache
def updates() -> tuple[bool, str]:
    """S20 §1: the updates of 200 epochs at a batch size of 1,024."""
    epochs, b = EPOCH_BUDGET
    n, stated = train_size("cifar10"), printed("S20-T1.updates").value
    count = epochs * n // b
    return count == stated != 9725, f"⌊{epochs} · {n:,}/{b:,}⌋ = {count}; table 1 has {stated:g}"


@cache
def loss_falls() -> tuple[bool, str]:
    """S20, table 1: where the final training loss rises with the batch size."""
    frame = table("S20-T1")
    loss, error = frame["train_loss"].to_numpy(), frame["train_loss_std"].to_numpy()
    rises = [k for k in range(1, len(loss)) if loss[k] > loss[k - 1]]
    told = "; ".join(
        f"{loss[k - 1]:g} → {loss[k]:g} ± {error[k]:g} at {frame['batch_size'][k]:,}" for k in rises
    )
    return bool(rises), told


@cache
def factor_of_temperature() -> tuple[bool, str]:
    """S20 §7: ε/B over ε_eff/B at the momentum of its runs."""
    m = printed("S20-protocol.momentum").value
    factor = 1 / (1 - m)
    return factor != 1, f"a factor 1/(1 − m) = {factor:g} at m = {m:g}"


@cache
def as_good_or_better() -> tuple[bool, str]:
    """H17 §6: where regime adaptation stays below the small batch."""
    frame = table("H17-T1")
    gain = frame["+RA"] - frame["SB"]
    below = [f"{n} {g:+.2f}" for n, g in zip(frame["network"], gain, strict=True) if g < 0]
    return bool(below), f"{len(below)} of {len(frame)}: {', '.join(below)} points"


@cache
def slip_of_sign() -> tuple[bool, str]:
    """H17, appendix A: the trace of the derivation's last line, and of the result below it."""
    n, mean = TOY.size, TOY.mean
    joint = M**2 / (n * (n - 1))
    own, all_pairs = n * TOY.uncentred, n**2 * float(mean @ mean)
    minus, plus = (
        ((M / n - joint) * own + sign * joint * all_pairs) / M**2 - float(mean @ mean)
        for sign in (-1, 1)
    )
    result = printed_without(TOY, M)
    holds = bool(np.isclose(plus, result) and not np.isclose(minus, result))
    return holds, f"with − the trace is {minus:.3f}, with + {plus:.3f}, as the result, {result:.3f}"


@cache
def size_of_the_training_set() -> tuple[bool, str]:
    """G20 §2.1: its largest batch beside CIFAR-10's training set."""
    n, largest = train_size("cifar10"), 60_000
    return largest > n, f"{largest:,} > {n:,}"


SLIPS = (
    Slip(
        "G20-1", "G20", "§1", "The abbreviation is spelled out wrongly.",
        "statistical gradient descent (SGD)", "stochastic gradient descent",
    ),
    Slip(
        "G20-1b", "G20", "§1", "Batch augmentation is credited to the wrong paper.",
        "batch augmentation (Hoffer et al., 2017)", "a later paper: H17 proposes none",
    ),
    Slip(
        "G20-2.1", "G20", "§2.1, figure 3", "The largest batch exceeds the training set.",
        "batch size 32 to 60000", "at most the training set; test images would add 10,000",
        size_of_the_training_set,
    ),
    Slip(
        "G20-4.3b", "G20", "§4.3", "Points to the median instead of the radius itself.",
        "the original curvature formula (eqn. 20)", "eqn. 17",
    ),
    Slip(
        "G20-5.2", "G20", "§5.2, method 1", "Points to the wrong figure for curvature by layer.",
        "Figure 1", "Figure 2",
    ),
    Slip(
        "H17-4", "H17", "§4, footnotes 5, 6", "Three references lead to other figures.",
        "figure 3; figure 2; Figure 6", "figure 6; figure 5; figure 2b, or else 7",
    ),
    Slip(
        "H17-6", "H17", "§6, of table 1",
        "Regime adaptation is not always at or above the small batch.",
        "“good-as or better”", "in all rows but these", as_good_or_better,
    ),
    Slip(
        "H17-A4", "H17", "appendix A, last line before k = 0", "A minus sign should be a plus.",
        "[(…)δδ − M²/(N² − N)]", "[(…)δδ + M²/(N² − N)]", slip_of_sign,
    ),
    Slip(
        "H17-B2", "H17", "appendix B", "The number of the figure is missing.",
        "“in Figure we indeed find”", "Figure 4",
    ),
    Slip(
        "S20-1", "S20", "§1", "Digits of the number of updates are wrong.",
        "9725 updates", "9765 updates", updates,
    ),
    Slip(
        "S20-3.1", "S20", "§3.1", "Factors stand in the wrong order for a column vector.",
        "θ(I − εΛ)", "(I − εΛ) θ",
    ),
    Slip(
        "S20-3.2", "S20", "§3.2", "The δ of two step indices is the other one.",
        "Dirac delta function", "Kronecker delta",
    ),
    Slip(
        "S20-T1", "S20", "table 1, caption; §6", "The loss does not fall throughout.",
        "the loss falls as the batch size increases",
        "it falls up to 8192; then it rises, at first within its error",
        loss_falls,
    ),
    Slip(
        "S20-7", "S20", "§7", "The temperature leaves out the momentum that its runs have.",
        "T = ε/B", "T = ε_eff/B, as in §3.3", factor_of_temperature,
    ),
)  # fmt: skip
"""Words and numbers, in the order of the papers."""


# --- What is no erratum ----------------------------------------------------------------------


@cache
def curvature_radius() -> str:
    """G20, eqs. 9, 10 and 13 to 16: the radius by three points, and over Newton's 1/L″."""
    a, w = 3.0, 1.0
    g = 2 * a * w
    formula = w * (1 + g**2) ** 1.5 / g
    circle = radius_of_circle(lambda v: a * v**2, w, 1e-4)
    return (
        "The formula is the radius of a plane curve, and right: at a = 3, w − b = 1 it gives "
        f"{formula:.2f}, a circle through three points {circle:.2f}. As a learning rate it is "
        f"{formula * 2 * a:.0f} times Newton's 1/L″ there. It is Newton's only where g ≪ 1."
    )


@cache
def small_slope() -> str:
    """G20, above eq. 17: what is lost by dropping g²."""
    g = 0.01
    return f"Harmless at the size of real gradients: a factor {(1 + g**2) ** 1.5:.5f} at g = {g:g}."


@cache
def blind_choice() -> str:
    """G20 §3.1: what discarding does to E|g| when the choice is blind to the losses."""
    told = []
    for share in (0.3, 0.9):
        value, error = blind_growth(share)
        law = 1 / np.sqrt(1 - share)
        told.append(f"{value:.2f} ± {error:.2f} at p = {share:.0%}, where that is {law:.2f}")
    return (
        "A control is missing, and no sentence is wrong: G20 does not say what a blind choice "
        f"would do. It enlarges E|g| by 1/√(1 − p), simulated {'; '.join(told)}. "
        "What the choice of small losses adds to that is a claim of the scorecard, "
        "G20-F9.discarding-enlarges, judged with the control."
    )


@cache
def stride_of_lars() -> str:
    """G20 §4.3: LARS's step as the batch grows, beside where G20 says that LARS fails."""
    (small, large), (value, error) = LARS_SIZES, lars_stride()
    return (
        "§4.3 has no law for LARS's step. It says that LARS fails where w → 0 or dL/dw → 0, and "
        "its rate goes to 0 in the one and has no bound in the other. At a large batch the step "
        f"keeps its size: simulated, that at n = {large:,} is {value:.2f} ± {error:.2f} times "
        f"that at n = {small}. If vanishing steps made the generalization gap, LARS should close "
        "it at every batch size."
    )


@cache
def gap_in_the_introduction() -> str:
    """H17 §1: gaps to the small batch of table 1, before and after its two remedies."""
    frame = table("H17-T1")
    before, after = frame["SB"] - frame["LB"], frame["SB"] - frame["+GBN"]
    gaps = ", ".join(
        f"{name} {a:.1f} → {b:.1f}"
        for name, a, b in zip(frame["network"], before, after, strict=True)
    )
    return (
        "The text calls it an example and does not say of what. It may come from a figure, and "
        f"the figures were not at hand. The gaps of table 1, in points: {gaps}."
    )


@cache
def logarithm() -> str:
    """H17, eq. 4: how well a + b log t fits a power of t over two decades."""
    t = np.geomspace(1e2, 1e4, 200)
    fits = {power: float(np.corrcoef(np.log(t), t**power)[0, 1] ** 2) for power in (1 / 4, 1 / 2)}
    return (
        "The data may well be logarithmic. They cannot show it: over two decades a straight line "
        f"in log t explains {fits[1 / 4]:.1%} of t^{{1/4}} and {fits[1 / 2]:.1%} of √t, taken at "
        f"{len(t)} times evenly spaced in log t."
    )


@cache
def ghost_deviation() -> str:
    """H17, algorithm 1: the mean standard deviation of ghosts beside that of the batch."""
    rng = np.random.default_rng(1)
    ghosts = rng.standard_normal((4000, GHOST_SIZE))
    return (
        "A choice, and a small one: normal ghosts of "
        f"{GHOST_SIZE} have a mean standard deviation of {ghosts.std(axis=1).mean():.4f} times "
        "the batch's."
    )


@cache
def limit_with_momentum() -> str:
    """S20 §3.1 and §3.3: the critical learning rate with and without momentum."""
    m = printed("S20-protocol.momentum").value
    plain = float(critical_learning_rate(1.0))
    heavy = float(critical_effective_learning_rate(1.0, m))
    return (
        f"S20 prints {plain:g}/λ for gradient descent, where it is right, and uses it as a safe "
        f"side with momentum. The limit on ε_eff at m = {m:g} is {heavy:.0f}/λ."
    )


@cache
def drops() -> str:
    """S20 §4 and §6: the drops of the schedule, by when the first one comes."""
    total = int(printed("S20-T1.updates").value)
    half, gap = total // 2, total // 20
    last = total - 1
    early, late = (last - half) // gap + 1, (last - half) // gap
    left = total - (half + 10 * gap)
    exact = round(-np.log2(hold_then_decay(total)(last)))
    return (
        f"Consistent with its ε_f = ε₀γ⁻¹⁰ only if the first drop is at step {half}. Every {gap} "
        f"steps then give {early} drops by the end, the last one for {left} steps; a first drop "
        f"{gap} steps later gives {late}, the tenth for {left} steps. Twentieths that are not "
        f"rounded give {exact}."
    )


DOUBTS = (
    Doubt(
        "G20-E9", "G20", "eqs. 9, 10, 13–16", "The radius is no inverse curvature.",
        curvature_radius,
    ),
    Doubt(
        "G20-E12", "G20", "eq. 12", "Morse's lemma does not give a parabola in w.",
        lambda: "True in general, but Taylor's theorem gives one near a minimum. What eq. 12 "
        "assumes beside it, that no parameter's minimum depends on another's value, is a "
        "model and no slip.",
    ),
    Doubt("G20-E17b", "G20", "above eq. 17", "g² is dropped.", small_slope),
    Doubt(
        "G20-3.1", "G20", "§3.1", "Discarding blindly enlarges gradients too.", blind_choice,
    ),
    Doubt(
        "G20-4.3", "G20", "§4.3", "LARS need not fail as gradients vanish with n.", stride_of_lars,
    ),
    Doubt(
        "H17-1", "H17", "§1", "Table 1 has no gap that shrinks “from 5% to 1% – 2%”.",
        gap_in_the_introduction,
    ),
    Doubt(
        "H17-T2", "H17", "table 2", "LB and +LR are not those of the batch sizes in their rows.",
        lambda: "The paper says so: footnote 8, at the heads of both columns, gives 2048 for them.",
    ),
    Doubt(
        "H17-A5", "H17", "appendix A", "The factor 1/M² might be missing.",
        lambda: "It is there in each line.",
    ),
    Doubt("H17-F2", "H17", "eq. 4, figure 2", "The distance need not grow as log t.", logarithm),
    Doubt(
        "H17-Alg1b", "H17", "algorithm 1", "It averages standard deviations, not variances.",
        ghost_deviation,
    ),
    Doubt(
        "S20-3.3", "S20", "§3.1, §3.3", "The curvature constraint ignores momentum.",
        limit_with_momentum,
    ),
    Doubt("S20-4", "S20", "§4, §6", "The schedule has one drop too many or too few.", drops),
)  # fmt: skip
"""Objections that we do not uphold, with the reason."""
