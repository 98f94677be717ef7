"""Tables of the chapter on temperature, and its sentences that have numbers in them."""

from __future__ import annotations

from collections.abc import Callable

from IPython.display import Markdown
from pandas.io.formats.style import Styler

from sgdnoise.chapters import EPSILON_CRIT, EPSILON_EFF, folded, fraction, table
from sgdnoise.chapters import temperature as chapter
from sgdnoise.data.sizes import train_size
from sgdnoise.papers import numbers as paper
from sgdnoise.theory import sde


def opening() -> Markdown:
    """What the first figure shows where its sliders stand at first."""
    lr, b = chapter.REFERENCE
    kept, both, rate, batch = (
        f"{100 * chapter.share_in_wide(chapter.valley_runs(*at)):.0f} %"
        for at in ((lr, b), (2 * lr, 2 * b), (2 * lr, b), (lr, 2 * b))
    )
    return Markdown(
        f"**At a learning rate of {fraction(lr)} and a batch size of {b}, {kept} of the runs end "
        f"in the wide valley. Double both, and it is {both}. Double only the learning rate, and it "
        f"is {rate}; only the batch size, and it is {batch}.**"
    )


def equal_temperatures(sgd: Callable[[float, int], chapter.FloatArray]) -> Styler:
    """Where the page's own loop ends at one temperature, at four learning rates."""
    return table(
        [
            {
                "learning rate ε": fraction(lr),
                "batch size B": b,
                "temperature T": fraction(lr / b),
                "steps": chapter.EXAMPLES // b,
                "in the wide valley": f"{chapter.share_in_wide(sgd(lr, b)):.1%}",
            }
            for lr, b in [(1 / 32, 2), (1 / 16, 4), (1 / 8, 8), (1 / 4, 16)]
        ]
    )


def agreement() -> Markdown:
    """Up to which learning rate the settings agree with the SDE, and how they part from it."""
    alike, apart = chapter.one_curve()
    rows = chapter.escapes()
    below = [r for r in rows if r.learning_rate <= alike]
    # Runs that all stay agree whatever the learning rate does: no test of the temperature.
    moved = [r for r in below if r.sde_share >= 0.005]
    worst = max(
        (r for r in rows if r.learning_rate == apart), key=lambda r: abs(r.share - r.sde_share)
    )
    return Markdown(
        f"The narrow valley has curvature {chapter.NARROW:g}, so even without noise gradient "
        f"descent leaves it beyond {EPSILON_CRIT} = 2/{chapter.NARROW:g}, its critical learning "
        "rate. "
        f"Up to ε = {fraction(alike)}, {alike / chapter.CRITICAL:g} of that, no setting differs "
        "from the SDE by more than three standard errors. "
        f"Of these {len(below)} settings only {len(moved)} put the agreement to a test: at the "
        "others the SDE, too, leaves nearly every run in the narrow valley. "
        f"From ε = {fraction(apart)} on, {apart / chapter.CRITICAL:g} of the critical rate, some "
        f"do differ: at B = {worst.batch_size}, {worst.share:.0%} of the runs have moved instead "
        f"of the SDE's {worst.sde_share:.0%}."
    )


def largest_distances() -> Markdown:
    """For each learning rate, the setting that is furthest from the SDE."""
    lines = []
    for lr in chapter.LEARNING_RATES:
        mine = [r for r in chapter.escapes() if r.learning_rate == lr]
        worst = max(mine, key=lambda r: abs(r.share - r.sde_share))
        off = worst.share - worst.sde_share
        lines.append(
            {
                "learning rate ε": fraction(lr),
                f"ε / {EPSILON_CRIT}": f"{worst.of_critical:g}",
                "largest distance from the SDE": f"{100 * off:+.1f} points",
                "in standard errors": f"{off / worst.error:+.1f}",
                "at B": worst.batch_size,
            }
        )
    return folded(
        "How far each learning rate is from the SDE",
        f"Of the {len(chapter.BATCH_SIZES)} batch sizes at each learning rate, the one whose share "
        "of runs in the wide valley is furthest from the SDE's.",
        table(lines),
    )


def orders() -> Markdown:
    """The measured powers of the error, and its size at two learning rates."""
    measured = chapter.scaling_orders()
    slopes = [order.slope for order in measured]
    tenth = 1 - 1 / 1.1  # V_SGD / V_SDE = 1 / (1 - z) with z = ε/ε_crit: the z at which it is 1.1
    return Markdown(
        f"The measured powers lie between {min(slopes):.2f} and {max(slopes):.2f}: twice the "
        "learning rate makes twice the error. "
        f"In the long run the variance is a tenth too large at ε = {tenth:.2g} {EPSILON_CRIT}, and "
        f"{1 + measured[0].at_half:.3g} times as large as it should be at half of the critical "
        f"learning rate. That is what S20's condition ε ≪ {EPSILON_CRIT} means in numbers."
    )


