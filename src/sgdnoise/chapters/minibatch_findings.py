"""Tables of the chapter on a minibatch's update, and its sentences that have numbers in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from sgdnoise.chapters import folded, table
from sgdnoise.chapters import minibatch as chapter
from sgdnoise.chapters import minibatch_figures as figures
from sgdnoise.chapters.errata_h17 import Samples
from sgdnoise.theory import minibatch

_RATIO = f"M/{chapter.SMALL_BATCH}"


def opening() -> Markdown:
    """What the first figure shows where its slider stands at first."""
    without, having, coins = (figures.spread_of(32, s) for s in minibatch.SAMPLINGS)
    samples = chapter.toy()
    over = chapter.coin_over_without(samples)
    least = chapter.coin_over_without(Samples(samples.gradients - samples.mean))
    assert least < 1 < over  # or the last sentences are not true
    return Markdown(
        "**For a batch of half of the examples it matters how they are drawn. Its gradient spreads "
        f"{without:.3f} times as far as a single one's without replacement, {having:.3f} times "
        f"with replacement, and {coins:.3f} times if a coin decides on each example, which is what "
        "H17's appendix derives. Where the batch is a small part of the data the first two agree. "
        f"The third has {over:.2f} times the variance of the first here, at every size but the "
        "whole set, because the mean gradient is long. Where the mean gradient is zero it has "
        f"{least:.2f} times.**"
    )


def by_hand(covariance: Callable[[np.ndarray, int], np.ndarray]) -> Styler:
    """The page's own formula beside drawing, by its trace."""
    rows = []
    for m in (4, 16, 32, 56):
        off = chapter.cloud(m, "without") - chapter.toy().mean
        sizes = (off**2).sum(axis=1)
        rows.append(
            {
                "batch size M": m,
                "M/N": figures.part(m),
                "tr cov ĝ, code above": f"{np.trace(covariance(chapter.toy().gradients, m)):.4f}",
                f"drawn {chapter.REPEATS:,} times": (
                    f"{sizes.mean():.4f} ± {sizes.std() / np.sqrt(len(sizes)):.4f}"
                ),
                "H17's equation 6, S/M": f"{chapter.toy().uncentred / m:.4f}",
            }
        )
    return table(rows)


def noise() -> Styler:
    """The variance of multiplicative noise that gives a batch the covariance of a smaller one."""
    return table(
        [
            {
                "batch size M": row.batch_size,
                f"σ² ∝ M with the constant 1/{chapter.SMALL_BATCH}": f"{row.proportional:g}",
                f"{_RATIO} − 1": f"{row.simple:g}",
                "exact σ²": f"{row.exact:.3f}",
                f"drawn with it, of the trace at {chapter.SMALL_BATCH}": (
                    f"{row.drawn:.3f} ± {row.error:.3f}"
                ),
            }
            for row in chapter.matched()
        ]
    )


def noise_in_words() -> Markdown:
    """What the table of the noise says."""
    last = chapter.matched()[-1]
    along, across = chapter.along_and_across(last.batch_size)
    return Markdown(
        f"The batch of all {last.batch_size} has no noise of its own, and needs σ² = "
        f"{last.exact:.2f} to have that of {chapter.SMALL}. That is less than {_RATIO} − 1 = "
        f"{last.simple:g}, because the random factor multiplies whole gradients, their mean "
        "included, and the mean is long here. Where the mean is short beside the spread, "
        f"{_RATIO} − 1 is right.\n\n"
        "One number σ² can match one number of the covariance, here its trace. With it the batch "
        f"of {last.batch_size} has {along:.2f} times the variance of a batch of {chapter.SMALL} "
        f"along the mean gradient, and {across:.2f} times across it. Where the mean is short, all "
        "directions match."
    )


def three_ways() -> Markdown:
    """The exact coefficients, folded away."""
    rows = []
    for sampling, name in chapter.NAMES.items():
        a, b = minibatch.coefficients(32, chapter.EXAMPLES, sampling)
        form = {
            "without": "(N − M)/(M (N − 1)) C",
            "with": "C/M",
            "bernoulli": "(1/M − 1/N) (C + g gᵀ)",
        }[sampling]
        rows.append(
            {
                "batches drawn": name,
                "cov ĝ": form,
                "of C, M = 32, N = 64": f"{a:.5f}",
                "of g gᵀ": f"{b:.5f}",
            }
        )
    return folded(
        "The three covariances in one table",
        "C is the centred second moment of the gradients, g their mean.",
        table(rows),
    )
