"""Tables of the chapter on the noisy quadratic model, and its sentences with numbers in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from IPython.display import HTML, Markdown
from pandas.io.formats.style import Styler

from sgdnoise.chapters import noisy_quadratic as chapter
from sgdnoise.chapters import table
from sgdnoise.chapters.noisy_quadratic import (
    CONSTANT,
    DECAYED,
    METHODS,
    MOMENTUM,
    SGD,
    about,
    log_slope,
    regimes,
)
from sgdnoise.figures.tables import html_table
from sgdnoise.papers import numbers as paper
from sgdnoise.theory.stability import critical_effective_learning_rate


def opening() -> Markdown:
    """What the first figure shows where its slider stands at first."""
    batch_size = 4096
    k = chapter.SIZES.index(batch_size)
    plain, heavy = (
        curve.steps[k] * batch_size / curve.steps[0] for curve in chapter.to_target().values()
    )
    return Markdown(
        f"**To reach a loss of {chapter.TARGET:g} at a batch size of {batch_size:,}, plain SGD "
        f"needs {plain:.1f} times the work that it needs with one example per update, SGD with "
        f"momentum only {heavy:.2f} times. Curvature is what ends perfect scaling, and momentum "
        "lets it last to larger batches.**"
    )


def end_of_the_bargain() -> Markdown:
    """Up to where the methods are equal, and where the work has doubled."""
    curves = chapter.to_target()
    plain, heavy = (chapter.doubling_batch_size(curves[m.name]) for m in METHODS)
    equal = curves[MOMENTUM.name].steps / curves[SGD.name].steps - 1
    return Markdown(
        f"The target is a loss of {chapter.TARGET:g} throughout. "
        f"Up to B = {chapter.SIZES[6]}, plain SGD and momentum need the same number of steps to it "
        f"within {100 * np.abs(equal[:7]).max():.1f} %. The work has doubled at a batch size of "
        f"{about(plain)} for plain SGD. For momentum 0.9 it has doubled at {about(heavy)}, "
        f"{heavy / plain:.1f} times as large."
    )


def three_routes(recursion: Callable[..., chapter.FloatArray]) -> Styler:
    """How far closed form, the page's own recursion and random numbers are apart."""
    report = []
    for method in METHODS:
        closed, samples = chapter.check(method)
        error = np.abs(closed / chapter.recursion_of(method, recursion) - 1).max()
        end = samples[:, -1]
        z = (end.mean() - closed[-1]) / (end.std(ddof=1) / np.sqrt(len(end)))
        assert error < 1e-9  # or the page is not built
        assert abs(z) < 4
        report.append(
            {
                "method": method.name,
                "closed form against recursion": f"{error:.0e}",
                "Monte Carlo against closed form": f"{end.mean() / closed[-1] - 1:+.2%}",
                "in standard errors": f"{z:+.1f}",
            }
        )
    return table(report)


def two_regimes() -> Markdown:
    """Slopes below the boundary, rates at the end, and where the boundary is."""
    curves, model = chapter.to_target(), chapter.model()
    first, heavy = curves[SGD.name], curves[MOMENTUM.name]
    temperature = first.learning_rate[0] / first.batch_size[0]
    ceiling = 4 * chapter.TARGET / (model.weight @ model.curvature)
    plain_end, heavy_end = (
        curves[m.name].effective_learning_rate[-1]
        / critical_effective_learning_rate(model.sharpness, m.momentum)
        for m in METHODS
    )
    sizes = first.batch_size[:7].astype(float)
    return Markdown(
        f"From B = {sizes[0]:.0f} to {sizes[-1]:.0f} the steps of plain SGD fall with log-log "
        f"slope {log_slope(sizes, first.steps[:7].astype(float)):.2f} and its learning rate grows "
        f"with slope {log_slope(sizes, first.learning_rate[:7]):.2f}. S20 states "
        f"{paper.printed('S20-F1.slope').value:.0f} for a Wide-ResNet (§5, figure 1c). "
        f"The temperature there is {temperature:.2g}. At 4L/Σh = {ceiling:.2g}, with the target "
        f"L = {chapter.TARGET:g}, the noise alone would hold the loss on target, and a hotter run "
        "never gets there. "
        f"At B = {chapter.SIZES[-1]:,} plain SGD runs at {plain_end:.1%} of its critical rate, "
        f"momentum at {heavy_end:.1%} of its own. "
        "The boundary batch size, where a broken line through the learning rates becomes flat, is "
        f"{about(regimes(first).boundary)} for plain SGD and {about(regimes(heavy).boundary)} for "
        "momentum.\n\n"
        f"S20 sees its boundary at {paper.printed('S20-F1.boundary').value:.0f}, which these "
        "numbers neither support nor contradict: in the model the boundary is the critical rate "
        "over the target's temperature, and the target was chosen."
    )


def budgets() -> HTML:
    """Slope and boundary of every budget under both schedules."""
    return html_table(chapter.regimes_table(chapter.budget_curves()))