def reshuffled() -> Styler:
    """How little noise is left at the end of a reshuffled epoch when the learning rate is small."""
    n, lines = chapter.SAMPLED_EXAMPLES // 4, []
    for lr in [2.0**-9, 2.0**-7, 2.0**-5, 2.0**-3]:
        law = sde.reshuffled_law(lr, 1.0, 1.0, 4, chapter.SAMPLED_EXAMPLES)
        unit = float(sde.sde_variance(1.0, 1.0, lr / 4))
        lines.append(
            {
                f"εhn, n = {n}": f"{lr * n:.3g}",
                "variance at an epoch's end / the SDE's": f"{law.epoch_end / unit:.3g}",
                "(εhn)²/12": f"{(lr * n) ** 2 / 12:.3g}",
                "variance over the epoch / the SDE's": f"{law.epoch_mean / unit:.3g}",
            }
        )
    return table(lines)


_NOISE_BATCH_SIZES = (1, 16, 128, 512, 1024)


def noise() -> Styler:
    """The measured noise of real minibatches beside three formulas."""
    return table(
        [
            {
                "B": row.batch_size,
                "measured": f"{row.measured:.4f} ± {row.error:.4f}",
                "centred, (1/B − 1/N)": f"{row.centred:.4f}",
                "centred, 1/B": f"{row.unlimited:.4f}",
                "empirical Fisher, 1/B": f"{row.fisher:.4f}",
            }
            for row in chapter.minibatch_noise(0, _NOISE_BATCH_SIZES)
        ]
    )


def noise_in_words() -> Markdown:
    """What the table of the noise says about the two corrections."""
    first, _, _, half, _ = chapter.minibatch_noise(0, _NOISE_BATCH_SIZES)
    return Markdown(
        "The columns are traces of the covariance of a batch's gradient; the first is measured "
        "over 1,000 drawn batches of each size. "
        "Taking the mean out matters little here, "
        f"{first.fisher / first.unlimited - 1:.1%}, because single gradients are much longer than "
        "their mean. It would matter where they point the same way. "
        "The size of the training set matters a lot: at B = "
        f"{half.batch_size}, half of the examples, 1/B overstates the noise by a factor of "
        f"{half.unlimited / half.centred:.2f}."
    )


def papers_temperatures() -> Styler:
    """The temperatures that S20's tuned learning rates imply, with and without the finite set."""
    tuned, n, rows = paper.table("S20-T1"), train_size("cifar10"), []
    for b, exponent in zip(tuned.batch_size, tuned.exponent, strict=True):
        plain = float(sde.temperature(2.0**exponent, b))
        finite = float(sde.temperature(2.0**exponent, b, train_size=n))
        rows.append(
            {
                "B": f"{b:,}",
                f"tuned {EPSILON_EFF}": f"{2.0**exponent:g}",
                f"T = {EPSILON_EFF}/B": f"{plain:.5f}",
                f"{EPSILON_EFF} (1/B − 1/N), N = {n:,}": f"{finite:.5f}",
                "overstated": f"{plain / finite:.2f} ×",
            }
        )
    return table(rows)


def far_from_many() -> Markdown:
    """How near S20's table comes to the whole training set, which its argument excludes."""
    most, n = paper.table("S20-T1").batch_size.max(), train_size("cifar10")
    return Markdown(
        f"S20 assumes N ≫ B (§3.2). Its table 1 goes to B = {most:,}, which is {most / n:.2f} N "
        f"with CIFAR-10's N = {n:,}."
    )


def kroneckers_delta() -> Markdown:
    """S20's delta, and the measured correlations of the noise of two steps."""
    batch_size = 128
    lag = chapter.noise_between_steps(batch_size)
    rows = [
        {"correlation of a step's noise": name, "independent batches": i, "reshuffled epochs": r}
        for name, i, r in [
            ("with itself", "1", "1"),
            ("with the next step's", f"{lag.next_independent:+.3f}", f"{lag.next_reshuffled:+.3f}"),
            ("with the next step's, expected", "0", f"{lag.expected_reshuffled:+.3f}"),
        ]
    ]
    return folded(
        "Kronecker's delta, not Dirac's",
        "S20 calls δ<sub>ij</sub>, in the covariance of the noise of updates i and j, the Dirac "
        "delta function. Updates are counted, so it is Kronecker's: 1 for an update with itself "
        "and 0 for two different ones. A Dirac delta belongs to noise in continuous time, and a "
        "step of length ε sees it as 1/ε. With it the temperature would be 1/B, with no learning "
        "rate in it.\n\n"
        "Independent batches behave as Kronecker's delta says. With n updates an epoch, "
        "reshuffling correlates the noise of any two of them by −1/(n − 1), here with batches of "
        f"{batch_size}. The SDE describes the independent batches only.",
        table(rows),
    )
