"""The gradient noise scale against closed forms: exact on a data set, unbiased and with intervals
that cover on samples.

The sampled model is mean estimation, loss ½|A(x − w)|²: an example's gradient is −AᵀA(x − w), so
that with x of mean μ and covariance C everything is known: H = AᵀA, G = −H(μ − w), Σ = HCH.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sgdnoise.curvature import NoiseScale, gradient_noise_scale, noise_scale_from_norms
from sgdnoise.curvature.noise_scale import _noise_and_signal, _ratio_interval
from sgdnoise.errors import InputError

DIM = 5
SCALES = np.array([3.0, 1.0, 2.0, 0.5, 1.5])
SHIFT = np.array([0.4, -0.3, 0.2, 0.5, 0.1])
MIX = np.random.default_rng(0).normal(size=(DIM, DIM))


class Location(nn.Module):
    def __init__(self, matrix: np.ndarray | None = None) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(DIM, dtype=torch.float64))
        self.matrix = torch.eye(DIM).double() if matrix is None else torch.from_numpy(matrix)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.w) @ self.matrix.T


def half_square(output: Tensor, _: Tensor) -> Tensor:
    return 0.5 * output.square().sum(1).mean()


def sample(rng: np.random.Generator, n: int, law: str = "normal") -> np.ndarray:
    """n points of mean SHIFT and covariance diag(SCALES²)."""
    unit = rng.normal(size=(n, DIM)) if law == "normal" else rng.exponential(size=(n, DIM)) - 1
    return SHIFT + SCALES * unit


def measure(x: np.ndarray, matrix: np.ndarray | None = None, **options) -> NoiseScale:
    data = (torch.from_numpy(x), torch.zeros(len(x), dtype=torch.float64))
    return gradient_noise_scale(Location(matrix), half_square, data, **options)


def z_scores(samples: np.ndarray, exact: np.ndarray) -> np.ndarray:
    return (samples.mean(0) - exact) / (samples.std(0, ddof=1) / math.sqrt(len(samples)))


def regression() -> tuple[nn.Module, Tensor, Tensor, np.ndarray]:
    """A linear regression and each example's gradient of ½·(xᵀw − y)², by hand."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1, bias=False).double()
    x, y = torch.randn(101, 4).double(), torch.randn(101, 1).double()
    return model, x, y, ((model(x) - y) * x).detach().numpy()


def half_mse(output: Tensor, y: Tensor) -> Tensor:
    return 0.5 * nn.functional.mse_loss(output, y)


def test_parts_are_those_of_the_sample_covariance_by_hand() -> None:
    model, x, y, g = regression()
    noise = np.trace(np.cov(g, rowvar=False))
    squared = np.sum(g.mean(0) ** 2)
    distribution = gradient_noise_scale(model, half_mse, (x, y), batch_size=13)
    assert distribution.noise == pytest.approx(noise, rel=1e-10)
    assert distribution.signal == pytest.approx(squared - noise / 101, rel=1e-10)
    assert distribution.value == pytest.approx(noise / (squared - noise / 101), rel=1e-10)
    assert (distribution.examples, distribution.data_size) == (101, None)
    # With the whole data set seen nothing is left to chance.
    whole = gradient_noise_scale(model, half_mse, (x, y), data_size=101)
    assert whole.signal == pytest.approx(squared, rel=1e-10)
    assert whole.interval == pytest.approx((whole.value, whole.value), rel=1e-9)
    assert whole.noise_error == whole.signal_error == 0
    part = gradient_noise_scale(model, half_mse, (x, y), data_size=404)
    assert part.signal == pytest.approx(squared - noise * (1 / 101 - 1 / 404), rel=1e-10)
    assert part.noise_error == pytest.approx(distribution.noise_error * math.sqrt(3 / 4))


@pytest.mark.parametrize("groups", [4, 20, 50])
def test_noise_from_batches_is_the_per_example_noise_on_average(groups: int) -> None:
    # Over random groupings of the same data, of unequal sizes as 101 examples give.
    model, x, y, g = regression()
    samples = []
    for seed in range(100):
        run = gradient_noise_scale(
            model, half_mse, (x, y), method="batches", groups=groups, seed=seed
        )
        samples.append([run.noise, run.signal])
    noise = np.trace(np.cov(g, rowvar=False))
    exact = np.array([noise, np.sum(g.mean(0) ** 2) - noise / 101])
    assert np.abs(z_scores(np.array(samples), exact)).max() < 4


