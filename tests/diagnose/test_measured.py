"""Curvature and noise of models whose both are known, by numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from sgdnoise.diagnose import Setting, diagnose, measure, problem_of
from sgdnoise.errors import FailureError, InputError
from tests.diagnose.made_up_problems import linear


def by_hand(problem):
    """λmax, tr(HΣ), GᵀHG and trΣ/|G|² of linear regression on all its examples."""
    x, y = (t.double().numpy() for t in problem.read(range(problem.size)))
    w = next(problem.model.parameters()).detach().double().numpy()[0]
    each = 2 * x * (x @ w - y[:, 0])[:, None]  # of the mean squared error
    hessian = 2 * x.T @ x / len(x)
    g = each.mean(0)
    sigma = np.cov(each.T, bias=False)
    return (
        float(np.linalg.eigvalsh(hessian)[-1]),
        float(np.trace(hessian @ sigma)),
        float(g @ hessian @ g),
        float(np.trace(sigma) / (g @ g)),
    )


class Jittered(Dataset):
    """Examples that are augmented at random each time they are read."""

    def __len__(self):
        return 200

    def __getitem__(self, i):
        x = torch.full((3,), float(i % 7))
        return x + torch.randn(3), x.sum(0, keepdim=True)


def test_all_three_are_those_of_linear_regression():
    problem = linear()
    found = measure(problem, silent=True)
    largest, noise, signal, simple = by_hand(problem)
    assert found.lambda_max == pytest.approx(largest, rel=1e-3)
    assert found.converged
    assert found.noise.signal == pytest.approx(signal, rel=1e-4)
    assert found.noise.noise == pytest.approx(noise, rel=0.8)
    assert found.noise_scale.value == found.noise.noise / found.noise.signal
    assert found.simple.value == pytest.approx(simple, rel=1e-3)
    assert found.examples == problem.size
    assert found.halves is None


def test_the_interval_of_the_noise_scale_holds_the_truth():
    inside, ratios = 0, []
    for seed in range(40):
        problem = linear(seed=seed)
        _, noise, signal, _ = by_hand(problem)
        measured = measure(problem, silent=True)
        found = measured.noise_scale
        ratios.append(measured.noise.noise / noise)
        inside += found.low <= noise / signal <= found.high
    assert inside >= 35
    error = np.std(ratios, ddof=1) / math.sqrt(len(ratios))
    assert abs(np.mean(ratios) - 1) < 3 * error < 0.2


def test_weight_decay_adds_to_the_curvature_only():
    plain, decayed = linear(), linear(setting=Setting(weight_decay=0.5))
    a, b = measure(plain, silent=True), measure(decayed, silent=True)
    assert b.lambda_max - a.lambda_max == pytest.approx(0.5)
    assert b.noise_scale == a.noise_scale


def test_a_sample_says_how_much_it_hangs_on_the_examples():
    problem = linear(size=4096)
    found = measure(problem, examples=512, silent=True)
    assert found.examples == 512
    assert found.halves is not None
    low, high = sorted(found.halves)
    assert low != high
    assert low < found.lambda_max < high or math.isclose(low, found.lambda_max, rel_tol=0.2)


def test_examples_that_change_are_seen_and_have_no_end():
    problem = problem_of((nn.Linear(3, 1), nn.MSELoss(), Jittered()))
    assert measure(problem, silent=True).changes
    assert measure(problem, silent=True).noise.data_size is None
    assert not measure(linear(), silent=True).changes
    assert measure(linear(), silent=True).noise.data_size == 1024


def test_an_output_of_two_tensors_takes_the_hessian():
    class Twofold(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def forward(self, x):
            return self.layer(x), x

    x, y = torch.randn(64, 3), torch.randn(64, 1)
    problem = problem_of((Twofold(), lambda out, y: nn.functional.mse_loss(out[0], y), (x, y)))
    assert measure(problem, silent=True).noise.metric == "hessian"


def test_an_error_behind_the_first_examples_is_one_line_with_its_place():
    x, y = torch.randn(64, 3), torch.randint(2, (64,))
    y[40] = 7
    problem = problem_of((nn.Linear(3, 2), nn.CrossEntropyLoss(), (x, y)))
    with pytest.raises(FailureError, match=r"measuring the model raised IndexError \(.*line \d+"):
        diagnose(problem, silent=True)


def test_augmented_examples_are_drawn_alike_each_time_and_the_generators_put_back():
    given = (nn.Linear(3, 1), nn.MSELoss(), Jittered())
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again = (
        diagnose(
            problem_of(given), batch_size=2, learning_rate=0.001, verified=True, silent=True
        ).to_dict()
        for _ in range(2)
    )
    assert first == again
    assert torch.equal(torch.random.get_rng_state(), before)


def test_batch_norm_and_dropout_are_those_of_evaluation_and_the_model_stays_as_it_is():
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x, y = torch.randn(128, 4), torch.randint(3, (128,))
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    found = diagnose(
        problem_of((model, nn.CrossEntropyLoss(), loader)),
        learning_rate=0.01,
        verified=True,
        silent=True,
    )
    assert found.setting.batch_size == 32
    assert found.to_dict()["batch_norm"]
    assert any(line.startswith("The model has batch norm") for line in found.sentences)
    plain = diagnose(linear(), silent=True)
    assert not any("batch norm" in line for line in plain.sentences)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("examples", "said"),
    [(8, "16 examples or more"), (0, "16 examples or more"), (1.5, "whole number")],
)
def test_too_few_examples_are_refused(examples, said):
    with pytest.raises(InputError, match=said):
        measure(linear(), examples=examples, silent=True)


def test_a_model_without_a_loss_of_each_example_is_refused():
    x, y = torch.randn(64, 3), torch.randn(64, 1)
    summed = problem_of((nn.Linear(3, 1), nn.MSELoss(reduction="sum"), (x, y)))
    with pytest.raises(InputError, match="reduction='mean'"):
        measure(summed, silent=True)


def test_data_in_double_precision_are_brought_to_the_models():
    x, y = torch.randn(64, 3, dtype=torch.float64), torch.randn(64, 1, dtype=torch.float64)
    problem = problem_of((nn.Linear(3, 1), nn.MSELoss(), (x, y)))
    found = diagnose(problem, batch_size=4, learning_rate=0.01, verified=True, silent=True)
    assert found.verified is not None


@pytest.mark.parametrize(
    ("model", "loss", "said"),
    [
        (nn.Linear(5, 1), nn.MSELoss(), "raised RuntimeError"),
        (nn.Linear(3, 1), nn.NLLLoss(), "raised"),
        (nn.Linear(3, 1), lambda out: out.mean(), "raised TypeError"),
    ],
)
def test_a_model_that_does_not_take_the_data_is_one_line(model, loss, said):
    x, y = torch.randn(64, 3), torch.randn(64, 1)
    with pytest.raises(InputError, match=said) as caught:
        measure(problem_of((model, loss, (x, y))), silent=True)
    assert "\n" not in str(caught.value)
    assert "take what the data give" in str(caught.value)


def test_too_little_memory_is_a_failure_that_says_what_to_do(monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("sgdnoise.diagnose.measured.top_eigenvalues", full)
    with pytest.raises(FailureError, match="fewer with --examples"):
        diagnose(linear(), silent=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.gpu
def test_a_gpu_measures_what_the_processor_does():
    here, there = linear(), linear()
    there.model.cuda()
    a, b = measure(here, silent=True), measure(there, silent=True)
    assert b.lambda_max == pytest.approx(a.lambda_max, rel=1e-3)
    assert b.noise_scale.value == pytest.approx(a.noise_scale.value, rel=1e-2)
