"""The whole of a diagnosis: what was measured, what it means, and what trying it showed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch

from sgdnoise import __version__
from sgdnoise.analysis.intervals import Interval
from sgdnoise.diagnose.measured import EXAMPLES, Measured, measure_on, sample
from sgdnoise.diagnose.problem import Problem, Setting, raised
from sgdnoise.diagnose.regime import Limits, Regime, regime_of, sentences
from sgdnoise.diagnose.verified import (
    Verified,
    check,
    has_batch_norm,
    same_random_numbers,
    told,
    verify,
)
from sgdnoise.errors import FailureError, InputError, check_whole
from sgdnoise.theory.one_step import noise_floor
from sgdnoise.theory.sde import temperature
from sgdnoise.theory.stability import critical_learning_rate


@dataclass(frozen=True)
class Diagnosis:
    """What is known of a training, at the weights that it has now.

    Attributes:
        model: the name of its class.
        device: on which it was measured.
        size: N, the examples of the training set.
        setting: how it is trained.
        measured: curvature and noise.
        verified: what trying to grow the batch showed; None if it was not asked for.
        batch_norm: whether the model has any.
    """

    model: str
    device: str
    size: int
    setting: Setting
    measured: Measured
    verified: Verified | None = None
    batch_norm: bool = False

    @property
    def critical_rate(self) -> float | None:
        """2(1+m)/λmax (S20 §3.1); None where no direction curves upwards."""
        if self.measured.lambda_max <= 0:
            return None
        return float(critical_learning_rate(self.measured.lambda_max, self.setting.momentum))

    @property
    def limits(self) -> Limits:
        """What limits the learning rate of plain SGD."""
        m = self.measured
        signal, curved = m.simple.signal, m.noise.signal
        return Limits(
            noise_scale=m.noise_scale,
            best_step=signal / curved if signal > 0 and curved > 0 else math.nan,
            critical=None if m.lambda_max <= 0 else float(critical_learning_rate(m.lambda_max)),
            all_examples=m.examples == self.size,
        )

    @property
    def regime(self) -> Regime:
        """Which side of the boundary the batch size is on."""
        return regime_of(self.setting.batch_size, self.setting.momentum, self.limits.boundary)

    @property
    def temperature(self) -> float | None:
        """T = ε/((1−m)B) (S20 equation 3); None without both."""
        setting = self.setting
        if setting.batch_size is None or setting.learning_rate is None:
            return None
        return float(temperature(setting.learning_rate, setting.batch_size, setting.momentum))

    @property
    def noise_floor(self) -> float | None:
        """T trΣ/4, by which noise would hold the loss up in the long run; None without T."""
        setting = self.setting
        if setting.batch_size is None or setting.learning_rate is None:
            return None
        noise = self.measured.simple.noise
        return float(
            noise_floor(setting.learning_rate, setting.batch_size, noise, setting.momentum)
        )

    @property
    def sentences(self) -> list[str]:
        """What it means, the regime first, and last what a diagnosis cannot tell."""
        lines = sentences(
            self.limits,
            batch_size=self.setting.batch_size,
            learning_rate=self.setting.learning_rate,
            momentum=self.setting.momentum,
        )
        if self.verified is not None:
            lines += told(self.verified)
        if not self.measured.converged:
            lines.append(
                "λmax has not converged in as many steps as memory allows: it lies within "
                f"{self.measured.residual:.2g} of an eigenvalue, and may be larger."
            )
        if self.batch_norm:
            lines.append(
                "The model has batch norm, which keeps its running statistics here. With those of "
                "the batch, as in training, curvature and noise are others, and a net can bear "
                "other rates."
            )
        return [
            *lines,
            "All of this is of the present weights. The noise scale changes on the way by tens of "
            "times, and not always upwards: ask at several moments of a training.",
        ]

    def to_dict(self) -> dict[str, Any]:
        """All of it, under names that the book's map reads: `examples`, `lambda_max` and others.

        What is not known is None, and so is what is not finite.
        """
        m, s = self.measured, self.setting
        scale, simple = m.noise_scale, Interval(m.simple.value, *m.simple.interval)
        boundary = self.limits.boundary
        share = None
        if s.learning_rate is not None and self.critical_rate is not None:
            share = s.learning_rate / self.critical_rate
        return {
            "model": self.model,
            "device": self.device,
            "version": __version__,
            "parameters": m.parameters,
            "examples": self.size,
            "examples_measured": m.examples,
            "examples_change": m.changes,
            "loss": m.loss,
            "batch_size": s.batch_size,
            "learning_rate": s.learning_rate,
            "momentum": s.momentum,
            "weight_decay": s.weight_decay,
            "temperature": self.temperature,
            "noise_floor": self.noise_floor,
            "lambda_max": m.lambda_max,
            "lambda_max_residual": m.residual,
            "lambda_max_converged": m.converged,
            "lambda_max_halves": None if m.halves is None else [*m.halves],
            "critical_learning_rate": self.critical_rate,
            "share_of_critical": share,
            "noise_scale": scale.value,
            "noise_scale_interval": [scale.low, scale.high],
            "noise_scale_metric": m.noise.metric,
            "boundary": boundary.value,
            "boundary_interval": [boundary.low, boundary.high],
            "batch_norm": self.batch_norm,
            "simple_noise_scale": simple.value,
            "simple_noise_scale_interval": [simple.low, simple.high],
            "regime": self.regime.word,
            "sentences": self.sentences,
            "verified": None if self.verified is None else _verified(self.verified),
        }


def _verified(verified: Verified) -> dict[str, Any]:
    return {
        "loss_before": verified.start,
        "loss_after": verified.end,
        "examples": verified.examples,
        "seeds": verified.seeds,
        "tried": [
            {
                "batch_times": one.times,
                "rate_times": one.rate_times,
                "log2_loss_ratio": one.ratio.value,
                "interval": [one.ratio.low, one.ratio.high],
                "word": one.word,
            }
            for one in verified.tried
        ],
    }


def diagnose(
    problem: Problem,
    *,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    momentum: float | None = None,
    examples: int = EXAMPLES,
    verified: bool = False,
    seed: int = 0,
    silent: bool = False,
) -> Diagnosis:
    """Measures curvature and noise at a model's present weights, and says what they mean.

    Args:
        problem: as `problem_of` or `load` makes it.
        batch_size: B; what the data loader has unless given.
        learning_rate: ε; what the optimizer has unless given.
        momentum: m; what the optimizer has unless given, else 0.
        examples: that are measured on.
        verified: also train for a short while at two and four times the batch.
        seed: of the examples drawn.
        silent: without progress bars.

    Raises:
        InputError: for a setting out of its bounds; as `measure` and `verify`.
        FailureError: where the device's memory does not suffice; names what the user's model,
            loss or data raised.
    """
    setting = asked(problem, batch_size, learning_rate, momentum)
    if verified:
        check(problem, setting)
    problem = replace(problem, setting=setting)
    try:
        with same_random_numbers(seed):
            data = sample(problem, examples, seed)
            measured = measure_on(problem, data, seed, silent=silent)
            tried = verify(problem, setting, data, silent=silent) if verified else None
    except (InputError, FailureError):
        raise
    except torch.OutOfMemoryError as error:
        raise FailureError(
            f"the device's memory is too small for {examples:,} examples of this model: give fewer "
            "with --examples"
        ) from error
    except Exception as error:  # of the user's model, loss or data
        raise raised("measuring the model", error) from error
    device = next(problem.model.parameters()).device
    return Diagnosis(
        type(problem.model).__name__,
        str(device),
        problem.size,
        setting,
        measured,
        tried,
        has_batch_norm(problem.model),
    )


def asked(
    problem: Problem,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    momentum: float | None = None,
) -> Setting:
    """The setting that is asked about: what is given, else what the problem tells.

    Raises:
        InputError: for a batch size that the training set does not have, a learning rate that is
            not positive and finite, or a momentum outside [0, 1).
    """
    told_by = problem.setting
    b = told_by.batch_size if batch_size is None else batch_size
    rate = told_by.learning_rate if learning_rate is None else learning_rate
    m = told_by.momentum if momentum is None else momentum
    if b is not None:
        check_whole("the batch size", b, problem.size, "the training set has no more examples")
    if rate is not None and not 0 < rate < math.inf:
        raise InputError(f"the learning rate must be positive and finite, got {rate:g}")
    if not 0 <= m < 1:
        raise InputError(f"the momentum must lie from 0 to below 1, got {m:g}")
    return replace(told_by, batch_size=b, learning_rate=rate, momentum=m)