def test_noise_from_unequal_groups_is_the_analysis_of_variance() -> None:
    sums, counts = np.array([[20.0, 5.0], [3.0, -1.0], [4.0, 0.0]]), np.array([10.0, 1.0, 2.0])
    means, mean = sums / counts[:, None], sums.sum(0) / 13
    between = np.sum(counts[:, None] * (means - mean) ** 2) / 2
    noise, signal = _noise_and_signal(counts, sums @ sums.T, None, None)
    assert noise == pytest.approx(between)
    assert signal == pytest.approx(mean @ mean - between / 13)


def test_sorted_data_do_no_harm() -> None:
    # Contiguous groups of sorted data would be far too different, dealt round by round too alike.
    x = sample(np.random.default_rng(3), 256)
    ordered = x[np.argsort(x[:, 0])]
    noise = np.trace(np.cov(x, rowvar=False))
    runs = [measure(ordered, method="batches", groups=16, seed=seed) for seed in range(100)]
    assert abs(z_scores(np.array([run.noise for run in runs]), noise)) < 4
    errors = [
        np.mean([measure(data, groups=16, seed=seed).signal_error for seed in range(20)])
        for data in (x, ordered)
    ]
    assert errors[1] == pytest.approx(errors[0], rel=0.2)


@pytest.mark.parametrize("method", ["per-example", "batches"])
def test_estimates_for_the_distribution_are_unbiased(method: str) -> None:
    rng = np.random.default_rng(1)
    runs = [
        measure(sample(rng, 40, "exponential"), method=method, groups=8, seed=i) for i in range(300)
    ]
    samples = np.array([[run.noise, run.signal] for run in runs])
    exact = np.array([np.sum(SCALES**2), np.sum(SHIFT**2)])
    assert np.abs(z_scores(samples, exact)).max() < 4
    # Without the correction the signal would be high by trΣ/40, and show.
    assert z_scores(samples[:, 1:], exact[1:] + exact[0] / 40)[0] < -8


@pytest.mark.parametrize("method", ["per-example", "batches"])
def test_samples_without_replacement_estimate_the_data_sets_own_gradient(method: str) -> None:
    rng = np.random.default_rng(2)
    population = sample(rng, 60)
    exact = np.array([np.trace(np.cov(population, rowvar=False)), np.sum(population.mean(0) ** 2)])
    samples = []
    for i in range(300):
        x = population[rng.choice(60, 40, replace=False)]
        run = measure(x, method=method, groups=8, seed=i, data_size=60)
        samples.append([run.noise, run.signal])
    assert np.abs(z_scores(np.array(samples), exact)).max() < 4
    naive = np.array([[noise, signal - noise / 60] for noise, signal in samples])
    assert z_scores(naive, exact)[1] < -8  # REFERENCE: biased by −trΣ/N


@pytest.mark.parametrize("metric", ["hessian", "ggn"])
def test_noise_scale_in_the_metric_of_the_hessian(metric: str) -> None:
    rng = np.random.default_rng(4)
    hessian = MIX.T @ MIX
    gradient = hessian @ SHIFT
    covariance = hessian @ np.diag(SCALES**2) @ hessian
    exact = np.array([np.trace(hessian @ covariance), gradient @ hessian @ gradient])
    runs = [
        measure(sample(rng, 64), MIX, method="batches", metric=metric, groups=16, seed=i)
        for i in range(80)
    ]
    assert np.abs(z_scores(np.array([[r.noise, r.signal] for r in runs]), exact)).max() < 4
    assert runs[0].products == 16
    assert runs[0].metric == metric


@pytest.mark.parametrize(
    ("method", "law"),
    [("per-example", "normal"), ("per-example", "exponential"), ("batches", "normal")],
)
def test_intervals_cover(method: str, law: str) -> None:
    rng = np.random.default_rng(5)
    exact = np.sum(SCALES**2) / np.sum(SHIFT**2)
    hits = [
        low <= exact <= high
        for low, high in (
            measure(
                sample(rng, 256, law), method=method, groups=16, seed=i, batch_size=256
            ).interval
            for i in range(400)
        )
    ]
    # Binomial error at 400 draws is 1.1%; the delta method and skewness are allowed 3% more.
    assert 0.91 <= np.mean(hits) <= 0.985


