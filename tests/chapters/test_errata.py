"""The errata: each is confirmed, none would be with its forms exchanged, and the page has all.

The corrected forms are checked once more by routes that the chapter does not take: integrals,
enumeration of every batch, known limits.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import comb

from sgdnoise.chapters import errata_figures, errata_g20, errata_h17, errata_s20
from sgdnoise.chapters import errata_findings as findings
from sgdnoise.chapters.errata import DOUBTS, ERRATA, SLIPS, erratum
from sgdnoise.chapters.errata_h17 import TOY, M
from sgdnoise.chapters.erratum import Comparison, mean_of, ratio_of
from sgdnoise.papers.numbers import stated, table

ROOT = Path(__file__).parents[2]
CELLS = nbformat.read(ROOT / "book" / "errata.ipynb", as_version=4).cells
SOURCE = "\n".join(cell.source for cell in CELLS)


def answer(name: str) -> str:
    return {d.id: d.answer() for d in DOUBTS}[name]


each = pytest.mark.parametrize("e", ERRATA, ids=lambda e: e.id)


class TestVerdicts:
    @each
    def test_is_confirmed(self, e) -> None:
        assert e.confirmed
        assert e.check() == e.check()

    @each
    def test_exchanged_forms_are_not(self, e) -> None:
        assert not e.swapped().confirmed
        assert not any(c.agrees and c.excludes for c in e.swapped().check())
        assert e.swapped().swapped().confirmed

    @each
    def test_the_simulation_is_exact_or_has_an_honest_error(self, e) -> None:
        for c in e.check():
            assert np.isfinite([c.printed, c.corrected, c.simulated, c.error]).all()
            assert c.error >= 0
            # An error as large as the difference could confirm nothing.
            assert 2 * 4 * c.error < abs(c.printed - c.corrected)

    def test_a_number_that_fits_both_or_neither_confirms_nothing(self) -> None:
        def confirms(simulated: float, error: float) -> bool:
            c = Comparison("x", 1.0, 2.0, simulated, error)
            return c.agrees and c.excludes

        assert confirms(2.1, 0.1)
        assert not confirms(1.5, 1.0)  # both
        assert not confirms(1.5, 0.1)  # neither
        assert not confirms(1.0, 0.1)  # the printed one
        assert confirms(2.0, 0.0)
        assert not confirms(2.0001, 0.0)

    def test_every_slip_holds(self) -> None:
        told = [s.arithmetic() for s in SLIPS if s.arithmetic]
        assert len(told) > 5
        assert all(holds and text for holds, text in told)

    def test_every_doubt_has_an_answer(self) -> None:
        assert all(d.answer().endswith(".") for d in DOUBTS)

    @pytest.mark.parametrize("name", ["G20-3.1", "G20-4.3", "H17-1", "H17-T2"])
    def test_what_a_paper_does_not_say_is_no_error_of_its(self, name: str) -> None:
        assert name in {d.id for d in DOUBTS}
        assert name not in {x.id for x in (*ERRATA, *SLIPS)}
        assert f'findings.side_by_side("{name}")' not in SOURCE
        assert f'<a id="{findings.anchor(name)}">' not in SOURCE

    def test_names_are_unique(self) -> None:
        names = [x.id for x in (*ERRATA, *SLIPS, *DOUBTS)]
        assert len(set(names)) == len(names)
        with pytest.raises(KeyError):
            erratum("G20-E1")


class TestErrors:
    """Standard errors are those of repeated simulations."""

    def test_of_means_and_ratios(self) -> None:
        rng = np.random.default_rng(0)
        means, ratios = [], []
        for _ in range(2000):
            x = rng.exponential(size=200)
            y = x + rng.exponential(size=200)
            means.append(mean_of(x))
            ratios.append(ratio_of(x, y))
        for results in (means, ratios):
            values, errors = np.array(results).T
            assert errors.mean() == pytest.approx(values.std(), rel=0.06)


class TestG20:
    def test_printed_density_integrates_to_n(self) -> None:
        n = 16

        def density(g: float) -> float:
            return np.sqrt(n / (2 * np.pi)) * np.exp(-((g / np.sqrt(n)) ** 2) / 2)

        inside, size = errata_g20.density()
        edge = 1 / np.sqrt(n)
        assert quad(density, -200, 200, points=[0])[0] == pytest.approx(n)
        assert inside.printed == pytest.approx(quad(density, -edge, edge)[0])
        assert size.printed == pytest.approx(2 * quad(lambda g: g * density(g), 0, 200)[0])

    def test_size_of_a_normal_variable(self) -> None:
        for n in (1, 9, 100):
            s = 1 / np.sqrt(n)
            mean = quad(lambda g, s=s: 2 * g * np.exp(-((g / s) ** 2) / 2), 0, 40 * s)[0]
            exact = mean / (s * np.sqrt(2 * np.pi))
            assert errata_g20.corrected_law(n) == pytest.approx(exact)
            assert errata_g20.printed_law(n) == pytest.approx(np.sqrt(2) * exact)

    def test_the_curve_is_that_of_a_layer_of_its_own(self) -> None:
        g = np.random.default_rng(9).normal(0, np.hypot(1 / 8, 1 / 8), 400_000)
        curve = errata_g20.gradient_curve(1 / 8)
        k = errata_g20.CURVE_SIZES.index(64)
        assert curve.mean[k] == pytest.approx(np.abs(g).mean(), abs=4 * curve.error[k])

    def test_circle_through_three_points(self) -> None:
        radius = errata_g20.radius_of_circle(lambda x: np.sqrt(25 - x**2), 3.0, 1e-2)
        assert radius == pytest.approx(5)
        exact = (1 + np.cos(1.0) ** 2) ** 1.5 / np.sin(1.0)
        assert errata_g20.radius_of_circle(np.sin, 1.0, 1e-3) == pytest.approx(exact, rel=1e-5)

    def test_harmonic_radius_tends_to_its_leading_term(self) -> None:
        for d in (1e6, 1e12, 1e60):
            ratio = errata_g20.harmonic_radius(d) * 2 * np.log(d) / np.pi
            assert abs(ratio - 1) < 1.5 / np.log(d)

    def test_the_harmonic_radius_is_the_form_that_is_printed(self) -> None:
        form = erratum("G20-E24").corrected
        (constant,) = re.findall(r"π/\(2 \(ln d \+ ([\d.]+)\)\)", form)
        for d in (2e3, 1e5):
            law = np.pi / (2 * (np.log(d) + float(constant)))
            assert errata_g20.harmonic_radius(d) == pytest.approx(law, rel=1e-3)

    def test_a_drop_of_the_loss_rises_with_the_batch(self) -> None:
        small, large = errata_g20.loss_stride()
        assert small.printed > large.printed
        assert small.simulated < large.simulated

    @pytest.mark.parametrize("share", [0.3, 0.9])
    def test_a_blind_choice_enlarges_by_the_law_of_fewer_samples(self, share: float) -> None:
        value, error = errata_g20.blind_growth(share)
        n = 1000
        law = errata_g20.corrected_law(n * (1 - share)) / errata_g20.corrected_law(n)
        assert 4 * error < law - 1
        assert value == pytest.approx(law, abs=4 * error)
        assert f"{value:.2f} ± {error:.2f} at p = {share:.0%}" in answer("G20-3.1")

    def test_lars_keeps_its_step_where_gradients_shrink(self) -> None:
        value, error = errata_g20.lars_stride()
        small, large = errata_g20.LARS_SIZES
        shrunk = errata_g20.corrected_law(large) / errata_g20.corrected_law(small)
        assert value == pytest.approx(1, abs=4 * error)
        assert shrunk + 4 * error < 1
        assert f"n = {large:,} is {value:.2f} ± {error:.2f} times" in answer("G20-4.3")


@pytest.fixture(scope="module")
def batches() -> np.ndarray:
    """Every batch of different samples of the training set of twelve."""
    chosen = list(itertools.combinations(range(TOY.size), M))
    assert len(chosen) == comb(TOY.size, M)
    return np.array(chosen)


class TestH17:
    """Against every batch there is, on a training set of twelve."""

    def test_covariance_within_a_batch(self, batches: np.ndarray) -> None:
        off = TOY.gradients[batches].mean(axis=1) - TOY.mean
        assert (off**2).sum(axis=1).mean() == pytest.approx(TOY.without(M))

    def test_covariance_between_batches(self, batches: np.ndarray) -> None:
        off = TOY.gradients[batches].mean(axis=1) - TOY.mean
        apart = np.array([[not set(a) & set(b) for b in batches] for a in batches])
        (row,) = errata_h17.between_batches()
        assert (off @ off.T)[apart].mean() == pytest.approx(row.corrected)

    def test_with_replacement(self) -> None:
        draws = np.array(list(itertools.product(range(TOY.size), repeat=M)))
        off = TOY.gradients[draws].mean(axis=1) - TOY.mean
        row, _ = errata_h17.with_replacement()
        assert (off**2).sum(axis=1).mean() == pytest.approx(row.corrected)

    def test_printed_form_is_that_of_independent_selectors(self) -> None:
        rng = np.random.default_rng(3)
        chosen = (rng.random((200_000, TOY.size)) < M / TOY.size).astype(float)
        value, error = mean_of(errata_h17.spreads(TOY, chosen, M))
        row, _ = errata_h17.with_replacement()
        assert abs(value - row.printed) < 4 * error

    def test_exact_noise_reaches_the_target_and_a_little_less_does_not(self) -> None:
        small, m, size = errata_h17.NOISE
        samples = errata_h17.made_up(size, 10, 0.2)
        exact = errata_h17.matched_noise(samples, small, m)
        assert exact < m / small
        variance = samples.without(m) + exact * samples.uncentred / m
        assert variance == pytest.approx(samples.without(small))

    def test_matched_rates_tend_to_the_square_root(self) -> None:
        assert errata_h17.matched_rates(16, 64, 10**9) == pytest.approx(2, rel=1e-6)
        assert errata_h17.matched_rates(128, 4096, 50_000) > np.sqrt(32)

    def test_corrected_weights_of_the_running_mean_add_up_to_one(self) -> None:
        ghosts = errata_h17.GHOSTS
        run = [errata_h17.one_by_one(0.0, row) for row in np.eye(ghosts)]
        l = np.arange(1, ghosts + 1)
        rate = errata_h17.RATE
        np.testing.assert_allclose(run, rate * (1 - rate) ** (ghosts - l))
        assert sum(run) + errata_h17.one_by_one(1.0, np.zeros(ghosts)) == pytest.approx(1)
        old, weights = errata_h17.printed_weights()
        assert old + weights.sum() < 0.91

    def test_growth_on_a_bowl(self) -> None:
        h, g = np.array([1.0, 2.0, 3.0]), np.array([0.5, -1.0, 2.0])
        v = np.random.default_rng(4).standard_normal((400_000, 3))
        v /= np.linalg.norm(v, axis=1, keepdims=True)
        for z in (0.1, 3.0):
            value, error = mean_of((z * v @ g + z**2 / 2 * (v**2) @ h) ** 2)
            assert errata_h17.bowl_rms(z, g, h) ** 2 == pytest.approx(value, abs=4 * error)

    def test_no_gap_of_table_1_is_that_of_the_introduction(self) -> None:
        told = answer("H17-1")
        gaps = [(float(a), float(b)) for a, b in re.findall(r"(\d+\.\d) → (\d+\.\d)", told)]
        assert len(gaps) == len(table("H17-T1"))
        assert not [gap for gap in gaps if 4.5 <= gap[0] <= 5.5 and gap[1] <= 2]

    def test_the_figure_of_slopes_is_left_open(self) -> None:
        (slip,) = (s for s in SLIPS if s.id == "H17-4")
        assert stated("H17-F2.remedies-match-slopes").where.endswith("figure 2b")
        assert "figure 2b, or else 7" in slip.corrected


class TestS20:
    def test_best_of_all_is_all_and_best_of_two_is_known(self) -> None:
        mean, _ = errata_s20.best_of(1, 2)
        assert mean == pytest.approx(1 / np.sqrt(np.pi))
        mean, variance = errata_s20.best_of(199, 200)
        assert abs(mean) < 0.02
        assert variance == pytest.approx(1, abs=0.06)

    def test_temperature_of_the_whole_training_set_is_zero(self) -> None:
        assert errata_s20.finite_temperature(50_000) == 0


class TestPage:
    @each
    def test_has_a_section_and_its_table(self, e) -> None:
        assert f'<a id="{findings.anchor(e.id)}"></a>\n\n### {e.id}: ' in SOURCE
        assert f'findings.side_by_side("{e.id}")' in SOURCE

    def test_every_link_of_the_overview_leads_somewhere(self) -> None:
        html = findings.overview().data
        links = set(re.findall(r'href="#([^"]+)"', html))
        anchors = set(re.findall(r'<a id="([^"]+)"', SOURCE))
        headings = {h.lower().replace(" ", "-") for h in re.findall(r"^## (.*)$", SOURCE, re.M)}
        assert links <= anchors | headings
        assert html.count("<tr>") == len(ERRATA) + len(SLIPS) + len(DOUBTS)
        assert html.count("<td>yes</td>") >= len(ERRATA)

    def test_every_table_holds_its_numbers(self) -> None:
        for e in ERRATA:
            html = findings.side_by_side(e.id).data
            assert html.count("<td>corrected</td>") == len(e.check())
            assert "_" not in re.sub(r"<.*?>", "", html)

    def test_opens_on_what_the_figure_shows(self) -> None:
        first, imports, finding, figure, *_ = CELLS
        assert "**The question.**" in first.source
        assert imports.source.startswith("import")
        assert (finding.source, figure.source) == (
            "findings.opening()",
            "figures.gradient_law()",
        )
        text = findings.opening().data
        assert f"{np.sqrt(2):.2f} times" in text
        assert f"All {len(ERRATA)}" in text
        title = errata_figures.gradient_law().layout.title.text
        assert "√2 too high" in title

    def test_sentences_give_numbers_of_their_tables(self) -> None:
        (row,) = errata_g20.first_epoch()
        assert f"{1 / row.corrected:.1f} times smaller" in findings.first_epoch().data
        largest = errata_s20.temperature()[-1]
        assert f"{1 / largest.corrected:.1f} times at B = 32,768" in findings.temperatures().data
        assert "4% at M = 4,096" in findings.rates().data

    @pytest.mark.parametrize("name", ["errata", "errata_g20", "errata_h17", "errata_s20"])
    def test_what_computes_does_not_draw(self, name: str) -> None:
        text = (ROOT / "src" / "sgdnoise" / "chapters" / f"{name}.py").read_text(encoding="utf-8")
        assert not re.search(r"^(from|import) (plotly|IPython|sgdnoise\.figures)", text, re.M)