def schedule_and_powers() -> Markdown:
    """What S20's schedule does to the loss, and the powers of the learning rate by budget."""
    curves = chapter.budget_curves()
    held, decayed = (curves["32 epochs", s][SGD.name].loss for s in (CONSTANT, DECAYED))
    epochs, *powers = (
        regimes(curves[name, DECAYED][MOMENTUM.name]).below
        for name in ("256 epochs", "250 steps", "2,000 steps", "16,000 steps")
    )
    rows = paper.table("S20-T1")
    rows = rows[rows.batch_size <= 4096]
    printed = np.polyfit(np.log2(rows.batch_size), rows.exponent, 1)[0]
    return Markdown(
        "With plain SGD and 32 epochs the schedule multiplies the loss by "
        f"{decayed[0] / held[0]:.2f} at B = 1 and by {decayed[-1] / held[-1]:.2f} at "
        f"B = {chapter.BATCH_SIZES[-1]:,}.\n\n"
        "**Linear or square root?** Under S20's schedule momentum's learning rate grows with slope "
        f"{epochs:.2f} at 256 epochs. In one and the same model it grows with slope "
        f"{powers[0]:.2f}, {powers[1]:.2f} and {powers[2]:.2f} at 250, 2,000 and 16,000 steps. "
        f"S20's table 1, at {paper.printed('S20-T1.updates').value:,.0f} steps, has slope "
        f"{printed:.2f} from B = {rows.batch_size.min():,} to {rows.batch_size.max():,}. S20's "
        "rates are tuned for test accuracy and printed as powers of two, the model's are tuned for "
        "the loss. "
        "A rule for scaling the learning rate means nothing without its budget. "
        "The model does not say that a fixed number of steps makes it a square root: the power "
        "depends on how many steps they are."
    )


def heights() -> Markdown:
    """How near its largest value the learning rate is at the boundary, with and without a wall."""
    shown = ", ".join(
        f"{h:.0%} of its largest ({name})" for name, (_, h) in chapter.corners().items()
    )
    textbook = chapter.textbook_hinge()
    corner, bend = chapter.textbook_rate([1.0, textbook.boundary])
    assert abs(textbook.slope - 1) > chapter.LINEAR  # or the rule gives it a boundary
    wall = chapter.corners()[f"32 epochs, {DECAYED}"][1]
    sizes, rates = (list(part) for part in zip(*chapter.beyond_the_wall().items(), strict=True))
    most = int(np.argmax(rates))
    steps = chapter.BUDGETS["32 epochs"].steps(sizes[most])
    limit = chapter.schedule_limit(chapter.model(), steps)
    return Markdown(
        f"Tuned at the boundary itself, plain SGD's learning rate is {shown}. The textbook's "
        "curve is too round for the rule of this page, which gives a boundary only where the "
        f"slope is within {chapter.LINEAR:g} of one: its fitted slope is {textbook.slope:.2f}. "
        f"Where its straight ends meet, at B<sub>noise</sub>, it is at {corner:.0%} of its "
        "plateau. A hinge fitted over two decades on either side bends at "
        f"{textbook.boundary:.1f} B<sub>noise</sub>, where it is at {bend:.0%}; the figure puts "
        "that place at 1.\n\n"
        f"The {wall:.0%} under the schedule is the work of a wall: no run of this page starts "
        "above the critical rate. Without the wall the best first rate goes on growing, slowly: "
        f"from {rates[0]:.2f} at B = {sizes[0]} to {rates[most]:.2f} at B = {sizes[most]}, in "
        f"units of 1/λ<sub>max</sub>. From {limit:.2f} on the later, smaller rates no longer mend "
        "what the first half blew up. "
        f"The rate at the boundary is then {rates[0] / rates[most]:.0%} of the largest."
    )


def algorithms() -> Markdown:
    """Each algorithm's loss over plain SGD's at a small and at a large batch size."""
    losses, some = chapter.algorithm_losses(), chapter.SOME
    plain = losses[SGD.name]
    parts = [
        f"{name}: {loss[0] / plain[0]:.2f} and {loss[-2] / plain[-2]:.2f}"
        for name, loss in losses.items()
        if name != SGD.name
    ]
    return Markdown(
        f"Loss relative to plain SGD's after 32 epochs, at B = {some[0]} and at B = {some[-2]:,}: "
        + "; ".join(parts)
        + "."
    )


def binned() -> Markdown:
    """What rounding the curvatures down costs."""
    steps, first = chapter.exact_steps()[SGD.name][1], chapter.to_target()[SGD.name]
    more = 100 * (first.steps / np.array(steps) - 1)
    return Markdown(
        f"Of the levels {chapter.model().curvature.size} are occupied. "
        f"The binned spectrum starts from a loss of {chapter.model().initial_loss:.3f} instead of "
        f"{chapter.exact_model().initial_loss:.3f}. Plain SGD then takes "
        f"{chapter.from_fewer_to_more(more)} steps to the target: rounding down makes every "
        "direction slower to cross, and quieter. `sgdnoise nqm --batch-size 64` uses "
        f"the exact spectrum and gives {steps[6]:,} steps where the figures above have "
        f"{first.steps[6]:,}."
    )
