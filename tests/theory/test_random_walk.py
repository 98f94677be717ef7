"""Random potentials by their increments, and walks on them by three routes."""

from __future__ import annotations

import numpy as np
import pytest

from sgdnoise.errors import InputError
from sgdnoise.theory import random_walk as rw


@pytest.mark.parametrize("alpha", [0.3, 1.0, 1.5, 1.9, 2.0])
def test_increments_on_a_line_grow_as_that_power(alpha):
    u = rw.increments(alpha, 64, 6000, np.random.default_rng(0))
    potential = np.cumsum(u, axis=1)
    for first, last in ((0, 1), (5, 13), (0, 63), (20, 52)):
        squares = (potential[:, last] - potential[:, first]) ** 2
        error = squares.std() / np.sqrt(len(squares))
        assert abs(squares.mean() - (last - first) ** alpha) < 4 * error


@pytest.mark.parametrize("alpha", [0.4, 1.3])
def test_the_covariance_on_a_line_is_that_of_cholesky(alpha):
    u = rw.increments(alpha, 12, 40_000, np.random.default_rng(1))
    x = np.arange(13.0)
    power = x**alpha
    field = (power[:, None] + power - np.abs(x[:, None] - x) ** alpha) / 2  # of V(x) V(y)
    steps = np.diff(np.eye(13), axis=0)
    np.testing.assert_allclose(u.T @ u / len(u), steps @ field @ steps.T, atol=0.03)


def law_step_by_step(u, temperature, steps):
    """E x² at t = 2, 4, 8, … of one potential, by the recursion of the law."""
    right = 1 / (1 + np.exp(u / temperature))
    right[0], right[-1] = 1, 0
    law = np.zeros(u.size)
    law[u.size // 2] = 1
    squares = (np.arange(u.size) - u.size // 2) ** 2.0
    found = []
    for step in range(1, steps + 1):
        new = np.zeros(u.size)
        new[1:] += (law * right)[:-1]
        new[:-1] += (law * (1 - right))[1:]
        law = new
        if step > 1 and step & (step - 1) == 0:
            found.append(law @ squares)
    return np.array(found)


def test_the_exact_law_is_that_of_the_recursion():
    u = rw.increments(1.0, 41, 3, np.random.default_rng(2))
    exact = rw.exact_squares(u, 0.5, 12)
    for one, row in zip(u, exact, strict=True):
        np.testing.assert_allclose(row, law_step_by_step(one.copy(), 0.5, 4096), rtol=1e-9)


def test_the_exact_law_ends_at_boltzmanns():
    u = rw.increments(1.5, 21, 2, np.random.default_rng(3))
    right = 1 / (1 + np.exp(u / 0.8))
    right[:, 0], right[:, -1] = 1, 0
    found = rw.exact_squares(u, 0.8, 40)[:, -1]
    for p, square in zip(right, found, strict=True):
        # Detailed balance, and of a walk of period two the even sites.
        weight = np.cumprod(np.concatenate([[1.0], p[:-1] / (1 - p[1:])]))
        even = np.arange(0, 21, 2)
        law = weight[even] / weight[even].sum()
        assert square == pytest.approx(law @ (even - 10) ** 2.0, rel=1e-3)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.6])
def test_walkers_have_the_exact_law_on_average(alpha):
    times = 2 ** np.arange(1, 11)
    walk = rw.walk(alpha, 1.0, times, potentials=2000, walkers=4, reach=32, seed=5)
    u = rw.increments(alpha, 65, 1000, np.random.default_rng(6))
    exact = rw.exact_squares(u, 1.0, 10)
    error = np.hypot(walk.squares.std(axis=0) / np.sqrt(2000), exact.std(axis=0) / np.sqrt(1000))
    assert np.all(np.abs(walk.squares.mean(axis=0) - exact.mean(axis=0)) < 4.5 * error + 1e-9)


def test_on_a_flat_potential_the_walk_is_free():
    walk = rw.walk(1.0, 1e6, [10, 100, 1000], potentials=400, walkers=25)
    np.testing.assert_allclose(walk.squares.mean(axis=0), [10, 100, 1000], rtol=0.05)


def test_on_a_plane_the_walk_slides_off():
    # At α = 2 each potential has one slope u: the drift is tanh(u/2T), and no barrier stands.
    walk = rw.walk(2.0, 1.0, [1000, 2000], potentials=2000, reach=4096)
    u = np.random.default_rng(0).standard_normal(200_000)
    drift = np.sqrt((np.tanh(u / 2) ** 2).mean())
    assert walk.rms[1] / 2000 == pytest.approx(drift, rel=0.03)
    assert walk.rms[1] / walk.rms[0] == pytest.approx(2, rel=0.02)


def test_sinais_walk_nears_the_moment_that_is_known():
    # E x² over (T log t)⁴, from far above 61/45 down towards it; the corrections go as 1/log t.
    u = rw.increments(1.0, 257, 100, np.random.default_rng(11))
    squares = rw.exact_squares(u, 0.25, 36).mean(axis=0)
    scaled = squares / (0.25 * np.log(2.0 ** np.arange(1, 37))) ** 4
    early, late = scaled[11], scaled[-1]
    assert early > 3 * rw.SINAI_SECOND_MOMENT
    assert 0.8 * rw.SINAI_SECOND_MOMENT < late < 1.9 * rw.SINAI_SECOND_MOMENT


