"""The chapter on gradients: its simulations against its laws, and its sentences against both."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from sgdnoise.chapters import errata, gradients, gradients_figures, gradients_findings
from sgdnoise.chapters.errata_findings import anchor
from sgdnoise.chapters.errata_g20 import ERRATA, printed_law

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
    assert f"n = {1 / spread**2:.0f}" in text
    title = explorer.frame(**explorer.values)["layout"]["title"]["text"]
    assert gradients_figures.short(seen) in title


def test_the_loss_opens_where_one_examples_step_does_harm() -> None:
    rate, signal = gradients_figures.drops().values.values()
    assert (rate, signal) == gradients.OPENS
    assert gradients.bowl(signal).whole_drop(rate, 1) < 0
    assert "raises the loss of all" in gradients_figures.drop_figure(rate, signal).layout.title.text
    said = gradients_findings.loss_in_words().data
    assert "from −" in said
    assert "to +" in said


def test_rules_of_the_rate_keep_or_change_the_step_of_noise() -> None:
    n = np.array([1.0, 4.0, 16.0, 64.0])
    for power, slope in ((0.0, -0.5), (0.5, 0.0), (1.0, 0.5)):
        steps = gradients.step_length(n, 0.0, power)
        assert np.polyfit(np.log(n), np.log(steps), 1)[0] == pytest.approx(slope, abs=0.01)


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
