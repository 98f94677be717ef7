"""The curvature and the noise of a user's model at its present weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from sgdnoise.analysis.intervals import Interval
from sgdnoise.curvature import NoiseScale, gradient_noise_scale, top_eigenvalues
from sgdnoise.curvature.mean_loss import MeanLoss
from sgdnoise.diagnose.problem import LEAST, Problem
from sgdnoise.errors import InputError
from sgdnoise.progress import bar

EXAMPLES = 2048
"""Examples that are measured on, unless told otherwise."""

_GROUPS = 32
"""Of the noise scale's interval, as many as fit into memory."""

_NUMBERS = 2**28
"""Numbers that the basis of Lanczos, or the groups' gradients, may have: 1 GiB in float32."""

_FEW_PARAMETERS = 2**20
"""Up to which the gradient of each example is taken; beyond, the means of groups serve."""


@dataclass(frozen=True)
class Measured:
    """What was measured, on a sample of the training set.

    Attributes:
        loss: its mean loss.
        examples: of the sample.
        parameters: that are trained.
        lambda_max: the largest eigenvalue of the Hessian, weight decay included.
        residual: within which an exact eigenvalue lies.
        converged: whether Lanczos found it to 1 % of the Hessian's norm.
        halves: λmax on each half of the sample: how much it hangs on the examples. None where the
            sample is the whole training set.
        noise: tr(MΣ)/GᵀMG with M the Gauss-Newton matrix, or the Hessian where `metric` says so.
        simple: trΣ/|G|².
        changes: whether examples differ from one reading to the next.
    """

    loss: float
    examples: int
    parameters: int
    lambda_max: float
    residual: float
    converged: bool
    halves: tuple[float, float] | None
    noise: NoiseScale
    simple: NoiseScale
    changes: bool

    @property
    def noise_scale(self) -> Interval:
        """In examples, with its 95 % interval."""
        return Interval(self.noise.value, *self.noise.interval)


def measure(
    problem: Problem, examples: int = EXAMPLES, seed: int = 0, *, silent: bool = False
) -> Measured:
    """λmax, the noise scale and the simple noise scale of a problem.

    Args:
        problem: the model is read only.
        examples: drawn at random without replacement; all, if there are fewer.
        seed: of the draw, the groups and the start of Lanczos.
        silent: without a progress bar.

    Raises:
        InputError: for too few examples; as `MeanLoss` for a model, loss or data without curvature.
    """
    return measure_on(problem, sample(problem, examples, seed), seed, silent=silent)


def measure_on(
    problem: Problem, data: tuple[Tensor, Tensor], seed: int = 0, *, silent: bool = False
) -> Measured:
    """The same, on examples that have been drawn.

    Args:
        problem: the model is read only.
        data: as `sample` gives them.
        seed: of the groups and the start of Lanczos.
        silent: without a progress bar.

    Raises:
        InputError: as `MeanLoss` for a model, loss or data without curvature.
    """
    count = len(data[0])
    parts = 4 if count < problem.size else 2
    with bar(silent=silent, total=parts, desc="measuring", unit="part") as progress:
        loss = MeanLoss(problem.model, problem.loss_fn, data, batch_size=_AT_ONCE)
        steps = max(10, min(200, _NUMBERS // loss.size))

        def largest(part: slice) -> tuple[float, float, bool]:
            progress.set_description("measuring λmax")
            top = top_eigenvalues(
                problem.model,
                problem.loss_fn,
                (data[0][part], data[1][part]),
                tolerance=_TOLERANCE,
                max_iterations=steps,
                seed=seed,
                batch_size=_AT_ONCE,
            )
            progress.update()
            decay = problem.setting.weight_decay
            return float(top.values[0]) + decay, float(top.residuals[0]), top.converged

        value, residual, converged = largest(slice(None))
        halves = None
        if count < problem.size:
            middle = count // 2
            halves = (largest(slice(None, middle))[0], largest(slice(middle, None))[0])
        progress.set_description("measuring the noise scale")
        noise, simple = noise_scales(problem, data, loss.size, seed)
        progress.update()
    return Measured(
        loss=loss.value,
        examples=count,
        parameters=loss.size,
        lambda_max=value,
        residual=residual,
        converged=converged,
        halves=halves,
        noise=noise,
        simple=simple,
        changes=problem.changes,
    )


_AT_ONCE = 256
"""Examples of a pass."""

_TOLERANCE = 1e-2
"""Of Lanczos, beside the Hessian's norm; λmax is then off by its square, if it is by itself."""


def sample(problem: Problem, examples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Some examples in random order, on the model's device; each is read once.

    Args:
        problem: has been tried on two of them when they are drawn.
        examples: drawn without replacement; all, if there are fewer.
        seed: of the draw.

    Raises:
        InputError: for too few examples, or a model that does not take them.
    """
    if isinstance(examples, bool) or not isinstance(examples, int):
        raise InputError(f"the number of examples must be a whole number, got {examples!r}")
    if examples < LEAST:
        raise InputError(f"a noise scale takes {LEAST} examples or more, got {examples}")
    problem.check()
    drawn = np.random.default_rng(seed).permutation(problem.size)[:examples].tolist()
    return problem.batch(drawn)


def noise_scales(
    problem: Problem, data: tuple[Tensor, Tensor], parameters: int, seed: int
) -> tuple[NoiseScale, NoiseScale]:
    """By the Gauss-Newton matrix, which is never negative, or by the Hessian; and the simple one.

    Where augmentation changes the examples, they are a sample of a distribution without end.
    """
    groups = max(4, min(_GROUPS, len(data[0]) // 2, _NUMBERS // (2 * parameters)))
    size = None if problem.changes else problem.size

    def scale(method: str, metric: str, at_once: int) -> NoiseScale:
        return gradient_noise_scale(
            problem.model,
            problem.loss_fn,
            data,
            method=method,  # type: ignore[arg-type]
            metric=metric,  # type: ignore[arg-type]
            data_size=size,
            groups=groups,
            seed=seed,
            batch_size=at_once,
        )

    try:
        noise = scale("batches", "ggn", _AT_ONCE)
    except InputError:  # an output that is not one tensor
        noise = scale("batches", "hessian", _AT_ONCE)
    if parameters <= _FEW_PARAMETERS:
        try:
            at_once = max(1, min(128, _NUMBERS // (8 * parameters)))
            return noise, scale("per-example", "identity", at_once)
        except InputError:  # an operation without a gradient for each example
            pass
    return noise, scale("batches", "identity", _AT_ONCE)