def test_a_walk_is_the_same_again_and_another_with_another_seed():
    first, again, other = (
        rw.walk(1.3, 0.5, [100], potentials=5, walkers=3, seed=s).squares for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_walk_says_who_met_an_end():
    assert rw.walk(1.0, 10.0, [2000], potentials=20, reach=8).at_end == 1.0
    assert rw.walk(1.0, 1.0, [2], potentials=20, reach=8).at_end == 0.0


def test_groups_average_to_the_whole():
    walk = rw.walk(1.0, 1.0, [10, 100], potentials=20)
    np.testing.assert_allclose((walk.groups(4) ** 2).mean(axis=0), walk.rms**2)


def test_times_are_even_and_rise():
    times = rw.log_times(1, 1000, 20)
    assert times[0] == 2
    assert times[-1] == 1000
    assert (times % 2 == 0).all()
    assert (np.diff(times) > 0).all()


# --- More dimensions --------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.6])
def test_increments_of_waves_grow_as_that_power(alpha):
    r = np.array([0.3, 1.0, 5.0])
    np.testing.assert_allclose(rw.wave_increments(alpha, r), r**alpha, rtol=0.1)
    rng, dimensions = np.random.default_rng(7), 5
    squares = np.empty((3000, r.size))
    for k in range(len(squares)):
        field = rw.waves(alpha, dimensions, rng, features=64)
        start = rng.standard_normal(dimensions)
        way = rng.standard_normal(dimensions)
        ends = start + r[:, None] * way / np.linalg.norm(way)
        squares[k] = (field(ends) - field(start)) ** 2
    error = squares.std(axis=0) / np.sqrt(len(squares))
    assert np.all(np.abs(squares.mean(axis=0) - rw.wave_increments(alpha, r)) < 4 * error)


def test_a_hot_walk_in_many_dimensions_is_free():
    walk = rw.field_walk(1.0, 1e6, [4, 16, 64], dimensions=8, potentials=300, stride=0.5)
    np.testing.assert_allclose(walk.squares.mean(axis=0), [1, 4, 16], rtol=0.15)


def test_a_cold_walk_in_many_dimensions_stays_behind_a_hot_one():
    rms = [rw.field_walk(1.0, t, [256], dimensions=4, potentials=30).rms[-1] for t in (0.02, 30.0)]
    assert rms[0] < rms[1] / 2


# --- Bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0, -1, 2.1, float("nan"), float("inf"), "one", None, True])
def test_an_alpha_that_no_potential_has_is_refused_in_one_line(alpha):
    for use in (
        lambda: rw.increments(alpha, 4, 1, np.random.default_rng(0)),
        lambda: rw.walk(alpha, 1.0, [10], potentials=1),
        lambda: rw.waves(alpha, 3, np.random.default_rng(0)),
        lambda: rw.field_walk(alpha, 1.0, [10], dimensions=3, potentials=1),
        lambda: rw.wave_increments(alpha, [1.0]),
    ):
        with pytest.raises(InputError, match=r"alpha must lie in \(0, 2\]") as error:
            use()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("alphas", "reason"),
    [
        (
            (2.1, 3, float("inf")),
            ", because no potential has increments that grow as a larger power of distance, got",
        ),
        (
            (0, 0.0, -1, -float("inf")),
            ", because barriers grow with distance only for an alpha above 0, got",
        ),
        ((float("nan"), np.float64("nan"), "one", None, True), " and be a number, got"),
    ],
)
def test_the_reason_against_an_alpha_is_true_of_it(alphas, reason):
    for alpha in alphas:
        with pytest.raises(InputError) as error:
            rw.check_alpha(alpha)
        said = f"alpha must lie in (0, 2]{reason} {alpha!r}: choose 1 for Sinai's walk"
        assert str(error.value) == said


def test_a_plane_has_no_waves():
    with pytest.raises(InputError, match="a plane, which has no waves"):
        rw.waves(2, 3, np.random.default_rng(0))
    with pytest.raises(InputError, match="a plane, which has no waves"):
        rw.wave_increments(2, [1.0])


@pytest.mark.parametrize(
    "wrong", [{"temperature": 0.0}, {"walkers": 0}, {"reach": 0}, {"potentials": 0}]
)
def test_what_is_no_walk_is_refused(wrong):
    given = {"temperature": 1.0, "times": [10], "potentials": 1, **wrong}
    with pytest.raises(ValueError, match="must be"):
        rw.walk(1.0, **given)


@pytest.mark.parametrize(
    "times",
    [[4, 2], [2, 2], [0, 2], [-2], [], [2.5], [[2, 4]], 2, [float("nan")], [float("inf")], [1e300]],
)
def test_times_that_do_not_rise_from_1_are_refused(times):
    for use in (
        lambda: rw.walk(1.0, 1.0, times, potentials=2, reach=8),
        lambda: rw.field_walk(1.0, 1.0, times, potentials=2, dimensions=2),
    ):
        with pytest.raises(ValueError, match="rising from 1") as error:
            use()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("wrong", [{"potentials": 0}, {"dimensions": 0}, {"stride": 0.0}])
def test_what_is_no_walk_in_many_dimensions_is_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        rw.field_walk(1.0, 1.0, [10], **{"dimensions": 2, "potentials": 1, **wrong})


def test_what_has_no_exact_law_is_refused():
    for given in ((-1.0, 3), (0.0, 3), (1.0, 0)):
        with pytest.raises(ValueError, match="must be"):
            rw.exact_squares(np.zeros((1, 9)), *given)
    with pytest.raises(ValueError, match="features must be"):
        rw.waves(1.0, 2, np.random.default_rng(0), features=0)
