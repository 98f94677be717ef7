"""The chapter on random walks: what it shows where its sliders stand, and what it says."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from sgdnoise.chapters import random_walk as chapter
from sgdnoise.chapters import random_walk_figures as figures
from sgdnoise.chapters import random_walk_findings as findings
from sgdnoise.theory import growth, random_walk


def test_it_opens_where_lines_fit_a_walk_and_what_is_none():
    explorer = figures.slow()
    assert tuple(explorer.values.values()) == chapter.START
    walk = chapter.walk_path(*chapter.START)
    quarter, logistic, free = chapter.other_paths()
    x = np.log(walk.time)
    squares = [np.corrcoef(x, path.distance)[0, 1] ** 2 for path in (walk, quarter, logistic, free)]
    text = findings.opening().data
    assert re.findall(r"R² = (\d\.\d+)", text)[0] == f"{squares[0]:.3f}"
    assert [word for s in squares if (word := f"{s:.3f}") in text] == [f"{s:.3f}" for s in squares]
    assert min(squares[:3]) > 0.97
    title = explorer.frame(**explorer.values)["layout"]["title"]["text"]
    assert f"{squares[0]:.3f} on a random potential, {squares[1]:.3f} for {quarter.short}" in title


def test_the_first_caption_says_what_holds_at_every_position():
    caption = figures.slow()._caption
    r = {
        a: [chapter.walk_path(a, t).log.r_squared for t in chapter.TEMPERATURES]
        for a in chapter.ALPHAS
        if a < 2
    }
    every = [value for of in r.values() for value in of]
    free = chapter.other_paths()[-1].log.r_squared
    assert f"between {min(every):.3f} and {max(every):.3f}, above the {free:.3f} of free" in caption
    assert min(every) > free
    falls = [there < here for of in r.values() for here, there in itertools.pairwise(of)]
    assert len(falls) / 2 < sum(falls) < len(falls)  # "mostly, and not always"
    plane = [chapter.walk_path(2.0, t) for t in chapter.TEMPERATURES]
    for path in plane:
        assert path.power.parameters[1] == pytest.approx(1, abs=0.01)


def test_the_line_in_log_t_has_the_figures_one_dotted_line_and_lies_on_top():
    traces = figures.slow_figure(*chapter.START).data
    assert [t.name for t in traces if t.line.dash == "dot"] == ["a line in log t"]
    assert traces[-1].name == "a line in log t"
    assert len({t.line.dash for t in traces}) == len(traces)


def test_the_window_is_the_last_factor_of_a_hundred():
    path = chapter.walk_path(1.0, 0.5)
    assert path.time[-1] == chapter.LAST
    for window in (10, chapter.WINDOW, 1000):
        time = chapter.walk_path(1.0, 0.5, window).time
        assert time[-1] / time[0] == window
    assert path.rising[0] == 0
    assert path.rising[-1] == 1


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_on_a_plane_the_closed_form_is_that_of_walkers(temperature):
    exact = chapter.walked(2.0, temperature)
    walk = random_walk.walk(
        2.0, temperature, exact.times[:12], potentials=4000, reach=2 * int(exact.times[11])
    )
    np.testing.assert_allclose(exact.rms[:12], walk.rms, rtol=0.06)


def test_no_walker_of_the_figures_meets_an_end():
    for alpha in (0.5, 1.0, 1.5):
        for temperature in chapter.TEMPERATURES:
            assert chapter.walked(alpha, temperature).at_end == 0


def test_the_pages_own_walk_is_the_librarys():
    def sinai(steps, temperature):
        rng = np.random.default_rng(1)
        right = 1 / (1 + np.exp(rng.standard_normal((2000, 513)) / temperature))
        place, row = np.full(2000, 256), np.arange(2000)
        for _ in range(steps):
            place = place + np.where(rng.random(2000) < right[row, place], 1, -1)
        return place - 256

    for _, row in findings.by_hand(sinai).data.iterrows():
        mine, library = float(row.iloc[2]), float(row.iloc[3])
        assert mine == pytest.approx(library, rel=0.15)


def test_the_table_beside_the_code_names_the_temperature_of_the_figures_walk():
    def still(steps, temperature):
        asked.add(temperature)
        return np.zeros(1)

    asked: set[float] = set()
    rows = findings.by_hand(still).data
    (temperature,) = {float(t) for t in rows["T"]}
    assert asked == {temperature}
    walk = chapter.walked(1.0, temperature)
    found = np.interp(np.log(1000), np.log(walk.times), walk.rms)
    assert float(rows.iloc[-1]["library, other potentials"]) == pytest.approx(found, rel=0.1)


def test_the_table_tells_exact_powers_and_free_exponents():
    rows = findings.told_apart().data
    assert len(rows) == 12
    powers = rows[rows["what grows"].str.contains("t<sup>1/4</sup>")]
    assert set(powers["ΔAIC, log ahead"]) == {"−∞, an exact power"}
    assert set(powers["p of a + b t<sup>p</sup>"]) == {"0.25"}
    assert list(powers["points"]) == [
        len(chapter.walk_path(1.0, 1.0, w).time) for w in (10, 100, 1000)
    ]
    logistic = rows[rows["what grows"].str.contains("logistic")]
    assert all(float(lead) > 20 for lead in logistic["ΔAIC, log ahead"])
    path = chapter.walk_path(*chapter.START)
    lead = growth.power_law(path.time, path.distance).aic
    lead -= growth.log_law(path.time, path.distance).aic
    assert f"{lead:+.0f} for the walk" in findings.in_words().data


def test_the_r_squared_that_is_said_is_the_least_of_those_shown_and_says_its_points():
    text = findings.in_words().data
    least, quarter, free = re.findall(r"(?:R² is|it is|and) (\d\.\d{3})", text)[:3]
    rows = findings.told_apart().data
    shown = rows[
        (rows["over a factor of"] == "100") & ~rows["what grows"].str.contains("logistic|√")
    ]
    assert len(shown) == 2
    assert least == min(shown["R² of a + b log t"])
    assert f"at {shown['points'].iloc[0]} points" in text
    # As the errata have them, over two decades.
    t = np.geomspace(1e2, 1e4, 200)
    for power, said in ((1 / 4, quarter), (1 / 2, free)):
        assert said == f"{np.corrcoef(np.log(t), t**power)[0, 1] ** 2:.3f}"


def test_the_law_opens_far_from_what_the_walk_shows():
    explorer = figures.law()
    assert tuple(explorer.values.values()) == chapter.LAW_START
    found = chapter.powers(*chapter.LAW_START)
    assert found.law == 2 / chapter.LAW_START[0]
    assert found.share < 0.5
    title = explorer.frame(**explorer.values)["layout"]["title"]["text"]
    assert f"(log t)<sup>{found.of_log:.2f}</sup>" in title


def test_the_settings_that_show_the_law_are_counted():
    text = findings.law_in_words().data
    shares = {}
    for alpha in (0.5, 1.0, 1.5):
        for temperature in chapter.TEMPERATURES:
            walk = chapter.walked(alpha, temperature)
            late = walk.times >= 300
            log_t, log_rms = np.log(walk.times[late]), np.log(walk.rms[late])
            slope = np.polyfit(np.log(log_t), log_rms, 1)[0]
            shares[alpha, temperature] = slope * alpha / 2
    near = [place for place, share in shares.items() if 0.9 <= share <= 1.1]
    assert f"{len(near)} of the {len(shares)} settings" in text
    named = re.findall(r"α = ([\d.]+), T = ([\d.]+)", text)
    assert [(float(a), float(t)) for a, t in named] == near
    assert len(near) < len(shares) / 2  # "few do"
    free = np.polyfit(np.log(log_t), log_t / 2, 1)[0]
    assert f"t<sup>0.5</sup> is (log t)<sup>{free:.2f}</sup>" in text
    # Near its law and near free diffusion at once: no sign of barriers.
    assert shares[0.5, 2.0] * 4 == pytest.approx(free, rel=0.05)
    assert all(share * 2 / a < free for (a, _), share in shares.items())
    ends = min(shares.values()), max(shares.values())
    assert f"between {ends[0]:.2f} and {ends[1]:.2f} times" in text
    for alpha in (0.5, 1.0, 1.5):
        assert (np.diff([shares[alpha, t] for t in chapter.TEMPERATURES]) > 0).all()


def test_the_exact_walk_is_a_mean_over_potentials_with_its_error():
    u = random_walk.increments(1.0, 257, 200, np.random.default_rng(11))
    squares = random_walk.exact_squares(u, 0.25, 12)[:, -1]
    over = squares / (61 / 45 * (0.25 * np.log(2**12)) ** 4)
    time, mean, error = chapter.sinai()
    assert time[11] == 2**12
    assert mean[11] == pytest.approx(over.mean())
    assert error[11] == pytest.approx(over.std(ddof=1) / np.sqrt(200))
    fig = figures.sinai_figure()
    said = fig.layout.title.text
    assert f"E x² is {mean[-1]:.2f} ± {error[-1]:.2f} times" in said
    mantissa, power = re.search(r"After ([\d.]+) × 10(\S+) steps", said).groups()
    digits = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
    assert float(mantissa) * 10 ** int(power.translate(digits)) == pytest.approx(time[-1], rel=0.05)
    assert mean[-1] - 3 * error[-1] > 1  # or there is nothing to say
    (band,) = [t for t in fig.data if t.fill == "toself"]
    top = np.array(band.y)[: len(band.y) // 2]
    np.testing.assert_allclose(top, (mean + error)[time >= 8])


def test_the_ends_of_the_line_hold_back_less_than_its_potentials_differ():
    wide = random_walk.increments(1.0, 513, 25, np.random.default_rng(3))
    narrow = wide[:, 128:-128]
    assert narrow.shape[1] == chapter.SITES
    far, near = (
        random_walk.exact_squares(u, chapter.SINAI_TEMPERATURE, chapter.DOUBLINGS)[:, -1].mean()
        for u in (wide, narrow)
    )
    _, mean, error = chapter.sinai()
    assert 0 <= 1 - near / far < 0.5 * error[-1] / mean[-1]


def test_the_title_of_the_law_has_both_powers_of_the_last_stretch():
    title = figures.law_figure(1.0, 0.5).layout.title.text
    q, p, law = map(float, re.findall(r"<sup>(\d+\.?\d*)</sup>", title))
    walk = chapter.walked(1.0, 0.5)
    late = walk.times >= 300
    t, rms = np.log(walk.times[late]), np.log(walk.rms[late])
    assert p == pytest.approx(np.polyfit(t, rms, 1)[0], abs=0.006)
    assert q == pytest.approx(np.polyfit(np.log(t), rms, 1)[0], abs=0.006)
    assert law == 2


def test_the_weights_of_logistic_regression_gain_one_over_the_margin():
    for margin in chapter.MARGINS:
        time, steps, exact = chapter.logistic(margin)
        assert (exact[-1] - exact[-5]) / np.log(time[-1] / time[-5]) == pytest.approx(
            1 / margin, rel=0.02
        )
        np.testing.assert_allclose(steps[5:], exact[5:], rtol=0.15)


def test_a_convex_loss_spreads_with_distance_as_well():
    z, change = chapter.convex_draws()
    far, near = (np.sqrt((change[(z > a) & (z < b)] ** 2).mean()) for a, b in ((8, 10), (1, 2)))
    assert far > 4 * near
    # Convex: the change is above its own plane, so that its mean is above zero.
    assert change.mean() > 0


def test_figures_without_sliders_say_their_numbers():
    cold, hot = (chapter.field(16, t).rms[-1] for t in (0.1, 1.0))
    title = figures.field_figure().layout.title.text
    assert f"{cold:.0f} at T = 0.1, {hot:.0f} at T = 1, {np.sqrt(2000):.0f} free" in title
    assert cold < hot / 2
    title = figures.logistic_figure().layout.title.text
    for gain, margin in re.findall(r"([\d.]+) at margin ([\d.]+)", title):
        assert float(gain) == pytest.approx(1 / float(margin), rel=0.02)
    assert title.count("at margin") == len(chapter.MARGINS)
    assert "wave" in findings.increments_hold().data


def test_both_powers_are_compared_at_every_setting():
    for alpha in chapter.ALPHAS:
        for temperature in chapter.TEMPERATURES:
            found = chapter.powers(alpha, temperature)
            path = chapter.walk_path(alpha, temperature)
            for x, power, misfit in (
                (np.log(path.time), found.of_log, found.log_misfit),
                (path.time, found.of_time, found.time_misfit),
            ):
                level = np.exp(np.mean(np.log(path.distance) - power * np.log(x)))
                off = np.log(path.distance / (level * x**power))
                assert misfit == pytest.approx(np.sqrt(np.mean(off**2)))
                # Least squares: another power is farther off.
                for other in (power - 0.05, power + 0.05):
                    rest = np.log(path.distance) - other * np.log(x)
                    assert rest.std() > misfit
            assert found.log_leads == (found.log_misfit < found.time_misfit)


def test_the_text_counts_the_settings_at_which_log_t_leads():
    at = [(a, t) for a in chapter.ALPHAS if a < 2 for t in chapter.TEMPERATURES]
    leads = [place for place in at if chapter.powers(*place).log_leads]
    said = findings.law_in_words().data
    assert f"at {len(leads)} of the {len(at)} settings" in said
    assert findings._where([]) == ""
    assert findings._where([(1.0, 0.5), (1.0, 1.0), (1.5, 2.0)]) == (
        ": α = 1 with T = 0.5 and 1; α = 1.5 with T = 2"
    )


def test_a_power_of_t_is_told_from_one_of_log_t():
    time = np.geomspace(300, 30_000, 20)
    a, b = (chapter.Path("", "", time, distance) for distance in (time**0.3, np.log(time) ** 2))
    assert chapter.misfits_of(a)[1] < 1e-9 < chapter.misfits_of(a)[0]
    assert chapter.misfits_of(b)[0] < 1e-9 < chapter.misfits_of(b)[1]