def test_intervals_of_a_subsample_cover_the_data_sets_value() -> None:
    rng = np.random.default_rng(6)
    population = sample(rng, 400)
    exact = np.trace(np.cov(population, rowvar=False)) / np.sum(population.mean(0) ** 2)
    intervals = [
        measure(
            population[rng.choice(400, 256, replace=False)],
            groups=16,
            seed=i,
            data_size=400,
            batch_size=256,
        ).interval
        for i in range(400)
    ]
    assert 0.91 <= np.mean([low <= exact <= high for low, high in intervals]) <= 0.985


@pytest.mark.parametrize("floor", [None, 0.3])
def test_interval_ends_where_the_difference_becomes_significant(floor: float | None) -> None:
    signal, noise, quantile = 1.0, 10.0, 2.0
    covariance = np.array([[0.2, 0.1], [0.1, 1.5]])
    ends = _ratio_interval(signal, noise, covariance, quantile, floor)
    assert ends[0] < signal / noise < ends[1]
    for ratio in ends:
        # The signal's variance at the mean under test, ratio · noise.
        growth = 1 if floor is None else (ratio * noise + floor) / (signal + floor)
        variance = 0.2 * growth - 2 * ratio * 0.1 + ratio**2 * 1.5
        assert (signal - ratio * noise) ** 2 == pytest.approx(quantile**2 * variance)


def test_a_signal_that_may_be_zero_leaves_the_interval_open() -> None:
    rng = np.random.default_rng(7)
    runs = [measure(sample(rng, 128) - SHIFT, groups=16, seed=i) for i in range(100)]
    open_above = [run.interval[1] == math.inf for run in runs]
    assert np.mean(open_above) > 0.9  # the true scale is infinite: 95% intervals should hold it
    assert any(run.value == math.inf for run in runs)
    assert all((run.value == math.inf) == (run.signal <= 0) for run in runs)
    assert all(run.interval[0] > 0 for run in runs)


def test_float32_and_a_real_net() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    model = nn.Sequential(net, nn.Linear(144, 10)).eval()
    x, y = torch.randn(96, 1, 8, 8), torch.randint(0, 10, (96,))
    loss = nn.functional.cross_entropy
    single = gradient_noise_scale(model, loss, (x, y), groups=8)
    double = gradient_noise_scale(model.double(), loss, (x, y), groups=8, batch_size=17)
    assert single.value == pytest.approx(double.value, rel=1e-4)
    assert single.interval == pytest.approx(double.interval, rel=1e-3)


# --- from logged norms ------------------------------------------------------------------------


def logged_norms(rng: np.random.Generator, rows: int, data: np.ndarray | None = None):
    """|g|² of batches of 8 and 32: independent, from the law or without replacement from data."""
    norms = []
    for size in (8, 32):
        if data is None:
            means = sample(rng, rows * size).reshape(rows, size, DIM).mean(1)
        else:
            picks = [rng.choice(len(data), size, replace=False) for _ in range(rows)]
            means = np.stack([data[p].mean(0) for p in picks])
        norms.append(np.sum(means**2, axis=1))
    return norms


def test_two_batch_sizes_are_unbiased_for_the_distribution() -> None:
    run = noise_scale_from_norms(*logged_norms(np.random.default_rng(0), 40_000), 8, 32)
    assert abs(run.noise - np.sum(SCALES**2)) < 4 * run.noise_error
    assert abs(run.signal - np.sum(SHIFT**2)) < 4 * run.signal_error
    assert run.signal_error < 0.05 * run.signal
    exact = np.sum(SCALES**2) / np.sum(SHIFT**2)
    assert run.interval[0] < exact < run.interval[1] < 1.2 * exact


def test_two_batch_sizes_without_replacement_need_the_data_size() -> None:
    rng = np.random.default_rng(1)
    data = sample(rng, 64)
    norms = logged_norms(rng, 20_000, data)
    corrected = noise_scale_from_norms(*norms, 8, 32, data_size=64)
    naive = noise_scale_from_norms(*norms, 8, 32)
    noise, signal = np.trace(np.cov(data, rowvar=False)), np.sum(data.mean(0) ** 2)
    assert abs(corrected.noise - noise) < 4 * corrected.noise_error
    assert abs(corrected.signal - signal) < 4 * corrected.signal_error
    assert naive.signal - signal < -8 * naive.signal_error
    assert naive.signal == pytest.approx(corrected.signal - corrected.noise / 64)


