"""The chapter on gradients: its simulations against its laws, and its sentences against both."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from sgdnoise.book.page import Page
from sgdnoise.chapters import errata, gradients, gradients_figures, gradients_findings
from sgdnoise.chapters.errata_findings import anchor
from sgdnoise.chapters.errata_g20 import ERRATA, printed_law
from sgdnoise.experiments.gradient_statistics import measured
from sgdnoise.theory.gradient_size import Bowl

ROOT = Path(__file__).parents[2]


def mean_size(n: float, spread: float, examples: float) -> float:
    return float(np.sqrt(2 / np.pi) * np.sqrt(spread**2 + 1 / n - 1 / examples))


@pytest.mark.parametrize("spread", gradients.SPREADS)
def test_the_law_is_what_the_simulation_gives_at_every_batch_size(spread: float) -> None:
    seen, law = gradients.simulated(spread), gradients.law(spread).at(gradients.SIZES)
    # Of 1,000 |normal| variables the mean is known to 2.4 %.
    assert seen[:-1] == pytest.approx(law[:-1], rel=0.08)
    assert seen[-1] == pytest.approx(law[-1], rel=0.08, abs=1e-12)
    for n in gradients.SIZES[:-1]:
        assert float(gradients.law(spread).at(n)) == pytest.approx(
            mean_size(n, spread, gradients.EXAMPLES)
        )


def test_a_batch_of_all_has_the_true_gradients_and_no_noise() -> None:
    batch = gradients.batch_gradients(0.25)[-1]
    assert batch.std() == pytest.approx(0.25)
    assert np.abs(gradients.batch_gradients(0.0)[-1]).max() < 1e-12


@pytest.mark.parametrize("spread", [s for s in gradients.SPREADS if s])
def test_a_fit_reads_the_crossover_off_the_simulation(spread: float) -> None:
    crossover = gradients.refitted(spread).crossover
    assert crossover == pytest.approx(1 / spread**2, rel=0.25)


@pytest.mark.parametrize("spread", [s for s in gradients.SPREADS if s])
def test_signal_and_noise_are_alike_where_it_is_said(spread: float) -> None:
    n = gradients.crossover(gradients.law(spread))
    noise = 1 / n - 1 / gradients.EXAMPLES
    assert noise == pytest.approx(spread**2)
    assert n < min(1 / spread**2, gradients.EXAMPLES)
    lines = gradients_figures.size_figure(spread, 1024).layout.shapes
    assert n in [shape.x0 for shape in lines]
    rows = gradients_findings.agreement(mean_size).data
    (row,) = [row for _, row in rows.iterrows() if row["τ/σ"] == f"1/{1 / spread:g}"]
    assert row["n where signal and noise are alike"] == f"{n:,.0f}"
    read = float(row["read off by a fit"].replace(",", ""))
    assert read == pytest.approx(n, rel=0.25)


def test_without_signal_nothing_is_alike() -> None:
    none = gradients_findings.agreement(mean_size).data.iloc[0]
    assert none["n where signal and noise are alike"] == "none"


@pytest.mark.parametrize("rate", [0.1, 1.0])
@pytest.mark.parametrize("signal", gradients.SIGNALS)
def test_simulated_steps_lower_both_losses_as_the_closed_forms_say(rate, signal) -> None:
    bowl = gradients.bowl(signal)
    assert bowl.signal / bowl.trace == pytest.approx(signal)
    for n in (1, 64):
        own, whole = gradients.stepped(rate, signal, n)
        spread = 5 * bowl.trace * (1 + np.sqrt(signal * n)) / n / np.sqrt(2000)
        assert own == pytest.approx(float(bowl.own_drop(rate, n)), abs=spread)
        assert whole == pytest.approx(float(bowl.whole_drop(rate, n)), abs=spread)


def test_the_page_opens_where_the_law_has_left_the_gradient_behind() -> None:
    explorer = gradients_figures.sizes()
    spread, n = explorer.values.values()
    assert n > 1 / spread**2
    seen = gradients.simulated(spread)[gradients.SIZES.index(n)]
    text = gradients_findings.opening().data
    assert f"{seen / printed_law(float(n)):.1f} times G20's law" in text
    whole = gradients.simulated(spread)[-1]
    right = [value * np.sqrt(np.pi * m / 2) for value, m in ((seen, n), (whole, 4096))]
    assert "{:.1f} and {:.1f} times".format(*right) in text.split("right constant")[1]
    assert f"n = {1 / (spread**2 + 1 / gradients.EXAMPLES):.0f} examples" in text
    title = explorer.frame(**explorer.values)["layout"]["title"]["text"]
    assert gradients_figures.short(seen) in title


def test_the_loss_opens_where_one_examples_step_does_harm() -> None:
    rate, signal = gradients_figures.drops().values.values()
    assert (rate, signal) == gradients.OPENS
    assert gradients.bowl(signal).whole_drop(rate, 1) < 0
    assert "raises the loss of all" in gradients_figures.drop_figure(rate, signal).layout.title.text
    said = gradients_findings.loss_in_words().data
    own, far, whole, end = (
        float(number.replace("−", "-")) for number in re.findall(r"([−+]?\d\.\d+)(?= ε| to)", said)
    )
    fig = gradients_figures.drop_figure(rate, signal)
    drawn = {trace.name: trace for trace in fig.data}
    for name, ends in (
        ("the batch's own loss", (own, far)),
        ("the loss of all examples", (whole, end)),
    ):
        assert ends == pytest.approx(drawn[name].y[[0, -1]], rel=0.05)
    assert whole < 0 < end
    assert said.count("ε trΣ") == 2
    raised, lowered = map(float, re.findall(r"by ([\d.]+) ε trΣ", fig.layout.title.text))
    assert (-raised, lowered) == pytest.approx((whole, own), rel=0.05)
    assert drawn["simulated, all"].marker.color == drawn["the loss of all examples"].line.color
    assert drawn["simulated, own"].marker.color == drawn["the batch's own loss"].line.color


def test_the_root_beside_one_parameters_size_is_what_its_legend_says() -> None:
    (root,) = [t for t in gradients_figures.one_parameter_figure().data if "√" in t.name]
    assert root.name == "√(G² + 2s²/π)"
    np.testing.assert_allclose(root.y, np.sqrt(root.x**2 + 2 / np.pi))


def test_the_share_of_true_gradients_is_that_of_the_drawn_variance() -> None:
    n = gradients.SIZES[6]
    title = gradients_figures.layer_figure(n).layout.title.text
    share = float(re.search(r"make (\d+)% of its square", title)[1]) / 100
    drawn = gradients.batch_gradients(gradients.SPREAD)
    assert share == pytest.approx(drawn[-1].var() / drawn[6].var(), rel=0.1)


def test_a_batchs_variance_is_exact_with_the_divisor_that_is_said() -> None:
    single = np.array([0.3, -1.0, 2.5, 0.7])
    pairs = [(a + b) / 2 for a, b in itertools.combinations(single, 2)]
    assert np.var(pairs) == pytest.approx(single.var(ddof=1) * (1 / 2 - 1 / 4))


@pytest.mark.parametrize(("scale", "grows"), [("digits", True), ("cpu", False)])
def test_the_noise_scale_moves_as_the_page_says(scale: str, grows: bool) -> None:
    page = Page.load("gradient-statistics", scale, None, str(ROOT / "results"))
    found = measured.drawn(page)
    scales = np.log2(
        [
            [[measured.size_law(r, t, at).crossover for t in measured.tensors(r)] for r in found]
            for at in (0, -1)
        ]
    ).mean(axis=(1, 2))
    assert (scales[1] > scales[0]) == grows
    words = (ROOT / "book" / "gradients.ipynb").read_text(encoding="utf-8")
    name = "on digits" if scale == "digits" else "on CIFAR-10"
    compared = "larger at the end than at the first update" if grows else "and smaller"
    link = f"{compared} [{name}](../papermill_runs/{scale}/gradient-statistics.ipynb)"
    assert link in words


def test_rules_of_the_rate_keep_or_change_the_step_of_noise() -> None:
    n = np.array([1.0, 4.0, 16.0, 64.0])
    for power, slope in ((0.0, -0.5), (0.5, 0.0), (1.0, 0.5)):
        steps = gradients.step_length(n, 0.0, power)
        assert np.polyfit(np.log(n), np.log(steps), 1)[0] == pytest.approx(slope, abs=0.01)


def exact_falls(
    gradients: np.ndarray, hessians: np.ndarray, n: int, rate: float
) -> tuple[float, float]:
    """Falls of a batch's own loss and of the loss of all over ε, over every batch of n there is.

    Example k's loss is g_k·x + ½ xᵀH_k x about the present weights, x = 0.
    """
    own, whole = [], []
    for batch in map(list, itertools.combinations(range(len(gradients)), n)):
        x = -rate * gradients[batch].mean(axis=0)
        loss = gradients @ x + np.einsum("i,kij,j->k", x, hessians, x) / 2
        own.append(-loss[batch].mean() / rate)
        whole.append(-loss.mean() / rate)
    return float(np.mean(own)), float(np.mean(whole))


def closed_falls(gradients: np.ndarray, h: np.ndarray, n: int, rate: float) -> tuple[float, float]:
    g, sigma = gradients.mean(axis=0), np.atleast_2d(np.cov(gradients.T))
    bowl = Bowl(g @ g, np.trace(sigma), g @ h @ g, np.trace(h @ sigma), len(gradients))
    return float(bowl.own_drop(rate, n)), float(bowl.whole_drop(rate, n))


@pytest.mark.parametrize("n", [1, 2, 4, 5])
def test_both_falls_are_exact_where_examples_differ_in_their_gradients_only(n: int) -> None:
    rng = np.random.default_rng(2)
    gradients, h = rng.standard_normal((5, 2)) + 0.5, np.array([[1.0, 0.3], [0.3, 0.4]])
    exact = exact_falls(gradients, np.tile(h, (5, 1, 1)), n, 0.3)
    assert exact == pytest.approx(closed_falls(gradients, h, n, 0.3))


def test_the_own_loss_needs_that_examples_share_one_hessian_as_the_page_says() -> None:
    # One weight at 1, and the losses h x²/2 with h = 0 and 2.
    h = np.array([0.0, 2.0])
    exact = exact_falls(h[:, None], h[:, None, None], 1, 0.1)
    closed = closed_falls(h[:, None], np.eye(1), 1, 0.1)
    assert exact[1] == pytest.approx(closed[1])
    assert exact[0] == pytest.approx(1.8)
    assert closed[0] == pytest.approx(1.9)
    page = (ROOT / "book" / "gradients.ipynb").read_text(encoding="utf-8")
    assert "Let every example's loss be quadratic with the same Hessian" in page
    assert gradients.bowl(1.0).size == np.inf
    assert "draws fresh examples" in page
    fig = gradients_figures.drop_figure(0.5, 1.0)
    assert any("fresh examples" in note.text for note in fig.layout.annotations)


def test_the_text_tells_how_far_a_mean_over_the_layer_scatters() -> None:
    rng = np.random.default_rng(0)
    means = np.abs(rng.standard_normal((4000, gradients.PARAMETERS))).mean(axis=1)
    scatter = means.std() / means.mean()
    assert gradients.scatter() == pytest.approx(scatter, rel=0.05)
    text = gradients_findings.scatter().data
    assert f"1,000 weights scatters by {gradients.scatter():.1%}" in text
    rows = gradients_findings.agreement(mean_size).data
    off = rows["law over simulation, furthest"].str.rstrip("%").astype(float).abs() / 100
    assert (off < 3 * scatter).all()
    assert f"furthest of {len(gradients.SIZES[:-1])} sizes" in text


def test_the_finite_set_starts_where_the_page_says_that_it_does() -> None:
    first = gradients_findings.finite_set().data.iloc[0]
    assert float(first["mean |g| of pure noise / G20's"]) == pytest.approx(0.5**0.5, abs=1e-3)


def test_a_law_that_is_wrong_shows_in_the_table() -> None:
    column = "law over simulation, furthest"
    right, wrong = (
        gradients_findings.agreement(law).data[column]
        for law in (mean_size, lambda n, spread, examples: 2 / np.sqrt(np.pi * n))
    )
    off = [[abs(float(cell.rstrip("%"))) for cell in cells] for cells in (right, wrong)]
    assert max(off[0]) < 10 < 30 < min(off[1])


def test_every_erratum_of_g20_is_linked_to_its_section() -> None:
    html = gradients_findings.errata().data
    page = (ROOT / "book" / "errata.ipynb").read_text(encoding="utf-8")
    links = re.findall(r'href="errata\.html#([^"]+)"', html)
    assert links == [anchor(e.id) for e in ERRATA]
    assert [e for e in errata.ERRATA if e.paper == "G20"] == list(ERRATA)
    for link in links:
        assert f'<a id=\\"{link}\\">' in page
    # Of some the paper prints no form, and implies it.
    assert ">printed or implied</th>" in html
    # Set, as among the errata, and not as it is typed.
    assert "Σ<sub>k=0…n</sub> g<sup>k</sup>" in html
    assert not re.search(r"[\^_]\{|σ_", html)