def test_intervals_from_norms_cover() -> None:
    rng = np.random.default_rng(2)
    exact = np.sum(SCALES**2) / np.sum(SHIFT**2)
    intervals = [
        noise_scale_from_norms(*logged_norms(rng, 300), 8, 32, groups=30).interval
        for _ in range(600)
    ]
    assert 0.925 <= np.mean([low <= exact <= high for low, high in intervals]) <= 0.98


def test_blocks_widen_the_interval_of_correlated_rows() -> None:
    # Each row repeated 10 times carries no more information: blocks of 10 must say so.
    small, big = logged_norms(np.random.default_rng(3), 400)
    once = noise_scale_from_norms(small, big, 8, 32)
    repeated = noise_scale_from_norms(small.repeat(10), big.repeat(10), 8, 32, groups=400)
    assert repeated.signal_error == pytest.approx(once.signal_error)
    assert repeated.interval == pytest.approx(once.interval)
    fooled = noise_scale_from_norms(small.repeat(10), big.repeat(10), 8, 32)
    assert fooled.signal_error == pytest.approx(once.signal_error / math.sqrt(10), rel=0.01)


def test_noise_that_cannot_be_told_from_zero_leaves_everything_open() -> None:
    rng = np.random.default_rng(4)
    same = 1 + 1e-3 * rng.normal(size=(2, 50))
    run = noise_scale_from_norms(same[0], same[1] + 1e-3, 8, 32)
    assert run.noise < 0
    assert math.isnan(run.value)
    assert run.interval == (0, math.inf)


# --- bad input --------------------------------------------------------------------------------

POINTS = sample(np.random.default_rng(0), 40)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "exact"}, "method must be"),
        ({"metric": "fisher"}, "metric"),
        ({"metric": "hessian"}, "needs method='batches'"),
        ({"groups": 3}, "at least 4 groups"),
        ({"groups": 21}, "at least 2 examples"),
        ({"groups": 8, "data_size": 39}, "less than the 40 examples"),
        ({"groups": 8, "confidence": 1.0}, "confidence"),
    ],
)
def test_bad_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure(POINTS, **options)


def test_zero_gradients_are_refused() -> None:
    with pytest.raises(InputError, match="all gradients are zero"):
        measure(np.zeros((40, DIM)), groups=8)


def test_train_mode_dropout_is_refused() -> None:
    model = nn.Sequential(nn.Dropout(0.1), nn.Linear(DIM, 1)).double()
    data = (torch.from_numpy(POINTS), torch.zeros(40, 1, dtype=torch.float64))
    with pytest.raises(InputError, match=r"call model\.eval"):
        gradient_noise_scale(model, half_mse, data)


class DataDependent(nn.Module):
    """Has no batched derivative: Python looks at a value."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(DIM, 1).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.sum().item() > -1e9 else self.layer(-x)


def test_a_model_without_per_example_gradients_is_told_of_batches() -> None:
    data = (torch.from_numpy(POINTS), torch.zeros(40, 1, dtype=torch.float64))
    with pytest.raises(InputError, match="use method='batches'") as caught:
        gradient_noise_scale(DataDependent(), half_mse, data, groups=8)
    assert "\n" not in str(caught.value)
    run = gradient_noise_scale(DataDependent(), half_mse, data, groups=8, method="batches")
    assert run.noise > 0


@pytest.mark.parametrize(
    ("small", "big", "sizes", "options"),
    [
        ([1.0] * 8, [1.0] * 7, (8, 32), {}),
        ([[1.0] * 8], [[1.0] * 8], (8, 32), {}),
        ([math.nan] * 8, [1.0] * 8, (8, 32), {}),
        ([1.0] * 8, [1.0] * 8, (32, 8), {}),
        ([1.0] * 8, [1.0] * 8, (8, 8), {}),
        ([1.0] * 8, [1.0] * 8, (0, 8), {}),
        ([1.0] * 8, [1.0] * 8, (8, 32), {"data_size": 31}),
        ([1.0] * 8, [1.0] * 8, (8, 32), {"groups": 9}),
        ([1.0] * 3, [1.0] * 3, (8, 32), {}),
        ([0.0] * 8, [0.0] * 8, (8, 32), {}),
    ],
)
def test_bad_norms_are_refused(small, big, sizes, options) -> None:
    with pytest.raises(InputError):
        noise_scale_from_norms(small, big, *sizes, **options)
